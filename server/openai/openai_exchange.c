/* Every way out goes through exchange_close, after the last use of `x`: http_reply, http_fail,
 * http_stream_end and http_abort end the http exchange and do not call `closed`. A choice that
 * is live has a request in server/requests/requests.c whose sink is that choice; closing cancels
 * those that are left. */
#include "server/openai/openai_exchange.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "memory/base/check.h"
#include "memory/base/clock.h"
#include "server/openai/chat_encode.h"
#include "server/openai/completions_encode.h"

struct openai_choice {
    struct openai_choice_state state;
    struct openai_exchange *exchange;
    uint64_t request;
    bool live;
    bool counts_prompt; /* the first choice of its prompt */
};

struct openai_exchange {
    struct openai *openai;
    uint64_t http;
    struct openai_asked asked;
    struct openai_answer answer;
    struct openai_choice *choices;
    struct openai_choice_state **states; /* of all choices, for the encoders */
    uint32_t count, live;
    struct openai_totals totals;
    bool begun;                          /* the stream's headers have left */
    bool paused;                         /* the client does not keep up */
    uint64_t written_ns;                 /* when it last heard something, or asked */
    struct jsonw out;
    struct openai_exchange *previous, *next;
};

static void cancel_all(struct openai_exchange *e, const char *why)
{
    for (uint32_t i = 0; i < e->count; i++)
        if (e->choices[i].live) {
            e->choices[i].live = false;
            e->live--;
            requests_cancel(e->openai->requests, e->choices[i].request, why);
        }
}

static void exchange_close(struct openai_exchange *e, const char *why)
{
    cancel_all(e, why);
    if (e->previous || e->openai->exchanges == e)
        *(e->previous ? &e->previous->next : &e->openai->exchanges) = e->next;
    if (e->next)
        e->next->previous = e->previous;
    for (uint32_t i = 0; i < e->count; i++)
        openai_choice_close(&e->choices[i].state);
    free(e->choices);
    free(e->states);
    openai_asked_reset(&e->asked);
    jsonw_close(&e->out);
    free(e);
}

/* ---- ends ---- */

static void fail(struct openai_exchange *e, struct http_exchange *x,
                 const struct openai_refusal *refusal)
{
    cancel_all(e, refusal->why.text);
    if (!e->begun) {
        openai_fail(x, refusal);
    } else {
        jsonw_reset(&e->out);
        openai_stream_error(&e->out, refusal);
        if (e->out.failed || http_stream_write(x, e->out.data, e->out.bytes) == STATUS_NO_MEMORY)
            http_abort(x);
        else
            http_stream_end(x);
    }
    exchange_close(e, refusal->why.text);
}

static void fail_no_memory(struct openai_exchange *e, struct http_exchange *x)
{
    struct openai_refusal refusal = {0};
    openai_refuse(&refusal, HTTP_UNAVAILABLE, NULL, "out of memory for the answer");
    fail(e, x, &refusal);
}

/* The engine has refused or failed a request. What it calls INVALID is a prompt that does not
 * fit. */
static void fail_request(struct openai_exchange *e, struct http_exchange *x,
                         const struct request_event *event)
{
    struct openai_refusal refusal = {0};
    if (event->status == STATUS_INVALID)
        openai_refuse(&refusal, HTTP_CONTEXT_LENGTH, e->answer.chat ? "messages" : "prompt", "%s",
                      event->error.text);
    else
        openai_refuse(&refusal, http_problem_of(event->status), NULL, "%s", event->error.text);
    fail(e, x, &refusal);
}

/* ---- output ---- */

static void pause_all(struct openai_exchange *e, bool paused)
{
    e->paused = paused;
    for (uint32_t i = 0; i < e->count; i++)
        if (e->choices[i].live)
            requests_pause(e->openai->requests, e->choices[i].request, paused);
}

/* Sends what has been written. False: memory has run out and the exchange is gone. */
static bool flush(struct openai_exchange *e, struct http_exchange *x)
{
    if (e->out.failed) {
        fail_no_memory(e, x);
        return false;
    }
    if (!e->out.bytes)
        return true;
    if (!e->begun)
        http_stream_begin(x, "text/event-stream; charset=utf-8");
    e->begun = true;
    enum status status = http_stream_write(x, e->out.data, e->out.bytes);
    jsonw_reset(&e->out);
    e->written_ns = clock_now_ns();
    if (status == STATUS_NO_MEMORY) {
        http_abort(x);
        exchange_close(e, "out of memory for a chunk");
        return false;
    }
    if (status == STATUS_FULL && !e->paused)
        pause_all(e, true);
    return true;
}

