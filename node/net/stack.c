/* stack: backtrace(3) in a handler of SIGURG, which nobody else uses, and whose default is to do
 * nothing. backtrace() loads a library with its first call, and must not do that in a handler: the
 * first one is in stack_open(). */
#include "net/stack.h"

#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { NOBODY, ASKED, ANSWERS, ANSWERED };

/* A handler has no argument: what it writes is one for the process. */
static struct {
    _Atomic int state;
    _Atomic pid_t thread; /* that is asked */
    int count;            /* of the frames, from ANSWERED on */
    void *frames[STACK_FRAMES_MAX];
} answer;

static void on_asked(int number)
{
    int asked = ASKED, before = errno;
    (void)number;
    if (atomic_load(&answer.thread) == (pid_t)syscall(SYS_gettid) &&
        atomic_compare_exchange_strong(&answer.state, &asked, ANSWERS)) {
        answer.count = backtrace(answer.frames, STACK_FRAMES_MAX);
        atomic_store(&answer.state, ANSWERED);
    }
    errno = before; /* of what was interrupted */
}

void stack_open(void)
{
    void *frames[2];
    struct sigaction action = {.sa_handler = on_asked, .sa_flags = SA_RESTART};
    sigfillset(&action.sa_mask);
    backtrace(frames, 2);
    sigaction(SIGURG, &action, NULL);
}

pid_t stack_begin_thread(const char *name, int cpu)
{
    sigset_t blocked;
    cpu_set_t set;
    CPU_ZERO(&set);
    if (cpu >= 0) {
        CPU_SET((size_t)cpu, &set);
        pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
    }
    sigfillset(&blocked);
    sigdelset(&blocked, SIGURG);
    pthread_sigmask(SIG_SETMASK, &blocked, NULL);
    pthread_setname_np(pthread_self(), name);
    return (pid_t)syscall(SYS_gettid);
}

void stack_ask(pid_t thread)
{
    if (atomic_load(&answer.state) == ANSWERS) {
        return; /* one that never came back from its handler: no other is asked any more */
    }
    atomic_store(&answer.thread, thread);
    atomic_store(&answer.state, ASKED);
    syscall(SYS_tgkill, getpid(), thread, SIGURG);
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static void append_frame(struct buffer *b, void *at)
{
    Dl_info info;
    if (!dladdr(at, &info) || !info.dli_fname) {
        buffer_append_format(b, "%p", at);
    } else if (info.dli_sname) {
        buffer_append_format(b, "%s(%s+0x%zx)", base_name(info.dli_fname), info.dli_sname,
                             (size_t)((char *)at - (char *)info.dli_saddr));
    } else {
        buffer_append_format(b, "%s+0x%zx", base_name(info.dli_fname),
                             (size_t)((char *)at - (char *)info.dli_fbase));
    }
}

/* The first line of a small file; "" if it cannot be read. */
static void read_line(pid_t thread, const char *name, char *ret_text, int size)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/self/task/%d/%s", (int)thread, name);
    FILE *file = fopen(path, "re");
    if (!file || !fgets(ret_text, size, file)) {
        ret_text[0] = '\0';
    }
    ret_text[strcspn(ret_text, "\n")] = '\0';
    if (file) {
        fclose(file);
    }
}

/* proc(5): `pid (name) STATE ...`; and in which of its functions the kernel has it wait. */
static void append_state(struct buffer *b, pid_t thread)
{
    char text[256], place[64];
    read_line(thread, "stat", text, sizeof(text));
    const char *end = strrchr(text, ')');
    if (end && end[1] == ' ') {
        buffer_append_format(b, "; state %c", end[2]);
    }
    read_line(thread, "wchan", place, sizeof(place));
    if (place[0] != '\0' && strcmp(place, "0") != 0) {
        buffer_append_format(b, " in %s", place);
    }
}

void stack_text(pid_t thread, struct buffer *ret_text)
{
    bool answered = atomic_load(&answer.state) == ANSWERED && atomic_load(&answer.thread) == thread;
    for (int i = 1; answered && i < answer.count; i++) { /* 0 is the handler */
        buffer_append_format(ret_text, "%s", i > 1 ? " " : "");
        append_frame(ret_text, answer.frames[i]);
    }
    if (!answered) {
        buffer_append_format(ret_text, "no answer");
    }
    append_state(ret_text, thread);
}
