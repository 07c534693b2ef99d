/* The engine against tests/golden/models: logits at every position, greedy continuations, and the
 * experts that the steps touched. */
#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "tests/engine/engine_harness.h"
#include "tests/support/golden.h"

namespace {

class Golden : public testing::TestWithParam<size_t> {
protected:
    const golden::Model &model() const { return golden::models()[GetParam()]; }
    static Job job(const golden::Prompt &prompt, uint32_t chunk = 1 << 20)
    {
        Job job;
        job.prompt = prompt.prompt;
        job.count = (uint32_t)prompt.greedy.size();
        job.chunk = chunk;
        return job;
    }
};

/* Within 1e-4 of the largest logit of the position, each and every one. Returns the worst ratio. */
double expect_near(const std::vector<float> &got, const std::vector<float> &want, uint32_t vocab)
{
    double worst = 0;
    EXPECT_EQ(got.size(), want.size());
    if (got.size() != want.size())
        return INFINITY;
    for (size_t p = 0; p < want.size(); p += vocab) {
        double scale = 0, difference = 0;
        for (size_t i = p; i < p + vocab; i++) {
            scale = std::max(scale, std::fabs((double)want[i]));
            difference = std::max(difference, std::fabs((double)got[i] - want[i]));
        }
        EXPECT_LE(difference, 1e-4 * scale) << "position " << p / vocab;
        worst = std::max(worst, difference / scale);
    }
    return worst;
}

TEST_P(Golden, LogitsAndGreedyTokens)
{
    for (int isa = CPU_SCALAR; isa < CPU_ISA_COUNT; isa++) {
        std::unique_ptr<Engine> e;
        try {
            e = std::make_unique<Engine>(model().path,
                                         [&](auto &c) { c.isa = (enum cpu_isa)isa; });
        } catch (const std::runtime_error &error) { /* scalar runs everywhere; others say so */
            ASSERT_NE(isa, CPU_SCALAR) << error.what();
            ASSERT_EQ(std::string(error.what()).find("UNSUPPORTED"), 0u) << error.what();
            printf("skipped: %s\n", error.what());
            continue;
        }
        for (const golden::Prompt &prompt : model().prompts) {
            Answer a = e->run(job(prompt));
            EXPECT_EQ(a.tokens, prompt.greedy);
            double worst = expect_near(a.logits, prompt.logits, model().vocab);
            printf("%s %s: %u positions, worst relative difference %.2e\n", model().name.c_str(),
                   cpu_isa_name((enum cpu_isa)isa), prompt.positions, worst);
        }
    }
}

TEST_P(Golden, PrefillInChunksChangesNoBit)
{
    Engine e(model().path);
    for (const golden::Prompt &prompt : model().prompts) {
        Answer whole = e.run(job(prompt));
        EXPECT_EQ(whole.tokens, prompt.greedy);
        for (uint32_t chunk : {1u, 3u, 7u}) {
            Answer a = e.run(job(prompt, chunk));
            EXPECT_EQ(a.tokens, whole.tokens) << "chunk " << chunk;
            EXPECT_EQ(a.logits, whole.logits) << "chunk " << chunk;
        }
    }
}

/* Which experts were asked for, step by step: the golden's distinct ones, no more and no fewer. */
TEST_P(Golden, TouchesTheGoldenExperts)
{
    Engine e(model().path);
    for (const golden::Prompt &prompt : model().prompts)
        for (uint32_t chunk : {1u, 7u, 1u << 20}) {
            Answer a = e.run(job(prompt, chunk));
            uint32_t position = 0;
            for (size_t step = 0; step < a.usage.size(); step++) {
                uint32_t end = position + a.step_tokens[step];
                EXPECT_EQ(a.usage[step].hits + a.usage[step].misses,
                          prompt.pages_touched(position, end)) << "positions from " << position;
                position = end;
            }
            EXPECT_EQ(position, prompt.positions);
        }
}

std::string name_of(const testing::TestParamInfo<size_t> &info)
{
    return golden::models()[info.param].name;
}

INSTANTIATE_TEST_SUITE_P(Models, Golden, testing::Range<size_t>(0, golden::models().size()),
                         name_of);

} // namespace
