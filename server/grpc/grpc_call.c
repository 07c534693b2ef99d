/* See grpc_call.h. Messages in, messages out, and how a call ends.
 *
 * Back-pressure runs both ways through one call: while more than output_bytes_high is unsent, bytes
 * of the client are held and not given back to its window, so a client that writes without reading
 * stops itself. What is held is bounded by the stream's window.
 *
 * A handler may finish the call inside any callback; each loop here looks at `finished` after each
 * callback and touches nothing else. The call's memory lives until the stream is gone, which never
 * happens below a callback (http2.h). */
#include "server/grpc/grpc_call.h"

#include <event2/buffer.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

#include "memory/base/check.h"
#include "memory/base/clock.h"

enum {
    FIELDS_MAX = 8,             /* of our own, beside the application's */
    STATUS_MESSAGE_BYTES_MAX = 1024, /* of grpc-message, before its encoding triples it */
    DEADLINE_GRACE_MS = 500,         /* in which the status of an expired call must get out */
};

#define FIELD(name, value) {(name), sizeof(name) - 1, (value), sizeof(value) - 1}

/* ---- the end ---- */

static void call_account(struct grpc_call *call)
{
    size_t held = grpc_message_reader_held(&call->reader) + call->unary_bytes;
    call->calls->input_bytes += held - call->accounted_bytes; /* modulo 2^64, also downwards */
    call->accounted_bytes = held;
}

static void call_drop_input(struct grpc_call *call)
{
    grpc_message_reader_reset(&call->reader);
    free(call->unary);
    call->unary = NULL;
    call->unary_bytes = 0;
    if (call->held)
        evbuffer_free(call->held);
    call->held = NULL;
    call_account(call);
}

static void call_report_closed(struct grpc_call *call, enum grpc_status status)
{
    if (!call->opened || call->over)
        return;
    call->over = true;
    if (call->method->closed)
        call->method->closed(call, status);
}

void grpc_call_on_closed(void *arg, bool complete)
{
    struct grpc_call *call = arg;
    bool heard = call->finished && complete;
    call->finished = true;
    call_report_closed(call, heard ? call->status : GRPC_CANCELLED);
    LIST_REMOVE(call, in_bucket);
    call->calls->count--;
    call_drop_input(call);
    if (call->deadline)
        event_free(call->deadline);
    grpc_metadata_reset(&call->request);
    grpc_metadata_reset(&call->initial);
    grpc_metadata_reset(&call->trailing);
    free(call);
}

/* The fields of a list, into `out` with room for them. */
static size_t fields_of(const struct grpc_metadata *metadata, struct http2_field *out)
{
    for (uint32_t i = 0; i < metadata->count; i++) {
        out[i].name = grpc_metadata_name(metadata, i, &out[i].name_bytes);
        out[i].value = grpc_metadata_value(metadata, i, &out[i].value_bytes);
    }
    return metadata->count;
}

/* What every answer begins with. `out` has room for FIELDS_MAX. */
static size_t fields_initial(const struct grpc_call *call, struct http2_field *out)
{
    static const struct http2_field fixed[] = {
        FIELD(":status", "200"),
        FIELD("content-type", "application/grpc"),
        FIELD("grpc-accept-encoding", "identity,gzip"),
    };
    static const struct http2_field gzip = FIELD("grpc-encoding", "gzip");
    size_t n = sizeof fixed / sizeof *fixed;
    memcpy(out, fixed, sizeof fixed);
    if (call->gzip_promised)
        out[n++] = gzip;
    return n;
}

enum status grpc_call_send_headers(struct grpc_call *call)
{
    if (call->finished && !call->headers_sent)
        return STATUS_CANCELLED;
    if (call->headers_sent)
        return STATUS_OK;
    struct http2_field *fields = calloc(FIELDS_MAX + call->initial.count, sizeof *fields);
    if (!fields)
        return STATUS_NO_MEMORY;
    call->gzip_promised = call->gzip && call->client_gzip;
    size_t n = fields_initial(call, fields);
    n += fields_of(&call->initial, fields + n);
    enum status status = http2_stream_respond(call->stream, fields, n, false);
    free(fields);
    call->headers_sent = status == STATUS_OK;
    return status;
}

