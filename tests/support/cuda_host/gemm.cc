/* See gemm.h. A is unpacked to floats once, so that the innermost loop runs down a column of A and
 * of C and the compiler can make vector code of it; it works on buffers of its own and is left
 * uninstrumented, which makes the difference between seconds and minutes under the sanitizers. */
#include "tests/support/cuda_host/gemm.h"

#include <vector>

#include "tests/support/cuda_host/include/cuda_bf16.h"
#include "tests/support/cuda_host/include/cuda_fp16.h"

namespace cuda_host {

namespace {

float load(const void *data, cudaDataType type, size_t index)
{
    if (type == CUDA_R_16F)
        return (float)static_cast<const __half *>(data)[index];
    if (type == CUDA_R_16BF)
        return (float)static_cast<const __nv_bfloat16 *>(data)[index];
    return static_cast<const float *>(data)[index];
}

void store(void *data, cudaDataType type, size_t index, float value)
{
    if (type == CUDA_R_16F)
        static_cast<__half *>(data)[index] = __half(value);
    else if (type == CUDA_R_16BF)
        static_cast<__nv_bfloat16 *>(data)[index] = __nv_bfloat16(value);
    else
        static_cast<float *>(data)[index] = value;
}

/* op(matrix) as floats, column by column without gaps. */
std::vector<float> unpack(const struct gemm_matrix *matrix, size_t rows, size_t cols)
{
    std::vector<float> values(rows * cols);
    size_t outer = matrix->transposed ? rows : cols, inner = matrix->transposed ? cols : rows;
    for (size_t o = 0; o < outer; o++)
        for (size_t i = 0; i < inner; i++) {
            float value = load(matrix->data, matrix->type, o * matrix->ld + i);
            values[matrix->transposed ? i * rows + o : o * rows + i] = value;
        }
    return values;
}

__attribute__((no_sanitize("address", "undefined", "thread"))) void
column(float *__restrict__ sums, const float *__restrict__ a, const float *__restrict__ b, size_t m,
       size_t k)
{
    for (size_t i = 0; i < m; i++)
        sums[i] = 0.0f;
    for (size_t l = 0; l < k; l++)
        for (size_t i = 0; i < m; i++)
            sums[i] += a[l * m + i] * b[l];
}

} // namespace

size_t gemm_type_bytes(cudaDataType type) { return type == CUDA_R_32F ? 4 : 2; }

size_t gemm_extent(const struct gemm_matrix *matrix, size_t rows, size_t cols)
{
    size_t outer = matrix->transposed ? rows : cols, inner = matrix->transposed ? cols : rows;
    return outer && inner ? ((outer - 1) * matrix->ld + inner) * gemm_type_bytes(matrix->type) : 0;
}

void gemm_run(const struct gemm *g)
{
    std::vector<float> a = unpack(&g->a, g->m, g->k), b = unpack(&g->b, g->k, g->n), sums(g->m);
    void *c = const_cast<void *>(g->c.data);
    for (size_t j = 0; j < g->n; j++) {
        column(sums.data(), a.data(), b.data() + j * g->k, g->m, g->k);
        for (size_t i = 0; i < g->m; i++) {
            size_t index = j * g->c.ld + i;
            float old = g->beta == 0.0f ? 0.0f : g->beta * load(c, g->c.type, index);
            store(c, g->c.type, index, g->alpha * sums[i] + old);
        }
    }
}

} // namespace cuda_host
