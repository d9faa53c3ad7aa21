/* stack: where a thread of this process stands, as text, without stopping it for a debugger.
 *
 *   stack_open()            once, before threads are started
 *   stack_begin_thread()    in each thread that may be asked about
 *   stack_ask(thread)       the thread writes down where it is, in a signal handler
 *   stack_text()            a little later; one thread at a time is asked, from one thread
 *
 * A thread that takes no signal (it is stopped by a debugger, or waits in the kernel for a disk)
 * writes nothing; what the kernel says of it is told then. */
#ifndef NET_STACK_H
#define NET_STACK_H

#include <sys/types.h>

#include "base/buffer.h"

enum { STACK_FRAMES_MAX = 48 };

void stack_open(void);

/* The calling thread blocks all signals but the one that asks, has this name (at most 15 bytes) in
 * ps and top, and runs on this CPU alone (-1: on any). Returns its number for the kernel. */
pid_t stack_begin_thread(const char *name, int cpu);

void stack_ask(pid_t thread);

/* Appends `difyring+0x1a2b libuv.so.1(uv_run+0x9c) ...`, the innermost first, or `no answer`; then
 * what the kernel says: `; state D in folio_wait`. An address in difyring is for
 * addr2line -e of the very same build. */
void stack_text(pid_t thread, struct buffer *ret_text);

#endif
