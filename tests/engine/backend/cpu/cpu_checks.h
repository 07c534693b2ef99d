/* What the tests of the CPU backend share: noise with a seed, matrices with a known decoded truth
 * at chosen misalignments, a backend that closes itself, and lists of what to try. */
#ifndef MOERING_TESTS_ENGINE_BACKEND_CPU_CPU_CHECKS_H
#define MOERING_TESTS_ENGINE_BACKEND_CPU_CPU_CHECKS_H

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "engine/backend/backend.h"
#include "engine/backend/cpu/kernels.h"
#include "engine/quant/packed.h"

struct Noise {
    std::mt19937 engine;
    explicit Noise(uint32_t seed) : engine(seed) {}
    float next(float scale = 1.0f)
    {
        return std::uniform_real_distribution<float>(-scale, scale)(engine);
    }
    uint32_t below(uint32_t n) { return (uint32_t)(engine() % n); }
    std::vector<float> list(size_t n, float scale = 1.0f)
    {
        std::vector<float> v(n);
        for (float &f : v)
            f = next(scale);
        return v;
    }
};

/* A matrix in a number format at an address of the wanted misalignment, ending where its allocation
 * ends (so that a read past it is seen), with the decoded values beside it. */
struct Matrix {
    std::vector<uint8_t> raw;
    std::vector<float> values;
    struct tensor tensor;
    Matrix(Noise &noise, enum dtype dtype, uint32_t rows, uint32_t cols, size_t misalign = 0,
           float scale = 1.0f)
        : values(noise.list((size_t)rows * cols, scale))
    {
        size_t bytes = values.size() * dtype_info(dtype)->block_bytes;
        raw.resize(misalign + bytes);
        if (bytes > 0)
            dtype_encode(dtype, values.data(), raw.data() + misalign, values.size());
        if (bytes > 0)
            dtype_decode(dtype, raw.data() + misalign, values.data(), values.size());
        tensor = {raw.data() + misalign, dtype, rows, cols};
    }
    const float *row(uint32_t r) const { return values.data() + (size_t)r * tensor.cols; }
};

/* A matrix in a block format with weights of ordinary size, in the order of files or packed, and
 * the decoded values. Random bits but for the scales, which are small finite numbers. */
struct BlockMatrix {
    std::vector<uint8_t> file, packed;
    std::vector<float> values;
    struct tensor tensor;
    BlockMatrix(Noise &noise, enum dtype dtype, uint32_t rows, uint32_t cols, bool pack)
    {
        const struct dtype_info *info = dtype_info(dtype);
        uint32_t fields;
        const struct packed_field *field = packed_fields(dtype, &fields);
        file.resize((size_t)rows * cols / info->block_values * info->block_bytes);
        for (uint8_t &byte : file)
            byte = (uint8_t)noise.below(256);
        for (size_t at = 0; at < file.size(); at += info->block_bytes) {
            for (uint32_t f = 0; f < fields; f++) {
                uint8_t *scale = &file[at + field[f].at];
                for (uint32_t u = 0; field[f].unit_bytes == 2 && u < field[f].units; u++) {
                    uint16_t h = f32_to_f16(noise.next(0.02f));
                    memcpy(scale + 2 * u, &h, sizeof h);
                }
                if (field[f].unit_bytes == 1)
                    *scale = (uint8_t)(115 + noise.below(8)); /* an exponent */
            }
        }
        values.resize((size_t)rows * cols);
        dtype_decode(dtype, file.data(), values.data(), values.size());
        packed.resize(file.size());
        packed_pack(dtype, file.data(), packed.data(), rows, cols);
        tensor = {pack ? packed.data() : file.data(), dtype, rows, cols,
                  pack ? LAYOUT_PACKED : LAYOUT_ROWS};
    }
    const float *row(uint32_t r) const { return values.data() + (size_t)r * tensor.cols; }
};

inline const std::vector<enum dtype> &all_block_dtypes()
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

struct CloseBackend {
    void operator()(struct backend *b) const { backend_close(b); }
};
using Backend = std::unique_ptr<struct backend, CloseBackend>;

inline Backend open_backend(struct cpu_backend_config config)
{
    struct backend *b = nullptr;
    struct error error = {};
    EXPECT_EQ(cpu_backend_open(&b, &config, &error), STATUS_OK) << error.text;
    return Backend(b);
}

inline Backend open_backend(enum cpu_isa isa, uint32_t threads, uint32_t context_max = 512,
                            uint32_t expert_width_max = 512, uint32_t rows_max = 80)
{
    struct cpu_backend_config config = {threads, isa, expert_width_max, context_max, rows_max};
    return open_backend(config);
}

/* All that this machine can run. Threads meet in the same places whatever they compute, so for the
 * thread sanitizer, under which this takes minutes, the best alone. */
inline std::vector<enum cpu_isa> machine_isas()
{
    std::vector<enum cpu_isa> isas;
    for (int i = 0; i < CPU_ISA_COUNT; i++) {
        if (kernels_find((enum cpu_isa)i))
            isas.push_back((enum cpu_isa)i);
    }
#ifdef __SANITIZE_THREAD__
    isas.erase(isas.begin(), isas.end() - 1);
#endif
    return isas;
}

inline const std::vector<enum dtype> &all_dtypes()
{
    static const std::vector<enum dtype> list = {DTYPE_F32, DTYPE_F16, DTYPE_BF16};
    return list;
}

inline const std::vector<uint32_t> &odd_sizes()
{
    static const std::vector<uint32_t> list = {1, 2, 3, 7, 31, 33, 64, 127, 128, 129, 255};
    return list;
}

inline uint32_t bits_of(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

inline bool same_bits(const float *a, const float *b, size_t n)
{
    return n == 0 || memcmp(a, b, n * sizeof *a) == 0;
}

/* |sum| error of an f32 sum of products is bounded by the sum of magnitudes. */
inline void expect_sum_near(float got, double want, double magnitudes, const std::string &what)
{
    EXPECT_LE(std::fabs((double)got - want), 1e-6 * magnitudes + 1e-30) << what << ": " << got
                                                                       << " for " << want;
}

#endif
