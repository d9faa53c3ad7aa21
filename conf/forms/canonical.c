/* canonical: the shared part as YAML in one fixed layout, in the schema of SPEC §2, every default
 * written out (but for what has none) and every override resolved. So it can be read again with
 * conf_parse() (next to a `listen` section), and gives itself. Lists keep their order but for
 * unordered ones.
 *
 * Nodes of two versions compare digests of it: the bytes for the same content are part of the
 * protocol, and a new key is written at the end of its section.
 */
#include <assert.h>
#include <stdlib.h>

#include "base/memory.h"
#include "conf/read/reader.h"

struct writer {
    FILE *out;
    const char *file;
    int indent;
    const struct conf *for_people; /* all of it, see conf_show(); NULL = canonical */
    bool hides;
};

static void put_section(struct writer *w, const struct conf_section *section, const char *at);

static int by_text(const void *a, const void *b)
{
    const char *const *p = a, *const *q = b;
    return strcmp(*p, *q);
}

const char **conf_sorted_texts(struct conf_list list)
{
    const char **sorted = memory_new((list.count + 1) * sizeof *sorted);
    if (list.count > 0) {
        memcpy(sorted, list.at, list.count * sizeof *sorted);
        qsort(sorted, list.count, sizeof *sorted, by_text);
    }
    return sorted;
}

/* Not given: an empty list where an empty one cannot be written, or that came later and whose
 * default is empty, a text without a default, what may be left out. */
static bool is_given(const struct conf_field *field, const char *section)
{
    const char *place = section + field->offset;
    if (field->item) {
        size_t least = field->item->section && field->min == 0 ? 1 : (size_t)field->min;
        return conf_list_at(place).count >= least;
    }
    if (field->type->parts[0].text) {
        return *(const char *const *)(const void *)(place + field->type->parts[0].offset);
    }
    return field->present == 0 || field->type->bare == BARE_BOOLEAN ||
           *(const bool *)(section + field->present);
}

static uint64_t number_at(const char *place, size_t size)
{
    const void *at = place;
    switch (size) {
    case sizeof(bool):
        return *(const bool *)at;
    case sizeof(uint16_t):
        return *(const uint16_t *)at;
    case sizeof(uint32_t):
        return *(const uint32_t *)at;
    default:
        assert(size == sizeof(uint64_t));
        return *(const uint64_t *)at;
    }
}

/* A value of one part: a text, a word, or a number. */
static void put_part(struct writer *w, const struct conf_field *field, const char *place)
{
    FILE *out = w->out;
    if (field->type->secret && w->hides) {
        fputs("\"" CONF_HIDDEN "\"", out);
        return;
    }
    if (field->type->parts[0].text) {
        conf_put_text(out, "", *(const char *const *)(const void *)place);
        return;
    }
    uint64_t number = number_at(place, field->type->size);
    if (field->choices) {
        fputs(field->choices[number], out);
    } else if (field->type->bare == BARE_BOOLEAN) {
        fputs(number ? "true" : "false", out);
    } else if (field->type->bare == BARE_SECONDS && w->for_people) {
        char text[CONF_DURATION_SIZE];
        fputs(conf_duration_text(number, text), out);
    } else {
        fprintf(out, field->type->bare == BARE_SECONDS ? "%llums" : "%llu",
                (unsigned long long)number);
    }
}

static void put_item(struct writer *w, const struct conf_field *item, const char *at)
{
    if (item->section) {
        put_section(w, item->section, at);
    } else if (item->type->write) {
        item->type->write(w->out, w->file, at);
    } else {
        put_part(w, item, at);
    }
}

static void put_list(struct writer *w, const struct conf_field *field, const char *place,
                     bool block)
{
    struct conf_list list = conf_list_at(place);
    const char **sorted = field->unordered ? conf_sorted_texts(list) : NULL;
    const char *at = sorted ? (const char *)sorted : list.at;
    size_t size = field->item->section ? field->item->section->size : field->item->type->size;
    fputs(block ? "\n" : " [", w->out);
    for (size_t i = 0; i < list.count; i++) {
        if (block) {
            fprintf(w->out, "%*s- ", w->indent + 2, "");
        } else if (i > 0) {
            fputs(", ", w->out);
        }
        put_item(w, field->item, at + i * size);
        fputs(block ? "\n" : "", w->out);
    }
    fputs(block ? "" : "]", w->out);
    free(sorted);
}

