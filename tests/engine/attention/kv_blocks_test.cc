#include "engine/attention/kv_blocks.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <vector>

#include "tests/support/scratch.h"

namespace {

constexpr uint32_t T = KV_BLOCK_TOKENS;
using Tokens = std::vector<uint32_t>;

// Linked while it holds blocks, so it never moves.
struct Table : kv_table {
    std::vector<uint32_t> room;
    explicit Table(uint32_t most = 32) : kv_table(), room(most) { blocks = room.data(); }
    Table(const Table &) = delete;
    Tokens held() const { return Tokens(blocks, blocks + count); }
};

Tokens count_from(uint32_t first, uint32_t blocks)
{
    Tokens tokens(blocks * T);
    for (uint32_t i = 0; i < blocks * T; i++)
        tokens[i] = first + i;
    return tokens;
}

class KvBlocks : public testing::Test {
protected:
    void open(uint32_t count) { ASSERT_EQ(STATUS_OK, kv_blocks_open(&pool_, count, 77)); }
    ~KvBlocks() override { kv_blocks_close(pool_); }
    // As a sequence does: takes what is there, computes the rest, publishes it. How many it took.
    uint32_t run(Table &t, const Tokens &tokens)
    {
        uint32_t blocks = (uint32_t)tokens.size() / T;
        uint32_t taken = kv_blocks_take(pool_, &t, tokens.data(), blocks);
        EXPECT_EQ(STATUS_OK, kv_blocks_reserve(pool_, &t, blocks));
        kv_blocks_publish(pool_, &t, tokens.data(), blocks);
        EXPECT_EQ(blocks, t.published);
        kv_blocks_check(pool_);
        return taken;
    }
    void release(Table &t)
    {
        kv_blocks_release(pool_, &t);
        kv_blocks_check(pool_);
    }
    // How much of it is there, changing nothing but the order of leaving.
    uint32_t there(const Tokens &tokens, uint64_t salt = 0)
    {
        Table t;
        t.salt = salt;
        uint32_t taken = kv_blocks_take(pool_, &t, tokens.data(), (uint32_t)tokens.size() / T);
        release(t);
        return taken;
    }
    struct kv_blocks *pool_ = nullptr;
};

TEST_F(KvBlocks, WhatWasPublishedIsTaken)
{
    open(10);
    Table a, b;
    Tokens tokens = count_from(0, 3);
    EXPECT_EQ(0u, run(a, tokens));
    EXPECT_EQ(3u, run(b, tokens)) << "while another holds it";
    EXPECT_EQ(a.held(), b.held());
    EXPECT_EQ(7u, kv_blocks_available(pool_));
    Tokens blocks = a.held();
    release(a);
    EXPECT_EQ(0u, kv_blocks_idle(pool_));
    release(b);
    EXPECT_EQ(3u, kv_blocks_idle(pool_));
    EXPECT_EQ(10u, kv_blocks_available(pool_));
    EXPECT_EQ(2u, kv_blocks_take(pool_, &b, tokens.data(), 2)) << "as much as was asked for";
    EXPECT_EQ(3u, kv_blocks_take(pool_, &b, tokens.data(), 3)) << "and then the rest";
    EXPECT_EQ(blocks, b.held());
    release(b);
}

TEST_F(KvBlocks, EveryTokenAndTheSaltCount)
{
    open(40);
    Table a, salted, other;
    Tokens tokens = count_from(0, 4);
    run(a, tokens);
    for (uint32_t i = 0; i < 4 * T; i++) {
        Tokens changed = tokens;
        changed[i] += 1000;
        EXPECT_EQ(i / T, there(changed)) << i;
    }
    EXPECT_EQ(0u, there(tokens, 1));
    salted.salt = 1;
    EXPECT_EQ(0u, run(salted, tokens));
    EXPECT_EQ(4u, there(tokens, 1));
    // The same tokens somewhere else are another block.
    EXPECT_EQ(0u, there(Tokens(tokens.begin() + T, tokens.end())));
    Tokens twice = tokens;
    std::copy(tokens.begin(), tokens.begin() + T, twice.begin() + T);
    EXPECT_EQ(1u, run(other, twice));
    EXPECT_EQ(4u, there(tokens));
    EXPECT_EQ(4u, there(twice));
    for (Table *t : {&a, &salted, &other})
        release(*t);
}

// The pool's hash, by which collisions can be made for a key that is known: a pair of tokens that
// undoes what came before. If the pool hashes otherwise, nothing collides and the next test says
// less.
uint64_t mixed(uint64_t x)
{
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

uint64_t hashed(uint64_t hash, const Tokens &tokens)
{
    for (size_t i = 0; i < tokens.size(); i += 2)
        hash = mixed(hash ^ (tokens[i] | (uint64_t)tokens[i + 1] << 32));
    return hash;
}

// Tokens whose hash from `other` on is that of `tokens` from `hash` on.
Tokens undone(const Tokens &tokens, uint64_t hash, uint64_t other)
{
    Tokens made = tokens;
    uint64_t pair = (tokens[0] | (uint64_t)tokens[1] << 32) ^ hash ^ other;
    made[0] = (uint32_t)pair;
    made[1] = (uint32_t)(pair >> 32);
    EXPECT_EQ(hashed(hash, tokens), hashed(other, made));
    return made;
}

/* Other tokens of one hash, and the same tokens behind each of these: none is mistaken for
 * another. */
TEST_F(KvBlocks, CollisionsAreTold)
{
    open(20);
    const uint64_t root = mixed(0 ^ 77), salted = mixed(5 ^ 77);
    Table a, b;
    Tokens first = count_from(0, 1), clash = first, child = count_from(80, 1);
    clash[1]++;
    Tokens head(first.begin(), first.begin() + 2), changed(clash.begin(), clash.begin() + 2);
    Tokens rest(first.begin() + 2, first.end());
    rest = undone(rest, hashed(root, head), hashed(root, changed));
    std::copy(rest.begin(), rest.end(), clash.begin() + 2);
    ASSERT_EQ(hashed(root, first), hashed(root, clash));
    run(a, first);
    EXPECT_EQ(0u, there(clash)) << "other tokens";
    EXPECT_EQ(0u, there(undone(first, root, salted), 5)) << "and another salt";
    EXPECT_EQ(0u, run(b, clash));
    Tokens both = first, behind = clash;
    both.insert(both.end(), child.begin(), child.end());
    behind.insert(behind.end(), child.begin(), child.end());
    run(a, both);
    EXPECT_EQ(1u, there(behind)) << "another parent";
    run(b, behind);
    EXPECT_NE(a.blocks[1], b.blocks[1]);
    EXPECT_EQ(2u, there(both));
    EXPECT_EQ(2u, there(behind));
    release(a);
    release(b);
}

TEST_F(KvBlocks, WhoComesSecondTakesTheFirstOnes)
{
    open(10);
    Table a, b;
    Tokens tokens = count_from(5, 3);
    ASSERT_EQ(STATUS_OK, kv_blocks_reserve(pool_, &a, 3));
    ASSERT_EQ(STATUS_OK, kv_blocks_reserve(pool_, &b, 4));
    kv_blocks_publish(pool_, &b, tokens.data(), 2);
    kv_blocks_publish(pool_, &a, tokens.data(), 3);
    kv_blocks_check(pool_);
    EXPECT_EQ(b.blocks[0], a.blocks[0]);
    EXPECT_EQ(b.blocks[1], a.blocks[1]);
    EXPECT_NE(b.blocks[2], a.blocks[2]) << "b has not computed its third yet";
    EXPECT_EQ(3u, a.count);
    EXPECT_EQ(10u - 5, kv_blocks_available(pool_)) << "two blocks went back";
    uint32_t own = b.blocks[2];
    EXPECT_EQ(3u, kv_blocks_take(pool_, &b, tokens.data(), 3)) << "what a has computed since";
    kv_blocks_check(pool_);
    EXPECT_EQ(a.blocks[2], b.blocks[2]);
    EXPECT_NE(own, b.blocks[2]);
    EXPECT_EQ(4u, b.count);
    EXPECT_EQ(10u - 4, kv_blocks_available(pool_));
    release(a);
    EXPECT_EQ(0u, kv_blocks_idle(pool_));
    release(b);
    EXPECT_EQ(3u, kv_blocks_idle(pool_));
}

TEST_F(KvBlocks, TheLeastRecentLeavesAndChildrenBeforeParents)
{
    open(8);
    Table a, b, c;
    Tokens first = count_from(0, 3), second = count_from(100, 3);
    run(a, first);
    run(b, second);
    release(a);
    release(b);
    EXPECT_EQ(6u, kv_blocks_idle(pool_));
    ASSERT_EQ(STATUS_OK, kv_blocks_reserve(pool_, &c, 4)); // two were free
    kv_blocks_check(pool_);
    EXPECT_EQ(1u, there(first));  // is the most recent now
    EXPECT_EQ(3u, there(second)); // or that
    EXPECT_EQ(1u, there(first));
    ASSERT_EQ(STATUS_OK, kv_blocks_reserve(pool_, &c, 6));
    EXPECT_EQ(1u, there(first));
    EXPECT_EQ(1u, there(second));
    EXPECT_EQ(STATUS_FULL, kv_blocks_reserve(pool_, &c, 9));
    EXPECT_EQ(6u, c.count);
    EXPECT_EQ(1u, there(first));
    ASSERT_EQ(STATUS_OK, kv_blocks_reserve(pool_, &c, 8));
    EXPECT_EQ(0u, there(first));
    EXPECT_EQ(0u, there(second));
    release(c);
    EXPECT_EQ(8u, kv_blocks_available(pool_));
    EXPECT_EQ(0u, kv_blocks_idle(pool_)) << "nothing was published";
}

TEST_F(KvBlocks, ASharedParentStaysForTheOther)
{
    open(4);
    Table a, b, c;
    Tokens one = count_from(0, 2), two = one;
    for (uint32_t i = T; i < 2 * T; i++)
        two[i] += 500;
    run(a, one);
    EXPECT_EQ(1u, run(b, two));
    release(a); // its second block alone is idle
    EXPECT_EQ(1u, kv_blocks_idle(pool_));
    EXPECT_EQ(2u, kv_blocks_available(pool_));
    ASSERT_EQ(STATUS_OK, kv_blocks_reserve(pool_, &c, 2));
    EXPECT_EQ(1u, there(one));
    EXPECT_EQ(2u, there(two));
    release(b);
    release(c);
}

/* What the pool must do, written down plainly: prefixes by their tokens, idle ones in a list. And a
 * memory: what is in each block, so that whoever takes one gets what it would have computed. */
class Simulation {
public:
    Simulation(uint64_t seed, uint32_t count) : random_(seed), memory_(count)
    {
        EXPECT_EQ(STATUS_OK, kv_blocks_open(&pool_, count, seed));
    }
    ~Simulation()
    {
        for (Table &t : tables_)
            kv_blocks_release(pool_, &t);
        kv_blocks_close(pool_);
    }
    void step()
    {
        uint32_t who = random_.below(kTables);
        if (tables_[who].count == 0)
            begin(who);
        else if (random_.chance(25))
            release(who);
        else
            compute(who);
        if (random_.chance(8))
            resize();
        check();
    }
    uint64_t taken = 0, adopted = 0, evicted = 0, dropped = 0, full = 0;

private:
    static constexpr uint32_t kTables = 6, kMost = 12;
    using Prefix = std::vector<uint64_t>; // the salt, then tokens

    Prefix prefix(uint32_t who, uint32_t blocks) const
    {
        Prefix p = {tables_[who].salt};
        p.insert(p.end(), tokens_[who].begin(), tokens_[who].begin() + blocks * T);
        return p;
    }
    void hold(const Prefix &p)
    {
        if (holders_[p]++ == 0)
            idle_.erase(std::find(idle_.begin(), idle_.end(), p));
    }
    // A table that begins anew: blocks of two kinds, so that much begins alike.
    void begin(uint32_t who)
    {
        Table &t = tables_[who];
        Tokens &tokens = tokens_[who];
        t.salt = random_.below(2);
        tokens.clear();
        for (uint32_t b = 0; b < kMost; b++) {
            Tokens block = count_from(random_.below(2) * 7, 1);
            tokens.insert(tokens.end(), block.begin(), block.end());
        }
        uint32_t most = random_.below(kMost + 1), want = 0;
        while (want < most && holders_.count(prefix(who, want + 1)))
            hold(prefix(who, ++want));
        EXPECT_EQ(want, kv_blocks_take(pool_, &t, tokens.data(), most));
        taken += want;
        compute(who);
    }
    void compute(uint32_t who)
    {
        Table &t = tables_[who];
        uint32_t most = std::min(kMost, t.count + random_.below(4));
        uint32_t available = kv_blocks_available(pool_), more = most - std::min(most, t.count);
        uint32_t lost = kv_blocks_idle(pool_);
        enum status status = kv_blocks_reserve(pool_, &t, most);
        EXPECT_EQ(more > available ? STATUS_FULL : STATUS_OK, status);
        full += status == STATUS_FULL;
        if (status != STATUS_OK)
            return;
        lost -= kv_blocks_idle(pool_);
        forget(lost);
        evicted += lost;
        if (random_.chance(15))
            return; // the step failed: reserved, and nothing computed
        uint32_t done = t.published + random_.below(t.count - t.published + 1);
        for (uint32_t i = t.published; i < done; i++)
            memory_[t.blocks[i]] = prefix(who, i + 1);
        for (uint32_t i = t.published; i < done; i++) {
            Prefix p = prefix(who, i + 1);
            if (holders_.count(p)) {
                hold(p);
                adopted++;
            } else {
                holders_[p] = 1;
            }
        }
        kv_blocks_publish(pool_, &t, tokens_[who].data(), done);
    }
    void forget(uint32_t count)
    {
        for (; count > 0; count--) {
            holders_.erase(idle_.front());
            idle_.erase(idle_.begin());
        }
    }
    void release(uint32_t who)
    {
        Table &t = tables_[who];
        for (uint32_t i = t.published; i > 0; i--) {
            Prefix p = prefix(who, i);
            if (--holders_[p] == 0)
                idle_.push_back(p);
        }
        kv_blocks_release(pool_, &t);
    }
    void resize()
    {
        uint32_t old = kv_blocks_count(pool_), used = old - kv_blocks_available(pool_);
        uint32_t count = std::max(used, 1u) + random_.below(20);
        uint32_t kept = used + kv_blocks_idle(pool_);
        struct kv_blocks *to = nullptr;
        std::vector<uint32_t> moved(old);
        std::vector<Prefix> memory(count);
        ASSERT_EQ(STATUS_OK, kv_blocks_open(&to, count, 0));
        kv_blocks_plan(pool_, count, moved.data());
        if (kept > count) {
            forget(kept - count);
            dropped += kept - count;
        }
        for (uint32_t b = 0; b < old; b++) {
            if (moved[b] == KV_BLOCKS_NONE)
                continue;
            ASSERT_LT(moved[b], count);
            ASSERT_EQ(b < count, moved[b] == b);
            memory[moved[b]] = memory_[b];
        }
        kv_blocks_move(to, pool_, moved.data());
        kv_blocks_close(pool_);
        pool_ = to;
        memory_ = memory;
    }
    void check()
    {
        kv_blocks_check(pool_);
        ASSERT_EQ(idle_.size(), kv_blocks_idle(pool_));
        for (uint32_t who = 0; who < kTables; who++)
            for (uint32_t i = 0; i < tables_[who].published; i++)
                ASSERT_EQ(prefix(who, i + 1), memory_[tables_[who].blocks[i]]);
    }

    scratch::Random random_;
    struct kv_blocks *pool_ = nullptr;
    Table tables_[kTables];
    Tokens tokens_[kTables];
    std::vector<Prefix> memory_;       // [block] what it contains
    std::map<Prefix, uint32_t> holders_; // of everything published
    std::vector<Prefix> idle_;         // the least recent first
};

TEST_F(KvBlocks, RandomLivesAgreeWithThePlainRules)
{
    uint64_t taken = 0, adopted = 0, evicted = 0, dropped = 0, full = 0;
    for (uint64_t seed = 1; seed <= 12; seed++) {
        Simulation s(seed, 1 + (uint32_t)seed * 3);
        for (int i = 0; i < 600; i++)
            ASSERT_NO_FATAL_FAILURE(s.step()) << "seed " << seed << " step " << i;
        taken += s.taken;
        adopted += s.adopted;
        evicted += s.evicted;
        dropped += s.dropped;
        full += s.full;
    }
    EXPECT_GT(taken, 500u);
    EXPECT_GT(adopted, 100u);
    EXPECT_GT(evicted, 500u);
    EXPECT_GT(dropped, 100u);
    EXPECT_GT(full, 100u);
}

TEST_F(KvBlocks, CallersBugsAreCaught)
{
    open(4);
    Table t;
    Tokens tokens = count_from(0, 2);
    ASSERT_EQ(STATUS_OK, kv_blocks_reserve(pool_, &t, 1));
    EXPECT_DEATH(kv_blocks_publish(pool_, &t, tokens.data(), 2), "full");
    uint32_t moved[4];
    run(t, tokens);
    EXPECT_DEATH(kv_blocks_plan(pool_, 1, moved), "count");
    release(t);
    kv_blocks_close(nullptr);
}

} // namespace
