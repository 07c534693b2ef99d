/* Configurations that go round over a class of characters, and how far: what makes whole subtrees
 * of the trie allowed without a walk.
 *
 * Of a configuration C this says which ASCII characters lead to one and the same configuration
 * next(C), and with which first bytes every other character does, none of its bytes being
 * refused on the way. A loop without a count has next(C) = C; in a counted one C, next(C),
 * next(next(C)), ... do the same until the count runs out. So everything that is written in
 * characters of the class, and in no more of them than the chain is long, is taken: checked by
 * taking the steps, not by looking at the grammar, so it holds for any way of writing a loop and
 * for several threads at once. */
#ifndef MOERING_ENGINE_GRAMMAR_LOOPS_H
#define MOERING_ENGINE_GRAMMAR_LOOPS_H

#include "engine/grammar/configs.h"
#include "engine/grammar/subtrees.h"

#ifdef __cplusplus
extern "C" {
#endif

#define LOOPS_CHAIN_MAX 32u /* configurations of a chain that are looked at */
#define LOOPS_WORTH 64u     /* nodes below one for which an unknown configuration is looked at */

struct loop {
    uint64_t ascii[2];   /* characters that lead to `next` */
    uint64_t leads;      /* first bytes with which all do, as in a subtree */
    uint32_t next;       /* CONFIGS_DEAD: no loop */
    uint32_t length; /* of the chain as far as it is known, with this one; UINT32_MAX: endless */
    uint32_t behind;     /* the configuration that the chain may go on with */
    bool whole;          /* the chain does not go on */
};

struct loops {
    struct loop *items;
    uint32_t count, capacity;
};

void loops_close(struct loops *loops); /* accepts a zeroed one */
void loops_reset(struct loops *loops); /* together with the configurations */

/* Whether `config` takes all that is in a subtree, behind the first byte `begun` of a character
 * if that is not 0. False, too, where a configuration is not known and it is not to `find` out.
 * Chains are followed as far as somebody asks: their configurations may be costly. */
bool loops_take(struct loops *loops, struct configs *configs, uint32_t config, bool find,
                const struct subtree *below, uint8_t begun);
/* What is known of `config`, found out and its chain followed to `length` if it is that long.
 * NULL: it is on no loop, or no memory. The pointer is good until the next call. */
const struct loop *loops_of(struct loops *loops, struct configs *configs, uint32_t config,
                            uint32_t length);

#ifdef __cplusplus
}
#endif
#endif
