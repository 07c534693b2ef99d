/* The sampler against a plain reference: everything in double, everything sorted, one list. Both
 * take the same uniform number, so they must agree on the very token, not only on frequencies. */
#include "engine/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "engine/backend/backend.h"

namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

struct sampler_params params_with(float temperature, uint32_t top_k = 0, float top_p = 1,
                                  float min_p = 0)
{
    struct sampler_params params;
    sampler_params_init(&params);
    params.temperature = temperature;
    params.top_k = top_k;
    params.top_p = top_p;
    params.min_p = min_p;
    params.seed = 42;
    params.has_seed = true;
    return params;
}

class Sampler
{
  public:
    Sampler(const struct sampler_params &params, uint32_t vocab) : scratch_(vocab + 1)
    {
        scratch_[vocab] = {-77.0f, 77};
        struct error error = {};
        EXPECT_EQ(sampler_open(&sampler_, &params, vocab, &error), STATUS_OK) << error.text;
    }
    ~Sampler()
    {
        EXPECT_EQ(scratch_.back().token, 77u) << "wrote beyond its scratch";
        sampler_close(sampler_);
    }
    enum status sample(std::vector<float> logits, struct sampled *out,
                       const std::vector<uint32_t> &banned = {}, struct error *error = nullptr,
                       const std::vector<uint32_t> &allowed = {})
    {
        struct sampler_rule rule = {banned.empty() ? nullptr : banned.data(),
                                    static_cast<uint32_t>(banned.size()),
                                    allowed.empty() ? nullptr : allowed.data()};
        return sampler_sample(sampler_, logits.data(), &rule, scratch_.data(), out, error);
    }
    uint32_t token(const std::vector<float> &logits, const std::vector<uint32_t> &banned = {})
    {
        struct sampled out;
        struct error error = {};
        EXPECT_EQ(sample(logits, &out, banned, &error), STATUS_OK) << error.text;
        return out.token;
    }
    void observe(const std::vector<uint32_t> &tokens, bool output)
    {
        sampler_observe(sampler_, tokens.data(), static_cast<uint32_t>(tokens.size()), output);
    }
    bool draw(struct draw *out) { return sampler_draw(sampler_, out); }

  private:
    struct sampler *sampler_ = nullptr;
    std::vector<struct sampler_candidate> scratch_;
};

struct Candidate {
    double value, weight;
    uint32_t token;
};

/* The tokens that may be drawn, in the order in which the draw walks them. */
std::vector<Candidate> reference_kept(const std::vector<float> &logits,
                                      const struct sampler_params &params)
{
    std::vector<Candidate> all;
    for (uint32_t i = 0; i < logits.size(); i++)
        if (logits[i] != -kInf)
            all.push_back({logits[i], 0, i});
    std::vector<Candidate> sorted = all;
    std::stable_sort(sorted.begin(), sorted.end(),
                     [](const Candidate &a, const Candidate &b) { return a.value > b.value; });
    double max = sorted[0].value;
    bool in_order_of_value = params.top_p < 1;
    if (params.top_k > 0 && params.top_k < sorted.size()) {
        sorted.resize(params.top_k);
        in_order_of_value = true;
    }
    double total = 0, mass = 0;
    for (Candidate &c : sorted)
        total += c.weight = std::exp((c.value - max) / params.temperature);
    size_t kept = 0;
    while (kept < sorted.size() && (params.top_p == 1 || mass < params.top_p * total))
        mass += sorted[kept++].weight;
    sorted.resize(kept);
    while (sorted.back().weight < params.min_p)
        sorted.pop_back();
    if (!in_order_of_value)
        std::sort(sorted.begin(), sorted.end(),
                  [](const Candidate &a, const Candidate &b) { return a.token < b.token; });
    return sorted;
}

uint32_t reference_draw(const std::vector<Candidate> &kept, double uniform)
{
    double total = 0, sum = 0;
    for (const Candidate &c : kept)
        total += c.weight;
    for (const Candidate &c : kept)
        if ((sum += c.weight) > uniform * total)
            return c.token;
    return kept.back().token;
}

std::vector<float> random_logits(std::mt19937 &rng, uint32_t vocab, bool with_ties)
{
    std::normal_distribution<float> normal(0, 3);
    std::vector<float> logits(vocab);
    for (float &l : logits) {
        l = normal(rng);
        if (with_ties)
            l = std::round(l);
        if (rng() % 16 == 0)
            l = -kInf;
    }
    logits[rng() % vocab] = 1.0f; /* one at least is finite */
    return logits;
}

