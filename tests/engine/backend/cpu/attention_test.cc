/* Paged attention against double precision over plain arrays, and independence of batch, threads
 * and of where in memory the blocks lie. */
#include "tests/engine/backend/cpu/cpu_checks.h"

#include <algorithm>

namespace {

/* Sequences whose keys and values are kept twice: plainly, and in shuffled blocks by kv_write. */
struct Sequences {
    struct kv_layer kv;
    std::vector<uint8_t> key_bytes, value_bytes;
    std::vector<std::vector<uint32_t>> tables;      /* [sequence] */
    std::vector<std::vector<float>> keys, values;   /* [sequence][position][kv_head][dim] */

    Sequences(struct backend *b, Noise &noise, enum dtype dtype, uint32_t kv_heads, uint32_t dim,
              const std::vector<uint32_t> &lengths, uint32_t shuffle_seed)
    {
        std::vector<uint32_t> blocks;
        for (uint32_t length : lengths)
            for (uint32_t i = 0; i < (length + KV_BLOCK_TOKENS - 1) / KV_BLOCK_TOKENS; i++)
                blocks.push_back((uint32_t)blocks.size());
        std::shuffle(blocks.begin(), blocks.end(), std::mt19937(shuffle_seed));
        size_t bytes = blocks.size() * kv_heads * KV_BLOCK_TOKENS * dim *
                       dtype_info(dtype)->block_bytes;
        key_bytes.assign(bytes, 0xff); /* NaN where nothing was written */
        value_bytes.assign(bytes, 0xff);
        kv = {key_bytes.data(), value_bytes.data(), dtype, kv_heads, dim};
        for (uint32_t length : lengths) {
            uint32_t count = (length + KV_BLOCK_TOKENS - 1) / KV_BLOCK_TOKENS;
            tables.emplace_back(blocks.end() - count, blocks.end());
            blocks.resize(blocks.size() - count);
            keys.push_back(noise.list((size_t)length * kv_heads * dim));
            values.push_back(noise.list((size_t)length * kv_heads * dim));
            std::vector<struct row_place> places;
            for (uint32_t p = 0; p < length; p++)
                places.push_back({tables.back().data(), p});
            b->ops->kv_write(b, kv, keys.back().data(), values.back().data(), places.data(),
                             length);
            if (dtype == DTYPE_F16) {
                for (std::vector<float> *list : {&keys.back(), &values.back()})
                    for (float &f : *list)
                        f = f16_to_f32(f32_to_f16(f));
            }
        }
    }
    std::vector<float> attend(struct backend *b, const std::vector<float> &q,
                              const std::vector<struct row_place> &places, uint32_t heads,
                              uint32_t window) const
    {
        std::vector<float> out(places.size() * heads * kv.head_dim, NAN);
        struct attention_args args = {out.data(),
                                      q.data(),
                                      kv,
                                      places.data(),
                                      (uint32_t)places.size(),
                                      heads,
                                      1.0f / std::sqrt((float)kv.head_dim),
                                      window};
        b->ops->attention(b, &args);
        b->ops->sync(b);
        return out;
    }
    std::vector<double> reference(uint32_t sequence, uint32_t position, const float *q,
                                  uint32_t kv_head, uint32_t window) const
    {
        uint32_t dim = kv.head_dim;
        uint32_t begin = window > 0 && position + 1 > window ? position + 1 - window : 0;
        std::vector<double> out(dim, 0.0), scores;
        double max = -1e300, sum = 0;
        for (uint32_t p = begin; p <= position; p++) {
            const float *k = &keys[sequence][(p * kv.kv_heads + kv_head) * dim];
            double score = 0;
            for (uint32_t i = 0; i < dim; i++)
                score += (double)q[i] * k[i];
            scores.push_back(score / std::sqrt((double)dim));
            max = std::max(max, scores.back());
        }
        for (double &score : scores)
            sum += score = std::exp(score - max);
        for (uint32_t p = begin; p <= position; p++) {
            const float *v = &values[sequence][(p * kv.kv_heads + kv_head) * dim];
            for (uint32_t i = 0; i < dim; i++)
                out[i] += scores[p - begin] / sum * v[i];
        }
        return out;
    }
};

} // namespace

