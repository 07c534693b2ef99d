/* A connection has its calls in a list; one that has ended is taken out of it and out of nghttp2's
 * stream data before its caller hears, so later frames of the stream find nothing. nghttp2 is never
 * re-entered: what is submitted, by callers or inside callbacks, is written out by the connection's
 * own `pump` event or when nghttp2_session_mem_recv has returned. A connection is freed in event
 * callbacks alone. */
#include "clients/bench/grpc_client.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clients/bench/dial.h"
#include "clients/c/now.h"

enum { PREFIX_BYTES = 5, STREAM_WINDOW_BYTES = 4 << 20, CONNECTION_WINDOW_BYTES = 256 << 20 };

struct grpc_connection {
    struct grpc_client *client;
    struct grpc_connection *next;
    struct bufferevent *stream;
    struct event *pump;   /* writes out what was submitted */
    nghttp2_session *session;
    struct grpc_call *calls;
    uint32_t call_count;
    uint64_t now_ns;      /* when the bytes being parsed came */
    bool connected;
    bool closing;         /* the server takes no more calls here */
    bool lost;            /* to be freed */
};

struct grpc_client {
    struct event_base *base;
    struct dial *dial;
    char *authority, *bearer;
    bool tls;
    uint32_t streams;
    uint32_t allowed;         /* streams on a connection, as the server last said of any */
    struct grpc_connection *connections;
    struct grpc_call *doomed; /* no connection could be made for them */
    struct event *doom;       /* tells them */
};

/* ---- the end of a call ---- */

static void forget(struct grpc_call *call)
{
    struct grpc_connection *c = call->connection;
    if (call->previous)
        call->previous->next = call->next;
    else
        c->calls = call->next;
    if (call->next)
        call->next->previous = call->previous;
    c->call_count--;
    if (call->stream > 0 && !c->lost)
        nghttp2_session_set_stream_user_data(c->session, call->stream, NULL);
    free(call->partial);
    call->partial = NULL;
    call->connection = NULL;
}

static void end_call(struct grpc_call *call, int status, const char *text)
{
    forget(call);
    call->end(call, status, text);
}

/* We end it: the server is told. */
static void give_up(struct grpc_call *call, int status, const char *text)
{
    nghttp2_submit_rst_stream(call->connection->session, NGHTTP2_FLAG_NONE, call->stream,
                              NGHTTP2_CANCEL);
    end_call(call, status, text);
}

/* ---- what nghttp2 tells ---- */

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_bytes, const uint8_t *value, size_t value_bytes, uint8_t flags,
                     void *user)
{
    struct grpc_call *call = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    if (call)
        grpc_end_header(&call->reported, name, name_bytes, value, value_bytes);
    return 0;
}

static size_t message_bytes(const uint8_t *prefix)
{
    return (size_t)prefix[1] << 24 | (size_t)prefix[2] << 16 | (size_t)prefix[3] << 8 | prefix[4];
}

/* Puts `size` bytes aside. */
static bool keep(struct grpc_call *call, const uint8_t *bytes, size_t size)
{
    if (call->partial_bytes + size > call->partial_room) {
        size_t room = 2 * (call->partial_bytes + size);
        uint8_t *grown = realloc(call->partial, room);
        if (!grown)
            return false;
        call->partial = grown;
        call->partial_room = room;
    }
    memcpy(call->partial + call->partial_bytes, bytes, size);
    call->partial_bytes += size;
    return true;
}

/* One whole message with its prefix. False: the call has ended. */
static bool hand_over(struct grpc_call *call, const uint8_t *bytes, size_t size, uint64_t now)
{
    if (bytes[0]) {
        give_up(call, GRPC_INTERNAL, "the server compressed a message unasked");
        return false;
    }
    if (call->message(call, bytes + PREFIX_BYTES, size - PREFIX_BYTES, now))
        return true;
    give_up(call, GRPC_CANCELLED, "cancelled");
    return false;
}

