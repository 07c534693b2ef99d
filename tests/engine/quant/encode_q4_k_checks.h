/* Numbers for the tests of the Q4_K encoder. */
#ifndef MOERING_TESTS_ENGINE_QUANT_ENCODE_Q4_K_CHECKS_H
#define MOERING_TESTS_ENGINE_QUANT_ENCODE_Q4_K_CHECKS_H

#include "tests/engine/quant/quant_checks.h"

#include <vector>

/* Nearly normally distributed: sums of twelve even ones. The same on every machine. */
inline std::vector<float> normal(scratch::Random &random, size_t n, float deviation)
{
    std::vector<float> out(n);
    for (float &f : out) {
        int64_t sum = 0;
        for (int i = 0; i < 12; i++)
            sum += random.below(1u << 20);
        f = (float)((double)sum / (1 << 20) - 6) * deviation;
    }
    return out;
}

#endif
