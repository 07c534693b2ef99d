/* The prompts of a request: texts or token ids, one for each row of a batch.
 *
 *     text_input     BYTES [B] or [B, 1]
 *     input_ids      whole numbers [n] or [B, n]
 *     input_lengths  [B]: how many ids of a row count, where rows differ in length
 *
 * Pure apart from memory; front thread. */
#ifndef MOERING_SERVER_KSERVE_KSERVE_PROMPT_H
#define MOERING_SERVER_KSERVE_KSERVE_PROMPT_H

#include "server/kserve/kserve_tensor.h"
#include "server/openai/openai_asked.h"

#ifdef __cplusplus
extern "C" {
#endif

#define KSERVE_ROWS_MAX 256     /* prompts of one request */
#define KSERVE_TEXT_INPUT "text_input"
#define KSERVE_IDS_INPUT "input_ids"
#define KSERVE_LENGTHS_INPUT "input_lengths"

/* Whether an input of this name is read here: it is no setting. */
bool kserve_prompts_has(const char *name);

struct kserve_prompts {
    struct kserve_tensor texts, ids, lengths; /* `input` is NULL: not there */
    uint32_t rows;                            /* 1 .. KSERVE_ROWS_MAX */
};

/* Borrows from the request, whose raw contents are as many as its inputs. False: refused. */
bool kserve_prompts_open(struct kserve_prompts *prompts, const Inference__ModelInferRequest *m,
                         struct openai_refusal *refusal);

struct kserve_prompts_how {
    bool add_special;  /* tokens that the tokenizer puts around a text */
    bool echo;         /* the prompt's text is wanted */
    bool keep_special; /* in the text of token ids */
};
/* Fills asked->prompts. False: refused. */
bool kserve_prompts_read(const struct kserve_prompts *prompts, const struct openai_model *model,
                         const struct kserve_prompts_how *how, struct openai_asked *asked,
                         struct openai_refusal *refusal);

#ifdef __cplusplus
}
#endif
#endif
