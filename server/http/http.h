/* HTTP/1.1: routes, replies, event streams, limits, keys. Knows no model: handlers are given to it
 * in a table, as grpc.h does for gRPC.
 *
 * Everything here runs on the front thread. An exchange (one request and its answer) is named by a
 * 64-bit id that is never used again, so that news for a client which has gone finds nothing.
 *
 *     headers, body read ──► route found, key checked ──► handle(x)
 *                                                            ├ http_reply: the whole answer
 *                                                            └ http_stream_begin, _write..., _end
 *     the client goes at any moment before the end ──► closed(x), once; the exchange is then gone
 *
 * A client that goes while its answer is awaited is noticed at once; requests sent ahead are
 * answered in order; headers, bodies, time to send and time to take are bounded; requests that
 * two parsers could read differently are refused. Nothing a client sends ends the process.
 * README.md says why this is no evhttp. */
#ifndef MOERING_SERVER_HTTP_HTTP_H
#define MOERING_SERVER_HTTP_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "memory/base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

struct event_base;
struct http_exchange;
struct http_server;
struct tls; /* server/net/tls.h */

struct http_route {
    const char *method;  /* "GET" (HEAD is answered by it, too), "POST" */
    const char *path;    /* exact; one that ends in a slash and a star, as "/v1/models/" and "*":
                            whatever begins so, see http_rest */
    bool is_public;      /* answered without a key */
    void (*handle)(struct http_exchange *x);
    void (*writable)(struct http_exchange *x); /* after http_stream_write said FULL: write on; may
                                                  be NULL */
    void (*closed)(struct http_exchange *x);   /* its client has gone before the end: no answer any
                                                  more; may be NULL */
    void *context;       /* http_context */
};

struct http_limits {
    uint32_t header_bytes;      /* of request line and headers; beyond: 431 */
    uint64_t body_bytes;        /* beyond: 413, before memory is taken */
    uint64_t input_bytes;       /* held for the bodies of all exchanges together; beyond: 503;
                                   0: no limit */
    uint64_t output_bytes_high; /* unsent bytes of one stream above which a write says FULL;
                                   `writable` comes at half of it */
    uint32_t connections, connections_per_ip; /* 0: no limit */
    uint32_t idle_timeout_s;    /* between requests, and for the whole of one request to arrive;
                                   0: for ever */
    uint32_t write_timeout_s;   /* in which a client must take something; 0: for ever */
};
void http_limits_init(struct http_limits *limits);

struct api_keys; /* server/net/api_keys.h: who may come in */

struct http_server_config {
    struct event_base *base;
    const char *host;
    uint16_t port;              /* 0: any free one */
    struct http_limits limits;
    const struct api_keys *keys; /* NULL: everybody */
    struct tls *tls;            /* NULL: plain */
};

/* Listens at once. `routes` are copied. INVALID, IO: the address; NO_MEMORY. */
enum status http_server_open(struct http_server **out, const struct http_server_config *config,
                             const struct http_route *routes, uint32_t count, struct error *error);
uint16_t http_server_port(const struct http_server *server);
struct http_exchange *http_server_find(struct http_server *server, uint64_t id); /* NULL: gone */
uint32_t http_server_open_exchanges(const struct http_server *server);
/* Several times a second: timeouts, and listening again after descriptors ran out. Not from a
 * handler. */
void http_server_tick(struct http_server *server, uint64_t now_ns);
/* No new connection; what is open says "Connection: close" and is closed after its answer.
 * `drained` is called once, when the last answer has been sent (at once if there is none, but
 * not from inside). */
void http_server_drain(struct http_server *server, void (*drained)(void *arg), void *arg);
/* Drops what is open: `closed` is called for each. Not from a handler. Accepts NULL. */
void http_server_close(struct http_server *server);

/* ---- the request ---- */

uint64_t http_id(const struct http_exchange *x);
void *http_context(const struct http_exchange *x); /* of its route */
void *http_user(const struct http_exchange *x);    /* NULL until set */
void http_set_user(struct http_exchange *x, void *user);
const char *http_path(const struct http_exchange *x);
const char *http_rest(const struct http_exchange *x); /* of a route with a star: what the star
                                                         stands for, percent-decoded */
const char *http_header(const struct http_exchange *x, const char *name);  /* NULL: absent */
const char *http_query(const struct http_exchange *x, const char *name);   /* decoded; or NULL */
const char *http_peer(const struct http_exchange *x);                      /* "127.0.0.1:41234" */
/* The whole body, contiguous, until the exchange ends. */
const uint8_t *http_body(struct http_exchange *x, size_t *bytes);

/* ---- the answer ---- */

/* Before the answer begins. The value is copied; one with CR or LF is a caller's bug (CHECKed). */
void http_set_header(struct http_exchange *x, const char *name, const char *value);
/* The whole answer; ends the exchange. X-Request-Id is echoed by itself. */
void http_reply(struct http_exchange *x, int code, const char *content_type, const void *bytes,
                size_t size);
/* {"error":{"message","type","param","code"}} of the table in http_error.h, with Retry-After
 * where the table has it; ends the exchange. `param` may be NULL. */
struct http_failure;
void http_fail(struct http_exchange *x, const struct http_failure *failure);

/* Chunked, unbuffered (X-Accel-Buffering: no, Cache-Control: no-cache), 200. */
void http_stream_begin(struct http_exchange *x, const char *content_type);
/* Sends a piece at once. FULL: it was taken, but the client does not keep up: write on after
 * `writable`. NO_MEMORY: lost; end the stream. */
enum status http_stream_write(struct http_exchange *x, const void *bytes, size_t size);
void http_stream_end(struct http_exchange *x); /* ends the exchange */
/* Cuts the connection in the middle of a stream; `closed` is not called. */
void http_abort(struct http_exchange *x);
bool http_stream_begun(const struct http_exchange *x);

#ifdef __cplusplus
}
#endif
#endif
