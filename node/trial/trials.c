/* trials: at most eight lines. */
#include "trial/trials.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct trial *find(struct trials *t, const uint8_t digest[SHA256_SIZE])
{
    for (size_t i = 0; i < t->count; i++) {
        if (memcmp(t->at[i].digest, digest, SHA256_SIZE) == 0) {
            return &t->at[i];
        }
    }
    return NULL;
}

static void remove_at(struct trials *t, size_t index)
{
    t->count--;
    memmove(&t->at[index], &t->at[index + 1], (t->count - index) * sizeof(t->at[0]));
}

/* ---- the file: `difyring-trials 1 VERSION`, then `DIGEST FIRST SECOND CONDEMNED` a line ---- */

static bool parse_digest(const char *text, uint8_t ret_digest[SHA256_SIZE])
{
    for (size_t i = 0; i < SHA256_SIZE; i++) {
        int high = ascii_hex(text[2 * i]), low = high < 0 ? -1 : ascii_hex(text[2 * i + 1]);
        if (low < 0) {
            return false;
        }
        ret_digest[i] = (uint8_t)(high * 16 + low);
    }
    return true;
}

static bool parse_line(const char *line, struct trial *ret)
{
    uint64_t numbers[3];
    *ret = (struct trial){0};
    if (!parse_digest(line, ret->digest)) {
        return false;
    }
    const char *at = line + 2 * SHA256_SIZE;
    for (size_t i = 0; i < 3; i++) {
        char *end;
        if (at[0] != ' ' || at[1] < '0' || at[1] > '9') {
            return false;
        }
        numbers[i] = strtoull(at, &end, 10);
        at = end;
    }
    memcpy(ret->tries_s, numbers, sizeof(ret->tries_s));
    ret->condemned = numbers[2] != 0;
    return *at == '\0';
}

void trials_read(struct trials *t, struct bytes text, const char *version)
{
    char copy[128 * (TRIALS_MAX + 1)], first[64], *rest = copy;
    *t = (struct trials){0};
    snprintf(copy, sizeof(copy), "%.*s", (int)text.size, text.at ? text.at : "");
    snprintf(first, sizeof(first), "difyring-trials 1 %s", version);
    const char *line = strsep(&rest, "\n");
    if (strcmp(line, first) != 0) {
        return;
    }
    while ((line = strsep(&rest, "\n")) != NULL && t->count < TRIALS_MAX) {
        t->count += parse_line(line, &t->at[t->count]);
    }
}

void trials_write(const struct trials *t, const char *version, struct buffer *ret_text)
{
    buffer_append_format(ret_text, "difyring-trials 1 %s\n", version);
    for (size_t i = 0; i < t->count; i++) {
        char digest[2 * SHA256_SIZE + 1];
        sha256_hex(t->at[i].digest, digest);
        buffer_append_format(ret_text, "%s %llu %llu %d\n", digest,
                             (unsigned long long)t->at[i].tries_s[0],
                             (unsigned long long)t->at[i].tries_s[1], (int)t->at[i].condemned);
    }
}

/* ---- tries ---- */

static struct trial *add(struct trials *t, const uint8_t digest[SHA256_SIZE])
{
    for (size_t i = 0; t->count == TRIALS_MAX && i < TRIALS_MAX; i++) {
        if (!t->at[i].condemned || i == TRIALS_MAX - 1) {
            remove_at(t, i);
        }
    }
    struct trial *one = &t->at[t->count++];
    *one = (struct trial){0};
    memcpy(one->digest, digest, SHA256_SIZE);
    return one;
}

/* Clocks go back, too. */
static bool are_near(uint64_t a, uint64_t b)
{
    return a != 0 && b != 0 && (a > b ? a - b : b - a) <= TRIALS_WITHIN_S;
}

void trials_withdraw(struct trials *t)
{
    for (size_t i = t->count; i-- > 0;) {
        struct trial *one = &t->at[i];
        if (one->here && !one->condemned) {
            one->tries_s[1] = one->tries_s[0];
            one->tries_s[0] = 0;
            one->here = false;
            if (one->tries_s[1] == 0) {
                remove_at(t, i);
            }
        }
    }
}

bool trials_begin(struct trials *t, const uint8_t digest[SHA256_SIZE], uint64_t now_s)
{
    struct trial *one = find(t, digest);
    if (one && one->here && !one->condemned) {
        return true; /* it has not ended this process */
    }
    trials_withdraw(t); /* nor have those before it: what happens now is this one's */
    one = find(t, digest);
    one = one ? one : add(t, digest);
    one->condemned |= are_near(one->tries_s[0], one->tries_s[1]);
    if (one->condemned) {
        return false;
    }
    one->tries_s[0] = one->tries_s[1];
    one->tries_s[1] = now_s;
    one->here = true;
    return true;
}

bool trials_has_condemned(const struct trials *t, const uint8_t digest[SHA256_SIZE])
{
    for (size_t i = 0; i < t->count; i++) {
        if (t->at[i].condemned && memcmp(t->at[i].digest, digest, SHA256_SIZE) == 0) {
            return true;
        }
    }
    return false;
}

void trials_forget(struct trials *t, const uint8_t digest[SHA256_SIZE])
{
    const struct trial *one = find(t, digest);
    if (one) {
        remove_at(t, (size_t)(one - t->at));
    }
}
