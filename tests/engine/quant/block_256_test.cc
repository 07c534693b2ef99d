/* Blocks of 256 values against golden ones, and their 6-bit scales one by one. */
#include "engine/quant/block_256.h"

#include "tests/engine/quant/quant_checks.h"

#include <cmath>

TEST(block_256, decodes_as_an_independent_implementation_does)
{
    for (enum dtype dtype : {DTYPE_Q2_K, DTYPE_Q3_K, DTYPE_Q4_K, DTYPE_Q5_K, DTYPE_Q6_K})
        check_golden(dtype);
}

TEST(block_256, a_bit_of_the_scales_of_q4_k_belongs_to_one_number)
{
    /* scale s, bit k: where it is found. Every one of the 96 bits is used once. */
    std::vector<int> used(96, 0);
    for (int bit = 0; bit < 96; bit++) {
        uint8_t packed[12] = {0}, scale[8], min[8];
        packed[bit / 8] = (uint8_t)(1 << bit % 8);
        block_256_scales_q4_k(packed, scale, min);
        int ones = 0;
        for (int s = 0; s < 8; s++) {
            for (int k = 0; k < 8; k++) {
                for (int which = 0; which < 2; which++) {
                    if (((which ? min[s] : scale[s]) >> k & 1) == 0)
                        continue;
                    ones++;
                    ASSERT_LT(k, 6);
                    used[(size_t)((which * 8 + s) * 6 + k)]++;
                    int byte = s < 4 ? which * 4 + s : k < 4 ? 4 + s : which * 4 + s - 4;
                    int at = s < 4 ? k : k < 4 ? which * 4 + k : k + 2;
                    EXPECT_EQ(bit, byte * 8 + at) << s << " " << k << " " << which;
                }
            }
        }
        EXPECT_EQ(ones, 1);
    }
    for (int n : used)
        EXPECT_EQ(n, 1);
}

TEST(block_256, a_bit_of_the_scales_of_q3_k_belongs_to_one_number)
{
    for (int bit = 0; bit < 96; bit++) {
        uint8_t packed[12] = {0};
        int8_t scale[16];
        packed[bit / 8] = (uint8_t)(1 << bit % 8);
        block_256_scales_q3_k(packed, scale);
        int byte = bit / 8, at = bit % 8;
        int s = byte < 8 ? byte + at / 4 * 8 : byte - 8 + at / 2 * 4;
        int k = byte < 8 ? at % 4 : 4 + at % 2;
        for (int i = 0; i < 16; i++)
            EXPECT_EQ(scale[i], (i == s ? 1 << k : 0) - 32) << bit << " " << i;
    }
}

/* One code changes one value: which, by the drawing in block_256.c. */
TEST(block_256, a_code_belongs_to_one_value)
{
    struct place {
        enum dtype dtype;
        uint32_t at, bytes; /* of the low bits */
        int bits;
        std::vector<uint8_t> block; /* all scales not zero, all codes zero */
    };
    std::vector<place> places;
    for (auto [dtype, at, bytes, low_bits] :
         {std::tuple{DTYPE_Q2_K, 16u, 64u, 2}, {DTYPE_Q3_K, 32u, 64u, 2},
          {DTYPE_Q4_K, 16u, 128u, 4}, {DTYPE_Q5_K, 48u, 128u, 4}, {DTYPE_Q6_K, 0u, 128u, 4}}) {
        place p{dtype, at, bytes, low_bits, {}};
        p.block.assign(dtype_info(dtype)->block_bytes, 0x11);
        memset(p.block.data() + at, 0, bytes);
        places.push_back(p);
    }
    for (place &p : places) {
        SCOPED_TRACE(dtype_info(p.dtype)->name);
        std::vector<float> zero(256), one(256);
        dtype_decode(p.dtype, p.block.data(), zero.data(), 256);
        for (int i = 0; i < 256; i++) {
            int l = i % 32, v = i / 32, byte, shift;
            if (p.bits == 2) {
                byte = v / 4 * 32 + l;
                shift = v % 4 * 2;
            } else if (p.dtype == DTYPE_Q6_K) {
                byte = i / 128 * 64 + i % 64;
                shift = i / 64 % 2 * 4;
            } else {
                byte = v / 2 * 32 + l;
                shift = v % 2 * 4;
            }
            std::vector<uint8_t> block = p.block;
            block[p.at + (uint32_t)byte] = (uint8_t)(1 << shift);
            dtype_decode(p.dtype, block.data(), one.data(), 256);
            for (int j = 0; j < 256; j++)
                ASSERT_EQ(one[j] != zero[j], j == i) << i << " " << j;
        }
    }
}

TEST(block_256, a_half_that_is_no_number_stays_one)
{
    uint8_t block[144] = {0};
    float values[256];
    uint16_t nan = 0x7e00;
    memcpy(block, &nan, 2);
    dtype_decode(DTYPE_Q4_K, block, values, 256);
    for (float f : values)
        EXPECT_TRUE(std::isnan(f));
}

TEST(block_256_death, only_its_formats)
{
    uint8_t block[64] = {0};
    float values[32];
    EXPECT_DEATH(block_256_decode(DTYPE_Q4_0, block, values, 1), "Q4_0 has no blocks of 256");
}
