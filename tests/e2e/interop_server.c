/* grpc.testing.TestService on the real gRPC layer, with health and reflection: the server that the
 * interoperability and the hostile-client tests talk to. Prints "port N" when it listens and obeys
 * SIGTERM with a drain.
 *
 *     interop_server [--port N] [--LIMIT VALUE]...      LIMIT: a name from limit_table
 *
 * Beyond the interoperability services, XdsUpdateHealthService sets the health of "" and
 * LoadBalancerStatsService tells how many calls and connections are open and how calls ended. */
#include <event2/event.h>
#include <grpc/testing/empty.pb-c.h>
#include <grpc/testing/messages.pb-c.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "memory/base/check.h"
#include "moering_testing_proto/descriptor_set.h"
#include "server/grpc/grpc.h"
#include "server/grpc/health.h"
#include "server/grpc/pb.h"
#include "server/grpc/reflection.h"

enum { METHODS_MAX = 32, RESPONSE_BYTES_MAX = 16 << 20, STATUS_CODES = 17, PENDING_MAX = 100000 };

typedef Grpc__Testing__SimpleRequest simple_request;
typedef Grpc__Testing__StreamingOutputCallRequest output_request;
typedef Grpc__Testing__StreamingInputCallRequest input_request;

struct app {
    struct event_base *base;
    struct grpc_server *server;
    struct health *health;
    struct reflection *reflection;
    uint64_t ended[STATUS_CODES]; /* closed calls by status */
    uint64_t produced_bytes;      /* of streamed payloads */
};

/* One response still to be sent on a stream. */
struct pending {
    int32_t size, interval_us;
    bool compressed;
};

struct stream {
    struct app *app;
    struct grpc_call *call;
    struct event *timer;
    struct pending *pending;
    size_t pending_count, pending_at;
    uint64_t received_bytes;
    bool full, half_closed, hold; /* hold: HalfDuplexCall answers after the client's end */
};

/* ---- what all methods do ---- */

static struct app *app_of(struct grpc_call *call)
{
    return grpc_call_context(call);
}

static void count_closed(struct grpc_call *call, enum grpc_status status)
{
    app_of(call)->ended[status]++;
}

static void echo_metadata(struct grpc_call *call)
{
    static const char initial[] = "x-grpc-test-echo-initial";
    static const char trailing[] = "x-grpc-test-echo-trailing-bin";
    size_t bytes;
    const char *value = grpc_call_metadata(call, initial, 0, &bytes);
    if (value)
        CHECK(grpc_call_send_metadata(call, false, initial, value, bytes) == STATUS_OK);
    value = grpc_call_metadata(call, trailing, 0, &bytes);
    if (value)
        CHECK(grpc_call_send_metadata(call, true, trailing, value, bytes) == STATUS_OK);
}

/* NULL: the call is finished with the reason. */
static void *unpack(struct pb_arena *arena, struct grpc_call *call,
                    const ProtobufCMessageDescriptor *type, const uint8_t *bytes, size_t size)
{
    ProtobufCMessage *message;
    struct error error = {{0}};
    enum status status = pb_unpack(arena, type, bytes, size, &message, &error);
    if (status != STATUS_OK)
        grpc_call_finish(call, grpc_status_of(status), error.text);
    return message;
}

/* False: the call is finished, as the client said one thing about compression and did another. */
static bool compression_as_expected(struct grpc_call *call, const Grpc__Testing__BoolValue *expect)
{
    if (!expect || (expect->value != 0) == grpc_call_message_compressed(call))
        return true;
    grpc_call_finish(call, GRPC_INVALID_ARGUMENT, "the request's compression is not as announced");
    return false;
}

/* ---- unary ---- */

static void empty_message(struct grpc_call *call, const uint8_t *bytes, size_t size)
{
    struct pb_arena arena = {0};
    Grpc__Testing__Empty response = GRPC__TESTING__EMPTY__INIT;
    if (unpack(&arena, call, &grpc__testing__empty__descriptor, bytes, size)) {
        (void)pb_send(call, &response.base);
        grpc_call_finish(call, GRPC_OK, NULL);
    }
    pb_arena_reset(&arena);
}

