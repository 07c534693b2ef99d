/* One answer under way: the requests of all its choices, and what has come of them.
 *
 *     submit ──► events of each choice ──┬─ stream: chunks at once, [DONE] after the last choice
 *                                        └─ else: kept, one text when the last choice has ended
 *
 * It ends when all choices have ended, when one fails (the others are cancelled), when its
 * client goes or the server cuts it off. A stream's headers leave with its first output, so that
 * a refusal by the engine (too long, queue full) still has its own code; or after 15 s of
 * silence, with a ping. */
#ifndef MOERING_SERVER_OPENAI_OPENAI_EXCHANGE_H
#define MOERING_SERVER_OPENAI_OPENAI_EXCHANGE_H

#include "server/openai/openai_answer.h"
#include "server/openai/openai_service.h"

#ifdef __cplusplus
extern "C" {
#endif

#define OPENAI_PING_NS ((uint64_t)15000000000u)

/* Answers `x` by what `asked` says, which it takes over (leaving it zeroed). False: refused, and
 * `x` is as before. */
bool openai_exchange_begin(struct openai *o, struct http_exchange *x, bool chat,
                           const struct openai_model *model, struct openai_asked *asked,
                           struct openai_refusal *refusal);
/* Of the routes whose exchanges these are. */
void openai_exchange_writable(struct http_exchange *x);
void openai_exchange_closed(struct http_exchange *x);

void openai_exchange_tick(struct openai_exchange *e, uint64_t now_ns); /* may end it */
struct openai_exchange *openai_exchange_next(const struct openai_exchange *e);

#ifdef __cplusplus
}
#endif
#endif
