/* quotas: what each node has granted of which quota, so that a limit holds over all of them (SPEC
 * §3).
 *
 *   quota/0 ...   subjects of which something is new, with all that this node has granted of each
 *                 within its window: pages in turn, each for a few seconds, then taken back
 *   quota/12 ...  subjects with requests in flight: a place each, for as long as there are any
 *   quota/20 ...  how many were refused, by quota
 *
 * A row of a window says all that its teller granted, with ages instead of times. So it may be
 * lost, come twice, late or by any way: the next one replaces it, nothing counts twice, and no
 * clocks are compared. Which rows are told, the hottest first, is the owner's choice (quota/shard);
 * here is when: once a gossip interval, as many as surely fit. Of a member that is down nothing
 * is listened to, for what others still have of it may be old; what it missed to tell meanwhile is
 * read when it is up. */
#include <assert.h>
#include <stdlib.h>

#include "base/memory.h"
#include "cluster/private.h"
#include "proto/cluster.pb-c.h"

enum {
    /* Pages by what they tell; for ever, as the key is. */
    WINDOW_PAGES = 12,
    ACTIVE_PAGES = 8,
    COUNT_PAGES = 2,
    ACTIVE_FROM = WINDOW_PAGES,
    COUNT_FROM = ACTIVE_FROM + ACTIVE_PAGES,
    PAGES = COUNT_FROM + COUNT_PAGES,
    HEADS = 24, /* of the fields, and `telling` */
    /* Rule and subject of 8 bytes each, a count, and of each use an age and an amount. */
    WINDOW_ROW = 2 * 8 + 1 + QUOTA_CELLS * (3 + 5),
    ACTIVE_ROW = 2 * 8 + 3,
    COUNT_ROW = 8 + 10,
    WINDOWS_A_PAGE = (WIRE_VALUE_MAX - HEADS) / WINDOW_ROW, /* at the least */
    ACTIVES_A_PAGE = (WIRE_VALUE_MAX - HEADS) / ACTIVE_ROW,
    COUNTS_A_PAGE = (WIRE_VALUE_MAX - HEADS) / COUNT_ROW,
    ROWS_A_PAGE = (WIRE_VALUE_MAX - HEADS) / (2 * 8 + 1), /* no page has more */
    ACTIVE_MAX = (1 << 21) - 1,                           /* three bytes */
    /* Longer than it takes until somebody who hears nothing is suspected: who comes back from that
     * is told all anew. */
    TAKEN_BACK_EXCHANGES = 30,
    TELL_BUDGET = 64 * 1000, /* see counts_pace_ms(): bytes a second, all nodes together */
};
_Static_assert((int)PAGES == (int)TOPIC_PAGES_QUOTAS, "as the row says");
_Static_assert((int)WINDOWS_A_PAGE *WINDOW_PAGES >= (int)CLUSTER_QUOTA_ROWS_MAX, "all fit");

struct under_way {
    uint64_t rule, subject;
    uint32_t number; /* 0: the place is free */
};

struct refusals {
    uint64_t rule, number;
};

/* Of this node, and as a member has told it. */
struct quotas_told {
    struct under_way actives[ACTIVE_PAGES][ACTIVES_A_PAGE];
    struct refusals counts[COUNT_PAGES][COUNTS_A_PAGE];
    uint32_t missed; /* of a member: pages that came while it was down */
    /* of this node */
    uint64_t written_ms[WINDOW_PAGES]; /* and one more; 0: it is not there */
    size_t next;                       /* page to write */
    size_t size;                       /* of what was told last */
    uint64_t told_ms;
    uint32_t telling; /* another one each time: gossip passes on only what differs */
};
_Static_assert(PAGES <= 32, "a bit each");

static struct quotas_told *own(const struct cluster *c)
{
    return topic_own(c, TOPIC_QUOTAS, sizeof(struct quotas_told));
}

/* ---- what members have told ---- */

