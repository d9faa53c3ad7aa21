/* adopt: from a configuration to one that is in force, without a long turn of the loop.
 *
 *   IDLE -> READING* -> BUILDING* -> BINDING -> INDEXING* -> (commit) -> SETTING_UP -> DECIDING
 *        -> (in force: workers, answers) -> HANDING_OVER -> SWEEPING -> DROPPING* -> IDLE
 *
 * READING also compares the file with what is in force and with the base (SPEC §6). What would take
 * others' changes back, and a dry run, ends there, with an answer. While a better configuration of
 * the cluster is on its way a reload waits for it, for a while: it is compared with that one.
 *
 * * on a thread of the pool, which owns what it works on meanwhile; the others are pieces on the
 * loop (slices.h). One at a time: reloads that are asked for meanwhile are all answered by the next
 * one, and a shared configuration that the cluster brings waits, too. Until the commit all see the
 * old configuration; the workers get the new one when its instances have their verdicts.
 *
 * Sweeping hands on who waits at an instance that leaves. So it begins when all workers have the
 * new one: with the old one there would be nowhere else to go.
 *
 * Who ends the process ends this: the pool is told and stops early, adopt_free() clears up. */
#ifndef CONTROL_ADOPT_H
#define CONTROL_ADOPT_H

#include "assembly/secure.h"
#include "base/buffer.h"
#include "conf/forms/compare.h"
#include "net/slices.h"
#include "snapshot/snapshot.h"
#include "worker/job.h"

enum adopt_phase {
    ADOPT_IDLE,
    ADOPT_READING,
    ADOPT_BUILDING,
    ADOPT_BINDING,
    ADOPT_INDEXING,
    ADOPT_SETTING_UP,
    ADOPT_DECIDING,
    ADOPT_HANDING_OVER,
    ADOPT_SWEEPING,
    ADOPT_DROPPING,
};

enum adopt_kind {
    ADOPT_START,  /* control.conf as it was read */
    ADOPT_RELOAD, /* the file, read again */
    ADOPT_SHARED, /* control.conf with a shared part from the cluster */
};

struct adoption {
    enum adopt_phase phase;
    enum adopt_kind kind;
    uv_work_t work;
    struct slice slice;
    size_t at;           /* of the applications */
    struct list *cursor; /* of the sweep */
    _Atomic bool cancelled;
    bool in_force_once; /* the start's is */

    /* What a reload is asked for with, from begin_reload() on. */
    unsigned given; /* of enum local_parameter */
    char asked[JOB_ASKED_SIZE + 1];
    uint64_t give_up_ms; /* until then it waits for what the cluster has; 0 = not yet set */

    /* Until the commit. */
    struct conf *conf;      /* RELOAD: what the file gave */
    struct secured secured; /* START, RELOAD: what `conf` names */
    struct conf *shared;    /* the shared part that stands in the place of its own */
    struct conf view;       /* what is built from: points into those above and control.conf */
    struct buffer text;     /* of `shared` */
    struct buffer file;     /* RELOAD: canonical; holds tokens, as `text` does */
    uint8_t file_digest[SHA256_SIZE];
    struct buffer base;                  /* RELOAD: until it was compared */
    bool is_base;                        /* the file says what the base says */
    struct conf_differences differences; /* of what was in force: the file's, or the new one's */
    struct conf_problems problems, weak;
    struct snapshot *snapshot;
    char config_digest[2 * SHA256_SIZE + 1];
    uint64_t revision; /* in force until then */

    struct snapshot *old_snapshot;
    struct conf *old_conf;

    bool signalled;                 /* a reload is wanted after this, by SIGHUP */
    struct list waiting, answering; /* of struct local_job: those that want one */
};

struct control;

void adopt_open(struct control *c);
void adopt_start(struct control *c);

/* Reads the file again, now or after what is under way. `job` (taken over) is answered when it is
 * in force or refused; NULL: SIGHUP, and the log tells. */
void adopt_reload(struct control *c, struct local_job *job);

/* Of settle.c: what is waited for has come (a reload that is wanted, a shared configuration of
 * the cluster, the end of a round of verdicts with its digest), and goes on by it. */
bool adopt_may_go_on(const struct control *c);
void adopt_settle(struct control *c);
uint64_t adopt_deadline_ms(const struct control *c); /* when it does, whatever comes */

/* The shared revision that is in force here. */
uint64_t adopt_revision(const struct control *c);

void adopt_close(struct control *c); /* nobody is answered any more */
void adopt_free(struct control *c);  /* after the loop has ended */

#endif
