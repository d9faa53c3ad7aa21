/* exchange_walk: the random life around exchange_model: a client, instances and sockets that do
 * anything the real ones may do, in any order, and a driver that reads and flushes as
 * proxy/exchange*.c and net/stream.c do. */
#include "exchange_model.h"

#include <stddef.h>

static uint64_t below(struct model *m, uint64_t bound)
{
    return prng_below(&m->prng, bound);
}

static bool one_in(struct model *m, uint64_t n)
{
    return below(m, n) == 0;
}

/* Has the same read brought the rest of a body in chunks? */
static bool at_hand(struct model *m)
{
    bool all = m->request.size == 0 && !m->ended && !m->endless && !m->paused_down;
    return all && !m->by_hand && m->body_left <= MODEL_READ_MAX && one_in(m, 2);
}

void model_step_with(struct model *m, struct exchange_input in, int pick, int connect)
{
    model_one_step(m, in);
    while (!m->broken && m->finishes == 0) {
        in = (struct exchange_input){.kind = in.kind};
        if ((m->out.what & EXCHANGE_DO_PICK) && m->places) {
            in = model_place(m, m->in.kind);
        } else if (m->out.what & EXCHANGE_DO_PICK) {
            static const enum exchange_input_kind ways[] = {
                EXCHANGE_NONE_LEFT, EXCHANGE_PICKED, EXCHANGE_QUEUED, EXCHANGE_CROWDED,
                EXCHANGE_PICKED,    EXCHANGE_PICKED, EXCHANGE_PICKED, EXCHANGE_QUEUED,
                EXCHANGE_SEARCHING, EXCHANGE_ABSENT, EXCHANGE_PICKED, EXCHANGE_PICKED};
            in.kind = ways[pick < 0 ? prng_below(&m->prng, 8) : (uint64_t)pick];
            in.asks = m->asks = pick == MODEL_ASKS;
            in.bound = m->bound = pick == MODEL_BOUND || in.asks;
            in.look_ms = 200;
            in.hold_ms = m->hold_ms;
            in.at_hand =
                (in.kind == EXCHANGE_NONE_LEFT || in.kind == EXCHANGE_CROWDED) && at_hand(m);
            m->searching = in.kind == EXCHANGE_SEARCHING;
        } else if (m->out.what & (EXCHANGE_DO_CONNECT | EXCHANGE_DO_RECONNECT)) {
            int way = connect < 0 ? (int)prng_below(&m->prng, 3) : connect;
            if (way == 2) {
                m->reused = false;
                return;
            }
            m->reused = way == 1;
            in.kind = way == 1 ? EXCHANGE_UP_CONNECTED : EXCHANGE_UP_FAILED;
        } else {
            return;
        }
        model_one_step(m, in);
    }
}

void model_step(struct model *m, struct exchange_input in)
{
    model_step_with(m, in, -1, -1);
}

static bool over(const struct model *m)
{
    return m->broken || m->finishes > 0;
}

static void tell(struct model *m, enum exchange_input_kind kind)
{
    model_step(m, (struct exchange_input){.kind = kind});
}

void model_init(struct model *m, uint64_t seed)
{
    *m = (struct model){.now_ms = 1000, .may_repeat = true};
    prng_init(&m->prng, seed);
    static const uint64_t body_max[] = {700, 100 * 1000, 1000 * 1000, 4000 * 1000};
    static const uint64_t times_ms[] = {20, 300, 5000, 60000};
    m->rules = (struct exchange_rules){
        .attempts = 1 + (uint32_t)below(m, 3),
        .retry_timeout_ms = times_ms[below(m, 4)],
        .body_size_max = body_max[below(m, 4)],
        .request_body_ms = times_ms[below(m, 4)],
        .connect_ms = times_ms[below(m, 4)],
        .first_byte_ms = times_ms[below(m, 4)],
        .idle_ms = times_ms[below(m, 4)],
        .queue_timeout_ms = times_ms[below(m, 4)],
        .search_ms = times_ms[below(m, 4)],
        .client_gone = (enum client_gone)below(m, CLIENT_GONE_STOP + 1),
        .body_rate = one_in(m, 2) ? 0 : 1 + (uint32_t)below(m, 5000),
        .retry_statuses = &m->retry_statuses,
        .failure_statuses = &m->failure_statuses,
    };
    for (unsigned status = 502; status <= 504; status++) {
        status_set_add(&m->retry_statuses, status);
        status_set_add(&m->failure_statuses, status);
    }
    status_set_add(&m->failure_statuses, 500);
    exchange_core_init(&m->core, &m->rules, m->now_ms);
}

