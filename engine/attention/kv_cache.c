/* Each layer has arrays of its own, keys before values, so that a resize needs room for one layer
 * twice and not for the whole pool. It never leaves half a pool behind: blocks move down inside the
 * old arrays before anything is allocated, which is a state like any other, and a layer whose
 * arrays are larger than the pool counts is merely wasteful. So a pool that grows is given up at
 * the first layer that gets no memory, and one that shrinks goes on. */
#include "engine/attention/kv_cache.h"

#include <stdlib.h>

#include "memory/base/bytes.h"
#include "memory/base/check.h"
#include "memory/base/log.h"

enum { COPY_VALUES = 1 << 24 }; /* f32 values that one gather copies at most */

struct kv_arrays {
    uint8_t *keys;     /* [keys, values][block][kv_head][token][dim], backend memory */
    uint32_t capacity; /* blocks, at least those of the pool */
};

struct kv_cache {
    struct kv_cache_config config;
    uint64_t block_bytes;     /* of the keys of one block of one layer; the values take as much */
    struct kv_arrays *layers; /* [layers] */
    struct kv_blocks *blocks;
};

static uint64_t block_layer_bytes(const struct kv_cache_config *config)
{
    return (uint64_t)config->kv_heads * KV_BLOCK_TOKENS * config->head_dim *
           dtype_info(config->dtype)->block_bytes;
}

uint64_t kv_cache_block_bytes(const struct kv_cache_config *config)
{
    return 2 * block_layer_bytes(config) * config->layers;
}

static enum status no_memory(uint64_t bytes, struct error *error)
{
    return error_set(error, STATUS_NO_MEMORY,
                     "no memory for a KV cache of %llu bytes; lower --kv-cache-bytes",
                     (unsigned long long)bytes);
}

enum status kv_cache_open(struct kv_cache **out, const struct kv_cache_config *config,
                          struct error *error)
{
    CHECK(config->dtype == DTYPE_F32 || config->dtype == DTYPE_F16);
    uint64_t bytes = UINT64_MAX; /* what is said of a size beyond counting */
    struct kv_cache *cache = NULL;
    if (!bytes_mul(kv_cache_block_bytes(config), config->blocks, &bytes) ||
        !(cache = calloc(1, sizeof *cache)))
        goto fail;
    cache->config = *config;
    cache->block_bytes = block_layer_bytes(config);
    cache->layers = calloc(config->layers, sizeof *cache->layers);
    if (!cache->layers ||
        kv_blocks_open(&cache->blocks, config->blocks, config->hash_key) != STATUS_OK)
        goto fail;
    for (uint32_t l = 0; l < config->layers; l++) {
        struct kv_arrays *layer = &cache->layers[l];
        layer->capacity = config->blocks;
        layer->keys = config->backend->ops->alloc(config->backend,
                                                  2 * cache->block_bytes * config->blocks);
        if (!layer->keys)
            goto fail;
    }
    *out = cache;
    return STATUS_OK;
fail:
    kv_cache_close(cache);
    return no_memory(bytes, error);
}

void kv_cache_close(struct kv_cache *cache)
{
    if (!cache)
        return;
    struct backend *b = cache->config.backend;
    for (uint32_t l = 0; cache->layers && l < cache->config.layers; l++)
        if (cache->layers[l].keys)
            b->ops->release(b, cache->layers[l].keys);
    free(cache->layers);
    kv_blocks_close(cache->blocks);
    free(cache);
}

uint32_t kv_cache_blocks(const struct kv_cache *cache)
{
    return cache->config.blocks;
}

uint64_t kv_cache_bytes(const struct kv_cache *cache)
{
    return kv_cache_block_bytes(&cache->config) * cache->config.blocks;
}

uint32_t kv_cache_free_blocks(const struct kv_cache *cache)
{
    return kv_blocks_available(cache->blocks);
}

uint32_t kv_cache_idle_blocks(const struct kv_cache *cache)
{
    return kv_blocks_idle(cache->blocks);
}

enum status kv_cache_reserve(struct kv_cache *cache, struct kv_table *table, uint32_t tokens)
{
    return kv_blocks_reserve(cache->blocks, table, kv_cache_blocks_for(tokens));
}

void kv_cache_release(struct kv_cache *cache, struct kv_table *table)
{
    kv_blocks_release(cache->blocks, table);
}

uint32_t kv_cache_take(struct kv_cache *cache, struct kv_table *table, const uint32_t *tokens,
                       uint32_t count)
{
    return KV_BLOCK_TOKENS *
           kv_blocks_take(cache->blocks, table, tokens, count / KV_BLOCK_TOKENS);
}

void kv_cache_publish(struct kv_cache *cache, struct kv_table *table, const uint32_t *tokens,
                      uint32_t count)
{
    kv_blocks_publish(cache->blocks, table, tokens, count / KV_BLOCK_TOKENS);
}

struct kv_layer kv_cache_layer(const struct kv_cache *cache, uint32_t layer)
{
    const struct kv_arrays *arrays = &cache->layers[layer];
    return (struct kv_layer){
        .keys = arrays->keys,
        .values = arrays->keys + cache->block_bytes * arrays->capacity,
        .dtype = cache->config.dtype,
        .kv_heads = cache->config.kv_heads,
        .head_dim = cache->config.head_dim,
    };
}

/* ---- resizing ---- */

