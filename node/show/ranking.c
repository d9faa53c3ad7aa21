/* ranking: what fails, then what somebody chose or is about to be known, then what is well. */
#include "show/ranking.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

enum { RANK_BAD, RANK_MIDDLE, RANK_WELL };

static unsigned rank_of_word(const char *word)
{
    static const struct {
        const char *word;
        unsigned rank;
    } ranks[] = {
        {"unhealthy", RANK_BAD}, {"ejected", RANK_BAD},     {"dead", RANK_BAD},
        {"suspect", RANK_BAD},   {"draining", RANK_MIDDLE},
    };
    for (size_t i = 0; word && i < sizeof(ranks) / sizeof(ranks[0]); i++) {
        if (strcmp(word, ranks[i].word) == 0) {
            return ranks[i].rank;
        }
    }
    return RANK_WELL;
}

/* One that is kept though it fails, or is not reached from there, is healthy by its status. */
static bool has_problem(const json_t *status, const char *application, const char *name)
{
    char subject[256];
    size_t index;
    json_t *problem;
    snprintf(subject, sizeof(subject), "%s/%s", application, name);
    json_array_foreach(json_object_get(status, "problems"), index, problem)
    {
        const char *about = json_string_value(json_object_get(problem, "subject"));
        const char *severity = json_string_value(json_object_get(problem, "severity"));
        if (about && severity && strcmp(about, subject) == 0 && strcmp(severity, "info") != 0) {
            return true;
        }
    }
    return false;
}

static int compare(const void *left, const void *right)
{
    const struct ranked *a = left, *b = right;
    if (a->rank != b->rank) {
        return a->rank < b->rank ? -1 : 1;
    }
    return a->order < b->order ? -1 : a->order > b->order;
}

static void add(struct ranked **list, size_t *count, struct ranked one)
{
    if ((*count & (*count - 1)) == 0) { /* full at each power of two */
        *list = memory_resize(*list, (*count ? 2 * *count : 1) * sizeof(**list));
    }
    one.order = *count;
    (*list)[(*count)++] = one;
}

struct ranked *ranking_instances(const json_t *status, size_t *ret_count)
{
    struct ranked *list = NULL;
    size_t count = 0;
    const char *application, *name;
    json_t *app, *instance;
    json_object_foreach(json_object_get(status, "applications"), application, app)
    {
        json_object_foreach(json_object_get(app, "instances"), name, instance)
        {
            unsigned rank = rank_of_word(json_string_value(json_object_get(instance, "status")));
            rank = has_problem(status, application, name) ? RANK_BAD : rank;
            add(&list, &count, (struct ranked){application, name, instance, rank, 0});
        }
    }
    if (count > 0) {
        qsort(list, count, sizeof(*list), compare);
    }
    *ret_count = count;
    return list;
}

struct ranked *ranking_nodes(const json_t *status, size_t *ret_count)
{
    struct ranked *list = NULL;
    size_t count = 0, index;
    json_t *node;
    json_array_foreach(json_object_get(json_object_get(status, "cluster"), "nodes"), index, node)
    {
        const char *name = json_string_value(json_object_get(node, "name"));
        unsigned rank = rank_of_word(json_string_value(json_object_get(node, "state")));
        bool draining = json_is_true(json_object_get(node, "draining"));
        rank = draining && rank == RANK_WELL ? RANK_MIDDLE : rank;
        add(&list, &count, (struct ranked){NULL, name ? name : "-", node, rank, 0});
    }
    if (count > 0) {
        qsort(list, count, sizeof(*list), compare);
    }
    *ret_count = count;
    return list;
}
