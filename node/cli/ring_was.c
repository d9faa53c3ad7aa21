/* ring_was: two sorted lists of points, walked side by side. */
#include "cli/ring_was.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

static size_t owner_at(const struct ring_side *side, uint64_t key)
{
    int member = ring_lookup(side->ring, key, side->eligible, side->arg);
    return member < 0 ? side->app->instance_count : (size_t)member;
}

static size_t place_of(const struct ring_was *w, uint64_t key)
{
    return owner_at(&w->was, key) * w->width + owner_at(&w->is, key);
}

/* The next point behind `at` of one of the rings; false: there is none. */
static bool next_point(const struct ring_side *side, size_t *at, uint64_t behind, bool first,
                       uint64_t *ret_value)
{
    const struct ring_point *points = ring_points(side->ring);
    size_t count = ring_point_count(side->ring);
    while (!first && *at < count && points[*at].value <= behind) {
        (*at)++;
    }
    if (*at < count) {
        *ret_value = points[*at].value;
    }
    return *at < count;
}

/* 2^-64 of all users is one key. */
static void add_arc(struct ring_was *w, uint64_t from, uint64_t to)
{
    w->shares[place_of(w, to)] += ldexp((double)(to - from), -64);
}

static void add_arcs(struct ring_was *w)
{
    size_t at[2] = {0, 0};
    uint64_t before = 0, first = 0;
    bool begun = false;
    for (;;) {
        uint64_t values[2] = {0, 0};
        bool has[2] = {next_point(&w->was, &at[0], before, !begun, &values[0]),
                       next_point(&w->is, &at[1], before, !begun, &values[1])};
        if (!has[0] && !has[1]) {
            break;
        }
        uint64_t value = !has[1] || (has[0] && values[0] < values[1]) ? values[0] : values[1];
        if (begun) {
            add_arc(w, before, value);
        } else {
            first = value;
        }
        before = value;
        begun = true;
    }
    if (begun) { /* around the end; a single point owns all, which is 2^64 and no difference */
        double rest = first == before ? 1.0 : ldexp((double)(uint64_t)(first - before), -64);
        w->shares[place_of(w, first)] += rest;
    }
}

void ring_was_init(struct ring_was *w, const struct ring_side *was, const struct ring_side *is)
{
    *w = (struct ring_was){.was = *was, .is = *is, .width = is->app->instance_count + 1};
    size_t places = (was->app->instance_count + 1) * w->width;
    w->shares = memory_new(places * sizeof(*w->shares));
    w->users = memory_new(places * sizeof(*w->users));
    add_arcs(w);
}

void ring_was_done(struct ring_was *w)
{
    free(w->shares);
    free(w->users);
}

static const char *name_at(const struct conf_application *app, size_t index)
{
    return index < app->instance_count ? app->instances[index].name : "-";
}

const char *ring_was_user(struct ring_was *w, uint64_t key)
{
    w->users[place_of(w, key)]++;
    return name_at(w->was.app, owner_at(&w->was, key));
}

void ring_was_print(const struct ring_was *w)
{
    struct buffer rows = {0};
    double share = 0;
    uint64_t users = 0;
    for (size_t from = 0; from <= w->was.app->instance_count; from++) {
        for (size_t to = 0; to < w->width; to++) {
            size_t place = from * w->width + to;
            const char *names[] = {name_at(w->was.app, from), name_at(w->is.app, to)};
            if (w->shares[place] > 0 && strcmp(names[0], names[1]) != 0) {
                share += w->shares[place];
                users += w->users[place];
                buffer_append_format(&rows, "%s\t%s\t%.6f\t%llu\n", names[0], names[1],
                                     w->shares[place], (unsigned long long)w->users[place]);
            }
        }
    }
    printf("\nfrom\tto\tshare\tusers\n*\t*\t%.6f\t%llu\n%.*s", share, (unsigned long long)users,
           (int)rows.size, rows.size ? rows.data : "");
    buffer_done(&rows);
}
