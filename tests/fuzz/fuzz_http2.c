/* link: server_net */
/* A client's bytes into the whole stack: frames, headers, messages, health. The connection is
 * a pair of bufferevents, so no socket is involved. A first byte below 128 puts a valid greeting
 * before the input; the next bits say in which pieces it arrives. What must hold: every call that
 * was opened is closed, once, and nothing is left. */
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

#include "memory/base/check.h"
#include "server/grpc/grpc_call.h"
#include "server/grpc/health.h"
#include "server/grpc/http2.h"

enum { METHODS = HEALTH_METHODS + 1 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct peer {
    struct grpc_calls calls;
    struct http2_connection *connection;
    int opened, closed;
};

static void echo_open(struct grpc_call *call)
{
    ((struct peer *)grpc_call_context(call))->opened++;
}

static void echo_message(struct grpc_call *call, const uint8_t *bytes, size_t size)
{
    grpc_call_set_compression(call, size % 2 != 0);
    (void)grpc_call_send(call, bytes, size);
    if (size == 3)
        grpc_call_finish(call, GRPC_ABORTED, "three");
}

static void echo_half_close(struct grpc_call *call)
{
    grpc_call_finish(call, GRPC_OK, NULL);
}

static void echo_closed(struct grpc_call *call, enum grpc_status status)
{
    (void)status;
    ((struct peer *)grpc_call_context(call))->closed++;
}

static void *on_begin(void *user, struct http2_stream *stream)
{
    return grpc_call_begin(&((struct peer *)user)->calls, stream, "peer");
}

static void on_connection_closed(void *user, const char *reason)
{
    (void)reason;
    ((struct peer *)user)->connection = NULL;
}

static const struct http2_handler handler = {
    on_begin,       grpc_call_on_field,    grpc_call_on_headers, grpc_call_on_data,
    grpc_call_on_end, grpc_call_on_writable, grpc_call_on_closed,  on_connection_closed,
};

static void deliver(struct event_base *base, struct bufferevent *end, const uint8_t *data,
                    size_t size, size_t step)
{
    for (size_t at = 0; at < size; at += step) {
        bufferevent_write(end, data + at, size - at < step ? size - at : step);
        event_base_loop(base, EVLOOP_NONBLOCK);
        struct evbuffer *answers = bufferevent_get_input(end);
        evbuffer_drain(answers, evbuffer_get_length(answers));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char greeting[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";
    struct http2_limits http2_limits = {.header_bytes_max = 4096, .concurrent_streams_max = 20,
                                        .keepalive_timeout_s = 20, .ping_strikes_max = 5,
                                        .ping_min_interval_ms = 100};
    struct grpc_limits limits;
    struct peer peer = {0};
    struct health *health;
    struct http2 *http2;
    struct bufferevent *ends[2];
    struct grpc_method methods[METHODS];
    if (size < 1)
        return 0;
    struct event_base *base = event_base_new();
    grpc_limits_init(&limits);
    limits.message_bytes_max = 1000;
    limits.output_bytes_high = 200;
    CHECK(health_open(&health) == STATUS_OK);
    health_methods(health, methods);
    methods[HEALTH_METHODS] = (struct grpc_method){
        .path = "/e.E/Echo", .client_streaming = true, .server_streaming = true, .context = &peer,
        .open = echo_open, .message = echo_message, .half_close = echo_half_close,
        .closed = echo_closed};
    CHECK(grpc_calls_open(&peer.calls, base, &limits, methods, METHODS, NULL) == STATUS_OK);
    CHECK(http2_open(&http2, base, &handler, &http2_limits) == STATUS_OK);
    CHECK(bufferevent_pair_new(base, BEV_OPT_DEFER_CALLBACKS, ends) == 0);
    CHECK(http2_connection_open(&peer.connection, http2, ends[0], &peer) == STATUS_OK);
    bufferevent_enable(ends[1], EV_READ | EV_WRITE);
    if (data[0] < 128)
        deliver(base, ends[1], (const uint8_t *)greeting, sizeof greeting - 1, sizeof greeting);
    deliver(base, ends[1], data + 1, size - 1, data[0] % 4 ? (size_t)1 << data[0] % 16 : size);
    if (peer.connection)
        http2_connection_close(peer.connection, "over");
    CHECK(peer.opened == peer.closed && peer.calls.count == 0 && peer.calls.input_bytes == 0);
    bufferevent_free(ends[1]);
    event_base_loop(base, EVLOOP_NONBLOCK);
    http2_close(http2);
    grpc_calls_close(&peer.calls);
    health_close(health);
    event_base_free(base);
    return 0;
}
