#!/usr/bin/python3
"""The parts of tests/run; tests/run is what a person calls.

    tests/run_parts.py [--quick] [PART...]

Each part prints its counts and seconds and writes its output to build/test-logs/PART.log, whose end
is shown if it failed. There are three lanes, in each one part after the other: what only computes
(sanitizer builds, simulations, unit tests under valgrind) at low priority, end to end tests, and at
high priority lab and compose, which measure a client's outages and mostly wait. A part that runs no
test, cannot start or takes too long has failed. The last line is "N passed, N failed", and ", N
skipped" where there are some; the exit status agrees with it.

End to end tests mostly wait, so several run at a time. Those marked `alone` measure milliseconds: they
are a part of their own, one after the other, with nothing beside it but the lane of low priority. With a
sanitizer their bounds are so wide that they run among the others.

What tests/e2e gets in the environment: DIFYRING_BIN (the program to start) and DIFYRING_BUILD
(release, asan, tsan or valgrind: how patient to be). Marks of pytest: `threads` also runs under
TSan, `smoke` also runs under valgrind; see tests/pytest.ini.
"""
import argparse
import contextlib
import glob
import os
import re
import select
import signal
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree as xml

ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), ".."))
LOGS = os.path.join(ROOT, "build", "test-logs")
PYTHON = "/usr/bin/python3"
PROGRAM = "build/{}/node/difyring"
# Where Python keeps what it has compiled, for the whole run and whatever the environment says: else each process of xdist
# and each stand-in compiles all that it imports, two seconds of CPU. Nothing is to be left in the tree.
PYTHON_CACHE = os.path.join(ROOT, "build", "pycache")

# No part may hang the run: far above what each takes on 2 cores; the slowest (compose-build) was seen to take 500 s.
PART_SECONDS_MAX = 900
# End to end tests at a time: enough that the cores are never idle, few enough that time-outs of a second hold.
E2E_AT_A_TIME = 6
VALGRIND_AT_A_TIME = 4  # they compute
# One ctest program; valgrind at low priority is slow.
TEST_SECONDS_MAX = 300
NICE = ["nice", "-n", "15"]
FIRST = ["nice", "-n", "-10"]   # without the right to it, it says so and goes on
LOG_TAIL_LINES = 60
# gcc's and clang's older sanitizer runtimes cannot live with more random address bits than this.
MMAP_RANDOM_BITS_MAX = 28

HUNG = 124  # as timeout(1) says it
NO_TESTS_COLLECTED = 5  # pytest's exit status; a part that runs no test at all has failed all the same

TAP_LINE = re.compile(r"^(not ok|ok) \d+(.*)$")


class Counts:
    """What a part's tests came to."""

    def __init__(self, passed=0, failed=0, skipped=0):
        self.passed, self.failed, self.skipped = passed, failed, skipped

    def add(self, other):
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped

    def ran(self):
        return self.passed + self.failed

    def __str__(self):
        text = f"{self.passed} passed, {self.failed} failed"
        return text + (f", {self.skipped} skipped" if self.skipped else "")


