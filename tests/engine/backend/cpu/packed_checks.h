/* The checks that every table of packed kernels must pass: the same bits as packed_scalar, for
 * every format, shape, split and gathering. Each instruction set's test program instantiates them
 * by including this file after naming its table. Weights are random bits, scales included, but
 * finite. */
#ifndef MOERING_TESTS_ENGINE_BACKEND_CPU_PACKED_CHECKS_H
#define MOERING_TESTS_ENGINE_BACKEND_CPU_PACKED_CHECKS_H

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "engine/backend/cpu/packed_kernels.h"

inline const std::vector<enum dtype> &block_dtypes()
{
    static const std::vector<enum dtype> list = [] {
        std::vector<enum dtype> all;
        for (int t = 0; t < DTYPE_COUNT; t++)
            if (!dtype_is_plain((enum dtype)t))
                all.push_back((enum dtype)t);
        return all;
    }();
    return list;
}

struct Free {
    void operator()(void *p) const { free(p); }
};

/* A matrix of random blocks, in the order of files and packed. The packed one ends where its
 * allocation ends, so that a read past it is seen. */
struct PackedMatrix {
    enum dtype dtype;
    uint32_t rows;
    size_t cols, row_bytes;
    std::vector<uint8_t> file;
    std::unique_ptr<uint8_t, Free> memory;
    uint8_t *packed;

    PackedMatrix(std::mt19937 &random, enum dtype type, uint32_t row_count, size_t col_count,
                 size_t misalign = 0)
        : dtype(type), rows(row_count), cols(col_count)
    {
        const struct dtype_info *info = dtype_info(dtype);
        row_bytes = cols / info->block_values * info->block_bytes;
        file.resize(rows * row_bytes);
        for (uint8_t &byte : file)
            byte = (uint8_t)random();
        for (size_t at = 0; at < file.size(); at += info->block_bytes)
            make_finite(random, &file[at]);
        memory.reset((uint8_t *)aligned_alloc(64, (misalign + file.size() + 63) / 64 * 64));
        size_t slack = (64 - (misalign + file.size()) % 64) % 64;
        if (misalign) /* the end is exact then, the start where it falls */
            misalign += slack;
        packed = memory.get() + misalign;
        packed_pack(dtype, file.data(), packed, rows, cols);
    }

private:
    /* Fields of two bytes are halves, those of one exponents. Every third block has scales of
     * ordinary size, the others any finite bits: subnormal, negative, zero. */
    void make_finite(std::mt19937 &random, uint8_t *block) const
    {
        uint32_t count;
        const struct packed_field *fields = packed_fields(dtype, &count);
        bool ordinary = random() % 3 == 0;
        for (uint32_t i = 0; i < count; i++) {
            uint8_t *at = block + fields[i].at;
            if (fields[i].unit_bytes == 1)
                *at = (uint8_t)(random() % (ordinary ? 8 : 200) + (ordinary ? 120 : 0));
            for (uint32_t u = 0; fields[i].unit_bytes == 2 && u < fields[i].units; u++) {
                uint16_t h = (uint16_t)random();
                if (ordinary || (h >> 10 & 31) == 31)
                    h = (uint16_t)((h & 0x83ff) | 9 << 10);
                memcpy(at + 2 * u, &h, sizeof h);
            }
        }
    }
};

/* Rows of activations and the same in 8 bits. */
struct PackedRows {
    uint32_t rows;
    size_t cols;
    std::vector<float> values;
    std::unique_ptr<uint8_t, Free> memory;
    struct packed_x x;

    PackedRows(std::mt19937 &random, const struct packed_kernels *kernels, uint32_t row_count,
               size_t col_count)
        : rows(row_count), cols(col_count), values(row_count * col_count)
    {
        std::normal_distribution<float> normal;
        for (float &f : values)
            f = normal(random) * (random() % 50 == 0 ? 20.0f : 1.0f);
        place(kernels);
    }
    PackedRows(const struct packed_kernels *kernels, const std::vector<float> &v, size_t col_count)
        : rows((uint32_t)(v.size() / col_count)), cols(col_count), values(v)
    {
        place(kernels);
    }
    void place(const struct packed_kernels *kernels)
    {
        size_t bytes = rows * packed_x_row_bytes(cols);
        memory.reset((uint8_t *)aligned_alloc(64, bytes));
        memset(memory.get(), 0xa5, bytes);
        packed_x_place(&x, memory.get(), rows, cols);
        for (uint32_t r = 0; r < rows; r++)
            kernels->quantize(&x, r, values.data() + r * cols);
    }
};