TEST(Sampler, DrawsWhatThePlainReferenceDraws)
{
    for (uint32_t seed = 0; seed < 3000; seed++) {
        std::mt19937 rng(seed);
        auto pick = [&rng](std::vector<float> of) { return of[rng() % of.size()]; };
        uint32_t vocab = 1 + rng() % 300;
        std::vector<float> logits = random_logits(rng, vocab, seed % 2);
        struct sampler_params params =
            params_with(pick({0.01f, 0.5f, 1, 1, 1.7f, 100}),
                        static_cast<uint32_t>(pick({0, 0, 1, 2, 7, 40, 299, 1e6})),
                        pick({1, 1, 0.95f, 0.5f, 0.1f, 1e-6f, 0.9999f}),
                        pick({0, 0, 0.05f, 0.3f, 1}));
        params.seed = seed;
        Sampler sampler(params, vocab);
        std::vector<Candidate> kept = reference_kept(logits, params);
        for (uint64_t n = 0; n < 4; n++)
            ASSERT_EQ(sampler.token(logits), reference_draw(kept, sampler_uniform(seed, n)))
                << "seed " << seed << " draw " << n << " vocab " << vocab << " temperature "
                << params.temperature << " top_k " << params.top_k << " top_p " << params.top_p
                << " min_p " << params.min_p;
    }
}

TEST(Sampler, DrawsWhatThePlainReferenceDrawsFromLargeVocabularies)
{
    const std::vector<struct sampler_params> cases = {
        params_with(1),           params_with(0.7f, 0, 1, 0.01f),  params_with(1, 40),
        params_with(1, 20, 0.9f), params_with(1, 5000, 1, 1e-4f),  params_with(2, 5000, 0.8f),
        params_with(1, 0, 0.95f), params_with(30, 0, 0.95f),       params_with(0.2f, 0, 0.999f),
        params_with(1, 30000),    params_with(1, 39990, 0.99999f),
    };
    for (uint32_t seed = 0; seed < 6; seed++) {
        std::mt19937 rng(seed);
        const uint32_t vocab = 40000 + rng() % 200;
        std::vector<float> logits = random_logits(rng, vocab, seed % 2);
        for (struct sampler_params params : cases) {
            params.seed = seed;
            Sampler sampler(params, vocab);
            std::vector<Candidate> kept = reference_kept(logits, params);
            for (uint64_t n = 0; n < 12; n++)
                ASSERT_EQ(sampler.token(logits), reference_draw(kept, sampler_uniform(seed, n)))
                    << "seed " << seed << " draw " << n << " temperature " << params.temperature
                    << " top_k " << params.top_k << " top_p " << params.top_p;
        }
    }
}

TEST(Sampler, GreedyTakesTheHighestAndOfTiesTheLowestId)
{
    Sampler greedy(params_with(0), 5);
    EXPECT_EQ(greedy.token({1, 3, 3, 2, 3}), 1u);
    EXPECT_EQ(greedy.token({-5, -4, -kInf, -4, -9}), 1u);
    EXPECT_EQ(greedy.token({-0.0f, 0.0f, -1, -1, -1}), 0u);
    EXPECT_EQ(greedy.token({1, 3, 3, 2, 3}, {1, 2}), 4u);
    EXPECT_EQ(greedy.token({1, 3, 3, 2, 3}, {1, 2, 4, 1000}), 3u);
    Sampler top_1(params_with(5, 1), 5);
    for (int i = 0; i < 50; i++)
        EXPECT_EQ(top_1.token({1, 3, 3, 2, 3}), 1u);
    Sampler tiny_top_p(params_with(1, 0, 1e-9f), 5);
    for (int i = 0; i < 50; i++)
        EXPECT_EQ(tiny_top_p.token({1, 3, 3, 2, 3}), 1u);
    Sampler cold(params_with(1e-30f), 5);
    for (int i = 0; i < 50; i++)
        EXPECT_EQ(cold.token({1, 3, 2.9999998f, 2, 2}), 1u);
}

TEST(Sampler, TopKKeepsExactlyKAndOfTiesTheLowestIds)
{
    Sampler sampler(params_with(1, 3), 6);
    std::map<uint32_t, int> drawn;
    for (int i = 0; i < 2000; i++)
        drawn[sampler.token({0, 1, 0, 0, 0, 0})]++;
    ASSERT_EQ(drawn.size(), 3u);
    EXPECT_TRUE(drawn.count(0) && drawn.count(1) && drawn.count(2));
}

TEST(Sampler, TopPKeepsTheSmallestSetThatReachesIt)
{
    const std::vector<float> half_quarter_eighths = {std::log(0.125f), std::log(0.5f),
                                                     std::log(0.125f), std::log(0.25f)};
    for (auto [top_p, size] :
         std::map<float, size_t>{{0.49f, 1}, {0.6f, 2}, {0.74f, 2}, {0.8f, 3}, {0.9f, 4}}) {
        Sampler sampler(params_with(1, 0, top_p), 4);
        std::map<uint32_t, int> drawn;
        for (int i = 0; i < 500; i++)
            drawn[sampler.token(half_quarter_eighths)]++;
        EXPECT_EQ(drawn.size(), size) << top_p;
        EXPECT_TRUE(drawn.count(1));
    }
}

