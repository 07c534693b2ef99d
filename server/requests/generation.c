#include "server/requests/generation.h"

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
    grammar_vocab_close(g->vocab);
    memset(g, 0, sizeof *g);
}

void generation_begin(const struct generation *g, struct request *r)
{
    struct request_output *o = &r->output;
    if (g->tokenizer) {
        detokenizer_init(&o->detokenizer, g->tokenizer, !r->asked.keep_special);
        detokenizer_continue(&o->detokenizer); /* the prompt */
    }
    stop_text_init(&o->stop_text, &r->asked.stops, r->asked.include_stop);
    o->banned_count = 0;
    bool eos_ends = !r->asked.ignore_eos || r->asked.grammar;
    for (uint32_t i = 0; eos_ends && i < g->eos_count; i++)
        o->banned[o->banned_count++] = g->eos[i];
    o->banned_eos = o->banned_count;
    for (uint32_t i = 0; i < r->asked.stop_token_count; i++)
        o->banned[o->banned_count++] = r->asked.stop_tokens[i];
}

/* ---- what may be sampled ---- */

enum status generation_open_vocab(struct generation *g, uint32_t vocab, struct error *error)
{
    if (!g->tokenizer)
        return error_set(error, STATUS_INVALID,
                         "the model has no tokenizer, which structured output needs");
    g->vocab_tokens = vocab;
    return grammar_vocab_open(&g->vocab, g->tokenizer, vocab, g->eos, g->eos_count, error);
}

enum status generation_begin_grammar(const struct generation *g, struct request *r,
                                     struct error *error)
{
    CHECK(g->vocab && !r->output.grammar);
    return grammar_state_open(&r->output.grammar, r->asked.grammar, g->vocab, error);
}

const uint32_t *generation_banned(const struct request *r, uint32_t *count)
{
    const struct request_output *o = &r->output;
    *count = o->tokens < r->asked.min_tokens ? o->banned_count
             : r->asked.ignore_eos           ? o->banned_eos
                                             : 0;
    return *count ? o->banned : NULL;
}

static bool any_bit(const uint32_t *mask, size_t words)
{
    for (size_t i = 0; i < words; i++)
        if (mask[i])
            return true;
    return false;
}

bool generation_mask(const struct generation *g, struct request *r, uint32_t *mask)
{
    bool was[REQUEST_BANNED_MAX];
    uint32_t count;
    const uint32_t *banned = generation_banned(r, &count);
    if (!grammar_state_mask(r->output.grammar, mask))
        return false;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t token = banned[i], bit = 1u << token % 32;
        was[i] = token < g->vocab_tokens && mask[token / 32] & bit;
        if (was[i])
            mask[token / 32] &= ~bit;
    }
    if (any_bit(mask, grammar_mask_words(g->vocab_tokens)))
        return true;
    for (uint32_t i = 0; i < count; i++)
        if (was[i])
            mask[banned[i] / 32] |= 1u << banned[i] % 32;
    return true;
}

/* ---- what was sampled ---- */

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
    if (r->output.event)
        r->output.event->usage.cached_tokens = r->output.cached_tokens;
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
        .cached_tokens = r->output.cached_tokens,
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

static bool is_shown(const struct request *r, uint32_t token)
{
    for (uint32_t i = 0; i < r->asked.shown_special_count; i++)
        if (r->asked.shown_special[i] == token)
            return true;
    return r->asked.keep_special;
}

/* A token that goes on with the output: its text, and whether that is the end of it. *stop: the
 * stop text that was completed. */
static enum finish_reason go_on(const struct generation *g, struct request *r, uint32_t token,
                                int *stop, bool *ok)
{
    r->output.detokenizer.skip_special = !is_shown(r, token);
    size_t n = g->tokenizer ? detokenizer_push(&r->output.detokenizer, token, g->text, g->room) : 0;
    if (g->tokenizer && show(g, r, n, stop, ok))
        return FINISH_STOP;
    bool complete = r->output.grammar && grammar_state_must_end(r->output.grammar);
    if (!complete && r->schedule.known < r->schedule.limit)
        return FINISH_NONE;
    bool stopped = show_rest(g, r, stop, ok);
    return stopped || complete ? FINISH_STOP : FINISH_LENGTH;
}

enum finish_reason generation_push(const struct generation *g, struct request *r,
                                   const struct sampled *token, uint64_t now_ns)
{
    struct request_event *e = current_event(r);
    enum finish_reason finish = FINISH_STOP;
    int stop = STOP_TEXT_NONE;
    bool ok = e && request_event_add_token(e, token);
    if (!ok)
        goto no_memory;
    e->ns = now_ns;
    if (r->output.tokens++ == 0)
        r->output.first_token_ns = now_ns;
    if (ends(r, token->token)) {
        e->has_stop_token = true;
        e->stop_token = token->token;
        show_rest(g, r, &stop, &ok);
    } else if (r->output.grammar && !grammar_state_push(r->output.grammar, token->token)) {
        generation_fail(r, STATUS_INTERNAL, "the grammar did not take the token that was sampled",
                        now_ns);
        return FINISH_FAILED;
    } else {
        finish = go_on(g, r, token->token, &stop, &ok);
        if (stop != STOP_TEXT_NONE)
            set_stop_text(r, e, stop);
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

bool generation_ask_scores(struct request *r, struct step_item *item)
{
    uint32_t computed = r->schedule.computed, told = r->output.prompt_scored;
    uint32_t end = computed + item->tokens, last = r->asked.prompt_tokens - 1;
    item->scored = NULL;
    item->score_from = item->score_count = 0;
    end = end < last ? end : last; /* position p tells of token p + 1 */
    if (!r->asked.prompt_logprobs || end <= told)
        return true;
    CHECK(computed <= told);
    struct request_event *e = current_event(r);
    item->scored = e ? request_event_prompt_room(e, end - told) : NULL;
    item->score_from = told - computed;
    item->score_count = end - told;
    return item->scored != NULL;
}

bool generation_take_scores(struct request *r, const struct step_item *item, uint64_t now_ns)
{
    if (item->score_count == 0)
        return false;
    r->output.event->prompt_count += item->score_count;
    r->output.event->ns = now_ns;
    r->output.prompt_scored += item->score_count;
    return true;
}

void generation_end_prompt(struct request *r, uint64_t now_ns)
{
    struct request_event *e = current_event(r);
    if (!e) {
        generation_fail(r, STATUS_NO_MEMORY, "out of memory for the output", now_ns);
        return;
    }
    e->finish = FINISH_LENGTH;
    e->ns = now_ns;
    fill_usage(r, e, now_ns);
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
    e->ns = now_ns;
    e->status = status;
    error_set(&e->error, status, "%s", why);
    fill_usage(r, e, now_ns);
}
