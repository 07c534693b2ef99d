/* Stores new keys and values where attention will look for them: [block][kv_head][token][dim].
 * A copy of a few kilobytes per row, rounded to f16 where the layer keeps f16; one thread does it,
 * so that two rows of one call may even share a block. */
#include "engine/backend/cpu/cpu_backend.h"

#include <string.h>

#include "memory/base/check.h"

static void store(const struct kernels *kernels, enum dtype dtype, uint8_t *to, const float *from,
                  size_t n)
{
    if (dtype == DTYPE_F16)
        kernels->encode_f16(to, from, n);
    else
        memcpy(to, from, n * sizeof *from);
}

void cpu_kv_write(struct backend *base, struct kv_layer kv, const float *k, const float *v,
                  const struct row_place *places, uint32_t rows)
{
    const struct kernels *kernels = cpu_backend_of(base)->kernels;
    CHECK_MSG(kv.dtype == DTYPE_F32 || kv.dtype == DTYPE_F16, "KV of format %s is not supported",
              dtype_info(kv.dtype)->name);
    size_t dim = kv.head_dim;
    size_t dim_bytes = dim * dtype_info(kv.dtype)->block_bytes;
    for (size_t r = 0; r < rows; r++) {
        size_t block = places[r].blocks[places[r].position / KV_BLOCK_TOKENS];
        size_t token = places[r].position % KV_BLOCK_TOKENS;
        for (size_t h = 0; h < kv.kv_heads; h++) {
            size_t at = ((block * kv.kv_heads + h) * KV_BLOCK_TOKENS + token) * dim_bytes;
            size_t from = (r * kv.kv_heads + h) * dim;
            store(kernels, kv.dtype, (uint8_t *)kv.keys + at, k + from, dim);
            store(kernels, kv.dtype, (uint8_t *)kv.values + at, v + from, dim);
        }
    }
}