/* Within backend memory, bit for bit: a block is a whole number of f32 values whatever its
 * format. */
static void copy(struct backend *b, uint8_t *to, const uint8_t *from, uint64_t bytes)
{
    static const uint32_t first = 0;
    const uint64_t portion = COPY_VALUES * sizeof(float);
    for (uint64_t done = 0; done < bytes; done += portion) {
        uint64_t part = bytes - done < portion ? bytes - done : portion;
        b->ops->gather(b, (float *)(to + done), (const float *)(from + done), &first, 1,
                       (uint32_t)(part / sizeof(float)));
    }
}

/* Moves `count` blocks that lie side by side, in all layers. */
static void move_blocks(struct kv_cache *cache, uint32_t to, uint32_t from, uint32_t count)
{
    for (uint32_t l = 0; l < cache->config.layers; l++) {
        struct kv_layer layer = kv_cache_layer(cache, l);
        uint8_t *arrays[] = {layer.keys, layer.values};
        for (int i = 0; i < 2; i++)
            copy(cache->config.backend, arrays[i] + to * cache->block_bytes,
                 arrays[i] + from * cache->block_bytes, count * cache->block_bytes);
    }
}

/* Copies the blocks whose number changes, runs of them together: their order stays. */
static void move_down(struct kv_cache *cache, uint32_t end, const uint32_t *moved)
{
    uint32_t run_to = 0, run_from = 0, run = 0;
    for (uint32_t from = end; from < cache->config.blocks; from++) {
        if (moved[from] == KV_BLOCKS_NONE)
            continue;
        if (run == 0 || from != run_from + run || moved[from] != run_to + run) {
            move_blocks(cache, run_to, run_from, run);
            run_to = moved[from];
            run_from = from;
            run = 0;
        }
        run++;
    }
    move_blocks(cache, run_to, run_from, run);
}

/* New arrays for one layer with the first `kept` blocks of the old. False: no memory, it is as
 * before. */
static bool change_layer(struct kv_cache *cache, uint32_t l, uint32_t blocks, uint32_t kept)
{
    struct backend *b = cache->config.backend;
    struct kv_arrays *layer = &cache->layers[l];
    if (layer->capacity == blocks)
        return true;
    uint8_t *keys = b->ops->alloc(b, 2 * cache->block_bytes * blocks);
    if (!keys)
        return false;
    copy(b, keys, layer->keys, kept * cache->block_bytes);
    copy(b, keys + cache->block_bytes * blocks, layer->keys + cache->block_bytes * layer->capacity,
         kept * cache->block_bytes);
    b->ops->sync(b); /* nothing reads the old arrays any more */
    b->ops->release(b, layer->keys);
    *layer = (struct kv_arrays){keys, blocks};
    return true;
}

/* True: every layer holds `blocks`. */
static bool grow_layers(struct kv_cache *cache, uint32_t blocks)
{
    uint32_t old = cache->config.blocks, l = 0;
    while (l < cache->config.layers && change_layer(cache, l, blocks, old))
        l++;
    if (l == cache->config.layers)
        return true;
    while (l-- > 0) /* a layer that cannot go back stays larger than the pool */
        change_layer(cache, l, old, old);
    return false;
}

static void shrink_layers(struct kv_cache *cache, uint32_t blocks)
{
    uint32_t stayed = 0;
    for (uint32_t l = 0; l < cache->config.layers; l++)
        stayed += !change_layer(cache, l, blocks, blocks);
    if (stayed)
        log_warn(
            "KV cache: %u of %u layers keep their larger arrays, there is no memory to move them "
            "to smaller ones",
            stayed, cache->config.layers);
}

enum status kv_cache_resize(struct kv_cache *cache, uint32_t blocks, struct error *error)
{
    struct kv_cache_config *config = &cache->config;
    uint32_t old = config->blocks, used = old - kv_cache_free_blocks(cache);
    uint64_t bytes = UINT64_MAX;
    CHECK(blocks >= 1);
    if (used > blocks)
        return error_set(error, STATUS_FULL,
                         "%u KV blocks are in use, %u more than the pool is to have", used,
                         used - blocks);
    if (!bytes_mul(kv_cache_block_bytes(config), blocks, &bytes))
        return no_memory(bytes, error);
    struct kv_blocks *resized = NULL;
    uint32_t *moved = malloc((size_t)old * sizeof *moved);
    bool done = moved && kv_blocks_open(&resized, blocks, 0) == STATUS_OK &&
                (blocks <= old || grow_layers(cache, blocks));
    config->backend->ops->segments_forget(config->backend);
    if (!done) {
        free(moved);
        kv_blocks_close(resized);
        return no_memory(bytes, error);
    }
    kv_blocks_plan(cache->blocks, blocks, moved);
    if (blocks < old) {
        move_down(cache, blocks, moved);
        shrink_layers(cache, blocks);
    }
    kv_blocks_move(resized, cache->blocks, moved);
    kv_blocks_close(cache->blocks);
    free(moved);
    cache->blocks = resized;
    config->blocks = blocks;
    return STATUS_OK;
}

void kv_cache_check(const struct kv_cache *cache)
{
    kv_blocks_check(cache->blocks);
    CHECK(kv_blocks_count(cache->blocks) == cache->config.blocks);
    for (uint32_t l = 0; l < cache->config.layers; l++)
        CHECK(cache->layers[l].keys && cache->layers[l].capacity >= cache->config.blocks);
}
