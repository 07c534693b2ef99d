/* The device's draws against the sampler's: the same parameters, the same uniform, so the same
 * token, unless a boundary is closer than rounding can tell. */
#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include "engine/sampler.h"
#include "tests/engine/backend/cuda/cuda_checks.h"

namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kBig = std::numeric_limits<float>::max();
constexpr double kRounding = 1e-6; /* of the mass: nearer boundaries may fall either way */

typedef std::vector<float> Row;

std::vector<uint32_t> on_device(const std::vector<Row> &rows, const std::vector<struct draw> &draws)
{
    Stream stream;
    uint32_t count = static_cast<uint32_t>(rows.size());
    uint32_t vocab = static_cast<uint32_t>(rows.at(0).size());
    std::vector<float> all;
    for (const Row &row : rows)
        all.insert(all.end(), row.begin(), row.end());
    DeviceList<float> logits(all, 1); /* rows need no alignment */
    DeviceList<struct draw> device_draws(draws);
    DeviceList<uint32_t> tokens(count);
    /* What scratch holds before does not matter. */
    size_t words = cuda_draw_scratch(count, vocab) / sizeof(uint64_t);
    DeviceList<uint64_t> scratch(std::vector<uint64_t>(words, 0xA5A5A5A5A5A5A5A5));
    cuda_draw(stream, logits, vocab, device_draws, count, tokens, scratch);
    return tokens.get(stream);
}

uint32_t on_device(const Row &row, const struct draw &draw)
{
    return on_device(std::vector<Row>{row}, std::vector<struct draw>{draw})[0];
}

struct sampler_params params_of(const struct draw &draw)
{
    struct sampler_params params;
    sampler_params_init(&params);
    params.temperature = draw.temperature;
    params.top_k = draw.top_k;
    params.top_p = draw.top_p;
    params.min_p = draw.min_p;
    return params;
}

/* The sampler's token and the draw that it took: *draw gets the uniform. */
uint32_t sample(Row row, uint64_t seed, struct draw *draw)
{
    struct sampler_params params = params_of(*draw);
    params.seed = seed;
    struct sampler *sampler = nullptr, *asked = nullptr;
    uint32_t vocab = static_cast<uint32_t>(row.size());
    EXPECT_EQ(sampler_open(&sampler, &params, vocab, nullptr), STATUS_OK);
    EXPECT_EQ(sampler_open(&asked, &params, vocab, nullptr), STATUS_OK);
    EXPECT_TRUE(sampler_draw(asked, draw));
    std::vector<struct sampler_candidate> scratch(vocab);
    struct sampled out;
    enum status status =
        sampler_sample(sampler, row.data(), nullptr, scratch.data(), &out, nullptr);
    sampler_close(sampler);
    sampler_close(asked);
    return status == STATUS_OK ? out.token : DRAW_NONE;
}

/* What a draw chooses from, in its order, all in double and sorted. */
struct Kept {
    std::vector<uint32_t> tokens;
    std::vector<double> sums; /* up to and with each token, over the mass of all */
    double nearest_stop = 1;  /* how far top_p is from keeping one token more or less */
};

Kept reference(const Row &row, const struct draw &draw)
{
    Kept kept;
    std::vector<uint32_t> order;
    for (uint32_t i = 0; i < row.size(); i++)
        if (row[i] != -kInf)
            order.push_back(i);
    std::stable_sort(order.begin(), order.end(),
                     [&row](uint32_t a, uint32_t b) { return row[a] > row[b]; });
    auto weight = [&row, &draw, max = static_cast<double>(row[order[0]])](uint32_t token) {
        return std::exp((static_cast<double>(row[token]) - max) / draw.temperature);
    };
    bool by_id = draw.top_p == 1;
    if (draw.top_k > 0 && draw.top_k < order.size()) {
        order.resize(draw.top_k);
        by_id = false;
    }
    double all = 0, mass = 0;
    for (uint32_t token : order)
        all += weight(token);
    size_t count = 0;
    for (; count < order.size() && (draw.top_p == 1 || mass < draw.top_p * all); count++) {
        mass += weight(order[count]);
        if (draw.top_p < 1)
            kept.nearest_stop = std::min(kept.nearest_stop, std::abs(mass / all - draw.top_p));
    }
    order.resize(count);
    while (weight(order.back()) < draw.min_p)
        order.pop_back();
    if (by_id)
        std::sort(order.begin(), order.end());
    mass = 0;
    for (uint32_t token : order)
        kept.sums.push_back(mass += weight(token));
    for (double &sum : kept.sums)
        sum /= mass;
    kept.tokens = order;
    return kept;
}

