/* Any bytes as a configuration file: read or refused, never a crash, and what is read stays what it
 * is through conf_canonical() and back. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf/conf.h"
#include "fuzz_target.h"

static struct conf *parse_again(const char *canonical)
{
    char *text;
    struct conf_problems problems;
    int size =
        asprintf(&text, "node: {name: n}\nlisten: [{address: \"127.0.0.1:0\"}]\n%s", canonical);
    assert(size > 0);
    struct conf *conf = conf_parse("canonical", text, (size_t)size, &problems);
    if (!conf) {
        fprintf(stderr, "%s%u: %s\n", text, problems.at[0].line, problems.at[0].message);
    }
    conf_problems_free(&problems);
    free(text);
    return conf;
}

static void check_canonical(const struct conf *conf)
{
    size_t size, again_size;
    char *canonical = conf_canonical(conf, &size);
    if (size <= CONF_FILE_SIZE_MAX / 2 && !strstr(canonical, "${")) {
        struct conf *again = parse_again(canonical);
        assert(again);
        char *canonical_again = conf_canonical(again, &again_size);
        assert(size == again_size && memcmp(canonical, canonical_again, size) == 0);
        free(canonical_again);
        conf_free(again);
    }
    free(canonical);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct conf_problems problems;
    struct conf *conf = conf_parse("fuzz", (const char *)data, size, &problems);
    assert((conf != NULL) == (problems.count == 0));
    for (size_t i = 0; i < problems.count; i++) {
        assert(problems.at[i].message[0] &&
               (problems.at[i].line > 0) == (problems.at[i].column > 0));
    }
    conf_problems_free(&problems);
    if (conf) {
        check_canonical(conf);
        conf_unsupported(conf, &problems);
        conf_problems_free(&problems);
    }
    conf_free(conf);
    return 0;
}
