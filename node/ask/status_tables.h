/* cli_status_tables: the document of /status as tables for people. */
#ifndef ASK_STATUS_TABLES_H
#define ASK_STATUS_TABLES_H

#include <jansson.h>
#include <stdio.h>

/* Prints what is there; what is missing, or of another type, becomes "-" or 0. Names are printed as
 * they are: the caller makes the text harmless. */
void status_tables(FILE *out, const json_t *status);

/* The whole of it in one line: how bad it is, and the worst problems. */
void status_line(FILE *out, const json_t *status);

#endif
