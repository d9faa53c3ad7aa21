/* life: one timer for the core's deadline, one that looks at the doors during the last call, and a
 * function for each order. Nothing here decides. */
#include "control/life.h"

#include <arpa/inet.h>
#include <string.h>

#include "control/handover.h"
#include "control/private.h"
#include "life/notify.h"
#include "worker/last_call.h"

enum {
    /* What a stop takes beside timeouts.drain: the address moves, idle connections end, state is
     * written. */
    STOP_BESIDES_MS = 30 * 1000,
};

/* ---- orders ---- */

static void say_ready(struct control *c)
{
    struct log_field fields[] = {log_unsigned("workers", c->worker_count)};
    log_event(c->producer, LOG_INFO, "ready", fields, 1);
    notify_ready();
}

static void log_out_of_service(struct control *c)
{
    const char *asked = c->life_driver.asked;
    struct log_field fields[] = {log_bool("draining", life_is_draining(&c->life)),
                                 log_text("asked_by", asked ? asked : "")};
    log_event(c->producer, LOG_INFO, "node_drain", fields, asked ? 2 : 1);
}

const char *life_ended_by(const struct control *c)
{
    return c->life_driver.ended_by ? c->life_driver.ended_by : "itself";
}

static void drain_workers(struct control *c)
{
    if (c->life.phase == LIFE_DRAINING) {
        notify_stopping(c->conf->timeouts.drain_ms + STOP_BESIDES_MS);
        struct log_field by = log_text("asked_by", life_ended_by(c));
        log_event(c->producer, LOG_INFO, "draining", &by, 1);
    } else {
        log_out_of_service(c);
    }
    for (size_t w = 0; w < c->worker_count; w++) {
        worker_drain(c->workers[w], c->life.epoch);
    }
}

static void enable_workers(struct control *c)
{
    log_out_of_service(c);
    for (size_t w = 0; w < c->worker_count; w++) {
        worker_enable(c->workers[w]);
    }
}

/* As 16 bytes; IPv4 as ::ffff:0:0/96. */
static void raw_address(const char *text, uint8_t ret_raw[16])
{
    if (inet_pton(AF_INET, text, ret_raw + 12) == 1) {
        memset(ret_raw, 0, 10);
        memset(ret_raw + 10, 0xFF, 2);
    } else {
        inet_pton(AF_INET6, text, ret_raw);
    }
}

static void part(struct control *c)
{
    bool all = c->life.phase == LIFE_DRAINING;
    uint8_t address[16];
    if (!all) {
        raw_address(handover_address(c), address);
    }
    for (size_t w = 0; w < c->worker_count; w++) {
        worker_part(c->workers[w], all ? NULL : address, c->life.epoch);
    }
}

static void on_doors(uv_timer_t *timer)
{
    struct control *c = timer->data;
    /* all workers have the same ports; in a sandbox that shuts none clients may never stop coming
     */
    if (!c->life_driver.doors_shut || worker_door_is_empty(c->workers[0])) {
        life_tell(c, LIFE_DOORS_EMPTY);
    }
}

static void shut_doors(struct control *c)
{
    bool shut = true;
    for (size_t w = 0; w < c->worker_count; w++) {
        shut &= worker_shut_door(c->workers[w], c->worker_count);
    }
    c->life_driver.doors_shut = shut;
    uv_timer_start(&c->life_driver.doors, on_doors, 0, LAST_CALL_MS);
}

static void close_doors(struct control *c)
{
    uv_timer_stop(&c->life_driver.doors);
    for (size_t w = 0; w < c->worker_count; w++) {
        worker_stop_accepting(c->workers[w], c->life.epoch);
    }
}

static void log_cut(struct control *c)
{
    uint64_t left = 0;
    for (size_t w = 0; w < c->worker_count; w++) {
        left += worker_exchanges(c->workers[w]);
    }
    struct log_field fields[] = {log_unsigned("exchanges_cut", left)};
    log_event(c->producer, LOG_WARNING, "drain_timed_out", fields, 1);
}

/* In the order of the bits of enum life_order. */
static const struct {
    enum life_order order;
    void (*carry_out)(struct control *c);
} actions[] = {
    {LIFE_TELL_KEEPALIVED, handover_tell},
    {LIFE_READY, say_ready},
    {LIFE_DRAIN_WORKERS, drain_workers},
    {LIFE_ENABLE_WORKERS, enable_workers},
    {LIFE_PART, part},
    {LIFE_SHUT_DOORS, shut_doors},
    {LIFE_CLOSE_DOORS, close_doors},
    {LIFE_ADDRESS_STAYS, handover_log_stays},
    {LIFE_CUT, log_cut},
    {LIFE_STOP, control_stop},
};

/* ---- inputs ---- */

static void on_deadline(uv_timer_t *timer)
{
    life_tell(timer->data, LIFE_TIME);
}

static void arm(struct control *c)
{
    uint64_t deadline_ms = life_deadline_ms(&c->life), now_ms = net_now_ms(&c->net);
    if (deadline_ms == 0) {
        uv_timer_stop(&c->life_driver.deadline);
    } else {
        uint64_t wait_ms = deadline_ms > now_ms ? deadline_ms - now_ms : 0;
        uv_timer_start(&c->life_driver.deadline, on_deadline, wait_ms, 0);
    }
}

void life_feed(struct control *c, const struct life_input *in)
{
    unsigned orders = life_step(&c->life, net_now_ms(&c->net), in);
    atomic_store(&c->joining, !c->life.joined);
    if (c->life.phase != LIFE_STOPPED) {
        arm(c);
    }
    for (size_t i = 0; i < sizeof(actions) / sizeof(actions[0]); i++) {
        if (orders & actions[i].order) {
            actions[i].carry_out(c);
        }
    }
}

void life_tell(struct control *c, enum life_input_kind kind)
{
    struct life_input in = {.kind = kind};
    if (kind == LIFE_DRAIN || kind == LIFE_TERMINATE) {
        in.can_hand_over = handover_is_possible(c);
        in.drain_ms = c->conf->timeouts.drain_ms;
    }
    life_feed(c, &in);
}

void life_note_quiet(struct control *c, uint32_t epoch)
{
    struct life_driver *d = &c->life_driver;
    pthread_mutex_lock(&c->lock);
    if (epoch > d->quiet_epoch) {
        d->quiet_epoch = epoch;
        d->quiet_count = 0;
    }
    d->quiet_count +=
        epoch == d->quiet_epoch; /* one of an earlier drain was only quick to say so */
    pthread_mutex_unlock(&c->lock);
}

void life_take_quiet(struct control *c)
{
    struct life_driver *d = &c->life_driver;
    pthread_mutex_lock(&c->lock);
    struct life_input in = {.kind = LIFE_QUIET, .epoch = d->quiet_epoch};
    uint32_t count = d->quiet_count;
    d->quiet_count = 0;
    pthread_mutex_unlock(&c->lock);
    while (count-- > 0) {
        life_feed(c, &in);
    }
}

void life_open(struct control *c)
{
    uv_timer_init(&c->net.uv, &c->life_driver.deadline);
    uv_timer_init(&c->net.uv, &c->life_driver.doors);
    c->life_driver.deadline.data = c;
    c->life_driver.doors.data = c;
}

void life_close(struct control *c)
{
    uv_close((uv_handle_t *)&c->life_driver.deadline, NULL);
    uv_close((uv_handle_t *)&c->life_driver.doors, NULL);
}