/* ---- the client ---- */

static void begin(struct model *m)
{
    bool local = one_in(m, 16);
    m->places = one_in(m, 3);
    m->asks = m->places && one_in(m, 2);
    bool no_body = one_in(m, 3);
    m->body_left = no_body ? 0 : one_in(m, 3) ? 1 + below(m, 900) : 1 + below(m, 600 * 1000);
    m->settle_at = one_in(m, 2) || no_body ? 0 : 1 + below(m, m->body_left + 100);
    uint64_t announced = one_in(m, 2) ? m->body_left : 0;
    m->endless = announced == 0 && !no_body && one_in(m, 4); /* chunked: more may always come */
    if (one_in(m, 30)) { /* nobody may ask for that, or a malformed head */
        model_step(m, (struct exchange_input){.kind = EXCHANGE_REFUSE,
                                              .reply = EXCHANGE_REPLY_UNAUTHORIZED,
                                              .size = announced,
                                              .keep_alive = one_in(m, 2),
                                              .expects = one_in(m, 4),
                                              .ended = no_body,
                                              .at_hand = announced == 0 && !no_body && at_hand(m)});
        return;
    }
    model_step(m, (struct exchange_input){
                      .kind = local ? EXCHANGE_ASK_LOCAL : EXCHANGE_BEGIN,
                      .size = announced,
                      .settled = m->settle_at == 0,
                      .method = (enum http_method_class)below(m, HTTP_CLASS_SAFE + 1),
                      .expects = one_in(m, 4),
                      .keep_alive = !one_in(m, 4),
                      .upgrade = one_in(m, 4),
                      .takes_interim = !one_in(m, 4),
                      .ended = no_body,
                  });
}

static void body_piece(struct model *m, uint64_t size)
{
    m->body_left -= size;
    bool settled = m->body_in + size >= m->settle_at;
    bool waits = model_goes_on_waiting(m, size, settled);
    model_step(m, (struct exchange_input){
                      .kind = EXCHANGE_DOWN_BODY,
                      .size = size,
                      .settled = settled,
                      .full = waits && (m->full || one_in(m, 8)),
                      .pending = m->connected ? m->up_waiting : 0,
                  });
}

/* One read: its pieces come whatever is paused meanwhile. */
static void client_sends(struct model *m)
{
    uint64_t room = one_in(m, 2) ? MODEL_READ_MAX : 1 + below(m, 3000);
    while (!over(m) && room > 0 && m->body_left > 0) {
        uint64_t most = room < m->body_left ? room : m->body_left;
        uint64_t size = one_in(m, 2) ? most : 1 + below(m, most);
        room -= size;
        body_piece(m, size);
        if (!over(m) && one_in(m, 40)) {
            tell(m, EXCHANGE_DOWN_BAD);
        }
    }
    if (m->endless && m->body_left == 0) {
        m->body_left = 1 + below(m, 600 * 1000);
        m->endless = !one_in(m, 3);
    } else if (!over(m) && m->body_left == 0 && room > 0) {
        tell(m, EXCHANGE_DOWN_END);
    }
}

/* With a piece of the body, or its end. */
static void refused_in_body(struct model *m)
{
    bool more = !m->ended && !m->paused_down;
    uint64_t size = more ? below(m, (m->body_left < 9000 ? m->body_left : 9000) + 1) : 0;
    m->body_left -= size;
    bool ended = more && m->body_left == 0 && !m->endless && one_in(m, 2);
    model_step(m, (struct exchange_input){.kind = EXCHANGE_REFUSE,
                                          .reply = EXCHANGE_REPLY_USER_REQUIRED,
                                          .size = size,
                                          .ended = ended,
                                          .at_hand = !ended && at_hand(m)});
}