inline bool same_float(float a, float b)
{
    return memcmp(&a, &b, sizeof a) == 0 || (std::isnan(a) && std::isnan(b));
}

inline std::vector<size_t> packed_cols_of(enum dtype dtype)
{
    if (dtype_info(dtype)->block_values == 256)
        return {256, 512, 1280};
    return {32, 64, 96, 160, 480, 1024};
}

inline std::unique_ptr<uint8_t, Free> packed_scratch(size_t cols)
{
    return std::unique_ptr<uint8_t, Free>(
        (uint8_t *)aligned_alloc(64, PACKED_SCRATCH_BYTES(cols)));
}

/* The outputs [first, first + outputs) for the x rows given, NaN where nothing was written; one
 * more output and row than there are, to see that they stay so. */
inline std::vector<float> packed_dot(const struct packed_kernels *kernels, const PackedMatrix &w,
                                     const PackedRows &x, uint32_t first, uint32_t outputs,
                                     const uint32_t *rows, uint32_t count)
{
    auto scratch = packed_scratch(w.cols);
    std::vector<float> out((size_t)(count + 1) * (outputs + 1),
                           std::numeric_limits<float>::quiet_NaN());
    struct packed_tile tile = {};
    tile.w = w.packed;
    tile.w_rows = w.rows;
    tile.first = first;
    tile.outputs = outputs;
    tile.x = x.x;
    tile.rows = rows;
    tile.count = count;
    tile.out = out.data();
    tile.out_stride = outputs + 1;
    tile.scratch = scratch.get();
    kernels->dot[w.dtype](&tile);
    return out;
}

class PackedTest : public testing::Test {
protected:
    static const char *table(); /* defined by the including test */
    const struct packed_kernels *kernels = nullptr;
    std::mt19937 random{1};
    void SetUp() override
    {
        for (uint32_t i = 0; packed_kernels_at(i); i++)
            if (strcmp(packed_kernels_at(i)->name, table()) == 0)
                kernels = packed_kernels_at(i);
        if (!kernels)
            GTEST_SKIP() << "this machine or this build has no " << table();
    }
    void expect_same(const PackedMatrix &w, const PackedRows &x, uint32_t first, uint32_t outputs,
                     const uint32_t *rows, uint32_t count)
    {
        std::vector<float> got = packed_dot(kernels, w, x, first, outputs, rows, count);
        std::vector<float> want = packed_dot(&packed_scalar, w, x, first, outputs, rows, count);
        size_t bad = 0;
        for (size_t i = 0; i < got.size(); i++) {
            if (!same_float(got[i], want[i]) && bad++ == 0)
                ADD_FAILURE() << dtype_info(w.dtype)->name << " " << w.rows << "x" << w.cols
                              << " outputs " << first << "+" << outputs << " of " << count
                              << " rows: row " << i / (outputs + 1) << " output "
                              << i % (outputs + 1) << " is " << got[i] << ", not " << want[i];
        }
        ASSERT_EQ(bad, 0u);
    }
    void expect_same_quantized(const std::vector<float> &values, size_t cols)
    {
        PackedRows got(kernels, values, cols), want(&packed_scalar, values, cols);
        size_t blocks = values.size() / ACTIVATION_BLOCK;
        EXPECT_EQ(memcmp(got.x.q, want.x.q, values.size()), 0);
        EXPECT_EQ(memcmp(got.x.count, want.x.count, 2 * blocks * sizeof(int16_t)), 0);
        for (size_t i = 0; i < 2 * blocks; i++) {
            ASSERT_TRUE(same_float(got.x.sum16[i], want.x.sum16[i])) << i;
            ASSERT_TRUE(same_float(got.x.scale[i / 2], want.x.scale[i / 2])) << i / 2;
            ASSERT_TRUE(same_float(got.x.sum32[i / 2], want.x.sum32[i / 2])) << i / 2;
        }
    }
};

