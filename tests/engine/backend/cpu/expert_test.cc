/* The fused expert against double precision, and independence of the company of rows. */
#include "tests/engine/backend/cpu/cpu_checks.h"

namespace {

struct Expert {
    Matrix gate, up, down;
    Expert(Noise &noise, enum dtype dtype, uint32_t f, uint32_t h)
        : gate(noise, dtype, f, h, 2, 0.3f), up(noise, dtype, f, h, 4, 0.3f),
          down(noise, dtype, h, f, 6, 0.3f)
    {
    }
    std::vector<float> run(struct backend *b, const std::vector<float> &x,
                           const std::vector<uint32_t> &gather) const
    {
        std::vector<float> out(gather.size() * down.tensor.rows, NAN);
        struct expert_args args = {out.data(),           x.data(),    gather.data(),
                                   (uint32_t)gather.size(), gate.tensor, up.tensor,
                                   down.tensor};
        b->ops->experts(b, &args, 1);
        b->ops->sync(b);
        return out;
    }
    std::vector<double> reference(const float *x) const
    {
        std::vector<double> hidden(gate.tensor.rows), out(down.tensor.rows, 0.0);
        for (uint32_t i = 0; i < gate.tensor.rows; i++) {
            double g = 0, u = 0;
            for (uint32_t k = 0; k < gate.tensor.cols; k++) {
                g += (double)gate.row(i)[k] * x[k];
                u += (double)up.row(i)[k] * x[k];
            }
            hidden[i] = g / (1 + std::exp(-g)) * u;
        }
        for (uint32_t o = 0; o < down.tensor.rows; o++)
            for (uint32_t i = 0; i < gate.tensor.rows; i++)
                out[o] += hidden[i] * down.row(o)[i];
        return out;
    }
};

} // namespace

TEST(expert, every_size_format_and_instruction_set_against_double)
{
    Noise noise(1);
    const std::vector<uint32_t> sizes = {1, 3, 7, 33, 64, 129};
    for (enum cpu_isa isa : machine_isas()) {
        Backend b = open_backend(isa, 2);
        for (enum dtype dtype : all_dtypes()) {
            for (uint32_t f : sizes) {
                for (uint32_t h : sizes) {
                    Expert expert(noise, dtype, f, h);
                    std::vector<float> x = noise.list(4 * h);
                    std::vector<uint32_t> gather = {3, 0, 2};
                    std::vector<float> y = expert.run(b.get(), x, gather);
                    for (size_t r = 0; r < gather.size(); r++) {
                        std::vector<double> want = expert.reference(&x[gather[r] * h]);
                        for (uint32_t o = 0; o < h; o++)
                            ASSERT_NEAR(y[r * h + o], want[o], 1e-5 * (1 + std::fabs(want[o])))
                                << cpu_isa_name(isa) << " f=" << f << " h=" << h;
                    }
                }
            }
        }
    }
}

TEST(expert, a_row_is_the_same_alone_in_any_company_and_on_any_threads)
{
    Noise noise(2);
    for (enum cpu_isa isa : machine_isas()) {
        for (enum dtype dtype : all_dtypes()) {
            const uint32_t f = 86, h = 130, most = 17; /* shared out from 6 rows on */
            Expert expert(noise, dtype, f, h);
            std::vector<float> x = noise.list((size_t)most * h);
            std::vector<std::vector<float>> want;
            Backend alone = open_backend(isa, 1);
            for (uint32_t r = 0; r < most; r++)
                want.push_back(expert.run(alone.get(), x, {r}));
            for (uint32_t threads : {1u, 2u, 3u}) {
                Backend b = open_backend(isa, threads);
                for (uint32_t rows = threads; rows <= most; rows += threads) {
                    std::vector<uint32_t> gather(rows);
                    for (uint32_t &row : gather)
                        row = noise.below(most);
                    std::vector<float> y = expert.run(b.get(), x, gather);
                    for (uint32_t r = 0; r < rows; r++)
                        ASSERT_TRUE(same_bits(&y[r * h], want[gather[r]].data(), h))
                            << cpu_isa_name(isa) << " rows " << rows << " threads " << threads;
                }
            }
        }
    }
}