static bool stream(struct openai_exchange *e, struct http_exchange *x, struct openai_choice *c,
                   const struct request_event *event)
{
    const struct openai_totals *totals = e->live ? NULL : &e->totals;
    if (e->answer.chat)
        chat_encode_event(&e->out, &e->answer, &c->state, event, totals);
    else
        completions_encode_event(&e->out, &e->answer, &c->state, event, totals);
    if (!e->live)
        openai_stream_end(&e->out, &e->answer, &e->totals);
    if (!flush(e, x))
        return false;
    if (e->live)
        return true;
    http_stream_end(x);
    exchange_close(e, "");
    return false;
}

static void reply(struct openai_exchange *e, struct http_exchange *x)
{
    if (e->answer.chat)
        chat_encode(&e->out, &e->answer, e->states, e->count, &e->totals);
    else
        completions_encode(&e->out, &e->answer, e->states, e->count, &e->totals);
    openai_reply(x, 200, &e->out);
    exchange_close(e, "");
}

/* What a choice says. False: it was the last word, and the exchange is gone. */
static bool take(struct openai_choice *c, const struct request_event *event)
{
    struct openai_exchange *e = c->exchange;
    struct http_exchange *x = http_server_find(e->openai->server, e->http);
    CHECK(x); /* an exchange whose client has gone is closed */
    if (event->finish != FINISH_NONE) {
        c->live = false;
        e->live--;
    }
    if (event->finish == FINISH_FAILED) {
        fail_request(e, x, event);
        return false;
    }
    if (!openai_choice_keep(&c->state, &e->answer, event)) {
        fail_no_memory(e, x);
        return false;
    }
    if (event->finish != FINISH_NONE)
        openai_totals_add(&e->totals, &event->usage, c->counts_prompt);
    if (e->asked.stream)
        return stream(e, x, c, event);
    if (e->live)
        return true;
    reply(e, x);
    return false;
}

static void on_event(void *arg, const struct request_event *event)
{
    (void)take(arg, event);
}

static void on_cut_off(void *arg, enum request_cut_off cause, const char *why)
{
    struct openai_choice *c = arg;
    struct openai_exchange *e = c->exchange;
    struct http_exchange *x = http_server_find(e->openai->server, e->http);
    struct openai_refusal refusal = {0};
    CHECK(x);
    c->live = false;
    e->live--;
    if (cause == REQUEST_STALLED) { /* it would not read an error either */
        http_abort(x);
        exchange_close(e, why);
        return;
    }
    openai_refuse(&refusal, HTTP_UNAVAILABLE, NULL, "%s", why);
    fail(e, x, &refusal);
}

void openai_exchange_writable(struct http_exchange *x)
{
    struct openai_exchange *e = http_user(x);
    if (e && e->paused)
        pause_all(e, false);
}

void openai_exchange_closed(struct http_exchange *x)
{
    struct openai_exchange *e = http_user(x);
    if (e)
        exchange_close(e, "cancelled by its client");
}

void openai_exchange_tick(struct openai_exchange *e, uint64_t now_ns)
{
    static const char ping[] = ": ping\n\n";
    if (!e->asked.stream || e->paused || now_ns < e->written_ns + OPENAI_PING_NS)
        return;
    struct http_exchange *x = http_server_find(e->openai->server, e->http);
    CHECK(x);
    jsonw_plain(&e->out, ping, sizeof ping - 1);
    flush(e, x);
}

struct openai_exchange *openai_exchange_next(const struct openai_exchange *e)
{
    return e->next;
}

/* ---- the beginning ---- */

static void set_answer(struct openai_exchange *e, bool chat, const struct openai_model *model)
{
    struct openai *o = e->openai;
    e->answer = (struct openai_answer){
        .chat = chat,
        .created = (int64_t)time(NULL),
        .model = model->name,
        .tokenizer = model->tokenizer,
        .asked = &e->asked,
    };
    snprintf(e->answer.id, sizeof e->answer.id, "%s-%016llx%08llx", chat ? "chatcmpl" : "cmpl",
             (unsigned long long)o->nonce, (unsigned long long)++o->last_id);
}

