/* Which tables exist, and that they agree with each other as far as rounding allows. */
#include "engine/backend/cpu/kernels.h"

#include "tests/engine/backend/cpu/cpu_checks.h"

TEST(kernels, scalar_is_everywhere)
{
    EXPECT_EQ(kernels_find(CPU_SCALAR), &kernels_scalar);
    EXPECT_EQ(kernels_find(CPU_BEST), nullptr);
}

TEST(kernels, tables_are_complete)
{
    for (enum cpu_isa isa : machine_isas()) {
        const struct kernels *k = kernels_find(isa);
        EXPECT_GE(k->tile_x, 1u);
        EXPECT_LE(k->tile_x, (uint32_t)KERNEL_TILE_X_MAX);
        for (enum dtype t : all_dtypes()) {
            EXPECT_NE(k->format[t].dot, nullptr);
            EXPECT_NE(k->format[t].decode, nullptr);
            EXPECT_NE(k->format[t].accumulate, nullptr);
            EXPECT_NE(k->format[t].dots, nullptr);
        }
        EXPECT_TRUE(k->encode_f16 && k->sum_squares && k->normalize && k->product && k->scale_max &&
                    k->exp_sum && k->rotate && k->silu_mul && k->scale && k->add && k->add_scaled &&
                    k->exp);
    }
}

TEST(kernels, instruction_sets_agree_to_rounding)
{
    Noise noise(10);
    for (uint32_t n : odd_sizes()) {
        std::vector<float> x = noise.list(n, 5.0f);
        std::vector<float> want = x;
        float want_max = kernels_scalar.scale_max(want.data(), 0.7f, n);
        float want_sum = kernels_scalar.exp_sum(want.data(), want_max, n);
        for (enum cpu_isa isa : machine_isas()) {
            std::vector<float> got = x;
            float max = kernels_find(isa)->scale_max(got.data(), 0.7f, n);
            EXPECT_EQ(max, want_max);
            float sum = kernels_find(isa)->exp_sum(got.data(), max, n);
            EXPECT_NEAR(sum, want_sum, 1e-6 * want_sum) << cpu_isa_name(isa);
            for (uint32_t i = 0; i < n; i++)
                EXPECT_NEAR(got[i], want[i], 1e-6 * want[i] + 1e-12) << cpu_isa_name(isa);
        }
    }
}
