/* checks: two registries, by what makes containers and checkers the same.
 *
 * From one configuration to the next: checks_begin() wants nobody, checks_place() wants each
 * instance's checker and finds or makes it, and checks_end_some() starts or goes on with those that
 * are wanted and ends the others, some at a time. */
#include "checks/checks.h"

#include <assert.h>
#include <stdlib.h>

#include "base/memory.h"
#include "checks/tls_terms.h"

enum { ENDED_AT_ONCE = 256 /* checkers in a piece of work: a millisecond or two */ };

/* A checker, and who is to be checked by it next. */
struct check_group {
    struct named named; /* all that its entries have in common, as text */
    char *name;
    struct checker checker;
    struct checker_options options; /* of the new configuration; path is the file's */
    struct check_entry **entries;   /* placed so far */
    size_t count, capacity;
};

void checks_init(struct checks *c, struct net_loop *net)
{
    *c = (struct checks){.net = net};
}

static struct check_group *group_at(const struct checks *c, size_t index)
{
    return (struct check_group *)c->checkers.at[index];
}

static void group_free(struct check_group *g)
{
    checker_done(&g->checker);
    free(g->entries);
    free(g->name);
    free(g);
}

void checks_done(struct checks *c)
{
    for (size_t i = 0; i < c->checkers.count; i++) {
        group_free(group_at(c, i));
    }
    names_done(&c->checkers);
    assert(c->containers.count == 0);
    names_done(&c->containers);
    buffer_done(&c->terms.text);
    buffer_done(&c->name);
    free(c->off);
}

/* ---- containers ---- */

static struct container *take_container(struct checks *c, const struct conf_instance *instance)
{
    char text[CONTAINER_NAME_SIZE];
    struct bytes name = container_name(instance->host, instance->port, instance->tls.enabled, text);
    size_t index;
    struct named *found = names_find(&c->containers, name, &index);
    if (!found) {
        found = &container_new(name)->named;
        names_insert(&c->containers, index, found);
    }
    return (struct container *)found;
}

void checks_leave(struct checks *c, struct container_entry *place)
{
    struct container *container = place->container;
    size_t index;
    if (!container) {
        return;
    }
    container_leave(place);
    if (list_empty(&container->instances)) {
        struct named *found = names_find(&c->containers, container->named.name, &index);
        assert(found == &container->named);
        names_remove(&c->containers, index);
        container_free(container);
    }
}

size_t checks_work(struct checks *c, uint64_t now_ms, struct cluster_work *ret_work)
{
    size_t count = 0;
    for (size_t i = 0; i < c->containers.count; i++) {
        count += container_work((struct container *)c->containers.at[i], now_ms, &ret_work[count]);
    }
    return count;
}

/* ---- checkers ---- */

static struct status_set expected(const struct conf_health_check *check, bool bare)
{
    struct status_set set = {{0}};
    size_t count;
    const struct conf_status_range *ranges = conf_check_expect(check, bare, &count);
    for (size_t r = 0; r < count; r++) {
        for (unsigned s = ranges[r].first; s <= ranges[r].last; s++) {
            status_set_add(&set, s);
        }
    }
    return set;
}

static void prepare_terms(struct check_terms *t, const struct conf_health_check *check)
{
    t->check = check;
    buffer_clear(&t->text);
    buffer_append_format(&t->text, "\n%s %d %llu %llu %llu %u %u", check->path, check->token,
                         (unsigned long long)check->interval_ms,
                         (unsigned long long)check->timeout_ms,
                         (unsigned long long)check->busy_timeout_ms, check->healthy_threshold,
                         check->unhealthy_threshold);
    for (size_t r = 0; r < check->expect_count; r++) {
        buffer_append_format(&t->text, " %u-%u", check->expect[r].first, check->expect[r].last);
    }
    t->expect[false] = expected(check, false);
    t->expect[true] = expected(check, true);
}

/* Two entries share a checker if these texts are equal. There may be 65 536 of them: no printf. */
static struct bytes write_name(struct checks *c, const struct container *container,
                               const struct conf_instance_tls *tls)
{
    struct buffer *b = &c->name;
    buffer_clear(b);
    buffer_append_bytes(b, container->named.name);
    tls_terms_append(b, tls);
    buffer_append_bytes(b, buffer_bytes(&c->terms.text));
    return buffer_bytes(b);
}

