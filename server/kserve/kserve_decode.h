/* ModelInferRequest to what the engine is asked for.
 *
 * Settings come from three places, the later winning: the JSON object in `sampling_parameters`,
 * the parameters of the request, the input tensors. All of them end up in one JSON object with
 * the names of the OpenAI API's extensions, which is read as a body of that API is: one set of
 * ranges, defaults and refusals for both doors. The names are those of Triton's language model
 * backends:
 *
 *     text_input or input_ids          the prompts: kserve_prompt.h
 *     stream                           ModelStreamInfer: answers as they come
 *     exclude_input_in_output          absent: yes; false puts the prompt before the answer
 *     return_finish_reason, return_log_probs, ...
 *                                      outputs to be sent beside text_output where `outputs` names
 *                                      none
 *     sampling_parameters              a JSON object as text
 *     max_tokens, temperature, top_p, ...   see kserve_settings
 *
 * All prompts of a batch are treated alike: a setting is one for all, or one for each prompt if
 * those are equal, since some clients give every tensor the batch's size.
 *
 * An unknown tensor or name in sampling_parameters is refused; an unknown parameter is not, since
 * routers put their own there (priority, timeout and sequence_id are for schedulers in front of
 * this one).
 *
 * Pure apart from memory; front thread. */
#ifndef MOERING_SERVER_KSERVE_KSERVE_DECODE_H
#define MOERING_SERVER_KSERVE_KSERVE_DECODE_H

#include <inference/inference.pb-c.h>

#include "server/openai/openai_asked.h"

#ifdef __cplusplus
extern "C" {
#endif

#define KSERVE_VERSION "1" /* of the model; there is one */

/* Outputs, in this order in every answer; bits of `outputs`. */
enum kserve_output {
    KSERVE_TEXT,
    KSERVE_FINISH_REASON,
    KSERVE_INPUT_TOKENS,
    KSERVE_OUTPUT_TOKENS,
    KSERVE_IDS,            /* the next three of what was sampled, each [B, longest] or [B] */
    KSERVE_LOG_PROBS,
    KSERVE_LOG_PROB_SUM,
    KSERVE_CUMULATIVE,     /* the same by another backend's name */
    KSERVE_OUTPUTS
};
struct kserve_output_kind {
    const char *name;
    const char *type;  /* "BYTES", "UINT32", "INT32", "FP32" */
    const char *field; /* the setting that asks for it; NULL: sent unless others are named */
    bool by_token;     /* shape [B, longest], else [B] */
    bool grows;        /* in every answer of a stream what is new, else in the last alone */
};
extern const struct kserve_output_kind kserve_output_kinds[KSERVE_OUTPUTS];

enum kserve_shape {
    KSERVE_ONE,  /* [1] */
    KSERVE_LIST, /* [-1] */
    KSERVE_ROWS  /* [-1, -1] */
};
/* Inputs that a client may send, those of the prompt first; ended by a NULL name. */
struct kserve_setting {
    const char *name, *field; /* theirs, and of the JSON object */
    const char *type;         /* what clients are told to send */
    enum kserve_shape shape;
};
extern const struct kserve_setting kserve_settings[];

struct kserve_asked {
    struct openai_asked asked; /* a prompt for each row of the batch; `stream` is in it */
    bool echo;                 /* the prompt comes first */
    unsigned outputs;          /* bits by enum kserve_output */
    bool raw;                  /* answer in the form in which the request came */
    json_t *settings;          /* owned; schemas lie in it */
};
void kserve_asked_reset(struct kserve_asked *asked); /* frees; accepts a zeroed one */

/* False: refused; `out` is to be reset either way. The deadline is the caller's. */
bool kserve_decode(const Inference__ModelInferRequest *message, const struct openai_model *model,
                   struct kserve_asked *out, struct openai_refusal *refusal);

#ifdef __cplusplus
}
#endif
#endif
