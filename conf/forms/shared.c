/* shared: the cluster's shared part in the place of the file's own (SPEC §6). */
#include <stdlib.h>

#include "base/buffer.h"
#include "conf/conf.h"
#include "conf/problems.h"

/* What a document needs beside the shared part to be a configuration; it is never looked at. */
static const char frame[] = "node: { name: shared }\nlisten: [{ address: 127.0.0.1:1 }]\n";

struct conf *conf_parse_shared(const char *file, const char *text, size_t size,
                               struct conf_problems *ret_problems)
{
    struct buffer document = {0};
    buffer_append_text(&document, frame);
    buffer_append(&document, text, size);
    /* under the file's name, since relative paths are relative to its folder */
    struct conf *shared = conf_parse(file, document.data, document.size, ret_problems);
    explicit_bzero(document.data, document.size); /* it holds tokens */
    buffer_done(&document);
    return shared;
}

struct conf *conf_take_shared(struct conf *conf, struct conf *shared)
{
    struct conf *former = conf->shared;
    conf->health_check = shared->health_check;
    conf->retries = shared->retries;
    conf->user_id = shared->user_id;
    conf->virtual_nodes = shared->virtual_nodes;
    conf->debug_headers = shared->debug_headers;
    conf->applications = shared->applications;
    conf->application_count = shared->application_count;
    conf->shared = shared;
    return former;
}

bool conf_set_shared(struct conf *conf, const char *text, size_t size,
                     struct conf_problems *ret_problems)
{
    struct conf *shared = conf_parse_shared(conf->file, text, size, ret_problems);
    if (!shared) {
        return false;
    }
    conf_free(conf_take_shared(conf, shared));
    return true;
}