TEST(attention, against_double_for_every_grouping_format_and_window)
{
    Noise noise(1);
    struct {
        uint32_t heads, kv_heads, dim;
    } shapes[] = {{1, 1, 2},  {4, 4, 7},   {6, 2, 32}, {8, 1, 33},
                  {5, 1, 64}, {14, 2, 16}, {2, 2, 129}};
    for (enum cpu_isa isa : machine_isas()) {
        Backend b = open_backend(isa, 2);
        for (enum dtype dtype : {DTYPE_F32, DTYPE_F16}) {
            for (auto shape : shapes) {
                Sequences s(b.get(), noise, dtype, shape.kv_heads, shape.dim, {1, 40, 33}, 7);
                for (uint32_t window : {0u, 1u, 5u, 17u}) {
                    std::vector<std::pair<uint32_t, uint32_t>> at = {{0, 0},  {1, 0},  {1, 3},
                                                                     {1, 15}, {1, 16}, {1, 39},
                                                                     {2, 32}, {2, 17}};
                    std::vector<struct row_place> places;
                    for (auto [sequence, position] : at)
                        places.push_back({s.tables[sequence].data(), position});
                    size_t width = shape.heads * shape.dim;
                    std::vector<float> q = noise.list(at.size() * width, 2.0f);
                    std::vector<float> y = s.attend(b.get(), q, places, shape.heads, window);
                    for (size_t r = 0; r < at.size(); r++) {
                        for (uint32_t h = 0; h < shape.heads; h++) {
                            size_t from = r * width + h * shape.dim;
                            std::vector<double> want =
                                s.reference(at[r].first, at[r].second, &q[from],
                                            h / (shape.heads / shape.kv_heads), window);
                            for (uint32_t i = 0; i < shape.dim; i++)
                                ASSERT_NEAR(y[from + i], want[i], 3e-6)
                                    << cpu_isa_name(isa) << " heads " << shape.heads << " row " << r
                                    << " window " << window;
                        }
                    }
                }
            }
        }
    }
}

TEST(attention, a_row_is_the_same_alone_in_any_company_on_any_threads_and_blocks)
{
    const uint32_t heads = 6, kv_heads = 2, dim = 40, length = 70;
    for (enum cpu_isa isa : machine_isas()) {
        for (enum dtype dtype : {DTYPE_F32, DTYPE_F16}) {
            Backend alone = open_backend(isa, 1);
            Noise noise(2);
            Sequences plain(alone.get(), noise, dtype, kv_heads, dim, {length, 50}, 1);
            Noise again(2); /* the same keys and values in other blocks */
            Sequences moved(alone.get(), again, dtype, kv_heads, dim, {length, 50}, 99);
            std::vector<float> q = noise.list((size_t)length * heads * dim), want;
            size_t width = heads * dim;
            for (uint32_t p = 0; p < length; p++) {
                std::vector<float> one(q.begin() + p * width, q.begin() + (p + 1) * width);
                std::vector<float> y =
                    plain.attend(alone.get(), one, {{plain.tables[0].data(), p}}, heads, 0);
                want.insert(want.end(), y.begin(), y.end());
            }
            for (uint32_t threads : {1u, 2u, 3u}) {
                Backend b = open_backend(isa, threads);
                for (uint32_t chunk : {threads, 5 + 2 * threads, length}) {
                    for (uint32_t from = 0; from < length; from += chunk) {
                        std::vector<struct row_place> places;
                        for (uint32_t p = from; p < std::min(from + chunk, length); p++)
                            places.push_back({moved.tables[0].data(), p});
                        std::vector<float> part(q.begin() + from * width, q.end());
                        std::vector<float> y = moved.attend(b.get(), part, places, heads, 0);
                        ASSERT_TRUE(same_bits(y.data(), &want[from * width], y.size()))
                            << cpu_isa_name(isa) << " chunk " << chunk << " threads " << threads;
                    }
                }
            }
        }
    }
}