static void unary_answer(struct grpc_call *call, const simple_request *request)
{
    if (!compression_as_expected(call, request->expect_compressed))
        return;
    echo_metadata(call);
    if (request->response_status && request->response_status->code) {
        grpc_call_finish(call, (enum grpc_status)request->response_status->code,
                         request->response_status->message);
        return;
    }
    if (request->response_size < 0 || request->response_size > RESPONSE_BYTES_MAX) {
        grpc_call_finish(call, GRPC_INVALID_ARGUMENT, "response_size: out of range");
        return;
    }
    Grpc__Testing__Payload payload = GRPC__TESTING__PAYLOAD__INIT;
    Grpc__Testing__SimpleResponse response = GRPC__TESTING__SIMPLE_RESPONSE__INIT;
    payload.body.len = (size_t)request->response_size;
    payload.body.data = calloc(1, payload.body.len + 1);
    response.payload = &payload;
    if (request->response_compressed && request->response_compressed->value)
        grpc_call_set_compression(call, true);
    (void)pb_send(call, &response.base);
    free(payload.body.data);
    grpc_call_finish(call, GRPC_OK, NULL);
}

static void unary_message(struct grpc_call *call, const uint8_t *bytes, size_t size)
{
    struct pb_arena arena = {0};
    simple_request *request =
        unpack(&arena, call, &grpc__testing__simple_request__descriptor, bytes, size);
    if (request)
        unary_answer(call, request);
    pb_arena_reset(&arena);
}

/* ---- streams ---- */

static void stream_pump(struct stream *stream);

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct stream *stream = arg;
    (void)fd, (void)what;
    stream->pending[stream->pending_at].interval_us = 0;
    stream_pump(stream);
}

static void stream_send(struct stream *stream, const struct pending *pending)
{
    Grpc__Testing__Payload payload = GRPC__TESTING__PAYLOAD__INIT;
    Grpc__Testing__StreamingOutputCallResponse response =
        GRPC__TESTING__STREAMING_OUTPUT_CALL_RESPONSE__INIT;
    payload.body.len = (size_t)pending->size;
    payload.body.data = calloc(1, payload.body.len + 1);
    response.payload = &payload;
    grpc_call_set_compression(stream->call, pending->compressed);
    stream->full = pb_send(stream->call, &response.base) == STATUS_FULL;
    stream->app->produced_bytes += payload.body.len;
    free(payload.body.data);
}

/* Sends what is due, while the layer takes it. */
static void stream_pump(struct stream *stream)
{
    while (stream->pending_at < stream->pending_count && !stream->full &&
           !(stream->hold && !stream->half_closed)) {
        struct pending *next = &stream->pending[stream->pending_at];
        if (next->interval_us > 0) {
            struct timeval delay = {next->interval_us / 1000000, next->interval_us % 1000000};
            if (!stream->timer)
                stream->timer = evtimer_new(stream->app->base, on_timer, stream);
            if (!event_pending(stream->timer, EV_TIMEOUT, NULL))
                evtimer_add(stream->timer, &delay);
            return;
        }
        stream->pending_at++;
        stream_send(stream, next);
    }
    if (stream->pending_at == stream->pending_count && stream->half_closed)
        grpc_call_finish(stream->call, GRPC_OK, NULL);
}

static void stream_queue(struct stream *stream, const output_request *request)
{
    size_t count = stream->pending_count + request->n_response_parameters;
    if (count > PENDING_MAX) {
        grpc_call_finish(stream->call, GRPC_RESOURCE_EXHAUSTED, "too many responses");
        return;
    }
    stream->pending = realloc(stream->pending, (count + 1) * sizeof *stream->pending);
    for (size_t i = 0; i < request->n_response_parameters; i++) {
        const Grpc__Testing__ResponseParameters *p = request->response_parameters[i];
        if (p->size < 0 || p->size > RESPONSE_BYTES_MAX || p->interval_us < 0) {
            grpc_call_finish(stream->call, GRPC_INVALID_ARGUMENT, "size: out of range");
            return;
        }
        stream->pending[stream->pending_count++] =
            (struct pending){p->size, p->interval_us, p->compressed && p->compressed->value};
    }
}

static void stream_open(struct grpc_call *call)
{
    struct stream *stream = calloc(1, sizeof *stream);
    CHECK(stream);
    stream->app = app_of(call);
    stream->call = call;
    grpc_call_set_user(call, stream);
    grpc_call_set_compression(call, true); /* promise it; each response then chooses */
    echo_metadata(call);
}

static void half_duplex_open(struct grpc_call *call)
{
    stream_open(call);
    ((struct stream *)grpc_call_user(call))->hold = true;
}

static void output_message(struct grpc_call *call, const uint8_t *bytes, size_t size)
{
    struct pb_arena arena = {0};
    struct stream *stream = grpc_call_user(call);
    output_request *request = unpack(
        &arena, call, &grpc__testing__streaming_output_call_request__descriptor, bytes, size);
    if (request && request->response_status && request->response_status->code) {
        grpc_call_finish(call, (enum grpc_status)request->response_status->code,
                         request->response_status->message);
    } else if (request) {
        stream_queue(stream, request);
        stream_pump(stream);
    }
    pb_arena_reset(&arena);
}

