/* ModelInferRequest to what the engine is asked for.
 *
 * Settings come from three places, the later winning: the JSON object in `sampling_parameters`,
 * the parameters of the request, the input tensors. All of them end up in one JSON object with
 * the names of the OpenAI API's extensions, which is read as a body of that API is: one set of
 * ranges, defaults and refusals for both doors. The names are those of Triton's language model
 * backends:
 *
 *     text_input                       the prompt, BYTES, one element
 *     stream                           ModelStreamInfer: answers as they come
 *     exclude_input_in_output          absent: yes; false puts the prompt before the answer
 *     return_finish_reason, return_num_input_tokens, return_num_output_tokens
 *                                      outputs to be sent beside text_output where `outputs` names none
 *     sampling_parameters              a JSON object as text
 *     max_tokens, temperature, top_p, ...   see kserve_settings
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
    KSERVE_OUTPUTS
};
extern const char *const kserve_output_names[KSERVE_OUTPUTS];
const char *kserve_output_type(enum kserve_output output); /* "BYTES", "UINT32" */

/* Inputs that a client may send, text_input first; ended by a NULL name. */
struct kserve_setting {
    const char *name, *field; /* theirs, and of the JSON object */
    const char *type;         /* what clients are told to send */
    bool list;                /* any number of elements */
};
extern const struct kserve_setting kserve_settings[];

struct kserve_asked {
    struct openai_asked asked; /* with one prompt; `stream` is in it, `echo`: the prompt comes first */
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