static void say(struct cluster *c, const struct gossip_member *member,
                enum cluster_quota_news_kind kind, const struct cluster_quota_row *row)
{
    const struct cluster_quota_news news = {
        .kind = kind, .member = member->id, .start = member->generation, .row = row};
    if (c->events->on_quota) {
        c->events->on_quota(c->owner, &news);
    }
}

static void say_active(struct cluster *c, const struct gossip_member *member,
                       const struct under_way *active, uint32_t number)
{
    const struct cluster_quota_row row = {
        active->rule, {.key = active->subject, .active = number}, true};
    say(c, member, CLUSTER_QUOTA_ROW, &row);
}

static void take_windows(struct cluster *c, const struct gossip_member *member,
                         const Cluster__Quotas *q)
{
    size_t use = 0;
    for (size_t i = 0; q && i < q->n_rules; i++) {
        struct cluster_quota_row row = {q->rules[i], {.key = q->subjects[i]}, false};
        size_t count = q->use_counts[i];
        if (count > QUOTA_CELLS || use + count > q->n_ages) {
            return;
        }
        row.row.use_count = (uint8_t)count;
        for (size_t k = 0; k < count; k++, use++) {
            uint32_t amount = q->amounts[use];
            row.row.uses[k] = (struct quota_use){
                q->ages[use], amount < QUOTA_AMOUNT_MAX ? amount : QUOTA_AMOUNT_MAX};
        }
        say(c, member, CLUSTER_QUOTA_ROW, &row);
    }
}

static bool has_active(const Cluster__Quotas *q, const struct under_way *a)
{
    for (size_t i = 0; q && i < q->n_rules; i++) {
        if (q->rules[i] == a->rule && q->subjects[i] == a->subject) {
            return true;
        }
    }
    return false;
}

/* What stood on the page and stands there no more has ended. */
static void take_actives(struct cluster *c, const struct gossip_member *member,
                         struct under_way told[ACTIVES_A_PAGE], const Cluster__Quotas *q)
{
    for (size_t i = 0; i < ACTIVES_A_PAGE; i++) {
        if (told[i].number > 0 && !has_active(q, &told[i])) {
            say_active(c, member, &told[i], 0);
        }
        told[i] = (struct under_way){0};
    }
    for (size_t i = 0; q && i < q->n_rules && i < ACTIVES_A_PAGE; i++) {
        uint64_t number = q->numbers[i] < ACTIVE_MAX ? q->numbers[i] : ACTIVE_MAX;
        told[i] = (struct under_way){q->rules[i], q->subjects[i], (uint32_t)number};
        say_active(c, member, &told[i], told[i].number);
    }
}

static void take_counts(struct refusals told[COUNTS_A_PAGE], const Cluster__Quotas *q)
{
    memset(told, 0, COUNTS_A_PAGE * sizeof(*told));
    for (size_t i = 0; q && i < q->n_rules && i < COUNTS_A_PAGE; i++) {
        told[i] = (struct refusals){q->rules[i], q->numbers[i]};
    }
}

/* The lists are in step. */
static bool holds(const Cluster__Quotas *q, size_t page)
{
    if (page < ACTIVE_FROM) {
        return q->n_rules == q->n_subjects && q->n_rules == q->n_use_counts &&
               q->n_ages == q->n_amounts;
    }
    return q->n_rules == q->n_numbers && (page >= COUNT_FROM || q->n_rules == q->n_subjects);
}

static void take(struct cluster *c, const struct gossip_member *member, struct quotas_told *told,
                 size_t page, struct bytes value)
{
    Cluster__Quotas *q =
        value.at ? cluster__quotas__unpack(NULL, value.size, (const uint8_t *)value.at) : NULL;
    Cluster__Quotas *good = q && holds(q, page) ? q : NULL;
    if (page < ACTIVE_FROM) {
        take_windows(c, member, good);
    } else if (page < COUNT_FROM) {
        take_actives(c, member, told->actives[page - ACTIVE_FROM], good);
    } else {
        take_counts(told->counts[page - COUNT_FROM], good);
    }
    if (q) {
        cluster__quotas__free_unpacked(q, NULL);
    }
}