TEST(expert, formats_may_differ_within_one_expert)
{
    Noise noise(3);
    Backend b = open_backend(CPU_BEST, 1);
    Expert expert(noise, DTYPE_F16, 40, 24);
    expert.gate = Matrix(noise, DTYPE_F32, 40, 24);
    expert.down = Matrix(noise, DTYPE_BF16, 24, 40);
    std::vector<float> x = noise.list(24), y = expert.run(b.get(), x, {0});
    std::vector<double> want = expert.reference(x.data());
    for (uint32_t o = 0; o < 24; o++)
        EXPECT_NEAR(y[o], want[o], 1e-5 * (1 + std::fabs(want[o])));
}

TEST(expert, zero_gate_gives_zero_and_no_rows_give_nothing)
{
    Noise noise(4);
    Backend b = open_backend(CPU_BEST, 2);
    Expert expert(noise, DTYPE_F32, 20, 10);
    std::vector<float> x(10, 0.0f);
    for (float y : expert.run(b.get(), x, {0, 0}))
        EXPECT_EQ(y, 0.0f);
    EXPECT_TRUE(expert.run(b.get(), x, {}).empty());
}

TEST(expert, more_than_the_scratch_was_sized_for_is_a_callers_bug)
{
    Noise noise(5);
    Backend b = open_backend(CPU_BEST, 1, 16, 20, 2);
    Expert fits(noise, DTYPE_F32, 20, 8), wide(noise, DTYPE_F32, 21, 8);
    std::vector<float> x(8, 1.0f);
    EXPECT_EQ(fits.run(b.get(), x, {0, 0}).size(), 16u);
    EXPECT_DEATH(fits.run(b.get(), x, {0, 0, 0}), "exceed the scratch");
    EXPECT_DEATH(wide.run(b.get(), x, {0}), "exceed the scratch");
}

namespace {

/* Experts with matrices of mixed formats, as a file of mixed types has them. */
struct Experts {
    static constexpr uint32_t f = 288, h = 256;
    std::vector<BlockMatrix> gates, ups, downs;
    std::vector<Matrix> plain_downs;
    Experts(Noise &noise, uint32_t count, enum dtype gate, enum dtype up, enum dtype down,
            bool packed)
    {
        for (uint32_t e = 0; e < count; e++) {
            gates.emplace_back(noise, gate, f, h, packed);
            ups.emplace_back(noise, up, f, h, packed);
            if (dtype_is_plain(down))
                plain_downs.emplace_back(noise, down, h, f);
            else
                downs.emplace_back(noise, down, h, f, packed);
        }
    }
    struct expert_args args(uint32_t e, float *out, const float *x,
                            const std::vector<uint32_t> &gather) const
    {
        return {out, x, gather.data(), (uint32_t)gather.size(), gates[e].tensor, ups[e].tensor,
                plain_downs.empty() ? downs[e].tensor : plain_downs[e].tensor};
    }
};

} // namespace

