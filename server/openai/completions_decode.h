/* The body of POST /v1/completions to what it asks for. Pure apart from memory; front thread. */
#ifndef MOERING_SERVER_OPENAI_COMPLETIONS_DECODE_H
#define MOERING_SERVER_OPENAI_COMPLETIONS_DECODE_H

#include "server/openai/openai_asked.h"

#ifdef __cplusplus
extern "C" {
#endif

/* `asked` is of openai_asked_init. False: refused, `asked` may be half filled. */
bool completions_decode(const json_t *body, const struct openai_model *model,
                        const struct openai_limits *limits, struct openai_asked *asked,
                        struct openai_refusal *refusal);

#ifdef __cplusplus
}
#endif
#endif
