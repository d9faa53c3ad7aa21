/* uploads: a circular list of rows, the newest of this node, cut into pages.
 *
 *   uploads/0 ...   rows in the order in which they were told, 80 a page; the page behind the
 *                   newest is the oldest, and the next to be written anew
 *
 * Each row has a number, by its place on a page that says that of its first: so who hears of a page
 * that has grown reads only what is new. A row is true for ever: lost, late, twice, or told by
 * another are all the same. Of a member that is down what it has told holds as well.
 *
 * When a start of a member goes, its map goes with it. The two others with the smallest ids put its
 * newest rows among their own then, for a node that starts again remembers nothing, also of what it
 * has told itself. Two, for one of them may have ended just now, too. */
#include "totals/uploads.h"

#include <assert.h>

#include "cluster/private.h"
#include "proto/cluster.pb-c.h"

enum {
    PLACES_A_PAGE = 12, /* instances; one more begins the next page */
    HEADS = 3 * 3 + 11, /* of the lists, and `first` */
    /* Full pages written at a time; so 320 files an interval on a LAN, 1600 a second. */
    PAGES_AT_ONCE = 4,
    TELL_BUDGET = 64 * 1000, /* see counts_pace_ms(): bytes a second, all nodes together */
    HEIRS = 2,
    HEIR_MAX = UPLOADS_TOLD_MAX / 2, /* rows */
};
_Static_assert((int)UPLOADS_PAGES == (int)TOPIC_PAGES_UPLOADS, "as the row says");
_Static_assert(UPLOADS_A_PAGE *(8 + 1) + PLACES_A_PAGE * 8 + HEADS <= (int)WIRE_VALUE_MAX, "fits");

struct uploads_page {
    uint64_t first; /* number of its first row */
    size_t count, place_count;
    uint64_t files[UPLOADS_A_PAGE], places[PLACES_A_PAGE];
    uint32_t at[UPLOADS_A_PAGE]; /* index into places */
    bool is_news;
};

/* Of this node. */
struct uploads {
    struct uploads_page pages[UPLOADS_PAGES];
    size_t page; /* the newest */
    uint64_t next;
    uint64_t told_ms; /* and one more; 0 = never */
    size_t size;      /* of what was told last */
    bool crowded;     /* a page was written anew before it was told */
};

/* As a member has told it. */
struct uploads_heard {
    uint64_t read_to[UPLOADS_PAGES]; /* the number behind the last row that was read there */
};

/* NULL: there was never anything to tell. */
static struct uploads *own(const struct cluster *c)
{
    return c->own[TOPIC_UPLOADS];
}

uint64_t cluster_upload_place(const struct cluster *c, struct bytes application,
                              struct bytes instance)
{
    const struct bytes parts[] = {application, BYTES("\n"), instance};
    uint64_t id = sha256_prefix(c->sha, parts, 3);
    return id ? id : 1;
}

/* ---- what this node tells ---- */

static struct uploads_page *turn_page(struct uploads *u)
{
    u->page = (u->page + 1) % UPLOADS_PAGES;
    struct uploads_page *p = &u->pages[u->page];
    u->crowded = u->crowded || p->is_news;
    *p = (struct uploads_page){.first = u->next};
    return p;
}

/* The place's index, perhaps a new one; PLACES_A_PAGE: there is no room. */
static size_t place_on(struct uploads_page *p, uint64_t place)
{
    size_t i = 0;
    while (i < p->place_count && p->places[i] != place) {
        i++;
    }
    if (i == p->place_count && i < PLACES_A_PAGE) {
        p->places[p->place_count++] = place;
    }
    return i;
}

static void add_row(struct cluster *c, uint64_t file, uint64_t place)
{
    struct uploads *u = topic_own(c, TOPIC_UPLOADS, sizeof(*u));
    struct uploads_page *p = &u->pages[u->page];
    size_t at = p->count < UPLOADS_A_PAGE ? place_on(p, place) : PLACES_A_PAGE;
    if (at == PLACES_A_PAGE) {
        p = turn_page(u);
        at = place_on(p, place);
    }
    p->files[p->count] = file;
    p->at[p->count++] = (uint32_t)at;
    p->is_news = true;
    u->next++;
}

