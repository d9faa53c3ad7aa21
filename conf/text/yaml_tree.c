/* yaml_tree: a stack of open collections; each event adds a node to the one on top.
 *
 * A collection is attached to its parent when it ends, so a node that is reachable is complete and
 * knows its expanded size. Merge keys are applied at that moment, too: own keys first, then the
 * merged mappings in order, each adding what is not there yet (yaml.org/type/merge). */
#include "conf/text/yaml_tree.h"

#include <assert.h>
#include <string.h>
#include <yaml.h>

#include "conf/text/environment.h"
#include "conf/text/source.h"

enum {
    MERGES_MAX = 16, /* mappings in one `<<`; more are a mistake, and each costs a search per key */
};

#define TAG_PREFIX "tag:yaml.org,2002:"

struct frame {
    struct yaml_node *node;
    size_t capacity;
    struct yaml_node *key; /* mapping: read, and waiting for its value */
    struct yaml_node *merge;
};

struct anchor {
    const char *name;
    struct yaml_node *node;
};

struct builder {
    struct arena *arena;
    struct problem_list *problems;
    struct bytes text; /* for advice */
    struct frame stack[YAML_DEPTH_MAX];
    size_t depth;
    struct anchor anchors[YAML_ANCHORS_MAX];
    size_t anchor_count;
    size_t text_budget;
    struct yaml_node *root;
    size_t skipped;    /* levels that are open below YAML_DEPTH_MAX */
    bool marked;       /* by source_check() */
    bool anchors_lost; /* there were too many, or some in what was skipped */
    bool root_done;    /* the first document has ended */
    bool failed;       /* a problem that ends the reading */
};

static void report(struct builder *b, const yaml_event_t *event, const char *message)
{
    const yaml_mark_t *mark = &event->start_mark;
    problem_add(b->problems, (unsigned)mark->line + 1, (unsigned)mark->column + 1, "%s", message);
}

static struct yaml_node *node_new(struct builder *b, enum yaml_kind kind, const yaml_event_t *event)
{
    struct yaml_node *node = arena_take(b->arena, sizeof *node);
    node->kind = kind;
    node->line = (unsigned)event->start_mark.line + 1;
    node->column = (unsigned)event->start_mark.column + 1;
    node->expanded = 1;
    return node;
}

/* Doubles an array on the arena; what it leaves behind is at most as much again. */
static void *grown(struct builder *b, struct frame *frame, const void *old, size_t size)
{
    if (frame->node->count < frame->capacity) {
        return NULL;
    }
    frame->capacity = frame->capacity ? 2 * frame->capacity : 8;
    void *larger = arena_array(b->arena, frame->capacity, size);
    if (frame->node->count > 0) {
        memcpy(larger, old, frame->node->count * size);
    }
    return larger;
}

static struct yaml_pair *find_pair(const struct yaml_node *mapping, struct bytes key)
{
    for (size_t i = 0; i < mapping->count; i++) {
        if (bytes_equal(mapping->pairs[i].key->text, key)) {
            return &mapping->pairs[i];
        }
    }
    return NULL;
}

static bool is_full(const struct frame *frame)
{
    return frame->node->count == YAML_KEYS_MAX;
}

static void add_pair(struct builder *b, struct frame *frame, struct yaml_pair pair)
{
    if (is_full(frame)) {
        problem_add(b->problems, frame->node->line, frame->node->column,
                    "more than %d keys in one mapping", YAML_KEYS_MAX);
        frame->node->broken = true;
        return;
    }
    struct yaml_pair *pairs = grown(b, frame, frame->node->pairs, sizeof *pairs);
    frame->node->pairs = pairs ? pairs : frame->node->pairs;
    frame->node->pairs[frame->node->count++] = pair;
}

static void report_duplicate(struct builder *b, const struct yaml_node *key, unsigned first_line)
{
    if (problem_may_show(key->text.at)) {
        problem_add(b->problems, key->line, key->column,
                    "duplicate key `%s`; the first is at line %u", key->text.at, first_line);
    } else {
        problem_add(b->problems, key->line, key->column, "duplicate key; the first is at line %u",
                    first_line);
    }
}

static void add_own_pair(struct builder *b, struct frame *frame, struct yaml_pair pair)
{
    const struct yaml_node *key = pair.key;
    if (key->kind != YAML_SCALAR) {
        problem_add(b->problems, key->line, key->column, "a key must be plain text");
        return;
    }
    if (key->broken || (is_full(frame) && frame->node->broken)) {
        frame->node->broken = true; /* known already, and no search for each further key */
        return;
    }
    bool merge = key->plain && bytes_equal(key->text, BYTES("<<"));
    const struct yaml_pair *first = merge ? NULL : find_pair(frame->node, key->text);
    if (first || (merge && frame->merge)) {
        report_duplicate(b, key, first ? first->key->line : frame->merge->line);
    } else if (merge) {
        frame->merge = pair.value;
    } else {
        add_pair(b, frame, pair);
    }
}

