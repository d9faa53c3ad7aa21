/* reader: bytes in, one HTTP/1.x message after the other out (RFC 9112, by llhttp, never lenient).
 *
 * Pull style: http_reader_next() takes bytes off the front of `*input` and returns the next event,
 * so that the caller can stop between any two of them (pipelining, back-pressure). However the
 * input is split, the events are the same but for where body pieces end.
 *
 *   request or response:  HEAD  BODY*  END   and again from HEAD on the same reader
 *   a request that asks for an upgrade:  HEAD  BODY*  END, then the reader stands still: the caller
 *       either leaves the rest of the bytes alone (another protocol) or calls
 *       http_reader_resume() when the answer was not 101
 *   a 101 response:  HEAD  END, then stands still for good
 *   1xx responses:  HEAD  END, then the final response
 *
 * On top of llhttp it refuses (SPEC §3): a version other than HTTP/1.0 and 1.1 (llhttp takes a
 * missing one as 0.9 and a bare LF with it), a missing or second Host in HTTP/1.1 (a second one in
 * any version), Transfer-Encoding other than one final `chunked`, or in HTTP/1.0, Content-Length
 * given twice, a second Authorization, Content-Type fields that differ, control bytes in the target
 * and the reason phrase, a Host that is no host and port, user information and fragments in the
 * target, and everywhere outside of a body's data a CR or LF by itself (llhttp before 9.4.2 takes
 * `CR CR` for the end of a status line). Bytes from 0x80 on are let through in a target, which
 * llhttp would not.
 *
 * After a message without keep_alive whatever still comes is taken and ignored. */
#ifndef HTTP_READER_H
#define HTTP_READER_H

#include <llhttp.h>

#include "http/head.h"

struct http_limits {
    uint32_t header_size; /* the whole head, first line included */
    uint32_t headers;     /* number of fields */
    uint32_t uri_size;
};

/* (Not HTTP_HEAD and so on: llhttp has an HTTP_HEAD of its own, the method.) */
enum http_event {
    HTTP_EVENT_MORE,  /* all input taken: feed more */
    HTTP_EVENT_HEAD,  /* r->head is complete */
    HTTP_EVENT_BODY,  /* *ret_body points into the input */
    HTTP_EVENT_END,   /* of the message */
    HTTP_EVENT_ERROR, /* r->error, r->error_text; the reader is dead */
};

enum http_error {
    HTTP_ERROR_NONE,
    HTTP_ERROR_MALFORMED,      /* 400 for a request, garbage for a response */
    HTTP_ERROR_URI_TOO_LARGE,  /* 414 */
    HTTP_ERROR_HEAD_TOO_LARGE, /* 431 */
};

struct http_reader {
    llhttp_t parser;
    const struct http_limits *limits;
    struct http_head *head; /* lent by the caller; may change only between messages */
    enum http_error error;
    const char *error_text; /* static; says what, never repeats input */
    bool in_message;        /* bytes of a message have been taken and its END is not out yet */
    bool skip_body;         /* response: the request was HEAD */
    /* private */
    bool response;
    bool paused;                  /* llhttp was stopped by a callback and has to be resumed */
    bool url_done, version_begun; /* parts of the first line */
    bool stand_in;                /* llhttp is shown stand-ins for what is in the input */
    bool plain;                   /* this message is read without llhttp (http/plain) */
    bool cr_open;                 /* the last byte of a line so far is a CR: its LF is due */
    uint8_t step, pending;
    uint8_t empty_count;  /* bytes of empty lines before this request */
    uint32_t taken;       /* bytes of the head; then of a chunked body, those since its last data */
    char before[7];       /* the last bytes of the input before this one */
    const char *input_at; /* the input now being read */
    uint64_t left;        /* plain: bytes of the body still to come */
    struct bytes body;
};

void http_reader_init_request(struct http_reader *r, const struct http_limits *limits);
void http_reader_init_response(struct http_reader *r, const struct http_limits *limits);

/* Before a message's first byte: where its head is put. For a response also whether the request was
 * HEAD (then no body follows whatever the head says). */
void http_reader_begin(struct http_reader *r, struct http_head *head, bool answer_to_head);

enum http_event http_reader_next(struct http_reader *r, struct bytes *input,
                                 struct bytes *ret_body);

/* Between HEAD and END of a message in chunks: does its end lie in the input that was given last,
 * which goes as far as `end`? False once all of that has been taken. Takes nothing. */
bool http_reader_ends_before(const struct http_reader *r, const char *end);

/* The peer has closed its side. HTTP_EVENT_END: the message ended by that, which is how it said it
 * would (HTTP_BODY_CLOSE); HTTP_EVENT_MORE: nothing was in the middle; HTTP_EVENT_ERROR: cut short.
 * Only after http_reader_next() has said HTTP_EVENT_MORE. */
enum http_event http_reader_eof(struct http_reader *r);

/* After an upgrade request that was not answered by 101: go on with HTTP. */
void http_reader_resume(struct http_reader *r);

#endif
