#include "server/requests/scheduler.h"

#include <gtest/gtest.h>
#include <string.h>

#include <algorithm>
#include <map>
#include <memory>
#include <random>
#include <vector>

namespace {

struct scheduler_config small()
{
    struct scheduler_config c = {};
    c.max_num_seqs = 4;
    c.max_batch_tokens = 16;
    c.max_queue = 100;
    c.kv_blocks = 32;
    c.kv_block_tokens = 4;
    c.max_model_len = 100;
    return c;
}

// A scheduler and toy requests; an "engine" that samples whenever a request has caught up.
struct World {
    struct scheduler *s = nullptr;
    std::map<uint64_t, std::unique_ptr<struct request>> requests;
    std::vector<uint64_t> finished; // in order
    uint64_t now = 1;
    uint64_t ids = 0;
    std::mt19937 *luck = nullptr; // decides what of a prefill is there already; NULL: nothing
    uint64_t advanced = 0, withdrawn = 0, filled = 0;

    explicit World(const struct scheduler_config &c)
    {
        EXPECT_EQ(STATUS_OK, scheduler_open(&s, &c, nullptr));
    }
    ~World() { scheduler_close(s); }

    struct request *make(uint32_t prompt, uint32_t max_tokens, int32_t priority = 0,
                         uint64_t deadline = 0)
    {
        auto r = std::make_unique<struct request>();
        memset(static_cast<void *>(r.get()), 0, sizeof *r);
        r->id = ++ids;
        r->asked.prompt_tokens = prompt;
        r->asked.has_max_tokens = max_tokens != 0;
        r->asked.max_tokens = max_tokens;
        r->asked.priority = priority;
        r->asked.deadline_ns = deadline;
        struct request *raw = r.get();
        requests[raw->id] = std::move(r);
        return raw;
    }
    struct request *submit(uint32_t prompt, uint32_t max_tokens, int32_t priority = 0,
                           uint64_t deadline = 0)
    {
        struct request *r = make(prompt, max_tokens, priority, deadline);
        EXPECT_EQ(STATUS_OK, scheduler_submit(s, r, now, nullptr));
        return r;
    }
    void end(struct request *r)
    {
        scheduler_remove(s, r);
        finished.push_back(r->id);
    }
    // Between a plan and its commits: some prefills find some of their tokens computed, some wait.
    void shorten(const struct plan *plan)
    {
        uint32_t i = 0, kept = 0, first = plan->count;
        for (uint32_t before = UINT32_MAX; before != plan->count;) {
            for (; i < plan->count; i++) {
                auto &d = plan->items[i].request->schedule;
                uint32_t room = scheduler_room(s, plan->items[i].request), planned = d.planned;
                EXPECT_LE(d.computed, room);
                EXPECT_LT(room, d.known);
                if (luck && d.known - d.computed > 1 && (*luck)() % 2) {
                    uint32_t n = (*luck)() % (room - d.computed + 1);
                    scheduler_advance(s, i, n);
                    advanced += n;
                    EXPECT_GE(d.planned, 1u);
                    EXPECT_LE(d.planned, planned);
                    if (kept && (*luck)() % 4 == 0) {
                        scheduler_withdraw(s, i);
                        withdrawn++;
                    }
                }
                EXPECT_EQ(d.planned, plan->items[i].tokens);
                kept += d.planned > 0;
                scheduler_check(s);
            }
            before = plan->count;
            scheduler_fill(s);
            scheduler_check(s);
        }
        filled += plan->count - first;
    }
    // One step; returns tokens by request id.
    std::map<uint64_t, uint32_t> step()
    {
        std::map<uint64_t, uint32_t> tokens;
        while (struct request *r = scheduler_expired(s, now))
            end(r);
        const struct plan *plan = scheduler_plan(s, now);
        scheduler_check(s);
        shorten(plan);
        std::vector<struct plan_item> items(plan->items, plan->items + plan->count);
        for (auto &item : items) {
            EXPECT_EQ(0u, tokens.count(item.request->id)) << "twice in a plan";
            if (!item.tokens)
                continue;
            tokens[item.request->id] = item.tokens;
            auto &d = item.request->schedule;
            bool only_prompt = request_only_prompt(item.request);
            bool sampled = d.computed + item.tokens == d.known && !only_prompt;
            scheduler_commit(s, item.request, sampled);
            if (only_prompt ? d.computed == d.known : d.known == d.limit)
                end(item.request);
        }
        scheduler_check(s);
        now++;
        return tokens;
    }
    bool idle() { return scheduler_any(s) == nullptr; }
    // Whether anybody could run: paused ones do not, and keep their seats.
    bool somebody(uint32_t max_num_seqs) const
    {
        uint32_t seats = 0;
        bool seated = false, newcomer = false;
        for (auto &r : requests) {
            const auto &d = r.second->schedule;
            bool there = d.state != REQUEST_FINISHED;
            seats += there && d.seated;
            seated |= there && !d.paused && d.seated;
            newcomer |= there && !d.paused;
        }
        return seated || (newcomer && seats < max_num_seqs);
    }
};

TEST(scheduler, refuses_limits_that_starve)
{
    struct scheduler_config c = small();
    struct scheduler *s = nullptr;
    struct error error = {};
    c.max_num_seqs = 17;
    EXPECT_EQ(STATUS_INVALID, scheduler_open(&s, &c, &error));
    EXPECT_NE(nullptr, strstr(error.text, "--max-num-seqs 17"));
    c.max_num_seqs = 0;
    EXPECT_EQ(STATUS_INVALID, scheduler_open(&s, &c, nullptr));
    EXPECT_EQ(nullptr, s);
}

TEST(scheduler, refuses_what_never_fits)
{
    struct scheduler_config c = small();
    c.kv_blocks = 8; // 32 tokens
    World w(c);
    struct error error = {};
    EXPECT_EQ(STATUS_INVALID, scheduler_submit(w.s, w.make(0, 1), 1, nullptr));
    EXPECT_EQ(STATUS_INVALID, scheduler_submit(w.s, w.make(100, 1), 1, &error));
    EXPECT_NE(nullptr, strstr(error.text, "--max-model-len"));
    memset(&error, 0, sizeof error);
    EXPECT_EQ(STATUS_INVALID, scheduler_submit(w.s, w.make(30, 4), 1, &error));
    EXPECT_NE(nullptr, strstr(error.text, "--kv-cache-bytes"));
    EXPECT_EQ(STATUS_INVALID, scheduler_submit(w.s, w.make(33, 0), 1, nullptr));
    EXPECT_EQ(STATUS_OK, scheduler_submit(w.s, w.make(30, 3), 1, nullptr)); // 32 are computed
    struct request *open_end = w.submit(10, 0);
    EXPECT_EQ(33u, open_end->schedule.limit); // as many as the pool holds, and the last one
    for (int i = 0; i < 200 && !w.idle(); i++)
        w.step();
    EXPECT_TRUE(w.idle());
}

// Without an answer a prompt may fill the context; one more token never fits.
TEST(scheduler, a_prompt_alone_may_fill_the_context)
{
    World w(small());
    struct error error = {};
    for (uint32_t prompt : {1u, 17u, 100u, 101u}) {
        struct request *r = w.make(prompt, 0);
        r->asked.has_max_tokens = true;
        enum status status = scheduler_submit(w.s, r, 1, &error);
        EXPECT_EQ(prompt == 101 ? STATUS_INVALID : STATUS_OK, status) << prompt;
        if (status == STATUS_OK) {
            EXPECT_EQ(prompt, r->schedule.limit);
        }
        uint32_t computed = 0;
        for (; r->schedule.computed < prompt && prompt <= 100; computed += w.step()[r->id])
            ASSERT_LT(computed, prompt);
    }
    EXPECT_NE(nullptr, strstr(error.text, "prompt has 101 tokens"));
    EXPECT_NE(nullptr, strstr(error.text, "--max-model-len"));
}

TEST(scheduler, queue_is_bounded_beyond_the_free_seats)
{
    struct scheduler_config c = small();
    c.max_queue = 2;
    World w(c);
    for (int i = 0; i < 6; i++)
        w.submit(4, 50);
    struct error error = {};
    EXPECT_EQ(STATUS_FULL, scheduler_submit(w.s, w.make(4, 50), 1, &error));
    EXPECT_NE(nullptr, strstr(error.text, "--max-queue 2"));
    w.step(); // four sit down, two wait
    EXPECT_EQ(STATUS_FULL, scheduler_submit(w.s, w.make(4, 50), 1, nullptr));
    w.end(scheduler_find(w.s, 1));
    EXPECT_EQ(STATUS_OK, scheduler_submit(w.s, w.make(4, 50), 1, nullptr));
}

TEST(scheduler, prefill_goes_in_chunks_beside_decode)
{
    World w(small());
    struct request *a = w.submit(3, 30);
    w.step();
    struct request *b = w.submit(40, 5);
    auto t = w.step();
    EXPECT_EQ(1u, t[a->id]);
    EXPECT_EQ(15u, t[b->id]);
    t = w.step();
    EXPECT_EQ(1u, t[a->id]);
    EXPECT_EQ(15u, t[b->id]);
    t = w.step();
    EXPECT_EQ(1u, t[a->id]);
    EXPECT_EQ(10u, t[b->id]);
    EXPECT_EQ(41u, b->schedule.known);
}

TEST(scheduler, chunk_limit_is_kept)
{
    struct scheduler_config c = small();
    c.prefill_chunk = 3;
    World w(c);
    struct request *a = w.submit(8, 2);
    EXPECT_EQ(3u, w.step()[a->id]);
    EXPECT_EQ(3u, w.step()[a->id]);
    EXPECT_EQ(2u, w.step()[a->id]);
    EXPECT_EQ(1u, w.step()[a->id]);
    EXPECT_TRUE(w.idle());
}

TEST(scheduler, priority_goes_first_and_equals_in_order)
{
    struct scheduler_config c = small();
    c.max_num_seqs = 1;
    World w(c);
    uint64_t low = w.submit(4, 2, -1)->id, a = w.submit(4, 2)->id, high = w.submit(4, 2, 5)->id,
             b = w.submit(4, 2)->id;
    while (!w.idle())
        w.step();
    EXPECT_EQ((std::vector<uint64_t>{high, a, b, low}), w.finished);
}

TEST(scheduler, preempts_the_youngest_and_finishes_all)
{
    struct scheduler_config c = small();
    c.kv_blocks = 10; // 40 tokens for three that want 21 each
    World w(c);
    struct request *a = w.submit(6, 16), *b = w.submit(6, 16), *d = w.submit(6, 16);
    uint32_t steps = 0;
    while (!w.idle() && steps++ < 1000)
        w.step();
    EXPECT_EQ(0u, a->schedule.preemptions);
    EXPECT_GT(d->schedule.preemptions, 0u);
    EXPECT_EQ((std::vector<uint64_t>{a->id, b->id, d->id}), w.finished);
}

TEST(scheduler, a_smaller_pool_preempts_the_lowest_in_rank)
{
    struct scheduler_config c = small();
    c.kv_blocks = 64; // of 4 tokens
    World w(c);
    struct request *low = w.submit(12, 80, -1), *a = w.submit(12, 80), *b = w.submit(12, 80),
                   *high = w.submit(12, 80, 1);
    while (low->schedule.computed < 30)
        w.step();
    uint32_t used = scheduler_count(w.s).kv_blocks_used;
    EXPECT_EQ(used, low->schedule.blocks + a->schedule.blocks + b->schedule.blocks +
                        high->schedule.blocks);
    scheduler_pause(w.s, a, true);
    const struct plan *plan = scheduler_resize(w.s, used - 1);
    ASSERT_EQ(1u, plan->preempted_count);
    EXPECT_EQ(a, plan->preempted[0]); // nobody reads it
    EXPECT_EQ(used - 1, scheduler_count(w.s).kv_blocks);
    scheduler_check(w.s);
    EXPECT_EQ(0u, scheduler_resize(w.s, 64)->preempted_count);
    while (scheduler_count(w.s).kv_blocks_used < 27)
        w.step();
    used = scheduler_count(w.s).kv_blocks_used;
    EXPECT_EQ(0u, scheduler_resize(w.s, used)->preempted_count);
    plan = scheduler_resize(w.s, used - 1);
    ASSERT_EQ(1u, plan->preempted_count);
    EXPECT_EQ(low, plan->preempted[0]);
    scheduler_check(w.s);
    scheduler_pause(w.s, a, false);
    for (int i = 0; i < 1000 && !w.idle(); i++)
        w.step();
    EXPECT_EQ(4u, w.finished.size());
    EXPECT_EQ(0u, high->schedule.preemptions);
}

// Whatever the pool does between two steps, everybody ends, and nobody is thrown out who had room.
TEST(scheduler, a_pool_that_keeps_changing_loses_nobody)
{
    for (unsigned seed = 1; seed <= 12; seed++) {
        std::mt19937 random(seed);
        World w(small());
        uint32_t submitted = 0, shrunk = 0;
        for (int i = 0; i < 5000 && (submitted < 60 || !w.idle()); i++) {
            if (submitted < 60 && random() % 3 == 0) {
                w.submit(1 + random() % 60, 1 + random() % 39, (int32_t)(random() % 3));
                submitted++;
            }
            if (random() % 4 == 0) {
                uint32_t blocks = 25 + random() % 20;
                uint32_t used = scheduler_count(w.s).kv_blocks_used;
                const struct plan *plan = scheduler_resize(w.s, blocks);
                EXPECT_EQ(used > blocks, plan->preempted_count > 0);
                shrunk += plan->preempted_count > 0;
                EXPECT_EQ(blocks, scheduler_count(w.s).kv_blocks);
                EXPECT_LE(scheduler_count(w.s).kv_blocks_used, blocks);
                scheduler_check(w.s);
            }
            w.step();
        }
        EXPECT_EQ(60u, w.finished.size()) << seed;
        EXPECT_GT(shrunk, 0u) << seed;
    }
}

TEST(scheduler, high_priority_takes_blocks_from_low)
{
    struct scheduler_config c = small();
    c.kv_blocks = 10;
    World w(c);
    struct request *low = w.submit(12, 20, 0);
    w.step();
    struct request *high = w.submit(12, 20, 1);
    while (high->schedule.state != REQUEST_FINISHED)
        w.step();
    EXPECT_EQ(0u, high->schedule.preemptions);
    EXPECT_EQ(1u, low->schedule.preemptions);
    while (!w.idle())
        w.step();
    EXPECT_EQ((std::vector<uint64_t>{high->id, low->id}), w.finished);
}

TEST(scheduler, cancel_frees_blocks_and_seat_at_once)
{
    World w(small());
    struct request *a = w.submit(30, 60);
    w.step();
    w.step();
    EXPECT_GT(scheduler_count(w.s).kv_blocks_used, 0u);
    scheduler_remove(w.s, a);
    EXPECT_EQ(0u, scheduler_count(w.s).kv_blocks_used);
    EXPECT_EQ(0u, scheduler_count(w.s).running);
    scheduler_check(w.s);
    struct request *b = w.submit(4, 1);
    scheduler_remove(w.s, b); // while it waits
    EXPECT_TRUE(w.idle());
}

TEST(scheduler, paused_sits_out_and_gives_its_blocks_first)
{
    struct scheduler_config c = small();
    c.kv_blocks = 10;
    World w(c);
    struct request *a = w.submit(16, 20);
    w.step();
    scheduler_pause(w.s, a, true);
    EXPECT_EQ(0u, w.step().count(a->id));
    struct request *b = w.submit(36, 4); // fits only with a's blocks
    while (b->schedule.state != REQUEST_FINISHED)
        EXPECT_EQ(0u, w.step().count(a->id));
    EXPECT_EQ(1u, a->schedule.preemptions);
    EXPECT_TRUE(w.step().empty());
    scheduler_pause(w.s, a, false);
    while (!w.idle())
        w.step();
    EXPECT_EQ(a->schedule.limit, a->schedule.known);
}

TEST(scheduler, deadlines_are_found_running_or_waiting)
{
    struct scheduler_config c = small();
    c.max_num_seqs = 1;
    World w(c);
    struct request *a = w.submit(4, 90, 0, 50), *b = w.submit(4, 90, 0, 20);
    EXPECT_EQ(20u, scheduler_deadline(w.s));
    while (!w.idle())
        w.step();
    EXPECT_EQ((std::vector<uint64_t>{b->id, a->id}), w.finished);
    EXPECT_EQ(0u, scheduler_deadline(w.s));
    EXPECT_LE(w.now, 52u);
}

// What is there already shortens its part of the step, and the next in rank get the rest of it.
TEST(scheduler, a_prefix_makes_room_for_others)
{
    World w(small()); // 16 tokens a step, 32 blocks of 4
    struct request *a = w.submit(40, 4), *b = w.submit(40, 4), *c = w.submit(8, 4);
    const struct plan *plan = scheduler_plan(w.s, 1);
    ASSERT_EQ(1u, plan->count);
    EXPECT_EQ(16u, plan->items[0].tokens);
    EXPECT_EQ(39u, scheduler_room(w.s, a));
    scheduler_advance(w.s, 0, 36);
    EXPECT_EQ(36u, a->schedule.computed);
    EXPECT_EQ(4u, plan->items[0].tokens);
    EXPECT_EQ(10u, a->schedule.blocks);
    scheduler_fill(w.s);
    ASSERT_EQ(2u, plan->count);
    EXPECT_EQ(b, plan->items[1].request);
    EXPECT_EQ(12u, plan->items[1].tokens);
    scheduler_check(w.s);
    scheduler_withdraw(w.s, 1);
    EXPECT_EQ(0u, b->schedule.blocks);
    EXPECT_EQ(0u, plan->items[1].tokens);
    scheduler_fill(w.s);
    ASSERT_EQ(3u, plan->count) << "b is out of this step";
    EXPECT_EQ(c, plan->items[2].request);
    EXPECT_EQ(8u, plan->items[2].tokens);
    EXPECT_EQ(12u, plan->tokens);
    scheduler_check(w.s);
    scheduler_commit(w.s, a, true);
    scheduler_commit(w.s, c, true);
    plan = scheduler_plan(w.s, 2);
    EXPECT_EQ(b, plan->items[2].request) << "and in the next";
    EXPECT_EQ(14u, plan->items[2].tokens);
    for (struct request *r : {a, b, c})
        w.end(r);
}

// The blocks that are left say how much of a prefix may be used: a token must find room behind it.
TEST(scheduler, a_prefix_is_cut_to_the_room)
{
    struct scheduler_config c = small();
    c.kv_blocks = 25;
    World w(c);
    struct request *a = w.submit(60, 30), *b = w.submit(40, 4);
    while (a->schedule.known < 60 + 6)
        w.step();
    ASSERT_EQ(0u, b->schedule.computed) << "the pool has no room for all of both";
    scheduler_pause(w.s, a, true); // b may have all its blocks, and a comes back
    const struct plan *plan = scheduler_plan(w.s, 1);
    ASSERT_EQ(1u, plan->preempted_count);
    ASSERT_EQ(1u, plan->count);
    EXPECT_EQ(39u, scheduler_room(w.s, b)) << "never all it knows";
    scheduler_advance(w.s, 0, 8);
    EXPECT_EQ(16u, b->schedule.planned);
    EXPECT_EQ(6u, b->schedule.blocks);
    scheduler_commit(w.s, b, false);
    EXPECT_EQ(0u, scheduler_resize(w.s, 25)->preempted_count);
    scheduler_pause(w.s, a, false);
    w.step(); // b's last 16 tokens; a has its 66 back when there is room again
    while (scheduler_any(w.s))
        w.step();
    EXPECT_EQ(2u, w.finished.size());
}

// A day in the life: arrivals, cancels, pauses and deadlines by seed. Every request ends, blocks
// are never over-committed (scheduler_check inside step), and the same seed gives the same history.
std::vector<uint64_t> simulate(uint32_t seed, bool mixed, bool prefixes = false,
                               uint64_t *filled = nullptr)
{
    std::mt19937 rng(seed), luck(seed);
    struct scheduler_config c = {};
    c.max_num_seqs = 1 + rng() % 24;
    c.max_batch_tokens = c.max_num_seqs + rng() % 200;
    c.max_queue = 5000;
    c.kv_block_tokens = 1u << rng() % 5;
    c.max_model_len = 16 + rng() % 300;
    c.prefill_chunk = rng() % 3 ? 0 : 1 + rng() % 64;
    uint32_t least = (c.max_model_len + c.kv_block_tokens - 1) / c.kv_block_tokens;
    c.kv_blocks = least + rng() % (4 * least);
    World w(c);
    w.luck = prefixes ? &luck : nullptr;
    std::vector<uint64_t> history;
    std::vector<struct request *> paused;
    uint64_t idle_steps = 0, submitted = 0;
    const uint64_t total = 600;
    for (uint64_t step = 0; submitted < total || !w.idle(); step++) {
        EXPECT_LT(step, 400000u) << "does not terminate, seed " << seed;
        if (step >= 400000u)
            break;
        for (uint32_t n = rng() % 3 ? 0 : rng() % 4; n > 0 && submitted < total; n--, submitted++) {
            uint32_t prompt = 1 + rng() % (c.max_model_len - 1);
            w.submit(prompt, rng() % 8 ? 1 + rng() % 40 : 0, mixed ? (int32_t)(rng() % 3) : 0,
                     mixed && rng() % 5 == 0 ? w.now + rng() % 500 : 0);
        }
        if (mixed && rng() % 16 == 0) {
            struct request *r = scheduler_find(w.s, 1 + rng() % (w.ids + 1));
            if (r && rng() % 2) {
                w.end(r);
            } else if (r && !r->schedule.paused) {
                scheduler_pause(w.s, r, true);
                paused.push_back(r);
            }
        }
        if (!paused.empty() && rng() % 8 == 0) {
            if (paused.back()->schedule.state != REQUEST_FINISHED)
                scheduler_pause(w.s, paused.back(), false);
            paused.pop_back();
        }
        size_t before = w.finished.size();
        auto tokens = w.step();
        uint32_t sum = 0;
        for (auto &t : tokens) {
            sum += t.second;
            history.push_back(t.first * 1000 + t.second);
        }
        EXPECT_LE(sum, c.max_batch_tokens);
        EXPECT_LE(tokens.size(), c.max_num_seqs);
        // Work conserving: whoever could run does.
        bool still = tokens.empty() && w.finished.size() == before && w.somebody(c.max_num_seqs);
        idle_steps = still ? idle_steps + 1 : 0;
        EXPECT_LT(idle_steps, 2u) << "stands still, seed " << seed << " step " << step;
    }
    EXPECT_EQ(total, w.finished.size()) << "seed " << seed;
    EXPECT_EQ(prefixes, w.advanced > 0);
    EXPECT_EQ(prefixes && c.max_num_seqs > 1, w.withdrawn > 0) << "seed " << seed;
    if (filled)
        *filled += w.filled;
    EXPECT_EQ(0u, scheduler_count(w.s).kv_blocks_used);
    return history;
}

TEST(scheduler, simulation_equal_priorities)
{
    for (uint32_t seed = 1; seed <= 20; seed++)
        simulate(seed, false);
}

TEST(scheduler, simulation_everything_at_once)
{
    for (uint32_t seed = 100; seed <= 120; seed++)
        simulate(seed, true);
}

TEST(scheduler, simulation_with_prefixes)
{
    uint64_t filled = 0;
    for (uint32_t seed = 211; seed <= 220; seed++)
        simulate(seed, true, true, &filled);
    EXPECT_GT(filled, 150u);
}

TEST(scheduler, same_seed_same_history)
{
    EXPECT_EQ(simulate(7, true, true), simulate(7, true, true));
    EXPECT_EQ(simulate(7, true), simulate(7, true));
    EXPECT_NE(simulate(7, true), simulate(8, true));
}

// No starvation among equals: requests are admitted for the first time in order of arrival, and a
// decode never waits for a step while its blocks are there.
TEST(scheduler, equals_are_admitted_in_order)
{
    std::mt19937 rng(5);
    struct scheduler_config c = small();
    c.kv_blocks = 60;
    c.max_queue = 10000;
    World w(c);
    std::vector<struct request *> all;
    for (int i = 0; i < 2000; i++)
        all.push_back(w.submit(1 + rng() % 60, 1 + rng() % 30));
    while (!w.idle())
        w.step();
    for (size_t i = 1; i < all.size(); i++)
        ASSERT_LE(all[i - 1]->schedule.admitted_ns, all[i]->schedule.admitted_ns);
    EXPECT_EQ(2000u, w.finished.size());
}

TEST(scheduler, decode_is_in_every_step_under_prefill_load)
{
    struct scheduler_config c = small();
    c.kv_blocks = 1000;
    World w(c);
    struct request *a = w.submit(2, 90);
    w.step();
    for (int i = 0; i < 80; i++) {
        w.submit(90, 5);
        ASSERT_EQ(1u, w.step().count(a->id)) << "step " << i;
    }
}

} // namespace
