/* mime: parameters. Spans are cut off the front of `*rest` one after the other. */
#include "user/mime.h"

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static void cut(struct bytes *b, size_t size)
{
    b->at += size;
    b->size -= size;
}

static struct bytes trim(struct bytes b)
{
    while (b.size > 0 && is_space(b.at[0])) {
        cut(&b, 1);
    }
    while (b.size > 0 && is_space(b.at[b.size - 1])) {
        b.size--;
    }
    return b;
}

/* Takes what stands before the first of two characters, or all. */
static struct bytes take_until(struct bytes *rest, char a, char b)
{
    size_t size = 0;
    while (size < rest->size && rest->at[size] != a && rest->at[size] != b) {
        size++;
    }
    struct bytes taken = {rest->at, size};
    if (size > 0) {
        cut(rest, size);
    }
    return trim(taken);
}

/* `*rest` begins behind the opening quote. An unclosed string runs to the end. */
static struct bytes take_quoted(struct bytes *rest)
{
    size_t size = 0;
    while (size < rest->size && rest->at[size] != '"') {
        bool escape = rest->at[size] == '\\' && size + 1 < rest->size &&
                      (rest->at[size + 1] == '"' || rest->at[size + 1] == '\\');
        size += escape ? 2 : 1;
    }
    struct bytes taken = {rest->at, size};
    cut(rest, size);
    return taken;
}

struct bytes mime_type(struct bytes *rest)
{
    return take_until(rest, ';', ';');
}

bool mime_parameter_next(struct bytes *rest, struct mime_parameter *ret_parameter)
{
    while (rest->size > 0 && (rest->at[0] == ';' || is_space(rest->at[0]))) {
        cut(rest, 1);
    }
    if (rest->size == 0) {
        return false;
    }
    *ret_parameter = (struct mime_parameter){.name = take_until(rest, '=', ';')};
    if (rest->size == 0 || rest->at[0] != '=') {
        return true;
    }
    do {
        cut(rest, 1);
    } while (rest->size > 0 && is_space(rest->at[0]));
    if (rest->size > 0 && rest->at[0] == '"') {
        cut(rest, 1);
        ret_parameter->quoted = true;
        ret_parameter->value = take_quoted(rest);
        take_until(rest, ';', ';'); /* the closing quote, and what is wrong behind it */
    } else {
        ret_parameter->value = take_until(rest, ';', ';');
    }
    return true;
}

size_t mime_value(const struct mime_parameter *p, char *ret_text)
{
    size_t size = 0;
    for (size_t i = 0; i < p->value.size; i++) {
        char c = p->value.at[i];
        if (p->quoted && c == '\\' && i + 1 < p->value.size &&
            (p->value.at[i + 1] == '"' || p->value.at[i + 1] == '\\')) {
            c = p->value.at[++i];
        }
        ret_text[size++] = c;
    }
    return size;
}

bool mime_value_equal(const struct mime_parameter *p, struct bytes text)
{
    char value[512]; /* twice the longest name that anybody gives a field */
    if (p->value.size > sizeof(value)) {
        return false;
    }
    size_t size = mime_value(p, value);
    return bytes_equal((struct bytes){value, size}, text);
}
