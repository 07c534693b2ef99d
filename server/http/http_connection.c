/* One client: bytes of its bufferevent to requests, one after the other, and the end of it all. See
 * http_connection.h for the states and who frees what.
 *
 * Reading never stops while an answer is awaited, so that a client which goes is noticed in that
 * moment, and its request stops costing anything. What it sends ahead waits in the bufferevent's
 * input, HTTP_AHEAD_BYTES and one read of it; beyond that reading pauses and the tick asks the
 * kernel whether it is still there. (A high watermark would not do: libevent calls back for ever
 * while the input is above it.) Requests that were sent ahead are not begun while their client
 * leaves earlier answers unread. */
#include "server/http/http_connection.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "memory/base/clock.h"
#include "memory/base/log.h"
#include "server/net/tls.h"

enum { LINGER_MS = 2000 };

static void state_set(struct http_connection *connection, enum http_state state)
{
    connection->state = state;
    connection->since_ns = clock_now_ns();
}

struct evbuffer *http_connection_output(const struct http_connection *connection)
{
    return bufferevent_get_output(connection->bev);
}

static size_t unsent_bytes(const struct http_connection *connection)
{
    return evbuffer_get_length(http_connection_output(connection));
}

bool http_connection_quiet(const struct http_connection *connection)
{
    return connection->state == HTTP_LINGER;
}

/* ---- the end ---- */

void http_connection_close(struct http_connection *connection, const char *reason)
{
    struct http_server *server = connection->server;
    struct http_exchange *x = connection->exchange;
    bool handed = connection->state == HTTP_ANSWER;
    log_debug("http: %s: %s", connection->peer.name, reason);
    connection->state = HTTP_CUT; /* a handler that answers in `closed` is caught */
    if (x && handed) {
        LIST_REMOVE(x, in_bucket);
        server->exchange_count--;
        if (x->route->closed)
            x->route->closed(x);
    }
    if (x)
        http_exchange_close(x);
    TAILQ_REMOVE(&server->connections, connection, in_server);
    server->connection_count--;
    http_head_reader_reset(&connection->reader);
    bufferevent_free(connection->bev);
    free(connection);
    http_server_check_drained(server);
}

static void flush_begin(struct http_connection *connection)
{
    state_set(connection, HTTP_FLUSH);
    if (!connection->eof)
        (void)bufferevent_enable(connection->bev, EV_READ);
    bufferevent_trigger(connection->bev, EV_WRITE,
                        BEV_TRIG_IGNORE_WATERMARKS | BEV_TRIG_DEFER_CALLBACKS);
}

/* All is sent. May free the connection. */
static void linger_begin(struct http_connection *connection)
{
    if (connection->eof) {
        http_connection_close(connection, "finished");
        return;
    }
    state_set(connection, HTTP_LINGER);
    tls_shutdown(connection->bev);
    (void)shutdown(bufferevent_getfd(connection->bev), SHUT_WR);
    http_server_check_drained(connection->server);
}

void http_connection_cut(struct http_connection *connection)
{
    /* A reset, not an orderly end: in HTTP/1.0 nothing else tells a cut answer from a whole one. */
    struct linger reset = {.l_onoff = 1};
    (void)setsockopt(bufferevent_getfd(connection->bev), SOL_SOCKET, SO_LINGER, &reset,
                     sizeof reset);
    (void)bufferevent_disable(connection->bev, EV_READ | EV_WRITE);
    connection->state = HTTP_CUT;
    bufferevent_trigger(connection->bev, EV_WRITE,
                        BEV_TRIG_IGNORE_WATERMARKS | BEV_TRIG_DEFER_CALLBACKS);
}

void http_connection_next(struct http_connection *connection, bool keep_alive)
{
    if (connection->state == HTTP_CUT)
        return;
    if (!keep_alive || connection->server->draining) {
        flush_begin(connection);
        return;
    }
    state_set(connection, HTTP_HEAD);
    if (evbuffer_get_length(bufferevent_get_input(connection->bev)) > 0)
        bufferevent_trigger(connection->bev, EV_READ, BEV_TRIG_DEFER_CALLBACKS);
}

void http_connection_drain(struct http_connection *connection)
{
    if (connection->state == HTTP_HEAD && !http_head_begun(&connection->reader))
        flush_begin(connection);
}

/* ---- bytes in ---- */

