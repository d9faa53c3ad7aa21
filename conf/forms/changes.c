/* changes: what differs between two configurations, and carrying over what needs a restart. Both
 * walk the rows; a value is compared and copied by its type's parts.
 *
 * A third configuration may go along, the base that `after` was made from: a change takes back
 * where `after` has what the base has and `before` has something else. Sections and items that the
 * base has not are NULL there. */
#include <stdlib.h>

#include "base/arena.h"
#include "conf/forms/fixed.h"
#include "conf/read/reader.h"

/* ---- single values ---- */

static const char *text_at(const char *place)
{
    return *(const char *const *)(const void *)place;
}

static size_t item_size(const struct conf_field *item)
{
    return item->section ? item->section->size : item->type->size;
}

static bool is_present(const struct conf_field *field, const char *section)
{
    return field->present == 0 || *(const bool *)(section + field->present);
}

static bool same_parts(const struct conf_part *part, const char *a, const char *b)
{
    for (; part->size > 0; part++) {
        const char *p = a + part->offset, *q = b + part->offset;
        const char *s = part->text ? text_at(p) : NULL, *t = part->text ? text_at(q) : NULL;
        if (part->text ? s != t && (!s || !t || strcmp(s, t) != 0)
                       : memcmp(p, q, part->size) != 0) {
            return false;
        }
    }
    return true;
}

static bool same_value(const struct conf_field *field, const char *a, const char *b);

static bool same_list(const struct conf_field *field, struct conf_list a, struct conf_list b)
{
    size_t size = item_size(field->item);
    const char **p = NULL, **q = NULL;
    bool same = a.count == b.count;
    if (same && field->unordered) {
        p = conf_sorted_texts(a);
        q = conf_sorted_texts(b);
    }
    for (size_t i = 0; same && i < a.count; i++) {
        same =
            p ? strcmp(p[i], q[i]) == 0 : same_value(field->item, a.at + i * size, b.at + i * size);
    }
    free(p);
    free(q);
    return same;
}

bool conf_same_section(const struct conf_section *section, const char *a, const char *b)
{
    bool same = true;
    for (const struct conf_field *f = section->fields; same && f->key; f++) {
        same = same_value(f, a, b);
    }
    return same;
}

/* Of one row, in the sections `a` and `b`. */
static bool same_value(const struct conf_field *field, const char *a, const char *b)
{
    const char *p = a + field->offset, *q = b + field->offset;
    if (field->item) {
        return same_list(field, conf_list_at(p), conf_list_at(q));
    }
    if (!field->section) {
        return same_parts(field->type->parts, p, q);
    }
    return is_present(field, a) == is_present(field, b) && conf_same_section(field->section, p, q);
}

/* ---- the walk ---- */

/* One place in the three configurations; `base` NULL: it is not there, or there is no base. */
struct place {
    const char *before, *after, *base;
};

struct walk {
    bool has_base;
    struct place root;
    void (*visit)(void *arg, const struct conf_change *change);
    void *arg;
    struct conf_change change;
    char path[256]; /* the longest has two names of 64 and three keys of 20 */
    size_t size;
};

static void tell_change(struct walk *w, enum conf_change_kind kind, enum conf_effect effect,
                        bool as_base)
{
    w->change.kind = kind;
    w->change.effect = effect;
    w->change.path = w->path;
    w->change.takes_back = w->has_base && effect == CONF_SHARED && as_base;
    w->visit(w->arg, &w->change);
    w->change.field = NULL;
}

/* Returns the size to go back to with step_out(). */
static size_t step_in(struct walk *w, const char *word)
{
    size_t before = w->size;
    int more =
        snprintf(w->path + before, sizeof w->path - before, "%s%s", before > 0 ? "." : "", word);
    w->size = before + (size_t)more < sizeof w->path ? before + (size_t)more : before;
    return before;
}

static void step_out(struct walk *w, size_t before)
{
    w->size = before;
    w->path[before] = '\0';
}

static void walk_section(struct walk *w, const struct conf_section *section, struct place at,
                         enum conf_effect effect);

