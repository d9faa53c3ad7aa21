/* problems: what is wrong with one file, collected in any order and handed out sorted.
 *
 * The list grows on the heap until problem_list_finish() turns it into the public struct
 * conf_problems (one block of memory, given back by conf_problems_free()) and frees itself.
 * No message may hold a value of the file: a token may stand in any place by mistake. Names of
 * keys, of applications and of instances are fine. */
#ifndef CONF_PROBLEMS_H
#define CONF_PROBLEMS_H

#include "conf/conf.h"

struct problem_list;

struct problem_list *problem_list_new(const char *file);

/* Line 0 = the file as a whole. The same message at the same place is kept once: an alias brings a
 * mistake as often as it is used. */
void problem_add(struct problem_list *list, unsigned line, unsigned column, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* True when a further problem would only be counted: no need to look for good advice. */
bool problem_list_is_full(const struct problem_list *list);

/* True for a key that may be shown: words as a person writes a key, also `health-check`, `maxFails`
 * or `retry2`. Any other might be a token that slipped out of its list: with digits in the middle,
 * capitals in a row, marks in a row, or the beginning that Dify's and others' keys have. */
bool problem_may_show(const char *key);

/* Fills `ret_problems` and frees the list. Returns the number of problems, also the unlisted. */
size_t problem_list_finish(struct problem_list *list, struct conf_problems *ret_problems);

#endif
