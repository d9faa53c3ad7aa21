/* json_states: the states of json_user, how a number moves through its own, and what literals there
 * are. */
#ifndef USER_JSON_STATES_H
#define USER_JSON_STATES_H

#include <stddef.h>

#include "base/scan.h"

enum json_state {
    START,
    FIRST_KEY, /* or `}` */
    KEY,
    COLON,
    FIRST_VALUE, /* or `]` */
    VALUE,
    NEXT, /* `,` or the end of the level */
    END,  /* the last of the states between tokens */
    STRING,
    UTF8,
    ESCAPE,
    HEX,
    PAIR,
    PAIR_U,
    MINUS,
    ZERO,
    INTEGER,
    DOT,
    FRACTION,
    EXPONENT_START,
    EXPONENT_SIGN,
    EXPONENT,
    LITERAL,
    BROKEN,
};

/* What follows the first letter of a literal, as Python has them; NULL: it begins none. */
static inline const char *literal_rest(char c)
{
    return c == 't'   ? "rue"
           : c == 'f' ? "alse"
           : c == 'n' ? "ull"
           : c == 'N' ? "aN"
           : c == 'I' ? "nfinity"
                      : NULL;
}

/* Where the number cannot end: the state behind c. */
static inline enum json_state number_must_go_on(enum json_state state, char c)
{
    if (state == EXPONENT_START && (c == '+' || c == '-')) {
        return EXPONENT_SIGN;
    }
    if (!scan_is_digit(c)) {
        return BROKEN;
    }
    if (state == MINUS) {
        return c == '0' ? ZERO : INTEGER;
    }
    return state == DOT ? FRACTION : EXPONENT;
}

/* The state behind c; NEXT when the number has ended before c. */
static inline enum json_state number_state(enum json_state state, char c)
{
    if (state == MINUS || state == DOT || state == EXPONENT_START || state == EXPONENT_SIGN) {
        return number_must_go_on(state, c);
    }
    if (scan_is_digit(c)) {
        return state == ZERO ? BROKEN : state;
    }
    if (c == '.' && (state == ZERO || state == INTEGER)) {
        return DOT;
    }
    return (c == 'e' || c == 'E') && state != EXPONENT ? EXPONENT_START : NEXT;
}

#endif
