/* Selection against a sort of everything, over rows made awkward for heaps and for buckets. */
#include "engine/sampler_select.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <random>
#include <vector>

namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kBig = std::numeric_limits<float>::max();

struct Shape {
    const char *name;
    std::function<float(uint32_t, std::mt19937 &)> at;
};

float noise(std::mt19937 &rng)
{
    return std::normal_distribution<float>(0, 3)(rng);
}

const std::vector<Shape> &shapes()
{
    static const std::vector<Shape> all = {
        {"noise", [](uint32_t, std::mt19937 &rng) { return noise(rng); }},
        {"ties", [](uint32_t, std::mt19937 &rng) { return std::round(noise(rng)); }},
        {"constant", [](uint32_t, std::mt19937 &) { return 1.5f; }},
        {"zeros of both signs", [](uint32_t i, std::mt19937 &) { return i % 3 ? 0.0f : -0.0f; }},
        {"ascending", [](uint32_t i, std::mt19937 &) { return 0.001f * static_cast<float>(i); }},
        {"descending", [](uint32_t i, std::mt19937 &) { return -0.001f * static_cast<float>(i); }},
        {"peaked",
         [](uint32_t i, std::mt19937 &rng) {
             return i % 997 == 5 ? 30 - 0.001f * static_cast<float>(i) : noise(rng);
         }},
        {"half of it gone",
         [](uint32_t i, std::mt19937 &rng) { return i % 2 ? -kInf : noise(rng); }},
        {"nearly all gone", [](uint32_t i, std::mt19937 &rng) { return i ? -kInf : noise(rng); }},
        {"one far below",
         [](uint32_t i, std::mt19937 &rng) { return i == 7 ? -1e30f : noise(rng); }},
        {"ties and one far below", /* all of them share a bucket */
         [](uint32_t i, std::mt19937 &rng) { return i == 7 ? -1e30f : std::round(noise(rng)); }},
        {"one far above",
         [](uint32_t i, std::mt19937 &rng) { return i == 7 ? 1e30f : noise(rng); }},
        {"extremes", [](uint32_t, std::mt19937 &rng) { return rng() % 2 ? kBig : -kBig; }},
        {"denormal", [](uint32_t i, std::mt19937 &) { return 1e-45f * static_cast<float>(i % 5); }},
    };
    return all;
}

std::vector<float> make_row(const Shape &shape, uint32_t count, uint32_t seed)
{
    std::mt19937 rng(seed);
    std::vector<float> row(count);
    for (uint32_t i = 0; i < count; i++)
        row[i] = shape.at(i, rng);
    return row;
}

std::vector<struct sampler_candidate> sorted(const std::vector<float> &row)
{
    std::vector<struct sampler_candidate> all;
    for (uint32_t i = 0; i < row.size(); i++)
        if (row[i] != -kInf)
            all.push_back({row[i], i});
    std::stable_sort(all.begin(), all.end(),
                     [](const auto &a, const auto &b) { return a.value > b.value; });
    return all;
}

/* An output with a guard behind it. */
class Output
{
  public:
    explicit Output(size_t room) : all_(room + 1) { all_[room] = {-77, 77}; }
    ~Output() { EXPECT_EQ(all_.back().token, 77u) << "wrote beyond its room"; }
    struct sampler_candidate *data() { return all_.data(); }
    /* The first n are those of `expected`. */
    void expect_begins(uint32_t n, const std::vector<struct sampler_candidate> &expected)
    {
        ASSERT_LE(n, expected.size());
        for (uint32_t i = 0; i < n; i++) {
            ASSERT_EQ(all_[i].token, expected[i].token) << "place " << i << " of " << n;
            ASSERT_EQ(all_[i].value, expected[i].value) << "place " << i << " of " << n;
        }
    }

  private:
    std::vector<struct sampler_candidate> all_;
};

