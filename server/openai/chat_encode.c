#include "server/openai/chat_encode.h"

#include "server/openai/openai_logprobs.h"

static void put_logprobs(struct jsonw *w, const struct openai_answer *a,
                         const struct request_event *e)
{
    jsonw_key(w, "logprobs");
    if (a->asked->sampling.logprobs && e->token_count)
        openai_logprobs_chat(w, a->tokenizer, e->tokens, e->token_count);
    else
        jsonw_null(w);
}

/* ---- chunks ---- */

static void begin_delta(struct jsonw *w, const struct openai_answer *a,
                        const struct openai_choice_state *c, const struct openai_prompt *prompt)
{
    openai_chunk_begin(w, a, prompt);
    jsonw_object_open(w);
    jsonw_key(w, "index");
    jsonw_uint(w, c->index);
    jsonw_key(w, "delta");
    jsonw_object_open(w);
}

/* What stands behind the delta; `e` says how the choice ended, or that it has not. */
static void end_delta(struct jsonw *w, const struct openai_answer *a,
                      const struct openai_choice_state *c, const struct request_event *e,
                      const struct openai_totals *totals)
{
    openai_finish(w, a, e);
    jsonw_object_end(w);
    openai_chunk_end(w, a, c, totals);
}

static void put_role(struct jsonw *w, const struct openai_answer *a,
                     const struct openai_choice_state *c)
{
    const struct request_event nothing = {.finish = FINISH_NONE};
    begin_delta(w, a, c, a->asked->return_token_ids ? c->prompt : NULL);
    jsonw_key(w, "role");
    jsonw_text(w, "assistant");
    jsonw_key(w, "content");
    jsonw_text(w, "");
    jsonw_object_end(w);
    put_logprobs(w, a, &nothing);
    end_delta(w, a, c, &nothing, NULL);
}

static void put_text(struct jsonw *w, const struct openai_answer *a,
                     const struct openai_choice_state *c, const struct request_event *e)
{
    const struct request_event nothing = {.finish = FINISH_NONE};
    begin_delta(w, a, c, NULL);
    jsonw_key(w, "content");
    jsonw_bytes(w, e->text, e->text_bytes);
    jsonw_object_end(w);
    put_logprobs(w, a, e);
    if (a->asked->return_token_ids)
        openai_sampled_ids(w, "token_ids", e->tokens, e->token_count);
    end_delta(w, a, c, &nothing, NULL);
}

void chat_encode_event(struct jsonw *w, const struct openai_answer *a, struct openai_choice_state *c,
                       const struct request_event *e, const struct openai_totals *totals)
{
    const struct request_event nothing = {.finish = FINISH_NONE};
    bool shows_tokens = a->asked->sampling.logprobs || a->asked->return_token_ids;
    if (!c->begun)
        put_role(w, a, c);
    c->begun = true;
    c->completion_tokens += e->token_count;
    if (e->text_bytes || (shows_tokens && e->token_count))
        put_text(w, a, c, e);
    if (e->finish == FINISH_NONE)
        return;
    begin_delta(w, a, c, NULL);
    jsonw_object_end(w);
    put_logprobs(w, a, &nothing);
    end_delta(w, a, c, e, totals);
}

/* ---- the whole ---- */

void chat_encode(struct jsonw *w, const struct openai_answer *a,
                 struct openai_choice_state *const *choices, uint32_t count,
                 const struct openai_totals *totals)
{
    openai_answer_begin(w, a, "chat.completion",
                        count && a->asked->return_token_ids ? choices[0]->prompt : NULL);
    for (uint32_t i = 0; i < count; i++) {
        const struct openai_choice_state *c = choices[i];
        jsonw_object_open(w);
        jsonw_key(w, "index");
        jsonw_uint(w, c->index);
        jsonw_key(w, "message");
        jsonw_object_open(w);
        jsonw_key(w, "role");
        jsonw_text(w, "assistant");
        jsonw_key(w, "content");
        jsonw_bytes(w, c->said->text, c->said->text_bytes);
        jsonw_object_end(w);
        put_logprobs(w, a, c->said);
        openai_finish(w, a, c->said);
        if (a->asked->return_token_ids)
            openai_sampled_ids(w, "token_ids", c->said->tokens, c->said->token_count);
        jsonw_object_end(w);
    }
    openai_answer_end(w, totals);
}
