#include "clients/c/channel.h"

#include <inttypes.h>
#include <nghttp2/nghttp2.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clients/c/grpc_end.h"
#include "clients/c/grpc_text.h"
#include "clients/c/now.h"
#include "clients/c/transport.h"

enum { PREFIX_BYTES = 5, READ_BYTES = 16384, AUTHORITY_BYTES = 280, WRITE_PATIENCE_MS = 10000 };

static const char scheme[] = "Bearer ";

/* The call being made. */
struct exchange {
    const struct channel_call *call;
    struct channel_result *result;
    size_t sent_bytes;      /* of prefix and request */
    uint8_t *message;       /* prefix and bytes of the message being received */
    size_t message_bytes, message_capacity;
    struct grpc_end end;    /* what the stream says of it */
    bool closed;            /* the stream is over */
    bool unwanted;          /* we have reset it; *result is set */
};

struct channel {
    struct transport *transport;
    nghttp2_session *session;
    char authority[AUTHORITY_BYTES];
    char *authorization;       /* owned; NULL: no key */
    bool tls;
    struct exchange *exchange; /* NULL between calls */
    int32_t stream;
    bool heard;                /* a frame of HTTP/2 has come */
};

/* ---- what nghttp2 tells ---- */

/* Ends the stream from our side. */
static void give_up(struct channel *c, int status, const char *why)
{
    struct exchange *x = c->exchange;
    if (x->unwanted || x->closed)
        return;
    x->unwanted = true;
    channel_result_fail(x->result, status, "%s", why);
    nghttp2_submit_rst_stream(c->session, NGHTTP2_FLAG_NONE, c->stream, NGHTTP2_CANCEL);
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_bytes, const uint8_t *value, size_t value_bytes, uint8_t flags,
                     void *user)
{
    struct channel *c = user;
    struct exchange *x = c->exchange;
    if (!x || frame->hd.stream_id != c->stream || x->unwanted)
        return 0;
    grpc_end_header(&x->end, name, name_bytes, value, value_bytes);
    return 0;
}

static size_t wanted_bytes(const struct exchange *x)
{
    if (x->message_bytes < PREFIX_BYTES)
        return PREFIX_BYTES;
    const uint8_t *p = x->message;
    return PREFIX_BYTES +
           ((size_t)p[1] << 24 | (size_t)p[2] << 16 | (size_t)p[3] << 8 | (size_t)p[4]);
}

/* Takes bytes up to the end of the prefix or of the message; returns how many. 0: gave up. */
static size_t take_bytes(struct channel *c, const uint8_t *data, size_t size)
{
    struct exchange *x = c->exchange;
    size_t wanted = wanted_bytes(x);
    if (wanted > (size_t)CHANNEL_MESSAGE_BYTES_MAX) {
        give_up(c, GRPC_RESOURCE_EXHAUSTED, "the server sent a message that is too long");
        return 0;
    }
    if (wanted > x->message_capacity) {
        uint8_t *grown = realloc(x->message, wanted);
        if (!grown) {
            give_up(c, GRPC_RESOURCE_EXHAUSTED, "out of memory for a message");
            return 0;
        }
        x->message = grown;
        x->message_capacity = wanted;
    }
    size_t n = wanted - x->message_bytes < size ? wanted - x->message_bytes : size;
    memcpy(x->message + x->message_bytes, data, n);
    x->message_bytes += n;
    return n;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream, const uint8_t *data,
                   size_t size, void *user)
{
    struct channel *c = user;
    struct exchange *x = c->exchange;
    while (x && stream == c->stream && !x->unwanted) {
        bool prefix_known = x->message_bytes >= PREFIX_BYTES;
        if (prefix_known && x->message_bytes == wanted_bytes(x)) {
            if (x->message[0]) {
                give_up(c, GRPC_INTERNAL, "the server compressed a message unasked");
                break;
            }
            if (!x->call->message(x->call->arg, x->message + PREFIX_BYTES,
                                  x->message_bytes - PREFIX_BYTES))
                give_up(c, GRPC_CANCELLED, "cancelled");
            x->message_bytes = 0;
            continue;
        }
        if (!size)
            break;
        size_t n = take_bytes(c, data, size);
        data += n;
        size -= n;
    }
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t stream, uint32_t error_code,
                           void *user)
{
    struct channel *c = user;
    struct exchange *x = c->exchange;
    if (!x || stream != c->stream)
        return 0;
    x->closed = true;
    grpc_end_close(&x->end, error_code);
    if (!x->unwanted)
        *x->result = x->end.result;
    return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct channel *c = user;
    c->heard = true;
    return 0;
}

