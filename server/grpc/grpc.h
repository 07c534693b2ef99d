/* gRPC over HTTP/2: calls, messages, statuses. Knows no service: rpc handlers are given to it in a
 * table, and the test suite hosts grpc.testing.TestService on the very same code.
 *
 * Everything here runs on the front thread (the one that runs the event base). Other threads reach
 * it only through the event queue. A call is named by a 64-bit id that is never used again, so that
 * an answer for a call which has gone finds nothing instead of something else.
 *
 * Follows the 16 points of the gRPC wire protocol that README.md lists. nghttp2 is seen by
 * http2*.c alone, zlib by grpc_message.c alone. */
#ifndef MOERING_SERVER_GRPC_GRPC_H
#define MOERING_SERVER_GRPC_GRPC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "memory/base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

struct event_base;
struct api_keys; /* server/net/api_keys.h */
struct tls;       /* server/net/tls.h */

/* google.rpc.Code */
enum grpc_status {
    GRPC_OK = 0,
    GRPC_CANCELLED = 1,
    GRPC_UNKNOWN = 2,
    GRPC_INVALID_ARGUMENT = 3,
    GRPC_DEADLINE_EXCEEDED = 4,
    GRPC_NOT_FOUND = 5,
    GRPC_ALREADY_EXISTS = 6,
    GRPC_PERMISSION_DENIED = 7,
    GRPC_RESOURCE_EXHAUSTED = 8,
    GRPC_FAILED_PRECONDITION = 9,
    GRPC_ABORTED = 10,
    GRPC_OUT_OF_RANGE = 11,
    GRPC_UNIMPLEMENTED = 12,
    GRPC_INTERNAL = 13,
    GRPC_UNAVAILABLE = 14,
    GRPC_DATA_LOSS = 15,
    GRPC_UNAUTHENTICATED = 16,
};
enum grpc_status grpc_status_of(enum status status);

struct grpc_server;
struct grpc_call;

/* What a service does about one method. All callbacks run on the front thread and never block.
 * `user` of a call is the handler's own; grpc_call_set_user stores it. After `closed` the call
 * pointer is dead. */
struct grpc_method {
    const char *path; /* "/moering.v1.Moering/Generate" */
    bool client_streaming;
    bool server_streaming;
    bool is_public; /* called without a key */
    void *context; /* given back by grpc_call_context */
    /* Headers are in. May be NULL. May finish the call at once. */
    void (*open)(struct grpc_call *call);
    /* One whole message, decompressed. The bytes are valid during the callback only. Unary methods
     * get exactly one (the layer answers zero or several with the status gRPC asks for). */
    void (*message)(struct grpc_call *call, const uint8_t *bytes, size_t size);
    /* The client has sent its last message. NULL for unary requests. */
    void (*half_close)(struct grpc_call *call);
    /* There is room again after grpc_call_send answered FULL. May be NULL. */
    void (*writable)(struct grpc_call *call);
    /* The call is over, once per call that was opened; never from inside grpc_call_finish or
     * grpc_call_send. For a call that the handler finished it comes when the client has been sent
     * everything; when the layer ends a call (deadline, a broken message) it comes at once.
     * `status` is what the client got or would have got: CANCELLED when it reset the stream or the
     * connection was lost, DEADLINE_EXCEEDED when grpc-timeout ran out; otherwise the handler's
     * own. Release `user` here. May be NULL. */
    void (*closed)(struct grpc_call *call, enum grpc_status status);
};

struct grpc_limits {
    size_t message_bytes_max;        /* 4 MiB: longer is RESOURCE_EXHAUSTED before allocating */
    size_t header_bytes_max;         /* 16 KiB */
    size_t output_bytes_high;        /* 256 KiB unsent in a call: grpc_call_send says FULL */
    size_t input_bytes_max;          /* 512 MiB in unfinished messages of all calls together */
    uint32_t concurrent_streams_max; /* per connection */
    uint32_t connections_max;
    uint32_t connections_per_ip_max;
    uint32_t idle_timeout_s;         /* without streams for so long: GOAWAY; 0 never */
    uint32_t keepalive_time_s;       /* server PING after so long without a frame; default 2 h */
    uint32_t keepalive_timeout_s;    /* 20 */
    uint32_t ping_min_interval_ms;   /* client PINGs closer than this are strikes */
    uint32_t ping_strikes_max;       /* then GOAWAY(ENHANCE_YOUR_CALM) "too_many_pings" */
    uint32_t connection_age_max_s;   /* 0: never; then GOAWAY and a grace period */
    uint32_t connection_grace_s;
};
void grpc_limits_init(struct grpc_limits *limits); /* the defaults */

