/* host: a machine: its name, its address, its clocks, its disk and its configuration file. At most
 * one process runs on it. */
#ifndef TESTS_SIM_HOST_H
#define TESTS_SIM_HOST_H

#include "base/buffer.h"
#include "tests/sim/process.h"
#include "tests/sim/world.h"

enum { HOST_JOIN_MAX = 4, HOST_NAME_SIZE = 16 };

/* What was true when a file was written: a process that starts from it may not know less. */
struct disk_promise {
    uint64_t requests;
    unsigned drained; /* one bit an instance, see work_drained() */
};

struct disk {
    struct buffer generation, shared, state;
    struct disk_promise promise;
    struct buffer older_state; /* the one before: what a backup may bring back */
    struct disk_promise older_promise;
    uint64_t shared_revision;
    bool state_damaged; /* and must not be taken over */
};

struct host {
    uint32_t index;
    uint32_t identity; /* index of the first host with this name: another one's for a clone */
    char name[HOST_NAME_SIZE];
    uint8_t epoch; /* how often its address has changed */
    struct gossip_address address;
    uint64_t boot_us;       /* what its monotonic clock shows at the start of the world */
    int64_t wall_offset_ms; /* how wrong its wall clock is */
    struct disk disk;
    size_t file_text; /* the shared part of its configuration file: index in world.texts */
    uint32_t join[HOST_JOIN_MAX];
    size_t join_count;
    struct process *process; /* NULL: nothing runs */
    bool gone;               /* the machine with it: its kernel says nothing any more */
    unsigned starts_due;     /* planned restarts, see faults.c */
};

void host_init(struct host *h, struct world *w, uint32_t index);
void host_done(struct host *h);

uint64_t host_now_ms(const struct world *w, const struct host *h);
uint64_t host_wall_ms(const struct world *w, const struct host *h);

/* Makes `clone` a copy of `from`: name, disk and file; the address stays its own. */
void host_clone(struct host *clone, const struct host *from);

void host_change_address(struct world *w, struct host *h);

/* ---- the disk: files of state_dir ---- */

enum disk_condition { DISK_GOOD, DISK_OLD, DISK_DAMAGED, DISK_EMPTY, DISK_CONDITIONS };
const char *disk_condition_text(enum disk_condition condition);

/* What the disk is like when the next process starts. Damage: bytes change or are cut off, in any
 * of the files. */
void disk_become(struct world *w, struct disk *d, enum disk_condition condition);
void disk_save_generation(struct process *p, uint64_t generation);
void disk_save_shared(struct process *p);
void disk_save_state(struct process *p);
/* The generation of a start now. */
uint64_t disk_next_generation(struct world *w, const struct host *h);

#endif