static ssize_t read_request(nghttp2_session *session, int32_t stream, uint8_t *out, size_t room,
                            uint32_t *flags, nghttp2_data_source *source, void *user)
{
    struct exchange *x = source->ptr;
    size_t size = x->call->request_bytes, total = PREFIX_BYTES + size, written = 0;
    const uint8_t prefix[PREFIX_BYTES] = {0, (uint8_t)(size >> 24), (uint8_t)(size >> 16),
                                          (uint8_t)(size >> 8), (uint8_t)size};
    while (written < room && x->sent_bytes < total) {
        bool head = x->sent_bytes < PREFIX_BYTES;
        const uint8_t *body = x->call->request;
        const uint8_t *from = head ? prefix + x->sent_bytes : body + (x->sent_bytes - PREFIX_BYTES);
        size_t n = (head ? PREFIX_BYTES : total) - x->sent_bytes;
        if (n > room - written)
            n = room - written;
        memcpy(out + written, from, n);
        written += n;
        x->sent_bytes += n;
    }
    if (x->sent_bytes == total)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)written;
}

/* ---- open and close ---- */

static bool open_session(struct channel *c, struct channel_result *result)
{
    nghttp2_session_callbacks *callbacks = NULL;
    bool ok = nghttp2_session_callbacks_new(&callbacks) == 0;
    if (ok) {
        nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
        nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
        nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
        nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
        ok = nghttp2_session_client_new(&c->session, callbacks, c) == 0;
        nghttp2_session_callbacks_del(callbacks);
    }
    const nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_ENABLE_PUSH, 0}};
    ok = ok && nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, settings, 1) == 0;
    return ok ||
           channel_result_fail(result, GRPC_RESOURCE_EXHAUSTED, "out of memory for a connection");
}

static bool keep_key(struct channel *c, const char *key, struct channel_result *result)
{
    if (!key)
        return true;
    if (!grpc_text_is_key(key))
        return channel_result_fail(result, GRPC_INVALID_ARGUMENT,
                                   "the API key is not a word of printable ASCII");
    size_t bytes = sizeof scheme + strlen(key);
    c->authorization = malloc(bytes);
    if (!c->authorization)
        return channel_result_fail(result, GRPC_RESOURCE_EXHAUSTED, "out of memory");
    snprintf(c->authorization, bytes, "%s%s", scheme, key);
    return true;
}

bool channel_open(struct channel **out, const struct channel_config *config,
                  struct channel_result *result)
{
    *out = NULL;
    memset(result, 0, sizeof *result);
    struct channel *c = calloc(1, sizeof *c);
    if (!c)
        return channel_result_fail(result, GRPC_RESOURCE_EXHAUSTED, "out of memory");
    c->tls = config->tls;
    snprintf(c->authority, sizeof c->authority, "%s", config->address);
    if (!keep_key(c, config->api_key, result) || !transport_open(&c->transport, config, result) ||
        !open_session(c, result)) {
        channel_close(c);
        return false;
    }
    *out = c;
    return true;
}

void channel_close(struct channel *c)
{
    if (!c)
        return;
    nghttp2_session_del(c->session);
    transport_close(c->transport);
    free(c->authorization);
    free(c);
}

/* ---- a call ---- */

/* Until the transport can go on, the time is over (false), or somebody cancels. */
static bool wait_for(struct channel *c, int cancel_fd, int timeout_ms, bool *cancelled)
{
    struct pollfd p[2] = {
        {.fd = transport_fd(c->transport), .events = transport_events(c->transport)},
        {.fd = cancel_fd, .events = POLLIN}};
    int n = poll(p, cancel_fd >= 0 ? 2 : 1, timeout_ms);
    *cancelled = n > 0 && cancel_fd >= 0 && (p[1].revents & POLLIN);
    return n > 0 && p[0].revents;
}

/* Sends what nghttp2 has to say. False: the connection is gone. Waits while the socket is full. */
static bool write_out(struct channel *c)
{
    for (;;) {
        const uint8_t *data;
        ssize_t size = nghttp2_session_mem_send(c->session, &data);
        if (size <= 0)
            return size == 0;
        while (size > 0) {
            bool cancelled;
            ssize_t n = transport_write(c->transport, data, (size_t)size);
            if (n < 0 || (n == 0 && !wait_for(c, -1, WRITE_PATIENCE_MS, &cancelled)))
                return false;
            data += n;
            size -= n;
        }
    }
}

