/* One matrix product in plain loops. */
#ifndef CUDA_HOST_GEMM_H
#define CUDA_HOST_GEMM_H

#include <stddef.h>

#include "tests/support/cuda_host/include/library_types.h"

namespace cuda_host {

struct gemm_matrix {
    const void *data; /* column-major */
    cudaDataType type;
    bool transposed;
    size_t ld; /* elements from column to column, before the transposition */
};

/* C[m][n] = alpha * op(A)[m][k] * op(B)[k][n] + beta * C, sums in float in the order of k. C is not
 * read when beta is 0. */
struct gemm {
    size_t m, n, k;
    float alpha, beta;
    struct gemm_matrix a, b, c;
};

size_t gemm_type_bytes(cudaDataType type);
/* Bytes from the first to the last element of a matrix of rows x cols, as op() gives them. */
size_t gemm_extent(const struct gemm_matrix *matrix, size_t rows, size_t cols);
void gemm_run(const struct gemm *gemm);

} // namespace cuda_host

#endif