static bool client_can_send(const struct model *m)
{
    return !m->paused_down && !m->half_gone && !m->ended;
}

static void client_leaves(struct model *m)
{
    if (m->paused_down) {
        return; /* nobody reads there, so nobody knows */
    }
    bool half = !m->half_gone && one_in(m, 2);
    model_step(m, (struct exchange_input){.kind = EXCHANGE_DOWN_GONE,
                                          .may_read = half,
                                          .read_on = one_in(m, 2),
                                          .streams = one_in(m, 2)});
}

/* ---- an instance ---- */

static uint16_t some_status(struct model *m)
{
    static const uint16_t statuses[] = {200, 200, 200, 404, 429, 500, 502, 503};
    return statuses[below(m, sizeof(statuses) / sizeof(statuses[0]))];
}

static void response_piece(struct model *m)
{
    uint64_t size = one_in(m, 2) ? MODEL_READ_MAX / 2 : 1 + below(m, 3000);
    model_step(m, (struct exchange_input){
                      .kind = EXCHANGE_UP_BODY, .size = size, .pending = m->down_waiting});
}

static void response_end(struct model *m)
{
    model_step(m, (struct exchange_input){.kind = EXCHANGE_UP_END, .reusable = !one_in(m, 3)});
}

/* What else one read of the response brings. */
static void rest_of_read(struct model *m)
{
    uint32_t attempt = m->attempts;
    if (!over(m) && m->attempts == attempt && m->core.phase == EXCHANGE_RESPOND && one_in(m, 4)) {
        tell(m, EXCHANGE_UP_TASK);
    }
    for (unsigned pieces = (unsigned)below(m, 3); pieces > 0; pieces--) {
        if (!over(m) && m->attempts == attempt && m->core.phase == EXCHANGE_RESPOND) {
            response_piece(m);
        }
    }
    if (!over(m) && m->attempts == attempt && m->core.phase == EXCHANGE_RESPOND && one_in(m, 4)) {
        if (one_in(m, 8)) {
            tell(m, EXCHANGE_UP_GARBAGE);
        } else {
            response_end(m);
        }
    }
}

static void instance_breaks(struct model *m)
{
    bool deaf = one_in(m, 2) && !m->deaf;
    if (m->reused && !m->any_taken && m->core.phase == EXCHANGE_SEND) {
        if (m->up_waiting > 0) { /* is_stale() in exchange_up.c, by either event */
            tell(m, EXCHANGE_UP_STALE);
        }
        return;
    }
    if (deaf) {
        if (m->up_waiting > 0) {
            tell(m, EXCHANGE_UP_DEAF);
        }
        return;
    }
    model_step(m, (struct exchange_input){.kind = EXCHANGE_UP_GONE, .unsent = !m->any_taken});
}

static void instance_answers(struct model *m)
{
    if (m->core.asks && exchange_core_is_replayable(&m->core) && one_in(m, 2)) {
        model_step(m, (struct exchange_input){.kind = EXCHANGE_UP_NOT_HERE,
                                              .status = some_status(m),
                                              .reusable = one_in(m, 2)});
        return;
    }
    switch (below(m, 8)) {
    case 0:
        tell(m, EXCHANGE_UP_INTERIM);
        break;
    case 1:
        if (m->request.upgrade || one_in(m, 10)) {
            tell(m, EXCHANGE_UP_SWITCH);
        }
        break;
    case 2:
        if (one_in(m, 4)) {
            tell(m, EXCHANGE_UP_GARBAGE);
        }
        break;
    default:
        model_step(m, (struct exchange_input){.kind = EXCHANGE_UP_HEAD,
                                              .status = some_status(m),
                                              .streams = one_in(m, 2),
                                              .read_on = !one_in(m, 4),
                                              .until_close = one_in(m, 8)});
        rest_of_read(m);
        break;
    }
}

