/* What is written below the larger nodes of a trie, in characters: so that a walk need not go
 * there.
 *
 * Most walks go round in a loop over one class of characters ([^"\n]*, .{1,500}), where a whole
 * subtree is allowed if all its characters are of the class. For each node with many others
 * below it this says which ASCII characters occur there, with which bytes others begin, how many
 * characters its longest token has, and whether all of it is UTF-8 if the characters that its
 * own bytes begin are: behind a whole one a character must begin, behind a first byte it must go
 * on. Made once for a vocabulary; immutable after open. */
#ifndef MOERING_ENGINE_GRAMMAR_SUBTREES_H
#define MOERING_ENGINE_GRAMMAR_SUBTREES_H

#include <stdbool.h>

#include "engine/grammar/json_string.h"
#include "engine/grammar/trie.h"

#ifdef __cplusplus
extern "C" {
#endif

#define SUBTREES_LEAST 8u /* nodes below one that has a summary: fewer are walked as fast */

#define SUBTREES_LEAD(byte) (UINT64_C(1) << ((byte) - 0xC0)) /* of a byte from C0 on */

struct subtree {
    uint64_t ascii[2];   /* bit b % 64 of word b / 64: the character b occurs */
    uint64_t leads;      /* SUBTREES_LEAD of the first bytes of others */
    uint16_t characters; /* the most on one path, one that has only begun among them */
    bool malformed;      /* something below is no UTF-8 from here on */
};

struct subtrees {
    struct subtree *items; /* [count] by trie_node.summary; the first is nobody's */
    uint32_t count;
};

/* Sets `summary` in the nodes of the trie. NO_MEMORY. */
enum status subtrees_open(struct subtrees *out, struct trie *trie, struct error *error);
void subtrees_close(struct subtrees *subtrees); /* accepts a zeroed one */
/* The state behind `byte` in UTF-8: JSON_STRING_BETWEEN at first and behind each character, one of
 * the MORE states inside, or WRONG. */
static inline enum json_string_state subtrees_step(enum json_string_state state, uint8_t byte)
{
    if (byte >= 0x80)
        return json_string_step(state, byte);
    return state == JSON_STRING_BETWEEN ? state : JSON_STRING_WRONG;
}

#ifdef __cplusplus
}
#endif
#endif
