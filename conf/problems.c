/* problems: a growing array while reading, one sorted block afterwards. */
#include "conf/problems.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

enum {
    COLLECTED_MAX = 1000, /* more than are listed, since they are found out of order */
    MESSAGE_SIZE = 512,   /* a message is one line; names in it are cut before they get here */
};

struct problem_list {
    const char *file; /* the caller's until finish */
    struct conf_problem *at;
    size_t count, capacity;
    size_t uncollected;
};

struct problem_list *problem_list_new(const char *file)
{
    struct problem_list *list = memory_new(sizeof *list);
    list->file = file;
    return list;
}

static bool already_there(const struct problem_list *list, unsigned line, unsigned column,
                          const char *message)
{
    for (size_t i = 0; i < list->count; i++) {
        const struct conf_problem *p = &list->at[i];
        if (p->line == line && p->column == column && strcmp(p->message, message) == 0) {
            return true;
        }
    }
    return false;
}

void problem_add(struct problem_list *list, unsigned line, unsigned column, const char *format, ...)
{
    char message[MESSAGE_SIZE];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    assert(length > 0);
    if (problem_list_is_full(list)) {
        list->uncollected++;
        return;
    }
    if (already_there(list, line, column, message)) {
        return;
    }
    if (list->count == list->capacity) {
        list->capacity = list->capacity ? 2 * list->capacity : 16;
        list->at = memory_resize(list->at, list->capacity * sizeof *list->at);
    }
    list->at[list->count++] = (struct conf_problem){
        .file = list->file,
        .line = line,
        .column = column,
        .message = memory_copy_text(message, strlen(message)),
    };
}

bool problem_list_is_full(const struct problem_list *list)
{
    return list->count == COLLECTED_MAX;
}

static bool is_mark(char c)
{
    return c == '_' || c == '-';
}

static bool is_upper(char c)
{
    return c >= 'A' && c <= 'Z';
}

static bool is_letter(char c)
{
    return is_upper(c) || (c >= 'a' && c <= 'z');
}

/* One mark between words, a capital only where a word begins. */
static bool is_words(const char *key, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        bool again = i > 0 && ((is_mark(key[i]) && is_mark(key[i - 1])) ||
                               (is_upper(key[i]) && is_upper(key[i - 1])));
        if (again || (!is_letter(key[i]) && !is_mark(key[i]))) {
            return false;
        }
    }
    return true;
}

bool problem_may_show(const char *key)
{
    enum {
        WORD_MAX = 30,  /* the longest key has 19; what is longer is no slip of the pen */
        DIGITS_MAX = 2, /* `retry2` */
    };
    static const char *const beginnings[] = {"app-", "sk-", "dataset-", "usertoken", "Bearer"};
    size_t size = strlen(key), digits = 0;
    for (size_t i = 0; i < sizeof beginnings / sizeof beginnings[0]; i++) {
        if (strncmp(key, beginnings[i], strlen(beginnings[i])) == 0) {
            return false;
        }
    }
    while (size > 0 && digits < DIGITS_MAX && key[size - 1] >= '0' && key[size - 1] <= '9') {
        size--;
        digits++;
    }
    return strlen(key) <= WORD_MAX && is_words(key, size) && (size > 0 || digits == 0);
}

static int by_place(const void *a, const void *b)
{
    const struct conf_problem *p = a, *q = b;
    if (p->line != q->line) {
        return p->line < q->line ? -1 : 1;
    }
    if (p->column != q->column) {
        return p->column < q->column ? -1 : 1;
    }
    return strcmp(p->message, q->message);
}

/* One block: the array, the file's name, the messages. */
static struct conf_problem *pack(const struct problem_list *list, size_t count)
{
    size_t file_size = strlen(list->file) + 1, size = count * sizeof *list->at + file_size;
    for (size_t i = 0; i < count; i++) {
        size += strlen(list->at[i].message) + 1;
    }
    struct conf_problem *packed = memory_new(size);
    char *text = (char *)(packed + count);
    const char *file = memcpy(text, list->file, file_size);
    text += file_size;
    for (size_t i = 0; i < count; i++) {
        size_t message_size = strlen(list->at[i].message) + 1;
        packed[i] = list->at[i];
        packed[i].file = file;
        packed[i].message = memcpy(text, list->at[i].message, message_size);
        text += message_size;
    }
    return packed;
}

static void release_message(const struct conf_problem *problem)
{
    union { /* the list owns its messages, though the public struct shows them as const */
        const char *shown;
        char *owned;
    } message = {.shown = problem->message};
    free(message.owned);
}

size_t problem_list_finish(struct problem_list *list, struct conf_problems *ret_problems)
{
    size_t listed = list->count < CONF_PROBLEMS_MAX ? list->count : CONF_PROBLEMS_MAX;
    size_t total = list->count + list->uncollected;
    *ret_problems = (struct conf_problems){.count = listed, .unlisted = total - listed};
    if (listed > 0) {
        qsort(list->at, list->count, sizeof *list->at, by_place);
        ret_problems->at = pack(list, listed);
    }
    for (size_t i = 0; i < list->count; i++) {
        release_message(&list->at[i]);
    }
    free(list->at);
    free(list);
    return total;
}

void conf_problems_free(struct conf_problems *problems)
{
    free(problems->at);
    *problems = (struct conf_problems){0};
}
