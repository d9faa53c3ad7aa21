/* ledger: nodes -> slots -> applications -> instances, and totals beside them. A merge adds to the
 * total what the slot's number grew by, so a total is read without summing up. */
#include "ledger/ledger.h"

#include <assert.h>
#include <stdlib.h>

#include "base/memory.h"

enum { FIRST_SLOTS = 4 };

struct ledger *ledger_new(void)
{
    return memory_new(sizeof(struct ledger));
}

static void free_things(struct names *things)
{
    for (size_t i = 0; i < things->count; i++) {
        free(things->at[i]);
    }
    names_done(things);
}

static void free_parts(struct names *parts)
{
    for (size_t i = 0; i < parts->count; i++) {
        struct ledger_part *part = (struct ledger_part *)parts->at[i];
        free_parts(&part->instances);
        free(part->usage);
    }
    free_things(parts);
}

static void free_slot(struct ledger_slot *slot)
{
    free_parts(&slot->applications);
    free(slot);
}

static void free_total(struct ledger_total *total)
{
    for (size_t i = 0; i < total->instances.count; i++) {
        free_total((struct ledger_total *)total->instances.at[i]);
    }
    names_done(&total->instances);
    free(total->usage);
    free((void *)(uintptr_t)total->named.name.at);
    free(total);
}

void ledger_free(struct ledger *l)
{
    for (size_t n = 0; n < l->nodes.count; n++) {
        struct ledger_node *node = (struct ledger_node *)l->nodes.at[n];
        for (size_t s = 0; s < node->slot_count; s++) {
            free_slot(node->slots[s]);
        }
        free(node->slots);
        free((void *)(uintptr_t)node->named.name.at);
    }
    free_things(&l->nodes);
    for (size_t a = 0; a < l->applications.count; a++) {
        free_total((struct ledger_total *)l->applications.at[a]);
    }
    names_done(&l->applications);
    free(l);
}

static bool usage_valid(const struct usage_sum *u)
{
    bool valid = u->prompt_tokens <= LEDGER_NUMBER_MAX &&
                 u->completion_tokens <= LEDGER_NUMBER_MAX &&
                 u->unsplit_tokens <= LEDGER_NUMBER_MAX;
    for (uint32_t i = 0; valid && i < u->money_count; i++) {
        const struct usage_money *m = &u->money[i];
        valid = m->price.micro <= LEDGER_PRICE_MAX && m->price.rest <= LEDGER_PRICE_MAX &&
                usage_currency_valid(m->currency);
    }
    return valid;
}

bool ledger_record_valid(const struct ledger_record *r)
{
    return names_valid(r->node) && r->generation > 0 && names_valid(r->application) &&
           (r->instance.size == 0 || names_valid(r->instance)) &&
           r->requests <= LEDGER_NUMBER_MAX && r->failures <= LEDGER_NUMBER_MAX &&
           r->active <= LEDGER_NUMBER_MAX && (!r->usage || usage_valid(r->usage));
}

/* ---- finding ---- */

struct ledger_node *ledger_find_node(const struct ledger *l, struct bytes name)
{
    size_t index;
    return (struct ledger_node *)names_find(&l->nodes, name, &index);
}

