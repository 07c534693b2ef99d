#include "server/openai/openai_logprobs.h"

#include <string.h>

/* ---- chat ---- */

static void put_entry(struct jsonw *w, const struct tokenizer *tokenizer, uint32_t token,
                      float logprob)
{
    size_t bytes;
    const char *text = openai_token_bytes(tokenizer, token, &bytes);
    jsonw_key(w, "token");
    openai_token_name(w, tokenizer, token, false);
    jsonw_key(w, "logprob");
    jsonw_float(w, logprob, OPENAI_LOGPROB_MIN);
    jsonw_key(w, "bytes");
    jsonw_array_open(w);
    for (size_t i = 0; i < bytes; i++)
        jsonw_uint(w, (unsigned char)text[i]);
    jsonw_array_end(w);
}

void openai_logprobs_chat(struct jsonw *w, const struct tokenizer *tokenizer,
                          const struct sampled *tokens, uint32_t count)
{
    jsonw_object_open(w);
    jsonw_key(w, "content");
    jsonw_array_open(w);
    for (uint32_t i = 0; i < count; i++) {
        const struct sampled *s = &tokens[i];
        jsonw_object_open(w);
        put_entry(w, tokenizer, s->token, s->logprob);
        jsonw_key(w, "top_logprobs");
        jsonw_array_open(w);
        for (uint32_t k = 0; k < s->top_count; k++) {
            jsonw_object_open(w);
            put_entry(w, tokenizer, s->top[k].token, s->top[k].logprob);
            jsonw_object_end(w);
        }
        jsonw_array_end(w);
        jsonw_object_end(w);
    }
    jsonw_array_end(w);
    jsonw_object_end(w);
}

/* ---- completions ---- */

/* What is said of token i; NULL: nothing. *token: which it is. */
static const struct sampled *scored_at(const struct openai_scored *s, uint32_t i, uint32_t *token)
{
    uint32_t prompt_tokens = s->prompt ? s->prompt_tokens : 0;
    if (i >= prompt_tokens) {
        *token = s->output[i - prompt_tokens].token;
        return &s->output[i - prompt_tokens];
    }
    *token = s->prompt[i];
    return i && i <= s->prompt_scores_count ? &s->prompt_scores[i - 1] : NULL;
}

static bool same_name(const struct tokenizer *tokenizer, uint32_t a, uint32_t b)
{
    size_t a_bytes, b_bytes;
    if (a == b || !tokenizer)
        return a == b;
    const char *x = openai_token_bytes(tokenizer, a, &a_bytes);
    const char *y = openai_token_bytes(tokenizer, b, &b_bytes);
    return a_bytes == b_bytes && memcmp(x, y, a_bytes) == 0;
}

/* Two tokens of one text (a byte and the character it is) would be one key twice: the likelier
 * one, which comes first, stays. */
static bool named_before(const struct tokenizer *tokenizer, const struct sampled *s, uint32_t n,
                         uint32_t token)
{
    for (uint32_t k = 0; k < n; k++)
        if (same_name(tokenizer, s->top[k].token, token))
            return true;
    return false;
}

static void put_alternatives(struct jsonw *w, const struct tokenizer *tokenizer,
                             const struct sampled *s)
{
    jsonw_object_open(w);
    for (uint32_t k = 0; k < s->top_count; k++) {
        if (named_before(tokenizer, s, k, s->top[k].token))
            continue;
        openai_token_name(w, tokenizer, s->top[k].token, true);
        jsonw_float(w, s->top[k].logprob, OPENAI_LOGPROB_MIN);
    }
    if (!named_before(tokenizer, s, s->top_count, s->token)) {
        openai_token_name(w, tokenizer, s->token, true);
        jsonw_float(w, s->logprob, OPENAI_LOGPROB_MIN);
    }
    jsonw_object_end(w);
}

void openai_logprobs_completion(struct jsonw *w, const struct tokenizer *tokenizer,
                                const struct openai_scored *scored, struct openai_offset *offset)
{
    uint32_t count = (scored->prompt ? scored->prompt_tokens : 0) + scored->output_tokens, token;
    const struct sampled *s;
    jsonw_object_open(w);
    jsonw_key(w, "tokens");
    jsonw_array_open(w);
    for (uint32_t i = 0; i < count; i++) {
        scored_at(scored, i, &token);
        openai_token_name(w, tokenizer, token, false);
    }
    jsonw_array_end(w);
    jsonw_key(w, "token_logprobs");
    jsonw_array_open(w);
    for (uint32_t i = 0; i < count; i++) {
        if ((s = scored_at(scored, i, &token)))
            jsonw_float(w, s->logprob, OPENAI_LOGPROB_MIN);
        else
            jsonw_null(w);
    }
    jsonw_array_end(w);
    jsonw_key(w, "top_logprobs");
    jsonw_array_open(w);
    for (uint32_t i = 0; i < count; i++) {
        if ((s = scored_at(scored, i, &token)))
            put_alternatives(w, tokenizer, s);
        else
            jsonw_null(w);
    }
    jsonw_array_end(w);
    jsonw_key(w, "text_offset");
    jsonw_array_open(w);
    for (uint32_t i = 0; i < count; i++) {
        scored_at(scored, i, &token);
        jsonw_uint(w, openai_offset_push(offset, token));
    }
    jsonw_array_end(w);
    jsonw_object_end(w);
}
