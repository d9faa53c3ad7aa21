/* reader: walks a mapping of the tree along a table of keys.
 *
 * A section is a table of struct conf_field, ended by one without a key. conf_read_section() looks
 * every key up, calls its reader with the place in the section's struct, and reports unknown keys
 * (with the nearest spelling) and missing ones. A reader that finds a mistake adds a problem and
 * leaves the place as it was, so the reading always goes on to the end. */
#ifndef CONF_READER_H
#define CONF_READER_H

#include "conf/conf.h"
#include "conf/problems.h"
#include "conf/yaml_tree.h"

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

struct conf_field {
    const char *key;
    void (*read)(struct conf_reader *r, const struct conf_field *field,
                 const struct yaml_node *value, void *place);
    size_t offset; /* of `place` in the section's struct */
    uint64_t min, max;
    const char *const *choices; /* conf_read_choice: NULL-ended, in the order of the enum */
    bool required;
};

/* `what` names the section in messages: "a listen entry". False when `node` is no mapping. */
bool conf_read_section(struct conf_reader *r, const struct conf_field *fields, const char *what,
                       const struct yaml_node *node, void *section);

/* Readers for struct conf_field; in parentheses the type at `place`. `min` and `max` bound numbers
 * (in ms, in bytes) and the lengths of texts. */
#define CONF_READER(name)                                                                          \
    void name(struct conf_reader *r, const struct conf_field *field,                               \
              const struct yaml_node *value, void *place)
CONF_READER(conf_read_boolean);     /* bool */
CONF_READER(conf_read_number);      /* uint32_t */
CONF_READER(conf_read_port);        /* uint16_t */
CONF_READER(conf_read_duration);    /* uint64_t, ms */
CONF_READER(conf_read_size);        /* uint64_t */
CONF_READER(conf_read_size32);      /* uint32_t */
CONF_READER(conf_read_choice);      /* an enum, read as unsigned */
CONF_READER(conf_read_choice_bool); /* bool: the second of two choices */
CONF_READER(conf_read_name);        /* const char *, the grammar of value_is_name() */
CONF_READER(conf_read_host);        /* const char *, without brackets */
CONF_READER(conf_read_path);        /* const char *, made relative to the file's directory */
CONF_READER(conf_read_bearer);      /* const char *, a token; never shown */

/* True for a list of at least field->min items; else after a problem. `ret_count` of them, at most
 * field->max, are to be read: of a longer list, which is a problem too, the first ones. `what` is
 * the plural in messages. */
bool conf_is_list(struct conf_reader *r, const struct conf_field *field,
                  const struct yaml_node *value, const char *what, size_t *ret_count);

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

/* Sections, each in its own schema_*.c. */
CONF_READER(conf_read_listen_list);
CONF_READER(conf_read_workers);
CONF_READER(conf_read_node);
CONF_READER(conf_read_limits);
CONF_READER(conf_read_timeouts);
CONF_READER(conf_read_log);
CONF_READER(conf_read_admin);
CONF_READER(conf_read_cors);
CONF_READER(conf_read_cluster);
CONF_READER(conf_read_vip);
CONF_READER(conf_read_health_check);
CONF_READER(conf_read_retries);
CONF_READER(conf_read_consistent_hash);
CONF_READER(conf_read_user_id);
CONF_READER(conf_read_applications);

#endif