/* A mapping from the items' names. */
static void put_named(struct writer *w, const struct conf_section *section, struct conf_list list)
{
    fputs("\n", w->out);
    w->indent += 2;
    for (size_t i = 0; i < list.count; i++) {
        const char *at = list.at + i * section->size;
        fprintf(w->out, "%*s", w->indent, "");
        conf_put_text(w->out, "", *(const char *const *)(const void *)at);
        fputs(":\n", w->out);
        w->indent += 2;
        put_section(w, section, at);
        w->indent -= 2;
    }
    w->indent -= 2;
}

static void put_value(struct writer *w, const struct conf_field *field, const char *section,
                      bool block)
{
    const char *place = section + field->offset;
    if (field->section && field->present > 0 && !*(const bool *)(section + field->present)) {
        fputs(" false", w->out);
    } else if (field->section && field->section->block) {
        fputs("\n", w->out);
        w->indent += 2;
        put_section(w, field->section, place);
        w->indent -= 2;
    } else if (field->item && field->item->section && field->item->section->block) {
        put_named(w, field->item->section, conf_list_at(place));
    } else if (field->item) {
        put_list(w, field, place, block);
    } else {
        fputs(" ", w->out);
        put_item(w, field, place);
    }
}

void conf_put_value(FILE *out, const char *file, const struct conf_field *field,
                    const char *section)
{
    /* whose sections are not looked at: a value has none */
    static const struct conf nothing;
    struct writer w = {.out = out, .file = file, .for_people = &nothing, .hides = true};
    char *text = NULL;
    size_t size = 0;
    w.out = open_memstream(&text, &size);
    assert(w.out);
    put_value(&w, field, section, false);
    fclose(w.out);
    fputs(text + 1, out); /* a space goes before values */
    free(text);
}

/* Left out for people: an application has it as it stands above. */
static bool is_inherited(const struct writer *w, const struct conf_field *field, const char *at)
{
    return w->for_people && field->from > 0 &&
           conf_same_section(field->section, at + field->offset,
                             (const char *)w->for_people + field->from);
}

/* Ends in a new line. */
static bool is_tall(const struct conf_field *field)
{
    return field->item || (field->section && field->section->block);
}

static void put_block(struct writer *w, const struct conf_section *section, const char *at)
{
    for (const struct conf_field *field = section->fields; field->key; field++) {
        bool shared = section != &conf_root || field->effect == CONF_SHARED;
        if (shared && is_given(field, at) && !is_inherited(w, field, at)) {
            fprintf(w->out, "%*s%s:", w->indent, "", field->key);
            put_value(w, field, at, true);
            fputs(is_tall(field) ? "" : "\n", w->out);
        }
    }
}

static void put_section(struct writer *w, const struct conf_section *section, const char *at)
{
    if (section->block) {
        put_block(w, section, at);
        return;
    }
    const char *between = "{ ";
    for (const struct conf_field *field = section->fields; field->key; field++) {
        if (is_given(field, at)) {
            fprintf(w->out, "%s%s:", between, field->key);
            put_value(w, field, at, false);
            between = ", ";
        }
    }
    fputs(" }", w->out);
}

static char *write_text(struct writer *w, const struct conf *conf, size_t *ret_size)
{
    char *text = NULL;
    size_t size = 0;
    w->file = conf->file;
    w->out = open_memstream(&text, &size);
    assert(w->out); /* fails without memory only, as base/memory.h */
    put_section(w, &conf_root, (const char *)conf);
    int failed = fclose(w->out);
    assert(failed == 0);
    *ret_size = size;
    return text;
}

char *conf_canonical(const struct conf *conf, size_t *ret_size)
{
    struct writer w = {0};
    return write_text(&w, conf, ret_size);
}

char *conf_show(const struct conf *conf, bool secrets, size_t *ret_size)
{
    struct writer w = {.for_people = conf, .hides = !secrets};
    return write_text(&w, conf, ret_size);
}
