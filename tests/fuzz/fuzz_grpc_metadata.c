/* link: server_net */
/* The textual parts of gRPC headers. What must hold: what is decoded encodes to what decodes to the
 * same; lists find what was put in; encoders stay within the room they name. */
#include <stdlib.h>
#include <string.h>

#include "memory/base/check.h"
#include "server/grpc/grpc_metadata.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void base64_round_trip(const char *text, size_t size)
{
    size_t bytes, again_bytes;
    unsigned char *decoded = malloc(size + 1);
    if (grpc_base64_decode(text, size, decoded, &bytes)) {
        CHECK(bytes <= size * 3 / 4);
        char *coded = malloc((bytes * 4 + 2) / 3 + 1);
        unsigned char *again = malloc(bytes + 1);
        size_t coded_bytes = grpc_base64_encode(decoded, bytes, coded);
        CHECK(coded_bytes == (bytes * 4 + 2) / 3);
        CHECK(grpc_base64_decode(coded, coded_bytes, again, &again_bytes));
        CHECK(again_bytes == bytes && memcmp(again, decoded, bytes) == 0);
        free(coded);
        free(again);
    }
    free(decoded);
}

/* The input as a list of "name=value" lines, received and sent. */
static void metadata_lines(const char *text, size_t size)
{
    struct grpc_metadata received = {0}, sent = {0};
    for (size_t at = 0; at < size;) {
        const char *newline = memchr(text + at, '\n', size - at);
        size_t end = newline ? (size_t)(newline - text) : size;
        const char *equals = memchr(text + at, '=', end - at);
        if (equals) {
            size_t name_bytes = (size_t)(equals - text) - at, bytes;
            size_t value_bytes = end - at - name_bytes - 1;
            char *name = strndup(text + at, name_bytes);
            uint32_t before = received.count;
            enum status status = grpc_metadata_receive(&received, name, strlen(name), equals + 1,
                                                       value_bytes);
            CHECK(status != STATUS_OK || received.count > before);
            CHECK(status != STATUS_OK || grpc_metadata_find(&received, name, 0, &bytes));
            (void)grpc_metadata_send(&sent, name, equals + 1, value_bytes);
            free(name);
        }
        at = end + 1;
    }
    for (uint32_t i = 0; i < sent.count; i++) {
        size_t bytes;
        const char *value = grpc_metadata_value(&sent, i, &bytes);
        for (size_t k = 0; k < bytes; k++)
            CHECK(value[k] >= 0x20 && value[k] <= 0x7e);
    }
    grpc_metadata_reset(&received);
    grpc_metadata_reset(&sent);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    uint64_t timeout_ns;
    (void)grpc_timeout_parse(text, size, &timeout_ns);
    (void)grpc_content_type_ok(text, size);
    (void)grpc_list_has(text, size, "gzip");
    char *encoded = malloc(3 * size + 1);
    CHECK(grpc_percent_encode(text, size, encoded) <= 3 * size);
    free(encoded);
    base64_round_trip(text, size);
    metadata_lines(text, size);
    return 0;
}
