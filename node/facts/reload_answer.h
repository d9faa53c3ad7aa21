/* reload_answer: the JSON of /reload-config (SPEC §5, §6). Pure. */
#ifndef FACTS_RELOAD_ANSWER_H
#define FACTS_RELOAD_ANSWER_H

#include "base/buffer.h"

enum { RELOAD_TEXTS_MAX = 1100 /* 1000 differences, 100 warnings */ };

/* Sentences; what is not among them is counted in a last one. */
struct reload_texts {
    const char *at[RELOAD_TEXTS_MAX];
    size_t count, unlisted;
};

struct reload_report {
    bool dry_run;
    uint64_t config_revision;
    const struct reload_texts *changed, *restart_needed, *warnings;
};
/* 200: it is in force, or with `dry_run` would be. */
void reload_answer_good(struct buffer *b, const struct reload_report *report);

/* 409: what is in force stays; `would_lose` says why. */
void reload_answer_conflict(struct buffer *b, const char *message, uint64_t config_revision,
                            const struct reload_texts *would_lose);

struct reload_problem {
    const char *file;
    unsigned line, column;
    const char *message;
};
/* 400: the file is wrong. */
void reload_answer_bad(struct buffer *b, const char *message, const struct reload_problem *problems,
                       size_t count);

#endif
