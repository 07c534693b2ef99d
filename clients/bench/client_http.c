/* The OpenAI API over HTTP: each answer an event stream. Bodies are made before the clock runs. */
#include <stdlib.h>
#include <string.h>

#include "clients/bench/client_backend.h"
#include "clients/bench/fetch.h"
#include "clients/bench/http_client.h"
#include "clients/bench/openai.h"
#include "clients/bench/sse.h"
#include "clients/c/now.h"

enum { ERROR_BYTES_MAX = 4096, MODELS_TIMEOUT_S = 30 };

struct client_state {
    struct http_call call;
    struct client_exchange *exchange;
    char *body;
    struct sse sse;
    bool chat;
    bool finished;   /* a finish reason or [DONE] has come */
    bool any_event;
    char error[ERROR_BYTES_MAX]; /* the beginning of an answer that is no stream */
    size_t error_bytes;
};

static void free_state(struct client_exchange *x)
{
    struct client_state *s = x->state;
    x->state = NULL;
    sse_close(&s->sse);
    free(s->body);
    free(s);
}

static bool take_event(struct client_state *s, const char *data, size_t bytes, uint64_t now)
{
    struct record *record = s->exchange->record;
    struct openai_chunk chunk;
    struct fault why = {{0}};
    s->any_event = true;
    if (bytes == 6 && memcmp(data, "[DONE]", 6) == 0)
        return s->finished = true;
    bool ok = openai_chunk_open(data, bytes, s->chat, &chunk, &why);
    if (!ok)
        record_failed(record, "%s", why.text);
    if (ok && chunk.content)
        record_content(record, now, chunk.text, chunk.text_bytes);
    else if (ok && chunk.answer)
        record_chunk(record, now);
    if (ok && chunk.has_usage)
        record_usage(record, chunk.input_tokens, chunk.output_tokens);
    if (ok && chunk.experts.known)
        record->experts = chunk.experts;
    s->finished |= ok && chunk.finished;
    openai_chunk_close(&chunk);
    return ok;
}

static void keep_error(struct client_state *s, const char *bytes, size_t size)
{
    size_t room = sizeof s->error - s->error_bytes, n = size < room ? size : room;
    memcpy(s->error + s->error_bytes, bytes, n);
    s->error_bytes += n;
}

static bool on_piece(struct http_call *call, const uint8_t *bytes, size_t size, uint64_t now)
{
    struct client_state *s = call->arg;
    const char *text = (const char *)bytes;
    now -= s->exchange->start_ns;
    if (!s->any_event)
        keep_error(s, text, size);
    if (call->status != 200)
        return true;
    while (size > 0) {
        size_t used, data_bytes;
        const char *data;
        enum sse_status status = sse_feed(&s->sse, text, size, &used, &data, &data_bytes);
        if (status == SSE_BAD) {
            record_failed(s->exchange->record, "an event of the stream is too long");
            return false;
        }
        if (status == SSE_EVENT && !take_event(s, data, data_bytes, now))
            return false;
        text += used;
        size -= used;
    }
    return true;
}

static void on_end(struct http_call *call, const char *error)
{
    struct client_state *s = call->arg;
    struct client_exchange *x = s->exchange;
    struct fault why = {{0}};
    if (error && !(s->finished && call->status == 200))
        record_failed(x->record, "%s", error);
    else if (call->status != 200)
        openai_error(call->status, s->error, s->error_bytes, &why);
    else if (!s->any_event)
        fault_set(&why, "the answer is not an event stream: %.*s",
                  s->error_bytes < 100 ? (int)s->error_bytes : 100, s->error);
    else if (!s->finished)
        fault_set(&why, "the stream ended without a finish reason");
    if (why.text[0])
        record_failed(x->record, "%s", why.text);
    record_completed(x->record);
    free_state(x);
    x->done(x);
}

static bool http_open(struct client *c, struct fault *fault)
{
    const struct options *o = c->options;
    const char *usual = o->backend == BACKEND_OPENAI_CHAT ? "/v1/chat/completions"
                                                          : "/v1/completions";
    /* A base that ends in /v1 already, as other clients have it. */
    size_t prefix = strlen(c->address.prefix);
    if (prefix >= 3 && strcmp(c->address.prefix + prefix - 3, "/v1") == 0)
        c->address.prefix[prefix - 3] = '\0';
    const char *path = o->endpoint ? o->endpoint : usual;
    if (snprintf(c->path, sizeof c->path, "%s%s", c->address.prefix, path) >= (int)sizeof c->path)
        return fault_set(fault, "--endpoint is too long");
    const struct http_client_config config = {.base = c->base, .dial = c->dial,
                                              .authority = c->address.authority, .key = o->api_key};
    c->http = http_client_open(&config);
    if (!c->http)
        return fault_set(fault, "out of memory");
    if (c->model)
        return true;
    const struct fetch fetch = {.base = c->base, .dial = c->dial, .address = &c->address,
                                .key = o->api_key, .path = "/v1/models",
                                .timeout_s = MODELS_TIMEOUT_S};
    char *body;
    size_t bytes;
    int status;
    if (!fetch_get(&fetch, &body, &bytes, &status, fault))
        return false;
    c->model = openai_first_model(body, bytes, fault);
    free(body);
    return c->model != NULL;
}

static void http_close(struct client *c)
{
    http_client_close(c->http);
}

static struct client_state *new_state(struct client *c, struct client_exchange *x)
{
    const struct options *o = c->options;
    const struct openai_style style = {
        .chat = o->backend == BACKEND_OPENAI_CHAT, .model = c->model, .ignore_eos = o->ignore_eos,
        .has_temperature = o->has_temperature, .temperature = o->temperature, .extra = c->extra,
    };
    struct client_state *s = calloc(1, sizeof *s);
    char *body = s ? openai_body(&style, x->prompt) : NULL;
    if (!body) {
        free(s);
        return NULL;
    }
    s->exchange = x;
    s->chat = style.chat;
    s->body = body;
    sse_init(&s->sse);
    s->call = (struct http_call){.method = "POST", .path = c->path, .body = body,
                                 .body_bytes = strlen(body), .piece = on_piece, .end = on_end,
                                 .arg = s};
    return s;
}

static bool http_send(struct client *c, struct client_exchange *x)
{
    x->state = new_state(c, x);
    record_sent(x->record, now_ns() - x->start_ns);
    if (x->state)
        http_client_send(c->http, &x->state->call);
    else
        record_failed(x->record, "out of memory for the request, or a prompt that is not UTF-8");
    return x->state != NULL;
}

static void http_cancel(struct client *c, struct client_exchange *x)
{
    if (!x->state)
        return;
    http_client_cancel(c->http, &x->state->call);
    free_state(x);
}

const struct client_backend client_http = {
    .protocol = "http", .port = "8000", .open = http_open, .close = http_close, .send = http_send,
    .cancel = http_cancel,
};
