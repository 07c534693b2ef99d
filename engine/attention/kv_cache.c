/* The free blocks are a stack: the block given back last is warm and goes out first. */
#include "engine/attention/kv_cache.h"

#include <stdlib.h>

#include "memory/base/bytes.h"
#include "memory/base/check.h"

struct kv_cache {
    struct kv_cache_config config;
    uint64_t layer_bytes; /* of the keys of one layer; the values take as much */
    uint8_t *pool;        /* [layer][keys, values][block][kv_head][token][dim], backend memory */
    uint32_t *free_blocks;
    uint32_t free_count;
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
    cache->layer_bytes = block_layer_bytes(config) * config->blocks;
    cache->free_blocks = malloc((size_t)config->blocks * sizeof *cache->free_blocks);
    cache->pool = config->backend->ops->alloc(config->backend, bytes);
    if (!cache->free_blocks || !cache->pool)
        goto fail;
    for (uint32_t i = 0; i < config->blocks; i++)
        cache->free_blocks[i] = config->blocks - 1 - i;
    cache->free_count = config->blocks;
    *out = cache;
    return STATUS_OK;
fail:
    kv_cache_close(cache);
    return error_set(error, STATUS_NO_MEMORY,
                     "no memory for a KV cache of %llu bytes; lower --kv-cache-bytes",
                     (unsigned long long)bytes);
}

void kv_cache_close(struct kv_cache *cache)
{
    if (!cache)
        return;
    if (cache->pool)
        cache->config.backend->ops->release(cache->config.backend, cache->pool);
    free(cache->free_blocks);
    free(cache);
}

uint32_t kv_cache_blocks(const struct kv_cache *cache)
{
    return cache->config.blocks;
}

uint32_t kv_cache_free_blocks(const struct kv_cache *cache)
{
    return cache->free_count;
}

enum status kv_cache_reserve(struct kv_cache *cache, uint32_t *table, uint32_t *table_blocks,
                             uint32_t tokens)
{
    uint32_t need = kv_cache_blocks_for(tokens);
    if (need <= *table_blocks)
        return STATUS_OK;
    if (need - *table_blocks > cache->free_count)
        return STATUS_FULL;
    while (*table_blocks < need)
        table[(*table_blocks)++] = cache->free_blocks[--cache->free_count];
    return STATUS_OK;
}

void kv_cache_release(struct kv_cache *cache, uint32_t *table, uint32_t *table_blocks)
{
    while (*table_blocks > 0) {
        CHECK(cache->free_count < cache->config.blocks);
        cache->free_blocks[cache->free_count++] = table[--*table_blocks];
    }
}

struct kv_layer kv_cache_layer(const struct kv_cache *cache, uint32_t layer)
{
    uint8_t *keys = cache->pool + 2 * cache->layer_bytes * layer;
    return (struct kv_layer){
        .keys = keys,
        .values = keys + cache->layer_bytes,
        .dtype = cache->config.dtype,
        .kv_heads = cache->config.kv_heads,
        .head_dim = cache->config.head_dim,
    };
}
