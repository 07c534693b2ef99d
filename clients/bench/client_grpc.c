/* moering.v1 over gRPC. At the opening GetModel tells the model's name and its vocabulary, so that
 * made-up prompts can be token ids of exactly the wanted length. */
#include <event2/event.h>
#include <moering/v1/moering.pb-c.h>
#include <stdlib.h>
#include <string.h>

#include "clients/bench/client_backend.h"
#include "clients/bench/generate.h"
#include "clients/bench/grpc_client.h"
#include "clients/c/grpc_text.h"
#include "clients/c/now.h"

enum { GET_MODEL_TIMEOUT_S = 30 };

struct client_state {
    struct grpc_call call;
    struct client_exchange *exchange;
    uint8_t *request;
    bool last;
};

/* ---- what is being served ---- */

struct question {
    struct client *client;
    bool ended;
    struct fault fault;
};

static bool on_model(struct grpc_call *call, const uint8_t *bytes, size_t size, uint64_t now)
{
    const struct question *q = call->arg;
    Moering__V1__GetModelResponse *m = moering__v1__get_model_response__unpack(NULL, size, bytes);
    if (!m)
        return false;
    q->client->vocabulary = m->vocab_size;
    if (!q->client->model)
        q->client->model = strdup(m->name);
    moering__v1__get_model_response__free_unpacked(m, NULL);
    return true;
}

static void on_answered(struct grpc_call *call, int status, const char *text)
{
    struct question *q = call->arg;
    q->ended = true;
    if (status != 0)
        fault_set(&q->fault, "%s: %s", grpc_text_status(status), text);
    event_base_loopbreak(q->client->base);
}

static void on_timeout(evutil_socket_t fd, short what, void *arg)
{
    struct question *q = arg;
    fault_set(&q->fault, "no answer in time");
    event_base_loopbreak(q->client->base);
}

static bool ask_model(struct client *c, struct fault *fault)
{
    static const uint8_t empty[5];
    static const struct timeval patience = {GET_MODEL_TIMEOUT_S, 0};
    struct question q = {.client = c};
    struct grpc_call call = {.path = "/moering.v1.Moering/GetModel", .request = empty,
                             .request_bytes = sizeof empty, .message = on_model,
                             .end = on_answered, .arg = &q};
    struct event *timer = evtimer_new(c->base, on_timeout, &q);
    if (!timer)
        return fault_set(fault, "out of memory");
    evtimer_add(timer, &patience);
    grpc_client_send(c->grpc, &call);
    while (!q.ended && !q.fault.text[0] && event_base_dispatch(c->base) == 0)
        ;
    event_free(timer);
    if (!q.ended)
        grpc_client_cancel(c->grpc, &call);
    if (!q.fault.text[0] && !c->model)
        fault_set(&q.fault, "the server does not say what it serves");
    return !q.fault.text[0] ||
           fault_set(fault, "%s: GetModel: %s", c->address.authority, q.fault.text);
}

/* ---- the table ---- */

static bool grpc_open(struct client *c, struct fault *fault)
{
    const struct options *o = c->options;
    const struct grpc_client_config config = {
        .base = c->base, .dial = c->dial, .authority = c->address.authority, .key = o->api_key,
        .tls = c->address.tls, .streams = o->connection_streams,
    };
    if (c->address.prefix[0])
        return fault_set(fault, "--base-url: gRPC has no path '%s'", c->address.prefix);
    c->grpc = grpc_client_open(&config);
    if (!c->grpc)
        return fault_set(fault, "out of memory");
    return ask_model(c, fault);
}

static void grpc_close(struct client *c)
{
    grpc_client_close(c->grpc);
}

static void free_state(struct client_exchange *x)
{
    free(x->state->request);
    free(x->state);
    x->state = NULL;
}

static bool on_message(struct grpc_call *call, const uint8_t *bytes, size_t size, uint64_t now)
{
    struct client_state *s = call->arg;
    struct client_exchange *x = s->exchange;
    if (generate_chunk(bytes, size, now - x->start_ns, x->record, &s->last))
        return true;
    record_failed(x->record, "a message of the stream is no GenerateChunk");
    return false;
}

static void on_end(struct grpc_call *call, int status, const char *text)
{
    struct client_state *s = call->arg;
    struct client_exchange *x = s->exchange;
    if (status != 0)
        record_failed(x->record, "%s: %s", grpc_text_status(status), text);
    else if (!s->last)
        record_failed(x->record, "the stream ended without a finish reason");
    record_completed(x->record);
    free_state(x);
    x->done(x);
}

static bool grpc_send(struct client *c, struct client_exchange *x)
{
    const struct options *o = c->options;
    const struct generate_style style = {
        .model = o->model, .ignore_eos = o->ignore_eos, .has_temperature = o->has_temperature,
        .temperature = o->temperature,
    };
    size_t bytes = 0;
    struct client_state *s = calloc(1, sizeof *s);
    uint8_t *request = s ? generate_request(&style, x->prompt, &bytes) : NULL;
    record_sent(x->record, now_ns() - x->start_ns);
    if (!request) {
        free(s);
        record_failed(x->record, "out of memory for the request");
        return false;
    }
    s->exchange = x;
    s->request = request;
    s->call = (struct grpc_call){.path = GENERATE_PATH, .request = request, .request_bytes = bytes,
                                 .message = on_message, .end = on_end, .arg = s};
    x->state = s;
    grpc_client_send(c->grpc, &s->call);
    return true;
}

static void grpc_cancel(struct client *c, struct client_exchange *x)
{
    if (!x->state)
        return;
    grpc_client_cancel(c->grpc, &x->state->call);
    free_state(x);
}

const struct client_backend client_grpc = {
    .protocol = "grpc", .port = "8001", .h2 = true, .open = grpc_open, .close = grpc_close,
    .send = grpc_send, .cancel = grpc_cancel,
};
