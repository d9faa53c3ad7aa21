/* reader: walks a mapping of the tree along a table of keys.
 *
 * A key is one row, a struct conf_field: what reads it, where it goes, its default, what a change
 * of it takes, what people are told of it. From the rows come also the canonical text
 * (canonical.c), the comparing (changes.c), the JSON Schema (json_schema.c) and, from that,
 * doc/CONFIGURATION.md.
 *
 * A section is a table of rows, ended by one without a key. conf_read_section() looks every key up,
 * calls its reader with the place in the section's struct, and reports unknown keys (with the
 * nearest spelling) and missing ones. A reader that finds a mistake adds a problem and leaves the
 * place as it was, so the reading always goes on to the end. */
#ifndef CONF_READ_READER_H
#define CONF_READ_READER_H

#include <stdio.h>

#include "conf/conf.h"
#include "conf/problems.h"
#include "conf/text/yaml_tree.h"

/* Where a user token stands, to find one that two applications claim. */
struct conf_token_place {
    const char *token;
    const struct conf_application *application;
    unsigned line, column;
};

struct conf_reader {
    struct arena *arena;
    struct problem_list *problems;
    struct conf *conf;     /* under construction */
    const char *directory; /* of the configuration file, "" or ending in '/' */
    struct conf_token_place *tokens;
    size_t token_count, token_capacity;
};

struct conf_field;

#define CONF_READER(name)                                                                          \
    void name(struct conf_reader *r, const struct conf_field *field,                               \
              const struct yaml_node *value, void *place)
#define CONF_EACH(name)                                                                            \
    void name(struct conf_reader *r, const struct yaml_node *item, void *section, size_t index)
#define CONF_WRITER(name) void name(FILE *out, const char *file, const void *place)

/* What of a value is compared and copied: some bytes, or a text (perhaps NULL). */
struct conf_part {
    size_t offset, size; /* size 0 ends them */
    bool text;
};

/* What a value may be in JSON when it is no string: for the schema. */
enum conf_bare { BARE_NOTHING, BARE_WHOLE, BARE_SECONDS, BARE_TEXT, BARE_BOOLEAN, BARE_OFF };

struct conf_type {
    const char *name; /* for people */
    CONF_READER((*read));
    CONF_WRITER((*write)); /* in the canonical text; NULL: as its one part is written */
    struct conf_part parts[4];
    size_t size; /* as an item of a list */
    enum conf_bare bare;
    const char *pattern; /* of a string in JSON, an ECMA regular expression; NULL = none fits */
    bool secret;         /* its value is never shown */
};

/* A section's keys, and the struct that they fill. */
struct conf_section {
    const char *what; /* in messages: "a listen entry" */
    const struct conf_field *fields;
    size_t size;
    size_t line; /* of its `unsigned line, column` in the struct; 0 = its place is not kept */
    bool block;  /* the canonical text gives each key a line */
    bool named;  /* the struct begins with a name, which tells one item from another */
    /* after a mapping was read into `section`: what concerns several keys; may be NULL */
    void (*check)(struct conf_reader *r, const struct yaml_node *value, void *section);
    const char *rule; /* JSON Schema: what else is demanded; may be NULL */
};

struct conf_field {
    const char *key;
    const struct conf_type *type;
    size_t offset;  /* of `place` in the section's struct */
    size_t present; /* of a bool there: the section is given; 0 = it always is */
    size_t from; /* the section in struct conf that this one starts with; 0 = from its defaults */
    uint64_t min, max;          /* of numbers (in ms, in bytes) and of the count of a list */
    const char *const *choices; /* in the order of the enum, NULL-ended */
    const char *standard;       /* the default, as it would stand in a file; NULL = none */
    const struct conf_section *section; /* the value is a mapping */
    const struct conf_field *item;      /* the value is a list, or a mapping, of these */
    const char *items;                  /* the plural in messages */
    /* after an item was read; `section` has the list. May be NULL */
    CONF_EACH((*each));
    enum conf_effect effect; /* 0 = that of the section */
    /* of a change from one to the other, both at `offset`; NULL = `effect` */
    enum conf_effect (*effect_of)(const char *before, const char *after);
    bool required;
    bool unordered; /* the order of the list means nothing */
    const char *help;
};

/* What rows are made of. */
#define AT(structure, member)   .offset = offsetof(struct structure, member)
#define CONF_SECTION(name)      .type = &conf_type_section, .section = &(name)
#define CONF_SECTION_ITEM(name) ((const struct conf_field){CONF_SECTION(name)})

/* A list in a struct: its items and, directly behind, their count. */
struct conf_list {
    char *at;
    size_t count;
};

static inline struct conf_list conf_list_at(const void *place)
{
    struct conf_list list;
    memcpy(&list, place, sizeof list);
    return list;
}

/* All of a file. */
extern const struct conf_section conf_root;

/* False when `node` is no mapping. */
bool conf_read_section(struct conf_reader *r, const struct conf_section *section,
                       const struct yaml_node *node, void *place);

/* The rows' defaults, by their own readers. */
void conf_set_defaults(struct conf_reader *r, const struct conf_section *section, void *place);

