#include "server/generation.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "memory/base/check.h"

enum status generation_open(struct generation *g, const struct tokenizer *tokenizer,
                            const uint32_t *eos, uint32_t eos_count, struct error *error)
{
    memset(g, 0, sizeof *g);
    g->tokenizer = tokenizer;
    g->eos = eos;
    g->eos_count = eos_count;
    g->room = tokenizer ? detokenizer_room(tokenizer) : 1;
    g->text = malloc(g->room);
    g->shown = malloc(g->room + STOP_TEXT_BYTES_MAX);
    if (g->text && g->shown)
        return STATUS_OK;
    generation_close(g);
    return error_set(error, STATUS_NO_MEMORY, "out of memory for %zu bytes of text", g->room);
}

void generation_close(struct generation *g)
{
    free(g->text);
    free(g->shown);
    memset(g, 0, sizeof *g);
}

void generation_begin(const struct generation *g, struct request *r)
{
    struct request_output *o = &r->output;
    if (g->tokenizer)
        detokenizer_init(&o->detokenizer, g->tokenizer, !r->asked.keep_special);
    stop_text_init(&o->stop_text, &r->asked.stops, r->asked.include_stop);
    o->banned_count = 0;
    for (uint32_t i = 0; !r->asked.ignore_eos && i < g->eos_count; i++)
        o->banned[o->banned_count++] = g->eos[i];
    for (uint32_t i = 0; i < r->asked.stop_token_count; i++)
        o->banned[o->banned_count++] = r->asked.stop_tokens[i];
}

const uint32_t *generation_banned(const struct request *r, uint32_t *count)
{
    *count = r->output.tokens < r->asked.min_tokens ? r->output.banned_count : 0;
    return *count ? r->output.banned : NULL;
}

static bool ends(const struct request *r, uint32_t token)
{
    for (uint32_t i = 0; i < r->output.banned_count; i++)
        if (r->output.banned[i] == token)
            return true;
    return false;
}

static struct request_event *current_event(struct request *r)
{
    if (!r->output.event)
        r->output.event = request_event_open(r->id);
    return r->output.event;
}

/* Shows `bytes` of g->text; true if that completed a stop text (`*stop`). *ok: memory sufficed. */
static bool show(const struct generation *g, struct request *r, size_t bytes, int *stop, bool *ok)
{
    size_t shown = bytes;
    const char *text = g->text;
    *stop = STOP_TEXT_NONE;
    if (r->output.tokens > r->asked.min_tokens) {
        *stop = stop_text_push(&r->output.stop_text, g->text, bytes, g->shown, &shown);
        text = g->shown;
    }
    *ok = *ok && request_event_add_text(r->output.event, text, shown);
    return *stop != STOP_TEXT_NONE;
}

/* The output ends without a stop text: half a character and held text come out. */
static bool show_rest(const struct generation *g, struct request *r, int *stop, bool *ok)
{
    if (!g->tokenizer)
        return false;
    size_t n = detokenizer_finish(&r->output.detokenizer, g->text, g->room);
    if (show(g, r, n, stop, ok))
        return true;
    n = stop_text_finish(&r->output.stop_text, g->shown);
    *ok = *ok && request_event_add_text(r->output.event, g->shown, n);
    return false;
}

static void fill_usage(const struct request *r, struct request_event *e, uint64_t now_ns)
{
    const struct request_schedule *s = &r->schedule;
    uint64_t admitted = s->admitted_ns ? s->admitted_ns : now_ns;
    uint64_t first = r->output.first_token_ns ? r->output.first_token_ns : now_ns;
    e->usage = (struct request_usage){
        .prompt_tokens = r->asked.prompt_tokens,
        .completion_tokens = r->output.tokens,
        .preemptions = s->preemptions,
        .experts = r->output.experts,
        .queue_ns = admitted - s->submitted_ns,
        .prefill_ns = first - admitted,
        .decode_ns = now_ns - first,
    };
}

static void set_stop_text(const struct request *r, struct request_event *e, int stop)
{
    e->stop_text_bytes = r->asked.stops.stop[stop].bytes;
    memcpy(e->stop_text, r->asked.stops.stop[stop].text, e->stop_text_bytes);
}

enum finish_reason generation_push(const struct generation *g, struct request *r,
                                   const struct sampled *token, uint64_t now_ns)
{
    struct request_event *e = current_event(r);
    enum finish_reason finish = FINISH_NONE;
    int stop = STOP_TEXT_NONE;
    bool ok = e && request_event_add_token(e, token);
    if (!ok)
        goto no_memory;
    if (r->output.tokens++ == 0)
        r->output.first_token_ns = now_ns;
    if (ends(r, token->token)) {
        finish = FINISH_STOP;
        e->has_stop_token = true;
        e->stop_token = token->token;
        show_rest(g, r, &stop, &ok);
    } else {
        size_t n = g->tokenizer ? detokenizer_push(&r->output.detokenizer, token->token, g->text,
                                                   g->room) : 0;
        bool stopped = g->tokenizer && show(g, r, n, &stop, &ok);
        if (!stopped && r->schedule.known >= r->schedule.limit) {
            finish = FINISH_LENGTH;
            stopped = show_rest(g, r, &stop, &ok);
        }
        if (stopped) {
            finish = FINISH_STOP;
            set_stop_text(r, e, stop);
        }
    }
    if (!ok)
        goto no_memory;
    e->finish = finish;
    if (finish != FINISH_NONE)
        fill_usage(r, e, now_ns);
    return finish;
no_memory:
    generation_fail(r, STATUS_NO_MEMORY, "out of memory for the output", now_ns);
    return FINISH_FAILED;
}

void generation_fail(struct request *r, enum status status, const char *why, uint64_t now_ns)
{
    struct request_event *e = current_event(r);
    if (!e) {
        e = r->output.event = r->output.spare;
        r->output.spare = NULL;
        CHECK(e);
    }
    e->finish = FINISH_FAILED;
    e->status = status;
    error_set(&e->error, status, "%s", why);
    fill_usage(r, e, now_ns);
}
