#include "server/kserve/kserve.h"

#include <stdlib.h>
#include <string.h>

#include "memory/base/check.h"
#include "server/kserve/kserve_encode.h"
#include "server/kserve/kserve_prompt.h"
#include "server/kserve/kserve_service.h"

enum { ITEMS_MAX = 256 }; /* requests under way in one ModelStreamInfer */

struct kserve_call;

/* One prompt on its way: a request of a stream, or a row of ModelInfer's batch. It goes with its
 * end; while it is in its call's list, its request lives in requests.h. */
struct kserve_item {
    struct kserve_call *call;
    struct kserve_item *previous, *next;
    uint64_t request;
    struct request *pending; /* owned until it is submitted */
    uint32_t at;             /* row of the batch */
    unsigned outputs;
    bool raw;
    bool stream;             /* goes out as it comes; else it is kept until the end */
    char *id;                /* owned */
    char name[OPENAI_NAME_BYTES_MAX + 1]; /* for the log; "": the id */
    struct kserve_row row;
};

/* A call of ModelInfer or ModelStreamInfer. */
struct kserve_call {
    struct kserve *service;
    uint64_t id;
    bool streaming;
    bool half_closed;        /* no request follows */
    struct kserve_item *items;
    uint32_t count;
    struct kserve_row *rows; /* [row_count] of ModelInfer: what has ended, until all have */
    uint32_t row_count, rows_open;
};

/* ---- items ---- */

static void item_close(struct kserve_item *i)
{
    if (!i)
        return;
    request_close(i->pending);
    kserve_row_reset(&i->row);
    free(i->id);
    free(i);
}

