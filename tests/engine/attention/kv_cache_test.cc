#include "engine/attention/kv_cache.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "tests/support/scratch.h"

namespace {

// Linked while it holds blocks, so it never moves.
struct Table : kv_table {
    std::vector<uint32_t> room;
    explicit Table(uint32_t most) : kv_table(), room(most) { blocks = room.data(); }
    Table(const Table &other) : Table((uint32_t)other.room.size()) {}
    Table &operator=(const Table &) = delete;
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
        return kv_cache_reserve(cache_, &t, tokens);
    }
    void release(Table &t) { kv_cache_release(cache_, &t); }

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
            owned.insert(each.blocks, each.blocks + each.count);
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

// A backend whose memory can be made to run out: the CPU's, with alloc counted.
struct Failing {
    struct backend backend;
    struct backend_ops ops;
    struct backend *cpu;
    int allowed = -1; // allocations that succeed; -1: all
    uint64_t bytes = 0, peak = 0;
    int forgotten = 0;
    std::map<void *, size_t> sizes;

    explicit Failing(struct backend *b) : cpu(b)
    {
        ops = *b->ops;
        ops.alloc = [](struct backend *self, size_t size) -> void * {
            Failing *f = (Failing *)self;
            if (f->allowed == 0)
                return nullptr;
            f->allowed -= f->allowed > 0;
            void *p = f->cpu->ops->alloc(f->cpu, size);
            f->sizes[p] = size;
            f->bytes += size;
            f->peak = std::max(f->peak, f->bytes);
            return p;
        };
        ops.release = [](struct backend *self, void *p) {
            Failing *f = (Failing *)self;
            f->bytes -= f->sizes.at(p);
            f->sizes.erase(p);
            f->cpu->ops->release(f->cpu, p);
        };
        ops.segments_forget = [](struct backend *self) { ((Failing *)self)->forgotten++; };
        backend.ops = &ops;
    }
};

// Sequences with known contents in all their blocks: value = owner, position in the table, layer.
struct Pool {
    static constexpr uint32_t tables = 6, most = 24;
    struct kv_cache *cache = nullptr;
    struct kv_cache_config config;
    std::vector<Table> table;
    explicit Pool(const struct kv_cache_config &c) : config(c), table(tables, Table(most))
    {
        EXPECT_EQ(kv_cache_open(&cache, &config, nullptr), STATUS_OK);
    }
    ~Pool()
    {
        for (Table &t : table)
            kv_cache_release(cache, &t);
        kv_cache_close(cache);
    }
    size_t array_bytes() const { return kv_cache_block_bytes(&config) / 2 / config.layers; }
    static uint8_t byte(uint32_t owner, uint32_t at, uint32_t layer, bool value)
    {
        return (uint8_t)(1 + owner + 7 * at + 31 * layer + 101 * value);
    }
    void grow(uint32_t owner, uint32_t blocks)
    {
        Table &t = table[owner];
        uint32_t at = t.count;
        if (kv_cache_reserve(cache, &t, blocks * KV_BLOCK_TOKENS) != STATUS_OK)
            return;
        for (; at < t.count; at++)
            for (uint32_t l = 0; l < config.layers; l++) {
                struct kv_layer layer = kv_cache_layer(cache, l);
                size_t n = array_bytes(), offset = n * t.blocks[at];
                memset((uint8_t *)layer.keys + offset, byte(owner, at, l, false), n);
                memset((uint8_t *)layer.values + offset, byte(owner, at, l, true), n);
            }
    }
    void check() const
    {
        kv_cache_check(cache);
        for (uint32_t owner = 0; owner < tables; owner++)
            for (uint32_t at = 0; at < table[owner].count; at++)
                for (uint32_t l = 0; l < config.layers; l++) {
                    struct kv_layer layer = kv_cache_layer(cache, l);
                    size_t n = array_bytes(), offset = n * table[owner].blocks[at];
                    for (size_t i : {size_t(0), n / 2, n - 1}) {
                        ASSERT_EQ(((uint8_t *)layer.keys)[offset + i], byte(owner, at, l, false));
                        ASSERT_EQ(((uint8_t *)layer.values)[offset + i], byte(owner, at, l, true));
                    }
                }
    }
    uint32_t used() const { return kv_cache_blocks(cache) - kv_cache_free_blocks(cache); }
};

/* Random sizes at random moments, with allocations failing now and then: contents stay, FULL says
 * when they cannot, and never are more than one layer's arrays there twice. */
TEST_F(KvCache, ResizesKeepWhatIsInUse)
{
    for (enum dtype dtype : {DTYPE_F32, DTYPE_F16}) {
        Failing failing(config_.backend);
        struct kv_cache_config config = config_;
        config.dtype = dtype;
        config.backend = &failing.backend;
        config.blocks = 40;
        Pool pool(config);
        scratch::Random random(dtype == DTYPE_F32 ? 5 : 6);
        uint32_t shrunk = 0, full = 0, failed = 0;
        for (int step = 0; step < 1500; step++) {
            uint32_t owner = random.below(Pool::tables), before = kv_cache_blocks(pool.cache);
            if (random.chance(25))
                kv_cache_release(pool.cache, &pool.table[owner]);
            else
                pool.grow(owner, 1 + random.below(Pool::most));
            if (!random.chance(30))
                continue;
            uint32_t blocks = 1 + random.below(80), used = pool.used();
            struct error error = {};
            failing.allowed = random.chance(20) ? (int)random.below(6) : -1;
            failing.peak = failing.bytes;
            bool exact = failing.bytes == kv_cache_block_bytes(&config) * before;
            uint64_t layer_twice = std::max(failing.bytes, kv_cache_block_bytes(&config) * blocks) +
                                   kv_cache_block_bytes(&config) * std::max(blocks, before) / 3;
            enum status status = kv_cache_resize(pool.cache, blocks, &error);
            failing.allowed = -1;
            if (exact) { /* no layer is larger than the pool after an earlier failure */
                EXPECT_LE(failing.peak, layer_twice);
            }
            EXPECT_EQ(status == STATUS_FULL, used > blocks) << error.text;
            EXPECT_EQ(kv_cache_blocks(pool.cache), status == STATUS_OK ? blocks : before);
            EXPECT_EQ(pool.used(), used);
            if (status == STATUS_NO_MEMORY) {
                EXPECT_GT(blocks, before) << "only growing needs memory";
                EXPECT_NE(std::string(error.text).find("--kv-cache-bytes"), std::string::npos);
            }
            if (status == STATUS_FULL) {
                EXPECT_NE(std::string(error.text).find(std::to_string(used - blocks) + " more"),
                          std::string::npos) << error.text;
            }
            shrunk += status == STATUS_OK && blocks < before && used > 0;
            full += status == STATUS_FULL;
            failed += status == STATUS_NO_MEMORY;
            ASSERT_NO_FATAL_FAILURE(pool.check());
        }
        EXPECT_GT(shrunk, 50u);
        EXPECT_GT(full, 5u);
        EXPECT_GT(failed, 5u);
        EXPECT_GT(failing.forgotten, 100);
    }
}

TEST_F(KvCache, AResizeIsUndoneByTheNext)
{
    Failing failing(config_.backend);
    struct kv_cache_config config = config_;
    config.backend = &failing.backend;
    Pool pool(config);
    uint64_t bytes = failing.bytes;
    EXPECT_EQ(bytes, kv_cache_block_bytes(&config) * 10);
    pool.grow(0, 9);
    ASSERT_EQ(kv_cache_resize(pool.cache, 30, nullptr), STATUS_OK);
    EXPECT_EQ(failing.bytes, 3 * bytes);
    pool.grow(1, 20);
    EXPECT_EQ(kv_cache_free_blocks(pool.cache), 1u);
    EXPECT_EQ(kv_cache_resize(pool.cache, 10, nullptr), STATUS_FULL);
    kv_cache_release(pool.cache, &pool.table[0]);
    EXPECT_EQ(kv_cache_resize(pool.cache, 20, nullptr),
              STATUS_OK); /* all of them have moved or stayed */
    EXPECT_EQ(kv_cache_free_blocks(pool.cache), 0u);
    EXPECT_EQ(failing.bytes, 2 * bytes);
    ASSERT_NO_FATAL_FAILURE(pool.check());
    failing.allowed = 0;
    EXPECT_EQ(kv_cache_resize(pool.cache, 21, nullptr), STATUS_NO_MEMORY);
    EXPECT_EQ(kv_cache_blocks(pool.cache), 20u);
}

/* A prefix that two sequences hold, and one that none does: both are where they can be taken after
 * every change of size, with their contents. The idle one goes when there is no room for it. */
TEST_F(KvCache, PrefixesMoveWithThePool)
{
    config_.blocks = 12;
    Pool pool(config_);
    std::vector<uint32_t> shared(4 * KV_BLOCK_TOKENS, 3), idle(3 * KV_BLOCK_TOKENS, 9);
    auto publish = [&](uint32_t owner, const std::vector<uint32_t> &tokens) {
        pool.grow(owner, (uint32_t)tokens.size() / KV_BLOCK_TOKENS);
        kv_cache_publish(pool.cache, &pool.table[owner], tokens.data(), (uint32_t)tokens.size());
    };
    auto contents = [&](uint32_t owner, uint32_t written_by) {
        const Table &t = pool.table[owner];
        for (uint32_t at = 0; at < t.count; at++)
            for (uint32_t l = 0; l < config_.layers; l++) {
                struct kv_layer layer = kv_cache_layer(pool.cache, l);
                size_t offset = pool.array_bytes() * t.blocks[at];
                EXPECT_EQ(((uint8_t *)layer.keys)[offset], Pool::byte(written_by, at, l, false));
                EXPECT_EQ(((uint8_t *)layer.values)[offset], Pool::byte(written_by, at, l, true));
            }
    };
    pool.grow(5, 4); /* in the way: the others lie above it */
    publish(0, shared);
    publish(1, idle);
    kv_cache_release(pool.cache, &pool.table[1]);
    ASSERT_EQ(64u, kv_cache_take(pool.cache, &pool.table[2], shared.data(), 64 + 15));
    kv_cache_release(pool.cache, &pool.table[5]);
    EXPECT_EQ(kv_cache_free_blocks(pool.cache), 8u);
    EXPECT_EQ(kv_cache_idle_blocks(pool.cache), 3u);
    for (uint32_t blocks : {7u, 30u, 8u}) {
        ASSERT_EQ(kv_cache_resize(pool.cache, blocks, nullptr), STATUS_OK);
        kv_cache_check(pool.cache);
        contents(0, 0);
        contents(2, 0);
        ASSERT_EQ(48u, kv_cache_take(pool.cache, &pool.table[3], idle.data(), 48));
        contents(3, 1);
        kv_cache_release(pool.cache, &pool.table[3]);
    }
    ASSERT_EQ(kv_cache_resize(pool.cache, 5, nullptr), STATUS_OK); /* its first block fits yet */
    EXPECT_EQ(16u, kv_cache_take(pool.cache, &pool.table[3], idle.data(), 48));
    contents(3, 1);
    kv_cache_release(pool.cache, &pool.table[3]);
    ASSERT_EQ(kv_cache_resize(pool.cache, 4, nullptr), STATUS_OK);
    EXPECT_EQ(0u, kv_cache_take(pool.cache, &pool.table[3], idle.data(), 48));
    EXPECT_EQ(kv_cache_resize(pool.cache, 3, nullptr), STATUS_FULL);
    contents(2, 0);
}

TEST_F(KvCache, CloseAcceptsNull)
{
    kv_cache_close(nullptr);
}

} // namespace
