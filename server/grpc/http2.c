/* See http2.h.
 *
 * nghttp2 does the protocol: frames, HPACK, windows, stream states, and the defences against
 * resets, CONTINUATION and unread acknowledgements. This file adds what a library cannot know:
 * sockets, time, pings too many, the two steps of a drain.
 *
 * One flow moves bytes out: connection_flush. It runs at the top of an event callback, or from the
 * `flush` event that anything deeper activates; so nghttp2 is never re-entered, and a token for
 * each of a thousand streams becomes few writes. connection_flush and connection_receive may free
 * the connection: they say so, and their callers return at once. */
#include "server/grpc/http2.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "memory/base/clock.h"
#include "server/grpc/http2_stream.h"
#include "server/net/tls.h"

#define SECOND_NS ((uint64_t)1000000000)
#define DRAIN_PING ((const uint8_t *)"drain...")
#define ALIVE_PING ((const uint8_t *)"alive...")

enum {
    LINGER_MS = 2000,          /* for the client to close first, so that it reads all we sent */
    DRAIN_PING_MS = 1000,      /* then GOAWAY(last id) even without the answer to our PING */
    EMPTY_FRAMES_MAX = 1000,   /* DATA frames without data or end, between two that have some */
    QUEUED_FRAMES_MAX = 10000, /* answers that a client does not read */
    CONTINUATIONS_MAX = 8,
    UNREAD_ACKS_MAX = 1000,
};

static void connection_state_set(struct http2_connection *connection, enum http2_state state)
{
    connection->state = state;
    connection->state_ns = clock_now_ns();
}

static struct http2_stream *stream_of(nghttp2_session *session, int32_t id)
{
    return nghttp2_session_get_stream_user_data(session, id);
}

/* ---- what nghttp2 tells ---- */

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct http2_connection *connection = user;
    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    (void)session;
    return http2_stream_begin(connection, frame->hd.stream_id)
               ? 0
               : NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_bytes, const uint8_t *value, size_t value_bytes, uint8_t flags,
                     void *user)
{
    struct http2_connection *connection = user;
    struct http2_stream *stream = stream_of(session, frame->hd.stream_id);
    (void)flags;
    if (!stream || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    stream->header_bytes += name_bytes + value_bytes + 32; /* as RFC 9113 6.5.2 counts */
    if (stream->header_bytes > connection->http2->limits.header_bytes_max) {
        stream->too_large = true;
        return 0;
    }
    struct http2_field field = {(const char *)name, name_bytes, (const char *)value, value_bytes};
    connection->http2->handler->field(stream->request, &field);
    return 0;
}

static void connection_end(struct http2_connection *connection, const char *reason)
{
    connection->ending = reason;
    connection_state_set(connection, CONNECTION_ENDING);
}

static void connection_expel(struct http2_connection *connection, const char *reason)
{
    if (connection->state >= CONNECTION_ENDING)
        return;
    (void)nghttp2_submit_goaway(connection->session, NGHTTP2_FLAG_NONE,
                                nghttp2_session_get_last_proc_stream_id(connection->session),
                                NGHTTP2_ENHANCE_YOUR_CALM, (const uint8_t *)reason, strlen(reason));
    connection_end(connection, reason);
}

static void connection_goaway(struct http2_connection *connection)
{
    if (connection->state != CONNECTION_NOTICE)
        return;
    (void)nghttp2_submit_goaway(connection->session, NGHTTP2_FLAG_NONE,
                                nghttp2_session_get_last_proc_stream_id(connection->session),
                                NGHTTP2_NO_ERROR, NULL, 0);
    connection_state_set(connection, CONNECTION_GOAWAY);
}

static void connection_ping(struct http2_connection *connection, const nghttp2_ping *ping)
{
    const struct http2_limits *limits = &connection->http2->limits;
    uint64_t now = clock_now_ns();
    if (ping->hd.flags & NGHTTP2_FLAG_ACK) {
        if (memcmp(ping->opaque_data, DRAIN_PING, sizeof ping->opaque_data) == 0)
            connection_goaway(connection);
        return;
    }
    if (connection->client_ping_ns &&
        now - connection->client_ping_ns < (uint64_t)limits->ping_min_interval_ms * 1000000 &&
        ++connection->strikes > limits->ping_strikes_max)
        connection_expel(connection, "too_many_pings");
    connection->client_ping_ns = now;
}

static int on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct http2_connection *connection = user;
    const struct http2_handler *handler = connection->http2->handler;
    bool end = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
    connection->settled = true;
    connection->ping_out = false;
    connection->frame_ns = clock_now_ns();
    struct http2_stream *stream = stream_of(session, frame->hd.stream_id);
    switch (frame->hd.type) {
    case NGHTTP2_PING:
        connection_ping(connection, &frame->ping);
        return 0;
    case NGHTTP2_HEADERS:
        if (stream && frame->headers.cat == NGHTTP2_HCAT_REQUEST)
            handler->headers(stream->request, stream->too_large);
        break;
    case NGHTTP2_DATA:
        if (frame->hd.length > frame->data.padlen || end)
            connection->empty_frames = 0;
        else if (++connection->empty_frames > EMPTY_FRAMES_MAX)
            connection_expel(connection, "too_many_empty_frames");
        break;
    default:
        return 0;
    }
    if (stream && end)
        handler->end(stream->request);
    return 0;
}

