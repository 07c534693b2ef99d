/* The inside of the transport: what http_server.c (listening, clock, drain), http_connection.c (one
 * client's bytes) and http_exchange.c (one request and its answer) share. Nobody else includes it.
 *
 *   HEAD ──► BODY ──► ANSWER ──► HEAD ...                 one exchange at a time; what a
 *     │        │         │                                client sends ahead waits in the socket
 *     └────────┴─────────┴──► FLUSH ──► LINGER ──► gone   the last answer is out, or going out
 *
 * A connection frees itself at the top of an event callback, in the tick and in http_server_close,
 * nowhere deeper: so a handler may reply, stream, end or abort in any callback. What has to happen
 * after a handler returns is done by an event that is triggered, not by a call.
 *
 * Invariant: connection->exchange is set exactly in BODY (not yet the handler's) and ANSWER; in
 * ANSWER it is in the server's table of ids and `closed` is owed unless it ends before. */
#ifndef MOERING_SERVER_HTTP_HTTP_CONNECTION_H
#define MOERING_SERVER_HTTP_HTTP_CONNECTION_H

#include <event2/event.h>
#include <sys/queue.h>

#include "server/http/http.h"
#include "server/http/http_answer.h"
#include "server/http/http_chunks.h"
#include "server/http/http_error.h"
#include "server/http/http_head.h"
#include "server/http/http_target.h"
#include "server/net/listener.h"

#ifdef __cplusplus
extern "C" {
#endif

struct bufferevent;
struct evbuffer;

enum {
    HTTP_AHEAD_BYTES = 64 << 10,   /* taken from a client that does not wait for its answer */
    HTTP_DISCARD_BYTES = 64 << 10, /* of a refused body, so that its connection can be used again */
    HTTP_BUCKETS = 1024,
};

enum http_state {
    HTTP_HEAD,
    HTTP_BODY,
    HTTP_ANSWER,
    HTTP_FLUSH,  /* nothing more is answered; what is unsent goes */
    HTTP_LINGER, /* our side is shut; waiting for the client's, so that no byte of ours is destroyed
                    by a reset */
    HTTP_CUT,    /* to be freed by the event under way */
};

struct http_connection {
    struct http_server *server;
    struct bufferevent *bev;
    struct listener_peer peer;
    enum http_state state;
    struct http_head_reader reader;
    struct http_exchange *exchange;
    bool eof;          /* the client has shut its side */
    bool moved;        /* output went out since the last tick */
    uint64_t since_ns; /* the state began, or the first byte of a request came */
    uint64_t moved_ns; /* output last went out, or began to wait, as ticks saw it */
    TAILQ_ENTRY(http_connection) in_server;
};

LIST_HEAD(http_exchange_list, http_exchange);

struct http_exchange {
    uint64_t id;
    struct http_connection *connection;
    const struct http_route *route; /* NULL: the request was refused before one was found */
    void *user;
    struct http_head head;
    struct http_target target;
    uint8_t *body;
    size_t body_bytes, body_capacity;
    uint64_t body_left;          /* of Content-Length */
    struct http_chunks chunks;
    struct http_failure refusal; /* said once the body has been thrown away */
    bool refused;
    bool keep_alive;             /* after the answer */
    bool begun;                  /* a stream */
    bool full;                   /* a write said so: `writable` is owed */
    bool broken;                 /* bytes of the answer were lost for want of memory */
    struct evbuffer *headers;    /* lines of the handler's; NULL: none */
    LIST_ENTRY(http_exchange) in_bucket;
};

struct http_server {
    struct event_base *base;
    struct http_limits limits;
    const struct api_keys *keys;
    struct listener *listener;
    struct event *drained_event;
    struct http_route *routes;
    uint32_t route_count;
    uint16_t port;
    uint32_t connection_count, exchange_count;
    uint64_t last_id;
    uint64_t input_bytes; /* held for the bodies of all exchanges */
    bool draining;
    void (*drained)(void *arg);
    void *drained_arg;
    struct http_date date;
    TAILQ_HEAD(, http_connection) connections;
    struct http_exchange_list buckets[HTTP_BUCKETS];
};

/* ---- http_connection.c ---- */

/* Serves one client on `bev`, which it owns, also on failure. NULL: no memory. */
struct http_connection *http_connection_open(struct http_server *server, struct bufferevent *bev,
                                             const struct listener_peer *peer);
/* `closed` for the exchange that is with its handler, then everything is freed. */
void http_connection_close(struct http_connection *connection, const char *reason);
void http_connection_tick(struct http_connection *connection, uint64_t now_ns);
void http_connection_drain(struct http_connection *connection);
/* Its exchange has ended: the next request, or the end. */
void http_connection_next(struct http_connection *connection, bool keep_alive);
/* Drops it as soon as the event under way is over. */
void http_connection_cut(struct http_connection *connection);
struct evbuffer *http_connection_output(const struct http_connection *connection);
/* Nothing more will be answered and nothing is unsent. */
bool http_connection_quiet(const struct http_connection *connection);

/* ---- http_exchange.c ---- */

/* The head has come whole. NULL: no memory. */
struct http_exchange *http_exchange_open(struct http_connection *connection);
/* Frees it without a word to its handler. */
void http_exchange_close(struct http_exchange *x);
/* Reads the head and decides what becomes of the request: refused, or its body awaited. */
void http_exchange_judge(struct http_exchange *x, struct http_head_reader *reader);
/* Takes body bytes; answers by itself what is wrong with them. DONE: all have come. */
enum http_read http_exchange_body(struct http_exchange *x, const uint8_t *bytes, size_t size,
                                  size_t *taken);
/* The request is whole: to its handler, or the refusal is said. */
void http_exchange_dispatch(struct http_exchange *x);
/* Refuses what has gone wrong on the way in: answered at once, and the connection is not used
 * again. */
void http_exchange_refuse(struct http_exchange *x, enum http_problem problem, const char *message);

/* ---- http_server.c ---- */

/* The route for a decoded path, or NULL; *allow gets the methods of the path where only the
 * method is wrong (a literal or NULL). */
const struct http_route *http_server_route(const struct http_server *server, const char *method,
                                           const char *path, const char **allow);
/* Tells `drained` from the loop when nothing is left to answer. */
void http_server_check_drained(struct http_server *server);

#ifdef __cplusplus
}
#endif
#endif