static void attach(struct builder *b, struct yaml_node *node)
{
    if (b->depth == 0) {
        b->root = node;
        return;
    }
    struct frame *frame = &b->stack[b->depth - 1];
    frame->node->expanded += node->expanded;
    if (frame->node->expanded > YAML_NODES_MAX) {
        problem_add(b->problems, frame->node->line, frame->node->column,
                    "more than %d values once every alias is followed", YAML_NODES_MAX);
        b->failed = true;
    } else if (frame->node->kind == YAML_SEQUENCE) {
        struct yaml_node **items = grown(b, frame, frame->node->items, sizeof(struct yaml_node *));
        frame->node->items = items ? items : frame->node->items;
        frame->node->items[frame->node->count++] = node;
    } else if (!frame->key) {
        frame->key = node;
    } else {
        struct yaml_pair pair = {frame->key, node};
        frame->key = NULL;
        add_own_pair(b, frame, pair);
    }
}

static void merge_one(struct builder *b, struct frame *frame, const struct yaml_node *source)
{
    frame->node->broken = frame->node->broken || source->broken;
    if (source->kind != YAML_MAPPING) {
        if (!source->broken) {
            problem_add(b->problems, source->line, source->column,
                        "`<<` takes a mapping or a list of mappings");
        }
        frame->node->broken = true;
        return;
    }
    frame->node->expanded += source->expanded;
    for (size_t i = 0; i < source->count; i++) {
        if (!find_pair(frame->node, source->pairs[i].key->text)) {
            add_pair(b, frame, source->pairs[i]);
            if (is_full(frame) && frame->node->broken) {
                return;
            }
        }
    }
}

static void merge(struct builder *b, struct frame *frame)
{
    const struct yaml_node *source = frame->merge;
    if (!source) {
        return;
    }
    if (source->kind != YAML_SEQUENCE) {
        merge_one(b, frame, source);
        return;
    }
    if (source->count > MERGES_MAX) {
        problem_add(b->problems, source->line, source->column, "`<<` takes at most %d mappings",
                    MERGES_MAX);
        frame->node->broken = true;
        return;
    }
    for (size_t i = 0; i < source->count; i++) {
        merge_one(b, frame, source->items[i]);
    }
}

static void remember_anchor(struct builder *b, const yaml_event_t *event, const yaml_char_t *name,
                            struct yaml_node *node)
{
    if (!name || b->failed) {
        return;
    }
    if (b->anchor_count == YAML_ANCHORS_MAX) {
        if (!b->anchors_lost) {
            report(b, event, "too many anchors");
        }
        b->anchors_lost = true;
        return;
    }
    const char *text = arena_text(b->arena, bytes_of((const char *)name));
    b->anchors[b->anchor_count++] = (struct anchor){text, node};
}

/* A later anchor hides an earlier one of the same name. */
static struct yaml_node *find_anchor(const struct builder *b, const char *name)
{
    for (size_t i = b->anchor_count; i > 0; i--) {
        if (strcmp(b->anchors[i - 1].name, name) == 0) {
            return b->anchors[i - 1].node;
        }
    }
    return NULL;
}

static bool is_open(const struct builder *b, const struct yaml_node *node)
{
    for (size_t i = 0; i < b->depth; i++) {
        if (b->stack[i].node == node) {
            return true;
        }
    }
    return false;
}

/* In the place of what cannot be used and has been reported. */
static void attach_broken(struct builder *b, const yaml_event_t *event)
{
    struct yaml_node *node = node_new(b, YAML_SCALAR, event);
    node->text = BYTES("");
    node->broken = true;
    attach(b, node);
}

static void on_alias(struct builder *b, const yaml_event_t *event)
{
    struct yaml_node *node = find_anchor(b, (const char *)event->data.alias.anchor);
    if (node && !is_open(b, node)) {
        attach(b, node);
        return;
    }
    if (node) {
        report(b, event, "this alias stands inside the very value that it names");
    } else if (!b->anchors_lost) {
        report(b, event, "this alias has no anchor above it");
    }
    attach_broken(b, event);
}

