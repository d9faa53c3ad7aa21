/* slots_model: requests that come, wait, connect, end, leave; workers that close idle connections
 * late; limits, other nodes and instances that change under them. */
#include "slots_model.h"

static uint64_t below(struct slots_model *m, uint64_t bound)
{
    return m->choose(m->arg, bound);
}

static void demand(struct slots_model *m, bool kept, const char *promise)
{
    if (!kept && !m->broken) {
        m->broken = promise;
    }
}

void slots_model_init(struct slots_model *m, uint64_t (*choose)(void *arg, uint64_t bound),
                      void *arg)
{
    *m = (struct slots_model){.choose = choose, .arg = arg, .now_ms = 1000, .size = 20};
    slots_init(&m->slots, MODEL_WORKERS);
    slots_configure(&m->slots, 1 + (uint32_t)below(m, 12), m->now_ms);
}

void slots_model_done(struct slots_model *m)
{
    for (size_t i = 0; i < MODEL_LINES; i++) {
        slot_line_done(&m->lines[i]);
    }
    slots_done(&m->slots);
}

/* ---- promises ---- */

static uint32_t idle_of(const struct slots_model *m, unsigned worker)
{
    uint32_t sum = 0;
    for (size_t i = 0; i < MODEL_LINES; i++) {
        sum += m->idle[i][worker] + m->parting[i][worker];
    }
    return sum;
}

static uint32_t connections(const struct slots_model *m)
{
    uint32_t sum = m->checks + m->unknown;
    for (size_t i = 0; i < MODEL_REQUESTS; i++) {
        sum += m->requests[i].held && m->requests[i].counted;
    }
    for (unsigned w = 0; w < MODEL_WORKERS; w++) {
        sum += idle_of(m, w);
    }
    return sum;
}

static uint32_t long_ones(const struct slots_model *m)
{
    uint32_t sum = m->unknown + m->slots.others.taken_long;
    for (size_t i = 0; i < MODEL_REQUESTS; i++) {
        const struct model_request *r = &m->requests[i];
        bool has = (r->held && r->counted) || r->waiter.state == SLOT_GRANTED;
        sum += has && r->waiter.class == SLOT_LONG;
    }
    return sum;
}

static uint32_t waiting(const struct slots_model *m, enum slot_class class)
{
    uint32_t sum = 0;
    for (size_t i = 0; i < MODEL_REQUESTS; i++) {
        const struct slot_waiter *w = &m->requests[i].waiter;
        sum += w->state == SLOT_WAITING && w->class == class;
    }
    return sum;
}

static uint32_t insisting(const struct slots_model *m, const struct slot_line *line)
{
    uint32_t sum = 0;
    for (size_t i = 0; i < MODEL_REQUESTS; i++) {
        const struct slot_waiter *w = &m->requests[i].waiter;
        sum += w->state == SLOT_WAITING && w->line == line && w->insists;
    }
    return sum;
}

static void check_waiters(struct slots_model *m)
{
    const struct slots *s = &m->slots;
    bool alone = s->others.rivals[SLOT_SHORT] == 0 && s->others.rivals[SLOT_LONG] == 0;
    if (alone && (s->max == 0 || slots_used(s) < s->max)) {
        demand(m, waiting(m, SLOT_SHORT) == 0, "no short one waits beside a free slot");
        demand(m, waiting(m, SLOT_LONG) == 0 || (s->max > 0 && long_ones(m) >= slots_long_max(s)),
               "no long one waits beside a free slot that it may have");
    }
    if (alone && s->idle > 0 && slots_used(s) >= s->max) {
        demand(m, waiting(m, SLOT_SHORT) <= s->asked, "idle ones are in nobody's way");
    }
    for (size_t i = 0; i < MODEL_LINES; i++) {
        demand(m, m->lines[i].count <= MODEL_REQUESTS, "a line has its waiters");
        demand(m, !m->lines[i].closed || m->lines[i].count == insisting(m, &m->lines[i]),
               "nobody but who insists waits for a closed one");
    }
    demand(m,
           s->lines.count[SLOT_SHORT] == waiting(m, SLOT_SHORT) &&
               s->lines.count[SLOT_LONG] == waiting(m, SLOT_LONG),
           "who waits is counted");
}

static void check(struct slots_model *m)
{
    const struct slots *s = &m->slots;
    bool limited = s->max > 0;
    m->squeezed =
        m->squeezed && limited && (slots_used(s) > s->max || long_ones(m) > slots_long_max(s));
    if (limited && !m->squeezed) {
        demand(m, slots_used(s) <= s->max, "no more than max");
        demand(m, connections(m) + s->others.taken <= s->max, "nor more connections");
        demand(m, long_ones(m) <= slots_long_max(s), "long ones leave some for short ones");
    }
    for (unsigned w = 0; w < MODEL_WORKERS; w++) {
        const struct slots_worker *at = &s->workers[w];
        demand(m, at->idle + at->owed + at->asked == idle_of(m, w),
               "each idle one is counted once");
    }
    check_waiters(m);
}

