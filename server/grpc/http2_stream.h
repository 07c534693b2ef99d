/* What http2.c (connections) and http2_stream.c (their streams) share; nobody else includes it.
 *
 * Invariant: a stream is in its connection's list, and is nghttp2's user data, from begin to
 * closed. */
#ifndef MOERING_SERVER_GRPC_HTTP2_STREAM_H
#define MOERING_SERVER_GRPC_HTTP2_STREAM_H

#include <event2/event.h>
#include <nghttp2/nghttp2.h>
#include <sys/queue.h>

#include "server/grpc/http2.h"

#ifdef __cplusplus
extern "C" {
#endif

struct evbuffer;

struct http2 {
    struct event_base *base;
    const struct http2_handler *handler;
    struct http2_limits limits;
    nghttp2_session_callbacks *callbacks;
    nghttp2_option *option;
};

enum http2_state {
    CONNECTION_OPEN,
    CONNECTION_NOTICE,  /* GOAWAY(2^31-1) is out */
    CONNECTION_GOAWAY,  /* GOAWAY(last id) is out; streams finish */
    CONNECTION_ENDING, /* the last GOAWAY is said; input is ignored, output still goes */
    CONNECTION_LINGER,  /* our side is shut; waiting for the client's */
};

struct http2_stream {
    struct http2_connection *connection;
    void *request;
    int32_t id;
    struct evbuffer *output;
    nghttp2_nv *trailers; /* and their text, one block */
    size_t trailer_count;
    size_t header_bytes;
    size_t writable_at;
    bool too_large;     /* headers */
    bool responded;
    bool finishing;     /* no more body will be queued */
    bool complete;      /* the end of the answer was sent */
    bool want_writable;
    bool in_writable;
    TAILQ_ENTRY(http2_stream) in_connection;
    TAILQ_ENTRY(http2_stream) in_writable_list;
};

struct http2_connection {
    struct http2 *http2;
    void *user;
    struct bufferevent *bev;
    nghttp2_session *session;
    struct event *flush;
    enum http2_state state;
    const char *ending; /* why */
    uint32_t stream_count;
    uint32_t strikes, empty_frames;
    bool agreed; /* on HTTP/2, by TLS where there is TLS; before that nghttp2 sees nothing */
    bool settled;         /* the client's preface has come */
    bool ping_out;
    uint64_t opened_ns, idle_ns, frame_ns, client_ping_ns, ping_ns, state_ns;
    TAILQ_HEAD(http2_streams, http2_stream) streams;
    TAILQ_HEAD(http2_writable, http2_stream) writable;
};

/* A deferred connection_flush: nghttp2 is never re-entered from a handler. */
static inline void http2_want_flush(struct http2_connection *connection)
{
    event_active(connection->flush, EV_TIMEOUT, 0);
}

/* Begins a request and asks the handler for its side of it. NULL: refused or no memory. */
struct http2_stream *http2_stream_begin(struct http2_connection *connection, int32_t id);
/* Tells the handler that the stream is gone, and frees it. */
void http2_stream_close(struct http2_stream *stream);
/* Calls `writable` for the streams that wait for it, each once. False: there was none. */
bool http2_stream_fire_writable(struct http2_connection *connection);

#ifdef __cplusplus
}
#endif
#endif