class Part:
    """One part's log and the commands run into it."""

    def __init__(self, name, prefix=()):
        self.name = name
        self.prefix = prefix
        self.path = os.path.join(LOGS, name + ".log")
        self.deadline = time.monotonic() + PART_SECONDS_MAX
        self.cpu_seconds = 0.0
        for old in glob.glob(os.path.join(LOGS, name + ".*")):
            os.unlink(old)
        self.log = open(self.path, "w", encoding="utf-8", errors="replace")

    def file(self, ending):
        return os.path.join(LOGS, f"{self.name}.{ending}")

    def say(self, text):
        self.log.write(text + "\n")
        self.log.flush()

    def run(self, command, env=None):
        """Runs a command with its output in the log; returns its exit status, HUNG when it hung."""
        command = [*self.prefix, *command]
        self.say("+ " + " ".join(command))
        child = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **(env or {})},
                                 stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
                                 start_new_session=True)
        ended = self.wait_for_end(child.pid)
        if not ended:
            self.say(f"{command[0]} still ran after {PART_SECONDS_MAX} s and was killed")
        # Its own session, so this also ends what it started and left behind.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        self.cpu_seconds += used.ru_utime + used.ru_stime
        return child.returncode if ended else HUNG

    def wait_for_end(self, pid):
        """False when it hung. Its status is not asked for: with that wait4 says what it used."""
        descriptor = os.pidfd_open(pid)
        try:
            poll = select.poll()
            poll.register(descriptor, select.POLLIN)
            return bool(poll.poll(1000 * max(1, self.deadline - time.monotonic())))
        finally:
            os.close(descriptor)

    def tail(self):
        with open(self.path, encoding="utf-8", errors="replace") as log:
            lines = [line for line in log.read().splitlines() if not line.startswith("ok ")]
        return lines[-LOG_TAIL_LINES:]


def count_tap(text):
    counts = Counts()
    for line in text.splitlines():
        match = TAP_LINE.match(line)
        if not match:
            continue
        if "# SKIP" in match.group(2):
            counts.skipped += 1
        elif match.group(1) == "ok":
            counts.passed += 1
        else:
            counts.failed += 1
    return counts


def count_ctest(path):
    """Counts what each program says it ran, in TAP; a program that says nothing is one test."""
    total = Counts()
    for case in xml.parse(path).getroot().iter("testcase"):
        good = case.get("status") == "run"
        counts = count_tap(case.findtext("system-out") or "")
        if good and counts.ran() + counts.skipped == 0:
            counts.passed = 1
        elif not good and counts.failed == 0:
            counts.failed = 1  # it crashed, leaked or could not be started
        total.add(counts)
    return total


def count_pytest(path):
    suite = next(xml.parse(path).getroot().iter("testsuite"))
    number = {key: int(suite.get(key, 0)) for key in ("tests", "failures", "errors", "skipped")}
    failed = number["failures"] + number["errors"]
    passed = number["tests"] - failed - number["skipped"]
    return Counts(max(0, passed), failed, number["skipped"])


def run_ctest(part, build, *selection, env=None):
    report = part.file("xml")
    status = part.run([*sanitizer_launcher(build),
                       "ctest", "--test-dir", f"build/{build}", "-j", str(os.cpu_count() or 1),
                       "--timeout", str(TEST_SECONDS_MAX), "--no-tests=error", "--output-on-failure",
                       "--test-output-size-passed", "1000000", "--test-output-size-failed", "1000000",
                       "--output-junit", report, *selection],
                      {"CMOCKA_MESSAGE_OUTPUT": "TAP", **(env or {})})
    return judge(part, status, count_ctest, report)


def run_pytest(part, folder, *selection, env=None, launcher=()):
    report = part.file("xml")
    status = part.run([*launcher, PYTHON, "-m", "pytest", "-q",
                       "--tb=short", "-o", "junit_family=xunit2", f"--junitxml={report}",
                       *selection, folder],
                      env)
    if status == NO_TESTS_COLLECTED:
        return Counts()
    return judge(part, status, count_pytest, report)


def judge(part, status, count, report):
    try:
        counts = count(report)
    except (OSError, xml.ParseError, StopIteration) as error:
        part.say(f"no usable report: {error}")
        return Counts(failed=1)
    if status != 0 and counts.failed == 0:
        part.say(f"exit status {status}, though no test failed")
        counts.failed = 1
    return counts


def sanitizer_launcher(build):
    """What to put before a command whose programs carry a sanitizer, on kernels that ask for it."""
    if build not in ("asan", "tsan"):
        return []
    try:
        with open("/proc/sys/vm/mmap_rnd_bits", encoding="ascii") as file:
            bits = int(file.read())
    except (OSError, ValueError):
        bits = MMAP_RANDOM_BITS_MAX
    fixed = ["setarch", "-R"]
    if bits <= MMAP_RANDOM_BITS_MAX:
        return []
    return fixed if subprocess.run([*fixed, "true"], stderr=subprocess.DEVNULL).returncode == 0 else []


