/* cli_status_tables: the document of /status as tables for people. */
#ifndef SHOW_STATUS_TABLES_H
#define SHOW_STATUS_TABLES_H

#include <jansson.h>
#include <stdio.h>

/* Prints what is there; what is missing, or of another type, becomes "-" or 0. Names are printed as
 * they are: the caller makes the text harmless. */
void status_tables(FILE *out, const json_t *status);

/* The whole of it in one line: how bad it is, and the worst problems. */
void status_line(FILE *out, const json_t *status);

/* "2 of 3 nodes alive", and "1 of 1 node alive". */
void status_nodes_alive(const json_t *status, char ret_text[64]);

/* How long since then, in the one unit that tells most. Returns `text`. */
const char *status_age(json_int_t now_s, json_int_t since_s, char text[24]);

#endif
