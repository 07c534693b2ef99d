/* The server: a listener, its connections, the clock that ticks over them, and the drain. Calls are
 * grpc_call.c's, frames http2.c's.
 *
 * A connection leaves the list in connection_closed, which http2 calls at the top of an event
 * callback; the loops here remember the next one before they touch one. */
#include "server/grpc/grpc.h"

#include <event2/bufferevent.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "memory/base/check.h"
#include "memory/base/clock.h"
#include "memory/base/log.h"
#include "server/grpc/grpc_call.h"
#include "server/grpc/http2.h"
#include "server/net/listener.h"

enum { TICK_MS = 200 };

struct connection {
    struct grpc_server *server;
    struct http2_connection *http2;
    struct listener_peer peer;
    TAILQ_ENTRY(connection) in_server;
};

struct grpc_server {
    struct grpc_calls calls;
    struct http2 *http2;
    struct listener *listener;
    struct event *tick;
    struct event *drained_event; /* tells from the loop, so that the server may be closed there */
    uint16_t port;
    uint32_t connection_count;
    bool draining;
    void (*drained)(void *arg);
    void *drained_arg;
    TAILQ_HEAD(, connection) connections;
};

/* ---- statuses and defaults ---- */

enum grpc_status grpc_status_of(enum status status)
{
    switch (status) {
    case STATUS_OK:
        return GRPC_OK;
    case STATUS_INVALID:
        return GRPC_INVALID_ARGUMENT;
    case STATUS_NOT_FOUND:
        return GRPC_NOT_FOUND;
    case STATUS_UNSUPPORTED:
        return GRPC_UNIMPLEMENTED;
    case STATUS_NO_MEMORY:
    case STATUS_FULL:
        return GRPC_RESOURCE_EXHAUSTED;
    case STATUS_CANCELLED:
        return GRPC_CANCELLED;
    case STATUS_DEADLINE:
        return GRPC_DEADLINE_EXCEEDED;
    case STATUS_UNAVAILABLE:
        return GRPC_UNAVAILABLE;
    case STATUS_IO:
    case STATUS_INTERNAL:
        return GRPC_INTERNAL;
    }
    return GRPC_UNKNOWN;
}

void grpc_limits_init(struct grpc_limits *limits)
{
    *limits = (struct grpc_limits){
        .message_bytes_max = 4 << 20,
        .header_bytes_max = 16 << 10,
        .output_bytes_high = 256 << 10,
        .input_bytes_max = (size_t)512 << 20,
        .concurrent_streams_max = 2048,
        .connections_max = 4096,
        .connections_per_ip_max = 4096, /* behind a proxy or on one machine all share an address */
        .idle_timeout_s = 0,
        .keepalive_time_s = 2 * 60 * 60,
        .keepalive_timeout_s = 20,
        .ping_min_interval_ms = 250,
        .ping_strikes_max = 20,
        .connection_age_max_s = 0,
        .connection_grace_s = 60,
    };
}

/* ---- the drain ---- */

static void on_drained_event(evutil_socket_t fd, short what, void *arg)
{
    struct grpc_server *server = arg;
    (void)fd, (void)what;
    void (*drained)(void *) = server->drained;
    void *drained_arg = server->drained_arg;
    server->drained = NULL;
    if (drained)
        drained(drained_arg); /* may close the server */
}

static void drain_check(struct grpc_server *server)
{
    struct connection *connection;
    if (!server->draining || !server->drained)
        return;
    TAILQ_FOREACH(connection, &server->connections, in_server)
        if (!http2_connection_quiet(connection->http2))
            return;
    event_active(server->drained_event, EV_TIMEOUT, 0);
}

void grpc_server_drain(struct grpc_server *server, void (*drained)(void *arg), void *arg)
{
    struct connection *connection;
    if (server->draining)
        return;
    server->draining = true;
    server->drained = drained;
    server->drained_arg = arg;
    listener_close(server->listener);
    server->listener = NULL;
    TAILQ_FOREACH(connection, &server->connections, in_server)
        http2_connection_drain(connection->http2);
    drain_check(server);
}

/* ---- connections ---- */

static void *on_begin(void *connection_user, struct http2_stream *stream)
{
    struct connection *connection = connection_user;
    return grpc_call_begin(&connection->server->calls, stream, connection->peer.name);
}

static void on_connection_closed(void *connection_user, const char *reason)
{
    struct connection *connection = connection_user;
    struct grpc_server *server = connection->server;
    log_debug("grpc: %s: %s", connection->peer.name, reason);
    TAILQ_REMOVE(&server->connections, connection, in_server);
    server->connection_count--;
    free(connection);
    drain_check(server);
}

static const struct http2_handler handler = {
    .begin = on_begin,
    .field = grpc_call_on_field,
    .headers = grpc_call_on_headers,
    .data = grpc_call_on_data,
    .end = grpc_call_on_end,
    .writable = grpc_call_on_writable,
    .closed = grpc_call_on_closed,
    .connection_closed = on_connection_closed,
};