/* Whether rounding may decide between the two tokens for this uniform. */
bool is_close(const Row &row, const struct draw &draw, uint32_t a, uint32_t b)
{
    Kept kept = reference(row, draw);
    if (kept.nearest_stop < kRounding)
        return true;
    auto place = [&kept](uint32_t token) {
        return std::find(kept.tokens.begin(), kept.tokens.end(), token) - kept.tokens.begin();
    };
    auto first = std::min(place(a), place(b)), last = std::max(place(a), place(b));
    if (last >= static_cast<ptrdiff_t>(kept.tokens.size()))
        return false;
    /* All boundaries between the two are that close. */
    return std::abs(kept.sums[static_cast<size_t>(first)] - draw.uniform) < kRounding &&
           std::abs(kept.sums[static_cast<size_t>(last) - 1] - draw.uniform) < kRounding;
}

enum Shape { NOISE, TIES, CONSTANT, PEAKED, GONE, FAR, COARSE, SHAPES };

Row make_row(std::mt19937 &rng, enum Shape shape, uint32_t vocab)
{
    std::normal_distribution<float> normal(0, 3);
    Row row(vocab);
    for (uint32_t i = 0; i < vocab; i++) {
        row[i] = normal(rng);
        if (shape == TIES)
            row[i] = std::round(row[i]);
        if (shape == COARSE) /* a bucket holds several values, each many times */
            row[i] = std::round(row[i] * 256) / 256;
        if (shape == CONSTANT)
            row[i] = rng() % 2 ? 0.0f : -0.0f;
        if (shape == PEAKED && rng() % 997 == 5)
            row[i] += 20;
        if (shape == GONE && rng() % 2)
            row[i] = -kInf;
    }
    if (shape == FAR) { /* all others share buckets */
        row[rng() % vocab] = -1e30f;
        row[rng() % vocab] = 12;
    }
    row[rng() % vocab] = 1; /* one at least is finite */
    return row;
}

struct Counts {
    int drawn = 0, different = 0;
};

/* All rows in one call, against the sampler one by one. */
void expect_same(const std::vector<Row> &rows, std::vector<struct draw> draws, uint64_t seed,
                 Counts *counts)
{
    std::vector<uint32_t> expected;
    for (size_t i = 0; i < rows.size(); i++)
        expected.push_back(sample(rows[i], seed + i, &draws[i]));
    std::vector<uint32_t> drawn = on_device(rows, draws);
    for (size_t i = 0; i < rows.size(); i++) {
        counts->drawn++;
        if (drawn[i] == expected[i])
            continue;
        counts->different++;
        ASSERT_TRUE(drawn[i] != DRAW_NONE && expected[i] != DRAW_NONE &&
                    is_close(rows[i], draws[i], drawn[i], expected[i]))
            << "row " << i << " of " << rows.size() << ": " << drawn[i] << " instead of "
            << expected[i] << ", vocab " << rows[i].size() << " temperature "
            << draws[i].temperature << " top_k " << draws[i].top_k << " top_p " << draws[i].top_p
            << " min_p " << draws[i].min_p << " uniform " << draws[i].uniform;
    }
}