/* The part of a standard tag after its prefix, "" for the tag `!` or none, NULL for any other. */
static const char *tag_kind(const yaml_char_t *tag)
{
    const char *text = tag ? (const char *)tag : "";
    if (strncmp(text, TAG_PREFIX, strlen(TAG_PREFIX)) == 0) {
        return text + strlen(TAG_PREFIX);
    }
    return text[0] == '\0' || strcmp(text, "!") == 0 ? "" : NULL;
}

static bool check_tag(struct builder *b, const yaml_event_t *event, const yaml_char_t *tag,
                      const char *const *known)
{
    const char *kind = tag_kind(tag);
    for (size_t i = 0; kind && known[i]; i++) {
        if (strcmp(kind, known[i]) == 0) {
            return true;
        }
    }
    report(b, event, "this tag means nothing here; remove it");
    return false;
}

static void on_scalar(struct builder *b, const yaml_event_t *event)
{
    static const char *const known[] = {"", "str", "int", "float", "bool", "null", NULL};
    const yaml_char_t *tag = event->data.scalar.tag;
    struct yaml_node *node = node_new(b, YAML_SCALAR, event);
    node->broken = !check_tag(b, event, tag, known);
    node->text.size = event->data.scalar.length;
    node->text.at = arena_text(
        b->arena, (struct bytes){(const char *)event->data.scalar.value, node->text.size});
    const char *kind = tag_kind(tag);
    node->plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
                  (!tag || (kind && kind[0] != '\0' && strcmp(kind, "str") != 0));
    const struct frame *top = b->depth > 0 ? &b->stack[b->depth - 1] : NULL;
    bool is_key = top && top->node->kind == YAML_MAPPING && !top->key;
    if (memchr(node->text.at, '\0', node->text.size)) {
        problem_add(b->problems, node->line, node->column, "a NUL character cannot be used here");
        node->broken = true;
    } else if (b->marked && memmem(node->text.at, node->text.size, SOURCE_MARK, SOURCE_MARK_SIZE)) {
        node->broken = true;
    } else if (!is_key && !node->broken) {
        environment_replace(b->arena, node, &b->text_budget, b->problems);
    }
    remember_anchor(b, event, event->data.scalar.anchor, node);
    attach(b, node);
}

static void open_collection(struct builder *b, const yaml_event_t *event, enum yaml_kind kind,
                            const yaml_char_t *anchor)
{
    if (b->depth == YAML_DEPTH_MAX) {
        report(b, event, "nested too deeply");
        attach_broken(b, event);
        b->skipped = 1;
        b->anchors_lost = true;
        return;
    }
    struct yaml_node *node = node_new(b, kind, event);
    b->stack[b->depth++] = (struct frame){.node = node};
    remember_anchor(b, event, anchor, node);
}

static void close_collection(struct builder *b)
{
    assert(b->depth > 0);
    struct frame *frame = &b->stack[b->depth - 1];
    merge(b, frame);
    b->depth--;
    if (!b->failed) {
        attach(b, frame->node);
    }
}

/* Below what is nested too deeply nothing counts but where it ends. */
static void skip_event(struct builder *b, const yaml_event_t *event)
{
    if (event->type == YAML_SEQUENCE_START_EVENT || event->type == YAML_MAPPING_START_EVENT) {
        b->skipped++;
        b->failed = b->skipped > YAML_SKIPPED_MAX;
    } else if (event->type == YAML_SEQUENCE_END_EVENT || event->type == YAML_MAPPING_END_EVENT) {
        b->skipped--;
    }
}

static void on_event(struct builder *b, const yaml_event_t *event)
{
    static const char *const sequences[] = {"", "seq", NULL}, *const mappings[] = {"", "map", NULL};
    switch (event->type) {
    case YAML_DOCUMENT_START_EVENT:
        if (b->root_done) {
            report(b, event, "a second document; a configuration is one document");
            b->failed = true;
        }
        return;
    case YAML_DOCUMENT_END_EVENT:
        b->root_done = true;
        return;
    case YAML_ALIAS_EVENT:
        on_alias(b, event);
        return;
    case YAML_SCALAR_EVENT:
        on_scalar(b, event);
        return;
    case YAML_SEQUENCE_START_EVENT:
        check_tag(b, event, event->data.sequence_start.tag, sequences);
        open_collection(b, event, YAML_SEQUENCE, event->data.sequence_start.anchor);
        return;
    case YAML_MAPPING_START_EVENT:
        check_tag(b, event, event->data.mapping_start.tag, mappings);
        open_collection(b, event, YAML_MAPPING, event->data.mapping_start.anchor);
        return;
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        close_collection(b);
        return;
    case YAML_NO_EVENT:
    case YAML_STREAM_START_EVENT:
    case YAML_STREAM_END_EVENT:
        return;
    }
}

