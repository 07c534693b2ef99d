#include "engine/sequence.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

namespace {

class Sequence : public testing::Test {
protected:
    Sequence() { sampler_params_init(&params_); }
    ~Sequence() override { sequence_close(s_, nullptr); }
    enum status open(const std::vector<uint32_t> &prompt, uint32_t tokens_max)
    {
        return sequence_open(&s_, prompt.data(), (uint32_t)prompt.size(), tokens_max, &params_, 50,
                             &error_);
    }
    struct sampler_params params_;
    struct error error_ = {};
    struct sequence *s_ = nullptr;
};

TEST_F(Sequence, KnowsItsPromptAndNothingComputed)
{
    std::vector<uint32_t> prompt = {4, 5, 6};
    ASSERT_EQ(open(prompt, 10), STATUS_OK);
    prompt[0] = 99; /* it has a copy */
    EXPECT_EQ(s_->count, 3u);
    EXPECT_EQ(s_->computed, 0u);
    EXPECT_EQ(s_->table.count, 0u);
    EXPECT_EQ(std::vector<uint32_t>(s_->tokens, s_->tokens + 3), (std::vector<uint32_t>{4, 5, 6}));
}

TEST_F(Sequence, AppendsUntilItIsFull)
{
    ASSERT_EQ(open({1}, 3), STATUS_OK);
    for (uint32_t token : {7u, 8u, 9u})
        sequence_append(s_, token);
    EXPECT_EQ(s_->count, 3u);
    EXPECT_EQ(s_->tokens[1], 7u);
    EXPECT_EQ(s_->tokens[2], 8u);
}

/* What was sampled counts for penalties as output, the prompt for repetition only. */
TEST_F(Sequence, TellsItsSamplerOfPromptAndOutput)
{
    params_.temperature = 0;
    params_.repetition_penalty = 4;
    params_.presence_penalty = 2;
    ASSERT_EQ(open({0}, 8), STATUS_OK);
    sequence_append(s_, 1);
    std::vector<struct sampler_candidate> scratch(50);
    struct sampled out;
    auto pick = [&](float prompt, float output, float fresh) {
        std::vector<float> logits(50, -100);
        logits[0] = prompt;
        logits[1] = output;
        logits[2] = fresh;
        EXPECT_EQ(sampler_sample(s_->sampler, logits.data(), nullptr, scratch.data(), &out,
                                 nullptr), STATUS_OK);
        return out.token;
    };
    EXPECT_EQ(pick(8, 1, 1.9f), 0u);   /* 8 / 4 = 2 */
    EXPECT_EQ(pick(8, 1, 2.1f), 2u);
    EXPECT_EQ(pick(-90, 16, 1.9f), 1u); /* 16 / 4 - 2 = 2 */
    EXPECT_EQ(pick(-90, 16, 2.1f), 2u);
}

TEST_F(Sequence, BadSamplingIsToldByName)
{
    params_.top_p = NAN;
    EXPECT_EQ(open({1}, 3), STATUS_INVALID);
    EXPECT_NE(std::string(error_.text).find("top_p"), std::string::npos) << error_.text;
    EXPECT_EQ(s_, nullptr);
}

TEST(SequenceClose, AcceptsNull)
{
    sequence_close(nullptr, nullptr);
}

} // namespace
