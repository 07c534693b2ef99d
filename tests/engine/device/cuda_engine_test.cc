/* The whole engine on a CUDA device: golden models, the same tokens whatever the ring, what a token
 * costs in launches and waits, and what happens where there is no device. Runs on the host double,
 * or on a GPU (MOERING_TESTS_GPU); what only the double can count or break is marked. */
#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "tests/engine/engine_harness.h"
#include "tests/support/golden.h"
#include "tests/support/toy_model.h"

#ifndef MOERING_TESTS_GPU
#include "tests/support/cuda_host/cuda_host.h"
#endif

namespace {

using Tweak = Engine::Tweak;

void on_cuda(struct engine_config &c)
{
    c.device = ENGINE_DEVICE_CUDA;
    c.kv_dtype = DTYPE_F32;
    c.max_num_seqs = 6;
    c.max_batch_tokens = 96;
}

Tweak deterministic(uint32_t device_pages, uint32_t host_pages = 0,
                    enum prefetch_mode prefetch = PREFETCH_AUTO)
{
    return [=](struct engine_config &c) {
        on_cuda(c);
        c.deterministic = true;
        c.prefetch = prefetch;
        if (device_pages)
            c.device_experts = Engine::pages(device_pages);
        if (host_pages)
            c.host_experts = Engine::pages(host_pages);
    };
}

/* Begins the host double anew. Device memory stays readable for the host here: guarding it costs
 * most of the time, and the tests beside each source do guard it. */
void restart(uint64_t seed = 1)
{
#ifndef MOERING_TESTS_GPU
    cuda_host_reset(seed);
    cuda_host_protect(false);
#else
    (void)seed;
#endif
}

double worst_difference(const std::vector<float> &got, const std::vector<float> &want,
                        uint32_t vocab)
{
    double worst = 0;
    EXPECT_EQ(got.size(), want.size());
    for (size_t p = 0; p + vocab <= std::min(got.size(), want.size()); p += vocab) {
        double scale = 0, difference = 0;
        for (size_t i = p; i < p + vocab; i++) {
            scale = std::max(scale, std::fabs((double)want[i]));
            difference = std::max(difference, std::fabs((double)got[i] - want[i]));
        }
        worst = std::max(worst, difference / scale);
    }
    return worst;
}

/* The double anew for each test, and nothing left open behind it. */
class Fresh {
  protected:
    Fresh() { restart(); }
    static void expect_nothing_open()
    {
#ifndef MOERING_TESTS_GPU
        EXPECT_EQ(cuda_host_leaks(), std::vector<std::string>());
#endif
    }
};

class CudaGolden : public Fresh, public testing::TestWithParam<size_t> {
  protected:
    void TearDown() override { expect_nothing_open(); }
    const golden::Model &model() const { return golden::models()[GetParam()]; }
    Answer run(const Tweak &tweak)
    {
        Engine e(model().path, tweak);
        EXPECT_STREQ(engine_info(e.engine)->backend, "cuda");
        const golden::Prompt &prompt = model().prompts[0];
        return e.run(job_of(prompt.prompt, (uint32_t)prompt.greedy.size()));
    }
};

TEST_P(CudaGolden, DeterministicIsTheReference)
{
    Answer a = run(deterministic(0));
    const golden::Prompt &prompt = model().prompts[0];
    EXPECT_EQ(a.tokens, prompt.greedy);
    double worst = worst_difference(a.logits, prompt.logits, model().vocab);
    printf("%s: worst relative difference %.2e\n", model().name.c_str(), worst);
    EXPECT_LE(worst, 1e-4);
}

/* top_k neighbouring experts, from where layer and position say. */
void some_experts(void *self, uint32_t layer, uint32_t, uint32_t position, uint32_t *chosen)
{
    const struct router *router = static_cast<const struct router *>(self);
    for (uint32_t k = 0; k < router->top_k; k++)
        chosen[k] = (layer * 5 + position * 3 + k) % router->experts;
}

/* KV in 16 bits, and cuBLAS, which rounds activations to the 16 bits of the weights. Which experts
 * are chosen is fixed: a close choice turned by rounding would hide everything else. */
TEST_P(CudaGolden, DefaultComesClose)
{
    struct router router = {};
    {
        Engine e(model().path);
        router.experts = engine_info(e.engine)->experts;
        router.top_k = engine_info(e.engine)->top_k;
    }
    auto scripted = [&](struct engine_config &c) { c.routing = {&router, some_experts}; };
    Answer want = run([&](auto &c) {
        deterministic(0)(c);
        scripted(c);
    });
    Answer got = run([&](auto &c) {
        on_cuda(c);
        scripted(c);
        c.kv_dtype = DTYPE_F16;
    });
    size_t prompt =
        model().prompts[0].prompt.size() * model().vocab; /* the same tokens up to here */
    got.logits.resize(prompt);
    want.logits.resize(prompt);
    double worst = worst_difference(got.logits, want.logits, model().vocab);
    printf("%s: worst relative difference %.2e\n", model().name.c_str(), worst);
    EXPECT_LE(worst, model().name.find("f32") != std::string::npos ? 5e-3 : 5e-2);
}

std::string name_of(const testing::TestParamInfo<size_t> &info)
{
    return golden::models()[info.param].name;
}

INSTANTIATE_TEST_SUITE_P(Models, CudaGolden, testing::Range<size_t>(0, golden::models().size()),
                         name_of);

/* A small model whose layers' pages differ in size. */
class CudaEngine : public Fresh, public testing::Test {
  protected:
    CudaEngine()
    {
        toy_.layers = 4;
        toy_.expert = {"F32", "BF16"};
        toy_.width = 40; /* 15 KiB and 8 KiB: two classes of slots */
        toy::write(folder_, toy_);
        path_ = folder_.path();
    }
    void TearDown() override { expect_nothing_open(); }
    Job job(uint64_t seed, uint32_t prompt, uint32_t count, uint32_t chunk = 1 << 20) const
    {
        return job_of(some_prompt(seed, prompt, toy_.vocab), count, chunk);
    }
    /* With every page on the device. */
    Answer resident(const Job &job, const Tweak &tweak = deterministic(0)) const
    {
        return Engine(path_, tweak).run(job);
    }
    uint32_t pages() const { return toy_.layers * toy_.experts; }