static int on_data_chunk(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *bytes,
                         size_t size, void *user)
{
    struct http2_connection *connection = user;
    struct http2_stream *stream = stream_of(session, id);
    (void)flags;
    /* The connection's window is given back at once: one stream that is not read must not stop the
     * others. What a stream may hold is bounded by its own window. */
    (void)nghttp2_session_consume_connection(session, size);
    if (stream)
        connection->http2->handler->data(stream->request, bytes, size);
    return 0;
}

static int on_frame_send(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct http2_connection *connection = user;
    if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA)
        return 0;
    connection->strikes = 0; /* clients measure their bandwidth with a PING when data comes */
    struct http2_stream *stream = stream_of(session, frame->hd.stream_id);
    if (!stream || !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
        return 0;
    stream->complete = true;
    if (!nghttp2_session_get_stream_remote_close(session, stream->id))
        (void)nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, stream->id, NGHTTP2_NO_ERROR);
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t code, void *user)
{
    struct http2_stream *stream = stream_of(session, id);
    (void)code, (void)user;
    if (stream)
        http2_stream_close(stream);
    return 0;
}

/* ---- connections ---- */

static void connection_free(struct http2_connection *connection)
{
    if (!connection)
        return;
    if (connection->flush)
        event_free(connection->flush);
    nghttp2_session_del(connection->session);
    if (connection->bev)
        bufferevent_free(connection->bev);
    free(connection);
}

static void connection_drop_streams(struct http2_connection *connection)
{
    struct http2_stream *stream;
    while ((stream = TAILQ_FIRST(&connection->streams)))
        http2_stream_close(stream);
}

void http2_connection_close(struct http2_connection *connection, const char *reason)
{
    connection_drop_streams(connection);
    connection->http2->handler->connection_closed(connection->user, reason);
    connection_free(connection);
}

/* All is said: shut our side and give the client time to close its own, so that no unread byte of
 * ours is destroyed by a reset. */
static void connection_linger(struct http2_connection *connection)
{
    connection_drop_streams(connection);
    connection_state_set(connection, CONNECTION_LINGER);
    int fd = bufferevent_getfd(connection->bev);
    tls_shutdown(connection->bev);
    if (fd >= 0)
        (void)shutdown(fd, SHUT_WR);
}

/* False: the connection is gone. */
static bool connection_flush(struct http2_connection *connection)
{
    struct evbuffer *output = bufferevent_get_output(connection->bev);
    if (connection->state == CONNECTION_LINGER || !connection->agreed)
        return true;
    do {
        while (evbuffer_get_length(output) < HTTP2_OUTPUT_HIGH_BYTES) {
            const uint8_t *bytes;
            ssize_t n = nghttp2_session_mem_send(connection->session, &bytes);
            if (n == 0)
                break;
            if (n < 0 || evbuffer_add(output, bytes, (size_t)n) != 0) {
                http2_connection_close(connection, "no memory to send");
                return false;
            }
        }
    } while (http2_stream_fire_writable(connection));
    if (nghttp2_session_get_outbound_queue_size(connection->session) > QUEUED_FRAMES_MAX) {
        http2_connection_close(connection, "the client does not read its answers");
        return false;
    }
    /* nghttp2 has seen a protocol error, or a GOAWAY with no stream left. */
    if (connection->state < CONNECTION_ENDING && !nghttp2_session_want_read(connection->session))
        connection_end(connection, "finished");
    if (connection->state == CONNECTION_ENDING && evbuffer_get_length(output) == 0 &&
        !nghttp2_session_want_write(connection->session))
        connection_linger(connection);
    return true;
}

