/* The kernels, written once over a vector of VEC_LANES floats. kernels_avx2.c and kernels_avx512.c
 * define the vector (type `vec` and the vec_ functions used below) and then include this file,
 * which defines every kernel, in three parts, and ends with the table VEC_TABLE. These are sources,
 * not interfaces: nothing else includes them.
 *
 * Sums: one accumulator vector per dot product, so lane l adds the values l, l + VEC_LANES, ...
 * with fused multiply-add; a tail is loaded with zeros above it. The instruction-level parallelism
 * that hides the latency of those additions comes from the dot products of a tile, not from
 * splitting one of them, which is what makes the order a matter of n alone. vec_sum4 adds the lanes
 * of four accumulators at once, in the tree that vec_sum uses for one.
 *
 * Functions of one value (exp, silu) run on whole vectors, tails included, so that a value gives
 * the same result in every place. */
#include "engine/backend/cpu/kernels_vector_product.h"
#include "engine/backend/cpu/kernels_vector_rows.h"
#include "engine/backend/cpu/kernels_vector_values.h"

const struct kernels VEC_TABLE = {
    .tile_x = VEC_TILE_X,
    .format = {[DTYPE_F32] = {dot_f32, decode_f32, accumulate_f32, dots_f32},
               [DTYPE_F16] = {dot_f16, decode_f16, accumulate_f16, dots_f16},
               [DTYPE_BF16] = {dot_bf16, decode_bf16, accumulate_bf16, dots_bf16}},
    .encode_f16 = encode_f16,
    .sum_squares = sum_squares,
    .normalize = normalize,
    .product = product,
    .scale_max = scale_max,
    .exp_sum = exp_sum,
    .rotate = rotate,
    .silu_mul = silu_mul,
    .scale = scale_all,
    .add = add_all,
    .add_scaled = add_scaled,
    .exp = exp_all,
};
