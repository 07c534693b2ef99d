/* Stores new keys and values where attention will look for them: [block][kv_head][token][dim]. A
 * block of threads per row; neighbouring threads store neighbouring dimensions of a head, so both
 * sides are read and written in whole sectors. A few kilobytes per row: the launch is what costs.
 * F16 rounds to nearest even, as the processor's encoder does. */
#include "engine/backend/cuda/cuda_ops.cuh"

#define KV_WRITE_THREADS 256

static __device__ __forceinline__ void store(float *to, float value)
{
    *to = value;
}

static __device__ __forceinline__ void store(__half *to, float value)
{
    *to = __float2half_rn(value);
}

template <enum dtype D>
static __global__ void __launch_bounds__(KV_WRITE_THREADS)
    kv_write_kernel(struct kv_layer kv, const float *__restrict__ k, const float *__restrict__ v,
                    struct cuda_rows at)
{
    typedef typename cuda_format<D>::element element;
    size_t row = blockIdx.x;
    uint32_t position = at.positions[row], dim = kv.head_dim, width = kv.kv_heads * dim;
    const uint32_t *table = at.tables + (size_t)at.table_of[row] * at.table_stride;
    size_t block = table[position / KV_BLOCK_TOKENS];
    uint32_t token = position % KV_BLOCK_TOKENS;
    element *keys = static_cast<element *>(kv.keys), *values = static_cast<element *>(kv.values);
    for (uint32_t i = threadIdx.x; i < width; i += KV_WRITE_THREADS) {
        uint32_t head = i / dim;
        size_t to = ((block * kv.kv_heads + head) * KV_BLOCK_TOKENS + token) * dim + i % dim;
        store(keys + to, k[row * width + i]);
        store(values + to, v[row * width + i]);
    }
}

void cuda_kv_write(cudaStream_t stream, struct kv_layer kv, const float *k, const float *v,
                   const struct cuda_rows *at, uint32_t rows)
{
    CHECK_MSG(kv.dtype == DTYPE_F32 || kv.dtype == DTYPE_F16, "KV of format %s is not supported",
              dtype_info(kv.dtype)->name);
    if (kv.dtype == DTYPE_F16)
        cuda_launch(stream, kv_write_kernel<DTYPE_F16>, dim3(rows), dim3(KV_WRITE_THREADS), 0, kv,
                    k, v, *at);
    else
        cuda_launch(stream, kv_write_kernel<DTYPE_F32>, dim3(rows), dim3(KV_WRITE_THREADS), 0, kv,
                    k, v, *at);
}