TEST_F(PackedTest, table_is_complete)
{
    EXPECT_NE(kernels->quantize, nullptr);
    EXPECT_GE(kernels->rows_full, 1u);
    for (int t = 0; t < DTYPE_COUNT; t++)
        EXPECT_EQ(kernels->dot[t] != nullptr, !dtype_is_plain((enum dtype)t)) << t;
}

TEST_F(PackedTest, any_number_of_outputs)
{
    for (enum dtype dtype : block_dtypes()) {
        for (uint32_t outputs = 1; outputs <= 40; outputs++) {
            PackedMatrix w(random, dtype, outputs, packed_cols_of(dtype)[outputs % 2], outputs % 3);
            PackedRows x(random, &packed_scalar, 3, w.cols);
            expect_same(w, x, 0, outputs, nullptr, 1 + outputs % 3);
        }
    }
}

TEST_F(PackedTest, any_number_of_rows)
{
    for (enum dtype dtype : block_dtypes()) {
        PackedMatrix w(random, dtype, 37, 512);
        PackedRows x(random, &packed_scalar, 40, w.cols);
        for (uint32_t count = 1; count <= 40; count++)
            expect_same(w, x, 0, w.rows, nullptr, count);
    }
}

TEST_F(PackedTest, more_rows_than_any_tile_holds)
{
    for (enum dtype dtype : block_dtypes()) {
        PackedMatrix w(random, dtype, 16 + 9, 256);
        PackedRows x(random, &packed_scalar, 301, w.cols);
        for (uint32_t count : {63u, 64u, 65u, 127u, 128u, 129u, 300u, 301u})
            expect_same(w, x, 0, w.rows, nullptr, count);
    }
}

TEST_F(PackedTest, any_number_of_columns_at_any_address)
{
    for (enum dtype dtype : block_dtypes()) {
        for (size_t cols : packed_cols_of(dtype)) {
            PackedRows x(random, &packed_scalar, 33, cols);
            for (size_t misalign : {0, 1, 2, 6}) {
                PackedMatrix w(random, dtype, 35, cols, misalign);
                for (uint32_t count : {1u, 5u, 33u})
                    expect_same(w, x, 0, w.rows, nullptr, count);
            }
        }
    }
}

TEST_F(PackedTest, splits_and_gathered_rows)
{
    for (enum dtype dtype : block_dtypes()) {
        PackedMatrix w(random, dtype, 90, 256);
        PackedRows x(random, &packed_scalar, 80, w.cols);
        std::vector<uint32_t> rows(120);
        for (uint32_t &r : rows)
            r = random() % x.rows;
        for (uint32_t first = 0; first < w.rows; first += 16) {
            uint32_t left = w.rows - first;
            for (uint32_t outputs : {left, left < 16 ? left : 16, left < 48 ? left : 48}) {
                for (uint32_t count : {1u, 2u, 8u, 11u, 16u, 17u, 70u, 120u})
                    expect_same(w, x, first, outputs, rows.data(), count);
            }
        }
    }
}

TEST_F(PackedTest, a_result_is_its_rows_alone)
{
    for (enum dtype dtype : block_dtypes()) {
        PackedMatrix w(random, dtype, 64, 512);
        PackedRows x(random, kernels, 48, w.cols);
        std::vector<float> all = packed_dot(kernels, w, x, 0, 64, nullptr, 48);
        for (uint32_t r = 0; r < 48; r += 5) {
            std::vector<float> one = packed_dot(kernels, w, x, 16, 32, &r, 1);
            for (uint32_t o = 0; o < 32; o++)
                ASSERT_TRUE(same_float(one[o], all[r * 65 + 16 + o])) << r << " " << o;
        }
    }
}