static void output_half_close(struct grpc_call *call)
{
    struct stream *stream = grpc_call_user(call);
    stream->half_closed = true;
    stream_pump(stream);
}

/* One request, many responses: its message is also its end. */
static void output_once_message(struct grpc_call *call, const uint8_t *bytes, size_t size)
{
    output_message(call, bytes, size);
    output_half_close(call);
}

static void input_message(struct grpc_call *call, const uint8_t *bytes, size_t size)
{
    struct pb_arena arena = {0};
    struct stream *stream = grpc_call_user(call);
    input_request *request = unpack(
        &arena, call, &grpc__testing__streaming_input_call_request__descriptor, bytes, size);
    if (request && compression_as_expected(call, request->expect_compressed) && request->payload)
        stream->received_bytes += request->payload->body.len;
    pb_arena_reset(&arena);
}

static void input_half_close(struct grpc_call *call)
{
    struct stream *stream = grpc_call_user(call);
    Grpc__Testing__StreamingInputCallResponse response =
        GRPC__TESTING__STREAMING_INPUT_CALL_RESPONSE__INIT;
    response.aggregated_payload_size = (int32_t)stream->received_bytes;
    grpc_call_set_compression(call, false);
    (void)pb_send(call, &response.base);
    grpc_call_finish(call, GRPC_OK, NULL);
}

static void stream_writable(struct grpc_call *call)
{
    struct stream *stream = grpc_call_user(call);
    stream->full = false;
    stream_pump(stream);
}

static void stream_closed(struct grpc_call *call, enum grpc_status status)
{
    struct stream *stream = grpc_call_user(call);
    count_closed(call, status);
    if (stream->timer)
        event_free(stream->timer);
    free(stream->pending);
    free(stream);
}

/* ---- control ---- */

static void set_serving_message(struct grpc_call *call, const uint8_t *bytes, size_t size)
{
    CHECK(health_set(app_of(call)->health, "", HEALTH_SERVING) == STATUS_OK);
    CHECK(health_set(app_of(call)->health, "late.Service", HEALTH_SERVING) == STATUS_OK);
    empty_message(call, bytes, size);
}

static void set_not_serving_message(struct grpc_call *call, const uint8_t *bytes, size_t size)
{
    CHECK(health_set(app_of(call)->health, "", HEALTH_NOT_SERVING) == STATUS_OK);
    empty_message(call, bytes, size);
}

static void stats_message(struct grpc_call *call, const uint8_t *bytes, size_t size)
{
    typedef Grpc__Testing__LoadBalancerStatsResponse__RpcsByPeerEntry entry;
    struct app *app = app_of(call);
    struct {
        const char *key;
        uint64_t value;
    } stats[] = {
        {"calls", grpc_server_calls(app->server)},
        {"connections", grpc_server_connections(app->server)},
        {"ok", app->ended[GRPC_OK]},
        {"cancelled", app->ended[GRPC_CANCELLED]},
        {"deadline", app->ended[GRPC_DEADLINE_EXCEEDED]},
        {"produced_kib", app->produced_bytes >> 10},
    };
    enum { COUNT = sizeof stats / sizeof *stats };
    entry entries[COUNT], *list[COUNT];
    Grpc__Testing__LoadBalancerStatsResponse response =
        GRPC__TESTING__LOAD_BALANCER_STATS_RESPONSE__INIT;
    (void)bytes, (void)size;
    for (size_t i = 0; i < COUNT; i++) {
        entries[i] =
            (entry)GRPC__TESTING__LOAD_BALANCER_STATS_RESPONSE__RPCS_BY_PEER_ENTRY__INIT;
        entries[i].key = (char *)stats[i].key;
        entries[i].value = (int32_t)stats[i].value;
        list[i] = &entries[i];
    }
    response.n_rpcs_by_peer = COUNT;
    response.rpcs_by_peer = list;
    (void)pb_send(call, &response.base);
    grpc_call_finish(call, GRPC_OK, NULL);
}

/* ---- the program ---- */

