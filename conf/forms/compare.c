/* compare: the changes of changes.c as sentences. */
#include "conf/forms/compare.h"

#include <assert.h>
#include <stdlib.h>

#include "base/memory.h"
#include "conf/read/reader.h"

struct comparing {
    struct conf_differences *to;
    const char *file_before, *file_after; /* relative paths are written as in these */
};

static bool is_secret(const struct conf_field *field)
{
    return field->item ? field->item->type->secret : field->type->secret;
}

/* The canonical text has shared sections alone: types that only stand elsewhere may be none that it
 * writes. */
static bool can_be_written(const struct conf_type *type)
{
    const struct conf_part *part = type->parts;
    return type->write ||
           (part[0].size > 0 && part[1].size == 0 && (part[0].text || part[0].size <= 8));
}

static bool is_shown(const struct conf_change *change)
{
    const struct conf_field *field = change->field;
    return can_be_written(field->item ? field->item->type : field->type);
}

/* How many of `a` are not in `b`, both sorted. */
static size_t count_missing(const char **a, size_t a_count, const char **b, size_t b_count)
{
    size_t missing = 0, j = 0;
    for (size_t i = 0; i < a_count; i++) {
        while (j < b_count && strcmp(b[j], a[i]) < 0) {
            j++;
        }
        missing += j == b_count || strcmp(b[j], a[i]) != 0;
    }
    return missing;
}

/* Tokens are counted. */
static void put_hidden_list(FILE *out, struct conf_list before, struct conf_list after)
{
    const char **a = conf_sorted_texts(before), **b = conf_sorted_texts(after);
    fprintf(out, "changed (%zu added, %zu removed)", count_missing(b, after.count, a, before.count),
            count_missing(a, before.count, b, after.count));
    free(a);
    free(b);
}

/* A text without a default may be missing. */
static bool is_missing(const struct conf_field *field, const char *section)
{
    const char *place = section + field->offset;
    return !field->item && field->type->parts[0].text && !*(const char *const *)(const void *)place;
}

/* NULL: too long to be shown. */
static char *value_text(const char *file, const struct conf_field *field, const char *section)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    assert(out); /* fails without memory only, as base/memory.h */
    if (is_missing(field, section)) {
        fputs("none", out);
    } else {
        conf_put_value(out, file, field, section);
    }
    fclose(out);
    if (size > CONF_DIFFERENCE_VALUE) {
        free(text);
        return NULL;
    }
    return text;
}

static void put_shown(FILE *out, const struct comparing *c, const struct conf_change *change)
{
    char *before = value_text(c->file_before, change->field, change->before);
    char *after = value_text(c->file_after, change->field, change->after);
    if (before && after) {
        fprintf(out, "changed from %s to %s", before, after);
    } else {
        fputs("changed", out);
    }
    free(before);
    free(after);
}

static void put_sentence(FILE *out, const struct comparing *c, const struct conf_change *change)
{
    static const char *const words[] = {[CONF_ADDED] = "added", [CONF_REMOVED] = "removed"};
    const struct conf_field *field = change->field;
    fprintf(out, "%s: ", change->path);
    if (change->kind != CONF_CHANGED) {
        fputs(words[change->kind], out);
    } else if (!field) {
        fputs("changed (another order)", out);
    } else if (!is_secret(field) && is_shown(change)) {
        put_shown(out, c, change);
    } else if (is_secret(field) && field->item && field->item->type->parts[0].text) {
        put_hidden_list(out, conf_list_at(change->before + field->offset),
                        conf_list_at(change->after + field->offset));
    } else {
        fputs("changed", out);
    }
}

static void note(void *arg, const struct conf_change *change)
{
    struct comparing *c = arg;
    struct conf_differences *to = c->to;
    to->shared_count += change->effect == CONF_SHARED;
    to->taken_back_count += change->takes_back;
    to->restart_count += change->effect == CONF_RESTART;
    if (to->count == CONF_DIFFERENCES_MAX) {
        to->unlisted++;
        return;
    }
    struct conf_difference *one = &to->at[to->count++];
    size_t size;
    FILE *out = open_memstream(&one->text, &size);
    assert(out);
    if (change->effect == CONF_RESTART) {
        fputs(change->path, out); /* what of it is known after the restart */
    } else {
        put_sentence(out, c, change);
    }
    fclose(out);
    one->effect = change->effect;
    one->takes_back = change->takes_back;
}

void conf_compare(const struct conf *in_force, const struct conf *file, const struct conf *base,
                  struct conf_differences *ret)
{
    struct comparing c = {ret, in_force->file, file->file};
    *ret = (struct conf_differences){
        .at = memory_new(CONF_DIFFERENCES_MAX * sizeof *ret->at),
    };
    conf_changes(in_force, file, base, note, &c);
}

void conf_differences_done(struct conf_differences *d)
{
    for (size_t i = 0; i < d->count; i++) {
        free(d->at[i].text);
    }
    free(d->at);
    *d = (struct conf_differences){0};
}

struct joining {
    char *text;
    size_t size, used, left_out;
};

static void join(struct joining *j, const char *sentence)
{
    size_t more = strlen(sentence) + 2;
    if (j->left_out > 0 || j->used + more + 32 > j->size) { /* 32: the last sentence */
        j->left_out++;
        return;
    }
    j->used += (size_t)snprintf(j->text + j->used, j->size - j->used, "%s%s",
                                j->used > 0 ? "; " : "", sentence);
}

static void join_end(struct joining *j)
{
    if (j->left_out > 0) {
        snprintf(j->text + j->used, j->size - j->used, "%sand %zu more", j->used > 0 ? "; " : "",
                 j->left_out);
    }
}

void conf_differences_text(const struct conf_differences *d, enum conf_effect effect,
                           char *ret_text, size_t size)
{
    struct joining j = {.text = ret_text, .size = size};
    ret_text[0] = '\0';
    for (size_t i = 0; i < d->count; i++) {
        if (!effect || d->at[i].effect == effect) {
            join(&j, d->at[i].text);
        }
    }
    j.left_out += d->unlisted;
    join_end(&j);
}

void conf_differences_lost(const struct conf_differences *d, char *ret_text, size_t size)
{
    struct joining j = {.text = ret_text, .size = size};
    size_t listed = 0;
    ret_text[0] = '\0';
    for (size_t i = 0; i < d->count; i++) {
        if (d->at[i].takes_back) {
            join(&j, d->at[i].text);
            listed++;
        }
    }
    j.left_out += d->taken_back_count - listed;
    join_end(&j);
}