/* The largest sums that there are: every code at either end, every q at 127 or -127. */
TEST_F(PackedTest, extreme_codes_do_not_overflow)
{
    for (enum dtype dtype : block_dtypes()) {
        for (uint8_t byte : {0x00, 0x80, 0x7f, 0xff, 0x77, 0x88}) {
            PackedMatrix w(random, dtype, 16, 256);
            const struct dtype_info *info = dtype_info(dtype);
            uint32_t count;
            const struct packed_field *fields = packed_fields(dtype, &count);
            for (size_t at = 0; at < w.file.size(); at += info->block_bytes)
                for (uint32_t i = 0; i < count; i++)
                    if (fields[i].unit_bytes == 4)
                        memset(&w.file[at + fields[i].at], byte, 4 * fields[i].units);
            packed_pack(dtype, w.file.data(), w.packed, w.rows, w.cols);
            std::vector<float> values;
            for (int r = 0; r < 17; r++)
                for (int i = 0; i < 256; i++)
                    values.push_back((r == 0 || (r > 1 && random() % 2)) ? 1.0f : -1.0f);
            PackedRows x(&packed_scalar, values, 256);
            expect_same(w, x, 0, 16, nullptr, 1);
            expect_same(w, x, 0, 16, nullptr, 17);
        }
    }
}

TEST_F(PackedTest, quantize_ordinary_rows)
{
    std::normal_distribution<float> normal;
    for (size_t cols : {32, 64, 96, 416, 1024}) {
        std::vector<float> values(5 * cols);
        for (float &f : values)
            f = normal(random) * std::ldexp(1.0f, (int)(random() % 8));
        expect_same_quantized(values, cols);
    }
}

TEST_F(PackedTest, quantize_any_bits)
{
    for (int exponent : {0, 1, 2, 5, 8, 100, 127, 200, 254, 255}) {
        std::vector<float> values(64 * 32);
        for (float &f : values) {
            uint32_t bits = (uint32_t)random();
            uint32_t e =
                exponent ? (uint32_t)exponent - random() % (exponent < 9 ? exponent : 9) : 0;
            if (exponent == 255 && random() % 40)
                e = 200;
            bits = (bits & 0x807fffffu) | e << 23;
            if (exponent == 0)
                bits &= 0x800000ffu; /* the smallest subnormals, where scales round coarsely */
            memcpy(&f, &bits, sizeof f);
        }
        expect_same_quantized(values, 64);
    }
}

TEST_F(PackedTest, quantize_ties_zeros_and_not_numbers)
{
    const float inf = std::numeric_limits<float>::infinity();
    std::vector<float> values;
    for (int i = 0; i < 32; i++) /* scale 1: halves round to even */
        values.push_back(i == 0 ? 127.0f : (float)(i - 16) + 0.5f);
    for (int i = 0; i < 32; i++)
        values.push_back(i % 2 ? -0.0f : 0.0f);
    for (float bad : {inf, -inf, NAN, -NAN})
        for (int i = 0; i < 32; i++)
            values.push_back(i == 13 ? bad : (float)i);
    expect_same_quantized(values, 32);
    PackedRows x(kernels, values, 32);
    EXPECT_EQ(x.x.scale[0], 1.0f);
    EXPECT_EQ(x.x.q[1], -14); /* -14.5 */
    EXPECT_EQ(x.x.q[2], -14); /* -13.5 */
    EXPECT_EQ(x.x.scale[1], 0.0f);
    for (int b = 2; b < 6; b++) {
        EXPECT_TRUE(std::isnan(x.x.scale[b])) << b;
        EXPECT_EQ(x.x.q[32 * b], 0) << b;
    }
}

TEST_F(PackedTest, a_nan_is_seen_in_every_output_of_its_row_alone)
{
    for (enum dtype dtype : block_dtypes()) {
        PackedMatrix w(random, dtype, 20, 256);
        std::vector<float> values(18 * 256, 1.0f);
        values[3 * 256 + 77] = NAN;
        PackedRows x(kernels, values, 256);
        std::vector<float> out = packed_dot(kernels, w, x, 0, 20, nullptr, 18);
        for (uint32_t r = 0; r < 18; r++)
            for (uint32_t o = 0; o < 20; o++)
                ASSERT_EQ(std::isnan(out[r * 21 + o]), r == 3) << r << " " << o;
    }
}

#endif