TEST(Sampler, MinPIsRelativeToTheBestAfterTemperature)
{
    const std::vector<float> logits = {0, std::log(0.5f), std::log(0.2f), std::log(0.1f)};
    auto distinct = [&logits](const struct sampler_params &params) {
        Sampler sampler(params, 4);
        std::map<uint32_t, int> drawn;
        for (int i = 0; i < 2000; i++)
            drawn[sampler.token(logits)]++;
        return drawn.size();
    };
    EXPECT_EQ(distinct(params_with(1, 0, 1, 0.15f)), 3u);
    EXPECT_EQ(distinct(params_with(1, 0, 1, 0.45f)), 2u);
    EXPECT_EQ(distinct(params_with(1, 0, 1, 1.0f)), 1u);
    EXPECT_EQ(distinct(params_with(2, 0, 1, 0.45f)), 2u); /* 1, .71, .447, .32 */
    EXPECT_EQ(distinct(params_with(2, 0, 1, 0.44f)), 3u);
    EXPECT_EQ(distinct(params_with(1, 3, 1, 0.01f)), 3u);
}

TEST(Sampler, FrequenciesFollowTheSoftmax)
{
    const std::vector<float> logits = {0.3f, -1.0f, 2.0f, 0.0f, 1.1f, -0.4f, 0.9f, -2.0f};
    for (const struct sampler_params &params :
         {params_with(1), params_with(0.7f), params_with(1.5f, 6, 0.97f)}) {
        const int draws = 40000;
        Sampler sampler(params, 8);
        std::map<uint32_t, int> drawn;
        for (int i = 0; i < draws; i++)
            drawn[sampler.token(logits)]++;
        std::vector<Candidate> kept = reference_kept(logits, params);
        double total = 0, chi_square = 0;
        for (const Candidate &c : kept)
            total += c.weight;
        int counted = 0;
        for (const Candidate &c : kept) {
            double expected = draws * c.weight / total;
            chi_square += std::pow(drawn[c.token] - expected, 2) / expected;
            counted += drawn[c.token];
        }
        EXPECT_EQ(counted, draws);
        EXPECT_LT(chi_square, 29.9); /* 7 degrees of freedom: beyond it 1 in 10,000 */
    }
}

TEST(Sampler, UniformIsPureEvenlySpreadAndDiffersBySeed)
{
    double sum = 0;
    std::vector<int> bins(64);
    const int n = 64000;
    for (int i = 0; i < n; i++) {
        double u = sampler_uniform(7, static_cast<uint64_t>(i));
        ASSERT_GE(u, 0);
        ASSERT_LT(u, 1);
        sum += u;
        bins[static_cast<size_t>(u * 64)]++;
    }
    EXPECT_NEAR(sum / n, 0.5, 0.005);
    double chi_square = 0;
    for (int count : bins)
        chi_square += std::pow(count - n / 64, 2) / (n / 64);
    EXPECT_LT(chi_square, 114); /* 63 degrees of freedom: beyond it 1 in 10,000 */
    /* The first draw over neighbouring seeds is as even as the draws of one seed. */
    std::fill(bins.begin(), bins.end(), 0);
    for (int i = 0; i < n; i++)
        bins[static_cast<size_t>(sampler_uniform(static_cast<uint64_t>(i), 0) * 64)]++;
    chi_square = 0;
    for (int count : bins)
        chi_square += std::pow(count - n / 64, 2) / (n / 64);
    EXPECT_LT(chi_square, 114);
    EXPECT_EQ(sampler_uniform(7, 3), sampler_uniform(7, 3));
    EXPECT_NE(sampler_uniform(7, 3), sampler_uniform(8, 3));
    /* A change of the generator changes every client's seeded answers: these are a promise. */
    EXPECT_EQ(sampler_uniform(0, 0), 0x1.4e0dba5e9a32fp-1);
    EXPECT_EQ(sampler_uniform(42, 5), 0x1.1485b98a7ea2p-4);
}

TEST(Sampler, TheSameSeedGivesTheSameTokens)
{
    std::mt19937 rng(1);
    std::vector<std::vector<float>> rows;
    for (int i = 0; i < 64; i++)
        rows.push_back(random_logits(rng, 100, false));
    auto run = [&rows](uint64_t seed) {
        struct sampler_params params = params_with(1, 50, 0.9f);
        params.seed = seed;
        Sampler sampler(params, 100);
        std::vector<uint32_t> tokens;
        for (const std::vector<float> &row : rows)
            tokens.push_back(sampler.token(row));
        return tokens;
    };
    EXPECT_EQ(run(5), run(5));
    EXPECT_NE(run(5), run(6));
}