/* Reads what is there. 1: something was; 0: nothing now; -1: the connection is gone. */
static int read_in(struct channel *c)
{
    uint8_t bytes[READ_BYTES];
    ssize_t n = transport_read(c->transport, bytes, sizeof bytes);
    if (n <= 0)
        return (int)n;
    return nghttp2_session_mem_recv(c->session, bytes, (size_t)n) == n ? 1 : -1;
}

static nghttp2_nv field(const char *name, const char *value)
{
    return (nghttp2_nv){(uint8_t *)name, (uint8_t *)value, strlen(name), strlen(value),
                        NGHTTP2_NV_FLAG_NONE};
}

static bool submit(struct channel *c, struct exchange *x)
{
    char timeout[16];
    nghttp2_nv fields[] = {
        field(":method", "POST"), field(":scheme", c->tls ? "https" : "http"),
        field(":path", x->call->path),
        field(":authority", c->authority), field("te", "trailers"),
        field("content-type", "application/grpc"), field("user-agent", "moering-client"),
        field("grpc-timeout", ""), field("authorization", ""),
    };
    size_t count = sizeof fields / sizeof fields[0] - 2;
    if (x->call->timeout_ms) {
        grpc_text_timeout(x->call->timeout_ms, timeout, sizeof timeout);
        fields[count++] = field("grpc-timeout", timeout);
    }
    if (c->authorization) {
        fields[count] = field("authorization", c->authorization);
        fields[count++].flags = NGHTTP2_NV_FLAG_NO_INDEX; /* kept out of compression tables */
    }
    nghttp2_data_provider body = {.source = {.ptr = x}, .read_callback = read_request};
    c->stream = nghttp2_submit_request(c->session, NULL, fields, count, &body, NULL);
    return c->stream > 0;
}

static bool cancel_waits(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return fd >= 0 && poll(&p, 1, 0) > 0;
}

/* Waits until there may be something to read. False: the call was cancelled or ran out of time. */
static bool await_bytes(struct channel *c, struct exchange *x, uint64_t deadline)
{
    uint64_t now = now_ms();
    if (now >= deadline) {
        give_up(c, GRPC_DEADLINE_EXCEEDED, "deadline exceeded");
        return false;
    }
    uint64_t patience = deadline - now < 60000 ? deadline - now : 60000;
    bool cancelled;
    wait_for(c, x->call->cancel_fd, (int)patience, &cancelled);
    if (cancelled)
        give_up(c, GRPC_CANCELLED, "cancelled");
    return !cancelled;
}

/* Bytes to and fro until the stream is over. */
static void run(struct channel *c, struct exchange *x)
{
    uint64_t deadline = x->call->timeout_ms ? now_ms() + x->call->timeout_ms : UINT64_MAX;
    bool more = false; /* TLS may hold bytes that poll does not see */
    while (!x->closed) {
        if (!write_out(c))
            break;
        if (x->unwanted)
            return; /* our reset is on its way */
        if (!more && !await_bytes(c, x, deadline))
            continue;
        int got = read_in(c);
        if (got < 0)
            break;
        more = got > 0 && now_ms() < deadline && !cancel_waits(x->call->cancel_fd);
    }
    if (x->closed || x->unwanted)
        return;
    channel_result_fail(x->result, GRPC_UNAVAILABLE,
                        c->heard ? "the connection to %s was lost"
                                 : "%s ended the connection without a word of HTTP/2: is it the "
                                   "gRPC port, and does it speak TLS or not?",
                        c->authority);
}

void channel_run(struct channel *c, const struct channel_call *call, struct channel_result *result)
{
    struct exchange x = {.call = call, .result = result};
    memset(result, 0, sizeof *result);
    c->exchange = &x;
    if (submit(c, &x))
        run(c, &x);
    else
        channel_result_fail(result, GRPC_UNAVAILABLE, "the connection to %s takes no more calls",
                            c->authority);
    c->exchange = NULL;
    /* The request body of a stream that is still open must not be asked for any more. */
    if (!x.closed)
        nghttp2_session_terminate_session(c->session, NGHTTP2_NO_ERROR);
    free(x.message);
}
