/* The AVX2 search gives the bytes of the plain one. */
#include "engine/quant/encode_q4_k.h"

#include "tests/engine/quant/encode_q4_k_checks.h"

#include <cfloat>

#if defined(__x86_64__)
TEST(encode_q4_k_avx2, same_bytes_as_the_plain_search)
{
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma"))
        GTEST_SKIP() << "this processor has no AVX2";
    scratch::Random random(6);
    for (int round = 0; round < 300; round++) {
        const float deviations[] = {1e-6f, 0.02f, 1e6f};
        std::vector<float> x = normal(random, 257, deviations[round % 3]);
        for (int k = 0; k < round % 7; k++) {
            const float edges[] = {0.0f,         -0.0f,  FLT_MAX, -FLT_MAX,
                                   FLT_TRUE_MIN, 1e-20f, 5.0f,    -3e7f};
            x[random.below(257)] = edges[random.below(8)];
        }
        if (round % 5 == 0) /* sub-blocks that are all equal, all zero, all of one sign */
            for (size_t i = 1; i < 129; i++)
                x[i] = i < 33 ? 0.25f : i < 65 ? 0.0f : i < 97 ? -x[200] : x[i] * x[i];
        std::vector<uint8_t> plain(145, 0xa5), avx2(145, 0xa5);
        encode_q4_k_plain(x.data() + 1, plain.data());
        encode_q4_k_avx2(x.data() + 1, avx2.data());
        ASSERT_EQ(plain, avx2) << round;
        EXPECT_EQ(avx2[144], 0xa5);
    }
}
#else
TEST(encode_q4_k_avx2, is_for_x86)
{
    GTEST_SKIP() << "not an x86-64 build";
}
#endif