void quotas_note(struct cluster *c, const struct topic_entry *e)
{
    struct quotas_told *told = topic_told(e->info, TOPIC_QUOTAS, sizeof(*told));
    if (is_up(e->member)) {
        take(c, e->member, told, e->page, e->value);
    } else {
        told->missed |= 1u << e->page;
    }
}

static struct bytes page_of(const struct cluster *c, const struct gossip_member *member,
                            size_t page)
{
    char key[TOPIC_KEY_SIZE];
    return gossip_get(c->gossip, member, topic_key(key, TOPIC_QUOTAS, NULL, page));
}

static uint32_t telling_of(struct bytes value)
{
    Cluster__Quotas *q =
        value.at ? cluster__quotas__unpack(NULL, value.size, (const uint8_t *)value.at) : NULL;
    uint32_t telling = q ? q->telling : 0;
    if (q) {
        cluster__quotas__free_unpacked(q, NULL);
    }
    return telling;
}

/* In the order in which they were told: of a row on two pages the later one counts. */
static void read_missed(struct cluster *c, const struct gossip_member *member,
                        struct quotas_told *told)
{
    uint32_t tellings[PAGES] = {0};
    for (size_t page = 0; page < PAGES; page++) {
        tellings[page] = told->missed & 1u << page ? telling_of(page_of(c, member, page)) : 0;
    }
    while (told->missed) {
        size_t first = (size_t)__builtin_ctz(told->missed);
        for (size_t page = first + 1; page < PAGES; page++) {
            bool earlier = told->missed & 1u << page && tellings[page] < tellings[first];
            first = earlier ? page : first;
        }
        told->missed &= ~(1u << first);
        take(c, member, told, first, page_of(c, member, first));
    }
}

/* Nobody will say what has ended. */
static void end_actives(struct cluster *c, const struct gossip_member *member,
                        struct quotas_told *told)
{
    for (size_t page = 0; page < ACTIVE_PAGES; page++) {
        take_actives(c, member, told->actives[page], NULL);
    }
}

void quotas_member(struct cluster *c, const struct gossip_member *member, enum member_event event)
{
    const struct member_info *info = member->self ? NULL : info_of(c, member);
    struct quotas_told *told = info ? info->told[TOPIC_QUOTAS] : NULL;
    if (member->self) {
        return;
    }
    if (event == MEMBER_GONE && told) {
        end_actives(c, member, told);
    }
    say(c, member, event == MEMBER_UP ? CLUSTER_QUOTA_UP : CLUSTER_QUOTA_DOWN, NULL);
    if (event == MEMBER_UP && told) {
        read_missed(c, member, told);
    }
}

uint64_t cluster_quota_rejected(struct cluster *c, uint64_t rule)
{
    uint64_t sum = 0;
    for (size_t m = 0; m < gossip_member_count(c->gossip); m++) {
        const struct gossip_member *member = gossip_member(c->gossip, m);
        const struct member_info *info = member->self ? NULL : info_of(c, member);
        const struct quotas_told *told = info ? info->told[TOPIC_QUOTAS] : NULL;
        for (size_t i = 0; told && i < (size_t)COUNT_PAGES * COUNTS_A_PAGE; i++) {
            const struct refusals *one = &told->counts[i / COUNTS_A_PAGE][i % COUNTS_A_PAGE];
            sum += one->rule == rule ? one->number : 0;
        }
    }
    return sum;
}

/* ---- what this node tells ---- */

/* One page in the making. */
struct page {
    Cluster__Quotas q;
    uint64_t rules[ROWS_A_PAGE], subjects[ROWS_A_PAGE], numbers[ROWS_A_PAGE];
    uint32_t use_counts[ROWS_A_PAGE];
    uint32_t ages[WIRE_VALUE_MAX / 2], amounts[WIRE_VALUE_MAX / 2];
    size_t size; /* at most, when it is packed */
};

