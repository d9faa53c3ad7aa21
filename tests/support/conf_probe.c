/* conf_probe: what conf makes of many documents, for tests that are not in C.
 *
 * Standard input: documents, each as `SIZE\n` and so many bytes. Standard output, for each: its
 * canonical text or its problems (a line each, `LINE:COLUMN: message`), as `good SIZE\n` or
 * `bad SIZE\n` and so many bytes. */
#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"
#include "conf/conf.h"

static void put(const char *word, const char *text, size_t size)
{
    printf("%s %zu\n", word, size);
    fwrite(text, 1, size, stdout);
}

static void put_problems(const struct conf_problems *problems)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    for (size_t i = 0; out && i < problems->count; i++) {
        const struct conf_problem *p = &problems->at[i];
        fprintf(out, "%u:%u: %s\n", p->line, p->column, p->message);
    }
    if (out && fclose(out) == 0) {
        put("bad", text, size);
    }
    free(text);
}

static void judge(const char *document, size_t size)
{
    struct conf_problems problems;
    struct conf *conf = conf_parse("/etc/difyring/probe.yaml", document, size, &problems);
    if (conf) {
        size_t canonical_size;
        char *canonical = conf_canonical(conf, &canonical_size);
        put("good", canonical, canonical_size);
        free(canonical);
    } else {
        put_problems(&problems);
    }
    conf_problems_free(&problems);
    conf_free(conf);
}

int main(void)
{
    char line[32];
    while (fgets(line, sizeof(line), stdin)) {
        size_t size = strtoul(line, NULL, 10);
        char *document = memory_new(size + 1);
        if (fread(document, 1, size, stdin) != size) {
            return 1;
        }
        judge(document, size);
        fflush(stdout);
        free(document);
    }
    return 0;
}
