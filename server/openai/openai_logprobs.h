/* Lists of log-probabilities in the shapes of the two APIs. Minus infinity comes out as -9999.0,
 * never as NaN. */
#ifndef MOERING_SERVER_OPENAI_OPENAI_LOGPROBS_H
#define MOERING_SERVER_OPENAI_OPENAI_LOGPROBS_H

#include "engine/sampler.h"
#include "server/jsonw.h"
#include "server/openai/openai_text.h"

#ifdef __cplusplus
extern "C" {
#endif

#define OPENAI_LOGPROB_MIN (-9999.0f)

/* {"content":[{"token","logprob","bytes","top_logprobs":[...]}...]} */
void openai_logprobs_chat(struct jsonw *w, const struct tokenizer *tokenizer,
                          const struct sampled *tokens, uint32_t count);

/* The tokens of a completion: an echoed prompt, if there is one, and the output after it. */
struct openai_scored {
    const uint32_t *prompt;              /* ids; NULL: not echoed */
    uint32_t prompt_tokens;
    const struct sampled *prompt_scores; /* of prompt tokens 1..; the first has none */
    uint32_t prompt_scores_count;
    const struct sampled *output;
    uint32_t output_tokens;
};
/* {"tokens":[],"token_logprobs":[],"top_logprobs":[],"text_offset":[]}. Where the model says
 * nothing of a token, null stands. The alternatives hold the token itself, too. */
void openai_logprobs_completion(struct jsonw *w, const struct tokenizer *tokenizer,
                                const struct openai_scored *scored, struct openai_offset *offset);

#ifdef __cplusplus
}
#endif
#endif