static void tell_crowded(struct cluster *c)
{
    cluster_problem(c, PROBLEM_CROWDED, "uploads",
                    "files are uploaded elsewhere than at home faster than the other nodes can "
                    "be told: of some of them they do not know");
}

void cluster_tell_upload(struct cluster *c, uint64_t now_ms, uint64_t file, uint64_t place)
{
    c->now_ms = now_ms;
    if (!c->alone) {
        add_row(c, file, place);
        cluster_settle(c);
    }
}

void cluster_miss_upload(struct cluster *c, uint64_t now_ms)
{
    c->now_ms = now_ms;
    if (!c->alone) {
        tell_crowded(c);
    }
}

static size_t write_page(struct cluster *c, size_t number)
{
    struct uploads_page *p = &own(c)->pages[number];
    uint8_t value[WIRE_VALUE_MAX];
    char key[TOPIC_KEY_SIZE];
    Cluster__Uploads m = CLUSTER__UPLOADS__INIT;
    m.first = p->first;
    m.files = p->files;
    m.at = p->at;
    m.places = p->places;
    m.n_files = m.n_at = p->count;
    m.n_places = p->place_count;
    assert(cluster__uploads__get_packed_size(&m) <= sizeof(value));
    size_t size = cluster__uploads__pack(&m, value);
    gossip_set(c->gossip, c->now_ms, TOPICS[TOPIC_UPLOADS].priority,
               topic_key(key, TOPIC_UPLOADS, NULL, number),
               (struct bytes){(const char *)value, size});
    p->is_news = false;
    return size;
}

/* The page `k` places behind the newest, around the circle: from the oldest on. */
static size_t page_behind(const struct uploads *u, size_t k)
{
    return (u->page + 1 + k) % UPLOADS_PAGES;
}

static uint64_t due_ms(const struct cluster *c)
{
    const struct uploads *u = own(c);
    bool news = false;
    for (size_t i = 0; u && i < UPLOADS_PAGES && !news; i++) {
        news = u->pages[i].is_news;
    }
    if (!news) {
        return UINT64_MAX;
    }
    return u->told_ms ? u->told_ms - 1 + counts_pace_ms(c, u->size, TELL_BUDGET) : 0;
}

void uploads_settle(struct cluster *c)
{
    struct uploads *u = own(c);
    if (!u || c->now_ms < due_ms(c)) {
        return;
    }
    u->size = 0;
    for (size_t k = 0, written = 0; k < UPLOADS_PAGES && written < PAGES_AT_ONCE; k++) {
        size_t number = page_behind(u, k);
        if (u->pages[number].is_news) {
            u->size += write_page(c, number);
            written++;
        }
    }
    u->told_ms = c->now_ms + 1;
    if (u->crowded) {
        u->crowded = false;
        tell_crowded(c);
    }
}

uint64_t uploads_deadline_ms(const struct cluster *c)
{
    return due_ms(c);
}

/* ---- what members have told ---- */

/* NULL: it is of a later version, or nothing. */
static Cluster__Uploads *page_of(struct bytes value)
{
    Cluster__Uploads *m =
        value.at ? cluster__uploads__unpack(NULL, value.size, (const uint8_t *)value.at) : NULL;
    bool good = m && m->n_files == m->n_at && m->first <= UINT64_MAX - WIRE_VALUE_MAX;
    for (size_t i = 0; good && i < m->n_at; i++) {
        good = m->at[i] < m->n_places;
    }
    if (m && !good) {
        cluster__uploads__free_unpacked(m, NULL);
        m = NULL;
    }
    return m;
}

/* Rows from this number on. Returns the one behind the last. */
static uint64_t say_page(struct cluster *c, struct bytes value, uint64_t from)
{
    Cluster__Uploads *m = page_of(value);
    if (!m) {
        return from;
    }
    uint64_t end = m->first + m->n_files;
    for (size_t i = 0; i < m->n_files; i++) {
        if (m->first + i >= from && c->events->on_upload) {
            c->events->on_upload(c->owner, m->files[i], m->places[m->at[i]]);
        }
    }
    cluster__uploads__free_unpacked(m, NULL);
    return end > from ? end : from;
}

