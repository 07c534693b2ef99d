/* The messages inside a gRPC stream: a flag byte, four bytes of length (big-endian), the payload,
 * perhaps compressed. Bytes in, messages out; no IO and no knowledge of HTTP/2. The only user of
 * zlib.
 *
 * A length is judged before memory is taken for it, and memory grows with the bytes that really
 * arrive, so a peer that announces 4 MiB and sends five bytes costs little. Inflating stops at the
 * same limit as a plain message. Any thread; one reader belongs to one. */
#ifndef MOERING_SERVER_GRPC_GRPC_MESSAGE_H
#define MOERING_SERVER_GRPC_GRPC_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "memory/base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { GRPC_MESSAGE_PREFIX_BYTES = 5 };

enum grpc_encoding { GRPC_ENCODING_NONE, GRPC_ENCODING_IDENTITY, GRPC_ENCODING_GZIP };

/* One whole message, plain. `bytes` is never NULL in a message that is there. */
struct grpc_message {
    const uint8_t *bytes; /* NULL: no whole message yet */
    size_t size;
    bool compressed; /* on the wire */
};

/* Reassembles one stream. */
struct grpc_message_reader {
    size_t bytes_max;
    enum grpc_encoding encoding; /* what grpc-encoding said; NONE when it was absent */
    uint8_t prefix[GRPC_MESSAGE_PREFIX_BYTES];
    size_t prefix_bytes;
    uint8_t *body; /* the payload so far */
    size_t body_bytes, body_capacity_bytes;
    uint8_t *plain; /* the inflated message last returned */
};

void grpc_message_reader_init(struct grpc_message_reader *reader, size_t bytes_max,
                              enum grpc_encoding encoding);
/* Frees what it holds; the reader may be fed again as if new. */
void grpc_message_reader_reset(struct grpc_message_reader *reader);
/* Heap bytes held for a message that is not whole yet. */
size_t grpc_message_reader_held(const struct grpc_message_reader *reader);
/* True between messages: the stream may end here. */
bool grpc_message_reader_idle(const struct grpc_message_reader *reader);
/* Takes bytes up to the end of one message and says how many in `used`; a whole message is put in
 * `out` and stays valid until the reader is fed or reset, and as long as `bytes` does.
 * FULL: longer than bytes_max, before or after inflating. INVALID: a reserved flag, a compressed
 * message without grpc-encoding, broken gzip. NO_MEMORY. After an error the stream is beyond
 * repair. */
enum status grpc_message_read(struct grpc_message_reader *reader, const uint8_t *bytes, size_t size,
                              size_t *used, struct grpc_message *out, struct error *error);

/* Writes the prefix of a message of `size` bytes (CHECK: below 4 GiB). */
void grpc_message_prefix(uint8_t out[GRPC_MESSAGE_PREFIX_BYTES], bool compressed, size_t size);
/* gzip of `bytes` in a new block for the caller to free. FULL: would not be smaller than `size`,
 * so send it plain. NO_MEMORY. */
enum status grpc_message_deflate(const void *bytes, size_t size, uint8_t **out, size_t *out_bytes);

#ifdef __cplusplus
}
#endif
#endif