/* At most STATUS_MESSAGE_BYTES_MAX of `message`, cut before a UTF-8 character, not within. */
static size_t status_message_bytes(const char *message)
{
    size_t bytes = strnlen(message, STATUS_MESSAGE_BYTES_MAX + 1);
    if (bytes <= STATUS_MESSAGE_BYTES_MAX)
        return bytes;
    bytes = STATUS_MESSAGE_BYTES_MAX;
    while (bytes > 0 && ((unsigned char)message[bytes] & 0xc0) == 0x80)
        bytes--;
    return bytes;
}

/* grpc-status, grpc-message and the trailing metadata; alone, or with the headers before them when
 * nothing was sent yet. */
static enum status call_send_status(struct grpc_call *call, const char *message)
{
    char encoded[3 * STATUS_MESSAGE_BYTES_MAX], code[4];
    struct http2_field *fields = calloc(FIELDS_MAX + call->trailing.count, sizeof *fields);
    if (!fields)
        return STATUS_NO_MEMORY;
    bool alone = !call->headers_sent;
    size_t n = alone ? fields_initial(call, fields) : 0;
    unsigned number = (unsigned)call->status;
    size_t code_bytes = 0;
    if (number > 9)
        code[code_bytes++] = (char)('0' + number / 10 % 10);
    code[code_bytes++] = (char)('0' + number % 10);
    fields[n++] = (struct http2_field){"grpc-status", strlen("grpc-status"), code, code_bytes};
    if (message && *message) {
        size_t bytes = grpc_percent_encode(message, status_message_bytes(message), encoded);
        fields[n++] =
            (struct http2_field){"grpc-message", strlen("grpc-message"), encoded, bytes};
    }
    n += fields_of(&call->trailing, fields + n);
    enum status status = alone ? http2_stream_respond(call->stream, fields, n, true)
                               : http2_stream_finish(call->stream, fields, n);
    call->headers_sent = true;
    free(fields);
    return status;
}

void grpc_call_finish(struct grpc_call *call, enum grpc_status code, const char *message)
{
    if (call->finished)
        return;
    enum status sent = STATUS_OK;
    if (call->initial.count > 0) /* metadata promised as initial must not arrive as trailing */
        sent = grpc_call_send_headers(call);
    call->finished = true;
    call->status = code;
    if (sent == STATUS_OK)
        sent = call_send_status(call, message);
    if (sent != STATUS_OK)
        http2_stream_reset(call->stream, HTTP2_INTERNAL_ERROR);
    /* What still comes from the client is not wanted, but this may run inside the callback that is
     * reading it: the owner of the loop drops it. */
    if (!call->in_callback)
        call_drop_input(call);
}

void grpc_call_end(struct grpc_call *call, enum grpc_status status, const char *message)
{
    grpc_call_finish(call, status, message);
    call_report_closed(call, status);
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
    struct grpc_call *call = arg;
    const struct timeval grace = {.tv_usec = DEADLINE_GRACE_MS * 1000};
    (void)fd, (void)what;
    if (!call->deadline_passed) {
        /* What is queued may only wait for its turn in this very loop: the status goes behind it. A
         * reset would be told as CANCELLED by a client whose clock is a moment behind ours. */
        call->deadline_passed = true;
        if (!call->finished)
            grpc_call_end(call, GRPC_DEADLINE_EXCEEDED, "the deadline has passed");
        if (http2_stream_unsent(call->stream) > 0 && evtimer_add(call->deadline, &grace) == 0)
            return;
    }
    if (http2_stream_unsent(call->stream) > 0) /* the client does not read, nor would it that */
        http2_stream_reset(call->stream, HTTP2_CANCEL);
}

