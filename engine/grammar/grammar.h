/* Structured output: which tokens may come next so that the text stays within a grammar.
 *
 * A grammar (a JSON schema, a regular expression, a choice of texts, or rules in GBNF's notation)
 * is compiled to one automaton over bytes with a stack. The vocabulary becomes a trie over the
 * bytes of its tokens, once for each model. A state walks the trie with the automaton and marks the
 * tokens whose every byte can follow: work proportional to the part of the trie that is alive, not
 * to the vocabulary.
 *
 * Compiled grammars and vocabularies are immutable and may be shared by threads; a state belongs to
 * one. */
#ifndef MOERING_ENGINE_GRAMMAR_GRAMMAR_H
#define MOERING_ENGINE_GRAMMAR_GRAMMAR_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "memory/base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

struct grammar;

/* In every error sentence below: what of the grammar is wrong and where ("$.properties.age.minimum:
 * ..."). INVALID: malformed or contradictory (nothing could match); UNSUPPORTED: a keyword outside
 * the documented subset (README.md), by its name and place; NO_MEMORY, also when the automaton
 * would exceed its bound. */

/* Any JSON object (response_format json_object). */
enum status grammar_open_json_object(struct grammar **out, struct error *error);
/* Texts that are JSON values valid under `schema`, members in the order of its "properties". */
enum status grammar_open_json_schema(struct grammar **out, const json_t *schema,
                                     struct error *error);
/* The whole text matches `pattern` (ECMAScript's syntax without look-around and
 * back-references). */
enum status grammar_open_regex(struct grammar **out, const char *pattern, size_t bytes,
                               struct error *error);
/* The whole text is one of `count` (>= 1) texts. */
enum status grammar_open_choice(struct grammar **out, const char *const *texts, const size_t *bytes,
                                uint32_t count, struct error *error);
/* Rules in GBNF's notation; the text begins at `root`. */
enum status grammar_open_gbnf(struct grammar **out, const char *text, size_t bytes,
                              struct error *error);
/* One more holder, who closes it too: a grammar goes with its last holder, on whichever thread. */
struct grammar *grammar_keep(struct grammar *grammar);
void grammar_close(struct grammar *grammar); /* accepts NULL */

struct tokenizer;
struct grammar_vocab;

/* The tokens of a model by their bytes. `eos` are the tokens that end the output. Special tokens
 * and those without bytes are never allowed, but for eos where the text may end. The tokenizer must
 * outlive it. */
enum status grammar_vocab_open(struct grammar_vocab **out, const struct tokenizer *tokenizer,
                               uint32_t vocab, const uint32_t *eos, uint32_t eos_count,
                               struct error *error);
void grammar_vocab_close(struct grammar_vocab *vocab); /* accepts NULL */
static inline size_t grammar_mask_words(uint32_t vocab) { return ((size_t)vocab + 31) / 32; }

struct grammar_state;

/* Borrows both. NO_MEMORY. */
enum status grammar_state_open(struct grammar_state **out, const struct grammar *grammar,
                               const struct grammar_vocab *vocab, struct error *error);
void grammar_state_close(struct grammar_state *state); /* accepts NULL */
/* mask[grammar_mask_words(vocab)]: bit t of the whole is set where token t may come next. True: at
 * least one may. After the text is complete and nothing can follow, only eos may. NO_MEMORY leaves
 * no bit set. */
bool grammar_state_mask(struct grammar_state *state, uint32_t *mask);
/* The token that was drawn. False: it was not allowed, or no memory; the state is as before. */
bool grammar_state_push(struct grammar_state *state, uint32_t token);
bool grammar_state_may_end(const struct grammar_state *state);  /* the text so far is complete */
bool grammar_state_must_end(const struct grammar_state *state); /* and nothing can follow it */

#ifdef __cplusplus
}
#endif
#endif
