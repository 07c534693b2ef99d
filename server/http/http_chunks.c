/* See http_chunks.h. One state machine by the byte, except for data, which is taken as it lies. */
#include "server/http/http_chunks.h"

#include <stdbool.h>

enum { SIZE_DIGITS_BITS = 60 }; /* a longer size would lose bits; the limit is far below */

void http_chunks_init(struct http_chunks *chunks, uint64_t body_bytes_max, size_t spare_bytes)
{
    *chunks = (struct http_chunks){.data_left = body_bytes_max, .spare = spare_bytes};
}

static int hex_digit(uint8_t byte)
{
    if (byte >= '0' && byte <= '9')
        return byte - '0';
    if ((byte | 0x20) >= 'a' && (byte | 0x20) <= 'f')
        return (byte | 0x20) - 'a' + 10;
    return -1;
}

/* The size line is over. */
static enum http_read size_known(struct http_chunks *chunks)
{
    if (chunks->left > chunks->data_left)
        return HTTP_READ_TOO_LARGE;
    chunks->data_left -= chunks->left;
    chunks->state = chunks->left ? HTTP_CHUNK_DATA : HTTP_CHUNK_TRAILER_FIRST;
    return HTTP_READ_MORE;
}

static enum http_read size_byte(struct http_chunks *chunks, uint8_t byte)
{
    int digit = hex_digit(byte);
    if (digit >= 0) {
        if (chunks->left >> SIZE_DIGITS_BITS)
            return HTTP_READ_TOO_LARGE;
        chunks->left = chunks->left << 4 | (uint64_t)digit;
        chunks->state = HTTP_CHUNK_SIZE;
        return HTTP_READ_MORE;
    }
    if (chunks->state == HTTP_CHUNK_SIZE_FIRST || (byte != ';' && byte != '\r'))
        return HTTP_READ_BAD;
    chunks->state = byte == ';' ? HTTP_CHUNK_EXTENSION : HTTP_CHUNK_SIZE_LF;
    return HTTP_READ_MORE;
}

/* A byte of text that is skipped, up to a CR. */
static enum http_read skipped_byte(struct http_chunks *chunks, uint8_t byte,
                                   enum http_chunks_state after_cr)
{
    if (byte == '\r') {
        chunks->state = after_cr;
        return HTTP_READ_MORE;
    }
    if ((byte < ' ' && byte != '\t') || byte == 0x7f)
        return HTTP_READ_BAD;
    if (chunks->spare == 0)
        return HTTP_READ_TOO_LARGE;
    chunks->spare--;
    return HTTP_READ_MORE;
}

static enum http_read trailer_byte(struct http_chunks *chunks, uint8_t byte)
{
    if (chunks->state == HTTP_CHUNK_TRAILER_VALUE)
        return skipped_byte(chunks, byte, HTTP_CHUNK_TRAILER_LF);
    if (chunks->state == HTTP_CHUNK_TRAILER_FIRST && byte == '\r') {
        chunks->state = HTTP_CHUNK_LAST_LF;
        return HTTP_READ_MORE;
    }
    if (chunks->state == HTTP_CHUNK_TRAILER_NAME && byte == ':')
        chunks->state = HTTP_CHUNK_TRAILER_VALUE;
    else if (http_token_char(byte))
        chunks->state = HTTP_CHUNK_TRAILER_NAME;
    else
        return HTTP_READ_BAD;
    if (chunks->spare == 0)
        return HTTP_READ_TOO_LARGE;
    chunks->spare--;
    return HTTP_READ_MORE;
}

/* The one byte that must come here. */
static enum http_read fixed_byte(struct http_chunks *chunks, uint8_t byte, uint8_t wanted,
                                 enum http_chunks_state after)
{
    if (byte != wanted)
        return HTTP_READ_BAD;
    chunks->state = after;
    return after == HTTP_CHUNK_DONE ? HTTP_READ_DONE : HTTP_READ_MORE;
}

static enum http_read chunk_byte(struct http_chunks *chunks, uint8_t byte)
{
    switch (chunks->state) {
    case HTTP_CHUNK_SIZE_FIRST:
    case HTTP_CHUNK_SIZE:
        return size_byte(chunks, byte);
    case HTTP_CHUNK_EXTENSION:
        return skipped_byte(chunks, byte, HTTP_CHUNK_SIZE_LF);
    case HTTP_CHUNK_SIZE_LF:
        return byte == '\n' ? size_known(chunks) : HTTP_READ_BAD;
    case HTTP_CHUNK_DATA_CR:
        return fixed_byte(chunks, byte, '\r', HTTP_CHUNK_DATA_LF);
    case HTTP_CHUNK_DATA_LF:
        return fixed_byte(chunks, byte, '\n', HTTP_CHUNK_SIZE_FIRST);
    case HTTP_CHUNK_TRAILER_FIRST:
    case HTTP_CHUNK_TRAILER_NAME:
    case HTTP_CHUNK_TRAILER_VALUE:
        return trailer_byte(chunks, byte);
    case HTTP_CHUNK_TRAILER_LF:
        return fixed_byte(chunks, byte, '\n', HTTP_CHUNK_TRAILER_FIRST);
    case HTTP_CHUNK_LAST_LF:
        return fixed_byte(chunks, byte, '\n', HTTP_CHUNK_DONE);
    case HTTP_CHUNK_DATA:
    case HTTP_CHUNK_DONE:
        break;
    }
    return HTTP_READ_BAD;
}

enum http_read http_chunks_read(struct http_chunks *chunks, const uint8_t *bytes, size_t size,
                                size_t *taken, const uint8_t **data, size_t *data_bytes)
{
    *data = NULL;
    *data_bytes = 0;
    for (*taken = 0; *taken < size;) {
        if (chunks->state == HTTP_CHUNK_DATA) {
            size_t left = size - *taken;
            *data = bytes + *taken;
            *data_bytes = chunks->left < left ? (size_t)chunks->left : left;
            *taken += *data_bytes;
            chunks->left -= *data_bytes;
            if (chunks->left == 0)
                chunks->state = HTTP_CHUNK_DATA_CR;
            return HTTP_READ_MORE;
        }
        enum http_read read = chunk_byte(chunks, bytes[*taken]);
        if (read == HTTP_READ_DONE)
            ++*taken;
        if (read != HTTP_READ_MORE)
            return read;
        ++*taken;
    }
    return HTTP_READ_MORE;
}
