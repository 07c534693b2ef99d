#include "server/openai/openai_answer.h"

#include <string.h>

/* ---- figures ---- */

void openai_totals_add(struct openai_totals *t, const struct request_usage *u, bool counts_prompt)
{
    t->choices++;
    t->prompt_tokens += counts_prompt ? u->prompt_tokens : 0;
    t->cached_tokens += counts_prompt ? u->cached_tokens : 0;
    t->completion_tokens += u->completion_tokens;
    t->prefill_ns = u->prefill_ns > t->prefill_ns ? u->prefill_ns : t->prefill_ns;
    t->decode_ns = u->decode_ns > t->decode_ns ? u->decode_ns : t->decode_ns;
    t->experts.hits += u->experts.hits;
    t->experts.misses += u->experts.misses;
    t->experts.bytes += u->experts.bytes;
    t->experts.stall_ns += u->experts.stall_ns;
}

static void put_usage(struct jsonw *w, uint64_t prompt_tokens, uint64_t cached_tokens,
                      uint64_t completion_tokens)
{
    jsonw_key(w, "usage");
    jsonw_object_open(w);
    jsonw_key(w, "prompt_tokens");
    jsonw_uint(w, prompt_tokens);
    jsonw_key(w, "completion_tokens");
    jsonw_uint(w, completion_tokens);
    jsonw_key(w, "total_tokens");
    jsonw_uint(w, prompt_tokens + completion_tokens);
    jsonw_key(w, "prompt_tokens_details");
    jsonw_object_open(w);
    jsonw_key(w, "cached_tokens");
    jsonw_uint(w, cached_tokens);
    jsonw_object_end(w);
    jsonw_object_end(w);
}

static void put_rate(struct jsonw *w, const char *key, uint64_t tokens, uint64_t ns)
{
    jsonw_key(w, key);
    jsonw_fixed(w, ns ? (double)tokens * 1e9 / (double)ns : 0);
}

/* Names of other servers, so prompt_n is of what was computed. A choice's first token comes out of
 * the prompt, so the rate of decoding counts the others. */
static void put_figures(struct jsonw *w, const struct openai_totals *t)
{
    uint64_t decoded = t->completion_tokens > t->choices ? t->completion_tokens - t->choices : 0;
    jsonw_key(w, "timings");
    jsonw_object_open(w);
    jsonw_key(w, "cache_n");
    jsonw_uint(w, t->cached_tokens);
    jsonw_key(w, "prompt_n");
    jsonw_uint(w, t->prompt_tokens - t->cached_tokens);
    jsonw_key(w, "prompt_ms");
    jsonw_fixed(w, (double)t->prefill_ns / 1e6);
    put_rate(w, "prompt_per_second", t->prompt_tokens - t->cached_tokens, t->prefill_ns);
    jsonw_key(w, "predicted_n");
    jsonw_uint(w, t->completion_tokens);
    jsonw_key(w, "predicted_ms");
    jsonw_fixed(w, (double)t->decode_ns / 1e6);
    put_rate(w, "predicted_per_second", decoded, t->decode_ns);
    jsonw_object_end(w);
    jsonw_key(w, "experts");
    jsonw_object_open(w);
    jsonw_key(w, "hits");
    jsonw_uint(w, t->experts.hits);
    jsonw_key(w, "misses");
    jsonw_uint(w, t->experts.misses);
    jsonw_key(w, "bytes");
    jsonw_uint(w, t->experts.bytes);
    jsonw_key(w, "stall_ms");
    jsonw_fixed(w, (double)t->experts.stall_ns / 1e6);
    jsonw_object_end(w);
}

/* ---- choices ---- */

bool openai_choice_open(struct openai_choice_state *c, const struct openai_answer *a,
                        uint32_t index, const struct openai_prompt *prompt)
{
    *c = (struct openai_choice_state){.index = index, .prompt = prompt};
    c->said = request_event_open(0);
    openai_parts_init(&c->parts, &a->asked->reading);
    if (!c->said || a->chat || !a->asked->sampling.logprobs)
        return c->said != NULL;
    if (!openai_offset_open(&c->offset, a->tokenizer, a->asked->keep_special))
        return false;
    if (a->tokenizer && !a->asked->echo) /* as the text of the answer */
        detokenizer_continue(&c->offset.detokenizer);
    return true;
}

void openai_choice_close(struct openai_choice_state *c)
{
    request_event_close(c->said);
    openai_offset_close(&c->offset);
    openai_parts_reset(&c->parts);
    *c = (struct openai_choice_state){0};
}

static bool keep_prompt(struct request_event *said, const struct request_event *event)
{
    if (!event->prompt_count)
        return true;
    struct sampled *room = request_event_prompt_room(said, event->prompt_count);
    if (!room)
        return false;
    memcpy(room, event->prompt, event->prompt_count * sizeof *room);
    said->prompt_count += event->prompt_count;
    return true;
}

