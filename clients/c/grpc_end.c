#include "clients/c/grpc_end.h"

#include <nghttp2/nghttp2.h>
#include <string.h>

#include "clients/c/grpc_text.h"

/* Up to three digits; -1: anything else. */
static int small_number(const uint8_t *text, size_t bytes)
{
    int n = 0;
    for (size_t i = 0; i < bytes; i++) {
        if (text[i] < '0' || text[i] > '9' || bytes > 3)
            return -1;
        n = 10 * n + (text[i] - '0');
    }
    return bytes ? n : -1;
}

static bool is(const uint8_t *name, size_t bytes, const char *known)
{
    return strlen(known) == bytes && memcmp(name, known, bytes) == 0;
}

void grpc_end_header(struct grpc_end *end, const uint8_t *name, size_t name_bytes,
                     const uint8_t *value, size_t value_bytes)
{
    int number = small_number(value, value_bytes);
    if (is(name, name_bytes, ":status")) {
        end->http_status = number;
    } else if (is(name, name_bytes, "grpc-status")) {
        end->has_status = true;
        end->result.status = number < 0 ? GRPC_UNKNOWN : number;
    } else if (is(name, name_bytes, "grpc-message")) {
        grpc_text_decode_message((const char *)value, value_bytes, end->result.message,
                                 sizeof end->result.message);
    }
}

void grpc_end_close(struct grpc_end *end, uint32_t error_code)
{
    struct channel_result *r = &end->result;
    if (end->has_status)
        return;
    if (end->http_status && end->http_status != 200)
        channel_result_fail(r, GRPC_UNKNOWN, "the server answered HTTP %d", end->http_status);
    else if (error_code == NGHTTP2_REFUSED_STREAM)
        channel_result_fail(r, GRPC_UNAVAILABLE, "the server refuses new calls");
    else if (error_code == NGHTTP2_CANCEL)
        channel_result_fail(r, GRPC_CANCELLED, "the server cancelled the call");
    else
        channel_result_fail(r, GRPC_INTERNAL, "the stream ended without a status (HTTP/2 error %u)",
                            error_code);
}
