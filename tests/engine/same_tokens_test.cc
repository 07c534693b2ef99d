/* Invariant 1: what a sequence says, to the last bit of its logits, depends on its own tokens
 * alone: not on ring, tiers, IO, threads, chunks, neighbours, preemption, nor on reads that
 * failed. */
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "tests/engine/engine_harness.h"
#include "tests/support/golden.h"
#include "tests/support/toy_model.h"

namespace {

/* Layers of two page sizes, so rings come in two size classes; the golden models have one each. */
const toy::Model &two_sizes()
{
    static const toy::Model model = [] {
        toy::Model m;
        m.layers = 4;
        m.expert = {"F32", "BF16"};
        m.width = 40; /* 15 KiB and 8 KiB: two classes of slots */
            return m;
    }();
    return model;
}

/* Every golden model, and the toy of two page sizes; prompts of the length of their own choice. */
class SameTokens : public testing::TestWithParam<size_t> {
protected:
    SameTokens()
    {
        if (GetParam() < golden::models().size()) {
            path_ = golden::models()[GetParam()].path;
            vocab_ = golden::models()[GetParam()].vocab;
            least_ = 1;
        } else {
            toy::write(folder_, two_sizes());
            path_ = folder_.path();
            vocab_ = two_sizes().vocab;
            least_ = 2;
        }
    }
    Job job(uint64_t seed, uint32_t prompt, uint32_t count, uint32_t chunk = 1 << 20) const
    {
        return job_of(some_prompt(seed, prompt, vocab_), count, chunk);
    }
    static void expect_same(const Answer &got, const Answer &want)
    {
        EXPECT_EQ(got.tokens, want.tokens);
        EXPECT_TRUE(got.logits == want.logits) << "logits differ";
    }