enum status grpc_call_set_timeout(struct grpc_call *call, uint64_t timeout_ns)
{
    if (timeout_ns > INT64_MAX / 2) /* centuries */
        return STATUS_OK;
    call->deadline_ns = clock_now_ns() + timeout_ns;
    call->deadline = evtimer_new(call->calls->base, on_deadline, call);
    /* Rounded up: a deadline is never found to have passed before it has. */
    uint64_t timeout_us = timeout_ns / 1000 + 1;
    struct timeval delay = {(time_t)(timeout_us / 1000000), (suseconds_t)(timeout_us % 1000000)};
    if (!call->deadline || evtimer_add(call->deadline, &delay) != 0)
        return STATUS_NO_MEMORY;
    return STATUS_OK;
}

/* ---- messages in ---- */

static void call_fail(struct grpc_call *call, enum status status, const struct error *error)
{
    grpc_call_end(call, status == STATUS_INVALID ? GRPC_INTERNAL : GRPC_RESOURCE_EXHAUSTED,
                  error->text);
}

/* One whole message. A unary one is kept until the client's end shows that it is the only one. */
static void call_deliver(struct grpc_call *call, const struct grpc_message *message)
{
    call->message_compressed = message->compressed;
    if (call->method->client_streaming) {
        if (call->method->message)
            call->method->message(call, message->bytes, message->size);
        return;
    }
    if (call->unary) {
        grpc_call_end(call, GRPC_UNIMPLEMENTED, "more than one message in a unary request");
        return;
    }
    call->unary = malloc(message->size ? message->size : 1);
    if (!call->unary) {
        grpc_call_end(call, GRPC_RESOURCE_EXHAUSTED, "no memory for the request");
        return;
    }
    if (message->size)
        memcpy(call->unary, message->bytes, message->size);
    call->unary_bytes = message->size;
}

/* Feeds as much as the call takes now; returns how much that was. */
static size_t call_feed(struct grpc_call *call, const uint8_t *bytes, size_t size)
{
    size_t fed = 0;
    while (fed < size && !call->finished && !call->full) {
        struct grpc_message message;
        struct error error = {{0}};
        size_t used;
        enum status status =
            grpc_message_read(&call->reader, bytes + fed, size - fed, &used, &message, &error);
        fed += used;
        call_account(call);
        if (status == STATUS_OK && call->calls->input_bytes > call->calls->limits.input_bytes_max)
            status = error_set(&error, STATUS_FULL,
                               "unfinished requests hold %zu bytes, the limit is %zu",
                               call->calls->input_bytes, call->calls->limits.input_bytes_max);
        if (status != STATUS_OK)
            call_fail(call, status, &error);
        else if (message.bytes)
            call_deliver(call, &message);
    }
    return fed;
}

/* The client has ended and everything before that was fed. */
static void call_half_close(struct grpc_call *call)
{
    if (!grpc_message_reader_idle(&call->reader)) {
        grpc_call_end(call, GRPC_INTERNAL, "the last message of the request is truncated");
        return;
    }
    if (call->method->client_streaming) {
        if (call->method->half_close)
            call->method->half_close(call);
        return;
    }
    if (!call->unary) {
        grpc_call_end(call, GRPC_UNIMPLEMENTED, "no message in a unary request");
        return;
    }
    uint8_t *unary = call->unary;
    size_t bytes = call->unary_bytes;
    call->unary = NULL;
    call->unary_bytes = 0;
    call_account(call);
    if (call->method->message)
        call->method->message(call, unary, bytes);
    free(unary);
}

/* Moves on with whatever input there is: first what was held, then `bytes`. */
static void call_advance(struct grpc_call *call, const uint8_t *bytes, size_t size)
{
    struct evbuffer_iovec piece;
    call->in_callback = true;
    while (call->held && !call->finished && !call->full &&
           evbuffer_peek(call->held, -1, NULL, &piece, 1) > 0 && piece.iov_len > 0) {
        size_t fed = call_feed(call, piece.iov_base, piece.iov_len);
        (void)evbuffer_drain(call->held, fed);
        http2_stream_consume(call->stream, fed);
    }
    bool waiting = call->held && evbuffer_get_length(call->held) > 0;
    size_t fed = waiting ? 0 : call_feed(call, bytes, size);
    http2_stream_consume(call->stream, fed);
    if (fed < size && !call->finished) {
        if (!call->held)
            call->held = evbuffer_new();
        if (!call->held || evbuffer_add(call->held, bytes + fed, size - fed) != 0)
            grpc_call_end(call, GRPC_RESOURCE_EXHAUSTED, "no memory for the request");
        waiting = true;
    }
    if (call->remote_ended && !waiting && !call->finished) {
        call->remote_ended = false; /* told once */
        call_half_close(call);
    }
    call->in_callback = false;
    if (call->finished)
        call_drop_input(call);
}

