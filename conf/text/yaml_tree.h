/* yaml_tree: a YAML document as a tree with the place of every node.
 *
 * Read from libyaml's events rather than its document API, so that a hostile file is left as soon
 * as it goes over a cap. Aliases point to the node they name (the tree is a directed acyclic
 * graph); merge keys (`<<`) are resolved; `${NAME}` in values is replaced from the environment.
 * Everything lives on the arena given; nothing is freed alone. Lines and columns count from 1,
 * columns in characters. */
#ifndef CONF_TEXT_YAML_TREE_H
#define CONF_TEXT_YAML_TREE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "conf/problems.h"

enum {
    YAML_DEPTH_MAX = 32,      /* the schema needs 7 */
    YAML_SKIPPED_MAX = 256,   /* levels below that are passed over; a file of more was made so */
    YAML_NODES_MAX = 1 << 21, /* every alias and merge key expanded; 256 x 256 instances of 4 keys
                                 that come through merge keys need 1.2 Mi */
    YAML_KEYS_MAX = 512,     /* in one mapping; the most that the schema allows is 256 applications.
                                Keys are compared pair by pair, so this bounds the time, too */
    YAML_ANCHORS_MAX = 1024, /* searched one by one */
    YAML_EXPANDED_TEXT_MAX = 16 * 1024 * 1024, /* of all values after `${NAME}` */
};

enum yaml_kind { YAML_SCALAR, YAML_SEQUENCE, YAML_MAPPING };

struct yaml_pair {
    struct yaml_node *key; /* always a scalar */
    struct yaml_node *value;
};

struct yaml_node {
    enum yaml_kind kind;
    unsigned line, column;
    /* YAML_SCALAR */
    struct bytes text; /* NUL-terminated */
    bool plain;        /* neither quoted nor a block: may be a number, a boolean, null */
    bool substituted;  /* holds something from the environment */
    /* A problem is known already. A scalar: the schema passes over it, whatever it expected there.
     * A mapping: some of its keys are lost, so that none is missing for sure. */
    bool broken;
    /* YAML_SEQUENCE, YAML_MAPPING */
    struct yaml_node **items;
    struct yaml_pair *pairs;
    size_t count;
    size_t expanded; /* nodes below and including this one, aliases followed */
};

/* Returns the root, or NULL after adding at least one problem. Problems with single values (such as
 * an unset variable, an alias without anchor, a foreign tag) and with duplicate keys are added, and
 * the tree is returned all the same, with broken nodes in their places. `marked`: source_check()
 * has put SOURCE_MARK in the place of characters. */
struct yaml_node *yaml_tree_read(struct arena *arena, struct bytes text, bool marked,
                                 struct problem_list *problems);

/* The value of `key`, or NULL. */
struct yaml_node *yaml_tree_get(const struct yaml_node *mapping, const char *key);

/* True for a plain scalar that YAML 1.1 reads as null: empty, `~`, null. A word from the
 * environment is always text. */
bool yaml_is_null(const struct yaml_node *node);

#endif
