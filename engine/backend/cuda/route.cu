/* Router logits to experts and weights on the device: router_choose (router.h) for every row.
 *
 * A warp takes a row and keeps it in registers, the experts dealt to its lanes in turn. A round
 * finds the best that is left by a maximum over the lanes and strikes it out; top_k rounds give the
 * choices in their order. The key that is compared has the logit, made to sort as an integer, above
 * and the index, turned round, below: there are no ties in it, so the choice is always that of
 * router_choose. Formulas are its too; the sum over the chosen is made in its order, that over all
 * experts (ROUTER_SOFTMAX) lane by lane in rising index and then across the lanes, so weights may
 * differ from the processor's in the last bits. A row's result depends on that row alone.
 *
 * Bytes: a row is read once (512 for 128 experts), coalesced. What bounds it is latency: a launch
 * and top_k rounds of ten dependent shuffles each (a key takes two), however many rows there are
 * up to some thousands. Not measured on a device. */
#include "engine/backend/cuda/cuda_ops.cuh"

#include <math.h>

#define ROUTE_ROWS 4 /* warps, of a row each, in a block */
#define ROUTE_EXPERTS_MAX 1024
#define ROUTE_TOP_K_MAX 64
#define ROUTE_KEPT (ROUTE_TOP_K_MAX / CUDA_WARP) /* choices that a lane remembers */
#define ROUTE_GONE 0u /* below the key of -inf */

/* Integers that sort like the logits: NaN is -inf, both zeros are one. */
static __device__ __forceinline__ uint32_t route_key(float logit)
{
    if (isnan(logit))
        logit = -INFINITY;
    uint32_t bits = __float_as_uint(logit == 0 ? 0.0f : logit);
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

static __device__ __forceinline__ float route_logit(uint32_t key)
{
    return __uint_as_float(key & 0x80000000u ? key & 0x7FFFFFFFu : ~key);
}

/* The highest of a lane's keys over the index of its expert, turned round: low wins a tie. */
template <int EACH>
static __device__ __forceinline__ unsigned long long route_best(const uint32_t (&keys)[EACH],
                                                                uint32_t lane)
{
    uint32_t best = keys[0], at = 0;
#pragma unroll
    for (uint32_t i = 1; i < EACH; i++)
        if (keys[i] > best) {
            best = keys[i];
            at = i;
        }
    return (unsigned long long)best << 32 | (0xFFFFFFFFu - (at * CUDA_WARP + lane));
}

static __device__ __forceinline__ unsigned long long route_warp_best(unsigned long long best)
{
    for (int apart = CUDA_WARP / 2; apart > 0; apart /= 2) {
        unsigned long long other = __shfl_xor_sync(0xFFFFFFFFu, best, apart);
        best = other > best ? other : best;
    }
    return best;
}

/* EACH: experts of a lane. */
template <int EACH>
static __global__ void __launch_bounds__(ROUTE_ROWS *CUDA_WARP)
    route_kernel(struct router router, const float *scores, uint32_t rows, uint32_t *chosen,
                 float *weights)
{
    const uint32_t lane = threadIdx.x % CUDA_WARP;
    const uint32_t row = blockIdx.x * ROUTE_ROWS + threadIdx.x / CUDA_WARP;
    if (row >= rows)
        return;
    const float *logits = scores + (size_t)row * router.experts;
    uint32_t keys[EACH];
#pragma unroll
    for (uint32_t i = 0; i < EACH; i++) {
        uint32_t expert = i * CUDA_WARP + lane;
        keys[i] = expert < router.experts ? route_key(logits[expert]) : ROUTE_GONE;
    }
    unsigned long long own = route_best(keys, lane), best = route_warp_best(own);
    const float max = route_logit((uint32_t)(best >> 32));
    float all = 0;
    if (router.kind == ROUTER_SOFTMAX) {
#pragma unroll
        for (uint32_t i = 0; i < EACH; i++)
            if (keys[i] != ROUTE_GONE)
                all += expf(route_logit(keys[i]) - max);
        all = cuda_warp_sum(all);
    }

    uint32_t kept[ROUTE_KEPT] = {0};
    float kept_weight[ROUTE_KEPT] = {0}, sum = 0;
    for (uint32_t round = 0; round < router.top_k; round++) {
        if (round > 0)
            best = route_warp_best(own);
        const uint32_t expert = 0xFFFFFFFFu - (uint32_t)best;
        const float weight = expf(route_logit((uint32_t)(best >> 32)) - max);
        sum += weight; /* every lane has the same sum, in the order of the choices */
#pragma unroll
        for (uint32_t i = 0; i < ROUTE_KEPT; i++)
            if (round == i * CUDA_WARP + lane) {
                kept[i] = expert;
                kept_weight[i] = weight;
            }
        if (own == best) { /* it was this lane's */
#pragma unroll
            for (uint32_t i = 0; i < EACH; i++)
                if (expert == i * CUDA_WARP + lane)
                    keys[i] = ROUTE_GONE;
            own = route_best(keys, lane);
        }
    }
    if (router.kind == ROUTER_SOFTMAX)
        sum = all;
#pragma unroll
    for (uint32_t i = 0; i < ROUTE_KEPT; i++) {
        uint32_t round = i * CUDA_WARP + lane;
        if (round < router.top_k) {
            chosen[(size_t)row * router.top_k + round] = kept[i];
            float weight = kept_weight[i] / sum;
            weights[(size_t)row * router.top_k + round] =
                router.weight_scale != 0 ? weight * router.weight_scale : weight;
        }
    }
}

void cuda_route(cudaStream_t stream, struct router router, const float *scores, uint32_t rows,
                uint32_t *chosen, float *weights)
{
    CHECK_MSG(router.experts > 0 && router.experts <= ROUTE_EXPERTS_MAX &&
                  router.top_k <= ROUTE_TOP_K_MAX && router.top_k <= router.experts,
              "no CUDA kernel chooses %u of %u experts", router.top_k, router.experts);
    auto launch = [&](auto each) {
        cuda_launch(stream, route_kernel<decltype(each)::value>,
                    dim3((rows + ROUTE_ROWS - 1) / ROUTE_ROWS), dim3(ROUTE_ROWS * CUDA_WARP), 0,
                    router, scores, rows, chosen, weights);
    };
    uint32_t each = (router.experts - 1) / CUDA_WARP + 1;
    if (each <= 1)
        launch(std::integral_constant<int, 1>());
    else if (each <= 2)
        launch(std::integral_constant<int, 2>());
    else if (each <= 4)
        launch(std::integral_constant<int, 4>());
    else if (each <= 8)
        launch(std::integral_constant<int, 8>());
    else if (each <= 16)
        launch(std::integral_constant<int, 16>());
    else
        launch(std::integral_constant<int, 32>());
}
