/* compare: what a file would change of what is in force, and what it would take back (SPEC §6).
 *
 * Three configurations: the one in force, the file's, and the base, which the file was made from. A
 * key whose value in the file is the base's, while what is in force has another by now, would be
 * taken back: somebody else's change would be lost. Every other difference is what the file's
 * author wants. A list is one key; so is an application or an instance that is added or removed,
 * and the order of instances. */
#ifndef CONF_FORMS_COMPARE_H
#define CONF_FORMS_COMPARE_H

#include "conf/conf.h"

enum {
    CONF_DIFFERENCES_MAX = 1000, /* further ones are counted, not listed */
    CONF_DIFFERENCE_VALUE = 80,  /* bytes of a value that is shown; a longer one is not */
};

struct conf_difference {
    char *text; /* `PATH: added`, `PATH: changed from 1 to 2`; never a secret's value */
    enum conf_effect effect;
    bool takes_back;
};

struct conf_differences {
    struct conf_difference *at; /* in the order of the schema */
    size_t count, unlisted;
    size_t shared_count, taken_back_count, restart_count; /* unlisted ones, too */
};

/* `base` NULL: nothing takes back. Give it back with conf_differences_done(). */
void conf_compare(const struct conf *in_force, const struct conf *file, const struct conf *base,
                  struct conf_differences *ret);
void conf_differences_done(struct conf_differences *d);

/* The same of what takes back. */
void conf_differences_lost(const struct conf_differences *d, char *ret_text, size_t size);

/* The whole of it in one text for a log line, "; " between; at most `size` - 1 bytes. `effect` 0 =
 * all, else those alone. */
void conf_differences_text(const struct conf_differences *d, enum conf_effect effect,
                           char *ret_text, size_t size);

#endif