struct draw random_draw(std::mt19937 &rng)
{
    auto pick = [&rng](std::vector<float> of) { return of[rng() % of.size()]; };
    struct draw draw = {};
    draw.temperature = pick({0, 0.01f, 0.5f, 1, 1, 1.7f, 100});
    draw.top_k = static_cast<uint32_t>(pick({0, 0, 1, 2, 7, 40, 299, 1e6}));
    draw.top_p = pick({1, 1, 0.95f, 0.5f, 0.1f, 1e-6f, 0.9999f, 0.99999994f});
    draw.min_p = pick({0, 0, 0.05f, 0.3f, 1});
    return draw;
}

TEST(CudaDraw, DrawsWhatTheSamplerDraws)
{
    Counts counts;
    for (uint32_t seed = 0; seed < 110; seed++) {
        restart_machine(seed);
        std::mt19937 rng(seed);
        const uint32_t vocab = 1 + rng() % 300, count = 1 + rng() % 36;
        std::vector<Row> rows;
        std::vector<struct draw> draws;
        for (uint32_t i = 0; i < count; i++) {
            rows.push_back(make_row(rng, static_cast<enum Shape>(rng() % SHAPES), vocab));
            draws.push_back(random_draw(rng));
        }
        ASSERT_NO_FATAL_FAILURE(expect_same(rows, draws, 1000 * seed, &counts)) << "seed " << seed;
    }
    EXPECT_GT(counts.drawn, 2000);
    EXPECT_LE(counts.different, 1); /* chance makes a boundary this close once in 10,000 draws */
}

TEST(CudaDraw, DrawsWhatTheSamplerDrawsFromLargeVocabularies)
{
    const std::vector<struct draw> cases = {
        {1, 0, 1, 0, 0},        {0.7f, 0, 1, 0.01f, 0}, {1, 40, 1, 0, 0},
        {1, 20, 0.9f, 0, 0},    {1, 5000, 1, 1e-4f, 0}, {2, 5000, 0.8f, 0, 0},
        {1, 0, 0.95f, 0, 0},    {30, 0, 0.95f, 0, 0},   {0.2f, 0, 0.999f, 0, 0},
        {1, 9000, 1, 0, 0},     {1, 14990, 0.99999f, 0, 0},
    };
    Counts counts;
    for (int shape = 0; shape < SHAPES; shape++) {
        restart_machine(static_cast<uint64_t>(shape));
        std::mt19937 rng(static_cast<uint32_t>(shape));
        const uint32_t vocab = 15000 + rng() % 200;
        Row row = make_row(rng, static_cast<enum Shape>(shape), vocab);
        ASSERT_NO_FATAL_FAILURE(
            expect_same(std::vector<Row>(cases.size(), row), cases, rng(), &counts))
            << "shape " << shape;
    }
    EXPECT_EQ(counts.drawn, static_cast<int>(cases.size()) * SHAPES);
    EXPECT_LE(counts.different, 1);
}

/* A hair on either side of where a token begins and ends, it is drawn and its neighbour is not. */
TEST(CudaDraw, BoundariesAreWhereTheReferenceHasThem)
{
    const std::vector<struct draw> cases = {
        {1, 0, 1, 0, 0},         {0.7f, 0, 1, 0.01f, 0}, {1, 40, 1, 0, 0},
        {1.3f, 20, 0.9f, 0, 0},  {2, 300, 0.97f, 0, 0},  {1, 0, 0.95f, 0, 0},
        {4, 0, 0.9f, 0.2f, 0},   {100, 0, 0.9f, 0, 0},   {1, 100, 1, 0.1f, 0},
    };
    int seen = 0;
    for (const struct draw &draw : cases)
        for (enum Shape shape : {NOISE, TIES, COARSE, GONE}) {
            restart_machine(static_cast<uint64_t>(shape));
            std::mt19937 rng(11);
            Row row = make_row(rng, shape, 2500);
            Kept kept = reference(row, draw);
            ASSERT_GT(kept.nearest_stop, kRounding);
            std::vector<struct draw> draws;
            std::vector<uint32_t> expected;
            for (int i = 0; i < 7; i++) {
                size_t last = kept.tokens.size() - 1;
                size_t at = i == 0 ? 0 : i == 1 ? last : rng() % (last + 1);
                double begin = at > 0 ? kept.sums[at - 1] : 0, end = kept.sums[at];
                if (end - begin < 3 * kRounding)
                    continue;
                for (double uniform : {begin + kRounding, end - kRounding}) {
                    draws.push_back(draw);
                    draws.back().uniform = uniform;
                    expected.push_back(kept.tokens[at]);
                }
            }
            seen += static_cast<int>(draws.size());
            ASSERT_EQ(on_device(std::vector<Row>(draws.size(), row), draws), expected)
                << "temperature " << draw.temperature << " top_k " << draw.top_k << " top_p "
                << draw.top_p << " shape " << shape;
        }
    EXPECT_GT(seen, 300);
}