/* The item of that name; most often it stands where it stood. */
static const char *find_named(struct conf_list list, size_t size, const char *name, size_t hint)
{
    for (size_t i = 0; i < list.count; i++) {
        const char *at = list.at + (i + hint) % list.count * size;
        if (strcmp(text_at(at), name) == 0) {
            return at;
        }
    }
    return NULL;
}

/* The items that both have stand in the same order. */
static bool same_order(const struct conf_section *section, struct conf_list a, struct conf_list b)
{
    const char *last = NULL;
    for (size_t i = 0; i < a.count; i++) {
        const char *name = text_at(a.at + i * section->size);
        const char *at = find_named(b, section->size, name, i);
        if (at && last && at < last) {
            return false;
        }
        last = at ? at : last;
    }
    return true;
}

struct lists {
    struct conf_list before, after, base;
};

static void walk_removed_and_kept(struct walk *w, const struct conf_section *section,
                                  const struct lists *l, enum conf_effect effect)
{
    for (size_t i = 0; i < l->before.count; i++) {
        const char *before = l->before.at + i * section->size, *name = text_at(before);
        const char *after = find_named(l->after, section->size, name, i);
        const char *base = find_named(l->base, section->size, name, i);
        size_t outside = step_in(w, name);
        if (after) {
            walk_section(w, section, (struct place){before, after, base}, effect);
        } else {
            tell_change(w, CONF_REMOVED, effect, base == NULL);
        }
        step_out(w, outside);
    }
}

static void walk_added(struct walk *w, const struct conf_section *section, const struct lists *l,
                       enum conf_effect effect)
{
    for (size_t i = 0; i < l->after.count; i++) {
        const char *name = text_at(l->after.at + i * section->size);
        if (!find_named(l->before, section->size, name, i)) {
            size_t outside = step_in(w, name);
            tell_change(w, CONF_ADDED, effect, find_named(l->base, section->size, name, i) != NULL);
            step_out(w, outside);
        }
    }
}

/* Applications are sorted by name: only the order of instances says anything. */
static void walk_named(struct walk *w, const struct conf_section *section, const struct lists *l,
                       enum conf_effect effect)
{
    walk_removed_and_kept(w, section, l, effect);
    walk_added(w, section, l, effect);
    if (!same_order(section, l->before, l->after)) { /* the list itself: it is another order */
        tell_change(w, CONF_CHANGED, effect,
                    same_order(section, l->base, l->after) &&
                        !same_order(section, l->base, l->before));
    }
}

static bool base_has(const struct conf_field *field, const struct place *at)
{
    return at->base && is_present(field, at->base);
}

static void walk_field(struct walk *w, const struct conf_field *field, const struct place *at,
                       enum conf_effect effect)
{
    size_t offset = field->offset;
    bool before = is_present(field, at->before), after = is_present(field, at->after);
    if (field->item && field->item->section && field->item->section->named) {
        struct lists lists = {conf_list_at(at->before + offset), conf_list_at(at->after + offset),
                              at->base ? conf_list_at(at->base + offset) : (struct conf_list){0}};
        walk_named(w, field->item->section, &lists, effect);
    } else if (before != after) {
        tell_change(w, after ? CONF_ADDED : CONF_REMOVED, effect, base_has(field, at) == after);
    } else if (field->section && before) {
        struct place inside = {at->before + offset, at->after + offset,
                               base_has(field, at) ? at->base + offset : NULL};
        walk_section(w, field->section, inside, effect);
    } else if (!field->section && !same_value(field, at->before, at->after)) {
        w->change.field = field;
        w->change.before = at->before;
        w->change.after = at->after;
        tell_change(w, CONF_CHANGED,
                    field->effect_of ? field->effect_of(at->before + offset, at->after + offset)
                                     : effect,
                    at->base && same_value(field, at->base, at->after));
    }
}

/* An application that takes the section as it stands above it says nothing of its own. */
static bool is_inherited(const struct walk *w, const struct conf_field *field,
                         const struct place *at)
{
    const struct place own = {at->before + field->offset, at->after + field->offset,
                              at->base ? at->base + field->offset : NULL};
    const struct conf_section *section = field->section;
    size_t from = field->from;
    return from > 0 && conf_same_section(section, own.before, w->root.before + from) &&
           conf_same_section(section, own.after, w->root.after + from) &&
           (!own.base || conf_same_section(section, own.base, w->root.base + from));
}