TEST(Sampler, PenaltiesChangeTheLogitsExactly)
{
    /* Token 0: twice in the output; 1: in the prompt; 2: both; 3: never. */
    struct sampler_params params = params_with(0);
    auto chosen = [&params](const std::vector<float> &logits) {
        Sampler sampler(params, 4);
        sampler.observe({1, 2, 1}, false);
        sampler.observe({0, 2}, true);
        sampler.observe({0}, true);
        return sampler.token(logits);
    };
    params.repetition_penalty = 2; /* positive: halved; negative: doubled */
    EXPECT_EQ(chosen({6, -9, -9, 3.001f}), 3u);
    EXPECT_EQ(chosen({6, -9, -9, 2.999f}), 0u);
    EXPECT_EQ(chosen({-9, 6, -9, 2.999f}), 1u);
    EXPECT_EQ(chosen({-9, 6, -9, 3.001f}), 3u);
    EXPECT_EQ(chosen({-9, -1, -9, -1.999f}), 3u);
    EXPECT_EQ(chosen({-9, -1, -9, -2.001f}), 1u);
    params.repetition_penalty = 1;
    params.presence_penalty = 1.5f; /* the output only, however often */
    EXPECT_EQ(chosen({3, -9, -9, 1.501f}), 3u);
    EXPECT_EQ(chosen({3, -9, -9, 1.499f}), 0u);
    EXPECT_EQ(chosen({-9, 3, -9, 2.999f}), 1u);
    params.presence_penalty = 0;
    params.frequency_penalty = 0.5f; /* times the count in the output */
    EXPECT_EQ(chosen({3, -9, -9, 2.001f}), 3u);
    EXPECT_EQ(chosen({3, -9, -9, 1.999f}), 0u);
    EXPECT_EQ(chosen({-9, -9, 3, 2.499f}), 2u);
    EXPECT_EQ(chosen({-9, -9, 3, 2.501f}), 3u);
    params.frequency_penalty = -2; /* negative ones reward */
    EXPECT_EQ(chosen({0, 3.9f, 1, 3.8f}), 0u);
    params.frequency_penalty = 0.5f;
    params.presence_penalty = 1;
    params.repetition_penalty = 2; /* all three: 8 / 2 - 1 - 2 * 0.5 = 2 */
    EXPECT_EQ(chosen({8, -9, -9, 2.001f}), 3u);
    EXPECT_EQ(chosen({8, -9, -9, 1.999f}), 0u);
}

TEST(Sampler, ExtremePenaltiesLeaveTokensDrawable)
{
    struct sampler_params params = params_with(1);
    for (float penalty : {1e-38f, 3e38f}) {
        params.repetition_penalty = penalty;
        Sampler sampler(params, 2);
        sampler.observe({0, 1}, true);
        EXPECT_LT(sampler.token({-30, 30}), 2u);
        EXPECT_EQ(sampler.token({-30, 30}, {1}), 0u);
        EXPECT_EQ(sampler.token({-kInf, -30}), 1u);
    }
}

TEST(Sampler, LogprobsAreOfTheModelsOwnDistribution)
{
    std::mt19937 rng(3);
    for (int round = 0; round < 50; round++) {
        uint32_t vocab = 1 + rng() % 60;
        std::vector<float> logits = random_logits(rng, vocab, round % 2);
        for (float &l : logits)
            l += 500; /* far from where exp alone would survive */
        struct sampler_params params = params_with(0.6f, 5);
        params.logprobs = true;
        params.top_logprobs = rng() % (SAMPLER_TOP_LOGPROBS_MAX + 1);
        params.repetition_penalty = 1.7f;
        params.frequency_penalty = 1;
        Sampler sampler(params, vocab);
        sampler.observe({0, 0}, true);
        struct sampled out;
        ASSERT_EQ(sampler.sample(logits, &out), STATUS_OK);

        double total = 0;
        std::vector<std::pair<double, uint32_t>> sorted;
        for (uint32_t i = 0; i < vocab; i++)
            total += std::exp(static_cast<double>(logits[i]) - 500);
        for (uint32_t i = 0; i < vocab; i++)
            if (logits[i] != -kInf)
                sorted.push_back({-logits[i], i});
        std::sort(sorted.begin(), sorted.end());
        double log_sum = 500 + std::log(total);
        EXPECT_NEAR(out.logprob, logits[out.token] - log_sum, 1e-6);
        ASSERT_EQ(out.top_count, std::min<size_t>(params.top_logprobs, sorted.size()));
        for (uint32_t i = 0; i < out.top_count; i++) {
            EXPECT_EQ(out.top[i].token, sorted[i].second);
            EXPECT_NEAR(out.top[i].logprob, -sorted[i].first - log_sum, 1e-6);
        }
    }
}

