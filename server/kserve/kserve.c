#include "server/kserve/kserve.h"

#include <stdlib.h>
#include <string.h>

#include "memory/base/check.h"
#include "server/kserve/kserve_encode.h"
#include "server/kserve/kserve_service.h"

enum { ITEMS_MAX = 256 }; /* requests under way in one ModelStreamInfer */

struct kserve_call;

/* One request of a call. It goes with its request's end; while it is in its call's list, the
 * request lives. */
struct kserve_item {
    struct kserve_call *call;
    struct kserve_item *previous, *next;
    uint64_t request;
    unsigned outputs;
    bool raw;
    bool stream;           /* text goes out as it comes; else it is kept until the end */
    char *id;              /* owned */
    char *text;            /* owned: what has not been sent */
    size_t text_bytes, text_capacity;
};

/* A call of ModelInfer or ModelStreamInfer. */
struct kserve_call {
    struct kserve *service;
    uint64_t id;
    bool streaming;
    bool half_closed;      /* no request follows */
    struct kserve_item *items;
    uint32_t count;
};

/* ---- items ---- */

static void item_close(struct kserve_item *i)
{
    if (!i)
        return;
    free(i->id);
    free(i->text);
    free(i);
}

static struct kserve_item *item_open(struct kserve_call *c, const Inference__ModelInferRequest *m,
                                     const struct kserve_asked *asked, uint64_t request)
{
    struct kserve_item *i = calloc(1, sizeof *i);
    if (!i)
        return NULL;
    *i = (struct kserve_item){.call = c, .request = request, .outputs = asked->outputs,
                              .raw = asked->raw, .stream = asked->asked.stream, .id = strdup(m->id)};
    if (i->id)
        return i;
    item_close(i);
    return NULL;
}

static void link_item(struct kserve_call *c, struct kserve_item *i)
{
    i->next = c->items;
    if (c->items)
        c->items->previous = i;
    c->items = i;
    c->count++;
}

static void unlink_item(struct kserve_item *i)
{
    *(i->previous ? &i->previous->next : &i->call->items) = i->next;
    if (i->next)
        i->next->previous = i->previous;
    i->call->count--;
}

static bool keep_text(struct kserve_item *i, const char *text, size_t bytes)
{
    if (bytes > i->text_capacity - i->text_bytes) {
        size_t capacity = 2 * (i->text_bytes + bytes);
        char *grown = realloc(i->text, capacity);
        if (!grown)
            return false;
        i->text = grown;
        i->text_capacity = capacity;
    }
    if (bytes)
        memcpy(i->text + i->text_bytes, text, bytes);
    i->text_bytes += bytes;
    return true;
}

/* ---- answers ---- */

/* The whole call ends, with all of its requests. */
static void call_fail(struct kserve_call *c, enum grpc_status status, const char *why)
{
    struct grpc_call *call = grpc_server_find(c->service->server, c->id);
    while (c->items) {
        struct kserve_item *i = c->items;
        unlink_item(i);
        requests_cancel(c->service->requests, i->request, why);
        item_close(i);
    }
    if (call)
        grpc_call_finish(call, status, why);
}

static void finish_if_done(struct kserve_call *c, struct grpc_call *call)
{
    if (!c->count && (c->half_closed || !c->streaming))
        grpc_call_finish(call, GRPC_OK, NULL);
}

/* One request went wrong: in a stream it alone ends. */
static void refuse(struct kserve_call *c, struct grpc_call *call, const char *id, enum grpc_status status,
                   const char *why)
{
    if (!c->streaming) {
        grpc_call_finish(call, status, why);
        return;
    }
    struct kserve_answer answer = {
        .model = "", .id = id, .stream = true, .error = *why ? why : "failed"};
    if (kserve_send(call, &answer) == STATUS_NO_MEMORY)
        call_fail(c, GRPC_RESOURCE_EXHAUSTED, "out of memory for an answer");
    else
        finish_if_done(c, call);
}

