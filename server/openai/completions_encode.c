#include "server/openai/completions_encode.h"

#include "server/openai/openai_logprobs.h"

static void put_logprobs(struct jsonw *w, const struct openai_answer *a,
                         struct openai_choice_state *c, const struct openai_scored *scored)
{
    jsonw_key(w, "logprobs");
    if (a->asked->sampling.logprobs)
        openai_logprobs_completion(w, a->tokenizer, scored, &c->offset);
    else
        jsonw_null(w);
}

static struct openai_scored scored_prompt(const struct openai_choice_state *c)
{
    return (struct openai_scored){
        .prompt = c->prompt->ids,
        .prompt_tokens = c->prompt->count,
        .prompt_scores = c->said->prompt,
        .prompt_scores_count = c->said->prompt_count,
    };
}

/* ---- chunks ---- */

static void put_echo(struct jsonw *w, const struct openai_answer *a, struct openai_choice_state *c)
{
    const struct request_event nothing = {.finish = FINISH_NONE};
    struct openai_scored scored = scored_prompt(c);
    openai_chunk_begin(w, a, NULL);
    jsonw_object_open(w);
    jsonw_key(w, "index");
    jsonw_uint(w, c->index);
    jsonw_key(w, "text");
    jsonw_bytes(w, c->prompt->echo, c->prompt->echo_bytes);
    put_logprobs(w, a, c, &scored);
    openai_finish(w, a, &nothing, "stop");
    jsonw_object_end(w);
    openai_chunk_end(w, a, c, NULL);
}

void completions_encode_event(struct jsonw *w, const struct openai_answer *a,
                              struct openai_choice_state *c, const struct request_event *e,
                              const struct openai_totals *totals)
{
    bool ended = e->finish != FINISH_NONE;
    if (!e->token_count && !ended)
        return; /* of the prompt alone */
    bool first = !c->begun;
    c->begun = true;
    c->completion_tokens += e->token_count;
    if (first && a->asked->echo)
        put_echo(w, a, c);
    bool first_ids = first && a->asked->return_token_ids;
    struct openai_scored scored = {.output = e->tokens, .output_tokens = e->token_count};
    openai_chunk_begin(w, a, NULL);
    jsonw_object_open(w);
    jsonw_key(w, "index");
    jsonw_uint(w, c->index);
    jsonw_key(w, "text");
    jsonw_bytes(w, e->text, e->text_bytes);
    put_logprobs(w, a, c, &scored);
    openai_finish(w, a, e, "stop");
    if (first_ids)
        openai_ids(w, "prompt_token_ids", c->prompt->ids, c->prompt->count);
    if (a->asked->return_token_ids)
        openai_sampled_ids(w, "token_ids", e->tokens, e->token_count);
    jsonw_object_end(w);
    openai_chunk_end(w, a, c, ended ? totals : NULL);
}

/* ---- the whole ---- */

static void put_choice(struct jsonw *w, const struct openai_answer *a,
                       struct openai_choice_state *c)
{
    const struct request_event *said = c->said;
    struct openai_scored scored = {0};
    struct jsonw text = {0};
    if (a->asked->echo) {
        scored = scored_prompt(c);
        jsonw_plain(&text, c->prompt->echo, c->prompt->echo_bytes);
    }
    scored.output = said->tokens;
    scored.output_tokens = said->token_count;
    jsonw_plain(&text, said->text, said->text_bytes);
    jsonw_object_open(w);
    jsonw_key(w, "index");
    jsonw_uint(w, c->index);
    jsonw_key(w, "text");
    jsonw_bytes(w, text.data, text.bytes);
    put_logprobs(w, a, c, &scored);
    openai_finish(w, a, said, "stop");
    if (a->asked->return_token_ids) {
        openai_ids(w, "prompt_token_ids", c->prompt->ids, c->prompt->count);
        openai_sampled_ids(w, "token_ids", said->tokens, said->token_count);
    }
    jsonw_object_end(w);
    w->failed = w->failed || text.failed;
    jsonw_close(&text);
}

void completions_encode(struct jsonw *w, const struct openai_answer *a,
                        struct openai_choice_state *const *choices, uint32_t count,
                        const struct openai_totals *totals)
{
    openai_answer_begin(w, a, "text_completion", NULL);
    for (uint32_t i = 0; i < count; i++)
        put_choice(w, a, choices[i]);
    openai_answer_end(w, totals);
}
