/* Products by cuBLAS against loops, and what it refuses. */
#include "tests/support/cuda_host_test.h"

#include <cublas_v2.h>
#include <cuda_bf16.h>
#include <cuda_fp16.h>

static float value_at(unsigned seed, unsigned i)
{
    return (float)((i * 31 + seed * 17) % 29) * 0.125f - 1.5f;
}

template <typename T> static std::vector<T> matrix(unsigned seed, size_t count)
{
    std::vector<T> values(count);
    for (size_t i = 0; i < count; i++)
        values[i] = T(value_at(seed, (unsigned)i));
    return values;
}

template <typename T> struct blas_type;
template <> struct blas_type<float> {
    static const cudaDataType value = CUDA_R_32F;
};
template <> struct blas_type<__half> {
    static const cudaDataType value = CUDA_R_16F;
};
template <> struct blas_type<__nv_bfloat16> {
    static const cudaDataType value = CUDA_R_16BF;
};

template <typename T, typename R>
static void check_gemm(cublasHandle_t blas, bool ta, bool tb, int m, int n, int k, float beta)
{
    int lda = (ta ? k : m) + 3, ldb = (tb ? n : k) + 1, ldc = m + 2;
    std::vector<T> a = matrix<T>(1, (size_t)lda * (ta ? m : k)),
                   b = matrix<T>(2, (size_t)ldb * (tb ? k : n));
    std::vector<R> c = matrix<R>(3, (size_t)ldc * n);
    T *da = upload(a), *db = upload(b);
    R *dc = upload(c);
    float alpha = 0.5f;
    ASSERT_EQ(CUBLAS_STATUS_SUCCESS,
              cublasGemmEx(blas, ta ? CUBLAS_OP_T : CUBLAS_OP_N, tb ? CUBLAS_OP_T : CUBLAS_OP_N, m,
                           n, k, &alpha, da, blas_type<T>::value, lda, db, blas_type<T>::value, ldb,
                           &beta, dc, blas_type<R>::value, ldc, CUBLAS_COMPUTE_32F,
                           CUBLAS_GEMM_DEFAULT));
    std::vector<R> result = download(dc, c.size());
    for (int j = 0; j < n; j++) {
        for (int i = 0; i < m; i++) {
            float sum = 0.0f;
            for (int l = 0; l < k; l++)
                sum += (float)a[ta ? i * lda + l : l * lda + i] *
                       (float)b[tb ? l * ldb + j : j * ldb + l];
            R expected = R(alpha * sum + beta * (float)c[j * ldc + i]);
            ASSERT_EQ((float)expected, (float)result[j * ldc + i]) << i << "," << j;
        }
        for (int i = m; i < ldc; i++)
            ASSERT_EQ((float)c[j * ldc + i], (float)result[j * ldc + i]) << "between columns";
    }
    OK(cudaFree(da));
    OK(cudaFree(db));
    OK(cudaFree(dc));
}

TEST_F(CudaHost, CublasLayoutsAgainstLoops)
{
    cublasHandle_t blas;
    cudaStream_t stream;
    ASSERT_EQ(CUBLAS_STATUS_SUCCESS, cublasCreate(&blas));
    OK(cudaStreamCreate(&stream));
    ASSERT_EQ(CUBLAS_STATUS_SUCCESS, cublasSetStream(blas, stream));
    for (int layout = 0; layout < 4; layout++)
        for (float beta : {0.0f, 0.5f}) {
            check_gemm<float, float>(blas, layout & 1, layout & 2, 5, 7, 9, beta);
            check_gemm<__half, float>(blas, layout & 1, layout & 2, 33, 2, 17, beta);
            check_gemm<__nv_bfloat16, __nv_bfloat16>(blas, layout & 1, layout & 2, 1, 31, 8, beta);
        }
    EXPECT_EQ(CUBLAS_STATUS_SUCCESS, cublasDestroy(blas));
    OK(cudaStreamDestroy(stream));
    EXPECT_EQ((size_t)0, cuda_host_leaks().size());
}

TEST_F(CudaHost, CublasGroupsAndRefusals)
{
    cublasHandle_t blas;
    ASSERT_EQ(CUBLAS_STATUS_SUCCESS, cublasCreate(&blas));
    const int m[] = {3, 4}, n[] = {2, 5}, k[] = {8, 8}, sizes[] = {2, 1};
    cublasOperation_t plain[] = {CUBLAS_OP_N, CUBLAS_OP_N};
    float one[] = {1.0f, 2.0f}, zero[] = {0.0f, 0.0f};
    std::vector<__half> a = matrix<__half>(4, 32), b = matrix<__half>(5, 40);
    __half *da = upload(a), *db = upload(b), *dc = upload(std::vector<__half>(3 * 32));
    const void **as = upload(std::vector<const void *>{da, da, da});
    const void **bs = upload(std::vector<const void *>{db, db, db});
    void **cs = upload(std::vector<void *>{dc, dc + 32, dc + 64});
    auto grouped = [&](cudaDataType type) {
        return cublasGemmGroupedBatchedEx(blas, plain, plain, m, n, k, one, as, CUDA_R_16F, m, bs,
                                          CUDA_R_16F, k, zero, cs, type, m, 2, sizes,
                                          CUBLAS_COMPUTE_32F);
    };
    EXPECT_EQ(CUBLAS_STATUS_NOT_SUPPORTED, grouped(CUDA_R_32F));
    ASSERT_EQ(CUBLAS_STATUS_SUCCESS, grouped(CUDA_R_16F));
    std::vector<__half> c = download(dc, 96);
    for (int p = 0; p < 3; p++) {
        int g = p / 2;
        for (int i = 0; i < m[g]; i++)
            for (int j = 0; j < n[g]; j++) {
                float sum = 0.0f;
                for (int l = 0; l < k[g]; l++)
                    sum += (float)a[l * m[g] + i] * (float)b[j * k[g] + l];
                EXPECT_EQ((float)__half(one[g] * sum), (float)c[p * 32 + j * m[g] + i]);
            }
    }
    float scale = 1.0f;
    auto types = [&](cudaDataType at, cudaDataType bt, cudaDataType ct, int lda) {
        return cublasGemmEx(blas, CUBLAS_OP_N, CUBLAS_OP_N, 4, 4, 4, &scale, da, at, lda, db, bt, 4,
                            &scale, dc, ct, 4, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT);
    };
    EXPECT_EQ(CUBLAS_STATUS_NOT_SUPPORTED, types(CUDA_R_16F, CUDA_R_16BF, CUDA_R_32F, 4));
    EXPECT_EQ(CUBLAS_STATUS_NOT_SUPPORTED, types(CUDA_R_16BF, CUDA_R_16BF, CUDA_R_16F, 4));
    EXPECT_EQ(CUBLAS_STATUS_INVALID_VALUE, types(CUDA_R_16F, CUDA_R_16F, CUDA_R_16F, 3));
    EXPECT_EQ(CUBLAS_STATUS_SUCCESS, types(CUDA_R_16F, CUDA_R_16F, CUDA_R_16F, 4));
    OK(cudaDeviceSynchronize());
}
