/* The weights of a layer of F32 experts: what the tests of this folder hand over. */
#ifndef MOERING_TESTS_ENGINE_MOE_TOY_WEIGHTS_H
#define MOERING_TESTS_ENGINE_MOE_TOY_WEIGHTS_H

#include "engine/moe/moe_weights.h"

namespace toy {

inline struct tensor f32_tensor(const float *data, uint32_t rows, uint32_t cols)
{
    struct tensor t = {};
    t.data = data;
    t.dtype = DTYPE_F32;
    t.rows = rows;
    t.cols = cols;
    return t;
}

inline struct expert_tensors f32_expert(const float *gate, const float *up, const float *down,
                                        uint32_t hidden, uint32_t width)
{
    return {f32_tensor(gate, width, hidden), f32_tensor(up, width, hidden),
            f32_tensor(down, hidden, width)};
}

/* No shared expert. */
inline struct moe_weights f32_weights(const float *router, uint32_t experts, uint32_t hidden,
                                      uint32_t width)
{
    struct moe_weights w = {};
    w.router = f32_tensor(router, experts, hidden);
    w.expert = f32_expert(nullptr, nullptr, nullptr, hidden, width);
    return w;
}

} // namespace toy

#endif