TEST(expert, many_at_once_are_each_as_alone)
{
    const uint32_t count = 5, rows_max = 40;
    struct {
        enum dtype gate, up, down;
        bool packed;
    } kinds[] = {{DTYPE_Q4_0, DTYPE_Q4_0, DTYPE_Q4_0, true},
                 {DTYPE_Q4_K, DTYPE_Q6_K, DTYPE_Q8_0, true},
                 {DTYPE_Q8_0, DTYPE_IQ4_NL, DTYPE_F16, true},
                 {DTYPE_Q4_K, DTYPE_Q5_1, DTYPE_MXFP4, false}};
    for (enum cpu_isa isa : machine_isas()) {
        for (auto kind : kinds) {
            Noise noise(11);
            Experts experts(noise, count, kind.gate, kind.up, kind.down, kind.packed);
            std::vector<float> x = noise.list(rows_max * Experts::h);
            Backend alone = open_backend(cpu_backend_config{1, isa, Experts::f, 16, rows_max,
                                                            Experts::f, 1, !kind.packed});
            for (uint32_t threads : {1u, 2u, 3u}) {
                Backend b = open_backend(cpu_backend_config{threads, isa, Experts::f, 16, rows_max,
                                                            Experts::f, count, !kind.packed});
                for (uint32_t most : {1u, 9u, rows_max}) {
                    std::vector<std::vector<uint32_t>> gather(count);
                    std::vector<std::vector<float>> out(count);
                    std::vector<struct expert_args> args;
                    for (uint32_t e = 0; e < count; e++) { /* the last of them has none */
                        for (uint32_t r = 0; e + 1 < count && r < rows_max; r++)
                            if (noise.below(rows_max) < most)
                                gather[e].push_back(r);
                        out[e].assign(gather[e].size() * Experts::h, NAN);
                        args.push_back(experts.args(e, out[e].data(), x.data(), gather[e]));
                    }
                    b->ops->experts(b.get(), args.data(), count);
                    for (uint32_t e = 0; e < count; e++) {
                        for (uint32_t i = e % 3; i < gather[e].size(); i += 7) {
                            std::vector<float> want(Experts::h);
                            struct expert_args one =
                                experts.args(e, want.data(), x.data(), gather[e]);
                            one.gather += i;
                            one.rows = 1;
                            alone->ops->experts(alone.get(), &one, 1);
                            ASSERT_TRUE(same_bits(want.data(), &out[e][i * Experts::h], Experts::h))
                                << cpu_isa_name(isa) << " " << dtype_info(kind.down)->name
                                << " expert " << e << " row " << i << " threads " << threads;
                        }
                    }
                }
            }
        }
    }
}

/* More experts than the backend was opened for, more rows than lie between the halves, other x. */
TEST(expert, a_call_of_any_size_is_done_in_rounds)
{
    Noise noise(12);
    const uint32_t count = 6, rows = 20;
    Experts experts(noise, count, DTYPE_Q4_0, DTYPE_Q4_0, DTYPE_Q4_0, true);
    std::vector<float> x = noise.list(rows * Experts::h), other = noise.list(rows * Experts::h);
    Backend b = open_backend(
        cpu_backend_config{2, CPU_BEST, Experts::f, 16, rows, Experts::f, 2, false});
    std::vector<uint32_t> all(rows);
    for (uint32_t r = 0; r < rows; r++)
        all[r] = r;
    std::vector<std::vector<float>> out(count, std::vector<float>(rows * Experts::h));
    std::vector<struct expert_args> args;
    for (uint32_t e = 0; e < count; e++)
        args.push_back(experts.args(e, out[e].data(), e == 3 ? other.data() : x.data(), all));
    b->ops->experts(b.get(), args.data(), count);
    for (uint32_t e = 0; e < count; e++) {
        std::vector<float> want(rows * Experts::h);
        struct expert_args one = args[e];
        one.out = want.data();
        b->ops->experts(b.get(), &one, 1);
        EXPECT_TRUE(same_bits(want.data(), out[e].data(), want.size())) << e;
    }
}

TEST(expert, exact_blocks_against_double)
{
    Noise noise(13);
    Experts experts(noise, 1, DTYPE_Q4_K, DTYPE_Q5_0, DTYPE_Q8_0, false);
    std::vector<float> x = noise.list(Experts::h, 0.2f), y(Experts::h);
    Backend b = open_backend(
        cpu_backend_config{1, CPU_BEST, Experts::f, 16, 1, Experts::f, 1, true});
    std::vector<uint32_t> gather = {0};
    struct expert_args args = experts.args(0, y.data(), x.data(), gather);
    b->ops->experts(b.get(), &args, 1);
    std::vector<double> hidden(Experts::f);
    for (uint32_t i = 0; i < Experts::f; i++) {
        double g = 0, u = 0;
        for (uint32_t k = 0; k < Experts::h; k++) {
            g += (double)experts.gates[0].row(i)[k] * x[k];
            u += (double)experts.ups[0].row(i)[k] * x[k];
        }
        hidden[i] = g / (1 + std::exp(-g)) * u;
    }
    for (uint32_t o = 0; o < Experts::h; o++) {
        double want = 0, magnitudes = 0;
        for (uint32_t i = 0; i < Experts::f; i++) {
            want += hidden[i] * experts.downs[0].row(o)[i];
            magnitudes += std::fabs(hidden[i] * experts.downs[0].row(o)[i]);
        }
        EXPECT_NEAR(y[o], want, 1e-5 * magnitudes);
    }
}
