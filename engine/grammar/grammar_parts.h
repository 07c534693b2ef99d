/* What is behind the opaque names of grammar.h. */
#ifndef MOERING_ENGINE_GRAMMAR_GRAMMAR_PARTS_H
#define MOERING_ENGINE_GRAMMAR_GRAMMAR_PARTS_H

#include "engine/grammar/automaton.h"
#include "engine/grammar/grammar.h"
#include "engine/grammar/json_string.h"
#include "engine/grammar/string_table.h"
#include "engine/grammar/subtrees.h"
#include "engine/grammar/trie.h"

#ifdef __cplusplus
extern "C" {
#endif

struct grammar {
    struct automaton *automaton;
    uint32_t holders; /* changed by atomic operations alone: they may be on different threads */
};

struct grammar_vocab {
    const struct tokenizer *tokenizer;
    uint32_t vocab;
    uint32_t *eos; /* [eos_count] */
    uint32_t eos_count;
    uint32_t *usable; /* bits of tokens that are in the trie */
    struct trie trie;
    struct subtrees subtrees;
    struct string_table tables[JSON_STRING_STATES];
};

static inline bool grammar_vocab_is_usable(const struct grammar_vocab *vocab, uint32_t token)
{
    return token < vocab->vocab && (vocab->usable[token / 32] >> token % 32 & 1);
}

#ifdef __cplusplus
}
#endif
#endif