static bool open_choices(struct openai_exchange *e)
{
    e->choices = calloc(e->count, sizeof *e->choices);
    e->states = calloc(e->count, sizeof(*e->states));
    if (!e->choices || !e->states) {
        e->count = 0;
        return false;
    }
    for (uint32_t i = 0; i < e->count; i++) {
        struct openai_choice *c = &e->choices[i];
        c->exchange = e;
        c->counts_prompt = i % e->asked.n == 0;
        e->states[i] = &c->state;
        if (!openai_choice_open(&c->state, &e->answer, i, &e->asked.prompts[i / e->asked.n]))
            return false;
    }
    return true;
}

static struct openai_exchange *exchange_open(struct openai *o, struct http_exchange *x, bool chat,
                                             const struct openai_model *model,
                                             struct openai_asked *asked)
{
    struct openai_exchange *e = calloc(1, sizeof *e);
    if (!e)
        return NULL;
    e->openai = o;
    e->http = http_id(x);
    e->written_ns = clock_now_ns();
    e->asked = *asked;
    memset(asked, 0, sizeof *asked);
    set_answer(e, chat, model);
    e->count = e->asked.prompt_count * e->asked.n;
    if (!open_choices(e)) {
        exchange_close(e, "");
        return NULL;
    }
    e->next = o->exchanges;
    if (o->exchanges)
        o->exchanges->previous = e;
    o->exchanges = e;
    return e;
}

/* All requests are made before the first is submitted: what cannot be asked is refused as a
 * whole. */
static bool make_requests(struct openai_exchange *e, struct request **requests,
                          struct openai_refusal *refusal)
{
    for (uint32_t i = 0; i < e->count; i++) {
        requests[i] = requests_new(e->openai->requests);
        if (!requests[i])
            return openai_refuse(refusal, HTTP_UNAVAILABLE, NULL, "out of memory for the request");
        if (!openai_asked_fill(&e->asked, e->choices[i].state.prompt, i % e->asked.n,
                               &requests[i]->asked, refusal))
            return false;
    }
    return true;
}

static bool submit_requests(struct openai_exchange *e, struct request **requests, const char *name,
                            struct openai_refusal *refusal)
{
    for (uint32_t i = 0; i < e->count; i++) {
        struct openai_choice *c = &e->choices[i];
        const struct request_sink sink = {on_event, on_cut_off, c};
        c->request = requests[i]->id;
        enum status status = requests_submit(e->openai->requests, requests[i], &sink, name);
        if (status == STATUS_FULL)
            return openai_refuse(refusal, HTTP_QUEUE_FULL, NULL,
                                 "the queue has no room for %u more (--max-queue)", e->count - i);
        if (status != STATUS_OK)
            return openai_refuse(refusal, HTTP_UNAVAILABLE, NULL, "out of memory for the request");
        requests[i] = NULL; /* the engine thread's now */
        c->live = true;
        e->live++;
    }
    return true;
}

static bool submit(struct openai_exchange *e, const char *name, struct openai_refusal *refusal)
{
    struct request **requests = calloc(e->count, sizeof(*requests));
    bool ok = requests || openai_refuse(refusal, HTTP_UNAVAILABLE, NULL,
                                        "out of memory for the requests");
    ok = ok && make_requests(e, requests, refusal) && submit_requests(e, requests, name, refusal);
    for (uint32_t i = 0; requests && i < e->count; i++)
        request_close(requests[i]);
    free(requests);
    openai_grammar_reset(&e->asked.grammar); /* compiled; the body may go */
    return ok;
}

/* max_tokens of 0: the answer is known. */
static void answer_empty(struct openai_exchange *e)
{
    e->live = e->count;
    for (uint32_t i = 0; e; i++) { /* the last one ends the exchange */
        struct request_event event = {.finish = FINISH_LENGTH};
        event.usage.prompt_tokens = e->choices[i].state.prompt->count;
        if (!take(&e->choices[i], &event))
            e = NULL;
    }
}

bool openai_exchange_begin(struct openai *o, struct http_exchange *x, bool chat,
                           const struct openai_model *model, struct openai_asked *asked,
                           struct openai_refusal *refusal)
{
    struct openai_exchange *e = exchange_open(o, x, chat, model, asked);
    if (!e)
        return openai_refuse(refusal, HTTP_UNAVAILABLE, NULL, "out of memory for the answer");
    http_set_user(x, e);
    if (openai_asked_is_empty(&e->asked)) {
        answer_empty(e);
        return true;
    }
    const char *name = *e->asked.name ? e->asked.name : http_header(x, "x-request-id");
    if (submit(e, name, refusal))
        return true;
    http_set_user(x, NULL);
    exchange_close(e, "another choice of its request was refused");
    return false;
}
