/* chunk: the line that a chunk of a body begins with (RFC 9112 §7.1). */
#ifndef HTTP_CHUNK_H
#define HTTP_CHUNK_H

#include <stddef.h>
#include <stdint.h>

enum { HTTP_CHUNK_LINE_MAX = 18 /* 16 digits, CR LF */ };

/* Returns the line's size. An event of a stream is a chunk, and printf takes 500 instructions. */
static inline size_t http_chunk_line(size_t size, char line[HTTP_CHUNK_LINE_MAX])
{
    uint64_t rest = size;
    int shift = 60;
    size_t at = 0;
    while (shift > 0 && rest >> shift == 0) {
        shift -= 4;
    }
    for (; shift >= 0; shift -= 4) {
        line[at++] = "0123456789abcdef"[rest >> shift & 15];
    }
    line[at++] = '\r';
    line[at++] = '\n';
    return at;
}

#endif