static bool connection_allowed(const struct grpc_server *server, const struct listener_peer *peer)
{
    const struct grpc_limits *limits = &server->calls.limits;
    const struct connection *connection;
    uint32_t same_ip = 0;
    if (server->connection_count >= limits->connections_max)
        return false;
    if (limits->connections_per_ip_max >= limits->connections_max)
        return true;
    TAILQ_FOREACH(connection, &server->connections, in_server)
        same_ip += memcmp(connection->peer.ip, peer->ip, sizeof peer->ip) == 0;
    return same_ip < limits->connections_per_ip_max;
}

static void on_accept(void *arg, struct bufferevent *bev, const struct listener_peer *peer)
{
    struct grpc_server *server = arg;
    struct connection *connection = NULL;
    if (connection_allowed(server, peer))
        connection = calloc(1, sizeof *connection);
    if (!connection) {
        log_debug("grpc: %s refused: %u connections are open", peer->name,
                  server->connection_count);
        bufferevent_free(bev);
        return;
    }
    connection->server = server;
    connection->peer = *peer;
    if (http2_connection_open(&connection->http2, server->http2, bev, connection) != STATUS_OK) {
        free(connection);
        return;
    }
    TAILQ_INSERT_TAIL(&server->connections, connection, in_server);
    server->connection_count++;
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    struct grpc_server *server = arg;
    uint64_t now_ns = clock_now_ns();
    (void)fd, (void)what;
    if (server->listener)
        listener_resume(server->listener);
    struct connection *next;
    for (struct connection *c = TAILQ_FIRST(&server->connections); c; c = next) {
        next = TAILQ_NEXT(c, in_server);
        http2_connection_tick(c->http2, now_ns);
    }
    drain_check(server);
}

/* ---- the server ---- */

static enum status http2_start(struct grpc_server *server)
{
    const struct grpc_limits *limits = &server->calls.limits;
    struct http2_limits http2_limits = {
        .header_bytes_max = limits->header_bytes_max,
        .concurrent_streams_max = limits->concurrent_streams_max,
        .idle_timeout_s = limits->idle_timeout_s,
        .keepalive_time_s = limits->keepalive_time_s,
        .keepalive_timeout_s = limits->keepalive_timeout_s,
        .ping_min_interval_ms = limits->ping_min_interval_ms,
        .ping_strikes_max = limits->ping_strikes_max,
        .connection_age_max_s = limits->connection_age_max_s,
        .connection_grace_s = limits->connection_grace_s,
    };
    return http2_open(&server->http2, server->calls.base, &handler, &http2_limits);
}

static enum status clock_start(struct grpc_server *server)
{
    struct event_base *base = server->calls.base;
    struct timeval period = {.tv_usec = TICK_MS * 1000};
    server->tick = event_new(base, -1, EV_PERSIST, on_tick, server);
    server->drained_event = event_new(base, -1, 0, on_drained_event, server);
    if (!server->tick || !server->drained_event || event_add(server->tick, &period) != 0)
        return STATUS_NO_MEMORY;
    return STATUS_OK;
}

enum status grpc_server_open(struct grpc_server **out, const struct grpc_server_config *config,
                             const struct grpc_method *methods, size_t method_count,
                             struct error *error)
{
    *out = NULL;
    struct grpc_server *server = calloc(1, sizeof *server);
    if (!server)
        return error_set(error, STATUS_NO_MEMORY, "no memory for the gRPC server");
    TAILQ_INIT(&server->connections);
    enum status status = grpc_calls_open(&server->calls, config->base, &config->limits, methods,
                                         method_count, error);
    if (status != STATUS_OK)
        goto fail;
    server->calls.keys = config->keys;
    status = http2_start(server);
    if (status == STATUS_OK)
        status = clock_start(server);
    if (status != STATUS_OK) {
        (void)error_set(error, status, "no memory for the gRPC server");
        goto fail;
    }
    status = listener_open(&server->listener, config->base, config->host, config->port, on_accept,
                           server, error);
    if (status != STATUS_OK)
        goto fail;
    if (config->tls)
        listener_set_tls(server->listener, config->tls, TLS_HTTP2);
    server->port = listener_port(server->listener);
    *out = server;
    return STATUS_OK;
fail:
    grpc_server_close(server);
    return status;
}

void grpc_server_close(struct grpc_server *server)
{
    struct connection *connection;
    if (!server)
        return;
    server->drained = NULL;
    listener_close(server->listener);
    while ((connection = TAILQ_FIRST(&server->connections)))
        http2_connection_close(connection->http2, "the server closes");
    if (server->tick)
        event_free(server->tick);
    if (server->drained_event)
        event_free(server->drained_event);
    http2_close(server->http2);
    grpc_calls_close(&server->calls);
    free(server);
}

uint16_t grpc_server_port(const struct grpc_server *server)
{
    return server->port;
}

uint32_t grpc_server_calls(const struct grpc_server *server)
{
    return server->calls.count;
}

uint32_t grpc_server_connections(const struct grpc_server *server)
{
    return server->connection_count;
}

struct grpc_call *grpc_server_find(struct grpc_server *server, uint64_t call_id)
{
    return grpc_calls_find(&server->calls, call_id);
}
