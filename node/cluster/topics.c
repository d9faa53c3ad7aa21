/* topics: the rows at work. A key is taken apart once, here, and whose it is gets the rest. */
#include "cluster/topics.h"

#include <assert.h>
#include <stdio.h>

#include "base/memory.h"
#include "cluster/private.h"

#define TOPIC_OF_ROW(topic, key, priority, pages, note, member, settle, deadline)                  \
    [TOPIC_##topic] = {key, priority, pages, note, member, settle, deadline},
const struct topic TOPICS[TOPIC_COUNT] = {CLUSTER_TOPICS(TOPIC_OF_ROW)};

/* As many bytes as the rows have keys. */
#define KEYS_OF_ROW(topic, key, priority, pages, note, member, settle, deadline)                   \
    char topic[(pages) == TOPIC_ONE_VALUE ? 1                                                      \
               : (pages) == TOPIC_BY_NAME ? TOPIC_KEYS_BY_NAME_MIN                                 \
                                          : (pages)];
struct keys {
    CLUSTER_TOPICS(KEYS_OF_ROW)
};
_Static_assert(sizeof(struct keys) <= GOSSIP_KEYS_MAX, "a map holds all pages");

void no_member(struct cluster *c, const struct gossip_member *member, enum member_event event)
{
    (void)c;
    (void)member;
    (void)event;
}

void no_settle(struct cluster *c)
{
    (void)c;
}

uint64_t no_deadline_ms(const struct cluster *c)
{
    (void)c;
    return UINT64_MAX;
}

/* ---- what a topic keeps ---- */

static void *kept(void **at, size_t size)
{
    *at = *at ? *at : memory_new(size);
    return *at;
}

void *topic_own(const struct cluster *c, enum topic_id topic, size_t size)
{
    return kept(&c->own[topic], size);
}

void *topic_told(struct member_info *info, enum topic_id topic, size_t size)
{
    return kept(&info->told[topic], size);
}

/* ---- hearing ---- */

/* What is behind "KEY/" of the topic, or behind KEY itself; at NULL: another's key. */
static struct bytes rest_of(const struct topic *t, struct bytes key)
{
    size_t size = strlen(t->key);
    bool same = key.size >= size && memcmp(key.at, t->key, size) == 0;
    if (!same || (t->page_max == TOPIC_ONE_VALUE ? key.size > size
                                                 : key.size == size || key.at[size] != '/')) {
        return (struct bytes){0};
    }
    size += t->page_max != TOPIC_ONE_VALUE;
    return (struct bytes){key.at + size, key.size - size};
}

static bool parse_page(struct bytes text, size_t *ret_page)
{
    enum { DIGITS_MAX = 4 };
    size_t page = 0;
    for (size_t i = 0; i < text.size; i++) {
        if (text.at[i] < '0' || text.at[i] > '9') {
            return false;
        }
        page = 10 * page + (size_t)(text.at[i] - '0');
    }
    *ret_page = page;
    return text.size > 0 && text.size <= DIGITS_MAX;
}

/* "NAME/PAGE", "PAGE" or nothing. */
static bool take_apart(const struct topic *t, struct bytes rest, struct topic_entry *ret)
{
    if (t->page_max == TOPIC_ONE_VALUE) {
        return true;
    }
    if (t->page_max == TOPIC_BY_NAME) {
        const char *slash = memrchr(rest.at, '/', rest.size);
        if (!slash) {
            return false;
        }
        ret->name = (struct bytes){rest.at, (size_t)(slash - rest.at)};
        rest = (struct bytes){slash + 1, rest.size - ret->name.size - 1};
    }
    return parse_page(rest, &ret->page) &&
           (t->page_max == TOPIC_BY_NAME || ret->page < (size_t)t->page_max);
}

void topics_note(struct cluster *c, const struct gossip_member *member, struct bytes key,
                 struct bytes value)
{
    struct topic_entry e = {.member = member, .info = info_of(c, member), .value = value};
    for (size_t i = 0; i < TOPIC_COUNT; i++) {
        struct bytes rest = rest_of(&TOPICS[i], key);
        if (rest.at) {
            if (take_apart(&TOPICS[i], rest, &e)) {
                TOPICS[i].note(c, &e);
            }
            return;
        }
    }
}

void topics_member(struct cluster *c, const struct gossip_member *member, enum member_event event)
{
    for (size_t i = 0; i < TOPIC_COUNT; i++) {
        TOPICS[i].member(c, member, event);
    }
}

void topics_settle(struct cluster *c)
{
    for (size_t i = 0; i < TOPIC_COUNT; i++) {
        TOPICS[i].settle(c);
    }
}

uint64_t topics_deadline_ms(const struct cluster *c)
{
    uint64_t first_ms = UINT64_MAX;
    for (size_t i = 0; i < TOPIC_COUNT; i++) {
        uint64_t deadline_ms = TOPICS[i].deadline_ms(c);
        first_ms = deadline_ms < first_ms ? deadline_ms : first_ms;
    }
    return first_ms;
}

void topic_read_pages(struct cluster *c, enum topic_id topic, const struct gossip_member *member,
                      const struct page_reader *reader)
{
    char key[TOPIC_KEY_SIZE];
    for (size_t page = 0; page < (size_t)TOPICS[topic].page_max; page++) {
        struct bytes value = gossip_get(c->gossip, member, topic_key(key, topic, NULL, page));
        if (!value.at) {
            return;
        }
        page_read(reader, value); /* a page that does not read is one of a later version */
    }
}

/* ---- telling ---- */

void topic_set(struct cluster *c, enum topic_id topic, struct bytes value)
{
    assert(TOPICS[topic].page_max == TOPIC_ONE_VALUE);
    gossip_set(c->gossip, c->now_ms, TOPICS[topic].priority, bytes_of(TOPICS[topic].key), value);
}

void topic_remove(struct cluster *c, enum topic_id topic)
{
    assert(TOPICS[topic].page_max == TOPIC_ONE_VALUE);
    gossip_remove(c->gossip, c->now_ms, bytes_of(TOPICS[topic].key));
}

struct bytes topic_key(char ret_key[TOPIC_KEY_SIZE], enum topic_id topic, const char *name,
                       size_t page)
{
    const struct topic *t = &TOPICS[topic];
    assert((name != NULL) == (t->page_max == TOPIC_BY_NAME));
    int size = snprintf(ret_key, TOPIC_KEY_SIZE, "%s/%s%s%zu", t->key, name ? name : "",
                        name ? "/" : "", page);
    assert(size > 0 && size < TOPIC_KEY_SIZE);
    return (struct bytes){ret_key, (size_t)size};
}

void topic_remove_pages(struct cluster *c, enum topic_id topic, const char *name, size_t from,
                        size_t to)
{
    char key[TOPIC_KEY_SIZE];
    for (size_t page = from; page < to; page++) {
        gossip_remove(c->gossip, c->now_ms, topic_key(key, topic, name, page));
    }
}

void topic_page(void *arg, size_t page, struct bytes value)
{
    struct topic_pages *pages = arg;
    const struct topic *t = &TOPICS[pages->topic];
    char key[TOPIC_KEY_SIZE];
    if (page >= (size_t)t->page_max) {
        pages->crowded = true;
        return;
    }
    pages->size += value.size;
    gossip_set(pages->c->gossip, pages->c->now_ms, t->priority,
               topic_key(key, pages->topic, NULL, page), value);
}

void topic_pages_end(struct topic_pages *pages, size_t written)
{
    struct cluster *c = pages->c;
    const struct topic *t = &TOPICS[pages->topic];
    size_t told = written < (size_t)t->page_max ? written : (size_t)t->page_max;
    topic_remove_pages(c, pages->topic, NULL, told, c->page_count[pages->topic]);
    c->page_count[pages->topic] = told;
    if (pages->crowded) {
        cluster_problem(
            c, PROBLEM_CROWDED, t->key,
            "%zu of %zu pages of %s do not fit and are not told to others; restart less "
            "often, or use fewer applications and instances",
            written - told, written, t->key);
    }
}
