/* The inside of a call, between http2 (streams) and grpc.c (the server). Nobody else includes it.
 *
 *   BEGUN --headers--> refused: answered with a status, no method ever hears of it
 *                  \-> OPEN --finish by the handler--> FINISHED --stream gone--> closed
 *                          \--ended by the layer-----> closed at once, then FINISHED
 *
 * Invariant: a call is in the table of ids from begin until `closed` was reported or its stream
 * went; a method's callbacks run only while it is OPEN, except `closed`. */
#ifndef MOERING_SERVER_GRPC_GRPC_CALL_H
#define MOERING_SERVER_GRPC_GRPC_CALL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "server/grpc/grpc.h"
#include "server/grpc/grpc_message.h"
#include "server/grpc/grpc_metadata.h"
#include "server/grpc/http2.h"

#ifdef __cplusplus
extern "C" {
#endif

struct evbuffer;
struct event;

LIST_HEAD(grpc_call_list, grpc_call);

/* All calls of a server, by id, and what they share. */
struct grpc_calls {
    struct event_base *base;
    struct grpc_limits limits;
    const struct api_keys *keys; /* as in struct grpc_server_config */
    struct grpc_method *methods; /* sorted by path */
    size_t method_count;
    struct grpc_call_list *buckets; /* a power of two of them; an id's low bits choose */
    uint32_t bucket_count, count;
    uint64_t last_id;
    size_t input_bytes; /* held by all calls for messages that are not whole */
};

struct grpc_call {
    uint64_t id;
    struct grpc_calls *calls;
    struct http2_stream *stream;
    const struct grpc_method *method; /* NULL until the path is known */
    void *user;
    const char *peer; /* the connection's */
    struct grpc_metadata request, initial, trailing;
    struct event *deadline;
    bool deadline_passed;
    uint64_t deadline_ns;
    struct grpc_message_reader reader;
    uint8_t *unary; /* the one message of a unary request, until the client's end */
    size_t unary_bytes;
    struct evbuffer *held; /* input that waits while output is full */
    size_t accounted_bytes; /* this call's part of calls->input_bytes */
    enum grpc_status status;
    bool bad_metadata;   /* a -bin value was not base64 */
    bool no_memory;      /* while collecting headers */
    bool opened;         /* `open` was called, `closed` is owed */
    bool over;           /* `closed` was reported */
    bool finished;       /* the status is decided */
    bool headers_sent;
    bool remote_ended;
    bool full;           /* grpc_call_send said so and `writable` is owed */
    bool in_callback;    /* feeding: no recursion */
    bool client_gzip, gzip, gzip_promised;
    bool message_compressed; /* the message being delivered */
    LIST_ENTRY(grpc_call) in_bucket;
};

/* NO_MEMORY; INVALID: two methods have one path. */
enum status grpc_calls_open(struct grpc_calls *calls, struct event_base *base,
                            const struct grpc_limits *limits, const struct grpc_method *methods,
                            size_t method_count, struct error *error);
void grpc_calls_close(struct grpc_calls *calls); /* CHECK: no call is left */
struct grpc_call *grpc_calls_find(const struct grpc_calls *calls, uint64_t id);

/* Arms the call's deadline. NO_MEMORY. */
enum status grpc_call_set_timeout(struct grpc_call *call, uint64_t timeout_ns);

/* The side of http2_handler that concerns one stream. */
struct grpc_call *grpc_call_begin(struct grpc_calls *calls, struct http2_stream *stream,
                                  const char *peer);
void grpc_call_on_field(void *call, const struct http2_field *field);
void grpc_call_on_headers(void *call, bool too_large);
void grpc_call_on_data(void *call, const uint8_t *bytes, size_t size);
void grpc_call_on_end(void *call);
void grpc_call_on_writable(void *call);
void grpc_call_on_closed(void *call, bool complete);

/* Ends a call by the layer's own decision: status to the client, `closed` to the method, now. */
void grpc_call_end(struct grpc_call *call, enum grpc_status status, const char *message);

#ifdef __cplusplus
}
#endif
#endif