static void walk_section(struct walk *w, const struct conf_section *section, struct place at,
                         enum conf_effect effect)
{
    for (const struct conf_field *field = section->fields; field->key; field++) {
        size_t outside = step_in(w, field->key);
        if (outside == 0) {
            w->change.section = field->key;
        }
        enum conf_effect own = conf_effect_of(field, effect);
        if (!is_inherited(w, field, &at)) {
            walk_field(w, field, &at, own);
        }
        step_out(w, outside);
    }
}

void conf_changes(const struct conf *before, const struct conf *after, const struct conf *base,
                  void (*visit)(void *arg, const struct conf_change *change), void *arg)
{
    struct place root = {(const char *)before, (const char *)after, (const char *)base};
    struct walk w = {.has_base = base != NULL, .root = root, .visit = visit, .arg = arg};
    walk_section(&w, &conf_root, root, 0);
}

/* ---- what needs a restart ---- */

/* With `all`, also the rows whose change takes no restart: of an item that is kept nothing may
 * point into `from`. */
static void copy_section(struct arena *arena, const struct conf_section *section, const char *from,
                         char *to, enum conf_effect effect, bool all);

static void copy_parts(struct arena *arena, const struct conf_part *part, const char *from,
                       char *to)
{
    for (; part->size > 0; part++) {
        memcpy(to + part->offset, from + part->offset, part->size);
        const char *text = part->text ? text_at(from + part->offset) : NULL;
        if (text) {
            text = arena_text(arena, bytes_of(text));
            memcpy(to + part->offset, &text, sizeof text);
        }
    }
}

static void copy_list(struct arena *arena, const struct conf_field *item, const char *from,
                      char *to)
{
    struct conf_list list = conf_list_at(from);
    size_t size = item_size(item);
    char *items = arena_array(arena, list.count, size);
    for (size_t i = 0; i < list.count; i++) {
        const char *old = list.at + i * size;
        memcpy(items + i * size, old, size); /* with its line */
        if (item->section) {
            copy_section(arena, item->section, old, items + i * size, CONF_RESTART, true);
        } else {
            copy_parts(arena, item->type->parts, old, items + i * size);
        }
    }
    memcpy(to, &(struct conf_list){items, list.count}, sizeof list);
}

static void copy_section(struct arena *arena, const struct conf_section *section, const char *from,
                         char *to, enum conf_effect effect, bool all)
{
    for (const struct conf_field *field = section->fields; field->key; field++) {
        enum conf_effect own = all ? CONF_RESTART : conf_effect_of(field, effect);
        const char *old = from + field->offset;
        if (own == CONF_RESTART && field->present > 0) {
            memcpy(to + field->present, from + field->present, sizeof(bool));
        }
        if (field->section) {
            copy_section(arena, field->section, old, to + field->offset, own, all);
        } else if (own == CONF_RESTART && field->item) {
            copy_list(arena, field->item, old, to + field->offset);
        } else if (own == CONF_RESTART) {
            copy_parts(arena, field->type->parts, old, to + field->offset);
        }
    }
}

static bool same_place(const struct conf_listen *a, const struct conf_listen *b)
{
    return a->port == b->port && strcmp(a->host, b->host) == 0;
}

/* Listeners that the file still has get what it says of their TLS. Several may have port 0: most
 * often one stands where it stood. */
static void take_tls(struct conf *next, const struct conf_listen *asked, size_t count)
{
    for (size_t i = 0; i < next->listen_count; i++) {
        struct conf_listen *kept = &next->listen[i];
        size_t k = i < count && same_place(kept, &asked[i]) ? i : 0;
        while (k < count && !same_place(kept, &asked[k])) {
            k++;
        }
        if (k < count) {
            conf_listen_take_tls(kept, &asked[k]);
        }
    }
}

void conf_fixed_keep(const struct conf *running, struct conf *next)
{
    const struct conf_listen *asked = next->listen;
    size_t asked_count = next->listen_count;
    copy_section(next->arena, &conf_root, (const char *)running, (char *)next, 0, false);
    take_tls(next, asked, asked_count);
}
