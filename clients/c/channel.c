#include "clients/c/channel.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "clients/c/grpc_text.h"

enum { CANCELLED = 1, UNKNOWN = 2, INVALID_ARGUMENT = 3, DEADLINE_EXCEEDED = 4,
       RESOURCE_EXHAUSTED = 8, INTERNAL = 13, UNAVAILABLE = 14 };
enum { PREFIX_BYTES = 5, READ_BYTES = 16384, HOST_BYTES = 256, PORT_BYTES = 16 };

/* The call being made. */
struct exchange {
    const struct channel_call *call;
    struct channel_result *result;
    size_t sent_bytes;      /* of prefix and request */
    uint8_t *message;       /* prefix and bytes of the message being received */
    size_t message_bytes, message_capacity;
    int http_status;
    bool has_status;        /* grpc-status came */
    bool closed;            /* the stream is over */
    bool unwanted;          /* we have reset it; *result is set */
};

struct channel {
    int fd;
    nghttp2_session *session;
    char authority[HOST_BYTES + PORT_BYTES + 4];
    struct exchange *exchange; /* NULL between calls */
    int32_t stream;
};

static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

__attribute__((format(printf, 3, 4))) static bool set_result(struct channel_result *result,
                                                             int status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    result->status = status;
    vsnprintf(result->message, sizeof result->message, format, args);
    va_end(args);
    return false;
}

/* ---- connecting ---- */

static bool connect_one(int fd, const struct addrinfo *address, uint64_t deadline)
{
    if (connect(fd, address->ai_addr, address->ai_addrlen) == 0)
        return true;
    if (errno != EINPROGRESS)
        return false;
    for (;;) {
        uint64_t now = now_ms();
        struct pollfd p = {.fd = fd, .events = POLLOUT};
        int n = now < deadline ? poll(&p, 1, (int)(deadline - now)) : 0;
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            errno = ETIMEDOUT;
            return false;
        }
        int cause = 0;
        socklen_t size = sizeof cause;
        getsockopt(fd, SOL_SOCKET, SO_ERROR, &cause, &size);
        errno = cause;
        return cause == 0;
    }
}

static bool connect_any(struct channel *c, const char *host, const char *port, uint64_t timeout_ms,
                        struct channel_result *result)
{
    struct addrinfo *list = NULL, hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    int failure = getaddrinfo(host, port, &hints, &list);
    if (failure)
        return set_result(result, UNAVAILABLE, "%s: %s", c->authority, gai_strerror(failure));
    uint64_t deadline = now_ms() + (timeout_ms < 3600000 ? timeout_ms : 3600000);
    int cause = EADDRNOTAVAIL;
    for (struct addrinfo *a = list; a && c->fd < 0; a = a->ai_next) {
        int fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd >= 0 && connect_one(fd, a, deadline)) {
            c->fd = fd;
            break;
        }
        cause = errno;
        if (fd >= 0)
            close(fd);
    }
    freeaddrinfo(list);
    if (c->fd < 0)
        return set_result(result, UNAVAILABLE, "cannot connect to %s: %s", c->authority,
                          strerror(cause));
    int on = 1;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return true;
}

/* ---- what nghttp2 tells ---- */

/* Ends the stream from our side. */
static void give_up(struct channel *c, int status, const char *why)
{
    struct exchange *x = c->exchange;
    if (x->unwanted || x->closed)
        return;
    x->unwanted = true;
    set_result(x->result, status, "%s", why);
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
    char text[16];
    snprintf(text, sizeof text, "%.*s", (int)(value_bytes < 15 ? value_bytes : 15),
             (const char *)value);
    if (name_bytes == 7 && memcmp(name, ":status", 7) == 0) {
        x->http_status = atoi(text);
    } else if (name_bytes == 11 && memcmp(name, "grpc-status", 11) == 0) {
        x->has_status = true;
        x->result->status = atoi(text);
    } else if (name_bytes == 12 && memcmp(name, "grpc-message", 12) == 0) {
        grpc_text_decode_message((const char *)value, value_bytes, x->result->message,
                                 sizeof x->result->message);
    }
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
        give_up(c, RESOURCE_EXHAUSTED, "the server sent a message that is too long");
        return 0;
    }
    if (wanted > x->message_capacity) {
        uint8_t *grown = realloc(x->message, wanted);
        if (!grown) {
            give_up(c, RESOURCE_EXHAUSTED, "out of memory for a message");
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
                give_up(c, INTERNAL, "the server compressed a message unasked");
                break;
            }
            if (!x->call->message(x->call->arg, x->message + PREFIX_BYTES,
                                  x->message_bytes - PREFIX_BYTES))
                give_up(c, CANCELLED, "cancelled");
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
    if (x->has_status || x->unwanted)
        return 0;
    if (x->http_status && x->http_status != 200)
        set_result(x->result, UNKNOWN, "the server answered HTTP %d", x->http_status);
    else if (error_code == NGHTTP2_REFUSED_STREAM)
        set_result(x->result, UNAVAILABLE, "the server refuses new calls");
    else if (error_code == NGHTTP2_CANCEL)
        set_result(x->result, CANCELLED, "the server cancelled the call");
    else
        set_result(x->result, INTERNAL, "the stream ended without a status (HTTP/2 error %u)",
                   error_code);
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
        ok = nghttp2_session_client_new(&c->session, callbacks, c) == 0;
        nghttp2_session_callbacks_del(callbacks);
    }
    const nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_ENABLE_PUSH, 0}};
    ok = ok && nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, settings, 1) == 0;
    return ok || set_result(result, RESOURCE_EXHAUSTED, "out of memory for a connection");
}