    scratch::Folder folder_;
    std::string path_;
    uint32_t vocab_, least_; /* least_: pages of the smallest ring */
};

TEST_P(SameTokens, WhateverTheRingTheTiersAndTheIo)
{
    Job one = job(1, 19, 14, 8);
    Engine resident(path_);
    ASSERT_EQ(engine_info(resident.engine)->device_slots, engine_info(resident.engine)->pages);
    Answer want = resident.run(one);
    ASSERT_EQ(want.tokens.size(), 14u);
    uint32_t all = engine_info(resident.engine)->pages;
    for (uint32_t device : {least_, least_ + 1, 5u, 9u, all - 1, all})
        for (uint32_t host : {0u, least_, 7u, all})
            for (enum prefetch_mode prefetch : {PREFETCH_OFF, PREFETCH_AUTO, PREFETCH_ON}) {
                SCOPED_TRACE(std::to_string(device) + " device slots, " + std::to_string(host) +
                             " host slots, prefetch " + std::to_string(prefetch));
                Engine e(path_, [&](auto &c) {
                    c.device_experts = Engine::pages(device);
                    if (host)
                        c.host_experts = Engine::pages(host);
                    c.prefetch = prefetch ? PREFETCH_ON : PREFETCH_OFF;
                    c.io = device % 2 ? IO_SYNC : IO_THREAD;
                });
                EXPECT_EQ(engine_info(e.engine)->device_slots, device);
                EXPECT_EQ(engine_info(e.engine)->host_slots, host);
                expect_same(e.run(one), want);
            }
}

TEST_P(SameTokens, WhateverThePolicyThePredictorAndTheLayersStreamed)
{
    std::vector<Job> jobs = {job(1, 19, 14, 8), job(2, 7, 12)};
    Engine resident(path_);
    std::vector<Answer> want = resident.run(jobs);
    const struct engine_info *info = engine_info(resident.engine);
    auto check = [&](const std::string &what, const Engine::Tweak &tweak) {
        SCOPED_TRACE(what);
        Engine e(path_, [&](auto &c) {
            c.device_experts = Engine::pages(info->pages / 2);
            c.prefetch = PREFETCH_ON;
            tweak(c);
        });
        std::vector<Answer> got = e.run(jobs);
        for (size_t i = 0; i < jobs.size(); i++)
            expect_same(got[i], want[i]);
    };
    for (uint32_t i = 0; i < EVICT_KINDS; i++)
        check(evict_kind_name((enum evict_kind)i), [&](auto &c) { c.evict = (enum evict_kind)i; });
    for (uint32_t i = 0; i < FORESIGHT_KINDS; i++)
        check(foresight_name((enum foresight)i), [&](auto &c) { c.foresight = (enum foresight)i; });
    for (uint32_t k : {1u, info->layers / 2, (uint32_t)STREAM_AUTO})
        for (enum io_kind io : {IO_SYNC, IO_THREAD})
            check("layers " + std::to_string(k), [&](auto &c) {
                c.stream_layers = k;
                c.stream_always = true;
                c.io = io;
            });
}

/* One way of deciding about pages. Room is counted in whole layers, plus `spare` pages. */
struct Way {
    enum evict_kind evict;
    enum foresight foresight;
    enum prefetch_mode prefetch;
    uint32_t stream_layers;
    bool stream_always;
    uint32_t layers, spare; /* 0 layers: the smallest ring and `spare` pages */
    uint32_t host;          /* pages; 0: none */
    enum io_kind io;
};

/* Each value of each knob, and most pairs of them. */
const Way kWays[] = {
    {EVICT_LEARNED, FORESIGHT_AUTO, PREFETCH_ON, STREAM_OFF, false, 0, 0, 0, IO_THREAD},
    {EVICT_LEARNED, FORESIGHT_TRANSITION, PREFETCH_ON, 1, true, 1, 0, 0, IO_SYNC},
    {EVICT_LEARNED, FORESIGHT_PREVIOUS, PREFETCH_AUTO, 2, true, 2, 3, 5, IO_THREAD},
    {EVICT_LEARNED, FORESIGHT_LOOKAHEAD, PREFETCH_ON, STREAM_AUTO, false, 2, 0, 0, IO_SYNC},
    {EVICT_LEARNED, FORESIGHT_AUTO, PREFETCH_OFF, 3, true, 3, 1, 0, IO_THREAD},
    {EVICT_ROUND, FORESIGHT_AUTO, PREFETCH_ON, 2, true, 2, 0, 0, IO_THREAD},
    {EVICT_ROUND, FORESIGHT_LOOKAHEAD, PREFETCH_ON, STREAM_OFF, false, 1, 2, 9, IO_SYNC},
    {EVICT_ROUND, FORESIGHT_TRANSITION, PREFETCH_OFF, STREAM_AUTO, true, 2, 1, 0, IO_SYNC},
    {EVICT_LRU, FORESIGHT_LOOKAHEAD, PREFETCH_AUTO, STREAM_OFF, false, 2, 0, 0, IO_THREAD},
    {EVICT_LRU, FORESIGHT_AUTO, PREFETCH_ON, 1, true, 2, 1, 0, IO_SYNC},
    {EVICT_LRU, FORESIGHT_PREVIOUS, PREFETCH_OFF, 3, true, 3, 0, 4, IO_SYNC},
    {EVICT_LFU, FORESIGHT_TRANSITION, PREFETCH_ON, 3, true, 3, 2, 0, IO_THREAD},
    {EVICT_LFU, FORESIGHT_PREVIOUS, PREFETCH_ON, STREAM_AUTO, false, 1, 0, 7, IO_THREAD},
    {EVICT_LFU, FORESIGHT_LOOKAHEAD, PREFETCH_AUTO, 1, true, 1, 1, 0, IO_SYNC},
    {EVICT_FORECAST, FORESIGHT_AUTO, PREFETCH_ON, 2, true, 2, 1, 6, IO_THREAD},
    {EVICT_FORECAST, FORESIGHT_TRANSITION, PREFETCH_OFF, STREAM_OFF, false, 0, 2, 0, IO_SYNC},
    {EVICT_RANDOM, FORESIGHT_AUTO, PREFETCH_AUTO, 2, true, 2, 2, 0, IO_SYNC},
    {EVICT_RANDOM, FORESIGHT_LOOKAHEAD, PREFETCH_ON, 2, false, 3, 0, 0, IO_THREAD},
    {EVICT_RANDOM, FORESIGHT_PREVIOUS, PREFETCH_ON, STREAM_OFF, false, 0, 1, 0, IO_SYNC},
};

/* Prefill in one step and in chunks, then 64 decode steps. Counters of layers computed go round all
 * of them, so numbers of layer slots that do not divide that of the layers are met at every
 * offset. */
TEST_P(SameTokens, WhateverIsEvictedForeseenOrStreamed)
{
    Job one = job(7, 24, 64), chunked = job(7, 24, 64, 7);
    Engine resident(path_);
    Answer want = resident.run(one);
    ASSERT_EQ(want.tokens.size(), 64u);
    const struct engine_info *info = engine_info(resident.engine);
    uint64_t guesses = 0, streamed = 0;
    for (size_t i = 0; i < sizeof kWays / sizeof kWays[0]; i++) {
        const Way &way = kWays[i];
        /* Classes share a ring by their pages: of a model of two, twice as much is sure to be
         * enough. */
        uint32_t slots = way.layers ? way.layers * least_ * info->experts + way.spare
                                    : least_ + way.spare;
        slots = std::min(slots, info->pages);
        SCOPED_TRACE("way " + std::to_string(i) + ", " + evict_kind_name(way.evict) + ", " +
                     foresight_name(way.foresight) + ", prefetch " + std::to_string(way.prefetch) +
                     ", stream " + std::to_string((int)way.stream_layers) + ", " +
                     std::to_string(slots) + " slots");
        Engine e(path_, [&](auto &c) {
            c.device_experts = Engine::pages(slots);
            if (way.host)
                c.host_experts = Engine::pages(std::max(way.host, least_));
            c.evict = way.evict;
            c.foresight = way.foresight;
            c.prefetch = way.prefetch;
            c.stream_layers = way.stream_layers;
            c.stream_always = way.stream_always;
            c.io = way.io;
        });
        expect_same(e.run(i % 2 ? one : chunked), want);
        expect_same(e.run(i % 2 ? chunked : one), want); /* with all that was learned */
        struct engine_stats stats = e.stats();
        guesses += stats.policy.prefetch.issued;
        if (way.stream_always && way.stream_layers != STREAM_AUTO) {
            EXPECT_EQ(stats.stream.slots, std::min(way.stream_layers, info->layers));
            EXPECT_EQ(stats.stream.streamed_steps, stats.steps);
        }
        streamed += stats.stream.streamed_steps;
    }
    printf("%s, %u pages: %lu guesses, %lu steps streamed\n", info->model_name, info->pages,
           (unsigned long)guesses, (unsigned long)streamed);
    if (info->pages > 16) { /* fewer have nothing to foretell */
        EXPECT_GT(guesses, 0u);
    }
    EXPECT_GT(streamed, 0u);
}

TEST_P(SameTokens, WhateverTheThreads)
{
    Job one = job(2, 23, 12);
    for (int isa = CPU_SCALAR; isa < CPU_ISA_COUNT; isa++) {
        Answer want;
        for (uint32_t threads = 1; threads <= 3; threads++) {
            struct error error = {};
            struct engine_config config = Engine::defaults(path_);
            config.isa = (enum cpu_isa)isa;
            config.threads = threads;
            config.device_experts = Engine::pages(6);
            config.io = IO_THREAD;
            struct engine *opened = nullptr;
            if (engine_open(&opened, &config, &error) == STATUS_UNSUPPORTED) {
                ASSERT_NE(isa, CPU_SCALAR);
                printf("skipped: %s\n", error.text);
                break;
            }
            engine_close(opened);
            Engine e(path_, [&](auto &c) { c = config; });
            EXPECT_EQ(engine_info(e.engine)->threads, threads);
            EXPECT_STREQ(engine_info(e.engine)->isa, cpu_isa_name((enum cpu_isa)isa));
            Answer got = e.run(one);
            if (threads == 1)
                want = got;
            expect_same(got, want);
        }
    }
}

/* Two to sixteen sequences that come when they come, prefill beside decode, in a ring too small. */
TEST_P(SameTokens, WhoeverElseIsInTheBatch)
{
    std::vector<Job> jobs;
    std::vector<Answer> alone;
    Engine resident(path_);
    for (uint32_t i = 0; i < 16; i++) {
        jobs.push_back(job(100 + i, 1 + i * 5 % 37, 4 + i * 7 % 9, 1 + i % 8));
        alone.push_back(resident.run(jobs.back()));
        jobs.back().begin = i * 3 % 7;
    }
    Engine e(path_, [&](auto &c) {
        c.device_experts = Engine::pages(6);
        c.threads = 2;
        c.io = IO_THREAD;
    });
    for (uint32_t n = 2; n <= 16; n++) {
        std::vector<Answer> together = e.run(std::vector<Job>(jobs.begin(), jobs.begin() + n));
        for (uint32_t i = 0; i < n; i++) {
            SCOPED_TRACE(std::to_string(n) + " sequences, number " + std::to_string(i));
            expect_same(together[i], alone[i]);
        }
    }
    struct engine_stats stats = e.stats();
    EXPECT_EQ(stats.sequences, 0u);
    EXPECT_EQ(stats.kv_blocks_used, 0u);
}

TEST_P(SameTokens, AfterPreemption)
{
    Job one = job(3, 21, 16, 5), draws = job(4, 9, 16);
    draws.sampling.temperature = 1;
    draws.sampling.frequency_penalty = 0.5f;
    draws.sampling.has_seed = true;
    draws.sampling.seed = 77;
    Engine e(path_);
    Answer want = e.run(one), want_draws = e.run(draws);
    for (uint32_t first : {1u, 3u, 6u, 11u}) { /* in the midst of prefill and of decode */
        Job broken = one, broken_draws = draws;
        broken.preempt = {first, first + 1, first + 5};
        broken_draws.preempt = {first + 2, first + 3};
        std::vector<Answer> got = e.run({broken, broken_draws});
        expect_same(got[0], want);
        expect_same(got[1], want_draws);
    }
}

/* What others computed of the same beginning, while they run or after; in whole or in part; with or
 * without company, before and after a preemption, and from a pool in which it does not last. */
TEST_P(SameTokens, WhateverWasTakenOfOthers)
{
    std::vector<Job> jobs = {job(8, 50, 20, 16), job(8, 50, 20, 7), job(8, 50, 9), job(9, 40, 9)};
    jobs[2].prompt.resize(90, 1); /* goes on otherwise */
    jobs[3].prompt.insert(jobs[3].prompt.begin(), jobs[0].prompt.begin(),
                          jobs[0].prompt.begin() + 20);
    Engine off(path_, [](auto &c) { c.prefix_caching = false; });
    std::vector<Answer> want = off.run(jobs);
    for (uint32_t blocks : {0u, 14u}) { /* 0: enough */
        Engine e(path_, [&](auto &c) {
            const struct engine_info *info = engine_info(off.engine);
            c.device_experts = Engine::pages(info->pages - 1);
            c.max_model_len = 128;
            c.kv_bytes = blocks * info->kv_bytes / info->kv_blocks;
        });
        uint32_t taken = 0, later = 0;
        for (uint32_t round = 0; round < 6; round++) {
            SCOPED_TRACE(std::to_string(blocks) + " blocks, round " + std::to_string(round));
            std::vector<Job> these;
            std::vector<size_t> which;
            for (size_t i = 0; i < jobs.size(); i++) {
                if (blocks ? i != round % jobs.size() : i % 2 && round == 0)
                    continue;
                Job one = jobs[i];
                one.take = true;
                one.begin = round > 2 ? (uint32_t)i * 2 : 0;
                if (round > 1)
                    one.preempt = {one.begin + 1, one.begin + 5};
                these.push_back(one);
                which.push_back(i);
            }
            std::vector<Answer> got = e.run(these);
            for (size_t k = 0; k < got.size(); k++) {
                const Answer &is = got[k], &was = want[which[k]];
                EXPECT_EQ(is.tokens, was.tokens) << which[k];
                ASSERT_EQ(is.logits.size(), was.logits.size());
                EXPECT_EQ(0u, is.taken % KV_BLOCK_TOKENS);
                uint32_t skipped = 0;
                for (size_t at = 0; at < is.logits.size(); at += vocab_) {
                    auto row = is.logits.begin() + (long)at, end = row + vocab_;
                    if (std::equal(row, end, was.logits.begin() + (long)at))
                        continue;
                    ASSERT_EQ(vocab_, std::count(row, end, 0)) << "logits differ";
                    EXPECT_LT(at / vocab_, these[k].prompt.size() - 1);
                    skipped++;
                }
                EXPECT_LE(skipped, is.taken + is.taken_later);
                taken += is.taken;
                later += is.taken_later;
            }
            EXPECT_EQ(0u, e.stats().kv_blocks_used);
        }
        EXPECT_GT(taken, 100u);
        EXPECT_GT(later, 50u);
    }
}

/* Long enough to fill many KV blocks; f16 keys and values are another model, but as steadfast. */
TEST_P(SameTokens, AcrossKvBlocksOfEitherType)
{
    Answer f32;
    for (enum dtype dtype : {DTYPE_F32, DTYPE_F16}) {
        Engine e(path_, [&](auto &c) {
            c.kv_dtype = dtype;
            c.device_experts = Engine::pages(10);
        });
        Answer want = e.run(job(5, 83, 6));
        for (uint32_t chunk : {1u, 16u, 17u})
            expect_same(e.run(job(5, 83, 6, chunk)), want);
        if (dtype == DTYPE_F32)
            f32 = want;
        for (size_t i = 0; i < 83 * vocab_; i++)
            ASSERT_NEAR(want.logits[i], f32.logits[i], 0.05);
    }
}

/* Fewer slots than a single token's working set: still right, and still hits while decoding. */
TEST_P(SameTokens, ARingSmallerThanOneTokensWorkingSetStillHits)
{
    Job one = job(6, 8, 40);
    Engine resident(path_);
    const struct engine_info *info = engine_info(resident.engine);
    Answer want = resident.run(one);
    uint32_t set = info->layers * info->top_k;
    for (uint32_t slots = least_ * (info->top_k + 1); slots < set; slots++)
        for (enum prefetch_mode prefetch : {PREFETCH_OFF, PREFETCH_ON}) {
            Engine e(path_, [&](auto &c) {
                c.device_experts = Engine::pages(slots);
                c.prefetch = prefetch ? PREFETCH_ON : PREFETCH_OFF;
            });
            Answer got = e.run(one);
            expect_same(got, want);
            uint64_t hits = 0, misses = 0;
            for (size_t step = 1; step < got.usage.size(); step++) {
                hits += got.usage[step].hits;
                misses += got.usage[step].misses;
            }
            EXPECT_EQ(hits + misses, (uint64_t)set * (got.usage.size() - 1));
            EXPECT_GT(hits, 0u) << slots << " slots of " << set;
            if (slots == set - 1)
                printf("%s: %u slots for a set of %u, prefetch %d: %.1f%% hits\n",
                       info->model_name, slots, set, prefetch,
                       100.0 * (double)hits / (double)(hits + misses));
        }
}

std::string name_of(const testing::TestParamInfo<size_t> &info)
{
    return info.param < golden::models().size() ? golden::models()[info.param].name : "two_sizes";
}

INSTANTIATE_TEST_SUITE_P(Models, SameTokens,
                         testing::Range<size_t>(0, golden::models().size() + 1), name_of);

/* ---- a file that is cut short under the engine and comes back ---- */

class Recovery : public testing::TestWithParam<size_t> {};

TEST_P(Recovery, AFailedStepChangesNothing)
{
    const golden::Model &model = golden::models()[GetParam()];
    scratch::Folder folder;
    std::vector<std::pair<std::string, std::string>> files; /* of weights: name, bytes */
    for (const auto &entry : std::filesystem::directory_iterator(model.path)) {
        std::string name = entry.path().filename();
        std::string bytes = test_support::read_file(entry.path());
        folder.write(name, bytes);
        if (entry.path().extension() == ".safetensors")
            files.push_back({name, bytes});
    }
    const golden::Prompt &prompt = model.prompts[0];
    for (enum io_kind io : {IO_SYNC, IO_THREAD}) {
        Engine e(folder.path(), [&](auto &c) {
            c.device_experts = Engine::pages(3);
            c.io = io;
        });
        Answer want = Engine(model.path).run(job_of(prompt.prompt, 8, 6));
        Job open = job_of(prompt.prompt, 0);
        std::vector<struct sequence *> s = {e.open(open), e.open(open)};
        std::vector<uint32_t> tokens;
        std::vector<float> logits((size_t)(prompt.prompt.size() + 7) * model.vocab);
        uint32_t failures = 0;
        while (tokens.size() < 8) {
            struct step_item items[2] = {};
            for (int i = 0; i < 2; i++) {
                items[i].sequence = s[i];
                items[i].tokens = std::min(6u, sequence_tokens(s[i]) - sequence_computed(s[i]));
            }
            uint32_t computed = sequence_computed(s[0]), known = sequence_tokens(s[0]);
            items[0].logits = logits.data() + (size_t)computed * model.vocab;
            struct step_output outputs[2];
            struct error error = {};
            for (const auto &file : files)
                folder.truncate(file.first, 4096);
            enum status status = engine_step(e.engine, items, 2, outputs, &error);
            for (const auto &file : files)
                folder.append(file.first, file.second.data() + 4096, file.second.size() - 4096);
            if (status != STATUS_OK) { /* a small step may be served by the ring */
                failures++;
                ASSERT_EQ(status, STATUS_IO);
                EXPECT_NE(std::string(error.text).find(folder.path() + "/model"), std::string::npos)
                    << error.text;
                for (struct sequence *each : s) {
                    EXPECT_EQ(sequence_computed(each), computed);
                    EXPECT_EQ(sequence_tokens(each), known);
                }
                error = {};
                status = engine_step(e.engine, items, 2, outputs, &error);
                ASSERT_EQ(status, STATUS_OK) << error.text;
            }
            EXPECT_EQ(outputs[0].sampled, outputs[1].sampled);
            if (outputs[0].sampled) {
                tokens.push_back(outputs[0].token.token);
                EXPECT_EQ(outputs[1].token.token, tokens.back());
            }
        }
        EXPECT_GT(failures, 5u);
        EXPECT_EQ(tokens, want.tokens);
        EXPECT_TRUE(logits == want.logits);
        for (struct sequence *each : s)
            engine_sequence_close(e.engine, each);
    }
}

INSTANTIATE_TEST_SUITE_P(Models, Recovery, testing::Range<size_t>(0, golden::models().size()),
                         name_of);

} // namespace
