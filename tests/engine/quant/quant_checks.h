/* What the tests of the number formats share: the golden blocks, and random ones. */
#ifndef MOERING_TESTS_ENGINE_QUANT_QUANT_CHECKS_H
#define MOERING_TESTS_ENGINE_QUANT_QUANT_CHECKS_H

#include "engine/quant/dtype.h"
#include "tests/support/scratch.h"

#include <gtest/gtest.h>

#include <cctype>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

inline std::vector<enum dtype> block_dtypes()
{
    std::vector<enum dtype> out;
    for (int t = 0; t < DTYPE_COUNT; t++)
        if (!dtype_is_plain((enum dtype)t))
            out.push_back((enum dtype)t);
    return out;
}

inline uint32_t bits(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

inline float of_bits(uint32_t u)
{
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

/* tests/golden/quant/<name in lower case>.<kind>; empty and a failure where it cannot be read. */
inline std::vector<uint8_t> golden_file(enum dtype dtype, const std::string &kind)
{
    const char *source = getenv("MOERING_SOURCE_DIR");
    std::string path = std::string(source ? source : ".") + "/tests/golden/quant/";
    for (const char *c = dtype_info(dtype)->name; *c; c++)
        path += (char)tolower((unsigned char)*c);
    std::ifstream file(path + "." + kind, std::ios::binary);
    EXPECT_TRUE(file.good()) << path << "." << kind;
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

/* Bytes of blocks without a NaN or an infinity in their halves. Random bits would have them; to
 * find the halves without a second table of layouts, blocks that do not decode to finite values are
 * drawn again. */
inline std::vector<uint8_t> random_blocks(enum dtype dtype, size_t blocks, uint64_t seed)
{
    const struct dtype_info *info = dtype_info(dtype);
    std::vector<uint8_t> out;
    std::vector<float> values(info->block_values);
    while (out.size() < blocks * info->block_bytes) {
        std::vector<uint8_t> block = scratch::noise(seed++ * 1000003, info->block_bytes);
        dtype_decode(dtype, block.data(), values.data(), info->block_values);
        bool finite = true;
        for (float f : values)
            finite = finite && (bits(f) & 0x7f800000u) != 0x7f800000u;
        if (finite)
            out.insert(out.end(), block.begin(), block.end());
    }
    return out;
}

/* Decodes the golden blocks, all at once and each from an odd address, to the same bits. */
inline void check_golden(enum dtype dtype)
{
    SCOPED_TRACE(dtype_info(dtype)->name);
    const struct dtype_info *info = dtype_info(dtype);
    std::vector<uint8_t> blocks = golden_file(dtype, "blocks"), f32 = golden_file(dtype, "f32");
    size_t count = blocks.size() / info->block_bytes, values = count * info->block_values;
    ASSERT_GE(count, 16u);
    ASSERT_EQ(blocks.size(), count * info->block_bytes);
    ASSERT_EQ(f32.size(), values * sizeof(float));
    std::vector<float> want(values), got(values + 1, 42.0f);
    memcpy(want.data(), f32.data(), f32.size());
    dtype_decode(dtype, blocks.data(), got.data(), values);
    EXPECT_EQ(got[values], 42.0f);
    for (size_t i = 0; i < values; i++)
        ASSERT_EQ(bits(got[i]), bits(want[i])) << "value " << i << ": " << got[i] << " " << want[i];
    for (size_t b = 0; b < count; b++) {
        std::vector<uint8_t> odd(info->block_bytes + 1);
        memcpy(odd.data() + 1, blocks.data() + b * info->block_bytes, info->block_bytes);
        dtype_decode(dtype, odd.data() + 1, got.data(), info->block_values);
        ASSERT_EQ(memcmp(got.data(), &want[b * info->block_values], info->block_values * 4), 0)
            << "block " << b;
    }
}

#endif