static void pause_all(struct kserve_call *c, bool paused)
{
    for (struct kserve_item *i = c->items; i; i = i->next)
        requests_pause(c->service->requests, i->request, paused);
}

/* What is there of an answer, with `e` of its end or NULL. */
static enum status send_text(struct kserve_item *i, struct grpc_call *call, const struct request_event *e)
{
    struct kserve_answer answer = {
        .model = requests_model_name(i->call->service->requests),
        .id = i->id,
        .outputs = i->outputs,
        .raw = i->raw,
        .stream = i->call->streaming,
        .final = e != NULL,
        .text = i->text,
        .text_bytes = i->text_bytes,
    };
    if (e) {
        answer.finish_reason = e->finish == FINISH_STOP ? "stop" : "length";
        answer.input_tokens = e->usage.prompt_tokens;
        answer.output_tokens = e->usage.completion_tokens;
    }
    i->text_bytes = 0;
    return kserve_send(call, &answer);
}

static void on_event(void *arg, const struct request_event *e)
{
    struct kserve_item *i = arg;
    struct kserve_call *c = i->call;
    struct grpc_call *call = grpc_server_find(c->service->server, c->id);
    CHECK(call); /* its close would have cancelled the request */
    bool ended = e->finish != FINISH_NONE;
    enum status status = STATUS_OK;
    if (e->finish == FINISH_FAILED) {
        unlink_item(i);
        refuse(c, call, i->id, grpc_status_of(e->status), e->error.text);
        item_close(i);
        return;
    }
    if (!keep_text(i, e->text, e->text_bytes))
        status = STATUS_NO_MEMORY;
    else if (ended || (i->stream && i->text_bytes))
        status = send_text(i, call, ended ? e : NULL);
    if (ended) {
        unlink_item(i);
        item_close(i);
    }
    if (status == STATUS_NO_MEMORY)
        call_fail(c, GRPC_RESOURCE_EXHAUSTED, "out of memory for an answer");
    else if (ended)
        finish_if_done(c, call);
    if (status == STATUS_FULL)
        pause_all(c, true);
}

static void on_cut_off(void *arg, enum request_cut_off cause, const char *why)
{
    struct kserve_item *i = arg;
    struct kserve_call *c = i->call;
    unlink_item(i);
    item_close(i);
    call_fail(c, cause == REQUEST_STALLED ? GRPC_ABORTED : GRPC_UNAVAILABLE, why);
}

/* ---- requests ---- */

static enum grpc_status status_of(enum http_problem problem)
{
    switch (problem) {
    case HTTP_NO_MODEL: return GRPC_NOT_FOUND;
    case HTTP_UNAVAILABLE: return GRPC_RESOURCE_EXHAUSTED; /* of decoding: memory */
    case HTTP_INTERNAL: return GRPC_INTERNAL;
    default: return GRPC_INVALID_ARGUMENT;
    }
}

/* max_tokens of 0: nothing to compute. */
static void answer_empty(struct kserve_item *i, struct grpc_call *call, const struct request *r)
{
    struct request_event event = {.finish = FINISH_LENGTH};
    struct kserve_call *c = i->call;
    event.usage.prompt_tokens = r->asked.prompt_tokens;
    enum status status = send_text(i, call, &event);
    if (status == STATUS_NO_MEMORY)
        call_fail(c, GRPC_RESOURCE_EXHAUSTED, "out of memory for an answer");
    else
        finish_if_done(c, call);
}