/* ---- what the driver does ---- */

static struct model_request *of_waiter(struct slot_waiter *w)
{
    return LIST_ENTRY(w, struct model_request, waiter);
}

static void take_told(struct slots_model *m)
{
    struct slot_waiter *w;
    while ((w = slots_take_told(&m->slots)) != NULL) {
        struct model_request *r = of_waiter(w);
        demand(m, ++r->told == 1, "each is told once");
        m->granted += w->state == SLOT_GRANTED;
        if (w->state == SLOT_MOVED) {
            m->moved++;
            w->state = SLOT_NONE;
        }
    }
    for (unsigned i = 0; i < MODEL_WORKERS; i++) {
        uint32_t asked = slots_asked(&m->slots, i);
        bool told_so = slots_take_asked(&m->slots, i);
        demand(m, asked <= m->asked_known[i] || told_so, "who is asked hears of it");
        m->asked_known[i] = asked;
    }
    check(m);
}

/* A request with a slot gets its connection: an idle one of its worker, or a new one. */
static void connect(struct slots_model *m, struct model_request *r)
{
    struct slot_place at = {r->waiter.line, r->waiter.worker};
    uint32_t *idle = &m->idle[at.line - m->lines][at.worker];
    bool reuses = *idle > 0 && below(m, 4) > 0;
    if (reuses) {
        --*idle;
        m->served_by_idle++;
        slots_idle_taken(&m->slots, &at, m->now_ms);
    }
    while (!reuses && slots_owes(&m->slots, &at)) { /* none will do: they go first */
        demand(m, *idle > 0, "a debt is a connection");
        --*idle;
        slots_idle_closed(&m->slots, &at, m->now_ms);
    }
    r->waiter.state = SLOT_NONE;
    r->held = r->counted = true;
    take_told(m);
}

static void ask(struct slots_model *m, struct model_request *r)
{
    struct slot_waiter *w = &r->waiter;
    r->told = 0;
    *w = (struct slot_waiter){
        .line = &m->lines[below(m, MODEL_LINES)],
        .user_key = below(m, MODEL_USERS),
        .class = below(m, 3) == 0 ? SLOT_SHORT : SLOT_LONG,
        .worker = (unsigned)below(m, MODEL_WORKERS),
        .insists = below(m, 6) == 0,
    };
    list_init(&w->turn);
    list_init(&w->place);
    switch (slots_ask(&m->slots, w, m->size, m->now_ms)) {
    case SLOT_GRANTED:
        connect(m, r);
        break;
    case SLOT_FULL:
        m->full++;
        demand(m, w->state == SLOT_NONE && w->line->count >= m->size, "full means full");
        break;
    case SLOT_MOVED:
        demand(m, w->line->closed && !w->insists, "only a closed one sends away");
        break;
    case SLOT_NONE:
    case SLOT_WAITING:
        break;
    }
    take_told(m);
}

static void finish(struct slots_model *m, struct model_request *r, enum slot_rest rest)
{
    struct slot_place at = {r->waiter.line, r->waiter.worker};
    r->held = false;
    m->idle[at.line - m->lines][at.worker] += rest == SLOT_REST_IDLE ? 1 : 0;
    m->parting[at.line - m->lines][at.worker] += rest == SLOT_REST_PARTING ? 1 : 0;
    slots_release(&m->slots, &at, r->waiter.class, rest, m->now_ms);
    take_told(m);
}

static void request_acts(struct slots_model *m, struct model_request *r)
{
    bool waits = r->waiter.state == SLOT_WAITING || r->waiter.state == SLOT_GRANTED;
    if (r->held) {
        finish(m, r, (enum slot_rest)below(m, 3));
    } else if (waits && below(m, 6) == 0) {
        slots_leave(&m->slots, &r->waiter, m->now_ms);
        take_told(m);
    } else if (r->waiter.state == SLOT_GRANTED) {
        connect(m, r);
    } else if (!waits) {
        ask(m, r);
    }
}

/* The worker closes what it was asked for, or what has been idle for too long. */
static void worker_acts(struct slots_model *m, unsigned w)
{
    for (size_t i = 0; i < MODEL_LINES; i++) {
        struct slot_place at = {&m->lines[i], w};
        bool due = slots_asked(&m->slots, w) > 0 || below(m, 6) == 0;
        if (m->parting[i][w] > 0 && below(m, 2) == 0) {
            m->parting[i][w]--;
            slots_parted(&m->slots, &at, m->now_ms);
            take_told(m);
        } else if (m->idle[i][w] > 0 && due && slots_part(&m->slots, &at)) {
            m->idle[i][w]--;
            m->parting[i][w]++;
            take_told(m);
        } else if (m->idle[i][w] > 0 && below(m, 6) == 0) {
            m->idle[i][w]--;
            slots_idle_closed(&m->slots, &at, m->now_ms);
            take_told(m);
        }
    }
}