namespace {

struct Shape {
    uint32_t heads, kv_heads, dim, window;
};

/* One row in a call of its own. */
std::vector<float> attend_alone(struct backend *b, const Sequences &s, const Shape &shape,
                                uint32_t sequence, uint32_t position, const float *q)
{
    std::vector<float> one(q, q + shape.heads * shape.dim);
    return s.attend(b, one, {{s.tables[sequence].data(), position}}, shape.heads, shape.window);
}

} // namespace

/* Several blocks of keys, tiles that end within one, heads of more dimensions than fit at a
 * time. */
TEST(attention, long_contexts_in_tiles_of_any_size_against_double_and_alone)
{
    const uint32_t length = 300;
    for (enum cpu_isa isa : machine_isas()) {
        for (const Shape &shape :
             {Shape{2, 2, 260, 0}, Shape{8, 1, 32, 100}, Shape{3, 1, 20, 64}}) {
            for (enum dtype dtype : {DTYPE_F32, DTYPE_F16}) {
                Noise noise(7);
                Backend alone = open_backend(isa, 1), b = open_backend(isa, 3, 512, 16, length);
                Sequences s(alone.get(), noise, dtype, shape.kv_heads, shape.dim, {length}, 5);
                size_t width = shape.heads * shape.dim;
                std::vector<float> q = noise.list(length * width, 2.0f), want;
                for (uint32_t p = 0; p < length; p++) {
                    std::vector<float> y =
                        attend_alone(alone.get(), s, shape, 0, p, &q[p * width]);
                    want.insert(want.end(), y.begin(), y.end());
                }
                for (uint32_t p : {63u, 64u, 65u, 200u, length - 1}) {
                    std::vector<double> truth = s.reference(0, p, &q[p * width], 0, shape.window);
                    for (uint32_t i = 0; i < shape.dim; i++)
                        ASSERT_NEAR(want[p * width + i], truth[i], 3e-6) << p;
                }
                for (uint32_t chunk : {7u, 64u, 129u, length}) {
                    for (uint32_t from = 0; from < length; from += chunk) {
                        std::vector<struct row_place> places;
                        for (uint32_t p = from; p < std::min(from + chunk, length); p++)
                            places.push_back({s.tables[0].data(), p});
                        std::vector<float> part(q.begin() + from * width, q.end());
                        std::vector<float> y =
                            s.attend(b.get(), part, places, shape.heads, shape.window);
                        ASSERT_TRUE(same_bits(y.data(), &want[from * width], y.size()))
                            << cpu_isa_name(isa) << " chunk " << chunk << " from " << from
                            << " dim " << shape.dim;
                    }
                }
            }
        }
    }
}

TEST(attention, prompts_and_decoding_rows_of_many_sequences_in_one_call)
{
    const Shape shape = {4, 2, 48, 0};
    const std::vector<uint32_t> lengths = {150, 1, 90, 65, 64};
    for (enum cpu_isa isa : machine_isas()) {
        Noise noise(8);
        Backend alone = open_backend(isa, 1), b = open_backend(isa, 2, 512, 16, 300);
        Sequences s(alone.get(), noise, DTYPE_F32, shape.kv_heads, shape.dim, lengths, 3);
        std::vector<std::pair<uint32_t, uint32_t>> at = {{1, 0}, {3, 64}, {4, 63}};
        for (uint32_t p = 20; p < 150; p++)
            at.push_back({0, p});
        for (uint32_t p = 89; p > 80; p--) /* in whatever order */
            at.push_back({2, p});
        std::vector<struct row_place> places;
        for (auto [sequence, position] : at)
            places.push_back({s.tables[sequence].data(), position});
        size_t width = shape.heads * shape.dim;
        std::vector<float> q = noise.list(at.size() * width);
        std::vector<float> y = s.attend(b.get(), q, places, shape.heads, shape.window);
        for (size_t r = 0; r < at.size(); r++) {
            std::vector<float> want = attend_alone(alone.get(), s, shape, at[r].first,
                                                   at[r].second, &q[r * width]);
            ASSERT_TRUE(same_bits(&y[r * width], want.data(), width)) << r;
        }
    }
}