static void tunnel_ends(struct model *m)
{
    static const enum exchange_finish ways[] = {EXCHANGE_FINISH_CLOSE, EXCHANGE_FINISH_CUT,
                                                EXCHANGE_FINISH_RESET};
    model_step(m,
               (struct exchange_input){.kind = EXCHANGE_TUNNEL_END, .finish = ways[below(m, 3)]});
}

static void instance_acts(struct model *m)
{
    switch (m->core.phase) {
    case EXCHANGE_SEARCH:
        if (one_in(m, 3)) {
            m->searching = false;
            tell(m, EXCHANGE_FOUND);
        }
        break;
    case EXCHANGE_AWAY: /* time tells */
        break;
    case EXCHANGE_WAIT:
        if (one_in(m, 3)) {
            tell(m, one_in(m, 4) ? EXCHANGE_MOVED : EXCHANGE_SLOT);
        }
        break;
    case EXCHANGE_CONNECT:
        if (one_in(m, 6)) {
            model_step(
                m, (struct exchange_input){.kind = EXCHANGE_UP_LACKING, .elsewhere = one_in(m, 2)});
        } else {
            tell(m, one_in(m, 3) ? EXCHANGE_UP_FAILED : EXCHANGE_UP_CONNECTED);
        }
        break;
    case EXCHANGE_SEND:
        if (one_in(m, 6)) {
            instance_breaks(m);
        } else if (one_in(m, 3)) {
            instance_answers(m);
        }
        break;
    case EXCHANGE_RESPOND:
        if (one_in(m, 16)) {
            instance_breaks(m);
        } else if (!m->paused_up) {
            rest_of_read(m);
        }
        break;
    case EXCHANGE_TUNNEL:
        if (one_in(m, 6)) {
            tunnel_ends(m);
        }
        break;
    case EXCHANGE_LOCAL:
        if (one_in(m, 6)) {
            model_step(m,
                       (struct exchange_input){.kind = EXCHANGE_ANSWERED, .at_hand = at_hand(m)});
        }
        break;
    case EXCHANGE_START:
    case EXCHANGE_HOLD:
    case EXCHANGE_PICK:
    case EXCHANGE_DONE:
        break;
    }
}

/* What a pick gives to a request that belongs somewhere: it is searched for once, and what could
 * not be delivered there waits. */
struct exchange_input model_place(struct model *m, enum exchange_input_kind after)
{
    bool failed = m->attempts > 0 && after != EXCHANGE_DEADLINE && after != EXCHANGE_MOVED;
    struct exchange_input in = {
        .kind = EXCHANGE_PICKED, .bound = true, .look_ms = 1 + m->rules.queue_timeout_ms / 4};
    uint64_t way = prng_below(&m->prng, 8);
    if (m->asks && m->asked < 4 && way > 1) {
        m->asked++;
        in.asks = m->bound = true;
        in.kind = way == 2 ? EXCHANGE_QUEUED : EXCHANGE_PICKED;
        return in;
    }
    if (m->asks && after == EXCHANGE_UP_NOT_HERE && way > 0) {
        return (struct exchange_input){.kind = EXCHANGE_REFUSE, .reply = EXCHANGE_REPLY_KEPT};
    }
    if (!m->searched && way > 4) {
        in.kind = EXCHANGE_SEARCHING;
        m->searched = m->searching = true;
    } else if (failed || way == 0) {
        in.kind = EXCHANGE_ABSENT;
        in.hold_ms = prng_below(&m->prng, 2) * (1 + prng_below(&m->prng, MODEL_HOLD_MS));
    } else if (way == 1 && m->attempts == 0) {
        in.kind = EXCHANGE_REFUSE;
        in.reply = EXCHANGE_REPLY_NOT_FOUND;
    } else if (way == 2) {
        in.kind = prng_below(&m->prng, 2) ? EXCHANGE_QUEUED : EXCHANGE_CROWDED;
    }
    m->bound = in.kind == EXCHANGE_PICKED || in.kind == EXCHANGE_QUEUED || m->bound;
    return in;
}

/* ---- sockets and time ---- */

