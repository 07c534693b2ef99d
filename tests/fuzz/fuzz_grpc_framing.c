/* link: server_net */
/* The message reader under any bytes in any pieces. The first byte chooses the encoding, the second
 * the size of the pieces. What must hold: no message above the limit, no more held than the limit,
 * progress with each call, and the same messages whatever the pieces. */
#include <stdlib.h>
#include <string.h>

#include "memory/base/check.h"
#include "server/grpc/grpc_message.h"

enum { LIMIT = 10000 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A hash over all messages, so that two ways of cutting can be compared; `status` is the last. */
static uint64_t read_all(const uint8_t *data, size_t size, size_t step, enum grpc_encoding encoding,
                         enum status *status)
{
    struct grpc_message_reader reader;
    uint64_t hash = 1469598103934665603u;
    grpc_message_reader_init(&reader, LIMIT, encoding);
    *status = STATUS_OK;
    for (size_t at = 0; at < size && *status == STATUS_OK;) {
        size_t piece = size - at < step ? size - at : step, used;
        struct grpc_message message;
        struct error error = {{0}};
        *status = grpc_message_read(&reader, data + at, piece, &used, &message, &error);
        CHECK(used <= piece && (used > 0 || *status != STATUS_OK));
        CHECK(grpc_message_reader_held(&reader) <= LIMIT);
        CHECK((*status == STATUS_OK) == (error.text[0] == '\0'));
        at += used;
        if (!message.bytes)
            continue;
        CHECK(*status == STATUS_OK && message.size <= LIMIT);
        for (size_t i = 0; i < message.size; i++)
            hash = (hash ^ message.bytes[i]) * 1099511628211u;
        hash = (hash ^ message.size) * 1099511628211u;
    }
    grpc_message_reader_reset(&reader);
    return hash;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum status whole, cut;
    if (size < 2)
        return 0;
    enum grpc_encoding encoding = (enum grpc_encoding)(data[0] % 3);
    size_t step = data[1] % 64 + 1u;
    uint64_t a = read_all(data + 2, size - 2, size, encoding, &whole);
    uint64_t b = read_all(data + 2, size - 2, step, encoding, &cut);
    CHECK(a == b && whole == cut);
    return 0;
}
