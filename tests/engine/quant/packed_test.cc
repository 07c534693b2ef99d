/* Packed rows against the sentence that defines them, and back. */
#include "engine/quant/packed.h"

#include "tests/engine/quant/quant_checks.h"

#include <algorithm>
#include <set>

namespace {

/* packed.h's drawing, byte by byte. */
std::vector<uint8_t> packed_by_definition(enum dtype dtype, const std::vector<uint8_t> &from,
                                          uint32_t rows, size_t blocks)
{
    uint32_t count;
    const struct packed_field *fields = packed_fields(dtype, &count);
    size_t block_bytes = dtype_info(dtype)->block_bytes;
    std::vector<uint8_t> out;
    for (uint32_t first = 0; first < rows; first += PACKED_ROWS)
        for (uint32_t f = 0; f < count; f++)
            for (size_t b = 0; b < blocks; b++)
                for (uint32_t u = 0; u < fields[f].units; u++)
                    for (uint32_t r = first; r < std::min(rows, first + PACKED_ROWS); r++)
                        for (uint32_t i = 0; i < fields[f].unit_bytes; i++)
                            out.push_back(from[(r * blocks + b) * block_bytes + fields[f].at +
                                               u * fields[f].unit_bytes + i]);
    return out;
}

} // namespace

TEST(packed, fields_cover_a_block_once)
{
    for (enum dtype dtype : block_dtypes()) {
        uint32_t count = 0;
        const struct packed_field *fields = packed_fields(dtype, &count);
        ASSERT_NE(fields, nullptr);
        ASSERT_LE(count, (uint32_t)PACKED_FIELDS_MAX);
        std::multiset<uint32_t> bytes;
        for (uint32_t f = 0; f < count; f++) {
            EXPECT_TRUE(fields[f].unit_bytes == 1 || fields[f].unit_bytes == 2 ||
                        fields[f].unit_bytes == 4);
            for (uint32_t i = 0; i < fields[f].unit_bytes * fields[f].units; i++)
                bytes.insert(fields[f].at + i);
        }
        ASSERT_EQ(bytes.size(), dtype_info(dtype)->block_bytes) << dtype_info(dtype)->name;
        uint32_t expected = 0;
        for (uint32_t byte : bytes)
            EXPECT_EQ(byte, expected++) << dtype_info(dtype)->name;
    }
    for (enum dtype dtype : {DTYPE_F32, DTYPE_F16, DTYPE_BF16}) {
        uint32_t count = 7;
        EXPECT_EQ(packed_fields(dtype, &count), nullptr);
        EXPECT_EQ(count, 0u);
    }
}

TEST(packed, field_offsets)
{
    EXPECT_EQ(packed_field_offset(DTYPE_Q8_0, 0, 16, 64), 0u);
    EXPECT_EQ(packed_field_offset(DTYPE_Q8_0, 1, 16, 64), 16u * 2 * 2);
    EXPECT_EQ(packed_field_offset(DTYPE_Q4_K, 1, 16, 512), 16u * 2 * 4);
    EXPECT_EQ(packed_field_offset(DTYPE_Q4_K, 2, 5, 512), 5u * 2 * (4 + 12));
    EXPECT_EQ(packed_field_offset(DTYPE_Q6_K, 3, 3, 256), 3u * (2 + 16 + 64));
    EXPECT_EQ(packed_field_offset(DTYPE_MXFP4, 1, 16, 32), 16u);
}

/* Sizes on both sides of a group and of every loop inside one, from odd addresses too. */
TEST(packed, is_the_transpose_that_it_says_and_back)
{
    for (enum dtype dtype : block_dtypes()) {
        const struct dtype_info *info = dtype_info(dtype);
        for (uint32_t rows = 1; rows <= 33; rows++) {
            for (size_t blocks : {1u, 2u, 3u, 5u, 8u}) {
                size_t cols = blocks * info->block_values, size = rows * blocks * info->block_bytes;
                std::vector<uint8_t> from = scratch::noise(rows * 100 + blocks, size);
                std::vector<uint8_t> want = packed_by_definition(dtype, from, rows, blocks);
                for (size_t skip : {0u, 1u}) {
                    std::vector<uint8_t> odd(size + skip), to(size + 2, 0xa5), back(size + 2, 0xa5);
                    memcpy(odd.data() + skip, from.data(), size);
                    packed_pack(dtype, odd.data() + skip, to.data() + skip, rows, cols);
                    ASSERT_EQ(memcmp(to.data() + skip, want.data(), size), 0)
                        << info->name << " " << rows << " x " << cols << " skip " << skip;
                    packed_unpack(dtype, to.data() + skip, back.data() + skip, rows, cols);
                    ASSERT_EQ(memcmp(back.data() + skip, from.data(), size), 0)
                        << info->name << " " << rows << " x " << cols << " skip " << skip;
                    for (const std::vector<uint8_t> *v : {&to, &back}) {
                        EXPECT_EQ(v->back(), 0xa5);
                        EXPECT_EQ((*v)[skip ? 0 : size], 0xa5);
                    }
                }
            }
        }
    }
}

TEST(packed, a_row_decodes_as_it_did)
{
    for (enum dtype dtype : block_dtypes()) {
        const struct dtype_info *info = dtype_info(dtype);
        for (uint32_t rows : {1u, 2u, 15u, 16u, 17u, 33u}) {
            size_t blocks = 3, cols = blocks * info->block_values;
            std::vector<uint8_t> from = random_blocks(dtype, rows * blocks, rows);
            std::vector<uint8_t> packed(from.size());
            packed_pack(dtype, from.data(), packed.data(), rows, cols);
            std::vector<float> want(rows * cols), got(cols + 1, 42.0f);
            dtype_decode(dtype, from.data(), want.data(), want.size());
            for (uint32_t r = 0; r < rows; r++) {
                packed_decode_row(dtype, packed.data(), rows, cols, r, got.data());
                ASSERT_EQ(memcmp(got.data(), &want[r * cols], cols * sizeof(float)), 0)
                    << info->name << " row " << r << " of " << rows;
                EXPECT_EQ(got[cols], 42.0f);
            }
        }
    }
}

TEST(packed, no_rows_are_no_work)
{
    packed_pack(DTYPE_Q4_0, nullptr, nullptr, 0, 32);
    packed_unpack(DTYPE_Q4_0, nullptr, nullptr, 0, 32);
}

TEST(packed_death, plain_formats_and_parts_of_blocks)
{
    uint8_t from[256] = {0}, to[256];
    float row[64];
    EXPECT_DEATH(packed_pack(DTYPE_F16, from, to, 1, 32), "F16 is never packed");
    EXPECT_DEATH(packed_unpack(DTYPE_F32, from, to, 1, 32), "F32 is never packed");
    EXPECT_DEATH(packed_pack(DTYPE_Q4_K, from, to, 1, 32), "32 columns are no blocks of Q4_K");
    EXPECT_DEATH(packed_decode_row(DTYPE_Q4_0, from, 1, 32, 1, row), "row < rows");
}
