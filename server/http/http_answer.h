/* The head of an answer, written. No connection, no clock: bytes into a buffer. */
#ifndef MOERING_SERVER_HTTP_HTTP_ANSWER_H
#define MOERING_SERVER_HTTP_HTTP_ANSWER_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#ifdef __cplusplus
extern "C" {
#endif

struct evbuffer;

enum { HTTP_DATE_BYTES = 30 };

/* "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110 section 5.6.7), kept for the second it is right. */
struct http_date {
    time_t second;
    char text[HTTP_DATE_BYTES];
};
const char *http_date_text(struct http_date *date, time_t now);

enum http_length {
    HTTP_LENGTH_NONE,    /* 1xx, 204, 304: no body by their nature */
    HTTP_LENGTH_KNOWN,
    HTTP_LENGTH_CHUNKED,
    HTTP_LENGTH_CLOSE,   /* the body ends with the connection */
};

struct http_answer {
    int code;
    const char *date;
    const char *content_type; /* NULL: none */
    enum http_length framing;
    uint64_t length;          /* KNOWN */
    const char *request_id;   /* echoed; NULL: none */
    bool keep_alive;
    bool say_keep_alive;      /* to HTTP/1.0, where it is not a matter of course */
};

/* Words for a code; "" for one that is not known here. */
const char *http_reason(int code);
/* Adds the head to `out`, with the header lines of `more` (may be NULL), which is emptied.
 * False: out of memory, and what is in `out` then is of no use. */
bool http_answer_write(struct evbuffer *out, const struct http_answer *answer,
                       struct evbuffer *more);
/* Safe and useful to repeat to the client that sent it: printable, not empty, at most 128
 * characters. */
bool http_request_id_ok(const char *text);

#ifdef __cplusplus
}
#endif
#endif