/* The head that has come, or cannot be read, becomes an exchange. */
static void head_end(struct http_connection *connection, enum http_read read)
{
    struct http_exchange *x = http_exchange_open(connection);
    if (!x) {
        http_connection_cut(connection);
        return;
    }
    connection->exchange = x;
    connection->state = HTTP_BODY; /* its time has begun with the head's first byte */
    if (read == HTTP_READ_DONE)
        http_exchange_judge(x, &connection->reader);
    else if (read == HTTP_READ_TOO_LARGE)
        http_exchange_refuse(x, HTTP_HEADERS_TOO_LARGE, "the request's headers are too long");
    else if (read == HTTP_READ_BAD)
        http_exchange_refuse(x, HTTP_BAD_VALUE, "this is not an HTTP/1.1 request");
    else
        http_exchange_refuse(x, HTTP_UNAVAILABLE, "no memory for the request");
}

static size_t head_take(struct http_connection *connection, const uint8_t *bytes, size_t size)
{
    size_t taken;
    bool begun = http_head_begun(&connection->reader);
    enum http_read read = http_head_read(&connection->reader,
                                         connection->server->limits.header_bytes, bytes, size,
                                         &taken);
    if (!begun)
        connection->since_ns = clock_now_ns();
    if (read != HTTP_READ_MORE)
        head_end(connection, read);
    return taken;
}

static bool body_awaited(const struct http_exchange *x)
{
    return x->head.chunked ? x->chunks.state != HTTP_CHUNK_DONE : x->body_left > 0;
}

static void connection_receive(struct http_connection *connection)
{
    struct evbuffer *input = bufferevent_get_input(connection->bev);
    struct evbuffer_iovec piece;
    while ((connection->state == HTTP_HEAD || connection->state == HTTP_BODY) &&
           unsent_bytes(connection) <= connection->server->limits.output_bytes_high &&
           evbuffer_peek(input, -1, NULL, &piece, 1) > 0 && piece.iov_len > 0) {
        size_t taken = 0;
        if (connection->state == HTTP_HEAD)
            taken = head_take(connection, piece.iov_base, piece.iov_len);
        else
            (void)http_exchange_body(connection->exchange, piece.iov_base, piece.iov_len, &taken);
        (void)evbuffer_drain(input, taken);
        if (connection->state == HTTP_BODY && !body_awaited(connection->exchange))
            http_exchange_dispatch(connection->exchange);
    }
    if (connection->state >= HTTP_FLUSH)
        (void)evbuffer_drain(input, evbuffer_get_length(input));
    else if (evbuffer_get_length(input) >= HTTP_AHEAD_BYTES)
        (void)bufferevent_disable(connection->bev, EV_READ);
    else
        (void)bufferevent_enable(connection->bev, EV_READ);
}

/* ---- events ---- */

static void on_readable(struct bufferevent *bev, void *arg)
{
    (void)bev;
    connection_receive(arg);
}

static void on_writable(struct bufferevent *bev, void *arg)
{
    struct http_connection *connection = arg;
    struct http_exchange *x = connection->exchange;
    size_t unsent = evbuffer_get_length(bufferevent_get_output(bev));
    switch (connection->state) {
    case HTTP_HEAD:
    case HTTP_BODY:
        connection_receive(connection);
        break;
    case HTTP_ANSWER:
        if (x->full && unsent <= connection->server->limits.output_bytes_high / 2) {
            x->full = false;
            if (x->route->writable)
                x->route->writable(x);
        }
        break;
    case HTTP_FLUSH:
        if (unsent == 0)
            linger_begin(connection);
        break;
    case HTTP_LINGER:
        break;
    case HTTP_CUT:
        http_connection_close(connection, "cut");
        break;
    }
}

/* A client that shuts its side while its answer is awaited is gone (half-closed clients are too
 * rare to keep the seat of those who left). One that shuts it behind its last request still gets
 * what is unsent. */
static void on_event(struct bufferevent *bev, short what, void *arg)
{
    struct http_connection *connection = arg;
    if (what & BEV_EVENT_CONNECTED) {
        if (!tls_agreed(bev, TLS_HTTP1))
            http_connection_close(connection, "TLS without http/1.1");
        return;
    }
    if (!(what & (BEV_EVENT_EOF | BEV_EVENT_ERROR | BEV_EVENT_TIMEOUT)))
        return;
    bool answered = connection->state == HTTP_HEAD || connection->state == HTTP_BODY ||
                    connection->state == HTTP_FLUSH;
    if ((what & BEV_EVENT_EOF) && answered && unsent_bytes(connection) > 0) {
        if (connection->exchange)
            http_exchange_close(connection->exchange);
        connection->eof = true;
        connection->exchange = NULL;
        flush_begin(connection);
        return;
    }
    http_connection_close(connection, what & BEV_EVENT_EOF ? "closed by the client" : "lost");
}

