/* request_class: is a request short or long (SPEC §3, Slots)? Short ones are answered from Dify's
 * database; long ones wait for a model, or move a file.
 *
 * By method and path alone: the table in the .c is the whole rule, and the only place of it. */
#ifndef QUEUE_REQUEST_CLASS_H
#define QUEUE_REQUEST_CLASS_H

#include "base/bytes.h"
#include "http/method.h"
#include "queue/lines.h"

/* `path`: of the target, without its query, escapes and dots resolved (http_normalize_path()). */
enum slot_class request_class(enum http_method method, struct bytes path);

/* Does it end a run? Such a request is never refused by a quota, nor counted (SPEC §3, Quotas). */
bool request_is_stop(enum http_method method, struct bytes path);

#endif
