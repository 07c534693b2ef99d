#include "server/moering_v1/moering_v1.h"

#include <stdlib.h>
#include <string.h>

#include "memory/base/check.h"
#include "server/moering_v1/generate_decode.h"
#include "server/moering_v1/generate_encode.h"
#include "server/moering_v1/moering_v1_service.h"

/* One Generate call, from the submit of its request to the close of its stream. */
struct generate_call {
    struct moering_v1 *service;
    uint64_t call, request;   /* their numbers */
    bool live;                /* the request has not ended */
    bool logprobs;
};

/* ---- what every method does ---- */

const struct engine *moering_v1_ready(struct moering_v1 *s, struct grpc_call *call)
{
    char why[REQUESTS_WHY_BYTES];
    const struct engine *engine = requests_engine(s->requests, why);
    if (!engine)
        grpc_call_finish(call, GRPC_UNAVAILABLE, why);
    return engine;
}

ProtobufCMessage *moering_v1_unpack(struct grpc_call *call, struct pb_arena *arena,
                                    const ProtobufCMessageDescriptor *type, const uint8_t *bytes,
                                    size_t size)
{
    ProtobufCMessage *message = NULL;
    struct error error = {0};
    enum status status = pb_unpack(arena, type, bytes, size, &message, &error);
    if (status == STATUS_OK)
        return message;
    /* Nested too deep is the client's mistake, not a feature we lack. */
    grpc_call_finish(call, status == STATUS_NO_MEMORY ? GRPC_RESOURCE_EXHAUSTED
                                                      : GRPC_INVALID_ARGUMENT, error.text);
    return NULL;
}

/* ---- calls ---- */

static struct generate_call *call_open(struct moering_v1 *s, struct grpc_call *call,
                                       const Moering__V1__GenerateRequest *m, uint64_t request)
{
    struct generate_call *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    *c = (struct generate_call){.service = s, .call = grpc_call_id(call), .request = request,
                                .logprobs = m->logprobs || m->top_logprobs};
    s->calls++;
    grpc_call_set_user(call, c);
    return c;
}

/* After a send: FULL means that the client does not keep up. */
static void note_send(struct generate_call *c, enum status status)
{
    if (status == STATUS_FULL && c->live)
        requests_pause(c->service->requests, c->request, true);
}

static void on_event(void *arg, const struct request_event *e)
{
    struct generate_call *c = arg;
    struct moering_v1 *s = c->service;
    struct grpc_call *call = grpc_server_find(s->server, c->call);
    CHECK(call); /* its close would have cancelled the request */
    const struct tokenizer *tokenizer = engine_tokenizer(engine_thread_engine(s->engine));
    if (e->finish != FINISH_NONE)
        c->live = false;
    enum status status = generate_send(call, e, c->logprobs, tokenizer);
    note_send(c, status);
    if (e->finish == FINISH_FAILED) {
        grpc_call_finish(call, grpc_status_of(e->status), e->error.text);
    } else if (status == STATUS_NO_MEMORY) {
        if (c->live)
            requests_cancel(s->requests, c->request, "out of memory for a chunk");
        c->live = false;
        grpc_call_finish(call, GRPC_RESOURCE_EXHAUSTED, "out of memory for a chunk");
    } else if (e->finish != FINISH_NONE) {
        grpc_call_finish(call, GRPC_OK, NULL);
    }
}

static void on_cut_off(void *arg, enum request_cut_off cause, const char *why)
{
    struct generate_call *c = arg;
    struct grpc_call *call = grpc_server_find(c->service->server, c->call);
    c->live = false;
    if (call)
        grpc_call_finish(call, cause == REQUEST_STALLED ? GRPC_ABORTED : GRPC_UNAVAILABLE, why);
}

/* ---- Generate ---- */

static enum status send_echo(struct grpc_call *call, const Moering__V1__GenerateRequest *m,
                             const struct engine *engine)
{
    if (m->prompt_case == MOERING__V1__GENERATE_REQUEST__PROMPT_TEXT)
        return generate_send_text(call, m->text.data, m->text.len);
    if (!engine_tokenizer(engine))
        return STATUS_OK;
    size_t bytes;
    char *text = detokenize(engine_tokenizer(engine), m->tokens->ids, m->tokens->n_ids,
                            !m->keep_special, &bytes);
    enum status status = text ? generate_send_text(call, text, bytes) : STATUS_NO_MEMORY;
    free(text);
    return status;
}

/* max_tokens of 0: nothing to compute. */
static void finish_empty(struct grpc_call *call, const struct request *r)
{
    struct request_event event = {.finish = FINISH_LENGTH};
    event.usage.prompt_tokens = r->asked.prompt_tokens;
    generate_send(call, &event, false, NULL);
    grpc_call_finish(call, GRPC_OK, NULL);
}