static void check_acts(struct slots_model *m)
{
    if (m->checks > 0 && below(m, 2) == 0) {
        unsigned w = (unsigned)below(m, MODEL_WORKERS);
        m->checks--;
        if (below(m, 2) == 0) {
            m->parting[0][w]++;
            slots_check_parts(&m->slots, w);
        } else {
            slots_check_end(&m->slots, m->now_ms);
        }
    } else if (slots_check_begin(&m->slots, m->now_ms)) {
        m->checks++;
        demand(m, m->slots.max == 0 || slots_used(&m->slots) <= m->slots.max,
               "a check needs a free slot");
    }
    take_told(m);
}

static void others_act(struct slots_model *m)
{
    struct slots_others others = {.taken = (uint32_t)below(m, 6)};
    others.taken_long = (uint32_t)below(m, others.taken + 1u);
    for (enum slot_class class = 0; class < SLOT_CLASSES; class ++) {
        others.rivals[class] = below(m, 4) == 0 ? 1 + (uint32_t)below(m, 2) : 0;
        others.rank[class] = (uint32_t)below(m, others.rivals[class] + 1u);
    }
    m->squeezed = true;
    slots_set_others(&m->slots, &others, m->now_ms);
    take_told(m);
}

static void world_acts(struct slots_model *m)
{
    struct slot_line *line = &m->lines[below(m, MODEL_LINES)];
    switch (below(m, 8)) {
    case 0:
        m->squeezed = true;
        slots_configure(&m->slots, below(m, 8) == 0 ? 0 : 1 + (uint32_t)below(m, 12), m->now_ms);
        m->unknown = m->slots.unknown;
        break;
    case 1:
        others_act(m);
        break;
    case 2:
        slots_line_close(&m->slots, line, m->now_ms);
        break;
    case 3:
    case 4:
        slots_line_open(line);
        break;
    case 5:
        m->squeezed = true;
        m->unknown += m->slots.max > 0 ? 1 : 0;
        slots_add_unknown(&m->slots, m->slots.max > 0 ? 1 : 0);
        break;
    case 6:
        m->unknown -= m->unknown > 0 ? 1 : 0;
        slots_unknown_gone(&m->slots, m->now_ms);
        break;
    default:
        m->size = (uint32_t)below(m, 30);
        break;
    }
    take_told(m);
}

void slots_model_act(struct slots_model *m)
{
    uint64_t what = below(m, 64);
    m->now_ms += below(m, 3);
    if (what < 50) {
        request_acts(m, &m->requests[below(m, MODEL_REQUESTS)]);
    } else if (what < 58) {
        worker_acts(m, (unsigned)below(m, MODEL_WORKERS));
    } else if (what < 62) {
        check_acts(m);
    } else {
        world_acts(m);
    }
}

static void go_on(struct slots_model *m, struct model_request *r)
{
    if (r->held) {
        finish(m, r, SLOT_REST_NONE);
    } else if (r->waiter.state == SLOT_GRANTED) {
        connect(m, r);
    }
}

bool slots_model_run_out(struct slots_model *m)
{
    static const struct slots_others nobody = {0};
    slots_set_others(&m->slots, &nobody, m->now_ms);
    while (m->unknown > 0) {
        m->unknown--;
        slots_unknown_gone(&m->slots, m->now_ms);
    }
    while (m->checks > 0) {
        m->checks--;
        slots_check_end(&m->slots, m->now_ms);
    }
    take_told(m);
    /* Each round serves at least one more, or closes an idle one. */
    for (size_t round = 0; round < 4 * (size_t)MODEL_REQUESTS; round++) {
        for (size_t i = 0; i < MODEL_REQUESTS; i++) {
            go_on(m, &m->requests[i]);
        }
        for (unsigned w = 0; w < MODEL_WORKERS; w++) {
            worker_acts(m, w);
        }
    }
    bool none = true;
    for (size_t i = 0; i < MODEL_REQUESTS; i++) {
        none = none && !m->requests[i].held && m->requests[i].waiter.state == SLOT_NONE;
    }
    for (unsigned w = 0; w < MODEL_WORKERS; w++) {
        while (idle_of(m, w) > 0) {
            worker_acts(m, w);
        }
    }
    return none && slots_used(&m->slots) == 0;
}