static const struct grpc_method testing_methods[] = {
    {.path = "/grpc.testing.TestService/EmptyCall", .message = empty_message,
     .closed = count_closed},
    {.path = "/grpc.testing.TestService/UnaryCall", .message = unary_message,
     .closed = count_closed},
    {.path = "/grpc.testing.TestService/CacheableUnaryCall", .message = unary_message,
     .closed = count_closed},
    {.path = "/grpc.testing.TestService/StreamingOutputCall", .server_streaming = true,
     .open = stream_open, .message = output_once_message, .writable = stream_writable,
     .closed = stream_closed},
    {.path = "/grpc.testing.TestService/StreamingInputCall", .client_streaming = true,
     .open = stream_open, .message = input_message, .half_close = input_half_close,
     .closed = stream_closed},
    {.path = "/grpc.testing.TestService/FullDuplexCall", .client_streaming = true,
     .server_streaming = true, .open = stream_open, .message = output_message,
     .half_close = output_half_close, .writable = stream_writable, .closed = stream_closed},
    {.path = "/grpc.testing.TestService/HalfDuplexCall", .client_streaming = true,
     .server_streaming = true, .open = half_duplex_open, .message = output_message,
     .half_close = output_half_close, .writable = stream_writable, .closed = stream_closed},
    {.path = "/grpc.testing.XdsUpdateHealthService/SetServing", .message = set_serving_message},
    {.path = "/grpc.testing.XdsUpdateHealthService/SetNotServing",
     .message = set_not_serving_message},
    {.path = "/grpc.testing.LoadBalancerStatsService/GetClientStats", .message = stats_message},
};

static void on_drained(void *arg)
{
    struct app *app = arg;
    event_base_loopbreak(app->base);
}

static void on_sigterm(evutil_socket_t fd, short what, void *arg)
{
    struct app *app = arg;
    (void)fd, (void)what;
    health_drain(app->health);
    reflection_drain(app->reflection);
    grpc_server_drain(app->server, on_drained, app);
}

static void limits_parse(int argc, char **argv, struct grpc_server_config *config)
{
    struct grpc_limits *limits = &config->limits;
    struct {
        const char *name;
        uint32_t *value;
    } limit_table[] = {
        {"--concurrent-streams-max", &limits->concurrent_streams_max},
        {"--connections-max", &limits->connections_max},
        {"--connections-per-ip-max", &limits->connections_per_ip_max},
        {"--idle-timeout-s", &limits->idle_timeout_s},
        {"--keepalive-time-s", &limits->keepalive_time_s},
        {"--keepalive-timeout-s", &limits->keepalive_timeout_s},
        {"--ping-min-interval-ms", &limits->ping_min_interval_ms},
        {"--ping-strikes-max", &limits->ping_strikes_max},
        {"--connection-age-max-s", &limits->connection_age_max_s},
        {"--connection-grace-s", &limits->connection_grace_s},
    };
    for (int i = 1; i + 1 < argc; i += 2) {
        unsigned long value = strtoul(argv[i + 1], NULL, 10);
        bool known = strcmp(argv[i], "--port") == 0;
        if (known)
            config->port = (uint16_t)value;
        for (size_t k = 0; k < sizeof limit_table / sizeof *limit_table; k++)
            if (strcmp(argv[i], limit_table[k].name) == 0) {
                *limit_table[k].value = (uint32_t)value;
                known = true;
            }
        CHECK_MSG(known, "unknown option %s", argv[i]);
    }
}

static size_t methods_collect(struct app *app, struct grpc_method *methods)
{
    size_t count = 0;
    for (; count < sizeof testing_methods / sizeof *testing_methods; count++) {
        methods[count] = testing_methods[count];
        methods[count].context = app;
    }
    health_methods(app->health, methods + count);
    count += HEALTH_METHODS;
    reflection_methods(app->reflection, methods + count);
    count += REFLECTION_METHODS;
    return count;
}

int main(int argc, char **argv)
{
    struct app app = {.base = event_base_new()};
    struct error error = {{0}};
    struct grpc_method methods[METHODS_MAX];
    struct grpc_server_config config = {.base = app.base, .host = "127.0.0.1"};
    grpc_limits_init(&config.limits);
    limits_parse(argc, argv, &config);
    signal(SIGPIPE, SIG_IGN);
    CHECK(health_open(&app.health) == STATUS_OK);
    CHECK(health_set(app.health, "", HEALTH_SERVING) == STATUS_OK);
    CHECK(health_set(app.health, "grpc.testing.TestService", HEALTH_SERVING) == STATUS_OK);
    CHECK_MSG(reflection_open(&app.reflection, moering_testing_descriptor_set,
                              moering_testing_descriptor_set_bytes, &error) == STATUS_OK,
              "%s", error.text);
    size_t count = methods_collect(&app, methods);
    CHECK(reflection_set_services(app.reflection, methods, count) == STATUS_OK);
    CHECK_MSG(grpc_server_open(&app.server, &config, methods, count, &error) == STATUS_OK, "%s",
              error.text);

    struct event *sigterm = evsignal_new(app.base, SIGTERM, on_sigterm, &app);
    evsignal_add(sigterm, NULL);
    printf("port %u\n", grpc_server_port(app.server));
    fflush(stdout);
    event_base_dispatch(app.base);

    event_free(sigterm);
    grpc_server_close(app.server);
    health_close(app.health);
    reflection_close(app.reflection);
    event_base_free(app.base);
    return 0;
}
