#include "server/moering_v1.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "memory/base/check.h"
#include "memory/base/clock.h"
#include "memory/base/log.h"
#include "server/generate_decode.h"
#include "server/generate_encode.h"
#include "server/moering_v1_service.h"

/* One Generate call, from the submit of its request to the close of its stream. */
struct generate_call {
    struct moering_v1 *service;
    uint64_t id;              /* of the call and of the request */
    bool live;                /* the request has not ended */
    bool logprobs;
    uint64_t paused_since_ns; /* 0: the client reads */
    char name[GENERATE_NAME_BYTES_MAX + 1]; /* request_id, made printable */
    struct generate_call *previous, *next;
};

/* ---- what every method does ---- */

const char *moering_v1_model_name(const struct moering_v1 *s)
{
    if (s->config.served_name)
        return s->config.served_name;
    return engine_info(engine_thread_engine(s->engine))->model_name;
}

const struct engine *moering_v1_ready(struct moering_v1 *s, struct grpc_call *call)
{
    char why[160];
    if (s->draining) {
        grpc_call_finish(call, GRPC_UNAVAILABLE, "the server is shutting down");
        return NULL;
    }
    const struct engine *engine = engine_thread_engine(s->engine);
    if (engine)
        return engine;
    if (engine_thread_state(s->engine) == ENGINE_FAILED) {
        grpc_call_finish(call, GRPC_UNAVAILABLE, engine_thread_error(s->engine));
        return NULL;
    }
    struct engine_thread_stats stats;
    engine_thread_stats_read(s->engine, &stats);
    snprintf(why, sizeof why, "loading model: %s, %.0f %%", *stats.phase ? stats.phase : "starting",
             100 * stats.progress);
    grpc_call_finish(call, GRPC_UNAVAILABLE, why);
    return NULL;
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
                                       const Moering__V1__GenerateRequest *m)
{
    struct generate_call *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->service = s;
    c->id = grpc_call_id(call);
    c->logprobs = m->logprobs || m->top_logprobs;
    snprintf(c->name, sizeof c->name, "%s", m->request_id);
    for (char *p = c->name; *p; p++) /* a log line stays one line */
        if ((unsigned char)*p < 0x20 || *p == 0x7f || *p == '\'')
            *p = '?';
    c->next = s->calls;
    if (s->calls)
        s->calls->previous = c;
    s->calls = c;
    grpc_call_set_user(call, c);
    return c;
}

static void call_close(struct generate_call *c)
{
    *(c->previous ? &c->previous->next : &c->service->calls) = c->next;
    if (c->next)
        c->next->previous = c->previous;
    free(c);
}

static void call_begin(struct generate_call *c)
{
    c->live = true;
    c->service->live++;
}

static void call_end(struct generate_call *c)
{
    c->live = false;
    c->service->live--;
}

