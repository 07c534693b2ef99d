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

struct CloseBackend {
    void operator()(struct backend *b) const { backend_close(b); }
};
using Backend = std::unique_ptr<struct backend, CloseBackend>;

inline Backend open_backend(enum cpu_isa isa, uint32_t threads, uint32_t context_max = 512,
                            uint32_t expert_width_max = 512, uint32_t rows_max = 64)
{
    struct cpu_backend_config config = {threads, isa, expert_width_max, context_max, rows_max};
    struct backend *b = nullptr;
    struct error error = {};
    EXPECT_EQ(cpu_backend_open(&b, &config, &error), STATUS_OK) << error.text;
    return Backend(b);
}

inline std::vector<enum cpu_isa> machine_isas()
{
    std::vector<enum cpu_isa> isas;
    for (int i = 0; i < CPU_ISA_COUNT; i++) {
        if (kernels_find((enum cpu_isa)i))
            isas.push_back((enum cpu_isa)i);
    }
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