void uploads_note(struct cluster *c, const struct topic_entry *e)
{
    struct uploads_heard *heard = topic_told(e->info, TOPIC_UPLOADS, sizeof(*heard));
    heard->read_to[e->page] = say_page(c, e->value, heard->read_to[e->page]);
}

static struct bytes value_of(const struct cluster *c, const struct gossip_member *member,
                             size_t page)
{
    char key[TOPIC_KEY_SIZE];
    return gossip_get(c->gossip, member, topic_key(key, TOPIC_UPLOADS, NULL, page));
}

void cluster_hear_uploads_again(struct cluster *c)
{
    for (size_t m = 0; m < gossip_member_count(c->gossip); m++) {
        const struct gossip_member *member = gossip_member(c->gossip, m);
        const struct member_info *info = member->self ? NULL : info_of(c, member);
        for (size_t page = 0; info && info->told[TOPIC_UPLOADS] && page < UPLOADS_PAGES; page++) {
            say_page(c, value_of(c, member, page), 0);
        }
    }
}

/* ---- a start that has gone ---- */

static bool is_heir(const struct cluster *c, const struct gossip_member *of)
{
    const struct gossip_member *self = gossip_self(c->gossip);
    size_t before = 0;
    for (size_t m = 0; m < gossip_member_count(c->gossip); m++) {
        const struct gossip_member *other = gossip_member(c->gossip, m);
        before += !other->self && other->id != of->id && is_up(other) && other->id < self->id;
    }
    return before < HEIRS;
}

static bool is_own(const struct cluster *c, uint64_t file)
{
    const struct uploads *u = own(c);
    for (size_t page = 0; u && page < UPLOADS_PAGES; page++) {
        for (size_t i = 0; i < u->pages[page].count; i++) {
            if (u->pages[page].files[i] == file) {
                return true;
            }
        }
    }
    return false;
}

/* The page with the smallest first number from `from` on; NULL: there is none. */
static Cluster__Uploads *next_page(const struct cluster *c, const struct gossip_member *of,
                                   uint64_t from)
{
    Cluster__Uploads *next = NULL;
    for (size_t page = 0; page < UPLOADS_PAGES; page++) {
        Cluster__Uploads *m = page_of(value_of(c, of, page));
        bool better = m && m->first >= from && (!next || m->first < next->first);
        Cluster__Uploads *other = better ? next : m;
        next = better ? m : next;
        if (other) {
            cluster__uploads__free_unpacked(other, NULL);
        }
    }
    return next;
}

static void inherit(struct cluster *c, const struct gossip_member *of, uint64_t end)
{
    uint64_t from = end > HEIR_MAX ? end - HEIR_MAX : 0, seen = 0;
    Cluster__Uploads *m;
    while ((m = next_page(c, of, seen)) != NULL) {
        for (size_t i = 0; i < m->n_files; i++) {
            if (m->first + i >= from && !is_own(c, m->files[i])) {
                add_row(c, m->files[i], m->places[m->at[i]]);
            }
        }
        seen = m->first + 1;
        cluster__uploads__free_unpacked(m, NULL);
    }
}

/* The last of its rows and one. */
static uint64_t end_of(const struct uploads_heard *heard)
{
    uint64_t end = 0;
    for (size_t page = 0; page < UPLOADS_PAGES; page++) {
        end = heard->read_to[page] > end ? heard->read_to[page] : end;
    }
    return end;
}

void uploads_member(struct cluster *c, const struct gossip_member *member, enum member_event event)
{
    const struct member_info *info = member->self ? NULL : info_of(c, member);
    const struct uploads_heard *heard = info ? info->told[TOPIC_UPLOADS] : NULL;
    if (event == MEMBER_GONE && heard && !c->alone && is_heir(c, member)) {
        inherit(c, member, end_of(heard));
    }
}
