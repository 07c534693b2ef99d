/* How byte-level vocabularies cut a text into words, by the name that GGUF files give the rule.
 *
 * A GGUF file does not hold its pre-tokenizer, only a name for it; the expressions behind the names
 * are the models' own, from their tokenizer.json. A name that is not in the table is refused by
 * whoever asked: another rule would still give fluent text, and wrong answers. */
#ifndef MOERING_ENGINE_TOKENIZER_SPLIT_RULES_H
#define MOERING_ENGINE_TOKENIZER_SPLIT_RULES_H

#include "engine/tokenizer/tokenizer_parts.h"

#ifdef __cplusplus
extern "C" {
#endif

#define SPLIT_PATTERNS_MAX 6

struct split_rules {
    const char *patterns[SPLIT_PATTERNS_MAX]; /* each cuts what those before it left; NULL ends */
    bool nfc;           /* the model's tokenizer composes characters first */
    bool ignore_merges; /* a word that is a piece needs no merging */
    bool adds_bos;      /* when the file says nothing of it */
};

/* The rules of that name, or NULL. Constant. */
const struct split_rules *split_rules_find(const char *name, size_t bytes);

/* Makes the normaliser and the pre-tokeniser that follow `rules`, byte level at the end. NO_MEMORY;
 * half filled then. */
enum status split_rules_apply(const struct split_rules *rules, struct normalizer *normalizer,
                              struct pretokenizer *pretokenizer);

#ifdef __cplusplus
}
#endif
#endif