/* Is there a `${` in the lines from `first` to `last`, which count from 0? */
static bool has_variable(struct bytes text, size_t first, size_t last)
{
    size_t line = 0;
    for (size_t i = 0; i + 1 < text.size && line <= last; i++) {
        if (line >= first && text.at[i] == '$' && text.at[i + 1] == '{') {
            return true;
        }
        line += text.at[i] == '\n';
    }
    return false;
}

/* What is mostly behind libyaml's words. */
static const char *hint_for(const char *problem)
{
    static const struct {
        const char *problem, *hint;
    } hints[] = {
        {"did not find expected node content",
         "; is a bracket open, or an address with `::` without quotes (\"[::1]:82\")?"},
        {"could not find expected ':'", "; is the space behind `:` missing, is it a full-width one "
                                        "(`\xEF\xBC\x9A`), or has a merge "
                                        "left its marks (<<<<<<<)?"},
        {"did not find expected ',' or ']'", "; is a quote or a bracket left open?"},
        {"did not find expected ',' or '}'", "; is a quote or a bracket left open?"},
        {"found unexpected end of stream", "; is a quote left open?"},
        {"did not find expected key", "; look at the indentation of this line and those above"},
        {"did not find expected '-' indicator",
         "; look at the indentation of this line and those above"},
    };
    for (size_t i = 0; i < sizeof(hints) / sizeof(hints[0]); i++) {
        if (strcmp(problem, hints[i].problem) == 0) {
            return hints[i].hint;
        }
    }
    return "";
}

/* libyaml's texts hold no part of the file. */
static void syntax_problem(struct builder *b, const yaml_parser_t *parser)
{
    unsigned line = (unsigned)parser->problem_mark.line + 1;
    unsigned column = (unsigned)parser->problem_mark.column + 1;
    unsigned context_line = (unsigned)parser->context_mark.line + 1;
    const char *problem = parser->problem ? parser->problem : "not YAML";
    if (strcmp(problem, "found character that cannot start any token") == 0) {
        problem_add(
            b->problems, line, column,
            "YAML: this character cannot begin a value (a tab cannot indent; @ ` %% need quotes)");
    } else if (strstr(problem, "did not find expected ',' or") &&
               has_variable(b->text, parser->context_mark.line, parser->problem_mark.line)) {
        problem_add(b->problems, line, column,
                    "YAML: %s; inside { } and [ ] write \"${NAME}\" in quotes", problem);
    } else if (parser->context && context_line < line) {
        problem_add(b->problems, line, column, "YAML: %s, %s that begins at line %u%s", problem,
                    parser->context, context_line, hint_for(problem));
    } else {
        problem_add(b->problems, line, column, "YAML: %s%s", problem, hint_for(problem));
    }
    b->failed = true;
}

struct yaml_node *yaml_tree_read(struct arena *arena, struct bytes text, bool marked,
                                 struct problem_list *problems)
{
    struct builder *b = arena_take(arena, sizeof *b);
    b->arena = arena;
    b->problems = problems;
    b->marked = marked;
    b->text = text;
    b->text_budget = YAML_EXPANDED_TEXT_MAX;
    yaml_parser_t parser;
    int initialized = yaml_parser_initialize(&parser);
    assert(initialized); /* fails without memory only, as base/memory.h */
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser, (const unsigned char *)text.at, text.size);
    for (bool ended = false; !ended && !b->failed;) {
        yaml_event_t event;
        if (!yaml_parser_parse(&parser, &event)) {
            syntax_problem(b, &parser);
            break;
        }
        ended = event.type == YAML_STREAM_END_EVENT;
        b->skipped > 0 ? skip_event(b, &event) : on_event(b, &event);
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    if (!b->failed && !b->root) {
        problem_add(problems, 0, 0,
                    "the file is empty; it needs at least `listen` and `applications`");
    }
    return b->failed ? NULL : b->root;
}

struct yaml_node *yaml_tree_get(const struct yaml_node *mapping, const char *key)
{
    assert(mapping->kind == YAML_MAPPING);
    const struct yaml_pair *pair = find_pair(mapping, bytes_of(key));
    return pair ? pair->value : NULL;
}

bool yaml_is_null(const struct yaml_node *node)
{
    static const char *const nulls[] = {"", "~", "null", "Null", "NULL"};
    if (node->kind != YAML_SCALAR || !node->plain || (node->substituted && node->text.size > 0)) {
        return false;
    }
    for (size_t i = 0; i < sizeof nulls / sizeof nulls[0]; i++) {
        if (strcmp(node->text.at, nulls[i]) == 0) {
            return true;
        }
    }
    return false;
}
