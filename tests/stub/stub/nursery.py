"""Many instances from one process that has imported everything once: a start is then a fork, not 0.1 s of CPU.

`dify_stub --nursery FD` serves that socket (SEQPACKET). A message is the JSON list of an instance's switches, with four
descriptors: its standard input, output and error, and where to tell its pid, one line, and how it ended, another.
"""

import contextlib
import gc
import json
import os
import select
import signal
import socket
import sys
import traceback

MESSAGE_MAX = 1 << 20


def serve(descriptor, main):
    """Until the other end is closed. `main(arguments)` is one instance, to its end."""
    control = socket.socket(fileno=descriptor)
    woken, wake = os.pipe()
    for end in (woken, wake):
        os.set_blocking(end, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)   # a terminal's: the instances end, and who started us
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    gc.freeze()   # the instances share what the imports made
    living = {}   # pid -> where to tell its end
    while True:
        readable, _, _ = select.select([control, woken], [], [])
        if woken in readable:
            os.read(woken, 4096)
            bury(living)
        if control in readable:
            message, descriptors, _, _ = socket.recv_fds(control, MESSAGE_MAX, 4)
            if not message:
                return
            *streams, told = descriptors
            pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                signal.signal(signal.SIGINT, signal.default_int_handler)
                for number, stream in enumerate(streams):
                    os.dup2(stream, number)
                for own in [control.detach(), woken, wake, told, *streams, *living.values()]:
                    os.close(own)
                be(main, json.loads(message))
            for stream in streams:
                os.close(stream)
            living[pid] = told
            tell(told, pid)


def be(main, arguments):
    """Ends this process as an interpreter would."""
    code = 1
    try:
        main(arguments)
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 0 if ended.code is None else 1
        if isinstance(ended.code, str):
            print(ended.code, file=sys.stderr)
    except BaseException:   # whatever it is: this process must not go on as the nursery
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def bury(living):
    """Tells how they ended: before their pids are free for others, whom a signal is not meant for."""
    for pid, told in list(living.items()):
        ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if ended:
            tell(told, ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status)
            os.close(told)
            os.waitpid(pid, 0)
            del living[pid]


def tell(where, number):
    with contextlib.suppress(BrokenPipeError):   # nobody wants to know any more
        os.write(where, b"%d\n" % number)
