/* The body of POST /v1/chat/completions to what it asks for. Pure apart from memory; front
 * thread. */
#ifndef MOERING_SERVER_OPENAI_CHAT_DECODE_H
#define MOERING_SERVER_OPENAI_CHAT_DECODE_H

#include "server/openai/openai_asked.h"
#include "server/openai/openai_template.h"

#ifdef __cplusplus
extern "C" {
#endif

/* `chat` is NULL for a model without a tokenizer, then every chat is refused. `now_s`: what
 * templates may show. `asked` is of openai_asked_init. False: refused, `asked` may be half
 * filled. */
bool chat_decode(const json_t *body, const struct openai_model *model,
                 const struct openai_template *chat, const struct openai_limits *limits,
                 int64_t now_s, struct openai_asked *asked, struct openai_refusal *refusal);

#ifdef __cplusplus
}
#endif
#endif
