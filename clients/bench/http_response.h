/* HTTP/1.1 answers out of bytes that come in any pieces: status line, the few headers that say how
 * the body ends, and the body by length, in chunks or until the connection closes (RFC 9112).
 * evhttp's client hands a chunk over only after bookkeeping of its own and cannot say when its
 * bytes came, hence this. What two readers could understand differently is refused. Pure: body
 * pieces point into the input. */
#ifndef MOERING_CLIENTS_BENCH_HTTP_RESPONSE_H
#define MOERING_CLIENTS_BENCH_HTTP_RESPONSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { HTTP_RESPONSE_LINE_BYTES_MAX = 8192, HTTP_RESPONSE_HEAD_BYTES_MAX = 65536 };

enum http_response_state {
    HTTP_RESPONSE_STATUS_LINE, HTTP_RESPONSE_HEADER,
    HTTP_RESPONSE_LENGTH, HTTP_RESPONSE_UNTIL_CLOSE,
    HTTP_RESPONSE_CHUNK_SIZE, HTTP_RESPONSE_CHUNK, HTTP_RESPONSE_CHUNK_END, HTTP_RESPONSE_TRAILER,
    HTTP_RESPONSE_DONE, HTTP_RESPONSE_FAILED,
};

struct http_response {
    enum http_response_state state;
    int status;            /* 0: not known yet; never that of an interim (1xx) answer */
    bool keep_alive;       /* the connection can be used again after the end */
    bool chunked, has_length;
    uint64_t left;         /* bytes of the body or of the chunk still to come */
    size_t head_bytes;     /* of status line, headers and trailers so far */
    size_t line_bytes;
    char line[HTTP_RESPONSE_LINE_BYTES_MAX + 1];
};

enum http_response_event {
    HTTP_RESPONSE_MORE, /* all bytes are taken */
    HTTP_RESPONSE_BODY, /* *body is a piece of the body */
    HTTP_RESPONSE_END,  /* the answer is whole; whatever follows was not asked for */
    HTTP_RESPONSE_BAD,  /* this is not HTTP/1.x */
};

void http_response_init(struct http_response *response);
/* Takes bytes up to the next event; *used says how many. */
enum http_response_event http_response_feed(struct http_response *response, const uint8_t *bytes,
                                            size_t size, size_t *used, const uint8_t **body,
                                            size_t *body_bytes);
/* The connection was closed: true if that is how this answer ends. */
bool http_response_ends_here(const struct http_response *response);

#ifdef __cplusplus
}
#endif
#endif