TEST(Sampler, LogprobsKnowNothingOfPenaltiesAndBans)
{
    struct sampler_params params = params_with(0);
    params.top_logprobs = 3;
    params.repetition_penalty = 1.5f;
    Sampler sampler(params, 4);
    sampler.observe({2, 1}, false);
    struct sampled out;
    ASSERT_EQ(sampler.sample({1, 2, 5, 4}, &out, {3}), STATUS_OK);
    double log_sum = std::log(std::exp(1.0) + std::exp(2.0) + std::exp(5.0) + std::exp(4.0));
    EXPECT_EQ(out.token, 2u);
    EXPECT_NEAR(out.logprob, 5 - log_sum, 1e-6);
    ASSERT_EQ(out.top_count, 3u);
    EXPECT_EQ(out.top[0].token, 2u);
    EXPECT_EQ(out.top[1].token, 3u);
    EXPECT_EQ(out.top[2].token, 1u);
    EXPECT_NEAR(out.top[1].logprob, 4 - log_sum, 1e-6);
    EXPECT_EQ(out.top[0].logprob, out.logprob);
    /* A failure reports nothing. */
    EXPECT_EQ(sampler.sample({1, 2, -kInf, 4}, &out, {0, 1, 3}), STATUS_INTERNAL);
    EXPECT_EQ(out.top_count, 0u);
}

TEST(Sampler, LogprobsOnlyWhenAskedFor)
{
    struct sampled out;
    Sampler silent(params_with(0), 2);
    ASSERT_EQ(silent.sample({0, 1}, &out), STATUS_OK);
    EXPECT_EQ(out.logprob, 0);
    EXPECT_EQ(out.top_count, 0u);
    struct sampler_params params = params_with(0);
    params.top_logprobs = 1;
    Sampler implied(params, 2);
    ASSERT_EQ(implied.sample({0, 1}, &out), STATUS_OK);
    EXPECT_NEAR(out.logprob, -0.31326169, 1e-7);
    ASSERT_EQ(out.top_count, 1u);
    EXPECT_EQ(out.top[0].token, 1u);
    EXPECT_EQ(out.top[0].logprob, out.logprob);
}

TEST(Sampler, BadLogitsAndNothingLeftAreInternal)
{
    struct Case {
        std::vector<float> logits;
        std::vector<uint32_t> banned;
        const char *text;
    };
    for (float temperature : {0.0f, 1.0f})
        for (const Case &t : std::vector<Case>{{{0, kNan, 0}, {}, "token 1"},
                                               {{0, 0, -kNan}, {}, "token 2"},
                                               {{kInf, 0, 0}, {}, "token 0 is inf"},
                                               {{0, kNan, 0}, {1}, "token 1"},
                                               {{-kInf, -kInf, -kInf}, {}, "no token"},
                                               {{-kInf, 0, -kInf}, {1}, "no token"},
                                               {{0, 1, 2}, {2, 0, 1, 1}, "no token"}}) {
            Sampler sampler(params_with(temperature), 3);
            struct sampled out;
            struct error error = {};
            EXPECT_EQ(sampler.sample(t.logits, &out, t.banned, &error), STATUS_INTERNAL);
            EXPECT_NE(std::string(error.text).find(t.text), std::string::npos) << error.text;
        }
}

TEST(Sampler, ExtremeButFiniteLogits)
{
    const float big = std::numeric_limits<float>::max();
    for (float temperature : {0.0f, 1e-38f, 1.0f, 3e38f}) {
        struct sampler_params params = params_with(temperature);
        params.logprobs = true;
        Sampler sampler(params, 3);
        struct sampled out;
        ASSERT_EQ(sampler.sample({-big, big, -big}, &out), STATUS_OK);
        EXPECT_FALSE(std::isnan(out.logprob));
        if (temperature <= 1) {
            EXPECT_EQ(out.token, 1u);
            EXPECT_EQ(out.logprob, 0);
        }
    }
}

TEST(Sampler, AVocabularyOfOne)
{
    struct sampler_params params = params_with(1, 40, 0.5f, 0.5f);
    params.top_logprobs = 20;
    Sampler sampler(params, 1);
    struct sampled out;
    ASSERT_EQ(sampler.sample({-3}, &out), STATUS_OK);
    EXPECT_EQ(out.token, 0u);
    EXPECT_EQ(out.logprob, 0);
    EXPECT_EQ(out.top_count, 1u);
}

TEST(Sampler, ALargeVocabularyWithAFlatDistribution)
{
    const uint32_t vocab = 151936;
    std::vector<float> flat(vocab, 1.0f);
    Sampler all(params_with(1), vocab);
    Sampler nearly_all(params_with(1, 0, 0.999f), vocab);
    for (int i = 0; i < 3; i++) {
        double u = sampler_uniform(42, static_cast<uint64_t>(i));
        EXPECT_EQ(all.token(flat), static_cast<uint32_t>(u * vocab));
        EXPECT_EQ(nearly_all.token(flat), static_cast<uint32_t>(u * std::ceil(0.999f * vocab)));
    }
}

