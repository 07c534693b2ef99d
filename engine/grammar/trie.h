/* The tokens of a vocabulary as a tree over their bytes, in one array.
 *
 * Nodes lie in the order in which a walk from the root meets them, children by rising byte, and
 * each says where the walk goes on when what is below it is skipped. So a walk is one pass over the
 * array, and the tokens below a node are one stretch of `tokens`. Immutable after open. */
#ifndef MOERING_ENGINE_GRAMMAR_TRIE_H
#define MOERING_ENGINE_GRAMMAR_TRIE_H

#include <stddef.h>
#include <stdint.h>

#include "memory/base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

#define TRIE_TOKEN_BYTES_MAX 4096u /* longer tokens are left out: they are never allowed */

struct trie_node {
    uint32_t skip;        /* the first node that is not below this one */
    uint32_t first_token; /* its own tokens: tokens[first_token .. the next node's first_token) */
    uint16_t depth;       /* bytes from the root, whose depth is 0 */
    uint8_t byte;         /* the last of them */
    uint32_t summary;     /* of what is below it, if that is much: number in subtrees.h; 0: none */
};

struct trie {
    struct trie_node *nodes; /* [node_count + 1]; the last only ends the tokens of the one before */
    uint32_t node_count;
    uint32_t *tokens;
    uint32_t token_count;
    uint32_t depth_max;
};

struct trie_entry {
    const uint8_t *bytes; /* borrowed while the trie is built */
    uint32_t count;
    uint32_t token;
};

/* Sorts `entries`; those without bytes and too long ones are left out. NO_MEMORY. */
enum status trie_open(struct trie *out, struct trie_entry *entries, uint32_t count,
                      struct error *error);
void trie_close(struct trie *trie); /* accepts a zeroed one */

#ifdef __cplusplus
}
#endif
#endif
