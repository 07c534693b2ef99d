/* See grpc_message.h. Invariant: body_bytes <= the announced length <= bytes_max, and a body is
 * held only while its message is incomplete or is the one last returned. */
#include "server/grpc/grpc_message.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "memory/base/check.h"

enum { BODY_FIRST_BYTES = 4096, GZIP_WINDOW = 15 + 16, GZIP_LEVEL = 3, GZIP_MEMORY = 8 };

void grpc_message_reader_init(struct grpc_message_reader *reader, size_t bytes_max,
                              enum grpc_encoding encoding)
{
    *reader = (struct grpc_message_reader){.bytes_max = bytes_max, .encoding = encoding};
}

void grpc_message_reader_reset(struct grpc_message_reader *reader)
{
    free(reader->body);
    free(reader->plain);
    grpc_message_reader_init(reader, reader->bytes_max, reader->encoding);
}

size_t grpc_message_reader_held(const struct grpc_message_reader *reader)
{
    return reader->body_capacity_bytes;
}

bool grpc_message_reader_idle(const struct grpc_message_reader *reader)
{
    return reader->prefix_bytes == 0;
}

static size_t announced_bytes(const struct grpc_message_reader *reader)
{
    const uint8_t *p = reader->prefix;
    return (size_t)p[1] << 24 | (size_t)p[2] << 16 | (size_t)p[3] << 8 | p[4];
}

static enum status prefix_check(const struct grpc_message_reader *reader, struct error *error)
{
    if (reader->prefix[0] > 1)
        return error_set(error, STATUS_INVALID, "message flag %u is not known",
                         (unsigned)reader->prefix[0]);
    if (reader->prefix[0] == 1 && reader->encoding == GRPC_ENCODING_NONE)
        return error_set(error, STATUS_INVALID,
                         "a message is marked compressed but grpc-encoding is missing");
    if (reader->prefix[0] == 1 && reader->encoding == GRPC_ENCODING_IDENTITY)
        return error_set(error, STATUS_INVALID,
                         "a message is marked compressed but grpc-encoding is identity");
    if (announced_bytes(reader) > reader->bytes_max)
        return error_set(error, STATUS_FULL, "received message of %zu bytes, the limit is %zu",
                         announced_bytes(reader), reader->bytes_max);
    return STATUS_OK;
}

/* Makes room for `more` bytes: doubling, but never past what was announced. */
static bool body_grow(struct grpc_message_reader *reader, size_t more)
{
    size_t need = reader->body_bytes + more;
    if (need <= reader->body_capacity_bytes)
        return true;
    size_t capacity = reader->body_capacity_bytes ? 2 * reader->body_capacity_bytes
                                                  : BODY_FIRST_BYTES;
    if (capacity > announced_bytes(reader))
        capacity = announced_bytes(reader);
    if (capacity < need)
        capacity = need;
    uint8_t *body = realloc(reader->body, capacity);
    if (!body)
        return false;
    reader->body = body;
    reader->body_capacity_bytes = capacity;
    return true;
}

/* Inflates one gzip member that must fill `in` exactly, into a block that grows up to bytes_max.
 * One byte beyond the limit is asked for, so that a message of exactly the limit is told apart. */
static enum status inflate_body(struct grpc_message_reader *reader, const uint8_t *in,
                                size_t in_bytes, struct grpc_message *out, struct error *error)
{
    enum status status = STATUS_OK;
    z_stream stream = {.next_in = (Bytef *)in, .avail_in = (uInt)in_bytes};
    size_t capacity = 0, made = 0;
    int rc = Z_OK;
    if (inflateInit2(&stream, GZIP_WINDOW) != Z_OK)
        return error_set(error, STATUS_NO_MEMORY, "no memory to inflate a message");
    while (rc != Z_STREAM_END) {
        if (made == capacity) {
            size_t grown = capacity ? 2 * capacity : 4 * in_bytes + 64;
            if (grown > reader->bytes_max + 1)
                grown = reader->bytes_max + 1;
            uint8_t *plain = made > reader->bytes_max ? NULL : realloc(reader->plain, grown);
            if (!plain) {
                status = made > reader->bytes_max
                             ? error_set(error, STATUS_FULL,
                                         "a message inflates beyond the limit of %zu bytes",
                                         reader->bytes_max)
                             : error_set(error, STATUS_NO_MEMORY, "no memory to inflate a message");
                goto done;
            }
            reader->plain = plain;
            capacity = grown;
        }
        stream.next_out = reader->plain + made;
        stream.avail_out = (uInt)(capacity - made);
        rc = inflate(&stream, Z_NO_FLUSH);
        made = (size_t)(stream.next_out - reader->plain);
        if (rc != Z_OK && rc != Z_STREAM_END) {
            status = error_set(error, STATUS_INVALID, "a message is not valid gzip");
            goto done;
        }
    }
    if (stream.avail_in || made > reader->bytes_max) {
        status = made > reader->bytes_max
                     ? error_set(error, STATUS_FULL,
                                 "a message inflates beyond the limit of %zu bytes",
                                 reader->bytes_max)
                     : error_set(error, STATUS_INVALID, "bytes follow the gzip end of a message");
        goto done;
    }
    *out = (struct grpc_message){reader->plain, made, true};
done:
    inflateEnd(&stream);
    return status;
}