/* How many rows share the call decides how a row is cut into parts; nothing else may. */
TEST(CudaDraw, ARowDependsOnItselfAlone)
{
    std::mt19937 rng(2);
    const uint32_t vocab = 17000;
    std::vector<Row> rows;
    std::vector<struct draw> draws;
    const Row shared = make_row(rng, NOISE, vocab), tied = make_row(rng, COARSE, vocab);
    for (uint32_t i = 0; i < 130; i++) {
        rows.push_back(i % 5 == 0 ? tied : shared);
        draws.push_back(i % 16 ? (struct draw){0, 0, 1, 0, 0} : random_draw(rng));
        draws.back().uniform = sampler_uniform(7, i);
    }
    restart_machine(1);
    std::vector<uint32_t> all = on_device(rows, draws);
    for (uint32_t i : {0u, 1u, 16u, 32u, 48u, 64u, 80u, 112u, 128u}) {
        restart_machine(i);
        EXPECT_EQ(on_device(rows[i], draws[i]), all[i]) << "row " << i;
    }
}

TEST(CudaDraw, GreedyTakesTheHighestAndOfTiesTheLowestId)
{
    restart_machine(1);
    const struct draw greedy = {0, 5, 0.5f, 0.5f, 0.9};
    EXPECT_EQ(on_device(Row{1, 3, 3, 2, 3}, greedy), 1u);
    EXPECT_EQ(on_device(Row{-5, -4, -kInf, -4, -9}, greedy), 1u);
    EXPECT_EQ(on_device(Row{-0.0f, 0.0f, -1, -1}, greedy), 0u);
    EXPECT_EQ(on_device(Row{-kBig, -kInf}, greedy), 0u);
    EXPECT_EQ(on_device(Row{-kInf, -kBig}, greedy), 1u);
    for (const struct draw &other : std::vector<struct draw>{
             {5, 1, 1, 0, 0.99}, {1, 0, 1e-9f, 0, 0.99}, {1, 0, 1, 1, 0.3}, {1e-9f, 0, 1, 0, 0.99}})
        EXPECT_EQ(on_device(Row{1, 2, 2.9999998f, 3, 2}, other), 3u);
    const uint32_t vocab = 50000;
    for (uint32_t at : {0u, 1u, 2047u, 2048u, 31337u, vocab - 1}) {
        Row row(vocab, -7);
        row[at] = row[vocab - 1] = -6;
        EXPECT_EQ(on_device(row, greedy), at);
    }
}

TEST(CudaDraw, WhatIsNoNumberOrNothingIsNotDrawn)
{
    for (const struct draw &draw :
         std::vector<struct draw>{{0, 0, 1, 0, 0.5}, {1, 0, 1, 0, 0.5}, {1, 2, 1, 0, 0.5},
                                  {1, 1, 1, 0, 0.5}, {1, 0, 0.9f, 0.1f, 0.5}}) {
        restart_machine(1);
        for (float bad : {kNan, -kNan, kInf})
            for (uint32_t at : {0u, 2048u, 2999u}) {
                Row row(3000, 1);
                row[at] = bad;
                /* Its neighbours are drawn all the same. */
                std::vector<uint32_t> tokens =
                    on_device({Row(3000, 1), row, Row(3000, 1)}, {draw, draw, draw});
                EXPECT_NE(tokens[0], DRAW_NONE);
                EXPECT_EQ(tokens[1], DRAW_NONE) << bad << " at " << at;
                EXPECT_EQ(tokens[2], tokens[0]);
            }
        EXPECT_EQ(on_device(Row(3000, -kInf), draw), DRAW_NONE);
        Row row(3000, -kInf);
        row[2500] = -kBig;
        EXPECT_EQ(on_device(row, draw), 2500u);
        EXPECT_EQ(on_device(Row{-kInf}, draw), DRAW_NONE);
        EXPECT_EQ(on_device(Row{-3}, draw), 0u);
    }
}