/* Most messages lie whole in one frame and are read where they are; the others are put together. */
static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream, const uint8_t *data,
                   size_t size, void *user)
{
    const struct grpc_connection *c = user;
    struct grpc_call *call = nghttp2_session_get_stream_user_data(session, stream);
    while (call && size > 0) {
        size_t held = call->partial_bytes, wanted = PREFIX_BYTES;
        const uint8_t *head = held ? call->partial : data;
        if (held >= PREFIX_BYTES || (!held && size >= PREFIX_BYTES))
            wanted += message_bytes(head);
        if (wanted > (size_t)GRPC_CLIENT_MESSAGE_BYTES_MAX) {
            give_up(call, GRPC_RESOURCE_EXHAUSTED, "the server sent a message that is too long");
            break;
        }
        bool whole_here = !held && size >= PREFIX_BYTES && size >= wanted;
        size_t n = wanted - held < size ? wanted - held : size;
        if (!whole_here && !keep(call, data, n)) {
            give_up(call, GRPC_RESOURCE_EXHAUSTED, "out of memory for a message");
            break;
        }
        held = call->partial_bytes;
        bool whole = whole_here || (held >= PREFIX_BYTES &&
                                    held == PREFIX_BYTES + message_bytes(call->partial));
        if (whole) {
            call->partial_bytes = 0;
            if (!hand_over(call, whole_here ? data : call->partial, wanted, c->now_ns))
                break;
        }
        data += n;
        size -= n;
    }
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t stream, uint32_t error_code,
                           void *user)
{
    struct grpc_call *call = nghttp2_session_get_stream_user_data(session, stream);
    if (!call)
        return 0;
    struct channel_result result;
    grpc_end_close(&call->reported, error_code);
    result = call->reported.result; /* the call may be freed while it is told */
    end_call(call, result.status, result.message);
    return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct grpc_connection *c = user;
    if (frame->hd.type == NGHTTP2_GOAWAY)
        c->closing = true;
    if (frame->hd.type == NGHTTP2_SETTINGS && !(frame->hd.flags & NGHTTP2_FLAG_ACK))
        c->client->allowed = nghttp2_session_get_remote_settings(
            session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
    return 0;
}

static ssize_t read_request(nghttp2_session *session, int32_t stream, uint8_t *out, size_t room,
                            uint32_t *flags, nghttp2_data_source *source, void *user)
{
    struct grpc_call *call = nghttp2_session_get_stream_user_data(session, stream);
    if (!call)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; /* cancelled: the stream is reset */
    size_t left = call->request_bytes - call->sent_bytes, n = left < room ? left : room;
    memcpy(out, call->request + call->sent_bytes, n);
    call->sent_bytes += n;
    if (n == left)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)n;
}

/* ---- connections ---- */

static bool flush(struct grpc_connection *c)
{
    struct evbuffer *output = bufferevent_get_output(c->stream);
    const uint8_t *data;
    ssize_t n;
    while ((n = nghttp2_session_mem_send(c->session, &data)) > 0)
        if (evbuffer_add(output, data, (size_t)n) != 0)
            return false;
    return n == 0;
}

/* Accepts half-built ones. */
static void free_connection(struct grpc_connection *c)
{
    if (c->pump)
        event_free(c->pump);
    if (c->stream)
        bufferevent_free(c->stream);
    nghttp2_session_del(c->session);
    free(c);
}

/* Every call on it ends, then it is freed. */
static void lose(struct grpc_connection *c, const char *why)
{
    struct grpc_connection **at = &c->client->connections;
    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    c->lost = true;
    while (c->calls)
        end_call(c->calls, GRPC_UNAVAILABLE, why);
    free_connection(c);
}

static void on_pump(evutil_socket_t fd, short what, void *arg)
{
    struct grpc_connection *c = arg;
    if (!flush(c))
        lose(c, "out of memory for what is to be sent");
}

static void on_read(struct bufferevent *stream, void *arg)
{
    struct grpc_connection *c = arg;
    struct evbuffer *input = bufferevent_get_input(stream);
    struct evbuffer_iovec piece;
    c->now_ns = now_ns();
    while (evbuffer_peek(input, -1, NULL, &piece, 1) > 0 && piece.iov_len > 0) {
        ssize_t n = nghttp2_session_mem_recv(c->session, piece.iov_base, piece.iov_len);
        if (n < 0) {
            lose(c, "the server does not speak HTTP/2");
            return;
        }
        evbuffer_drain(input, (size_t)n);
    }
    bool over = c->closing && !c->calls;
    if (!flush(c) || over || (!nghttp2_session_want_read(c->session) && !c->calls))
        lose(c, "the connection ended");
}

static void on_event(struct bufferevent *stream, short what, void *arg)
{
    struct grpc_connection *c = arg;
    struct fault why = {{0}};
    if (!(what & BEV_EVENT_CONNECTED)) {
        dial_explain(stream, what, &why);
        lose(c, why.text);
    } else if (!dial_agreed(c->client->dial, stream)) {
        lose(c, "the server did not agree to HTTP/2 in the TLS handshake");
    }
}

static bool open_session(struct grpc_connection *c)
{
    nghttp2_session_callbacks *callbacks = NULL;
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW_BYTES},
    };
    if (nghttp2_session_callbacks_new(&callbacks) != 0)
        return false;
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    bool ok = nghttp2_session_client_new(&c->session, callbacks, c) == 0;
    nghttp2_session_callbacks_del(callbacks);
    return ok && nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, settings, 2) == 0 &&
           nghttp2_session_set_local_window_size(c->session, NGHTTP2_FLAG_NONE, 0,
                                                 CONNECTION_WINDOW_BYTES) == 0;
}

static struct grpc_connection *open_connection(struct grpc_client *client)
{
    struct grpc_connection *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->client = client;
    c->stream = dial_connect(client->dial, client->base);
    c->pump = event_new(client->base, -1, 0, on_pump, c);
    if (!c->stream || !c->pump || !open_session(c)) {
        free_connection(c);
        return NULL;
    }
    bufferevent_setcb(c->stream, on_read, NULL, on_event, c);
    bufferevent_enable(c->stream, EV_READ | EV_WRITE);
    c->next = client->connections;
    client->connections = c;
    return c;
}