/* False: the connection is gone. */
static bool connection_receive(struct http2_connection *connection, struct evbuffer *input)
{
    struct evbuffer_iovec piece;
    while (connection->agreed && connection->state < CONNECTION_ENDING &&
           evbuffer_peek(input, -1, NULL, &piece, 1) > 0 && piece.iov_len > 0) {
        ssize_t n = nghttp2_session_mem_recv(connection->session, piece.iov_base, piece.iov_len);
        if (n == NGHTTP2_ERR_FLOODED) {
            connection_expel(connection, "flood");
        } else if (n < 0) {
            http2_connection_close(connection, nghttp2_strerror((int)n));
            return false;
        } else {
            (void)evbuffer_drain(input, (size_t)n);
        }
    }
    if (connection->state >= CONNECTION_ENDING)
        (void)evbuffer_drain(input, evbuffer_get_length(input));
    return true;
}

static void on_readable(struct bufferevent *bev, void *arg)
{
    struct http2_connection *connection = arg;
    if (connection_receive(connection, bufferevent_get_input(bev)))
        (void)connection_flush(connection);
}

static void on_drained(struct bufferevent *bev, void *arg)
{
    (void)bev;
    (void)connection_flush(arg);
}

static void on_flush(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    (void)connection_flush(arg);
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
    struct http2_connection *connection = arg;
    if (what & BEV_EVENT_CONNECTED) {
        connection->agreed = tls_agreed(bev, TLS_HTTP2);
        if (connection->agreed)
            (void)connection_flush(connection);
        else
            http2_connection_close(connection, "TLS without h2");
        return;
    }
    if (what & (BEV_EVENT_EOF | BEV_EVENT_ERROR | BEV_EVENT_TIMEOUT))
        http2_connection_close(arg, what & BEV_EVENT_EOF ? "closed by the client" : "lost");
}

enum status http2_connection_open(struct http2_connection **out, struct http2 *http2,
                                  struct bufferevent *bev, void *connection_user)
{
    *out = NULL;
    const struct http2_limits *limits = &http2->limits;
    struct http2_connection *connection = calloc(1, sizeof *connection);
    if (!connection) {
        bufferevent_free(bev);
        return STATUS_NO_MEMORY;
    }
    connection->http2 = http2;
    connection->user = connection_user;
    connection->bev = bev;
    connection->agreed = tls_agreed(bev, TLS_HTTP2);
    TAILQ_INIT(&connection->streams);
    TAILQ_INIT(&connection->writable);
    connection->opened_ns = connection->idle_ns = connection->frame_ns = clock_now_ns();
    connection->flush = event_new(http2->base, -1, 0, on_flush, connection);
    if (!connection->flush ||
        nghttp2_session_server_new2(&connection->session, http2->callbacks, connection,
                                    http2->option) != 0)
        goto fail;
    nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, limits->concurrent_streams_max},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, HTTP2_STREAM_WINDOW_BYTES},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, (uint32_t)limits->header_bytes_max},
        {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
    };
    if (nghttp2_submit_settings(connection->session, NGHTTP2_FLAG_NONE, settings,
                                sizeof settings / sizeof *settings) != 0 ||
        nghttp2_session_set_local_window_size(connection->session, NGHTTP2_FLAG_NONE, 0,
                                              HTTP2_CONNECTION_WINDOW_BYTES) != 0)
        goto fail;
    bufferevent_setcb(bev, on_readable, on_drained, on_event, connection);
    bufferevent_setwatermark(bev, EV_WRITE, HTTP2_OUTPUT_HIGH_BYTES / 2, 0);
    if (bufferevent_enable(bev, EV_READ | EV_WRITE) != 0)
        goto fail;
    http2_want_flush(connection);
    *out = connection;
    return STATUS_OK;
fail:
    connection_free(connection);
    return STATUS_NO_MEMORY;
}

void http2_connection_drain(struct http2_connection *connection)
{
    if (connection->state != CONNECTION_OPEN)
        return;
    (void)nghttp2_submit_shutdown_notice(connection->session);
    (void)nghttp2_submit_ping(connection->session, NGHTTP2_FLAG_NONE, DRAIN_PING);
    connection_state_set(connection, CONNECTION_NOTICE);
    http2_want_flush(connection);
}