/* From here on the item and the request have owners; what could not be given to one is released. */
static void submit(struct kserve_item *i, struct grpc_call *call, const struct kserve_asked *asked,
                   struct request *r)
{
    struct kserve_call *c = i->call;
    const struct openai_prompt *prompt = &asked->asked.prompts[0];
    bool ok = keep_text(i, prompt->echo, prompt->echo_bytes);
    if (ok && openai_asked_is_empty(&asked->asked)) {
        answer_empty(i, call, r);
        goto drop;
    }
    struct request_sink sink = {.event = on_event, .cut_off = on_cut_off, .arg = i};
    enum status status =
        ok ? requests_submit(c->service->requests, r, &sink,
                             *asked->asked.name ? asked->asked.name : i->id)
           : STATUS_NO_MEMORY;
    if (status == STATUS_OK) {
        link_item(c, i);
        return;
    }
    refuse(c, call, i->id, GRPC_RESOURCE_EXHAUSTED,
           status == STATUS_FULL ? "queue full (--max-queue)" : "out of memory");
drop:
    item_close(i);
    request_close(r);
}

static bool check_shape(const struct kserve_call *c, const struct kserve_asked *asked,
                        struct openai_refusal *refusal)
{
    if (asked->asked.stream && !c->streaming)
        return openai_refuse(refusal, HTTP_BAD_VALUE, "stream",
                             "ModelInfer answers once: ask ModelStreamInfer for a stream");
    if (asked->asked.n != 1)
        return openai_refuse(refusal, HTTP_BAD_VALUE, "n", "n is %u, must be 1: send separate requests",
                             asked->asked.n);
    return true;
}

/* One request of a call that is open and has room for it. */
static void infer(struct kserve_call *c, struct grpc_call *call, const struct engine *engine,
                  const Inference__ModelInferRequest *m)
{
    struct requests *requests = c->service->requests;
    const struct engine_info *info = engine_info(engine);
    const struct openai_model model = {
        .name = requests_model_name(requests),
        .tokenizer = engine_tokenizer(engine),
        .vocab = info->vocab,
        .max_model_len = info->max_model_len,
    };
    struct openai_refusal refusal = {0};
    struct kserve_asked asked;
    struct kserve_item *item = NULL;
    struct request *r = NULL;
    bool ok = kserve_decode(m, &model, &asked, &refusal) && check_shape(c, &asked, &refusal);
    if (ok) {
        r = requests_new(requests);
        item = r ? item_open(c, m, &asked, r->id) : NULL;
        if (!item)
            ok = openai_refuse(&refusal, HTTP_UNAVAILABLE, NULL, "out of memory for the request");
    }
    ok = ok && openai_asked_fill(&asked.asked, &asked.asked.prompts[0], 0, &r->asked, &refusal);
    if (ok) {
        r->asked.deadline_ns = grpc_call_deadline_ns(call);
        submit(item, call, &asked, r);
    } else {
        item_close(item);
        request_close(r);
        refuse(c, call, m->id, status_of(refusal.problem), refusal.why.text);
    }
    kserve_asked_reset(&asked);
}

/* ---- calls ---- */

ProtobufCMessage *kserve_unpack(struct grpc_call *call, struct pb_arena *arena,
                                const ProtobufCMessageDescriptor *type, const uint8_t *bytes, size_t size)
{
    ProtobufCMessage *message = NULL;
    struct error error = {{0}};
    enum status status = pb_unpack(arena, type, bytes, size, &message, &error);
    if (status == STATUS_OK)
        return message;
    grpc_call_finish(call, status == STATUS_NO_MEMORY ? GRPC_RESOURCE_EXHAUSTED : GRPC_INVALID_ARGUMENT,
                     error.text);
    return NULL;
}

/* NULL: out of memory, the call is ended. */
static struct kserve_call *call_open(struct grpc_call *call, bool streaming)
{
    struct kserve *s = grpc_call_context(call);
    struct kserve_call *c = calloc(1, sizeof *c);
    if (!c) {
        grpc_call_finish(call, GRPC_RESOURCE_EXHAUSTED, "out of memory");
        return NULL;
    }
    *c = (struct kserve_call){.service = s, .id = grpc_call_id(call), .streaming = streaming};
    s->calls++;
    grpc_call_set_user(call, c);
    return c;
}