static bool has_room(const struct grpc_connection *c)
{
    const struct grpc_client *client = c->client;
    uint32_t most = client->streams < client->allowed ? client->streams : client->allowed;
    return !c->closing && c->call_count < most && nghttp2_session_want_read(c->session);
}

/* The fullest that has room: calls share connections as far as they may. */
static struct grpc_connection *choose_connection(struct grpc_client *client)
{
    struct grpc_connection *best = NULL;
    for (struct grpc_connection *c = client->connections; c; c = c->next)
        if (has_room(c) && (!best || c->call_count > best->call_count))
            best = c;
    return best ? best : open_connection(client);
}

/* ---- calls ---- */

static nghttp2_nv field(const char *name, const char *value)
{
    return (nghttp2_nv){(uint8_t *)name, (uint8_t *)value, strlen(name), strlen(value),
                        NGHTTP2_NV_FLAG_NO_COPY_NAME};
}

static bool submit(struct grpc_connection *c, struct grpc_call *call)
{
    const struct grpc_client *client = c->client;
    const nghttp2_nv fields[] = {
        field(":method", "POST"), field(":scheme", client->tls ? "https" : "http"),
        field(":path", call->path), field(":authority", client->authority),
        field("te", "trailers"), field("content-type", "application/grpc"),
        field("user-agent", "moering-bench"),
        field("authorization", client->bearer ? client->bearer : ""),
    };
    size_t count = sizeof fields / sizeof fields[0] - (client->bearer == NULL);
    const nghttp2_data_provider body = {.read_callback = read_request};
    call->stream = nghttp2_submit_request(c->session, NULL, fields, count, &body, call);
    event_active(c->pump, EV_TIMEOUT, 1);
    return call->stream > 0;
}

/* As in http_client.c: `end` must not come inside grpc_client_send. */
static void on_doom(evutil_socket_t fd, short what, void *arg)
{
    struct grpc_client *client = arg;
    struct grpc_call *call = client->doomed;
    if (!call)
        return;
    client->doomed = call->next;
    if (client->doomed)
        event_active(client->doom, EV_TIMEOUT, 1);
    call->end(call, GRPC_UNAVAILABLE,
              "no connection could be made: out of file descriptors or memory");
}

void grpc_client_send(struct grpc_client *client, struct grpc_call *call)
{
    struct grpc_connection *c = choose_connection(client);
    call->sent_bytes = call->partial_bytes = call->partial_room = 0;
    call->partial = NULL;
    memset(&call->reported, 0, sizeof call->reported);
    call->previous = NULL;
    call->connection = c;
    if (c) {
        call->next = c->calls;
        if (c->calls)
            c->calls->previous = call;
        c->calls = call;
        c->call_count++;
        if (submit(c, call))
            return;
        c->closing = true; /* its stream ids are used up, or memory is */
        forget(call);
    }
    call->next = client->doomed;
    client->doomed = call;
    event_active(client->doom, EV_TIMEOUT, 1);
}

void grpc_client_cancel(struct grpc_client *client, struct grpc_call *call)
{
    struct grpc_call **at = &client->doomed;
    while (*at && *at != call)
        at = &(*at)->next;
    if (*at)
        *at = call->next;
    struct grpc_connection *c = call->connection;
    if (!c)
        return;
    nghttp2_submit_rst_stream(c->session, NGHTTP2_FLAG_NONE, call->stream, NGHTTP2_CANCEL);
    forget(call);
    event_active(c->pump, EV_TIMEOUT, 1);
}

/* ---- open and close ---- */

struct grpc_client *grpc_client_open(const struct grpc_client_config *config)
{
    struct grpc_client *client = calloc(1, sizeof *client);
    if (!client)
        return NULL;
    client->base = config->base;
    client->dial = config->dial;
    client->tls = config->tls;
    client->streams = config->streams;
    client->allowed = UINT32_MAX;
    client->authority = strdup(config->authority);
    client->doom = event_new(client->base, -1, 0, on_doom, client);
    bool ok = client->authority && client->doom;
    if (ok && config->key && asprintf(&client->bearer, "Bearer %s", config->key) < 0) {
        client->bearer = NULL;
        ok = false;
    }
    if (!ok) {
        grpc_client_close(client);
        return NULL;
    }
    return client;
}

void grpc_client_close(struct grpc_client *client)
{
    if (!client)
        return;
    while (client->connections) {
        struct grpc_connection *c = client->connections;
        client->connections = c->next;
        for (struct grpc_call *call = c->calls; call; call = call->next)
            free(call->partial);
        free_connection(c);
    }
    if (client->doom)
        event_free(client->doom);
    free(client->authority);
    free(client->bearer);
    free(client);
}