/* What later tokens are, a NaN even, is nothing to a row before them in the same tile. */
TEST(attention, a_nan_in_a_later_token_stays_there)
{
    const Shape shape = {1, 1, 16, 0};
    const uint32_t length = 40, bad = 21;
    for (enum cpu_isa isa : machine_isas()) {
        Noise noise(9);
        Backend b = open_backend(isa, 1);
        Sequences s(b.get(), noise, DTYPE_F32, 1, shape.dim, {length}, 5);
        std::vector<float> k(shape.dim, NAN), q = noise.list(length * shape.dim);
        struct row_place place = {s.tables[0].data(), bad};
        b->ops->kv_write(b.get(), s.kv, k.data(), k.data(), &place, 1);
        std::vector<struct row_place> places;
        for (uint32_t p = 0; p < length; p++)
            places.push_back({s.tables[0].data(), p});
        std::vector<float> y = s.attend(b.get(), q, places, 1, 0);
        for (uint32_t p = 0; p < length; p++)
            for (uint32_t i = 0; i < shape.dim; i++)
                ASSERT_EQ(std::isnan(y[p * shape.dim + i]), p >= bad) << cpu_isa_name(isa) << p;
    }
}

TEST(attention, equal_scores_give_the_mean_and_a_single_key_its_value)
{
    Noise noise(3);
    for (enum cpu_isa isa : machine_isas()) {
        Backend b = open_backend(isa, 1);
        Sequences s(b.get(), noise, DTYPE_F32, 1, 4, {8}, 1);
        std::vector<float> zero(4, 0.0f);
        std::vector<float> first = s.attend(b.get(), zero, {{s.tables[0].data(), 0}}, 1, 0);
        EXPECT_TRUE(same_bits(first.data(), s.values[0].data(), 4));
        std::vector<float> mean = s.attend(b.get(), zero, {{s.tables[0].data(), 7}}, 1, 0);
        for (uint32_t i = 0; i < 4; i++) {
            double want = 0;
            for (uint32_t p = 0; p < 8; p++)
                want += s.values[0][p * 4 + i] / 8.0;
            EXPECT_NEAR(mean[i], want, 1e-7);
        }
    }
}

TEST(attention, huge_scores_do_not_overflow)
{
    Noise noise(4);
    Backend b = open_backend(CPU_BEST, 1);
    Sequences s(b.get(), noise, DTYPE_F32, 1, 8, {40}, 1);
    std::vector<float> q = noise.list(8, 1e6f);
    for (float f : s.attend(b.get(), q, {{s.tables[0].data(), 39}}, 1, 0))
        EXPECT_TRUE(std::isfinite(f));
}

TEST(attention, no_rows)
{
    Noise noise(5);
    Backend b = open_backend(CPU_BEST, 2);
    Sequences s(b.get(), noise, DTYPE_F32, 1, 8, {}, 1);
    EXPECT_TRUE(s.attend(b.get(), {}, {}, 4, 0).empty());
}

TEST(attention, positions_beyond_the_context_are_a_callers_bug)
{
    Noise noise(6);
    Backend b = open_backend(CPU_BEST, 1, 20);
    Sequences s(b.get(), noise, DTYPE_F32, 1, 8, {32}, 1);
    std::vector<float> q = noise.list(8);
    EXPECT_EQ(s.attend(b.get(), q, {{s.tables[0].data(), 19}}, 1, 0).size(), 8u);
    EXPECT_DEATH(s.attend(b.get(), q, {{s.tables[0].data(), 20}}, 1, 0), "outside a context of 20");
}
