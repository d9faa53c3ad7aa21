/* cli_answer: JSON answers of a node, asked for and printed. */
#ifndef ASK_ANSWER_H
#define ASK_ANSWER_H

#include <jansson.h>
#include <stdlib.h>

#include "ask/node.h"

/* As cli_node_ask(); `*ret` is the answer, an object, to be given back; NULL after an error. */
int cli_ask_json(struct cli_node *n, const char *method, const char *target, unsigned also,
                 json_t **ret);

/* A copy without anything that steers a terminal; free() it. */
char *cli_printable(const char *text);

/* `BEFORE text` for each text of a list. */
void cli_print_list(const char *before, const json_t *list);

/* The answer of a reload whose file has mistakes; these on standard error. Returns CLI_FAILED. */
bool cli_is_bad_file(const json_t *answer);
int cli_print_bad_file(const char *command, const json_t *answer);

#endif
