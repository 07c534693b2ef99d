/* Many HTTP/1.1 exchanges at once, each on a connection of its own; connections are kept and used
 * again.
 *
 * One thread, the event loop's. An exchange ends exactly once, through `end`, and never inside
 * http_client_send; within its callbacks any other call may be sent or cancelled. A kept connection
 * may have been closed by the server at the moment it is used: such an exchange is tried once more
 * on a new one. */
#ifndef MOERING_CLIENTS_BENCH_HTTP_CLIENT_H
#define MOERING_CLIENTS_BENCH_HTTP_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct dial;
struct event_base;
struct http_client;
struct http_connection;

struct http_call {
    const char *method, *path;
    const char *body;   /* stays until the end; NULL: none */
    size_t body_bytes;
    /* A piece of the answer's body; `status` is known. False: no more of it; `end` comes with no
     * error. */
    bool (*piece)(struct http_call *call, const uint8_t *bytes, size_t size, uint64_t now_ns);
    /* NULL: the answer is whole. The call is not touched after it. */
    void (*end)(struct http_call *call, const char *error);
    void *arg;
    int status;
    /* private */
    struct http_connection *connection;
    struct http_call *next;
    bool tried_again;
};

struct http_client_config {
    struct event_base *base;
    struct dial *dial;
    const char *authority, *key; /* key: NULL or a bearer's */
};

/* NULL: out of memory. The strings are copied. */
struct http_client *http_client_open(const struct http_client_config *config);
/* Exchanges under way end without a word. Accepts NULL. */
void http_client_close(struct http_client *client);
void http_client_send(struct http_client *client, struct http_call *call);
/* Ends an exchange without calling `end`. */
void http_client_cancel(struct http_client *client, struct http_call *call);

#ifdef __cplusplus
}
#endif
#endif
