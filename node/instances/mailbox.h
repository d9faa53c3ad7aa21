/* mailbox: what workers and control tell each other of an instance, through the words of struct
 * instance_live: failures and the ends of trials one way, the route word the other. mailbox.c has
 * the rules. */
#ifndef INSTANCES_MAILBOX_H
#define INSTANCES_MAILBOX_H

#include <stdbool.h>
#include <stdint.h>

#include "health/passive.h"
#include "health/reason.h"

struct tracked_application;
struct tracked_instance;

/* Of an instance: what of its words has been taken into account. */
struct mailbox_seen {
    uint64_t answers; /* `passive` knows of so many */
    bool taken_known; /* `passive` has been told that the trial on offer was taken */
};

/* Empties the mailboxes of the application's instances, and lets time pass. Sets due.vote if a vote
 * changed, and due.deadline_ms. */
void mailbox_collect(struct tracked_application *a, uint64_t now_ms);

/* The state of its passive was `before`. If it is another one now, why: health/reason. `ok` is what
 * has led to OK, its kind, count and detail. */
void mailbox_note_change(struct tracked_instance *i, enum passive_state before, struct reason ok);

/* Writes what follows from the verdicts to where workers read it. */
void mailbox_publish(struct tracked_application *a, uint64_t now_ms);

#endif
