/* Answers of /v1/completions: object text_completion, whole or in chunks. Pure. */
#ifndef MOERING_SERVER_OPENAI_COMPLETIONS_ENCODE_H
#define MOERING_SERVER_OPENAI_COMPLETIONS_ENCODE_H

#include "server/openai/openai_answer.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The chunks of a stream that say what `event` says, as server-sent events. Tokens whose text is
 * held back are a chunk with no text: a client sees, and may count, each step. An echoed prompt
 * leaves before the first token, with all it is scored by. `totals`: see openai_chunk_end. */
void completions_encode_event(struct jsonw *w, const struct openai_answer *answer,
                              struct openai_choice_state *choice, const struct request_event *event,
                              const struct openai_totals *totals);
/* The whole answer. */
void completions_encode(struct jsonw *w, const struct openai_answer *answer,
                        struct openai_choice_state *const *choices, uint32_t count,
                        const struct openai_totals *totals);

#ifdef __cplusplus
}
#endif
#endif