void grpc_call_on_data(void *arg, const uint8_t *bytes, size_t size)
{
    struct grpc_call *call = arg;
    if (call->finished)
        http2_stream_consume(call->stream, size); /* not wanted; let the client get on */
    else
        call_advance(call, bytes, size);
}

void grpc_call_on_end(void *arg)
{
    struct grpc_call *call = arg;
    call->remote_ended = true;
    if (!call->finished)
        call_advance(call, NULL, 0);
}

void grpc_call_on_writable(void *arg)
{
    struct grpc_call *call = arg;
    call->full = false;
    if (call->finished)
        return;
    if (call->method->writable)
        call->method->writable(call);
    if (!call->finished)
        call_advance(call, NULL, 0);
}

/* ---- messages out ---- */

void grpc_call_set_compression(struct grpc_call *call, bool gzip)
{
    call->gzip = gzip;
}

enum status grpc_call_send_metadata(struct grpc_call *call, bool trailing, const char *name,
                                    const void *value, size_t bytes)
{
    if (call->finished || (!trailing && call->headers_sent))
        return STATUS_INVALID;
    return grpc_metadata_send(trailing ? &call->trailing : &call->initial, name, value, bytes);
}

enum status grpc_call_send(struct grpc_call *call, const void *bytes, size_t size)
{
    uint8_t prefix[GRPC_MESSAGE_PREFIX_BYTES], *packed = NULL;
    if (call->finished)
        return STATUS_CANCELLED;
    enum status status = grpc_call_send_headers(call);
    if (status == STATUS_OK && call->gzip && call->gzip_promised) {
        size_t packed_bytes;
        if (grpc_message_deflate(bytes, size, &packed, &packed_bytes) == STATUS_OK) {
            bytes = packed;
            size = packed_bytes;
        }
    }
    grpc_message_prefix(prefix, packed != NULL, size);
    if (status == STATUS_OK)
        status = http2_stream_write(call->stream, prefix, sizeof prefix);
    if (status == STATUS_OK)
        status = http2_stream_write(call->stream, bytes, size);
    free(packed);
    if (status !=
        STATUS_OK) { /* half a message, or none, is in the stream: nothing can follow it */
        http2_stream_reset(call->stream, HTTP2_INTERNAL_ERROR);
        call->finished = true;
        return STATUS_CANCELLED;
    }
    if (http2_stream_unsent(call->stream) <= call->calls->limits.output_bytes_high)
        return STATUS_OK;
    call->full = true;
    http2_stream_want_writable(call->stream);
    return STATUS_FULL;
}

/* ---- what a handler may ask ---- */

uint64_t grpc_call_id(const struct grpc_call *call)
{
    return call->id;
}

void *grpc_call_context(const struct grpc_call *call)
{
    return call->method->context;
}

void *grpc_call_user(const struct grpc_call *call)
{
    return call->user;
}

void grpc_call_set_user(struct grpc_call *call, void *user)
{
    call->user = user;
}

uint64_t grpc_call_deadline_ns(const struct grpc_call *call)
{
    return call->deadline_ns;
}

const char *grpc_call_peer(const struct grpc_call *call)
{
    return call->peer;
}

bool grpc_call_message_compressed(const struct grpc_call *call)
{
    return call->message_compressed;
}

const char *grpc_call_metadata(const struct grpc_call *call, const char *name, unsigned i,
                               size_t *bytes)
{
    return grpc_metadata_find(&call->request, name, i, bytes);
}