/* Types; in parentheses what is at `place`. */
extern const struct conf_type conf_type_boolean;     /* bool */
extern const struct conf_type conf_type_number;      /* uint32_t */
extern const struct conf_type conf_type_port;        /* uint16_t */
extern const struct conf_type conf_type_duration;    /* uint64_t, ms */
extern const struct conf_type conf_type_size;        /* uint64_t */
extern const struct conf_type conf_type_size32;      /* uint32_t */
extern const struct conf_type conf_type_choice;      /* an enum, read as unsigned */
extern const struct conf_type conf_type_choice_bool; /* bool: the second of two choices */
extern const struct conf_type conf_type_name;        /* const char *, as value_is_name() */
extern const struct conf_type conf_type_host;        /* const char *, without brackets */
extern const struct conf_type
    conf_type_path; /* const char *, made relative to the file's directory */
extern const struct conf_type conf_type_bearer;  /* const char *, a token; never shown */
extern const struct conf_type conf_type_section; /* the section's struct */
extern const struct conf_type conf_type_list; /* struct conf_list of items of field->item->type */

/* The parts of a type that is one text, and their size. */
#define CONF_TEXT .parts = {{0, sizeof(const char *), true}}, .size = sizeof(const char *)
/* ... and of one that is a plain value. */
#define CONF_PLAIN(c_type) .parts = {{0, sizeof(c_type), false}}, .size = sizeof(c_type)

/* Patterns of several types. */
#define CONF_PATTERN_NAME "^(?!\\.\\.?$)[A-Za-z0-9._-]{1,64}$"
/* In the words of value_duration_ms(). */
#define CONF_PATTERN_DURATION "^(0|[1-9][0-9_]*)((\\.[0-9]{1,3})?[smhd]?|ms)$"
#define CONF_PATTERN_PATH     "^[^\\u0000-\\u001f\\u007f]+$"
#define CONF_PATTERN_HOST     "^[A-Za-z0-9._:\\[\\]-]{1,255}$"
#define CONF_PATTERN_CIDR     "^[0-9A-Fa-f.:]+(/[0-9A-Fa-fx_]+)?$"
#define CONF_PATTERN_ADDRESS  "^\\S+:[0-9A-Fa-fx_]+$"

/* Readers and writers that other types' own are made of. */
CONF_READER(conf_read_boolean);
CONF_READER(conf_read_duration);
CONF_READER(conf_read_choice);
CONF_READER(conf_read_host);
CONF_READER(conf_read_path);
CONF_READER(conf_read_bearer);
void conf_put_text(FILE *out, const char *before, const char *text); /* quoted, in one */

/* The text of a scalar that is neither null nor a boolean. False after a problem, which says that
 * `what` was expected, or silently when the value is known to be broken. */
bool conf_text(struct conf_reader *r, const struct yaml_node *value, const char *what,
               struct bytes *ret_text);

/* A number within min and max. */
bool conf_number(struct conf_reader *r, const struct yaml_node *value, uint64_t min, uint64_t max,
                 uint64_t *ret_number);

/* `host:port`. With `numeric`, no names. */
bool conf_address(struct conf_reader *r, const struct yaml_node *value, bool numeric,
                  const char **ret_host, uint16_t *ret_port);

/* Adds a problem at a node's place. */
#define conf_problem(r, node, ...)                                                                 \
    problem_add((r)->problems, (node)->line, (node)->column, __VA_ARGS__)

/* Tables that stand in another schema_*.c than the one that names them. */
extern const struct conf_section conf_cluster, conf_vip, conf_health_check, conf_retries,
    conf_consistent_hash, conf_user_id, conf_application;
extern const struct conf_type conf_type_applications;
extern const struct conf_field conf_quota_item;
CONF_EACH(conf_refuse_same_quota);

/* What canonical.c, changes.c and compare.c have in common. */

/* One value as the canonical text has it; a list in one line. `section`: the struct it stands in.
 */
void conf_put_value(FILE *out, const char *file, const struct conf_field *field,
                    const char *section);

/* Two structs of that section say the same. */
bool conf_same_section(const struct conf_section *section, const char *a, const char *b);

/* As a person would write it: the largest unit that holds it exactly. Returns `text`, or a literal.
 */
enum { CONF_DURATION_SIZE = 32 };
#define CONF_DURATION_MAX 34560000000ULL /* ms: 400 days, of any key without a reason for less */
const char *conf_duration_text(uint64_t ms, char text[CONF_DURATION_SIZE]);

/* What a reload changes of a listener: with whom and how TLS is spoken. Both are of one arena, or
 * `from` lives longer. */
void conf_listen_take_tls(struct conf_listen *to, const struct conf_listen *from);

/* The texts of an unordered list in byte order; free() it. */
const char **conf_sorted_texts(struct conf_list list);

/* The effect of a change of this row, below a section with `above`. */
static inline enum conf_effect conf_effect_of(const struct conf_field *field,
                                              enum conf_effect above)
{
    return field->effect ? field->effect : above;
}

#endif
