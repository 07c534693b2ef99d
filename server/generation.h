/* From sampled tokens to output: detokenizes, looks for stop tokens and stop texts, decides when a
 * request has ended and why, and writes all of it into the request's event.
 *
 * No IO, no clock, no engine: it is fed tokens, so tests drive it with any they like. Runs on the
 * engine thread. Order at each token: an end token ends the output and is not shown; else its text
 * is shown as far as it cannot be part of a stop text; else a full context or max_tokens ends it,
 * and what was held back is shown. Before min_tokens nothing ends the output: end tokens are
 * forbidden to the sampler (generation_banned) and text is not searched. */
#ifndef MOERING_SERVER_GENERATION_H
#define MOERING_SERVER_GENERATION_H

#include "server/request_event.h"
#include "server/request.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What all requests of a model share: its tokenizer, its end tokens, room to work in. */
struct generation {
    const struct tokenizer *tokenizer; /* NULL: ids only, no text */
    const uint32_t *eos;
    uint32_t eos_count;
    char *text;                        /* [room] of one token */
    char *shown;                       /* [room + STOP_TEXT_BYTES_MAX] */
    size_t room;
};

/* Borrows tokenizer and eos. NO_MEMORY. */
enum status generation_open(struct generation *g, const struct tokenizer *tokenizer,
                            const uint32_t *eos, uint32_t eos_count, struct error *error);
void generation_close(struct generation *g); /* accepts a zeroed one */

/* Once per request, before its first token. */
void generation_begin(const struct generation *g, struct request *request);
/* The ids that must not be sampled next; NULL and 0: all may. */
const uint32_t *generation_banned(const struct request *request, uint32_t *count);
/* The sampled token, already committed to request->schedule. Returns why the output has ended, or
 * FINISH_NONE; the event then says the same and carries the usage. */
enum finish_reason generation_push(const struct generation *g, struct request *request,
                                   const struct sampled *token, uint64_t now_ns);
/* Ends the output with an error; what was held back is not shown. */
void generation_fail(struct request *request, enum status status, const char *why,
                     uint64_t now_ns);

#ifdef __cplusplus
}
#endif
#endif
