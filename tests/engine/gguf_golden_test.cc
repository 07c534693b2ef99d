/* The engine against tests/golden/gguf: every block format and every architecture, computed in f64
 * from weights that somebody else decoded. With f32 activations the tokens must be the reference's
 * and the logits within 1e-4 of the largest; with 8-bit activations the distance is printed and
 * bounded. */
#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "engine/tokenizer/tokenizer.h"
#include "tests/engine/engine_harness.h"
#include "tests/support/golden.h"

namespace {

/* Of the largest logit of a position: the worst over all positions, and the mean. */
struct Distance {
    double worst = 0, mean = 0;
};

Distance distance(const std::vector<float> &got, const std::vector<float> &want, uint32_t vocab)
{
    Distance d;
    EXPECT_EQ(got.size(), want.size());
    size_t positions = std::min(got.size(), want.size()) / vocab;
    for (size_t p = 0; p < positions; p++) {
        double scale = 0, difference = 0;
        for (size_t i = p * vocab; i < (p + 1) * vocab; i++) {
            scale = std::max(scale, std::fabs((double)want[i]));
            difference = std::max(difference, std::fabs((double)got[i] - want[i]));
        }
        d.worst = std::max(d.worst, difference / scale);
        d.mean += difference / scale / (double)positions;
    }
    return d;
}

class GgufGolden : public testing::TestWithParam<size_t> {
protected:
    const golden::Model &model() const { return golden::gguf_models()[GetParam()]; }
    const golden::Prompt &prompt() const { return model().prompts[0]; }
    Job job(uint32_t chunk = 1 << 20) const
    {
        return job_of(prompt().prompt, (uint32_t)prompt().greedy.size(), chunk);
    }
    static void exact(struct engine_config &c) { c.exact_activations = true; }
};

/* The reference's choices, so that a close one turned by rounding does not hide everything else. */
void golden_experts(void *self, uint32_t layer, uint32_t, uint32_t position, uint32_t *chosen)
{
    const auto *prompt = static_cast<const golden::Prompt *>(self);
    const std::vector<uint32_t> &experts = prompt->routed[layer][position];
    std::copy(experts.begin(), experts.end(), chosen);
}

TEST_P(GgufGolden, WithExactActivationsItIsTheReference)
{
    for (enum cpu_isa isa : {CPU_SCALAR, CPU_BEST}) {
        Engine e(model().path, [&](auto &c) {
            exact(c);
            c.isa = isa;
        });
        Answer a = e.run(job());
        EXPECT_EQ(a.tokens, prompt().greedy);
        Distance d = distance(a.logits, prompt().logits, model().vocab);
        printf("%s, %s: worst relative difference %.2e\n", model().name.c_str(),
               cpu_isa_name(isa), d.worst);
        EXPECT_LE(d.worst, 1e-4);
    }
}

/* Activations of 8 bits: each is off by up to 1/250 of its block's largest, over two or three
 * layers; seen: 0.8 to 2.1 percent of the largest logit in the mean, at most 5.3. */
TEST_P(GgufGolden, WithEightBitActivationsItComesClose)
{
    Engine e(model().path, [&](auto &c) {
        c.routing = {const_cast<golden::Prompt *>(&prompt()), golden_experts};
    });
    Answer a = e.run(job_of(prompt().tokens(), 1));
    Distance d = distance(a.logits, prompt().logits, model().vocab);
    printf("%s: relative difference %.2e, worst %.2e\n", model().name.c_str(), d.mean, d.worst);
    EXPECT_LE(d.mean, 0.03);
    EXPECT_LE(d.worst, 0.08);
}

/* Invariant 1 in both modes: chunks, threads, ring and instruction set. */
TEST_P(GgufGolden, ChunksThreadsAndTheRingChangeNoBit)
{
    for (bool is_exact : {false, true}) {
        Answer whole = Engine(model().path, [&](auto &c) {
                           c.exact_activations = is_exact;
                       }).run(job());
        for (uint32_t chunk : {1u, 3u}) {
            Engine e(model().path, [&](auto &c) {
                c.exact_activations = is_exact;
                c.threads = 2;
                c.device_experts = Engine::pages(chunk + 2);
                c.io = IO_THREAD;
            });
            Answer a = e.run(job(chunk));
            EXPECT_EQ(a.tokens, whole.tokens) << "chunk " << chunk;
            EXPECT_EQ(a.logits, whole.logits) << "chunk " << chunk;
        }
        if (is_exact) /* instruction sets differ in the last bits there */
            continue;
        Answer scalar = Engine(model().path, [](auto &c) { c.isa = CPU_SCALAR; }).run(job());
        EXPECT_LE(distance(scalar.logits, whole.logits, model().vocab).worst, 0.06);
    }
}

TEST_P(GgufGolden, TouchesTheGoldenExperts)
{
    Engine e(model().path, exact);
    Answer a = e.run(job());
    uint32_t position = 0;
    for (size_t step = 0; step < a.usage.size(); step++) {
        uint32_t end = position + a.step_tokens[step];
        EXPECT_EQ(a.usage[step].hits + a.usage[step].misses, prompt().pages_touched(position, end))
            << "positions from " << position;
        position = end;
    }
}

std::string name_of(const testing::TestParamInfo<size_t> &info)
{
    return golden::gguf_models()[info.param].name;
}

INSTANTIATE_TEST_SUITE_P(Files, GgufGolden, testing::Range<size_t>(0, golden::gguf_models().size()),
                         name_of);

TEST(Gguf, SaysWhatItIs)
{
    Engine e(golden::gguf_model("qwen2moe_mixed").path);
    const struct engine_info *info = engine_info(e.engine);
    EXPECT_STREQ(info->model_name, "qwen2moe_mixed");
    EXPECT_STREQ(info->architecture, "qwen2_moe");
    EXPECT_STREQ(info->weight_dtype, "F16+Q8_0+Q4_0+Q4_K+Q5_K+Q6_K");
    EXPECT_EQ(info->experts, 3u);
    EXPECT_EQ(engine_tokenizer(e.engine), nullptr); /* prompts are ids */
}

/* Pages that differ in size by layer have slots of their own; a token's bytes are those in
 * memory. */
TEST(Gguf, MixedPagesAreCountedAsTheyAre)
{
    Engine mixed(golden::gguf_model("qwen2moe_mixed").path);
    Engine pure(golden::gguf_model("olmoe_q8_0").path);
    const struct engine_info *info = engine_info(pure.engine);
    uint64_t page = 3 * 64 * 32 / 32 * 34;
    EXPECT_EQ(info->page_bytes_total, info->pages * ((page + 4095) / 4096 * 4096));
    EXPECT_GT(info->token_bytes, info->layers * info->top_k * page);
    EXPECT_LT(info->token_bytes, info->dense_bytes + info->layers * info->top_k * page);
    EXPECT_EQ(engine_info(mixed.engine)->device_slots, 9u);
}

std::vector<uint32_t> encode(const struct tokenizer *t, const std::string &text)
{
    struct token_list list = {};
    struct error error = {};
    EXPECT_EQ(tokenizer_encode(t, text.data(), text.size(), true, false, &list, &error), STATUS_OK)
        << error.text;
    std::vector<uint32_t> ids(list.ids, list.ids + list.count);
    token_list_reset(&list);
    return ids;
}

/* The file's own tokenizer, end tokens and chat template. Ids are those that the script gave
 * out. */
TEST(Gguf, BringsItsTokenizer)
{
    Engine gpt2(golden::gguf_model("olmoe_q4_0").path);
    const struct tokenizer *t = engine_tokenizer(gpt2.engine);
    ASSERT_NE(t, nullptr);
    EXPECT_EQ(encode(t, "hello"), std::vector<uint32_t>{256 + 3});
    EXPECT_STREQ(tokenizer_chat_template(t), "{{ messages }}");
    ASSERT_EQ(engine_info(gpt2.engine)->eos_count, 1u);
    EXPECT_EQ(engine_info(gpt2.engine)->eos[0], 287u);

    Engine spm(golden::gguf_model("llama_q4_0").path);
    t = engine_tokenizer(spm.engine);
    ASSERT_NE(t, nullptr);
    EXPECT_EQ(encode(t, "hello"), (std::vector<uint32_t>{1, 259 + 9}));
    ASSERT_EQ(engine_info(spm.engine)->eos_count, 1u);
    EXPECT_EQ(engine_info(spm.engine)->eos[0], 2u);
}

/* A model of plain numbers in blocks of eight bits comes closer to itself than in blocks of
 * four. */
TEST(Quantize, ComesCloseToTheModel)
{
    const golden::Model &model = golden::gguf_model("qwen2moe_f16");
    golden::Prompt prompt = model.prompts[0];
    auto run = [&](enum dtype to, bool exact) {
        Engine e(model.path, [&](auto &c) {
            c.quantize = to;
            c.exact_activations = exact;
            c.routing = {&prompt, golden_experts};
        });
        EXPECT_STREQ(engine_info(e.engine)->weight_dtype, dtype_info(to)->name);
        return distance(e.run(job_of(prompt.tokens(), 1)).logits, prompt.logits, model.vocab);
    };
    Distance q8 = run(DTYPE_Q8_0, true), q4 = run(DTYPE_Q4_0, true);
    printf("Q8_0 %.2e, Q4_0 %.2e\n", q8.mean, q4.mean);
    EXPECT_LE(q8.mean, 0.04);
    EXPECT_LE(q4.mean, 0.4);
    EXPECT_LT(q8.mean, q4.mean);
    EXPECT_LE(run(DTYPE_Q8_0, false).mean, 0.06);
}

/* What is encoded while it is read takes the memory that it needs then, and travels as it is. */
TEST(Quantize, BudgetsWhatItWillTake)
{
    const golden::Model &model = golden::gguf_model("qwen2moe_f16");
    Engine plain(model.path), small(model.path, [](auto &c) { c.quantize = DTYPE_Q4_0; });
    Engine ring(model.path, [](auto &c) {
        c.quantize = DTYPE_Q4_0;
        c.device_experts = Engine::pages(3);
        c.host_experts = Engine::pages(4);
    });
    EXPECT_LT(engine_info(small.engine)->dense_bytes, engine_info(plain.engine)->dense_bytes);
    EXPECT_LT(engine_info(small.engine)->page_bytes_total,
              engine_info(plain.engine)->page_bytes_total);
    Job job = job_of(model.prompts[0].prompt, 12);
    Answer want = small.run(job), got = ring.run(job);
    EXPECT_EQ(got.logits, want.logits);
    struct engine_stats stats = ring.stats();
    uint64_t file_page = 3 * 32 * 32 * 2; /* F16: bytes read are those of the file */
    EXPECT_EQ(stats.experts.bytes % file_page, 0u);
    EXPECT_GT(stats.experts.bytes, 0u);
}

TEST(Quantize, RefusesWhatItCannotDo)
{
    try {
        Engine e(golden::gguf_model("olmoe_q8_0").path, [](auto &c) { c.quantize = DTYPE_Q4_0; });
        FAIL() << "nothing there is plain";
    } catch (const std::runtime_error &error) {
        EXPECT_EQ(std::string(error.what()).find("INVALID"), 0u) << error.what();
        EXPECT_NE(std::string(error.what()).find("Q4_0"), std::string::npos) << error.what();
    }
}

} // namespace