static struct check_group *take_group(struct checks *c, struct container *container,
                                      const struct conf_instance *instance)
{
    size_t index;
    struct bytes name = write_name(c, container, &instance->tls);
    struct named *found = names_find(&c->checkers, name, &index);
    if (!found) {
        struct check_group *g = memory_new(sizeof(*g));
        g->name = memory_copy_text(name.at, name.size);
        g->named.name = (struct bytes){g->name, name.size};
        checker_init(&g->checker, c->net, c->prng, container);
        g->checker.events = c->events;
        g->checker.owner = c->owner;
        found = &g->named;
        names_insert(&c->checkers, index, found);
    }
    return (struct check_group *)found;
}

void checks_begin(struct checks *c)
{
    c->terms.check = NULL;
    c->off_count = 0;
    c->end_at = SIZE_MAX;
    for (size_t i = 0; i < c->checkers.count; i++) {
        group_at(c, i)->count = 0;
    }
    for (size_t i = 0; i < c->containers.count; i++) {
        ((struct container *)c->containers.at[i])->next_busy_timeout_ms = 0;
    }
}

static void add_entry(struct check_group *g, struct check_entry *e)
{
    if (g->count == g->capacity) {
        g->capacity = g->capacity ? 2 * g->capacity : 4;
        g->entries = memory_resize(g->entries, g->capacity * sizeof(struct check_entry *));
    }
    g->entries[g->count++] = e;
}

/* One that is in a round goes on to be, until its checker has its new entries. */
static void switch_off(struct checks *c, struct check_entry *e,
                       const struct conf_health_check *check)
{
    if (!e->checker) {
        rota_entry_init(&e->rota, check->healthy_threshold, check->unhealthy_threshold);
        return;
    }
    if (c->off_count == c->off_capacity) {
        c->off_capacity = c->off_capacity ? 2 * c->off_capacity : 4;
        c->off = memory_resize(c->off, c->off_capacity * sizeof(*c->off));
    }
    c->off[c->off_count++] =
        (struct check_off){e, check->healthy_threshold, check->unhealthy_threshold};
}

void checks_place(struct checks *c, struct check_entry *e, struct container_entry *place,
                  const struct conf_health_check *check, const struct conf_instance *instance)
{
    if (!place->container) {
        container_join(take_container(c, instance), place, e->live);
    }
    if (!check->enabled) {
        switch_off(c, e, check);
        return;
    }
    if (c->terms.check != check) {
        prepare_terms(&c->terms, check);
    }
    bool bare = conf_check_is_bare(check, instance->token);
    check_entry_configure(e, bare ? NULL : instance->token, &c->terms.expect[bare]);
    struct check_group *g = take_group(c, place->container, instance);
    g->options = (struct checker_options){
        .path = check->path,
        .interval_ms = check->interval_ms,
        .timeout_ms = check->timeout_ms,
        .busy_timeout_ms = check->busy_timeout_ms,
        .rise = check->healthy_threshold,
        .fall = check->unhealthy_threshold,
    };
    add_entry(g, e);
    if (place->container->next_busy_timeout_ms < check->busy_timeout_ms) {
        place->container->next_busy_timeout_ms = check->busy_timeout_ms;
    }
}

static void end_group(struct checks *c, size_t index)
{
    struct check_group *g = group_at(c, index);
    g->options.index = index;
    g->options.count = c->checkers.count;
    checker_configure(&g->checker, &g->options);
    checker_set_entries(&g->checker, g->entries, g->count);
}

/* The last of it, when no checker has an entry any more that is not its own. */
static void end_all(struct checks *c)
{
    for (size_t i = 0; i < c->off_count; i++) {
        rota_entry_init(&c->off[i].entry->rota, c->off[i].rise, c->off[i].fall);
    }
    c->off_count = 0;
    for (size_t i = 0; i < c->containers.count; i++) {
        struct container *container = (struct container *)c->containers.at[i];
        container->busy_timeout_ms = container->next_busy_timeout_ms;
    }
}

/* First, from the last to the first, those go that nobody wants; then the others get what is
 * theirs. `end_at` counts both: down while `removing`, then up. */
bool checks_end_some(struct checks *c)
{
    if (c->end_at == SIZE_MAX) {
        c->end_at = c->checkers.count;
        c->removing = true;
    }
    for (size_t n = 0; n < ENDED_AT_ONCE; n++) {
        if (c->removing && c->end_at == 0) {
            c->removing = false;
        } else if (c->removing) {
            struct check_group *g = group_at(c, --c->end_at);
            if (g->count == 0) {
                names_remove(&c->checkers, c->end_at);
                group_free(g);
            }
        } else if (c->end_at < c->checkers.count) {
            end_group(c, c->end_at++);
        } else {
            end_all(c);
            return false;
        }
    }
    return true;
}