TEST(Sampler, ADrawForADeviceHasTheParametersAndTheUniformOfTheNextToken)
{
    for (uint32_t top_k : {0u, 1u, 7u}) {
        struct sampler_params params = params_with(0.7f, top_k, 0.9f, 0.1f);
        Sampler sampler(params, 8);
        for (uint64_t n = 0; n < 5; n++) {
            struct draw draw = {};
            ASSERT_TRUE(sampler.draw(&draw));
            EXPECT_EQ(draw.temperature, 0.7f);
            EXPECT_EQ(draw.top_k, top_k);
            EXPECT_EQ(draw.top_p, 0.9f);
            EXPECT_EQ(draw.min_p, 0.1f);
            EXPECT_EQ(draw.uniform, sampler_uniform(params.seed, n));
        }
    }
}

/* Whoever draws, the stream of random numbers goes on at the same place. */
TEST(Sampler, DrawsForADeviceCountAsSampledOnes)
{
    std::mt19937 rng(9);
    for (float temperature : {0.0f, 0.01f, 1.0f})
        for (uint32_t top_k : {0u, 1u, 9u}) {
            struct sampler_params params = params_with(temperature, top_k);
            Sampler sampled(params, 50), mixed(params, 50), open(params, 50);
            for (int n = 0; n < 200; n++) {
                std::vector<float> logits = random_logits(rng, 50, false);
                uint32_t token = sampled.token(logits);
                struct draw draw = {}, unused = {};
                ASSERT_TRUE(open.draw(&draw));
                if (rng() % 2) {
                    ASSERT_EQ(mixed.token(logits), token) << n;
                } else {
                    ASSERT_TRUE(mixed.draw(&unused));
                    ASSERT_EQ(unused.uniform, draw.uniform) << n;
                }
                if (temperature == 0) {
                    ASSERT_EQ(draw.uniform, 0);
                } else if (top_k == 0) {
                    ASSERT_EQ(reference_draw(reference_kept(logits, params), draw.uniform), token);
                }
            }
        }
}

TEST(Sampler, BiasesPenaltiesAndLogprobsAreNotForADevice)
{
    for (void (*set)(struct sampler_params *) : std::vector<void (*)(struct sampler_params *)>{
             [](sampler_params *p) { p->repetition_penalty = 1.1f; },
             [](sampler_params *p) { p->presence_penalty = -0.1f; },
             [](sampler_params *p) { p->frequency_penalty = 0.1f; },
             [](sampler_params *p) { p->logprobs = true; },
             [](sampler_params *p) { p->top_logprobs = 1; },
             [](sampler_params *p) {
                 static const struct sampler_bias none = {3, 0};
                 p->bias = &none;
                 p->bias_count = 1;
             },
         }) {
        struct sampler_params params = params_with(1);
        set(&params);
        Sampler asked(params, 1000), untouched(params, 1000);
        const std::vector<float> flat(1000, 0);
        for (int i = 0; i < 20; i++) {
            struct draw draw = {3, 4, 5, 6, 7};
            ASSERT_FALSE(asked.draw(&draw));
            EXPECT_EQ(draw.temperature, 3);
            EXPECT_EQ(draw.top_k, 4u);
            EXPECT_EQ(draw.top_p, 5);
            EXPECT_EQ(draw.min_p, 6);
            EXPECT_EQ(draw.uniform, 7);
            ASSERT_EQ(asked.token(flat), untouched.token(flat)) << "a draw was lost";
        }
    }
}

struct sampler_params biased(float temperature, const std::vector<struct sampler_bias> &bias)
{
    struct sampler_params params = params_with(temperature);
    params.bias = bias.data();
    params.bias_count = static_cast<uint32_t>(bias.size());
    return params;
}

TEST(Sampler, BiasesAreAddedToTheLogits)
{
    Sampler one(biased(0, {{1, 3.5f}}), 3);
    EXPECT_EQ(one.token({4, 0.49f, 0}), 0u);
    EXPECT_EQ(one.token({4, 0.51f, 0}), 1u);
    EXPECT_EQ(one.token({4, 0.51f, 0}, {1}), 0u) << "what is banned stays banned";
    EXPECT_EQ(one.token({4, -kInf, 0}), 0u) << "what cannot be drawn stays so";
    Sampler twice(biased(0, {{2, 2}, {0, -1}, {2, 2}}), 3); /* of one token they add up */
    EXPECT_EQ(twice.token({4.9f, 0, 0}), 2u);
    EXPECT_EQ(twice.token({5.1f, 0, 0}), 0u);
    /* The copy is the sampler's own. */
    std::vector<struct sampler_bias> list = {{2, 100}};
    Sampler kept(biased(0, list), 3);
    list[0] = {1, 100};
    EXPECT_EQ(kept.token({1, 0, -50}), 2u);
}

