/* What both ways of attention (attention.cu, attention_prefill.cu) share: what is asked of the
 * arguments, which keys a row attends to, and where they lie. */
#ifndef MOERING_ENGINE_BACKEND_CUDA_ATTENTION_CUH
#define MOERING_ENGINE_BACKEND_CUDA_ATTENTION_CUH

#include "engine/backend/cuda/cuda_ops.cuh"

#define CUDA_ATTENTION_DIM_MAX 256 /* of a head: bounds registers and shared memory */

/* A caller's bug where it does not hold. */
static inline void cuda_attention_check(const struct cuda_attention_args *args)
{
    const struct kv_layer *kv = &args->kv;
    CHECK_MSG(kv->kv_heads > 0 && args->heads % kv->kv_heads == 0,
              "%u query heads do not divide among %u kv heads", args->heads, kv->kv_heads);
    CHECK_MSG(kv->head_dim > 0 && kv->head_dim <= CUDA_ATTENTION_DIM_MAX,
              "a head of %u values: CUDA attention takes 1 to %d", kv->head_dim,
              CUDA_ATTENTION_DIM_MAX);
    CHECK_MSG(kv->dtype == DTYPE_F32 || kv->dtype == DTYPE_F16,
              "keys and values of dtype %d: F32 or F16 are possible", (int)kv->dtype);
}

/* May keys be read in pieces of 16 bytes? */
static inline bool cuda_attention_aligned(const struct kv_layer *kv)
{
    return kv->head_dim % 8 == 0 && reinterpret_cast<uintptr_t>(kv->keys) % 16 == 0 &&
           reinterpret_cast<uintptr_t>(kv->values) % 16 == 0;
}

/* A row whose keys end before `end` attends to those from here on. */
static __device__ __forceinline__ uint32_t cuda_first_key(uint32_t end, uint32_t window)
{
    return window > 0 && end > window ? end - window : 0;
}

/* Number of values before those of token 0 of a kv head in a block. */
static __device__ __forceinline__ size_t cuda_kv_block(const struct kv_layer &kv, uint32_t block,
                                                       uint32_t kv_head)
{
    return ((size_t)block * kv.kv_heads + kv_head) * KV_BLOCK_TOKENS * kv.head_dim;
}

#endif
