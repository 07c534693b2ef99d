/* Keys and values of all running sequences, and of prefixes that may come back: one pool of blocks
 * of KV_BLOCK_TOKENS positions.
 *
 * A block number stands for the same place in every layer, so a sequence has one table. Whose a
 * block is and what it contains is kv_blocks.h; here is the memory. The pool can be resized while
 * sequences are open: it knows all tables, so it moves blocks and rewrites tables by itself. The
 * expert ring never touches this memory; only its size comes from the same budget. Engine thread.
 * Invariants: kv_cache_check. */
#ifndef MOERING_ENGINE_ATTENTION_KV_CACHE_H
#define MOERING_ENGINE_ATTENTION_KV_CACHE_H

#include "engine/attention/kv_blocks.h"

#ifdef __cplusplus
extern "C" {
#endif

struct kv_cache_config {
    struct backend *backend; /* borrowed */
    uint32_t layers, kv_heads, head_dim;
    enum dtype dtype;        /* F32 or F16 */
    uint32_t blocks;
    uint64_t hash_key;       /* as kv_blocks_open */
};

struct kv_cache;

/* Bytes that one block takes over all layers. */
uint64_t kv_cache_block_bytes(const struct kv_cache_config *config);
static inline uint32_t kv_cache_blocks_for(uint32_t tokens)
{
    return tokens / KV_BLOCK_TOKENS + (tokens % KV_BLOCK_TOKENS != 0);
}

/* NO_MEMORY: names the bytes and --kv-cache-bytes. */
enum status kv_cache_open(struct kv_cache **out, const struct kv_cache_config *config,
                          struct error *error);
void kv_cache_close(struct kv_cache *cache); /* accepts NULL */
uint32_t kv_cache_blocks(const struct kv_cache *cache);
uint64_t kv_cache_bytes(const struct kv_cache *cache); /* of all blocks */
uint32_t kv_cache_free_blocks(const struct kv_cache *cache); /* held by no table */
uint32_t kv_cache_idle_blocks(const struct kv_cache *cache); /* of them: may be taken again */
/* Appends blocks to a table until it covers `tokens`; idle ones last, the least recent first. FULL:
 * not enough are free; nothing changed. */
enum status kv_cache_reserve(struct kv_cache *cache, struct kv_table *table, uint32_t tokens);
/* Gives all blocks of a table back. */
void kv_cache_release(struct kv_cache *cache, struct kv_table *table);
/* Continues the published part of a table with the longest run of blocks that others published for
 * these tokens, `count` of them at most; what the table has there of its own makes way. Returns of
 * how many tokens its published part has the keys and values then. */
uint32_t kv_cache_take(struct kv_cache *cache, struct kv_table *table, const uint32_t *tokens,
                       uint32_t count);
/* The keys and values of these tokens are there: others may take their whole blocks from now on.
 * Costs nothing while no block has become full. */
void kv_cache_publish(struct kv_cache *cache, struct kv_table *table, const uint32_t *tokens,
                      uint32_t count);
/* Gives the pool another number of blocks (>= 1), between steps. Blocks in use keep their contents;
 * those above the end of a smaller pool move down into free ones, and idle ones are forgotten where
 * there is no room for them. Memory changes hands layer by layer, so at most one layer's arrays are
 * there twice. Arrays move: the backend's segments are forgotten. FULL: more blocks are in use.
 * NO_MEMORY: bytes and flag are named. Neither changes anything that can be seen. */
enum status kv_cache_resize(struct kv_cache *cache, uint32_t blocks, struct error *error);
/* Layer `layer` as the backend's operations take it, until the next resize. */
struct kv_layer kv_cache_layer(const struct kv_cache *cache, uint32_t layer);
void kv_cache_check(const struct kv_cache *cache); /* CHECKs every invariant */

#ifdef __cplusplus
}
#endif
#endif