TEST(Sampler, TheStrongestBiasesForceAndForbid)
{
    std::mt19937 rng(4);
    std::vector<struct sampler_bias> list = {{7, 100}};
    for (uint32_t i = 0; i < 20; i++)
        list.push_back({20 + i, -100});
    Sampler forced(biased(1, list), 50);
    list.erase(list.begin());
    Sampler forbidden(biased(1.5f, list), 50);
    for (int i = 0; i < 300; i++) {
        std::vector<float> logits(50);
        for (float &l : logits)
            l = (float)(rng() % 4000) / 100 - 20;
        ASSERT_EQ(forced.token(logits), 7u);
        uint32_t token = forbidden.token(logits);
        ASSERT_TRUE(token < 20 || token >= 40) << token;
    }
}

TEST(Sampler, BiasesComeBeforePenaltiesAndBehindLogprobs)
{
    std::vector<struct sampler_bias> list = {{1, 4}, {1, 2}, {2, -3}};
    struct sampler_params params = biased(0, list);
    params.repetition_penalty = 2;
    params.top_logprobs = 3;
    Sampler sampler(params, 4);
    sampler.observe({1}, false);
    struct sampled out;
    ASSERT_EQ(sampler.sample({4, 3, 5, 0}, &out), STATUS_OK); /* token 1: (3 + 6) / 2 = 4.5 */
    double log_sum = std::log(std::exp(4.0) + std::exp(3.0) + std::exp(5.0) + std::exp(0.0));
    EXPECT_EQ(out.token, 1u);
    EXPECT_NEAR(out.logprob, 3 - log_sum, 1e-6) << "the model's own opinion";
    ASSERT_EQ(out.top_count, 3u);
    EXPECT_EQ(out.top[0].token, 2u);
    EXPECT_NEAR(out.top[0].logprob, 5 - log_sum, 1e-6);
}

TEST(Sampler, BadBiasesAreNamed)
{
    auto refused = [](const std::vector<struct sampler_bias> &list) {
        struct sampler_params params = biased(0, list);
        struct sampler *sampler = nullptr;
        struct error error = {};
        EXPECT_EQ(sampler_open(&sampler, &params, 4, &error), STATUS_INVALID);
        EXPECT_EQ(sampler, nullptr);
        return std::string(error.text);
    };
    EXPECT_EQ(refused({{0, 1}, {3, 100.5f}}),
              "\"logit_bias\" of token 3 is 100.5, must be in [-100, 100]");
    EXPECT_NE(refused({{3, kNan}}).find("of token 3 is"), std::string::npos);
    EXPECT_EQ(refused({{0, 1}, {4, 1}}),
              "\"logit_bias\": token 4 is outside the vocabulary of 4");
    EXPECT_EQ(refused(std::vector<struct sampler_bias>(SAMPLER_BIAS_MAX + 1)),
              "\"logit_bias\" has 1025 tokens, may have 1024");
}

TEST(Sampler, OnlyWhatAMaskAllowsIsDrawn)
{
    std::mt19937 rng(8);
    for (int round = 0; round < 200; round++) {
        uint32_t vocab = 1 + rng() % 100; /* words that are full, and a last one that is not */
        std::vector<uint32_t> mask((vocab + 31) / 32, 0), banned;
        for (uint32_t t = 0; t < vocab; t++)
            if (rng() % 3 == 0)
                mask[t / 32] |= 1u << t % 32;
            else
                banned.push_back(t); /* the same, said the other way */
        if (banned.size() == vocab) {
            mask[0] = 1;
            banned.erase(banned.begin());
        }
        if (round % 5 == 0) { /* words that are all ones, all zeros */
            mask.assign(mask.size(), UINT32_MAX);
            banned.clear();
        }
        std::vector<float> logits = random_logits(rng, vocab, false);
        struct sampler_params params = params_with(round % 2 ? 1.0f : 0.0f, 5);
        params.top_k = round % 3 ? 0 : 4;
        params.logprobs = true;
        Sampler by_mask(params, vocab), by_ban(params, vocab);
        struct sampled masked, without;
        ASSERT_EQ(by_mask.sample(logits, &masked, {}, nullptr, mask), STATUS_OK);
        ASSERT_EQ(by_ban.sample(logits, &without, banned), STATUS_OK);
        ASSERT_EQ(masked.token, without.token);
        ASSERT_EQ(masked.logprob, without.logprob);
        ASSERT_TRUE(mask[masked.token / 32] >> masked.token % 32 & 1);
    }
}