bool channel_open(struct channel **out, const char *address, uint64_t timeout_ms,
                  struct channel_result *result)
{
    char host[HOST_BYTES], port[PORT_BYTES];
    memset(result, 0, sizeof *result);
    if (!grpc_text_address(address, host, sizeof host, port, sizeof port))
        return set_result(result, INVALID_ARGUMENT, "'%.200s' is not HOST:PORT", address);
    struct channel *c = calloc(1, sizeof *c);
    if (!c)
        return set_result(result, RESOURCE_EXHAUSTED, "out of memory");
    c->fd = -1;
    snprintf(c->authority, sizeof c->authority, "%s", address);
    if (!connect_any(c, host, port, timeout_ms, result) || !open_session(c, result)) {
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
    if (c->fd >= 0)
        close(c->fd);
    free(c);
}

/* ---- a call ---- */

static bool wait_for(struct channel *c, short events, int cancel_fd, int timeout_ms,
                     bool *cancelled)
{
    struct pollfd p[2] = {{.fd = c->fd, .events = events}, {.fd = cancel_fd, .events = POLLIN}};
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
            ssize_t n = send(c->fd, data, (size_t)size, MSG_NOSIGNAL);
            if (n > 0) {
                data += n;
                size -= n;
            } else if (errno == EAGAIN) {
                bool cancelled;
                if (!wait_for(c, POLLOUT, -1, 10000, &cancelled))
                    return false;
            } else if (errno != EINTR) {
                return false;
            }
        }
    }
}

/* Reads what is there. False: the connection is gone. */
static bool read_in(struct channel *c)
{
    uint8_t bytes[READ_BYTES];
    ssize_t n = recv(c->fd, bytes, sizeof bytes, 0);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    return n > 0 && nghttp2_session_mem_recv(c->session, bytes, (size_t)n) == n;
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
        field(":method", "POST"), field(":scheme", "http"), field(":path", x->call->path),
        field(":authority", c->authority), field("te", "trailers"),
        field("content-type", "application/grpc"), field("user-agent", "moering-client"),
        field("grpc-timeout", ""),
    };
    size_t count = sizeof fields / sizeof fields[0] - 1;
    if (x->call->timeout_ms) {
        grpc_text_timeout(x->call->timeout_ms, timeout, sizeof timeout);
        fields[count++] = field("grpc-timeout", timeout);
    }
    nghttp2_data_provider body = {.source = {.ptr = x}, .read_callback = read_request};
    c->stream = nghttp2_submit_request(c->session, NULL, fields, count, &body, NULL);
    return c->stream > 0;
}

/* Bytes to and fro until the stream is over. */
static void run(struct channel *c, struct exchange *x)
{
    uint64_t deadline = x->call->timeout_ms ? now_ms() + x->call->timeout_ms : UINT64_MAX;
    while (!x->closed) {
        if (!write_out(c))
            break;
        if (x->unwanted)
            return; /* our reset is on its way */
        uint64_t now = now_ms();
        if (now >= deadline) {
            give_up(c, DEADLINE_EXCEEDED, "deadline exceeded");
            continue;
        }
        uint64_t patience = deadline - now < 60000 ? deadline - now : 60000;
        bool cancelled;
        bool readable = wait_for(c, POLLIN, x->call->cancel_fd, (int)patience, &cancelled);
        if (cancelled)
            give_up(c, CANCELLED, "cancelled");
        else if (readable && !read_in(c))
            break;
    }
    if (!x->closed && !x->unwanted)
        set_result(x->result, UNAVAILABLE, "the connection to %s was lost", c->authority);
}

void channel_run(struct channel *c, const struct channel_call *call, struct channel_result *result)
{
    struct exchange x = {.call = call, .result = result};
    memset(result, 0, sizeof *result);
    c->exchange = &x;
    if (submit(c, &x))
        run(c, &x);
    else
        set_result(result, UNAVAILABLE, "the connection to %s takes no more calls", c->authority);
    c->exchange = NULL;
    /* The request body of a stream that is still open must not be asked for any more. */
    if (!x.closed)
        nghttp2_session_terminate_session(c->session, NGHTTP2_NO_ERROR);
    free(x.message);
}
