/* HTTP/2 connections of a server: bytes of a bufferevent to streams of headers and data, and back.
 * Knows no gRPC. The only file that sees nghttp2.
 *
 * Everything runs on the front thread. A connection destroys itself at the top of an event callback
 * and nowhere deeper, so a handler may answer, reset or finish any stream from inside any callback;
 * what it must not do there is close a connection. A stream pointer is valid until `closed`.
 * Output is not written where it is produced: it waits in the stream, nghttp2 draws it as windows
 * allow, and the socket's buffer is topped up to HTTP2_OUTPUT_HIGH_BYTES. */
#ifndef MOERING_SERVER_GRPC_HTTP2_H
#define MOERING_SERVER_GRPC_HTTP2_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "memory/base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

struct bufferevent;
struct event_base;
struct http2;            /* what all connections of a server share */
struct http2_connection;
struct http2_stream;

enum {
    HTTP2_OUTPUT_HIGH_BYTES = 256 << 10,   /* unsent in a socket's buffer: nghttp2 waits */
    HTTP2_STREAM_WINDOW_BYTES = 256 << 10, /* what a client may send ahead on a stream */
    HTTP2_CONNECTION_WINDOW_BYTES = 4 << 20,
};

/* RFC 9113 section 7, the ones used here. */
enum http2_error { HTTP2_NO_ERROR = 0, HTTP2_INTERNAL_ERROR = 2, HTTP2_CANCEL = 8 };

struct http2_field {
    const char *name;
    size_t name_bytes;
    const char *value;
    size_t value_bytes;
};

/* What the owner of the connections does with requests. No member may be NULL. */
struct http2_handler {
    /* A request begins. What is returned is handed to the calls below; NULL refuses the stream. */
    void *(*begin)(void *connection_user, struct http2_stream *stream);
    /* One header of the request. */
    void (*field)(void *request, const struct http2_field *field);
    /* All headers are in. `too_large`: beyond the limit, and not all of them were handed over. */
    void (*headers)(void *request, bool too_large);
    /* Body. Each byte is given back to the window by http2_stream_consume once it is done with. */
    void (*data)(void *request, const uint8_t *bytes, size_t size);
    /* The client will send no more. */
    void (*end)(void *request);
    /* http2_stream_want_writable was called and half of the backlog is gone. */
    void (*writable)(void *request);
    /* The stream is gone. `complete`: everything up to the end of the answer was sent. */
    void (*closed)(void *request, bool complete);
    /* The connection is gone, after all its streams. */
    void (*connection_closed)(void *connection_user, const char *reason);
};

struct http2_limits {
    size_t header_bytes_max;
    uint32_t concurrent_streams_max;
    uint32_t idle_timeout_s;
    uint32_t keepalive_time_s;
    uint32_t keepalive_timeout_s;
    uint32_t ping_min_interval_ms;
    uint32_t ping_strikes_max;
    uint32_t connection_age_max_s;
    uint32_t connection_grace_s;
};

/* `handler` is borrowed. NO_MEMORY. */
enum status http2_open(struct http2 **out, struct event_base *base,
                       const struct http2_handler *handler, const struct http2_limits *limits);
/* After the last connection. Accepts NULL. */
void http2_close(struct http2 *http2);

/* Serves one client on `bev`, which now belongs to the connection, also when this fails.
 * NO_MEMORY. */
enum status http2_connection_open(struct http2_connection **out, struct http2 *http2,
                                  struct bufferevent *bev, void *connection_user);
/* Drops the connection: streams are `closed`, then `connection_closed`. Not from a callback of the
 * handler. */
void http2_connection_close(struct http2_connection *connection, const char *reason);
/* Clockwork: idle, keepalive, age, drain. To be called several times a second; may end in
 * connection_closed, so the caller keeps its place in a list beforehand. */
void http2_connection_tick(struct http2_connection *connection, uint64_t now_ns);
/* Graceful: GOAWAY(2^31-1), and GOAWAY(last id) once the client has surely seen it; the connection
 * closes when its streams are done. Idempotent. */
void http2_connection_drain(struct http2_connection *connection);
/* Nothing more will be sent: no stream, no byte. */
bool http2_connection_quiet(const struct http2_connection *connection);

/* The answer's headers; `last`: it is all there is. Once per stream. NO_MEMORY, or CANCELLED when
 * the stream is going away. */
enum status http2_stream_respond(struct http2_stream *stream, const struct http2_field *fields,
                                 size_t count, bool last);
/* Queues body bytes (copied). NO_MEMORY. */
enum status http2_stream_write(struct http2_stream *stream, const void *bytes, size_t size);
/* Ends the answer after everything queued. If the client has not finished by then its stream is
 * reset with NO_ERROR. NO_MEMORY. */
enum status http2_stream_finish(struct http2_stream *stream, const struct http2_field *trailers,
                                size_t count);
/* Gives the stream up; what is queued is dropped. `closed` follows later. */
void http2_stream_reset(struct http2_stream *stream, enum http2_error code);
/* `size` more bytes of the request's body need no room any longer. */
void http2_stream_consume(struct http2_stream *stream, size_t size);
/* Body bytes queued and not yet drawn by the connection. */
size_t http2_stream_unsent(const struct http2_stream *stream);
/* Asks for one `writable`, when no more than half of what is queued now is left. */
void http2_stream_want_writable(struct http2_stream *stream);

#ifdef __cplusplus
}
#endif
#endif