static void on_output(struct evbuffer *output, const struct evbuffer_cb_info *info, void *arg)
{
    struct http_connection *connection = arg;
    (void)output;
    connection->moved = connection->moved || info->n_deleted > 0;
}

/* ---- time ---- */

/* True when `now_ns` is at least `ms` after `since_ns`, which may have been read later. */
static bool passed(uint64_t now_ns, uint64_t since_ns, uint64_t ms)
{
    return now_ns >= since_ns && now_ns - since_ns >= ms * 1000000;
}

/* A client that has sent so much ahead that reading pauses: whether it has gone meanwhile. */
static bool gone_unread(const struct http_connection *connection)
{
    struct pollfd fd = {.fd = bufferevent_getfd(connection->bev), .events = POLLRDHUP};
    return evbuffer_get_length(bufferevent_get_input(connection->bev)) >= HTTP_AHEAD_BYTES &&
           poll(&fd, 1, 0) == 1;
}

/* The time for a request to come, or between two, is over. May free the connection. */
static void request_late(struct http_connection *connection)
{
    if (connection->state == HTTP_HEAD && !http_head_begun(&connection->reader)) {
        http_connection_close(connection, "idle");
        return;
    }
    struct http_exchange *x = connection->exchange ? connection->exchange
                                                   : http_exchange_open(connection);
    if (!x) {
        http_connection_close(connection, "too slow");
        return;
    }
    connection->exchange = x;
    connection->state = HTTP_BODY;
    http_exchange_refuse(x, HTTP_REQUEST_TIMEOUT, "the request took too long to arrive");
}

void http_connection_tick(struct http_connection *connection, uint64_t now_ns)
{
    const struct http_limits *limits = &connection->server->limits;
    size_t unsent = unsent_bytes(connection);
    if (unsent == 0 || connection->moved) {
        connection->moved = false;
        connection->moved_ns = now_ns;
    } else if (limits->write_timeout_s &&
               passed(now_ns, connection->moved_ns, 1000 * (uint64_t)limits->write_timeout_s)) {
        http_connection_close(connection, "the client takes nothing");
        return;
    }
    switch (connection->state) {
    case HTTP_HEAD:
    case HTTP_BODY:
        if (unsent == 0 && limits->idle_timeout_s &&
            passed(now_ns, connection->since_ns, 1000 * (uint64_t)limits->idle_timeout_s))
            request_late(connection);
        break;
    case HTTP_ANSWER:
        if (gone_unread(connection))
            http_connection_close(connection, "closed by the client");
        break;
    case HTTP_LINGER:
        if (passed(now_ns, connection->since_ns, LINGER_MS))
            http_connection_close(connection, "finished");
        break;
    case HTTP_FLUSH:
    case HTTP_CUT:
        break;
    }
}

/* ---- the beginning ---- */

/* The kernel gives up on a client that vanished without a word: nothing else notices one that
 * waits. */
static void socket_prepare(int fd, const struct http_limits *limits)
{
    int on = 1, idle_s = 60, every_s = 10;
    /* 0, the system's own patience, also for a time that does not fit. */
    unsigned patience_s = limits->write_timeout_s <= INT_MAX / 1000 ? limits->write_timeout_s : 0;
    unsigned patience_ms = 1000 * patience_s;
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &every_s, sizeof every_s);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &patience_ms, sizeof patience_ms);
}

struct http_connection *http_connection_open(struct http_server *server, struct bufferevent *bev,
                                             const struct listener_peer *peer)
{
    struct http_connection *connection = calloc(1, sizeof *connection);
    if (!connection)
        goto fail;
    connection->server = server;
    connection->bev = bev;
    connection->peer = *peer;
    connection->since_ns = connection->moved_ns = clock_now_ns();
    socket_prepare(bufferevent_getfd(bev), &server->limits);
    if (!evbuffer_add_cb(bufferevent_get_output(bev), on_output, connection))
        goto fail;
    bufferevent_setcb(bev, on_readable, on_writable, on_event, connection);
    bufferevent_setwatermark(bev, EV_WRITE, server->limits.output_bytes_high / 2, 0);
    if (bufferevent_enable(bev, EV_READ | EV_WRITE) != 0)
        goto fail;
    TAILQ_INSERT_TAIL(&server->connections, connection, in_server);
    server->connection_count++;
    return connection;
fail:
    bufferevent_free(bev);
    free(connection);
    return NULL;
}