/* Where the slot is or would be. */
static size_t slot_index(const struct ledger_node *node, uint64_t generation)
{
    size_t low = 0, high = node->slot_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (node->slots[middle]->generation < generation) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static struct ledger_slot *slot_of(const struct ledger_node *node, uint64_t generation)
{
    size_t index = slot_index(node, generation);
    bool found = index < node->slot_count && node->slots[index]->generation == generation;
    return found ? node->slots[index] : NULL;
}

struct ledger_slot *ledger_find_slot(const struct ledger *l, struct bytes node, uint64_t generation)
{
    const struct ledger_node *found = ledger_find_node(l, node);
    return found ? slot_of(found, generation) : NULL;
}

/* An application of a slot, or an instance of it. */
static struct ledger_part *part_of(const struct ledger_slot *slot, struct bytes application,
                                   struct bytes instance)
{
    size_t index;
    struct ledger_part *part =
        (struct ledger_part *)names_find(&slot->applications, application, &index);
    if (part && instance.size > 0) {
        part = (struct ledger_part *)names_find(&part->instances, instance, &index);
    }
    return part;
}

const struct ledger_part *ledger_find_part(const struct ledger *l, const struct ledger_record *r)
{
    const struct ledger_slot *slot = ledger_find_slot(l, r->node, r->generation);
    return slot ? part_of(slot, r->application, r->instance) : NULL;
}

const struct ledger_total *ledger_find_total(const struct ledger *l, struct bytes application,
                                             struct bytes instance)
{
    size_t index;
    const struct ledger_total *total =
        (const struct ledger_total *)names_find(&l->applications, application, &index);
    if (total && instance.size > 0) {
        total = (const struct ledger_total *)names_find(&total->instances, instance, &index);
    }
    return total;
}

/* ---- growing ---- */

static struct ledger_node *take_node(struct ledger *l, struct bytes name)
{
    size_t index;
    struct named *found = names_find(&l->nodes, name, &index);
    if (!found) {
        struct ledger_node *node = memory_new(sizeof(*node));
        node->named.name = (struct bytes){memory_copy_text(name.at, name.size), name.size};
        names_insert(&l->nodes, index, &node->named);
        found = &node->named;
    }
    return (struct ledger_node *)found;
}

static struct ledger_slot *take_slot(struct ledger_node *node, uint64_t generation)
{
    size_t index = slot_index(node, generation);
    if (index < node->slot_count && node->slots[index]->generation == generation) {
        return node->slots[index];
    }
    if (node->slot_count == node->slot_capacity) {
        node->slot_capacity = node->slot_capacity ? 2 * node->slot_capacity : FIRST_SLOTS;
        node->slots =
            memory_resize(node->slots, node->slot_capacity * sizeof(struct ledger_slot *));
    }
    struct ledger_slot **at = &node->slots[index];
    memmove(at + 1, at, (node->slot_count - index) * sizeof(struct ledger_slot *));
    node->slot_count++;
    *at = memory_new(sizeof(**at));
    (*at)->generation = generation;
    return *at;
}

static struct ledger_total *take_total(struct names *in, struct bytes name)
{
    size_t index;
    struct named *found = names_find(in, name, &index);
    if (!found) {
        struct ledger_total *total = memory_new(sizeof(*total));
        total->named.name = (struct bytes){memory_copy_text(name.at, name.size), name.size};
        names_insert(in, index, &total->named);
        found = &total->named;
    }
    return (struct ledger_total *)found;
}

/* `totals`: where the part's total is. */
static struct ledger_part *take_part(struct ledger *l, struct names *in, struct names *totals,
                                     struct bytes name)
{
    size_t index;
    struct named *found = names_find(in, name, &index);
    if (!found) {
        struct ledger_part *part = memory_new(sizeof(*part));
        part->total = take_total(totals, name);
        part->named.name = part->total->named.name;
        names_insert(in, index, &part->named);
        l->record_count++;
        found = &part->named;
    }
    return (struct ledger_part *)found;
}

/* The part that a record names, made if there is none; NULL when the ledger is full. */
static struct ledger_part *take_parts(struct ledger *l, const struct ledger_record *r)
{
    struct ledger_slot *slot = ledger_find_slot(l, r->node, r->generation);
    struct ledger_part *part = slot ? part_of(slot, r->application, r->instance) : NULL;
    if (part) {
        return part;
    }
    if (l->record_count + 2 > LEDGER_RECORDS_MAX) { /* an instance may bring its application */
        l->full = true;
        return NULL;
    }
    slot = take_slot(take_node(l, r->node), r->generation);
    part = take_part(l, &slot->applications, &l->applications, r->application);
    if (r->instance.size > 0) {
        part = take_part(l, &part->instances, &part->total->instances, r->instance);
    }
    return part;
}

/* Raises a number and its sum. True if it grew. */
static bool raise_number(uint64_t *number, uint64_t *sum, uint64_t to)
{
    if (to <= *number) {
        return false;
    }
    *sum += to - *number;
    *number = to;
    return true;
}

static struct usage_sum *take_usage(struct usage_sum **usage)
{
    *usage = *usage ? *usage : memory_new(sizeof(**usage));
    return *usage;
}

static bool raise_usage(struct ledger_part *part, const struct usage_sum *to)
{
    return !usage_sum_is_empty(to) &&
           usage_sum_raise(take_usage(&part->usage), take_usage(&part->total->usage), to);
}

bool ledger_merge(struct ledger *l, const struct ledger_record *r)
{
    assert(ledger_record_valid(r));
    if (r->requests == 0 && r->failures == 0 && usage_sum_is_empty(r->usage)) {
        return false;
    }
    struct ledger_part *part = take_parts(l, r);
    if (!part) {
        return false;
    }
    uint64_t before = part->requests;
    bool grew = raise_number(&part->requests, &part->total->requests, r->requests);
    grew = raise_number(&part->failures, &part->total->failures, r->failures) || grew;
    grew = raise_usage(part, r->usage) || grew;
    if (r->instance.size == 0) {
        l->requests += part->requests - before;
        ledger_find_node(l, r->node)->requests += part->requests - before;
    }
    l->revision += grew;
    return grew;
}

void ledger_set_active(struct ledger *l, const struct ledger_record *r)
{
    struct ledger_slot *slot = ledger_find_slot(l, r->node, r->generation);
    struct ledger_part *part = slot ? part_of(slot, r->application, r->instance) : NULL;
    if (!part && r->active > 0) {
        part = take_parts(l, r);
    }
    if (part) {
        part->total->active += r->active - part->active;
        part->active = r->active;
    }
}

static void clear_part(struct ledger_part *part)
{
    part->total->active -= part->active;
    part->active = 0;
    for (size_t i = 0; i < part->instances.count; i++) {
        clear_part((struct ledger_part *)part->instances.at[i]);
    }
}

void ledger_clear_active(struct ledger *l, struct bytes node, uint64_t generation)
{
    struct ledger_slot *slot = ledger_find_slot(l, node, generation);
    for (size_t i = 0; slot && i < slot->applications.count; i++) {
        clear_part((struct ledger_part *)slot->applications.at[i]);
    }
}

/* ---- sums ---- */

uint64_t ledger_sum(const struct ledger *l)
{
    uint64_t sum = 0;
    for (size_t a = 0; a < l->applications.count; a++) {
        const struct ledger_total *app = (const struct ledger_total *)l->applications.at[a];
        sum += app->requests + app->failures;
        for (size_t i = 0; i < app->instances.count; i++) {
            const struct ledger_total *t = (const struct ledger_total *)app->instances.at[i];
            sum += t->requests + t->failures + usage_sum_numbers(t->usage);
        }
    }
    return sum;
}

uint64_t ledger_slot_sum(const struct ledger_slot *slot)
{
    uint64_t sum = 0;
    for (size_t a = 0; slot && a < slot->applications.count; a++) {
        const struct ledger_part *app = (const struct ledger_part *)slot->applications.at[a];
        sum += app->requests + app->failures;
        for (size_t i = 0; i < app->instances.count; i++) {
            const struct ledger_part *p = (const struct ledger_part *)app->instances.at[i];
            sum += p->requests + p->failures + usage_sum_numbers(p->usage);
        }
    }
    return sum;
}

/* ---- comparing and walking ---- */

static bool part_covered(const struct ledger_part *part, const struct ledger_part *shown)
{
    if (part->requests > (shown ? shown->requests : 0) ||
        part->failures > (shown ? shown->failures : 0) ||
        !usage_sum_covered(part->usage, shown ? shown->usage : NULL)) {
        return false;
    }
    for (size_t i = 0; i < part->instances.count; i++) {
        const struct ledger_part *mine = (const struct ledger_part *)part->instances.at[i];
        size_t index;
        const struct named *theirs =
            shown ? names_find(&shown->instances, mine->named.name, &index) : NULL;
        if (!part_covered(mine, (const struct ledger_part *)theirs)) {
            return false;
        }
    }
    return true;
}

bool ledger_slot_covered(const struct ledger_slot *slot, const struct ledger_slot *shown)
{
    for (size_t i = 0; slot && i < slot->applications.count; i++) {
        const struct ledger_part *mine = (const struct ledger_part *)slot->applications.at[i];
        const struct ledger_part *theirs =
            shown ? part_of(shown, mine->named.name, (struct bytes){0}) : NULL;
        if (!part_covered(mine, theirs)) {
            return false;
        }
    }
    return true;
}

void ledger_each(const struct ledger_node *node, const struct ledger_slot *slot,
                 void (*visit)(void *arg, const struct ledger_record *r), void *arg)
{
    struct ledger_record r = {.node = node->named.name, .generation = slot->generation};
    for (size_t a = 0; a < slot->applications.count; a++) {
        const struct ledger_part *app = (const struct ledger_part *)slot->applications.at[a];
        r.application = app->named.name;
        for (size_t i = 0; i <= app->instances.count; i++) {
            const struct ledger_part *part =
                i == 0 ? app : (const struct ledger_part *)app->instances.at[i - 1];
            r.instance = i == 0 ? (struct bytes){0} : part->named.name;
            r.requests = part->requests;
            r.failures = part->failures;
            r.active = part->active;
            r.usage = part->usage;
            visit(arg, &r);
        }
    }
}