/* Answers nothing while the server cannot work: in a stream, that request alone. */
static void on_message(struct kserve_call *c, struct grpc_call *call, const uint8_t *bytes, size_t size)
{
    struct pb_arena arena;
    char why[REQUESTS_WHY_BYTES];
    pb_arena_init(&arena, 0);
    const Inference__ModelInferRequest *m = (const Inference__ModelInferRequest *)kserve_unpack(
        call, &arena, &inference__model_infer_request__descriptor, bytes, size);
    const struct engine *engine = requests_engine(c->service->requests, why);
    if (m && !engine)
        refuse(c, call, m->id, GRPC_UNAVAILABLE, why);
    else if (m && c->count == ITEMS_MAX)
        refuse(c, call, m->id, GRPC_RESOURCE_EXHAUSTED, "too many requests under way in this stream");
    else if (m)
        infer(c, call, engine, m);
    pb_arena_reset(&arena);
}

static void on_infer(struct grpc_call *call, const uint8_t *bytes, size_t size)
{
    struct kserve_call *c = call_open(call, false);
    if (c)
        on_message(c, call, bytes, size);
}

static void on_stream(struct grpc_call *call)
{
    if (call_open(call, true))
        grpc_call_send_headers(call);
}

static void on_stream_message(struct grpc_call *call, const uint8_t *bytes, size_t size)
{
    struct kserve_call *c = grpc_call_user(call);
    if (c)
        on_message(c, call, bytes, size);
}

static void on_half_close(struct grpc_call *call)
{
    struct kserve_call *c = grpc_call_user(call);
    if (!c)
        return;
    c->half_closed = true;
    finish_if_done(c, call);
}

static void on_writable(struct grpc_call *call)
{
    struct kserve_call *c = grpc_call_user(call);
    if (c)
        pause_all(c, false);
}

static void on_closed(struct grpc_call *call, enum grpc_status status)
{
    struct kserve_call *c = grpc_call_user(call);
    if (!c)
        return;
    while (c->items) {
        struct kserve_item *i = c->items;
        unlink_item(i);
        requests_cancel(c->service->requests, i->request,
                        status == GRPC_DEADLINE_EXCEEDED ? "deadline exceeded" : "cancelled by its client");
        item_close(i);
    }
    c->service->calls--;
    free(c);
}

/* ---- open and close ---- */

enum status kserve_open(struct kserve **out, struct requests *requests, struct error *error)
{
    *out = calloc(1, sizeof **out);
    if (!*out)
        return error_set(error, STATUS_NO_MEMORY, "out of memory for the inference service");
    (*out)->requests = requests;
    return STATUS_OK;
}

void kserve_methods(struct kserve *s, struct grpc_method *out)
{
#define PATH(name) .path = "/" KSERVE_SERVICE "/" name, .context = s
    const struct grpc_method methods[KSERVE_METHODS] = {
        {PATH("ServerLive"), .message = kserve_server_live},
        {PATH("ServerReady"), .message = kserve_server_ready},
        {PATH("ServerMetadata"), .message = kserve_server_metadata},
        {PATH("ModelReady"), .message = kserve_model_ready},
        {PATH("ModelMetadata"), .message = kserve_model_metadata},
        {PATH("ModelInfer"), .message = on_infer, .closed = on_closed},
        {PATH("ModelStreamInfer"), .client_streaming = true, .server_streaming = true,
         .open = on_stream, .message = on_stream_message, .half_close = on_half_close,
         .writable = on_writable, .closed = on_closed},
    };
#undef PATH
    memcpy(out, methods, sizeof methods);
}

void kserve_attach(struct kserve *s, struct grpc_server *server)
{
    s->server = server;
}

void kserve_close(struct kserve *s)
{
    if (!s)
        return;
    CHECK(s->calls == 0); /* the grpc server has closed every call */
    free(s);
}
