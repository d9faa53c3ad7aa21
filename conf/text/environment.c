/* environment: two walks over the text, one to check and measure, one to copy. */
#include "conf/text/environment.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_SIZE = 256 /* longer names are nobody's */ };

static bool is_name_character(char c, bool first)
{
    bool letter = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_';
    return letter || (!first && c >= '0' && c <= '9');
}

/* Takes the next piece off `*rest`: literal text, or one `${NAME}`, whose name goes to `ret_name`
 * (empty for literal text). False when what follows `${` is not NAME}. */
static bool next_piece(struct bytes *rest, struct bytes *ret_piece, char ret_name[NAME_SIZE])
{
    size_t size = 0, length = 0;
    ret_name[0] = '\0';
    if (rest->size >= 2 && memcmp(rest->at, "${", 2) == 0) {
        size = 2;
        while (size < rest->size && length + 1 < NAME_SIZE &&
               is_name_character(rest->at[size], length == 0)) {
            ret_name[length++] = rest->at[size++];
        }
        ret_name[length] = '\0';
        if (length == 0 || size == rest->size || rest->at[size] != '}') {
            return false;
        }
        size++;
    } else {
        const char *next = memmem(rest->at, rest->size, "${", 2);
        size = next ? (size_t)(next - rest->at) : rest->size;
    }
    *ret_piece = (struct bytes){rest->at, size};
    *rest = (struct bytes){rest->at + size, rest->size - size};
    return true;
}

/* The size after replacement; false when a problem was added. */
static bool measure(const struct yaml_node *node, size_t *ret_size, struct problem_list *problems)
{
    struct bytes rest = node->text, piece;
    char name[NAME_SIZE];
    bool good = true;
    size_t size = 0;
    while (rest.size > 0) {
        if (!next_piece(&rest, &piece, name)) {
            problem_add(problems, node->line, node->column,
                        "`${` must be followed by the name of an environment variable and `}`");
            return false;
        }
        const char *value = name[0] ? getenv(name) : NULL;
        if (name[0] && !value) {
            problem_add(problems, node->line, node->column,
                        "the environment variable %s is not set", name);
            good = false;
        }
        size += value ? strlen(value) : piece.size;
    }
    *ret_size = size;
    return good;
}

void environment_replace(struct arena *arena, struct yaml_node *node, size_t *budget,
                         struct problem_list *problems)
{
    size_t size;
    if (!memmem(node->text.at, node->text.size, "${", 2)) {
        return;
    }
    node->substituted = true;
    if (!measure(node, &size, problems)) {
        node->broken = true;
        return;
    }
    if (size > *budget) {
        problem_add(problems, node->line, node->column,
                    "the values from the environment are too long together");
        *budget = 0;
        node->broken = true;
        return;
    }
    *budget -= size;
    struct bytes rest = node->text, piece;
    char name[NAME_SIZE], *copy = arena_take(arena, size + 1), *end = copy;
    while (rest.size > 0 && next_piece(&rest, &piece, name)) {
        const char *value = name[0] ? getenv(name) : NULL;
        struct bytes put = value ? bytes_of(value) : piece; /* measure() found every name set */
        end = mempcpy(end, put.at, put.size);
    }
    assert((size_t)(end - copy) == size);
    node->text = (struct bytes){copy, size};
}