def sanitizer_environment(part, build, to_files):
    """Options of the runtimes. Programs that a test starts report to files, looked at afterwards."""
    path = f":log_path={part.file('report')}" if to_files else ""
    return {
        "ASAN_OPTIONS": "detect_leaks=1:detect_stack_use_after_return=1:strict_string_checks=1" + path,
        "UBSAN_OPTIONS": "print_stacktrace=1" + path,
        "TSAN_OPTIONS": "second_deadlock_stack=1:history_size=4" + path,
        "VALGRIND_LOG": part.file("report.%p") if to_files else "",
        "DIFYRING_BUILD": build,
    }


def count_reports(part, counts):
    """A sanitizer's report is a failed test, also when the test that caused it did not notice."""
    for path in sorted(glob.glob(part.file("report*"))):
        with open(path, encoding="utf-8", errors="replace") as file:
            text = file.read()
        if text.strip():
            part.say(f"--- {path}\n{text}")
            counts.failed += 1
    return counts


def configure_command(build):
    """A preset says all of our options, so whatever the folder was configured for before does not stay."""
    deps = os.environ.get("DIFYRING_DEPS_DIR")
    return ["cmake", "--preset", build] + ([f"-DDIFYRING_DEPS_DIR={deps}"] if deps else [])


def build_part(build, units=None):
    """Configures and builds a preset: all of it, or the program and these unit tests. It counts as no test when
    it works, as a failed one if not."""
    targets = [] if units is None else ["--target", "difyring", *(f"test_{unit}" for unit in units)]

    def run(part):
        jobs = str(os.cpu_count() or 1)
        make = ["cmake", "--build", f"build/{build}", "-j", jobs, *targets]
        if part.run(configure_command(build)) != 0 or part.run(make) != 0:
            return Counts(failed=1)
        return None
    return run


def ctest_part(build, *selection):
    def run(part):
        return run_ctest(part, build, *selection, env=sanitizer_environment(part, build, False))
    return run


def e2e_part(build, selection="", at_a_time=E2E_AT_A_TIME):
    def run(part):
        program = os.path.join(ROOT, PROGRAM.format(build))
        if not os.access(program, os.X_OK):
            part.say(f"{program} was not built")
            return Counts(failed=1)
        if build == "valgrind":
            program = wrap_in_valgrind(part, program)
        env = {"DIFYRING_BIN": program, **sanitizer_environment(part, build, True)}
        several = ["-n", str(at_a_time), "--dist", "loadfile"] if at_a_time > 1 else []
        counts = run_pytest(part, "tests/e2e", "-m", selection, *several, env=env, launcher=sanitizer_launcher(build))
        return count_reports(part, counts)
    return run


def wrap_in_valgrind(part, program):
    wrapper = part.file("sh")
    with open(wrapper, "w", encoding="utf-8") as file:
        file.write(f'#!/bin/sh\nexec "{ROOT}/tests/valgrind" "{program}" "$@"\n')
    os.chmod(wrapper, 0o755)
    return wrapper


def run_rules(part):
    return run_tap(part, ["tests/check_rules"])


def run_format(part):
    return run_tap(part, ["tests/lint", "--format"])


def run_tidy(part):
    return run_tap(part, ["tests/lint", "--tidy", "--quick"])


def run_tap(part, command, env=None):
    part.log.flush()
    start = os.path.getsize(part.path)
    status = part.run(command, env)
    with open(part.path, encoding="utf-8") as log:
        log.seek(start)
        counts = count_tap(log.read())
    if status != 0 and counts.failed == 0:
        counts.failed = 1
    return counts


