/* Which blocks of the KV pool are whose, and what the full ones contain. Numbers alone: the keys
 * and values themselves are kv_cache.c's, so this can be simulated by the million.
 *
 *   free --reserve--> private --publish--> shared, k >= 1 tables --last release--> idle
 *    ^                   |                    ^-------------- take --------------- |
 *    +----- release -----+                                                         |
 *    +------------------ reserve, once nothing is free: the least recent ----------+
 *
 * A full block is published under its parent (the block before it in its table), the salt and its
 * token ids, all of which are compared: a hash only says where to look, so a prefix is never
 * mistaken for another. Two tables that hold the same full prefix name the same blocks, because
 * whoever comes second with a block that is published already takes the published one and gives its
 * own back. Hence a table that holds a block holds its parent, and since a table gives its last
 * block back first, parents become idle after their children: the plain order of becoming idle is
 * the order in which they may leave, and no parent leaves before a child.
 *
 * Published blocks are never written again: only full ones are published, and a sequence writes
 * behind what it has computed. Engine thread. Invariants: kv_blocks_check. */
#ifndef MOERING_ENGINE_ATTENTION_KV_BLOCKS_H
#define MOERING_ENGINE_ATTENTION_KV_BLOCKS_H

#include "engine/backend/backend.h"

#ifdef __cplusplus
extern "C" {
#endif

#define KV_BLOCKS_NONE UINT32_MAX

/* The blocks of one sequence, in order of position. Zeroed but for `blocks` and `salt`. While it
 * holds any it must stay where it is: it is linked, and a resize writes into it. */
struct kv_table {
    uint32_t *blocks;    /* caller's room for as many as it will ever hold */
    uint32_t count;
    uint32_t published;  /* of them, from the first on, <= count */
    uint64_t salt;       /* prefixes are shared among equal salts alone */
    struct kv_table *previous, *next; /* all tables that hold blocks */
};

struct kv_blocks;

/* `key` goes into the hash, so that nobody who does not know it can make prefixes collide.
 * NO_MEMORY. */
enum status kv_blocks_open(struct kv_blocks **out, uint32_t count, uint64_t key);
void kv_blocks_close(struct kv_blocks *pool); /* accepts NULL */
uint32_t kv_blocks_count(const struct kv_blocks *pool);
uint32_t kv_blocks_available(const struct kv_blocks *pool); /* free and idle */
uint32_t kv_blocks_idle(const struct kv_blocks *pool);

/* Appends blocks until the table has `count`. FULL: not enough are available; nothing changed. */
enum status kv_blocks_reserve(struct kv_blocks *pool, struct kv_table *table, uint32_t count);
/* Gives all back; those published become idle. */
void kv_blocks_release(struct kv_blocks *pool, struct kv_table *table);
/* Extends the published part of a table by blocks that others published, as far as they match the
 * sequence's `tokens`, up to `most` blocks in all. What the table holds behind its published part,
 * at most the beginning of the same block, makes way. Returns table->published. */
uint32_t kv_blocks_take(struct kv_blocks *pool, struct kv_table *table, const uint32_t *tokens,
                        uint32_t most);
/* The first `full` blocks hold the keys and values of `tokens`: publishes those that were not. A
 * block of the table that is published already under another number changes to that number. */
void kv_blocks_publish(struct kv_blocks *pool, struct kv_table *table, const uint32_t *tokens,
                       uint32_t full);

/* Another number of blocks, in two halves around the copying of what they contain. Plans where each
 * block goes, moved[count]: one below `count` stays, one above goes to the lowest free one, idle
 * ones for which there is no room are forgotten first, KV_BLOCKS_NONE: is free. More may not be
 * held than `count` (CHECKed). */
void kv_blocks_plan(struct kv_blocks *pool, uint32_t count, uint32_t *moved);
/* Moves everything into an empty pool, rewrites all tables; `from` is empty then. */
void kv_blocks_move(struct kv_blocks *to, struct kv_blocks *from, const uint32_t *moved);

void kv_blocks_check(const struct kv_blocks *pool); /* CHECKs every invariant */

#ifdef __cplusplus
}
#endif
#endif
