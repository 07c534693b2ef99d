/* Answers of /v1/chat/completions: object chat.completion, or chat.completion.chunk in streams.
 * Pure.
 *
 * A stream says the role first, then text, then the end: each in a chunk of its own, since
 * clients build messages from the first and stop at the last. */
#ifndef MOERING_SERVER_OPENAI_CHAT_ENCODE_H
#define MOERING_SERVER_OPENAI_CHAT_ENCODE_H

#include "server/openai/openai_answer.h"

#ifdef __cplusplus
extern "C" {
#endif

/* As completions_encode_event and completions_encode. */
void chat_encode_event(struct jsonw *w, const struct openai_answer *answer,
                       struct openai_choice_state *choice, const struct request_event *event,
                       const struct openai_totals *totals);
void chat_encode(struct jsonw *w, const struct openai_answer *answer,
                 struct openai_choice_state *const *choices, uint32_t count,
                 const struct openai_totals *totals);

#ifdef __cplusplus
}
#endif
#endif
