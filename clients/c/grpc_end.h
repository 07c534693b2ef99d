/* How a gRPC call over HTTP/2 ended, put together from what the stream says: its headers and
 * trailers, and the code that closed it. Pure. */
#ifndef MOERING_CLIENTS_C_GRPC_END_H
#define MOERING_CLIENTS_C_GRPC_END_H

#include <stddef.h>
#include <stdint.h>

#include "clients/c/channel_result.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Zero-initialise it. */
struct grpc_end {
    bool has_status;              /* grpc-status came */
    int http_status;              /* 0: not yet */
    struct channel_result result; /* valid once has_status, or after grpc_end_close */
};

/* One header or trailer of the answer; others than gRPC's are passed over. */
void grpc_end_header(struct grpc_end *end, const uint8_t *name, size_t name_bytes,
                     const uint8_t *value, size_t value_bytes);
/* The stream is closed, with HTTP/2's error code. Without a grpc-status the result becomes what can
 * be said instead, never OK. */
void grpc_end_close(struct grpc_end *end, uint32_t error_code);

#ifdef __cplusplus
}
#endif
#endif