struct grpc_server_config {
    struct event_base *base; /* borrowed */
    const char *host;        /* "127.0.0.1", "::1", "0.0.0.0" */
    uint16_t port;           /* 0: any free one, see grpc_server_port */
    struct grpc_limits limits;
    struct tls *tls;         /* NULL: plain; else HTTP/2 must be agreed on by ALPN */
    /* Who may call what is not public: the rest gets UNAUTHENTICATED. NULL: everybody. Keys come
     * as metadata, `authorization` or `x-api-key`. */
    const struct api_keys *keys;
};

/* Listens at once. `methods` is copied (paths and contexts are borrowed).
 * INVALID: host; IO: cannot bind; the error says which address and why. */
enum status grpc_server_open(struct grpc_server **out, const struct grpc_server_config *config,
                             const struct grpc_method *methods, size_t method_count,
                             struct error *error);
uint16_t grpc_server_port(const struct grpc_server *server);
uint32_t grpc_server_calls(const struct grpc_server *server);       /* open calls */
uint32_t grpc_server_connections(const struct grpc_server *server);
/* Graceful: stops listening, sends GOAWAY(2^31-1), later GOAWAY(last id); open streams finish.
 * `drained` is called once, from the event loop, when no connection has a stream left or a byte to
 * send; grpc_server_close may be called in it. A client that neither reads nor leaves delays it for
 * ever, so set a timer beside it. End the calls that never end by themselves (health_drain,
 * reflection_drain). */
void grpc_server_drain(struct grpc_server *server, void (*drained)(void *arg), void *arg);
/* Drops what is left. Every open call gets `closed(CANCELLED)`. Not from a method's callback.
 * Accepts NULL. */
void grpc_server_close(struct grpc_server *server);

uint64_t grpc_call_id(const struct grpc_call *call);
/* NULL when the call has gone. */
struct grpc_call *grpc_server_find(struct grpc_server *server, uint64_t call_id);
void *grpc_call_context(const struct grpc_call *call);
void *grpc_call_user(const struct grpc_call *call);
void grpc_call_set_user(struct grpc_call *call, void *user);
/* Absolute, by memory/base/clock.h; 0: none. The layer itself ends the call when it passes. */
uint64_t grpc_call_deadline_ns(const struct grpc_call *call);
const char *grpc_call_peer(const struct grpc_call *call); /* "127.0.0.1:41234" */

/* Request metadata by lower-case name: the i-th value, or NULL. "-bin" values come decoded. */
const char *grpc_call_metadata(const struct grpc_call *call, const char *name, unsigned i,
                               size_t *bytes);
/* In `message`: whether this message came compressed. */
bool grpc_call_message_compressed(const struct grpc_call *call);
/* Response metadata; initial before the first message, trailing before finish. Names ending in
 * "-bin" are base64-encoded on the way out. INVALID: a name or value not allowed, or too late. */
enum status grpc_call_send_metadata(struct grpc_call *call, bool trailing, const char *name,
                                    const void *value, size_t bytes);
/* Sends the initial metadata now instead of with the first message, for calls whose first message
 * may be long in coming. Idempotent. CANCELLED: the call is over. NO_MEMORY: they go with the
 * message. */
enum status grpc_call_send_headers(struct grpc_call *call);
/* Compress the messages of this call with gzip if the client accepts it. The headers promise gzip
 * only if this was asked for before they went out; then it may be switched for each message. A
 * message that gzip would not shrink goes plain. */
void grpc_call_set_compression(struct grpc_call *call, bool gzip);
/* Queues one message (copied). FULL: queued all the same, but more than output_bytes_high is
 * unsent: stop producing until `writable`. CANCELLED: the call is over, nothing was queued; where
 * memory was lacking it has just been reset, so that nobody takes what came for the whole. */
enum status grpc_call_send(struct grpc_call *call, const void *bytes, size_t size);
/* Ends the call with a status after everything queued. `message` may be NULL. Idempotent. */
void grpc_call_finish(struct grpc_call *call, enum grpc_status status, const char *message);

#ifdef __cplusplus
}
#endif
#endif