    toy::Model toy_;
    scratch::Folder folder_;
    std::string path_;
};

/* A ring of any size, cold or warm, guessing or not, stops layers in all places. */
TEST_F(CudaEngine, TheRingChangesNoBit)
{
    Job one = job(7, 9, 8, 4);
    Answer want = resident(one);
    uint32_t all = pages();
    const uint32_t rooms[][2] = {{2, 2}, {3, all}, {all / 4, 2}, {all / 2, all}, {all - 1, 2}};
    for (auto [held, host] : rooms) {
        SCOPED_TRACE(std::to_string(held) + " device pages, " + std::to_string(host) +
                     " host pages");
        restart(held * 100 + host);
        Engine e(path_, deterministic(held, host, held % 2 ? PREFETCH_ON : PREFETCH_AUTO));
        for (int again = 0; again < 2; again++) {
            Answer got = e.run(one);
            EXPECT_EQ(got.tokens, want.tokens);
            EXPECT_TRUE(got.logits == want.logits) << "logits differ";
        }
        EXPECT_GT(e.stats().experts.misses, 0u);
    }
}

/* A layer that stops leaves the shared expert out as well as its own, and so do those behind it:
 * added twice, it would show. GraniteMoE adds its branches by another kernel. */
TEST_F(CudaEngine, StoppedLayersAddNothing)
{
    for (const char *arch : {"qwen2_moe", "granitemoe"}) {
        SCOPED_TRACE(arch);
        toy_.arch = arch;
        toy::write(folder_, toy_);
        Job one = job(8, 9, 4, 12);
        Answer want = resident(one);
        for (uint32_t held : {3u, pages() - 1}) {
            restart(held);
            Answer got = Engine(path_, deterministic(held, 2)).run(one);
            EXPECT_EQ(got.tokens, want.tokens);
            EXPECT_TRUE(got.logits == want.logits) << held << " device pages: logits differ";
        }
    }
}

/* Weights in block formats: `cuda` is refused by the format's name, `auto` computes on the CPU. */
TEST_F(CudaEngine, BlockFormatsAreComputedOnTheCpu)
{
    const golden::Model &model = golden::gguf_model("olmoe_q4_0");
    try {
        Engine e(model.path, on_cuda);
        FAIL() << "there are no such kernels";
    } catch (const std::runtime_error &error) {
        EXPECT_EQ(std::string(error.what()).find("UNSUPPORTED: --device cuda"), 0u) << error.what();
        EXPECT_NE(std::string(error.what()).find("Q4_0"), std::string::npos) << error.what();
    }
    Engine on_auto(model.path, [](auto &c) { c.device = ENGINE_DEVICE_AUTO; });
    EXPECT_STREQ(engine_info(on_auto.engine)->backend, "cpu");
    Engine plain(golden::gguf_model("qwen2moe_f16").path, deterministic(0));
    EXPECT_STREQ(engine_info(plain.engine)->backend, "cuda");
    const golden::Prompt &prompt = golden::gguf_model("qwen2moe_f16").prompts[0];
    Answer a = plain.run(job_of(prompt.prompt, (uint32_t)prompt.greedy.size()));
    EXPECT_EQ(a.tokens, prompt.greedy);
    EXPECT_LE(worst_difference(a.logits, prompt.logits, 72), 1e-4);
}

/* Neighbours in the batch and the size of chunks change no bit either. */
TEST_F(CudaEngine, NeighboursAndChunksChangeNoBit)
{
    Engine e(path_, deterministic(0));
    std::vector<Job> jobs;
    for (uint64_t seed = 1; seed <= 5; seed++)
        jobs.push_back(job(seed, (uint32_t)(5 + 3 * seed), 5));
    std::vector<Answer> alone;
    for (const Job &job : jobs)
        alone.push_back(e.run(job));
    std::vector<Answer> together = e.run(jobs);
    for (size_t i = 0; i < jobs.size(); i++) {
        EXPECT_EQ(together[i].tokens, alone[i].tokens);
        EXPECT_TRUE(together[i].logits == alone[i].logits) << "job " << i;
        Job chunked = jobs[i];
        chunked.chunk = 3;
        EXPECT_TRUE(e.run(chunked).logits == alone[i].logits) << "job " << i;
    }
}

/* Nor do keys and values that a neighbour or a predecessor left behind, in the midst of its own. */
TEST_F(CudaEngine, WhatOthersComputedChangesNoBit)
{
    Job one = job(4, 35, 6);
    Engine off(path_, [](struct engine_config &c) {
        deterministic(0)(c);
        c.prefix_caching = false;
    });
    Answer want = off.run(one);
    Engine e(path_, deterministic(9));
    long answer = 34 * (long)engine_info(e.engine)->vocab; /* the last of the prompt begins it */
    std::vector<Job> jobs(2, one);
    jobs[0].chunk = 9;
    jobs[1].begin = 2;
    jobs[1].preempt = {5};
    for (Job &j : jobs)
        j.take = true;
    for (uint32_t round = 0; round < 2; round++)
        for (const Answer &a : e.run(jobs)) {
            EXPECT_EQ(a.tokens, want.tokens);
            EXPECT_TRUE(std::equal(a.logits.begin() + answer, a.logits.end(),
                                   want.logits.begin() + answer));
            EXPECT_GE(a.taken + a.taken_later, round ? 32u : 0u);
        }
}

/* Whole layers stream through the ring; so does a prompt too long to run ahead of the host. */
TEST_F(CudaEngine, StreamingChangesNoBit)
{
    Job one = job(11, 80, 6);
    Answer want = resident(one);
    for (uint32_t k : {2u, 3u}) {
        restart(k);
        Engine e(path_, [&](auto &c) {
            deterministic(toy_.experts * (k + 1))(c);
            c.stream_layers = k;
            c.stream_always = true;
        });
        EXPECT_TRUE(e.run(one).logits == want.logits) << "K = " << k;
        EXPECT_GT(e.stats().stream.streamed_steps, 0u);
    }
}

/* Misses computed on the host come close; where all of them are, nothing is fetched on demand. */
TEST_F(CudaEngine, PlacementChangesLittle)
{
    Job one = job(13, 12, 6, 5);
    Answer want = resident(one, on_cuda);
    for (enum placement_mode mode : {PLACEMENT_DEVICE, PLACEMENT_HOST, PLACEMENT_AUTO}) {
        restart(1 + mode);
        Engine e(path_, [&](auto &c) {
            on_cuda(c);
            c.device_experts = Engine::pages(12);
            c.host_experts = Engine::pages(pages());
            c.placement = mode;
            c.prefetch = PREFETCH_OFF;
        });
        e.run(one);
        struct engine_stats cold = e.stats();
        Answer got = e.run(one); /* the host tier is warm now */
        EXPECT_LE(worst_difference(got.logits, want.logits, toy_.vocab), 1e-4)
            << "placement " << mode;
        struct engine_stats warm = e.stats();
        EXPECT_EQ(warm.storage_bytes, cold.storage_bytes);
        EXPECT_GT(warm.device_wait_ns, cold.device_wait_ns);
        EXPECT_LE(warm.device_wait_ns + warm.host_experts_ns + warm.experts.stall_ns, warm.step_ns);
        if (mode == PLACEMENT_HOST) {
            EXPECT_GT(warm.host_experts_ns, cold.host_experts_ns);
            EXPECT_EQ(warm.device_bytes, cold.device_bytes);
        } else if (mode == PLACEMENT_DEVICE) {
            EXPECT_EQ(warm.host_experts_ns, 0u);
            EXPECT_GT(warm.device_bytes, cold.device_bytes);
        }
    }
}

/* The device draws what the host would: greedy and by seed, beside requests that it cannot draw
 * for. */
TEST_F(CudaEngine, DrawsWhatTheHostDraws)
{
    std::vector<Job> jobs;
    for (uint64_t i = 0; i < 4; i++) {
        jobs.push_back(job(20 + i, 6, 12));
        jobs[i].sampling.temperature = i ? 0.8f : 0.0f;
        jobs[i].sampling.top_k = i == 2 ? 10 : 0;
        jobs[i].sampling.top_p = i == 3 ? 0.7f : 1.0f;
        jobs[i].sampling.seed = 77 + i;
        jobs[i].sampling.has_seed = true;
    }
    Engine e(path_, deterministic(0));
    std::vector<Answer> on_device = e.run(jobs);
    for (Job &job : jobs)
        job.sampling.logprobs = true; /* only the host knows those */
    std::vector<Answer> on_host = e.run(jobs);
    for (size_t i = 0; i < jobs.size(); i++)
        EXPECT_EQ(on_device[i].tokens, on_host[i].tokens) << "job " << i;
}

/* What only the host can do, done beside a request that the device draws for: a mask, a bias, and
 * what the model says of the prompt. */
TEST_F(CudaEngine, MasksBiasesAndScoresAreTheHosts)
{
    Job plain = job(20, 6, 1), biased = plain;
    plain.sampling.temperature = biased.sampling.temperature = 0;
    Engine e(path_, deterministic(0));
    Answer want = e.run(plain);
    uint32_t favourite = want.tokens[0], other = (favourite + 3) % toy_.vocab;
    struct sampler_bias bias = {other, 100};
    biased.sampling.bias = &bias;
    biased.sampling.bias_count = 1;
    std::vector<uint32_t> mask(toy_.vocab / 32 + 1, 0);
    mask[other / 32] = 1u << other % 32;
    struct sequence *sequences[] = {e.open(plain), e.open(plain), e.open(biased)};
    struct step_item items[3] = {};
    struct step_output outputs[3];
    struct sampled scores[5];
    for (int i = 0; i < 3; i++) {
        items[i].sequence = sequences[i];
        items[i].tokens = 6;
    }
    items[1].allowed = mask.data();
    items[0].scored = scores;
    items[0].score_count = 5;
    ASSERT_EQ(engine_step(e.engine, items, 3, outputs, nullptr), STATUS_OK);
    EXPECT_EQ(outputs[0].token.token, favourite);
    EXPECT_EQ(outputs[1].token.token, other);
    EXPECT_EQ(outputs[2].token.token, other);
    for (uint32_t p = 0; p < 5; p++) {
        const float *logits = want.logits.data() + (size_t)p * toy_.vocab;
        double sum = 0;
        for (uint32_t t = 0; t < toy_.vocab; t++)
            sum += std::exp((double)logits[t]);
        EXPECT_EQ(scores[p].token, plain.prompt[p + 1]);
        EXPECT_NEAR(scores[p].logprob, logits[plain.prompt[p + 1]] - std::log(sum), 1e-4);
    }
    for (struct sequence *s : sequences)
        engine_sequence_close(e.engine, s);
}

/* A page that cannot be read fails the step in which a layer stopped for it; the step is then tried
 * again and nothing of the first try shows. */
TEST_F(CudaEngine, AFailedReadLeavesTheStepToBeTriedAgain)
{
    Job one = job(17, 5, 0);
    Answer want = resident(job(17, 5, 7));
    std::string name = "model.safetensors", bytes = test_support::read_file(path_ + "/" + name);
    restart(3);
    Engine e(path_, deterministic(6, 6, PREFETCH_OFF));
    struct sequence *s = e.open(one);
    std::vector<uint32_t> tokens;
    std::vector<float> logits(want.logits.size());
    uint32_t failures = 0;
    while (tokens.size() < 7) {
        struct step_item item = {};
        struct step_output out = {};
        struct error error = {};
        uint32_t computed = sequence_computed(s);
        item.sequence = s;
        item.tokens = sequence_tokens(s) - computed;
        item.logits = logits.data() + (size_t)computed * toy_.vocab;
        folder_.truncate(name, 4096);
        enum status status = engine_step(e.engine, &item, 1, &out, &error);
        folder_.append(name, bytes.data() + 4096, bytes.size() - 4096);
        if (status != STATUS_OK) {
            failures++;
            ASSERT_EQ(status, STATUS_IO) << error.text;
            ASSERT_EQ(sequence_computed(s), computed);
            ASSERT_EQ(engine_step(e.engine, &item, 1, &out, &error), STATUS_OK) << error.text;
        }
        ASSERT_TRUE(out.sampled);
        tokens.push_back(out.token.token);
    }
    EXPECT_GT(failures, 3u);
    EXPECT_EQ(tokens, want.tokens);
    EXPECT_TRUE(logits == want.logits);
    engine_sequence_close(e.engine, s);
}

#ifndef MOERING_TESTS_GPU

/* What a decoded token asks of the device when everything is resident. README.md of
 * engine/backend/cuda quotes these numbers. */
TEST_F(CudaEngine, ATokenCostsFewLaunchesAndWaits)
{
    Engine e(path_, deterministic(0));
    struct sequence *s = e.open(job(3, 6, 1));
    struct error error = {};
    struct step_item item = {};
    struct step_output out = {};
    item.sequence = s;
    struct cuda_host_counts before = {}, after = {};
    for (int step = 0; step < 6; step++) { /* prompt, captures, then the steady state */
        item.tokens = sequence_tokens(s) - sequence_computed(s);
        before = cuda_host_counters();
        ASSERT_EQ(engine_step(e.engine, &item, 1, &out, &error), STATUS_OK) << error.text;
        after = cuda_host_counters();
    }
    engine_sequence_close(e.engine, s);
    EXPECT_EQ(after.graph_launches - before.graph_launches, toy_.layers);
    EXPECT_LE(after.launches - before.launches, 8u);
    EXPECT_LE(after.synchronisations - before.synchronisations, toy_.layers + 1u);
    EXPECT_EQ(after.mallocs, before.mallocs);
    printf("a token of %u layers: %llu launches, %llu graph launches, %llu waits, %llu queries, "
           "%llu copies\n",
           toy_.layers, (unsigned long long)(after.launches - before.launches),
           (unsigned long long)(after.graph_launches - before.graph_launches),
           (unsigned long long)(after.synchronisations - before.synchronisations),
           (unsigned long long)(after.queries - before.queries),
           (unsigned long long)(after.copies - before.copies));
}

std::string open_error(const std::string &path, const Tweak &tweak, enum status *status)
{
    struct engine_config config = Engine::defaults(path);
    struct engine *engine = nullptr;
    struct error error = {};
    tweak(config);
    *status = engine_open(&engine, &config, &error);
    EXPECT_EQ(engine, nullptr);
    engine_close(engine);
    return error.text;
}

TEST_F(CudaEngine, WithoutADeviceAutoComputesOnTheCpu)
{
    for (bool driver : {true, false}) {
        cuda_host_set_device_count(0);
        cuda_host_set_driver(driver);
        {
            Engine e(path_, [](auto &c) { c.device = ENGINE_DEVICE_AUTO; });
            EXPECT_STREQ(engine_info(e.engine)->backend, "cpu");
            EXPECT_EQ(e.run(job(1, 5, 3)).tokens.size(), 3u);
        }
        enum status status;
        std::string text = open_error(path_, on_cuda, &status);
        EXPECT_EQ(status, STATUS_UNSUPPORTED);
        EXPECT_NE(text.find("--device"), std::string::npos) << text;
        restart();
    }
}

TEST_F(CudaEngine, TheSecondOfOneDeviceIsRefused)
{
    enum status status;
    std::string text = open_error(path_, [](auto &c) {
        on_cuda(c);
        c.device_ordinal = 1;
    }, &status);
    EXPECT_EQ(status, STATUS_NOT_FOUND);
    EXPECT_NE(text.find("--device cuda:1"), std::string::npos) << text;
}

/* What cuBLAS, modules and graphs take later is kept free: a 64th of the double's GiB. */
TEST_F(CudaEngine, TheRingLeavesRoomForLibrariesAndGraphs)
{
    std::string lines;
    Engine e(path_, [&](auto &c) {
        on_cuda(c);
        c.arg = &lines;
        c.budget_line = [](const char *text, void *arg) {
            *static_cast<std::string *>(arg) += std::string(text) + "\n";
        };
    });
    size_t at = lines.find("libraries and graphs");
    ASSERT_NE(at, std::string::npos) << lines;
    EXPECT_NE(lines.find("16.0 MiB", at), std::string::npos) << lines;
}

TEST_F(CudaEngine, WhatDoesNotFitNamesTheFlag)
{
    enum status status;
    cuda_host_set_memory(30 << 20); /* not even the scratch */
    std::string text = open_error(path_, on_cuda, &status);
    EXPECT_EQ(status, STATUS_NO_MEMORY);
    EXPECT_NE(text.find("lower --"), std::string::npos) << text;
}

#endif

} // namespace