/* The row `at` of what is asked, with a request that is to be submitted. NULL: refused. */
static struct kserve_item *item_open(struct kserve_call *c, const char *id,
                                     struct kserve_asked *asked, uint32_t at,
                                     struct openai_refusal *refusal)
{
    const struct openai_prompt *prompt = &asked->asked.prompts[at];
    struct kserve_item *i = calloc(1, sizeof *i);
    if (!i)
        goto no_memory;
    *i = (struct kserve_item){.call = c, .at = at, .outputs = asked->outputs, .raw = asked->raw,
                              .stream = asked->asked.stream, .id = strdup(id),
                              .pending = requests_new(c->service->requests)};
    memcpy(i->name, asked->asked.name, sizeof i->name);
    if (!i->id || !i->pending || !kserve_row_add_text(&i->row, prompt->echo, prompt->echo_bytes) ||
        (asked->echo && !kserve_row_add_prompt(&i->row, prompt->ids, prompt->count)))
        goto no_memory;
    i->request = i->pending->id;
    if (openai_asked_fill(&asked->asked, prompt, 0, &i->pending->asked, refusal))
        return i;
no_memory:
    openai_refuse(refusal, HTTP_UNAVAILABLE, NULL, "out of memory for the request");
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
static void refuse(struct kserve_call *c, struct grpc_call *call, const char *id,
                   enum grpc_status status, const char *why)
{
    if (!c->streaming) {
        call_fail(c, status, why);
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

static enum status send_rows(const struct kserve_item *i, struct grpc_call *call,
                             const struct kserve_row *rows, uint32_t count, bool final)
{
    const struct kserve_answer answer = {
        .model = requests_model_name(i->call->service->requests),
        .id = i->id,
        .outputs = i->outputs,
        .raw = i->raw,
        .stream = i->call->streaming,
        .final = final,
        .rows = rows,
        .row_count = count,
    };
    return kserve_send(call, &answer);
}

/* The end of an item that has no owner any more: it goes. ModelInfer answers with the last of
 * its rows. */
static enum status end_item(struct kserve_item *i, struct grpc_call *call)
{
    struct kserve_call *c = i->call;
    enum status status = STATUS_OK;
    if (c->streaming) {
        status = send_rows(i, call, &i->row, 1, true);
    } else {
        c->rows[i->at] = i->row; /* its buffers, too */
        i->row = (struct kserve_row){0};
        if (--c->rows_open == 0)
            status = send_rows(i, call, c->rows, c->row_count, true);
    }
    item_close(i);
    if (status == STATUS_NO_MEMORY)
        call_fail(c, GRPC_RESOURCE_EXHAUSTED, "out of memory for an answer");
    else if (c->streaming || c->rows_open == 0)
        finish_if_done(c, call);
    return status;
}

/* Whether a stream has something to send of it. */
static bool has_news(const struct kserve_item *i)
{
    return (i->outputs & 1u << KSERVE_TEXT && i->row.text_bytes) ||
           (i->outputs & (1u << KSERVE_IDS | 1u << KSERVE_LOG_PROBS) && i->row.id_count);
}

static void on_event(void *arg, const struct request_event *e)
{
    struct kserve_item *i = arg;
    struct kserve_call *c = i->call;
    struct grpc_call *call = grpc_server_find(c->service->server, c->id);
    CHECK(call); /* its close would have cancelled the request */
    enum status status = STATUS_OK;
    bool failed = e->finish == FINISH_FAILED, ended = e->finish != FINISH_NONE;
    if (ended)
        unlink_item(i);
    if (failed || !kserve_row_add(&i->row, e)) {
        enum grpc_status why = failed ? grpc_status_of(e->status) : GRPC_RESOURCE_EXHAUSTED;
        if (!ended) {
            requests_cancel(c->service->requests, i->request, "out of memory for an answer");
            unlink_item(i);
        }
        refuse(c, call, i->id, why, failed ? e->error.text : "out of memory for an answer");
        item_close(i);
        return;
    }
    if (ended) {
        status = end_item(i, call);
    } else if (i->stream && has_news(i)) {
        status = send_rows(i, call, &i->row, 1, false);
        kserve_row_sent(&i->row);
        if (status == STATUS_NO_MEMORY)
            call_fail(c, GRPC_RESOURCE_EXHAUSTED, "out of memory for an answer");
    }
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
static void answer_empty(struct kserve_item *i, struct grpc_call *call)
{
    i->row.finish_reason = "length";
    i->row.input_tokens = i->pending->asked.prompt_tokens;
    end_item(i, call);
}

/* From here on the item has an owner, or it is released. False: refused. */
static bool submit(struct kserve_item *i, struct grpc_call *call)
{
    struct kserve_call *c = i->call;
    struct request_sink sink = {.event = on_event, .cut_off = on_cut_off, .arg = i};
    i->pending->asked.deadline_ns = grpc_call_deadline_ns(call);
    enum status status =
        requests_submit(c->service->requests, i->pending, &sink, *i->name ? i->name : i->id);
    if (status == STATUS_OK) {
        i->pending = NULL;
        link_item(c, i);
        return true;
    }
    refuse(c, call, i->id, GRPC_RESOURCE_EXHAUSTED,
           status == STATUS_FULL ? "queue full (--max-queue)" : "out of memory");
    item_close(i);
    return false;
}

static bool check_shape(const struct kserve_call *c, const struct kserve_asked *asked,
                        struct openai_refusal *refusal)
{
    if (asked->asked.stream && !c->streaming)
        return openai_refuse(refusal, HTTP_BAD_VALUE, "stream",
                             "ModelInfer answers once: ask ModelStreamInfer for a stream");
    if (asked->asked.prompt_count != 1 && c->streaming)
        return openai_refuse(
            refusal, HTTP_BAD_VALUE, KSERVE_TEXT_INPUT,
            "a batch of %u prompts is for ModelInfer: send separate requests in a stream",
            asked->asked.prompt_count);
    if (asked->asked.n != 1)
        return openai_refuse(refusal, HTTP_BAD_VALUE, "n",
                             "n is %u, must be 1: send separate requests", asked->asked.n);
    return true;
}

/* All rows are made before the first is submitted: a batch that is refused has done no work.
 * `items` has room for them. */
static bool open_items(struct kserve_call *c, const char *id, struct kserve_asked *asked,
                       struct kserve_item **items, struct openai_refusal *refusal)
{
    uint32_t count = asked->asked.prompt_count;
    for (uint32_t i = 0; i < count && !refusal->refused; i++)
        items[i] = item_open(c, id, asked, i, refusal);
    if (!refusal->refused && !c->streaming) {
        c->rows = calloc(count, sizeof *c->rows);
        c->row_count = c->rows_open = count;
        if (!c->rows)
            openai_refuse(refusal, HTTP_UNAVAILABLE, NULL, "out of memory for the request");
    }
    for (uint32_t i = 0; i < count && refusal->refused; i++)
        item_close(items[i]);
    return !refusal->refused;
}

/* One request of a call that is open and has room for it. */
static void infer(struct kserve_call *c, struct grpc_call *call, const struct engine *engine,
                  const Inference__ModelInferRequest *m)
{
    const struct engine_info *info = engine_info(engine);
    const struct openai_model model = {
        .name = requests_model_name(c->service->requests),
        .tokenizer = engine_tokenizer(engine),
        .vocab = info->vocab,
        .max_model_len = info->max_model_len,
    };
    struct openai_refusal refusal = {0};
    struct kserve_asked asked;
    struct kserve_item *items[KSERVE_ROWS_MAX] = {NULL};
    if (!kserve_decode(m, &model, &asked, &refusal) || !check_shape(c, &asked, &refusal) ||
        !open_items(c, m->id, &asked, items, &refusal)) {
        refuse(c, call, m->id, status_of(refusal.problem), refusal.why.text);
        goto done;
    }
    bool empty = openai_asked_is_empty(&asked.asked), ok = true;
    for (uint32_t i = 0; i < asked.asked.prompt_count; i++) {
        if (!ok)
            item_close(items[i]); /* the call has ended with an error */
        else if (empty)
            answer_empty(items[i], call);
        else
            ok = submit(items[i], call);
    }
done:
    kserve_asked_reset(&asked);
}

/* ---- calls ---- */

ProtobufCMessage *kserve_unpack(struct grpc_call *call, struct pb_arena *arena,
                                const ProtobufCMessageDescriptor *type, const uint8_t *bytes,
                                size_t size)
{
    ProtobufCMessage *message = NULL;
    struct error error = {{0}};
    enum status status = pb_unpack(arena, type, bytes, size, &message, &error);
    if (status == STATUS_OK)
        return message;
    grpc_call_finish(call,
                     status == STATUS_NO_MEMORY ? GRPC_RESOURCE_EXHAUSTED : GRPC_INVALID_ARGUMENT,
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
static void on_message(struct kserve_call *c, struct grpc_call *call, const uint8_t *bytes,
                       size_t size)
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
        refuse(c, call, m->id, GRPC_RESOURCE_EXHAUSTED,
               "too many requests under way in this stream");
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
                        status == GRPC_DEADLINE_EXCEEDED ? "deadline exceeded"
                                                         : "cancelled by its client");
        item_close(i);
    }
    for (uint32_t i = 0; i < c->row_count; i++)
        kserve_row_reset(&c->rows[i]);
    free(c->rows);
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