bool openai_choice_keep(struct openai_choice_state *c, const struct openai_answer *a,
                        const struct request_event *event)
{
    struct request_event *said = c->said;
    bool wants_tokens = a->asked->sampling.logprobs || a->asked->return_token_ids;
    if (!keep_prompt(said, event))
        return false;
    said->usage.cached_tokens = event->usage.cached_tokens;
    if (a->asked->stream)
        return true;
    if (!request_event_add_text(said, event->text, event->text_bytes))
        return false;
    for (uint32_t i = 0; wants_tokens && i < event->token_count; i++)
        if (!request_event_add_token(said, &event->tokens[i]))
            return false;
    if (event->finish == FINISH_NONE)
        return true;
    said->finish = event->finish;
    said->has_stop_token = event->has_stop_token;
    said->stop_token = event->stop_token;
    said->stop_text_bytes = event->stop_text_bytes;
    memcpy(said->stop_text, event->stop_text, event->stop_text_bytes);
    said->usage = event->usage;
    return true;
}

/* ---- frames ---- */

void openai_answer_begin(struct jsonw *w, const struct openai_answer *a, const char *object,
                         const struct openai_prompt *prompt)
{
    jsonw_object_open(w);
    jsonw_key(w, "id");
    jsonw_text(w, a->id);
    jsonw_key(w, "object");
    jsonw_text(w, object);
    jsonw_key(w, "created");
    jsonw_int(w, a->created);
    jsonw_key(w, "model");
    jsonw_text(w, a->model);
    if (prompt)
        openai_ids(w, "prompt_token_ids", prompt->ids, prompt->count);
    jsonw_key(w, "choices");
    jsonw_array_open(w);
}

void openai_answer_end(struct jsonw *w, const struct openai_totals *t)
{
    jsonw_array_end(w);
    put_usage(w, t->prompt_tokens, t->cached_tokens, t->completion_tokens);
    put_figures(w, t);
    jsonw_object_end(w);
}

static void begin_event(struct jsonw *w)
{
    jsonw_plain(w, "data: ", 6);
    w->comma = false;
}

static void end_event(struct jsonw *w)
{
    jsonw_plain(w, "\n\n", 2);
}

void openai_chunk_begin(struct jsonw *w, const struct openai_answer *a,
                        const struct openai_prompt *prompt)
{
    begin_event(w);
    openai_answer_begin(w, a, a->chat ? "chat.completion.chunk" : "text_completion", prompt);
}

void openai_chunk_end(struct jsonw *w, const struct openai_answer *a,
                      const struct openai_choice_state *choice, const struct openai_totals *totals)
{
    jsonw_array_end(w);
    if (a->asked->continuous_usage) {
        put_usage(w, choice->prompt->count, choice->said->usage.cached_tokens,
                  choice->completion_tokens);
    } else if (a->asked->include_usage) {
        jsonw_key(w, "usage");
        jsonw_null(w);
    } else if (totals) {
        put_figures(w, totals);
    }
    jsonw_object_end(w);
    end_event(w);
}

void openai_stream_end(struct jsonw *w, const struct openai_answer *a,
                       const struct openai_totals *totals)
{
    if (a->asked->include_usage) {
        openai_chunk_begin(w, a, NULL);
        openai_answer_end(w, totals);
        end_event(w);
    }
    static const char done[] = "data: [DONE]\n\n";
    jsonw_plain(w, done, sizeof done - 1);
}

void openai_stream_error(struct jsonw *w, const struct openai_refusal *r)
{
    begin_event(w);
    jsonw_object_open(w);
    jsonw_key(w, "error");
    jsonw_object_open(w);
    jsonw_key(w, "message");
    jsonw_text(w, r->why.text);
    jsonw_key(w, "type");
    jsonw_text(w, http_problem_type(r->problem));
    jsonw_key(w, "param");
    jsonw_text(w, *r->param ? r->param : NULL);
    jsonw_key(w, "code");
    jsonw_text(w, http_problem_word(r->problem));
    jsonw_object_end(w);
    jsonw_object_end(w);
    end_event(w);
}

/* ---- ends and ids ---- */

/* The end tokens of the model are no news: as elsewhere, only those of stop_token_ids are told. */
static bool was_asked_for(const struct openai_asked *asked, uint32_t token)
{
    for (uint32_t i = 0; i < asked->stop_token_count; i++)
        if (asked->stop_tokens[i] == token)
            return true;
    return false;
}

void openai_finish(struct jsonw *w, const struct openai_answer *a, const struct request_event *e,
                   const char *stopped)
{
    jsonw_key(w, "finish_reason");
    if (e->finish == FINISH_NONE)
        jsonw_null(w);
    else
        jsonw_text(w, e->finish == FINISH_STOP ? stopped : "length");
    jsonw_key(w, "stop_reason");
    if (e->finish == FINISH_STOP && e->stop_text_bytes)
        jsonw_bytes(w, e->stop_text, e->stop_text_bytes);
    else if (e->finish == FINISH_STOP && e->has_stop_token &&
             was_asked_for(a->asked, e->stop_token))
        jsonw_uint(w, e->stop_token);
    else
        jsonw_null(w);
}

void openai_ids(struct jsonw *w, const char *key, const uint32_t *ids, uint32_t count)
{
    jsonw_key(w, key);
    jsonw_array_open(w);
    for (uint32_t i = 0; i < count; i++)
        jsonw_uint(w, ids[i]);
    jsonw_array_end(w);
}

void openai_sampled_ids(struct jsonw *w, const char *key, const struct sampled *tokens,
                        uint32_t count)
{
    jsonw_key(w, key);
    jsonw_array_open(w);
    for (uint32_t i = 0; i < count; i++)
        jsonw_uint(w, tokens[i].token);
    jsonw_array_end(w);
}
