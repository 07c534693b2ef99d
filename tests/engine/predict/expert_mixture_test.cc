#include "engine/predict/expert_mixture.h"

#include <gtest/gtest.h>

#include <set>

#include "engine/predict/previous.h"
#include "engine/predict/transition.h"
#include "tests/engine/predict/toy_runs.h"

namespace {

// Says what it is given, and counts how often it is asked, and about which layers.
struct Member {
    struct predictor base; // first: it is what the mixture sees
    float right = 0.5f;    // probability given to what will be used; 1 - right to the rest
    bool knows = true;
    uint32_t *layer = nullptr; // the present one
    std::vector<uint32_t> *next = nullptr;
    uint32_t asked = 0, experts = 0;
    std::set<uint32_t> layers;
};

bool say(struct predictor *predictor, uint32_t distance, float *probability)
{
    Member *m = reinterpret_cast<Member *>(predictor);
    m->asked++;
    m->layers.insert(*m->layer);
    if (!m->knows)
        return false;
    for (uint32_t e = 0; e < m->experts; e++)
        probability[e] = 1 - m->right;
    for (uint32_t e : *m->next)
        probability[e] = m->right;
    return true;
}

class ExpertMixture : public testing::Test {
protected:
    ~ExpertMixture() override { expert_mixture_close(&mixture_); }
    void open(uint32_t count, uint32_t layers)
    {
        layers_ = layers;
        struct predictor *members[EXPERT_MIXTURE_MAX];
        for (uint32_t i = 0; i < count; i++) {
            member_[i].base.ops = &ops_;
            member_[i].layer = &layer_;
            member_[i].next = &next_;
            member_[i].experts = EXPERTS;
            members[i] = &member_[i].base;
        }
        ASSERT_EQ(expert_mixture_open(&mixture_, members, count, layers, EXPERTS, nullptr),
                  STATUS_OK);
    }
    // Runs the layers in turn; what comes is random, and members know it beforehand.
    void run(int runs, bool prefill = false)
    {
        for (int i = 0; i < runs; i++) {
            std::vector<float> used(EXPERTS);
            for (uint32_t e : next_)
                used[e] = 1;
            toy::Run run(layer_, next_, 1, prefill);
            expert_mixture_score(&mixture_, run.get(), used.data());
            next_ = random_.some(EXPERTS, 2);
            said_ = expert_mixture_experts(&mixture_, 1, probability_);
            layer_ = (layer_ + 1) % layers_;
        }
    }
    static constexpr uint32_t EXPERTS = 8;
    struct predictor_ops ops_ = {"member", nullptr, nullptr, nullptr, say, nullptr};
    struct expert_mixture mixture_ = {};
    Member member_[EXPERT_MIXTURE_MAX];
    std::vector<uint32_t> next_ = {0, 1};
    toy::Random random_{1};
    uint32_t layer_ = 0, layers_ = 1;
    float probability_[EXPERTS];
    bool said_ = false;
};

TEST_F(ExpertMixture, BelievesTheBetterOfTwo)
{
    for (int better = 0; better < 2; better++) {
        open(2, 5);
        member_[better].right = 0.9f;
        member_[1 - better].right = 0.6f;
        run(1000);
        EXPECT_EQ(mixture_.believed, static_cast<uint32_t>(better));
        ASSERT_TRUE(said_);
        EXPECT_FLOAT_EQ(probability_[next_[0]], 0.9f);
        EXPECT_NEAR(mixture_.total[better].loss, -std::log(0.9), 1e-3);
        EXPECT_NEAR(mixture_.total[1 - better].loss, -std::log(0.6), 1e-3);
        expert_mixture_close(&mixture_);
    }
}

TEST_F(ExpertMixture, ChangesItsMindWhenTheyChange)
{
    open(2, 5);
    member_[0].right = 0.9f;
    member_[1].right = 0.7f;
    run(1000);
    EXPECT_EQ(mixture_.believed, 0u);
    member_[0].right = 0.6f;
    run(1000);
    EXPECT_EQ(mixture_.believed, 1u);
    member_[0].right = 0.95f;
    run(2000);
    EXPECT_EQ(mixture_.believed, 0u);
}

TEST_F(ExpertMixture, DoesNotChangeForLittle)
{
    open(2, 5);
    member_[0].right = 0.8f;
    member_[1].right = 0.8f;
    run(500);
    EXPECT_EQ(mixture_.believed, 0u) << "the cheapest of equals";
    member_[1].right = 0.803f; // its loss is 1.7 % less
    run(5000);
    EXPECT_EQ(mixture_.believed, 0u);
    member_[1].right = 0.82f; // 11 %
    run(5000);
    EXPECT_EQ(mixture_.believed, 1u);
    member_[0].right = 0.823f;
    run(5000);
    EXPECT_EQ(mixture_.believed, 1u);
}

TEST_F(ExpertMixture, AsksTheOthersSeldomAndInEveryLayer)
{
    for (uint32_t layers : {5u, 7u, 28u, 77u, 1001u}) {
        open(3, layers);
        member_[1].right = 0.9f;
        run(static_cast<int>(layers) * 150); /* each layer makes up its mind */
        uint32_t others = member_[0].asked, believed = member_[1].asked;
        member_[0].layers.clear();
        int runs = static_cast<int>(layers) * 20;
        run(runs);
        EXPECT_EQ(member_[1].asked - believed, static_cast<uint32_t>(runs));
        EXPECT_LE(member_[0].asked - others, static_cast<uint32_t>(runs) / 7 + 1) << layers;
        EXPECT_GE(member_[0].asked - others, static_cast<uint32_t>(runs) / 20) << layers;
        EXPECT_EQ(member_[0].layers.size(), layers) << "not the same few for ever";
        expert_mixture_close(&mixture_);
    }
}

TEST_F(ExpertMixture, TurnsToTheNextWhereTheBelievedCannotSay)
{
    open(3, 4);
    member_[0].right = 0.9f;
    member_[2].right = 0.7f;
    run(500);
    EXPECT_EQ(mixture_.believed, 0u);
    member_[0].knows = member_[1].knows = false;
    run(1);
    ASSERT_TRUE(said_);
    EXPECT_FLOAT_EQ(probability_[next_[0]], 0.7f);
    EXPECT_TRUE(expert_mixture_experts(&mixture_, 2, probability_));
    EXPECT_FLOAT_EQ(probability_[next_[0]], 0.7f);
    member_[2].knows = false;
    run(1);
    EXPECT_FALSE(said_);
    EXPECT_FALSE(expert_mixture_experts(&mixture_, 2, probability_));
}

TEST_F(ExpertMixture, AsksOneOnlyFurtherAhead)
{
    open(2, 4);
    member_[1].right = 0.9f;
    run(1000);
    uint32_t others = member_[0].asked, believed = member_[1].asked;
    for (int i = 0; i < 20; i++)
        EXPECT_TRUE(expert_mixture_experts(&mixture_, 3, probability_));
    EXPECT_EQ(member_[0].asked, others);
    EXPECT_EQ(member_[1].asked, believed + 20);
}

TEST_F(ExpertMixture, PromptsAreNotScored)
{
    open(2, 4);
    run(200);
    float loss = mixture_.total[0].loss;
    uint32_t scored = mixture_.total[0].runs;
    member_[0].right = 0.99f;
    run(100, true);
    EXPECT_EQ(mixture_.total[0].loss, loss);
    EXPECT_EQ(mixture_.total[0].runs, scored);
}

// The real ones. Where there is nothing to learn, whoever learns least is best, and what is
// believed loses little to popularity alone; where layers follow from each other it is the other
// one.
TEST(ExpertMixtureOfTwo, LosesLittleOnNoiseAndFindsSteps)
{
    const uint32_t layers = 4, experts = 32;
    for (bool noise : {true, false}) {
        struct history history;
        struct predictor *member[2];
        struct expert_mixture mixture;
        ASSERT_EQ(history_open(&history, layers, experts, 4, nullptr), STATUS_OK);
        ASSERT_EQ(previous_open(&member[0], &history, 1 << 20, nullptr), STATUS_OK);
        ASSERT_EQ(transition_open(&member[1], &history, 2, 1 << 22, nullptr), STATUS_OK);
        ASSERT_EQ(expert_mixture_open(&mixture, member, 2, layers, experts, nullptr), STATUS_OK);
        toy::Random random(2);
        toy::Score score, popularity;
        std::vector<float> told(experts), p(experts, 0.125f);
        uint32_t kind = 0;
        for (int i = 0; i < 32000; i++) {
            uint32_t layer = i % layers;
            kind = layer == 0 ? random.below(8) : kind;
            std::vector<uint32_t> used = random.some(experts, 4);
            if (!noise)
                for (uint32_t j = 0; j < 4; j++)
                    used[j] = (kind * (2 * layer + 1) % 8) * 4 + j;
            toy::Run run(layer, used);
            if (i > 16000 && layer > 0) {
                score.add(told, used);
                popularity.add(p, used);
            }
            history_observe(&history, run.get());
            expert_mixture_score(&mixture, run.get(), history.used);
            for (struct predictor *m : member)
                m->ops->observe(m, run.get());
            ASSERT_TRUE(expert_mixture_experts(&mixture, 1, told.data()));
        }
        EXPECT_EQ(mixture.believed, noise ? 0u : 1u);
        EXPECT_LT(score.loss(), (noise ? 1.03 : 0.2) * popularity.loss());
        expert_mixture_close(&mixture);
        predictor_close(member[0]);
        predictor_close(member[1]);
        history_close(&history);
    }
}

TEST_F(ExpertMixture, NobodyIsBelievedAtFirst)
{
    open(2, 4);
    EXPECT_EQ(mixture_.believed, EXPERT_MIXTURE_NONE);
    run(1);
    EXPECT_TRUE(said_) << "the cheapest speaks meanwhile";
    EXPECT_EQ(mixture_.believed, EXPERT_MIXTURE_NONE);
    member_[0].right = 1.0f; // certain and right: the loss stays finite
    member_[1].right = 0.0f; // certain and wrong
    run(1000);
    EXPECT_EQ(mixture_.believed, 0u);
    EXPECT_TRUE(std::isfinite(mixture_.total[1].loss));
    struct expert_mixture zeroed = {};
    expert_mixture_close(&zeroed);
}

} // namespace