TEST(Sampler, AMaskThatAllowsNothingIsInternal)
{
    Sampler sampler(params_with(1), 40);
    struct sampled out;
    struct error error = {};
    std::vector<float> logits(40, 1);
    EXPECT_EQ(sampler.sample(logits, &out, {}, &error, {0, 0}), STATUS_INTERNAL);
    EXPECT_NE(std::string(error.text).find("no token is left"), std::string::npos) << error.text;
    EXPECT_EQ(sampler.sample(logits, &out, {}, nullptr, {0, 0xffffff00}), STATUS_INTERNAL)
        << "bits behind the vocabulary are no tokens";
    EXPECT_EQ(sampler.sample(logits, &out, {33}, nullptr, {0, 2}), STATUS_INTERNAL);
    ASSERT_EQ(sampler.sample(logits, &out, {34}, nullptr, {0, 6}), STATUS_OK);
    EXPECT_EQ(out.token, 33u);
}

TEST(Sampler, ScoresKnownTokens)
{
    struct sampler_params params = params_with(0.3f, 2); /* nothing of which matters */
    std::vector<struct sampler_bias> list = {{1, 50}};
    params.bias = list.data();
    params.bias_count = 1;
    params.presence_penalty = 2;
    params.top_logprobs = 2;
    struct sampler *sampler;
    ASSERT_EQ(sampler_open(&sampler, &params, 4, nullptr), STATUS_OK);
    const uint32_t seen = 2;
    sampler_observe(sampler, &seen, 1, true);
    std::vector<float> logits = {1, 2, 5, -kInf};
    const std::vector<float> before = logits;
    double log_sum = std::log(std::exp(1.0) + std::exp(2.0) + std::exp(5.0));
    struct sampled out;
    for (uint32_t t = 0; t < 4; t++) {
        ASSERT_EQ(sampler_score(sampler, logits.data(), t, &out, nullptr), STATUS_OK);
        EXPECT_EQ(out.token, t);
        if (t < 3)
            EXPECT_NEAR(out.logprob, logits[t] - log_sum, 1e-6);
        else
            EXPECT_EQ(out.logprob, -kInf);
        ASSERT_EQ(out.top_count, 2u);
        EXPECT_EQ(out.top[0].token, 2u);
        EXPECT_EQ(out.top[1].token, 1u);
        EXPECT_NEAR(out.top[1].logprob, 2 - log_sum, 1e-6);
    }
    EXPECT_EQ(logits, before);
    struct error error = {};
    logits[1] = kNan;
    EXPECT_EQ(sampler_score(sampler, logits.data(), 0, &out, &error), STATUS_INTERNAL);
    EXPECT_NE(std::string(error.text).find("token 1 is"), std::string::npos) << error.text;
    logits.assign(4, -kInf);
    EXPECT_EQ(sampler_score(sampler, logits.data(), 0, &out, nullptr), STATUS_INTERNAL);
    sampler_close(sampler);
}

TEST(Sampler, ParametersOutOfRangeAreNamed)
{
    struct Case {
        void (*set)(struct sampler_params *);
        const char *text;
    };
    for (const Case &t : std::vector<Case>{
             {[](sampler_params *p) { p->temperature = -0.1f; }, "\"temperature\" is -0.1"},
             {[](sampler_params *p) { p->temperature = kNan; }, "\"temperature\""},
             {[](sampler_params *p) { p->temperature = kInf; }, "\"temperature\" is inf"},
             {[](sampler_params *p) { p->top_p = 0; }, "\"top_p\" is 0, must be in (0, 1]"},
             {[](sampler_params *p) { p->top_p = 1.5f; }, "\"top_p\" is 1.5"},
             {[](sampler_params *p) { p->top_p = kNan; }, "\"top_p\""},
             {[](sampler_params *p) { p->min_p = -1; }, "\"min_p\" is -1, must be in [0, 1]"},
             {[](sampler_params *p) { p->min_p = 1.01f; }, "\"min_p\""},
             {[](sampler_params *p) { p->repetition_penalty = 0; }, "\"repetition_penalty\" is 0"},
             {[](sampler_params *p) { p->repetition_penalty = kInf; }, "\"repetition_penalty\""},
             {[](sampler_params *p) { p->presence_penalty = 2.5f; }, "\"presence_penalty\""},
             {[](sampler_params *p) { p->frequency_penalty = -3; }, "must be in [-2, 2]"},
             {[](sampler_params *p) { p->top_logprobs = 21; }, "\"top_logprobs\" is 21"},
         }) {
        struct sampler_params params;
        sampler_params_init(&params);
        EXPECT_EQ(sampler_params_check(&params, nullptr), STATUS_OK);
        t.set(&params);
        struct error error = {};
        EXPECT_EQ(sampler_params_check(&params, &error), STATUS_INVALID);
        EXPECT_NE(std::string(error.text).find(t.text), std::string::npos) << error.text;
        struct sampler *sampler;
        EXPECT_EQ(sampler_open(&sampler, &params, 4, nullptr), STATUS_INVALID);
        EXPECT_EQ(sampler, nullptr);
    }
    sampler_close(nullptr);
}

} // namespace
