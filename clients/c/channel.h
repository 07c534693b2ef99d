/* A small synchronous gRPC client: one connection, one call at a time, unary or server-streaming.
 * HTTP/2 on nghttp2 and a socket: plaintext with prior knowledge, or TLS (transport.h).
 *
 *     const struct channel_config config = {.address = "127.0.0.1:8001", .timeout_ms = 5000};
 *     struct channel *c;
 *     if (!channel_open(&c, &config, &result)) ...
 *     channel_run(c, &(struct channel_call){.path = "/pkg.Service/Method", ...}, &result);
 *
 * One thread. Messages are handed over as they come; while the callback runs nothing is read, so
 * a slow reader slows the server down instead of filling memory. */
#ifndef MOERING_CLIENTS_C_CHANNEL_H
#define MOERING_CLIENTS_C_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "clients/c/channel_result.h"

#ifdef __cplusplus
extern "C" {
#endif

struct channel;

enum { CHANNEL_MESSAGE_BYTES_MAX = 64 << 20 };

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

/* Texts need not outlive channel_open. */
struct channel_config {
    const char *address;  /* HOST:PORT */
    uint64_t timeout_ms;  /* for connecting and the TLS handshake */
    bool tls;
    const char *ca_file;  /* PEM, with tls: whom to trust; NULL: as the system says */
    bool insecure;        /* with tls: whoever answers is believed */
    const char *api_key;  /* sent with every call as "authorization: Bearer KEY"; NULL: none */
};

/* Connects. False: *result says why: UNAVAILABLE; INVALID_ARGUMENT where no attempt would help
 * (address, key, CA file). */
bool channel_open(struct channel **out, const struct channel_config *config,
                  struct channel_result *result);
void channel_close(struct channel *channel); /* accepts NULL */
/* Runs one call to its end. After UNAVAILABLE the connection may be gone: open another channel. */
void channel_run(struct channel *channel, const struct channel_call *call,
                  struct channel_result *result);

#ifdef __cplusplus
}
#endif
#endif