TEST(SamplerSelect, TopIsTheBeginningOfASort)
{
    for (const Shape &shape : shapes())
        for (uint32_t count : {1u, 2u, 63u, 64u, 65u, 600u, 3001u}) {
            std::vector<float> row = make_row(shape, count, count);
            std::vector<struct sampler_candidate> expected = sorted(row);
            for (uint32_t most :
                 {1u, 2u, 20u, 64u, SAMPLER_SELECT_HEAP_MAX + 0u, SAMPLER_SELECT_HEAP_MAX + 1u,
                  2000u, 3001u, std::numeric_limits<uint32_t>::max()}) {
                SCOPED_TRACE(testing::Message() << shape.name << " " << count << " " << most);
                Output out(most <= SAMPLER_SELECT_HEAP_MAX ? std::min(most, count) : count);
                uint32_t n = sampler_select_top(row.data(), count, most, out.data());
                ASSERT_EQ(n, std::min<size_t>(most, expected.size()));
                out.expect_begins(n, expected);
            }
        }
}

TEST(SamplerSelect, TopOfNothingIsNothing)
{
    const std::vector<float> row(1000, -kInf);
    Output out(1000);
    EXPECT_EQ(sampler_select_top(row.data(), 1000, 5, out.data()), 0u);
    EXPECT_EQ(sampler_select_top(row.data(), 1000, 999, out.data()), 0u);
}

TEST(SamplerSelect, MassIsTheBeginningOfASortAndReachesWhatIsWanted)
{
    for (const Shape &shape : shapes())
        for (uint32_t count : {1u, 65u, 3001u})
            for (double temperature : {1e-38, 0.01, 1.0, 100.0, 3e38})
                for (float top_p : {1e-6f, 0.5f, 0.95f, 0.9999f, 0.99999994f}) {
                    SCOPED_TRACE(testing::Message() << shape.name << " " << count << " at "
                                                    << temperature << " " << top_p);
                    std::vector<float> row = make_row(shape, count, count);
                    std::vector<struct sampler_candidate> expected = sorted(row);
                    const struct sampler_scale scale = {expected[0].value, temperature};
                    Output out(count);
                    double wanted;
                    uint32_t n = sampler_select_mass(row.data(), count, scale, top_p, out.data(),
                                                     &wanted);
                    out.expect_begins(n, expected);
                    ASSERT_EQ(wanted, top_p * sampler_row_total(row.data(), count, scale));
                    double sum = 0;
                    for (uint32_t i = 0; i < n; i++) {
                        double weights[SAMPLER_BLOCK];
                        sampler_row_weights(weights, &expected[i].value, 1, scale);
                        sum += weights[0];
                    }
                    ASSERT_TRUE(sum >= wanted || n == expected.size()) << n;
                }
}

TEST(SamplerSelect, MassSelectsLittleMoreThanItNeeds)
{
    const uint32_t count = 50000;
    std::mt19937 rng(5);
    std::vector<float> row(count);
    for (float &value : row)
        value = noise(rng);
    for (uint32_t i = 0; i < 30; i++)
        row[i * 1009] = 24 - 0.4f * static_cast<float>(i);
    row[3] = -1e30f; /* buckets as wide as this makes the row would tell nothing apart */
    std::vector<struct sampler_candidate> out(count);
    double wanted;
    uint32_t n = sampler_select_mass(row.data(), count, {24, 1}, 0.95f, out.data(), &wanted);
    EXPECT_GE(n, 8u); /* 1 - e^(-0.4 * 8) is 0.959 */
    EXPECT_LE(n, 9u);
    /* A flat row needs most of itself, and gets a bucket more at most. */
    for (uint32_t i = 0; i < count; i++)
        row[i] = -1e-6f * static_cast<float>(i);
    n = sampler_select_mass(row.data(), count, {0, 1}, 0.5f, out.data(), &wanted);
    EXPECT_NEAR(n, 0.494 * count, 0.002 * count);
}

} // namespace