/* All of it, or a part. */
static uint64_t taken(struct model *m, uint64_t waiting)
{
    return one_in(m, 3) ? below(m, waiting) : waiting;
}

static void socket_up(struct model *m)
{
    if (m->core.phase == EXCHANGE_HOLD && m->full) { /* the file has been written */
        tell(m, EXCHANGE_SENT_UP);
        return;
    }
    if (!m->sent_head || m->deaf || m->up_waiting == 0 || m->tunnel) {
        return;
    }
    uint64_t size = taken(m, m->up_waiting);
    m->up_waiting -= size;
    m->any_taken = m->any_taken || size > 0;
    m->may_repeat = m->may_repeat && size == 0;
    m->up_first = m->up_first > size ? m->up_first - size : 0;
    if (m->up_waiting == 0) {
        tell(m, EXCHANGE_SENT_UP);
    } else if (one_in(m, 2)) { /* of what is kept in a file */
        model_step(m, (struct exchange_input){.kind = EXCHANGE_SENT_UP, .more = true});
    }
}

static void socket_down(struct model *m)
{
    if (m->down_waiting > 0 && !m->tunnel) {
        uint64_t size = taken(m, m->down_waiting);
        m->down_waiting -= size;
        m->taken_ms = size > 0 ? m->now_ms : m->taken_ms;
        if (m->down_waiting == 0) {
            tell(m, EXCHANGE_SENT_DOWN);
        }
    }
}

/* The timer fires at its deadline or up to a wheel's tick late; now and then it finds that the
 * deadline has moved. */
static void time_passes(struct model *m)
{
    uint64_t deadline_ms = exchange_core_deadline_ms(&m->core);
    uint64_t ahead_ms = deadline_ms > m->now_ms ? deadline_ms - m->now_ms : 0;
    if (deadline_ms > 0 && one_in(m, 6)) {
        m->now_ms += ahead_ms + below(m, MODEL_LATE_MS + 1);
        tell(m, EXCHANGE_DEADLINE);
    } else if (ahead_ms > 0) {
        m->now_ms += below(m, one_in(m, 4) ? ahead_ms : ahead_ms / 8 + 1);
        if (one_in(m, 20)) {
            tell(m, EXCHANGE_DEADLINE);
            m->broken = m->out.what && !m->broken ? "a deadline that moved is not over" : m->broken;
        }
    }
}

bool model_act(struct model *m)
{
    if (m->core.phase == EXCHANGE_START) {
        begin(m);
        return !over(m);
    }
    uint64_t what = below(m, 100);
    m->draining = m->draining != one_in(m, 50); /* and back */
    if (what < 30) {
        if (client_can_send(m)) {
            client_sends(m);
        }
    } else if (what < 60) {
        instance_acts(m);
    } else if (what < 75) {
        socket_up(m);
    } else if (what < 90) {
        socket_down(m);
    } else if (what < 98) {
        time_passes(m);
    } else if (what == 98) {
        client_leaves(m);
    } else if (one_in(m, 3) && !m->orphan) {
        refused_in_body(m);
    }
    return !over(m);
}

void model_run_out(struct model *m)
{
    /* Each attempt can wait for its connection, its answer and a deaf instance's last word; and a
     * client that has its answer before it is looked at meanwhile. */
    uint64_t looks = m->rules.idle_ms / exchange_look_ms(m->rules.idle_ms) + 2;
    for (uint64_t i = 0; i < 3 * m->rules.attempts + 2 + 2 * looks + 16 && !over(m); i++) {
        if (m->core.phase == EXCHANGE_LOCAL) {
            tell(m, EXCHANGE_ANSWERED);
            continue;
        }
        if (m->core.phase == EXCHANGE_TUNNEL) {
            tunnel_ends(m);
            continue;
        }
        uint64_t deadline_ms = exchange_core_deadline_ms(&m->core);
        m->now_ms = deadline_ms > m->now_ms ? deadline_ms : m->now_ms;
        tell(m, EXCHANGE_DEADLINE);
    }
    if (!over(m)) {
        m->broken = "when nobody acts any more the deadlines end it";
    }
}
