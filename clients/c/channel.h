/* A small synchronous gRPC client: one connection, one call at a time, unary or server-streaming.
 * Plaintext HTTP/2 with prior knowledge, on nghttp2 and a socket.
 *
 *     struct channel *c;
 *     if (!channel_open(&c, "127.0.0.1:8001", 5000, &result)) ...
 *     channel_run(c, &(struct channel_call){.path = "/pkg.Service/Method", ...}, &result);
 *
 * One thread. Messages are handed over as they come; while the callback runs nothing is read, so a
 * slow reader slows the server down instead of filling memory. */
#ifndef MOERING_CLIENTS_C_CHANNEL_H
#define MOERING_CLIENTS_C_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct channel;

enum { CHANNEL_MESSAGE_BYTES_MAX = 64 << 20 };

/* How a call ended: a gRPC status (0: OK) and the server's sentence, or ours. */
struct channel_result {
    int status;
    char message[512];
};

struct channel_call {
    const char *path;
    const void *request; /* one message */
    size_t request_bytes;
    uint64_t timeout_ms; /* 0: none; sent as grpc-timeout and kept here too */
    int cancel_fd;       /* the call is cancelled when it becomes readable; -1: never */
    /* Each message of the answer; the bytes are valid during the call only. False: cancel. */
    bool (*message)(void *arg, const uint8_t *bytes, size_t size);
    void *arg;
};

/* Connects to HOST:PORT. False: *result says why (UNAVAILABLE, or INVALID_ARGUMENT). */
bool channel_open(struct channel **out, const char *address, uint64_t timeout_ms,
                  struct channel_result *result);
void channel_close(struct channel *channel); /* accepts NULL */
/* Runs one call to its end. After UNAVAILABLE the connection may be gone: open another channel. */
void channel_run(struct channel *channel, const struct channel_call *call,
                  struct channel_result *result);

#ifdef __cplusplus
}
#endif
#endif
