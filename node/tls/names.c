/* names: a sorted array; each different name gets its choice at the end. */
#include "tls/names.h"

#include <assert.h>
#include <stdlib.h>

#include "base/memory.h"
#include "tls/session.h"

struct entry {
    char *name; /* in lower case; `*.` and all */
    size_t pair;
    enum tls_kind kind;
};

struct tls_names {
    struct entry *entries; /* sealed: by name, then by pair */
    size_t entry_count, entry_room;
    const char **names; /* the different ones, in order */
    struct tls_choice *choices;
    size_t name_count;
};

struct tls_names *tls_names_new(void)
{
    return memory_new(sizeof(struct tls_names));
}

void tls_names_free(struct tls_names *n)
{
    if (!n) {
        return;
    }
    for (size_t i = 0; i < n->entry_count; i++) {
        free(n->entries[i].name);
    }
    free(n->entries);
    free(n->names);
    free(n->choices);
    free(n);
}

static void lower(char *text)
{
    for (; *text; text++) {
        *text = ascii_lower(*text);
    }
}

void tls_names_add(struct tls_names *n, size_t pair, enum tls_kind kind, struct bytes name)
{
    assert(!n->names);
    if (name.size > TLS_NAME_MAX) {
        return; /* nobody can ask for it */
    }
    if (n->entry_count == n->entry_room) {
        n->entry_room = n->entry_room ? 2 * n->entry_room : 16;
        n->entries = memory_resize(n->entries, n->entry_room * sizeof(*n->entries));
    }
    char *copy = memory_copy_text(name.at, name.size);
    lower(copy);
    n->entries[n->entry_count++] = (struct entry){copy, pair, kind};
}

static int compare_entries(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    int order = strcmp(x->name, y->name);
    return order != 0 ? order : x->pair < y->pair ? -1 : x->pair > y->pair;
}

static int compare_names(const void *key, const void *element)
{
    return strcmp(key, *(const char *const *)element);
}

static int find_exactly(const struct tls_names *n, const char *name)
{
    const char **at = n->name_count == 0 ? NULL
                                         : bsearch(name, n->names, n->name_count, sizeof(*n->names),
                                                   compare_names);
    return at ? (int)(at - n->names) : -1;
}

/* The wildcard that fits a host, if there is one. The host is changed. */
static int find_wildcard(const struct tls_names *n, char *host)
{
    char *dot = strchr(host, '.');
    if (!dot || dot == host) {
        return -1;
    }
    dot[-1] = '*';
    return find_exactly(n, dot - 1);
}

static void fill(struct tls_choice *to, const struct tls_choice *from)
{
    for (size_t k = 0; k < TLS_KINDS; k++) {
        if (to->pair[k] == TLS_NO_PAIR) {
            to->pair[k] = from->pair[k];
        }
    }
}

static void begin_choice(struct tls_names *n, const char *name)
{
    n->names[n->name_count] = name;
    for (size_t k = 0; k < TLS_KINDS; k++) {
        n->choices[n->name_count].pair[k] = TLS_NO_PAIR;
    }
    n->name_count++;
}

/* A name that has one kind of its own may have the other by a wildcard. */
static void add_wildcards(struct tls_names *n)
{
    char host[TLS_NAME_MAX + 1];
    for (size_t i = 0; i < n->name_count; i++) {
        if (n->names[i][0] != '*') {
            memcpy(host, n->names[i], strlen(n->names[i]) + 1);
            int wildcard = find_wildcard(n, host);
            if (wildcard >= 0) {
                fill(&n->choices[i], &n->choices[wildcard]);
            }
        }
    }
}

void tls_names_seal(struct tls_names *n)
{
    assert(!n->names);
    n->names = memory_new((n->entry_count + 1) * sizeof(*n->names));
    n->choices = memory_new((n->entry_count + 1) * sizeof(*n->choices));
    if (n->entry_count > 0) {
        qsort(n->entries, n->entry_count, sizeof(*n->entries), compare_entries);
    }
    for (size_t i = 0; i < n->entry_count; i++) {
        const struct entry *e = &n->entries[i];
        if (i == 0 || strcmp(e->name, e[-1].name) != 0) {
            begin_choice(n, e->name);
        }
        int *pair = &n->choices[n->name_count - 1].pair[e->kind];
        *pair = *pair == TLS_NO_PAIR ? (int)e->pair : *pair;
    }
    add_wildcards(n);
}

size_t tls_names_count(const struct tls_names *n)
{
    return n->name_count;
}

const struct tls_choice *tls_names_choice(const struct tls_names *n, size_t index)
{
    assert(index < n->name_count);
    return &n->choices[index];
}

/* As the array has it. False: it is too long, or empty. */
static bool key_of(struct bytes name, char ret_key[TLS_NAME_MAX + 1])
{
    if (name.size == 0 || name.size > TLS_NAME_MAX) {
        return false;
    }
    memcpy(ret_key, name.at, name.size);
    ret_key[name.size] = '\0';
    lower(ret_key);
    return true;
}

int tls_names_exactly(const struct tls_names *n, struct bytes name)
{
    char key[TLS_NAME_MAX + 1];
    return key_of(name, key) ? find_exactly(n, key) : -1;
}

int tls_names_find(const struct tls_names *n, struct bytes host)
{
    char key[TLS_NAME_MAX + 1];
    if (!key_of(host, key)) {
        return -1;
    }
    int found = find_exactly(n, key);
    return found >= 0 ? found : find_wildcard(n, key);
}
