/* The chunked coding of a body (RFC 9112 section 7.1), taken apart. Bytes in, slices of data out;
 * no IO.
 *
 * Chunk extensions and trailers are read and forgotten; together they may have as many bytes as
 * a head. What another parser might read differently is refused: a size with a sign, a blank or
 * 0x, a bare LF, data that is not followed by CR LF, a folded trailer. */
#ifndef MOERING_SERVER_HTTP_HTTP_CHUNKS_H
#define MOERING_SERVER_HTTP_HTTP_CHUNKS_H

#include <stddef.h>
#include <stdint.h>

#include "server/http/http_head.h"

#ifdef __cplusplus
extern "C" {
#endif

enum http_chunks_state {
    HTTP_CHUNK_SIZE_FIRST,
    HTTP_CHUNK_SIZE,
    HTTP_CHUNK_EXTENSION,
    HTTP_CHUNK_SIZE_LF,
    HTTP_CHUNK_DATA,
    HTTP_CHUNK_DATA_CR,
    HTTP_CHUNK_DATA_LF,
    HTTP_CHUNK_TRAILER_FIRST,
    HTTP_CHUNK_TRAILER_NAME,
    HTTP_CHUNK_TRAILER_VALUE,
    HTTP_CHUNK_TRAILER_LF,
    HTTP_CHUNK_LAST_LF,
    HTTP_CHUNK_DONE,
};

struct http_chunks {
    enum http_chunks_state state;
    uint64_t left;       /* of the chunk's data; in SIZE: the number so far */
    uint64_t data_left;  /* what the whole body may still bring */
    size_t spare;        /* extension and trailer bytes still allowed */
};

void http_chunks_init(struct http_chunks *chunks, uint64_t body_bytes_max, size_t spare_bytes);
/* Takes bytes until a slice of data is at hand, the end has come or none are left; so call it
 * again after MORE while bytes are left. *data points into `bytes`; *data_bytes is 0 where there
 * is none. TOO_LARGE: a chunk's size is beyond body_bytes_max, said before any byte of it is
 * taken. */
enum http_read http_chunks_read(struct http_chunks *chunks, const uint8_t *bytes, size_t size,
                                size_t *taken, const uint8_t **data, size_t *data_bytes);

#ifdef __cplusplus
}
#endif
#endif