def sim_part(build, seeds, first, same):
    """The simulated cluster: the fixed seeds and `seeds` others hold, and `same` give one trace."""
    def run(part):
        env = sanitizer_environment(part, build, False)
        counts = Counts()
        for arguments in (["--seeds", str(seeds)], ["--same", str(same)]):
            command = [*sanitizer_launcher(build), "tests/sim/run", "--build", build,
                       "--first", str(first), *arguments]
            counts.add(run_tap(part, command, env))
        return counts
    return run


def run_stub(part):
    """The stand-in Dify has tests of its own: what it gets wrong, every other test believes."""
    return run_pytest(part, "tests/stub")


def run_lab(part):
    """The pair with keepalived in network namespaces; one round each, to keep it short."""
    return run_tap(part, ["tests/lab/run", "--rounds", "1"])


def build_images(part):
    """On its own, for a first time takes minutes."""
    return None if part.run([PYTHON, "tests/compose/daemon.py"]) == 0 else Counts(failed=1)


def run_compose(part):
    """The images and the pair of docker-compose.yml, in a Docker of its own."""
    return run_pytest(part, "tests/compose")


# Pure cores have all of this from AddressSanitizer already, in a twentieth of the time. Left are the units with
# threads, and those whose work is done by libraries that no sanitizer has built (libuv, OpenSSL, libyaml).
WITH_LOOPS = ("acceptor dial explain lookup mailbox resolver secure slices spool stream upstream verdicts"
              " vip_loop").split()
WITH_THREADS = [*WITH_LOOPS, *"answers host_slots log_writer placement slab stack statuses".split()]
WITH_LIBRARIES = [*WITH_LOOPS, *"tls_session tls_resume seal aead conf log".split()]


def units_part(build, units):
    return ctest_part(build, "-R", rf"^unit\.({'|'.join(units)})$")


# (name, part of --quick, what it needs, function), in the order in which they run.
FRONT = [
    ("rules", False, None, run_rules),
    ("format", False, None, run_format),
    ("release-build", True, None, build_part("release")),
    ("unit", True, "release-build", ctest_part("release", "-R", r"^unit\.")),
    ("fuzz-replay", False, "release-build", ctest_part("release", "-R", r"^fuzz\.")),
    ("other-ctest", False, "release-build", ctest_part("release", "-E", r"^(unit|fuzz)\.")),
    ("stub", False, None, run_stub),
    ("e2e-alone", True, "release-build", e2e_part("release", "alone", 1)),
    ("e2e", True, "release-build", e2e_part("release", "not alone")),
    ("asan-e2e", False, "asan-build", e2e_part("asan", "not slow")),
    ("tsan-e2e", False, "tsan-build", e2e_part("tsan", "threads")),
]
# Builds that the front waits for come first; what ends last, beside compose, has work for the core that it leaves.
BACK = [
    ("asan-build", False, None, build_part("asan")),
    ("tsan-build", False, None, build_part("tsan", WITH_THREADS)),
    ("tidy", False, "asan-build", run_tidy),
    ("asan-ctest", False, "asan-build", ctest_part("asan", "-R", r"^(unit|fuzz)\.")),
    ("valgrind-build", False, None, build_part("valgrind", WITH_LIBRARIES)),
    ("sim", False, "release-build", sim_part("release", 450, 1, 20)),
    ("asan-sim", False, "asan-build", sim_part("asan", 50, 451, 3)),
    ("tsan-unit", False, "tsan-build", units_part("tsan", WITH_THREADS)),
    ("valgrind-unit", False, "valgrind-build", units_part("valgrind", WITH_LIBRARIES)),
    ("valgrind-e2e", False, "valgrind-build", e2e_part("valgrind", "smoke", VALGRIND_AT_A_TIME)),
]
SIDE = [
    ("compose-build", False, "release-build", build_images),
    ("lab", False, "release-build", run_lab),
    ("compose", False, "compose-build", run_compose),
]
LANES = {"front": FRONT, "back": BACK, "side": SIDE}
PREFIXES = {**{name: NICE for name, _, _, _ in BACK},
            "compose": FIRST}   # the lab's programs have real-time priority