TEST(CudaDraw, ExtremeButFiniteLogits)
{
    restart_machine(1);
    Counts counts;
    for (float temperature : {0.0f, 1e-45f, 1e-38f, 1.0f, 3e38f})
        for (uint32_t top_k : {0u, 2u, 3u})
            for (float top_p : {0.6f, 1.0f}) {
                const struct draw draw = {temperature, top_k, top_p, 0, 0};
                const std::vector<struct draw> draws(5, draw);
                expect_same({{-kBig, kBig, -kBig, 1},
                             {kBig, kBig, -kBig, kBig},
                             {0, 1e-45f, -1e-45f, -kInf},
                             {kBig, -kInf, -kInf, -kInf},
                             {-kBig, -kBig, -kBig, -kBig}},
                            draws, 77, &counts);
            }
    EXPECT_EQ(counts.different, 0);
}

/* The last uniform below 1 and the first. */
TEST(CudaDraw, TheEndsOfTheUniform)
{
    restart_machine(1);
    const double last = 1 - 0x1p-53;
    for (uint32_t vocab : {1u, 3u, 2049u, 4100u})
        for (const struct draw &draw : std::vector<struct draw>{
                 {1, 0, 1, 0, 0}, {1, 4000, 1, 0, 0}, {1, 0, 0.999f, 0, 0}, {1, 2, 0.999f, 0, 0}}) {
            Row flat(vocab, 2), edged(vocab, 2);
            edged[vocab - 1] = -100; /* weighs nothing */
            struct draw high = draw;
            high.uniform = last;
            EXPECT_EQ(on_device(flat, draw), 0u);
            Kept kept = reference(flat, draw);
            EXPECT_EQ(on_device(flat, high), kept.tokens.back()) << vocab;
            EXPECT_LT(on_device(edged, high), std::max(vocab - 1, 1u)) << vocab;
        }
}

TEST(CudaDraw, AFlatVocabularyIsDrawnByRank)
{
    restart_machine(1);
    const uint32_t vocab = 151937;
    std::vector<Row> rows(2, Row(vocab, 1.5f));
    std::vector<struct draw> draws = {{1, 0, 1, 0, 0.73}, {1, 0, 0.999f, 0, 0.73}};
    std::vector<uint32_t> tokens = on_device(rows, draws);
    EXPECT_EQ(tokens[0], static_cast<uint32_t>(0.73 * vocab));
    EXPECT_EQ(tokens[1], static_cast<uint32_t>(0.73 * std::ceil(double{0.999f} * vocab)));
}

TEST(CudaDrawDeathTest, AVocabularyBeyondAllIsTheCallersBug)
{
    Stream stream;
    EXPECT_DEATH(cuda_draw(stream, nullptr, 1u << 20, nullptr, 1, nullptr, nullptr),
                 "draws one of 1048576 tokens");
}

TEST(CudaDraw, NoRowsIsNothing)
{
    restart_machine(1);
    Stream stream;
    cuda_draw(stream, nullptr, 10, nullptr, 0, nullptr, nullptr);
    EXPECT_EQ(cuda_draw_scratch(0, 10), 0u);
    EXPECT_EQ(cuda_draw_scratch(3, 5000), 3 * cuda_draw_scratch(1, 5000));
}

} // namespace
