/* Many gRPC calls at once, over as few HTTP/2 connections as the wanted number of streams on each
 * allows. clients/c/channel makes one call at a time and blocks; here all share one event loop.
 *
 * One thread, the event loop's. A call ends exactly once, through `end`, and never inside
 * grpc_client_send; within its callbacks any other call may be sent or cancelled. Windows are large
 * enough that flow control never slows a server down: what is measured is the server. */
#ifndef MOERING_CLIENTS_BENCH_GRPC_CLIENT_H
#define MOERING_CLIENTS_BENCH_GRPC_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "clients/c/grpc_end.h"

#ifdef __cplusplus
extern "C" {
#endif

struct dial;
struct event_base;
struct grpc_client;
struct grpc_connection;

enum { GRPC_CLIENT_MESSAGE_BYTES_MAX = 64 << 20 };

struct grpc_call {
    const char *path;
    const uint8_t *request; /* one message with its prefix; stays until the end */
    size_t request_bytes;
    /* Each message of the answer, without its prefix. False: cancel; `end` follows. */
    bool (*message)(struct grpc_call *call, const uint8_t *bytes, size_t size, uint64_t now_ns);
    /* status 0: OK. The call is not touched after it. */
    void (*end)(struct grpc_call *call, int status, const char *text);
    void *arg;
    /* private */
    struct grpc_connection *connection;
    struct grpc_call *next, *previous;
    int32_t stream;
    size_t sent_bytes;
    uint8_t *partial;       /* the message under way, its prefix included */
    size_t partial_bytes, partial_room;
    struct grpc_end reported; /* what the stream says of it */
};

struct grpc_client_config {
    struct event_base *base;
    struct dial *dial;
    const char *authority, *key; /* key: NULL or a bearer's */
    bool tls;
    uint32_t streams;            /* on one connection at most, >= 1; the server may allow fewer */
};

/* NULL: out of memory. The strings are copied. */
struct grpc_client *grpc_client_open(const struct grpc_client_config *config);
/* Calls under way end without a word. Accepts NULL. */
void grpc_client_close(struct grpc_client *client);
void grpc_client_send(struct grpc_client *client, struct grpc_call *call);
/* Resets the stream; `end` is not called. */
void grpc_client_cancel(struct grpc_client *client, struct grpc_call *call);

#ifdef __cplusplus
}
#endif
#endif
