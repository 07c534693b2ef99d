/* The server: routes, a listener, its connections, the drain. What one client does is
 * http_connection.c's, what becomes of a request http_exchange.c's.
 *
 * A connection leaves the list at the top of an event callback or in the tick; the loops here
 * remember the next one before they touch one. */
#include <event2/bufferevent.h>
#include <stdlib.h>
#include <string.h>

#include "memory/base/check.h"
#include "memory/base/log.h"
#include "server/http/http_connection.h"

void http_limits_init(struct http_limits *limits)
{
    *limits = (struct http_limits){
        .header_bytes = 16 << 10,
        .body_bytes = 32 << 20,
        .input_bytes = (uint64_t)512 << 20,
        .output_bytes_high = 256 << 10,
        .connections = 4096,
        .connections_per_ip = 0, /* behind a proxy or on one machine all share an address */
        .idle_timeout_s = 75,    /* longer than the 60 s after which proxies give up a connection */
        .write_timeout_s = 30,
    };
}

/* ---- routes ---- */

static bool route_has_star(const struct http_route *route)
{
    size_t bytes = strlen(route->path);
    return bytes > 0 && route->path[bytes - 1] == '*';
}

static bool route_is_for(const struct http_route *route, const char *path)
{
    size_t bytes = strlen(route->path);
    return route_has_star(route) ? strncmp(route->path, path, bytes - 1) == 0
                                 : strcmp(route->path, path) == 0;
}

/* Of two routes for one path: the exact one, then the longer. */
static bool route_is_better(const struct http_route *a, const struct http_route *b)
{
    if (!b || !route_has_star(a) || !route_has_star(b))
        return !b || !route_has_star(a);
    return strlen(a->path) > strlen(b->path);
}

const struct http_route *http_server_route(const struct http_server *server, const char *method,
                                           const char *path, const char **allow)
{
    const struct http_route *best = NULL;
    const char *wanted = strcmp(method, "HEAD") == 0 ? "GET" : method;
    bool get = false, post = false;
    for (uint32_t i = 0; i < server->route_count; i++) {
        const struct http_route *route = &server->routes[i];
        if (!route_is_for(route, path))
            continue;
        get = get || strcmp(route->method, "GET") == 0;
        post = post || strcmp(route->method, "POST") == 0;
        if (strcmp(route->method, wanted) == 0 && route_is_better(route, best))
            best = route;
    }
    *allow = get && post ? "GET, HEAD, POST" : get ? "GET, HEAD" : post ? "POST" : NULL;
    return best;
}

static enum status routes_copy(struct http_server *server, const struct http_route *routes,
                               uint32_t count)
{
    server->routes = calloc(count + 1, sizeof *routes);
    if (!server->routes)
        return STATUS_NO_MEMORY;
    for (uint32_t i = 0; i < count; i++) {
        const struct http_route *route = &routes[i];
        CHECK_MSG(strcmp(route->method, "GET") == 0 || strcmp(route->method, "POST") == 0,
                  "%s %s: only GET and POST are routed", route->method, route->path);
        CHECK_MSG(route->handle, "%s %s has no handler", route->method, route->path);
        server->routes[i] = *route;
    }
    server->route_count = count;
    return STATUS_OK;
}

/* ---- connections ---- */

static bool connection_allowed(const struct http_server *server, const struct listener_peer *peer)
{
    const struct http_limits *limits = &server->limits;
    const struct http_connection *connection;
    uint32_t same_ip = 0;
    if (limits->connections && server->connection_count >= limits->connections)
        return false;
    if (!limits->connections_per_ip ||
        (limits->connections && limits->connections_per_ip >= limits->connections))
        return true;
    TAILQ_FOREACH(connection, &server->connections, in_server)
        same_ip += memcmp(connection->peer.ip, peer->ip, sizeof peer->ip) == 0;
    return same_ip < limits->connections_per_ip;
}

static void on_accept(void *arg, struct bufferevent *bev, const struct listener_peer *peer)
{
    struct http_server *server = arg;
    if (!connection_allowed(server, peer)) {
        log_debug("http: %s refused: %u connections are open", peer->name,
                  server->connection_count);
        bufferevent_free(bev);
        return;
    }
    (void)http_connection_open(server, bev, peer);
}

void http_server_tick(struct http_server *server, uint64_t now_ns)
{
    struct http_connection *next;
    if (server->listener)
        listener_resume(server->listener);
    for (struct http_connection *c = TAILQ_FIRST(&server->connections); c; c = next) {
        next = TAILQ_NEXT(c, in_server);
        http_connection_tick(c, now_ns);
    }
}

/* ---- the drain ---- */

static void on_drained(evutil_socket_t fd, short what, void *arg)
{
    struct http_server *server = arg;
    void (*drained)(void *) = server->drained;
    void *drained_arg = server->drained_arg;
    (void)fd, (void)what;
    server->drained = NULL;
    if (drained)
        drained(drained_arg); /* may close the server */
}

void http_server_check_drained(struct http_server *server)
{
    const struct http_connection *connection;
    if (!server->draining || !server->drained)
        return;
    TAILQ_FOREACH(connection, &server->connections, in_server)
        if (!http_connection_quiet(connection))
            return;
    event_active(server->drained_event, EV_TIMEOUT, 0);
}

void http_server_drain(struct http_server *server, void (*drained)(void *arg), void *arg)
{
    struct http_connection *connection;
    if (server->draining)
        return;
    server->draining = true;
    server->drained = drained;
    server->drained_arg = arg;
    listener_close(server->listener);
    server->listener = NULL;
    TAILQ_FOREACH(connection, &server->connections, in_server)
        http_connection_drain(connection);
    http_server_check_drained(server);
}

/* ---- the server ---- */

enum status http_server_open(struct http_server **out, const struct http_server_config *config,
                             const struct http_route *routes, uint32_t count, struct error *error)
{
    *out = NULL;
    enum status status = STATUS_NO_MEMORY;
    struct http_server *server = calloc(1, sizeof *server);
    if (!server)
        return error_set(error, status, "no memory for the HTTP server");
    TAILQ_INIT(&server->connections);
    server->base = config->base;
    server->limits = config->limits;
    server->keys = config->keys;
    server->drained_event = event_new(server->base, -1, 0, on_drained, server);
    if (!server->drained_event || routes_copy(server, routes, count) != STATUS_OK) {
        (void)error_set(error, status, "no memory for the HTTP server");
        goto fail;
    }
    status = listener_open(&server->listener, config->base, config->host, config->port, on_accept,
                           server, error);
    if (status != STATUS_OK)
        goto fail;
    if (config->tls)
        listener_set_tls(server->listener, config->tls, TLS_HTTP1);
    server->port = listener_port(server->listener);
    *out = server;
    return STATUS_OK;
fail:
    http_server_close(server);
    return status;
}

void http_server_close(struct http_server *server)
{
    struct http_connection *connection;
    if (!server)
        return;
    server->drained = NULL;
    listener_close(server->listener);
    while ((connection = TAILQ_FIRST(&server->connections)))
        http_connection_close(connection, "the server closes");
    if (server->drained_event)
        event_free(server->drained_event);
    free(server->routes);
    free(server);
}

uint16_t http_server_port(const struct http_server *server)
{
    return server->port;
}

struct http_exchange *http_server_find(struct http_server *server, uint64_t id)
{
    struct http_exchange *x;
    LIST_FOREACH(x, &server->buckets[id % HTTP_BUCKETS], in_bucket)
        if (x->id == id)
            return x;
    return NULL;
}

uint32_t http_server_open_exchanges(const struct http_server *server)
{
    return server->exchange_count;
}