void moering_v1_submit(struct moering_v1 *s, struct grpc_call *call,
                       const Moering__V1__GenerateRequest *m, const struct engine *engine,
                       struct request *r)
{
    r->asked.deadline_ns = grpc_call_deadline_ns(call);
    struct generate_call *c = NULL;
    enum status echoed = STATUS_OK;
    if (m->echo)
        echoed = send_echo(call, m, engine);
    if (r->asked.has_max_tokens && r->asked.max_tokens == 0) {
        finish_empty(call, r);
        request_close(r);
        return;
    }
    c = call_open(s, call, m, r->id);
    if (!c) {
        request_close(r);
        grpc_call_finish(call, GRPC_RESOURCE_EXHAUSTED, "out of memory");
        return;
    }
    struct request_sink sink = {.event = on_event, .cut_off = on_cut_off, .arg = c};
    enum status status = requests_submit(s->requests, r, &sink, m->request_id);
    if (status != STATUS_OK) {
        request_close(r);
        grpc_call_finish(call, GRPC_RESOURCE_EXHAUSTED,
                         status == STATUS_FULL ? "queue full (--max-queue)" : "out of memory");
        return;
    }
    c->live = true;
    grpc_call_send_headers(call); /* accepted: the first token may be long in coming */
    note_send(c, echoed);
}

struct generate_model moering_v1_model(const struct moering_v1 *s, const struct engine *engine)
{
    const struct engine_info *info = engine_info(engine);
    return (struct generate_model){
        .name = requests_model_name(s->requests),
        .tokenizer = engine_tokenizer(engine),
        .vocab = info->vocab,
        .max_model_len = info->max_model_len,
    };
}

static void generate(struct grpc_call *call, const uint8_t *bytes, size_t size)
{
    struct moering_v1 *s = grpc_call_context(call);
    const struct engine *engine = moering_v1_ready(s, call);
    if (!engine)
        return;
    struct pb_arena arena;
    struct request *r = NULL;
    pb_arena_init(&arena, 0);
    Moering__V1__GenerateRequest *m = (Moering__V1__GenerateRequest *)moering_v1_unpack(
        call, &arena, &moering__v1__generate_request__descriptor, bytes, size);
    if (!m)
        goto done;
    r = requests_new(s->requests);
    if (!r) {
        grpc_call_finish(call, GRPC_RESOURCE_EXHAUSTED, "out of memory");
        goto done;
    }
    const struct generate_model model = moering_v1_model(s, engine);
    struct error error = {0};
    enum status status = generate_decode(&model, m, r, &error);
    if (status != STATUS_OK) {
        grpc_call_finish(call, grpc_status_of(status), error.text);
        goto done;
    }
    moering_v1_submit(s, call, m, engine, r);
    r = NULL; /* whoever has it now */
done:
    request_close(r);
    pb_arena_reset(&arena);
}

static void on_writable(struct grpc_call *call)
{
    struct generate_call *c = grpc_call_user(call);
    if (c && c->live)
        requests_pause(c->service->requests, c->request, false);
}

static void on_closed(struct grpc_call *call, enum grpc_status status)
{
    struct generate_call *c = grpc_call_user(call);
    if (!c)
        return;
    if (c->live)
        requests_cancel(c->service->requests, c->request,
                        status == GRPC_DEADLINE_EXCEEDED ? "deadline exceeded"
                                                         : "cancelled by its client");
    c->service->calls--;
    free(c);
}

/* ---- open and close ---- */

enum status moering_v1_open(struct moering_v1 **out, const struct moering_v1_config *config,
                            struct error *error)
{
    struct moering_v1 *s = calloc(1, sizeof *s);
    if (!s)
        return error_set(error, STATUS_NO_MEMORY, "out of memory for the service");
    s->requests = config->requests;
    s->start_ns = config->start_ns;
    s->chat_template = config->chat_template;
    *out = s;
    return STATUS_OK;
}

void moering_v1_methods(struct moering_v1 *s, struct grpc_method *out)
{
    const struct grpc_method methods[MOERING_V1_METHODS] = {
        {.path = "/" MOERING_V1_SERVICE "/Generate", .server_streaming = true, .context = s,
         .message = generate, .writable = on_writable, .closed = on_closed},
        {.path = "/" MOERING_V1_SERVICE "/Chat", .server_streaming = true, .context = s,
         .message = moering_v1_chat, .writable = on_writable, .closed = on_closed},
        {.path = "/" MOERING_V1_SERVICE "/Tokenize", .context = s,
         .message = moering_v1_tokenize},
        {.path = "/" MOERING_V1_SERVICE "/Detokenize", .context = s,
         .message = moering_v1_detokenize_call},
        {.path = "/" MOERING_V1_SERVICE "/GetModel", .context = s,
         .message = moering_v1_get_model},
        {.path = "/" MOERING_V1_SERVICE "/GetStats", .context = s,
         .message = moering_v1_get_stats},
        {.path = "/" MOERING_V1_SERVICE "/SetBudget", .context = s,
         .message = moering_v1_set_budget},
    };
    memcpy(out, methods, sizeof methods);
}

void moering_v1_attach(struct moering_v1 *s, struct grpc_server *server,
                       struct engine_thread *engine)
{
    s->server = server;
    s->engine = engine;
}

void moering_v1_close(struct moering_v1 *s)
{
    if (!s)
        return;
    CHECK(s->calls == 0); /* the grpc server has closed every call */
    moering_v1_chat_close(s);
    free(s);
}
