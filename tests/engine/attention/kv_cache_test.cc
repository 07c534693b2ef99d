#include "engine/attention/kv_cache.h"

#include <gtest/gtest.h>

#include <cstring>
#include <set>
#include <string>
#include <vector>

#include "tests/support/scratch.h"

namespace {

struct Table {
    std::vector<uint32_t> blocks;
    uint32_t count = 0;
    explicit Table(uint32_t most) : blocks(most) {}
};

class KvCache : public testing::Test {
protected:
    KvCache()
    {
        struct cpu_backend_config cpu = {};
        cpu.threads = 1;
        cpu.isa = CPU_SCALAR;
        cpu.expert_width_max = cpu.context_max = cpu.rows_max = 1;
        EXPECT_EQ(cpu_backend_open(&config_.backend, &cpu, nullptr), STATUS_OK);
        config_.layers = 3;
        config_.kv_heads = 2;
        config_.head_dim = 8;
        config_.dtype = DTYPE_F32;
        config_.blocks = 10;
    }
    ~KvCache() override
    {
        kv_cache_close(cache_);
        backend_close(config_.backend);
    }
    void open() { ASSERT_EQ(kv_cache_open(&cache_, &config_, nullptr), STATUS_OK); }
    enum status reserve(Table &t, uint32_t tokens)
    {
        return kv_cache_reserve(cache_, t.blocks.data(), &t.count, tokens);
    }
    void release(Table &t) { kv_cache_release(cache_, t.blocks.data(), &t.count); }

    struct kv_cache_config config_ = {};
    struct kv_cache *cache_ = nullptr;
};

TEST_F(KvCache, CountsBlocks)
{
    EXPECT_EQ(kv_cache_blocks_for(0), 0u);
    EXPECT_EQ(kv_cache_blocks_for(1), 1u);
    EXPECT_EQ(kv_cache_blocks_for(KV_BLOCK_TOKENS), 1u);
    EXPECT_EQ(kv_cache_blocks_for(KV_BLOCK_TOKENS + 1), 2u);
    EXPECT_EQ(kv_cache_blocks_for(UINT32_MAX), UINT32_MAX / KV_BLOCK_TOKENS + 1);
    /* keys and values x layers x heads x positions x width x 4 bytes */
    EXPECT_EQ(kv_cache_block_bytes(&config_), 2u * 3 * 2 * KV_BLOCK_TOKENS * 8 * 4);
    config_.dtype = DTYPE_F16;
    EXPECT_EQ(kv_cache_block_bytes(&config_), 2u * 3 * 2 * KV_BLOCK_TOKENS * 8 * 2);
}

TEST_F(KvCache, ReservesAsTokensGrow)
{
    open();
    Table t(10);
    EXPECT_EQ(reserve(t, 1), STATUS_OK);
    EXPECT_EQ(t.count, 1u);
    EXPECT_EQ(reserve(t, KV_BLOCK_TOKENS), STATUS_OK);
    EXPECT_EQ(t.count, 1u);
    EXPECT_EQ(reserve(t, KV_BLOCK_TOKENS + 1), STATUS_OK);
    EXPECT_EQ(t.count, 2u);
    EXPECT_EQ(reserve(t, 3), STATUS_OK); /* never shrinks */
    EXPECT_EQ(t.count, 2u);
    EXPECT_EQ(kv_cache_free_blocks(cache_), 8u);
    release(t);
    EXPECT_EQ(t.count, 0u);
    EXPECT_EQ(kv_cache_free_blocks(cache_), 10u);
    release(t);
}

TEST_F(KvCache, FullChangesNothing)
{
    open();
    Table a(10), b(10);
    ASSERT_EQ(reserve(a, 7 * KV_BLOCK_TOKENS), STATUS_OK);
    ASSERT_EQ(reserve(b, 2 * KV_BLOCK_TOKENS), STATUS_OK);
    EXPECT_EQ(reserve(b, 5 * KV_BLOCK_TOKENS), STATUS_FULL);
    EXPECT_EQ(b.count, 2u);
    EXPECT_EQ(kv_cache_free_blocks(cache_), 1u);
    EXPECT_EQ(reserve(b, 3 * KV_BLOCK_TOKENS), STATUS_OK);
    EXPECT_EQ(reserve(a, 8 * KV_BLOCK_TOKENS), STATUS_FULL);
    release(a);
    release(b);
}

/* No block belongs to two tables, none is lost. */
TEST_F(KvCache, BlocksNeverHaveTwoOwners)
{
    open();
    scratch::Random random(2);
    std::vector<Table> tables(5, Table(10));
    for (int step = 0; step < 2000; step++) {
        Table &t = tables[random.below(5)];
        if (random.chance(30))
            release(t);
        else
            (void)reserve(t, random.below(10 * KV_BLOCK_TOKENS + 1));
        std::set<uint32_t> owned;
        size_t count = 0;
        for (const Table &each : tables) {
            owned.insert(each.blocks.begin(), each.blocks.begin() + each.count);
            count += each.count;
        }
        ASSERT_EQ(owned.size(), count);
        ASSERT_TRUE(owned.empty() || *owned.rbegin() < 10);
        ASSERT_EQ(kv_cache_free_blocks(cache_), 10 - count);
    }
    for (Table &t : tables)
        release(t);
}

/* Every layer's keys and values are memory of their own, large enough for all blocks. */
TEST_F(KvCache, LayersDoNotShareMemory)
{
    for (enum dtype dtype : {DTYPE_F32, DTYPE_F16}) {
        config_.dtype = dtype;
        open();
        size_t bytes = kv_cache_block_bytes(&config_) * config_.blocks / 6;
        for (uint32_t l = 0; l < 3; l++) {
            struct kv_layer layer = kv_cache_layer(cache_, l);
            EXPECT_EQ(layer.dtype, dtype);
            EXPECT_EQ(layer.kv_heads, 2u);
            EXPECT_EQ(layer.head_dim, 8u);
            memset(layer.keys, 2 * (int)l + 1, bytes); /* out of bounds shows under ASan */
            memset(layer.values, 2 * (int)l + 2, bytes);
        }
        for (uint32_t l = 0; l < 3; l++) {
            struct kv_layer layer = kv_cache_layer(cache_, l);
            const uint8_t *keys = (const uint8_t *)layer.keys,
                          *values = (const uint8_t *)layer.values;
            EXPECT_EQ(keys[0], 2 * l + 1);
            EXPECT_EQ(keys[bytes - 1], 2 * l + 1);
            EXPECT_EQ(values[0], 2 * l + 2);
            EXPECT_EQ(values[bytes - 1], 2 * l + 2);
        }
        kv_cache_close(cache_);
        cache_ = nullptr;
    }
}

TEST_F(KvCache, MoreThanCanBeCountedIsToldWithTheFlag)
{
    struct error error = {};
    config_.layers = 1000;
    config_.kv_heads = 4096;
    config_.head_dim = 1024;
    config_.blocks = UINT32_MAX;
    EXPECT_EQ(kv_cache_open(&cache_, &config_, &error), STATUS_NO_MEMORY);
    EXPECT_NE(std::string(error.text).find("--kv-cache-bytes"), std::string::npos) << error.text;
    EXPECT_EQ(cache_, nullptr);
}

TEST_F(KvCache, CloseAcceptsNull)
{
    kv_cache_close(nullptr);
}

} // namespace