static struct page *page_new(void)
{
    struct page *p = memory_new(sizeof(*p));
    cluster__quotas__init(&p->q);
    p->q.rules = p->rules;
    p->q.subjects = p->subjects;
    p->q.numbers = p->numbers;
    p->q.use_counts = p->use_counts;
    p->q.ages = p->ages;
    p->q.amounts = p->amounts;
    p->size = HEADS;
    return p;
}

static void page_tell(struct cluster *c, struct page *p, size_t number)
{
    uint8_t value[WIRE_VALUE_MAX];
    char key[TOPIC_KEY_SIZE];
    struct bytes name = topic_key(key, TOPIC_QUOTAS, NULL, number);
    p->q.telling = ++own(c)->telling;
    assert(cluster__quotas__get_packed_size(&p->q) <= sizeof(value));
    size_t size = cluster__quotas__pack(&p->q, value);
    if (p->q.n_rules == 0) {
        gossip_remove(c->gossip, c->now_ms, name);
    } else {
        gossip_set(c->gossip, c->now_ms, TOPICS[TOPIC_QUOTAS].priority, name,
                   (struct bytes){(const char *)value, size});
    }
    own(c)->size += size;
    free(p);
}

static void tell_active_page(struct cluster *c, size_t number)
{
    const struct under_way *actives = own(c)->actives[number];
    struct page *p = page_new();
    for (size_t i = 0; i < ACTIVES_A_PAGE; i++) {
        if (actives[i].number > 0) {
            p->rules[p->q.n_rules++] = actives[i].rule;
            p->subjects[p->q.n_subjects++] = actives[i].subject;
            p->numbers[p->q.n_numbers++] = actives[i].number;
        }
    }
    page_tell(c, p, ACTIVE_FROM + number);
}

static struct under_way *find_active(struct quotas_told *told, uint64_t rule, uint64_t subject,
                                     bool free_one)
{
    for (size_t i = 0; i < (size_t)ACTIVE_PAGES * ACTIVES_A_PAGE; i++) {
        struct under_way *a = &told->actives[i / ACTIVES_A_PAGE][i % ACTIVES_A_PAGE];
        bool found =
            free_one ? a->number == 0 : a->number > 0 && a->rule == rule && a->subject == subject;
        if (found) {
            return a;
        }
    }
    return NULL;
}

/* Returns the page that it changes, a bit; without a free place nothing. */
static uint32_t set_active(struct cluster *c, const struct cluster_quota_row *row)
{
    struct quotas_told *told = own(c);
    uint32_t number = row->row.active < ACTIVE_MAX ? row->row.active : ACTIVE_MAX;
    struct under_way *a = find_active(told, row->rule, row->row.key, false);
    if (!a && number > 0) {
        a = find_active(told, 0, 0, true);
        if (!a) {
            cluster_problem(c, PROBLEM_CROWDED, "quota",
                            "more than %d subjects of quotas have requests in flight here: of "
                            "those beyond them the other nodes do not know",
                            ACTIVE_PAGES * ACTIVES_A_PAGE);
        }
    }
    if (!a) {
        return 0;
    }
    *a = (struct under_way){row->rule, row->row.key, number};
    return 1u << (size_t)(a - told->actives[0]) / ACTIVES_A_PAGE;
}

static void add_window(struct page *p, const struct cluster_quota_row *row)
{
    p->rules[p->q.n_rules++] = row->rule;
    p->subjects[p->q.n_subjects++] = row->row.key;
    p->use_counts[p->q.n_use_counts++] = row->row.use_count;
    for (size_t i = 0; i < row->row.use_count; i++) {
        p->ages[p->q.n_ages++] = row->row.uses[i].age;
        p->amounts[p->q.n_amounts++] = row->row.uses[i].amount;
    }
}

static size_t row_size(const struct cluster_quota_row *row)
{
    return 2 * 8 + 1 + (size_t)row->row.use_count * (3 + 5);
}

