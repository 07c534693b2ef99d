/* From sampled tokens to output: detokenizes, looks for stop tokens and stop texts, decides when a
 * request has ended and why, and writes all of it into the request's event.
 *
 * No IO, no clock, no engine: it is fed tokens, so tests drive it with any they like. Runs on the
 * engine thread. Order at each token: an end token ends the output and is not shown; else its text
 * is shown as far as it cannot be part of a stop text; else a full context or max_tokens ends it,
 * and what was held back is shown. Before min_tokens nothing ends the output: end tokens are
 * forbidden to the sampler (generation_banned) and text is not searched.
 *
 * With a grammar the sampler gets a mask of what may follow, and each token moves the grammar's
 * state, which lives as long as the tokens do: a preemption does not touch it. Where the grammar is
 * complete and nothing can follow, the output ends (STOP) at that token, unasked; where it is
 * complete and more can follow, an end token of the model ends it. The grammar is stronger than
 * min_tokens and ignore_eos: both keep end tokens away only while something else may follow, for a
 * text that is complete cannot be made longer, and one cut open would not be what was asked for.
 * Stop tokens, stop texts and max_tokens end the output anywhere, complete or not. */
#ifndef MOERING_SERVER_REQUESTS_GENERATION_H
#define MOERING_SERVER_REQUESTS_GENERATION_H

#include "server/requests/request.h"
#include "server/requests/request_event.h"

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
    struct grammar_vocab *vocab; /* of the model, for grammars; NULL: none was asked for yet */
    uint32_t vocab_tokens;
};

/* Borrows tokenizer and eos. NO_MEMORY. */
enum status generation_open(struct generation *g, const struct tokenizer *tokenizer,
                            const uint32_t *eos, uint32_t eos_count, struct error *error);
void generation_close(struct generation *g); /* accepts a zeroed one */

/* Once per request, before its first token. */
void generation_begin(const struct generation *g, struct request *request);
/* The tokens of the model by their bytes, which every grammar needs, made once; takes a while.
 * INVALID: the model has no tokenizer. NO_MEMORY. */
enum status generation_open_vocab(struct generation *g, uint32_t vocab, struct error *error);
/* Once per request with a grammar, before its first token; g->vocab is there (CHECKed).
 * NO_MEMORY. */
enum status generation_begin_grammar(const struct generation *g, struct request *request,
                                     struct error *error);
/* The ids that must not be sampled next; NULL and 0: all may. */
const uint32_t *generation_banned(const struct request *request, uint32_t *count);
/* With a grammar: mask[grammar_mask_words(vocab)] of what may be sampled next, what is banned taken
 * out where anything else is left. False: nothing may, or memory has run out. */
bool generation_mask(const struct generation *g, struct request *request, uint32_t *mask);
/* The sampled token, already committed to request->schedule. Returns why the output has ended, or
 * FINISH_NONE; the event then says the same and carries the usage. */
enum finish_reason generation_push(const struct generation *g, struct request *request,
                                   const struct sampled *token, uint64_t now_ns);
/* What the engine is to report of prompt tokens while it computes item->tokens positions from
 * schedule.computed on: fills the item's `scored` and its like with room in the event, count 0 if
 * nothing is wanted or all has been reported (before a preemption). False: out of memory. */
bool generation_ask_scores(struct request *request, struct step_item *item);
/* The step has been computed: the item's scores are in the event. Returns whether there were
 * any. */
bool generation_take_scores(struct request *request, const struct step_item *item, uint64_t now_ns);
/* The prompt of a request that wants nothing sampled has been computed: ends it. */
void generation_end_prompt(struct request *request, uint64_t now_ns);
/* Ends the output with an error; what was held back is not shown. */
void generation_fail(struct request *request, enum status status, const char *why,
                     uint64_t now_ns);

#ifdef __cplusplus
}
#endif
#endif