# Of what runs anyway, what is to have ended before. The lab is not to be measured beside `alone`. Compose's containers
# have one share of the CPU together (a cgroup), however many end to end tests run, so it waits until those have ended.
AFTER = {"lab": "e2e-alone", "compose": "tsan-e2e"}


printing = threading.Lock()


def run_part(name, run):
    """Runs one part and prints its line; returns its counts."""
    start = time.monotonic()
    part = Part(name, PREFIXES.get(name, []))
    counts = run(part)
    if counts is None:
        counts, result = Counts(), "built"
    else:
        if counts.ran() == 0 and not counts.skipped:
            part.say("no test ran")
            counts.failed = 1
        result = str(counts)
    part.log.close()
    with printing:
        print(f"{name:16} {time.monotonic() - start:7.1f} s {part.cpu_seconds:7.1f} cpu  {result}", flush=True)
        if counts.failed:
            print(f"--- the end of build/test-logs/{name}.log")
            print("\n".join(part.tail()))
            print("---", flush=True)
    return counts


def choose_parts(arguments):
    """The parts asked for and those that they need."""
    every = [part for parts in LANES.values() for part in parts]
    names = [name for name, _, _, _ in every]
    unknown = [name for name in arguments.part if name not in names]
    if unknown:
        sys.exit(f"run_parts.py: no part {', '.join(unknown)}; there are: {' '.join(names)}")
    wanted = {name for name, quick, _, _ in every
              if (name in arguments.part if arguments.part else quick or not arguments.quick)}
    for _ in every:  # what is needed may need something, too
        wanted |= {need for name, _, need, _ in every if name in wanted and need}
    return wanted


class Run:
    """The lanes; a part waits for those that it needs, in whichever lane they are."""

    def __init__(self, wanted):
        self.wanted = wanted
        self.ended = {name: threading.Event() for name in wanted}
        self.broken = set()
        self.counts = {lane: Counts() for lane in LANES}

    def lane(self, which):
        for name, _, need, run in LANES[which]:
            if name not in self.wanted:
                continue
            for other in (need, AFTER.get(name)):
                if other in self.wanted:
                    self.ended[other].wait()
            self.counts[which].add(self.one(name, need, run))
            self.ended[name].set()

    def one(self, name, need, run):
        if need in self.broken:
            with printing:
                print(f"{name:16} {0:7.1f} s {0:7.1f} cpu  not run: {need} failed", flush=True)
            self.broken.add(name)
            return Counts(failed=1)
        try:
            counts = run_part(name, run)
        except Exception as error:  # or the other lanes would wait for ever
            with printing:
                print(f"{name:16} could not run: {error!r}", flush=True)
            counts = Counts(failed=1)
        if name.endswith("-build") and counts.failed:
            self.broken.add(name)
        return counts

    def total(self):
        lanes = [threading.Thread(target=self.lane, args=(which,), daemon=True) for which in LANES]
        for lane in lanes:
            lane.start()
        for lane in lanes:
            lane.join()
        total = Counts()
        for counts in self.counts.values():
            total.add(counts)
        return total


def main():
    parser = argparse.ArgumentParser(description="Runs the tests, part by part.")
    parser.add_argument("--quick", action="store_true", help="release build, unit and e2e only")
    parser.add_argument("part", nargs="*", metavar="PART", help="only these (and what they need)")
    wanted = choose_parts(parser.parse_args())
    os.makedirs(LOGS, exist_ok=True)
    os.environ["PYTHONPYCACHEPREFIX"] = PYTHON_CACHE
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    start = time.monotonic()
    total = Run(wanted).total()
    print(f"{'everything':16} {time.monotonic() - start:7.1f} s")
    print(total)
    return 1 if total.failed or not total.passed else 0


if __name__ == "__main__":
    sys.exit(main())