/* After a send: FULL means that the client does not keep up. */
static void note_send(struct generate_call *c, enum status status)
{
    if (status != STATUS_FULL || !c->live || c->paused_since_ns)
        return;
    c->paused_since_ns = clock_now_ns();
    engine_thread_pause(c->service->engine, c->id, true);
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
    char *text = moering_v1_detokenize(engine_tokenizer(engine), m->tokens->ids, m->tokens->n_ids,
                                       m->keep_special, &bytes);
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

static void submit(struct moering_v1 *s, struct grpc_call *call,
                   const Moering__V1__GenerateRequest *m, const struct engine *engine,
                   struct request *r)
{
    struct generate_call *c = NULL;
    enum status echoed = STATUS_OK;
    if (m->echo)
        echoed = send_echo(call, m, engine);
    if (r->asked.has_max_tokens && r->asked.max_tokens == 0) {
        finish_empty(call, r);
        request_close(r);
        return;
    }
    c = call_open(s, call, m);
    if (!c) {
        request_close(r);
        grpc_call_finish(call, GRPC_RESOURCE_EXHAUSTED, "out of memory");
        return;
    }
    if (engine_thread_submit(s->engine, r) != STATUS_OK) {
        s->rejected++;
        request_close(r);
        grpc_call_finish(call, GRPC_RESOURCE_EXHAUSTED, "queue full (--max-queue)");
        return;
    }
    call_begin(c);
    grpc_call_send_headers(call); /* accepted: the first token may be long in coming */
    note_send(c, echoed);
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
    r = request_open(grpc_call_id(call));
    if (!r) {
        grpc_call_finish(call, GRPC_RESOURCE_EXHAUSTED, "out of memory");
        goto done;
    }
    const struct engine_info *info = engine_info(engine);
    struct generate_model model = {
        .name = moering_v1_model_name(s),
        .tokenizer = engine_tokenizer(engine),
        .vocab = info->vocab,
        .max_model_len = info->max_model_len,
    };
    struct error error = {0};
    enum status status = generate_decode(&model, m, r, &error);
    if (status != STATUS_OK) {
        grpc_call_finish(call, grpc_status_of(status), error.text);
        goto done;
    }
    r->asked.deadline_ns = grpc_call_deadline_ns(call);
    submit(s, call, m, engine, r);
    r = NULL; /* whoever has it now */
done:
    request_close(r);
    pb_arena_reset(&arena);
}

static void on_writable(struct grpc_call *call)
{
    struct generate_call *c = grpc_call_user(call);
    if (!c || !c->paused_since_ns)
        return;
    c->paused_since_ns = 0;
    if (c->live)
        engine_thread_pause(c->service->engine, c->id, false);
}

static void on_closed(struct grpc_call *call, enum grpc_status status)
{
    struct generate_call *c = grpc_call_user(call);
    if (!c)
        return;
    if (c->live) {
        call_end(c);
        engine_thread_cancel(c->service->engine, c->id);
        log_info("request %" PRIu64 " '%s': %s", c->id, c->name,
                 status == GRPC_DEADLINE_EXCEEDED ? "deadline exceeded"
                                                  : "cancelled by its client");
    }
    call_close(c);
}

/* ---- events ---- */

static void log_end(const struct generate_call *c, const struct request_event *e)
{
    static const char *const reasons[] = {"running", "stop", "length", "failed"};
    const struct request_usage *u = &e->usage;
    log_info("request %" PRIu64 " '%s': %s%s%s, %u prompt + %u output tokens, queue %.1f ms, "
             "prefill %.1f ms, decode %.1f ms, experts %" PRIu64 " hits %" PRIu64 " misses", c->id,
             c->name, reasons[e->finish], e->finish == FINISH_FAILED ? ": " : "",
             e->finish == FINISH_FAILED ? e->error.text : "", u->prompt_tokens,
             u->completion_tokens, (double)u->queue_ns / 1e6, (double)u->prefill_ns / 1e6,
             (double)u->decode_ns / 1e6, u->experts.hits, u->experts.misses);
}

void moering_v1_event(struct moering_v1 *s, const struct request_event *e)
{
    if (e->change) {
        moering_v1_budget_changed(s, e);
        return;
    }
    struct grpc_call *call = grpc_server_find(s->server, e->request);
    struct generate_call *c = call ? grpc_call_user(call) : NULL;
    if (!c || !c->live)
        return; /* its client has gone */
    const struct engine *engine = engine_thread_engine(s->engine);
    if (e->finish != FINISH_NONE) {
        log_end(c, e);
        call_end(c);
    }
    enum status status = generate_send(call, e, c->logprobs, engine_tokenizer(engine));
    note_send(c, status);
    if (e->finish == FINISH_FAILED) {
        grpc_call_finish(call, grpc_status_of(e->status), e->error.text);
    } else if (status == STATUS_NO_MEMORY) {
        if (c->live) {
            call_end(c);
            engine_thread_cancel(s->engine, c->id);
        }
        grpc_call_finish(call, GRPC_RESOURCE_EXHAUSTED, "out of memory for a chunk");
    } else if (e->finish != FINISH_NONE) {
        grpc_call_finish(call, GRPC_OK, NULL);
    }
}

static void cut_off(struct generate_call *c, enum grpc_status status, const char *why)
{
    struct moering_v1 *s = c->service;
    log_warn("request %" PRIu64 " '%s': %s", c->id, c->name, why);
    call_end(c);
    engine_thread_cancel(s->engine, c->id);
    struct grpc_call *call = grpc_server_find(s->server, c->id);
    if (call)
        grpc_call_finish(call, status, why);
}

void moering_v1_tick(struct moering_v1 *s, uint64_t now_ns)
{
    uint64_t patience_ns = (uint64_t)s->config.stall_timeout_s * 1000000000u;
    struct generate_call *next;
    for (struct generate_call *c = s->calls; c; c = next) {
        next = c->next;
        if (c->live && c->paused_since_ns && now_ns - c->paused_since_ns > patience_ns &&
            now_ns > c->paused_since_ns)
            cut_off(c, GRPC_ABORTED, "the client read nothing for --client-stall-timeout");
    }
}

/* ---- open, drain, close ---- */

enum status moering_v1_open(struct moering_v1 **out, const struct moering_v1_config *config,
                            struct error *error)
{
    struct moering_v1 *s = calloc(1, sizeof *s);
    if (!s)
        return error_set(error, STATUS_NO_MEMORY, "out of memory for the service");
    s->config = *config;
    *out = s;
    return STATUS_OK;
}

void moering_v1_methods(struct moering_v1 *s, struct grpc_method *out)
{
    const struct grpc_method methods[MOERING_V1_METHODS] = {
        {.path = "/" MOERING_V1_SERVICE "/Generate", .server_streaming = true, .context = s,
         .message = generate, .writable = on_writable, .closed = on_closed},
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

void moering_v1_drain(struct moering_v1 *s)
{
    s->draining = true;
}

uint32_t moering_v1_live(const struct moering_v1 *s)
{
    return s->live;
}

uint32_t moering_v1_cut_off(struct moering_v1 *s)
{
    uint32_t count = 0;
    struct generate_call *next;
    for (struct generate_call *c = s->calls; c; c = next) {
        next = c->next;
        if (!c->live)
            continue;
        cut_off(c, GRPC_UNAVAILABLE, "cut off: the server did not finish before its shutdown");
        count++;
    }
    return count;
}

void moering_v1_close(struct moering_v1 *s)
{
    if (!s)
        return;
    CHECK(!s->calls); /* the grpc server has closed every call */
    free(s);
}