static void tell_windows(struct cluster *c, struct page *p)
{
    struct quotas_told *told = own(c);
    told->written_ms[told->next] = c->now_ms + 1;
    page_tell(c, p, told->next);
    told->next = (told->next + 1) % WINDOW_PAGES;
}

void cluster_tell_quotas(struct cluster *c, uint64_t now_ms, const struct cluster_quota_row *rows,
                         size_t count)
{
    struct quotas_told *told = own(c);
    struct page *p = NULL;
    uint32_t changed = 0;
    assert(count <= CLUSTER_QUOTA_ROWS_MAX);
    c->now_ms = now_ms;
    told->told_ms = now_ms;
    told->size = 0;
    for (size_t i = 0; i < count; i++) {
        if (rows[i].concurrent) {
            changed |= set_active(c, &rows[i]);
            continue;
        }
        if (p && p->size + row_size(&rows[i]) > WIRE_VALUE_MAX) {
            tell_windows(c, p);
            p = NULL;
        }
        p = p ? p : page_new();
        p->size += row_size(&rows[i]);
        add_window(p, &rows[i]);
    }
    if (p) {
        tell_windows(c, p);
    }
    for (size_t page = 0; page < ACTIVE_PAGES; page++) {
        if (changed & 1u << page) {
            tell_active_page(c, page);
        }
    }
    cluster_settle(c);
}

size_t cluster_quota_room(struct cluster *c, uint64_t now_ms)
{
    const struct quotas_told *told = own(c);
    uint64_t pace_ms = counts_pace_ms(c, told->size, TELL_BUDGET);
    bool due = told->told_ms == 0 || now_ms >= told->told_ms + pace_ms;
    return due && !c->alone ? CLUSTER_QUOTA_ROWS_MAX : 0;
}

void cluster_set_quota_counts(struct cluster *c, uint64_t now_ms,
                              const struct cluster_quota_count *counts, size_t count)
{
    struct quotas_told *told = own(c);
    c->now_ms = now_ms;
    for (size_t page = 0; page < COUNT_PAGES; page++) {
        struct refusals now[COUNTS_A_PAGE] = {{0}};
        struct page *p = page_new();
        for (size_t i = 0; i < COUNTS_A_PAGE && page * COUNTS_A_PAGE + i < count; i++) {
            const struct cluster_quota_count *one = &counts[page * COUNTS_A_PAGE + i];
            now[i] = (struct refusals){one->rule, one->rejected};
            p->rules[p->q.n_rules++] = one->rule;
            p->numbers[p->q.n_numbers++] = one->rejected;
        }
        if (memcmp(now, told->counts[page], sizeof(now)) == 0) {
            free(p);
            continue;
        }
        memcpy(told->counts[page], now, sizeof(now));
        page_tell(c, p, COUNT_FROM + page);
    }
    cluster_settle(c);
}

static uint64_t lasts_ms(const struct cluster *c)
{
    return TAKEN_BACK_EXCHANGES * c->interval_ms;
}

/* Rows whose ages have become wrong are taken back. */
void quotas_settle(struct cluster *c)
{
    struct quotas_told *told = own(c);
    for (size_t page = 0; page < WINDOW_PAGES; page++) {
        if (told->written_ms[page] > 0 && c->now_ms + 1 >= told->written_ms[page] + lasts_ms(c)) {
            told->written_ms[page] = 0;
            topic_remove_pages(c, TOPIC_QUOTAS, NULL, page, page + 1);
        }
    }
}

uint64_t quotas_deadline_ms(const struct cluster *c)
{
    const struct quotas_told *told = own(c);
    uint64_t first_ms = UINT64_MAX;
    for (size_t page = 0; page < WINDOW_PAGES; page++) {
        uint64_t due_ms =
            told->written_ms[page] > 0 ? told->written_ms[page] - 1 + lasts_ms(c) : UINT64_MAX;
        first_ms = due_ms < first_ms ? due_ms : first_ms;
    }
    return first_ms;
}