/* The payload is whole, in `body` (the reader's own or the caller's bytes). */
static enum status message_finish(struct grpc_message_reader *reader, const uint8_t *body,
                                  size_t size, struct grpc_message *out, struct error *error)
{
    reader->prefix_bytes = 0;
    reader->body_bytes = 0;
    if (reader->prefix[0] == 1 && size > 0)
        return inflate_body(reader, body, size, out, error);
    *out = (struct grpc_message){size ? body : (const uint8_t *)"", size, reader->prefix[0] == 1};
    return STATUS_OK;
}

enum status grpc_message_read(struct grpc_message_reader *reader, const uint8_t *bytes, size_t size,
                              size_t *used, struct grpc_message *out, struct error *error)
{
    const uint8_t *start = bytes;
    *out = (struct grpc_message){0};
    *used = 0;
    if (reader->body_bytes == 0) { /* the message last returned is done with */
        free(reader->body);
        free(reader->plain);
        reader->body = reader->plain = NULL;
        reader->body_capacity_bytes = 0;
    }
    if (reader->prefix_bytes < GRPC_MESSAGE_PREFIX_BYTES) {
        size_t take = GRPC_MESSAGE_PREFIX_BYTES - reader->prefix_bytes;
        if (take > size)
            take = size;
        memcpy(reader->prefix + reader->prefix_bytes, bytes, take);
        reader->prefix_bytes += take;
        bytes += take;
        size -= take;
        *used = take;
        if (reader->prefix_bytes < GRPC_MESSAGE_PREFIX_BYTES)
            return STATUS_OK;
        enum status status = prefix_check(reader, error);
        if (status != STATUS_OK)
            return status;
    }
    size_t left = announced_bytes(reader) - reader->body_bytes;
    if (size >= left && reader->body_bytes == 0) { /* all of it is here: no copy */
        *used = (size_t)(bytes - start) + left;
        return message_finish(reader, bytes, left, out, error);
    }
    size_t take = size < left ? size : left;
    if (take == 0)
        return STATUS_OK;
    if (!body_grow(reader, take))
        return error_set(error, STATUS_NO_MEMORY, "no memory for a message of %zu bytes",
                         announced_bytes(reader));
    memcpy(reader->body + reader->body_bytes, bytes, take);
    reader->body_bytes += take;
    *used = (size_t)(bytes - start) + take;
    if (take < left)
        return STATUS_OK;
    return message_finish(reader, reader->body, reader->body_bytes, out, error);
}

void grpc_message_prefix(uint8_t out[GRPC_MESSAGE_PREFIX_BYTES], bool compressed, size_t size)
{
    CHECK(size <= UINT32_MAX);
    out[0] = compressed;
    out[1] = (uint8_t)(size >> 24);
    out[2] = (uint8_t)(size >> 16);
    out[3] = (uint8_t)(size >> 8);
    out[4] = (uint8_t)size;
}

enum status grpc_message_deflate(const void *bytes, size_t size, uint8_t **out, size_t *out_bytes)
{
    *out = NULL;
    *out_bytes = 0;
    if (size < 2 || size > UINT32_MAX)
        return STATUS_FULL;
    enum status status = STATUS_OK;
    z_stream stream = {.next_in = (Bytef *)bytes, .avail_in = (uInt)size};
    if (deflateInit2(&stream, GZIP_LEVEL, Z_DEFLATED, GZIP_WINDOW, GZIP_MEMORY,
                     Z_DEFAULT_STRATEGY) != Z_OK)
        return STATUS_NO_MEMORY;
    uint8_t *packed = malloc(size - 1);
    if (!packed) {
        status = STATUS_NO_MEMORY;
        goto done;
    }
    stream.next_out = packed;
    stream.avail_out = (uInt)(size - 1); /* no room for a result that is not smaller */
    if (deflate(&stream, Z_FINISH) != Z_STREAM_END) {
        status = STATUS_FULL;
        free(packed);
        goto done;
    }
    *out = packed;
    *out_bytes = (size_t)(stream.next_out - packed);
done:
    deflateEnd(&stream);
    return status;
}