bool http2_connection_quiet(const struct http2_connection *connection)
{
    return connection->state == CONNECTION_LINGER;
}

/* True when `now_ns` is at least `ms` after `since_ns`. The clock may have been read later for
 * `since_ns` than for `now_ns`. */
static bool passed(uint64_t now_ns, uint64_t since_ns, uint64_t ms)
{
    return now_ns >= since_ns && now_ns - since_ns >= ms * 1000000;
}

/* The reason to drop the connection now, or NULL. */
static const char *connection_overdue(const struct http2_connection *connection, uint64_t now_ns)
{
    const struct http2_limits *limits = &connection->http2->limits;
    uint64_t patience_ms = (uint64_t)limits->keepalive_timeout_s * 1000;
    if (!connection->settled && passed(now_ns, connection->opened_ns, patience_ms))
        return "no HTTP/2 preface came";
    if (connection->state == CONNECTION_LINGER && passed(now_ns, connection->state_ns, LINGER_MS))
        return "finished";
    if (connection->state == CONNECTION_ENDING &&
        passed(now_ns, connection->state_ns, patience_ms))
        return connection->ending;
    if (connection->ping_out && passed(now_ns, connection->ping_ns, patience_ms))
        return "no answer to the keepalive PING";
    if (limits->connection_age_max_s &&
        passed(now_ns, connection->opened_ns,
               ((uint64_t)limits->connection_age_max_s + limits->connection_grace_s) * 1000))
        return "older than the maximum age and its grace";
    return NULL;
}

void http2_connection_tick(struct http2_connection *connection, uint64_t now_ns)
{
    const struct http2_limits *limits = &connection->http2->limits;
    const char *reason = connection_overdue(connection, now_ns);
    if (reason) {
        http2_connection_close(connection, reason);
        return;
    }
    if (limits->idle_timeout_s && connection->stream_count == 0 &&
        passed(now_ns, connection->idle_ns, (uint64_t)limits->idle_timeout_s * 1000))
        http2_connection_drain(connection);
    if (limits->connection_age_max_s &&
        passed(now_ns, connection->opened_ns, (uint64_t)limits->connection_age_max_s * 1000))
        http2_connection_drain(connection);
    if (connection->state == CONNECTION_NOTICE &&
        passed(now_ns, connection->state_ns, DRAIN_PING_MS)) {
        connection_goaway(connection);
        http2_want_flush(connection);
    }
    if (limits->keepalive_time_s && !connection->ping_out &&
        connection->state < CONNECTION_ENDING &&
        passed(now_ns, connection->frame_ns, (uint64_t)limits->keepalive_time_s * 1000)) {
        (void)nghttp2_submit_ping(connection->session, NGHTTP2_FLAG_NONE, ALIVE_PING);
        connection->ping_out = true;
        connection->ping_ns = now_ns;
        http2_want_flush(connection);
    }
}

/* ---- shared ---- */

enum status http2_open(struct http2 **out, struct event_base *base,
                       const struct http2_handler *handler, const struct http2_limits *limits)
{
    *out = NULL;
    struct http2 *http2 = calloc(1, sizeof *http2);
    if (!http2)
        return STATUS_NO_MEMORY;
    http2->base = base;
    http2->handler = handler;
    http2->limits = *limits;
    if (nghttp2_session_callbacks_new(&http2->callbacks) != 0 ||
        nghttp2_option_new(&http2->option) != 0) {
        http2_close(http2);
        return STATUS_NO_MEMORY;
    }
    nghttp2_session_callbacks *callbacks = http2->callbacks;
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame_recv);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data_chunk);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_send);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    nghttp2_option_set_no_auto_window_update(http2->option, 1);
    nghttp2_option_set_no_closed_streams(http2->option, 1);
    nghttp2_option_set_max_outbound_ack(http2->option, UNREAD_ACKS_MAX);
    nghttp2_option_set_max_continuations(http2->option, CONTINUATIONS_MAX);
    /* A client may cancel all its streams at once, twice over; after that, a hundred a second. */
    nghttp2_option_set_stream_reset_rate_limit(http2->option,
                                               2 * (uint64_t)limits->concurrent_streams_max + 100,
                                               100);
    *out = http2;
    return STATUS_OK;
}

void http2_close(struct http2 *http2)
{
    if (!http2)
        return;
    nghttp2_session_callbacks_del(http2->callbacks);
    nghttp2_option_del(http2->option);
    free(http2);
}
