/* cuBLAS on the double: checks what the real library checks at the call, queues the product on the
 * handle's stream, and looks at the matrices only when it executes. Matrices that are not wholly in
 * device or page-locked memory then stop the program, where a GPU would fault. */
#include "tests/support/cuda_host/cublas.h"

#include <set>

#include "tests/support/cuda_host/gemm.h"
#include "tests/support/cuda_host/include/cublas_v2.h"
#include "tests/support/cuda_host/memory.h"
#include "tests/support/cuda_host/stream.h"

struct cublasContext {
    cudaStream_t stream = nullptr;
};

namespace cuda_host {

namespace {

struct handle_table {
    std::set<cublasHandle_t> open;
};

struct handle_table *handles(void)
{
    static struct handle_table *state = new struct handle_table;
    return state;
}

/* What one call multiplies: the shapes shared by a group of products, without the pointers. */
struct shape {
    cublasOperation_t transa, transb;
    int m, n, k, lda, ldb, ldc;
    cudaDataType a, b, c;
    cublasComputeType_t compute;
};

cublasStatus_t refused(const struct api_call *call)
{
    if (call->planned)
        return (cublasStatus_t)call->error;
    switch (call->error) {
    case cudaSuccess:
        return CUBLAS_STATUS_SUCCESS;
    case cudaErrorNoDevice:
    case cudaErrorInsufficientDriver:
        return CUBLAS_STATUS_NOT_INITIALIZED;
    default:
        return CUBLAS_STATUS_EXECUTION_FAILED;
    }
}

bool transposes(cublasOperation_t op) { return op != CUBLAS_OP_N; }

bool known(cublasOperation_t op)
{
    return op == CUBLAS_OP_N || op == CUBLAS_OP_T || op == CUBLAS_OP_C;
}

/* The types that go together with float sums. */
bool types_fit(const struct shape *s, bool grouped)
{
    bool full = s->a == CUDA_R_32F && s->b == CUDA_R_32F && s->c == CUDA_R_32F;
    bool small = s->a == s->b && (s->a == CUDA_R_16F || s->a == CUDA_R_16BF);
    bool result = s->c == s->a || (s->c == CUDA_R_32F && !grouped);
    switch (s->compute) {
    case CUBLAS_COMPUTE_32F:
        return full || (small && result);
    case CUBLAS_COMPUTE_32F_PEDANTIC:
        return full || (small && result && !grouped);
    case CUBLAS_COMPUTE_32F_FAST_TF32:
        return full;
    case CUBLAS_COMPUTE_32F_FAST_16F:
    case CUBLAS_COMPUTE_32F_FAST_16BF:
        return full && !grouped;
    default: /* sums in half precision: the project has none */
        return false;
    }
}

cublasStatus_t check(const struct shape *s, bool grouped)
{
    int rows_a = transposes(s->transa) ? s->k : s->m, rows_b = transposes(s->transb) ? s->n : s->k;
    if (s->m < 0 || s->n < 0 || s->k < 0 || !known(s->transa) || !known(s->transb) || s->lda < 1 ||
        s->ldb < 1 || s->ldc < 1 || s->lda < rows_a || s->ldb < rows_b || s->ldc < s->m)
        return CUBLAS_STATUS_INVALID_VALUE;
    return types_fit(s, grouped) ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_SUPPORTED;
}

void check_place(const char *name, const void *data, size_t bytes)
{
    enum memory_place place = memory_place_of(data, bytes);
    if (bytes && place != MEMORY_DEVICE && place != MEMORY_PINNED)
        bug("cuBLAS: matrix %s, %zu bytes at %p, is not inside device memory", name, bytes, data);
}

/* Executes one product; the operation's turn has come. */
void multiply(const struct shape *s, float alpha, float beta, const void *a, const void *b, void *c)
{
    struct gemm g = {(size_t)s->m,
                     (size_t)s->n,
                     (size_t)s->k,
                     alpha,
                     beta,
                     {a, s->a, transposes(s->transa), (size_t)s->lda},
                     {b, s->b, transposes(s->transb), (size_t)s->ldb},
                     {c, s->c, false, (size_t)s->ldc}};
    check_place("A", a, gemm_extent(&g.a, g.m, g.k));
    check_place("B", b, gemm_extent(&g.b, g.k, g.n));
    check_place("C", c, gemm_extent(&g.c, g.m, g.n));
    gemm_run(&g);
}

/* The batched forms with pointers take small formats only at addresses that suit k. */
void check_aligned(const struct shape *s, const void *a, const void *b, const void *c)
{
    uintptr_t all = reinterpret_cast<uintptr_t>(a) | reinterpret_cast<uintptr_t>(b) |
                    reinterpret_cast<uintptr_t>(c);
    uintptr_t needed = s->a == CUDA_R_32F ? 4 : s->k % 8 == 0 ? 16 : s->k % 2 == 0 ? 4 : 2;
    if (all % needed)
        bug("cuBLAS: a batch with k = %d needs matrices at multiples of %zu bytes", s->k,
            (size_t)needed);
}

cublasStatus_t submit(cublasHandle_t handle, std::function<void()> run, struct api_call *call)
{
    auto queue = stream_find(handle->stream);
    if (!queue)
        return CUBLAS_STATUS_EXECUTION_FAILED;
    struct operation operation;
    operation.run = std::move(run);
    runtime()->counters.cublas_calls++;
    cudaError_t error = stream_submit(queue, std::move(operation));
    stream_pass_time(&call->hold, false);
    return error ? CUBLAS_STATUS_EXECUTION_FAILED : CUBLAS_STATUS_SUCCESS;
}

bool is_open(cublasHandle_t handle) { return handles()->open.count(handle) != 0; }

/* One product or `batch` of them at equal distances. */
cublasStatus_t strided_call(const char *name, cublasHandle_t handle, const struct shape *s,
                            const void *alpha, const void *a, long long stride_a, const void *b,
                            long long stride_b, const void *beta, void *c, long long stride_c,
                            int batch)
{
    struct api_call call(name);
    if (call.error)
        return refused(&call);
    if (!is_open(handle))
        return CUBLAS_STATUS_NOT_INITIALIZED;
    if (!alpha || !beta || batch < 0)
        return CUBLAS_STATUS_INVALID_VALUE;
    if (cublasStatus_t bad = check(s, false))
        return bad;
    if (s->m == 0 || s->n == 0 || batch == 0)
        return CUBLAS_STATUS_SUCCESS;
    float al = *static_cast<const float *>(alpha), be = *static_cast<const float *>(beta);
    struct shape kept = *s;
    return submit(
        handle,
        [=] {
            const char *pa = static_cast<const char *>(a), *pb = static_cast<const char *>(b);
            char *pc = static_cast<char *>(c);
            for (int i = 0; i < batch; i++)
                multiply(&kept, al, be, pa + i * stride_a * (long long)gemm_type_bytes(kept.a),
                         pb + i * stride_b * (long long)gemm_type_bytes(kept.b),
                         pc + i * stride_c * (long long)gemm_type_bytes(kept.c));
        },
        &call);
}

/* Products of groups of shapes; the arrays of pointers, in device memory, are read when the
 * operation executes. */
cublasStatus_t pointers_call(const char *name, cublasHandle_t handle,
                             const std::vector<struct shape> &shapes, const std::vector<int> &sizes,
                             const float *alpha, const float *beta, const void *const a[],
                             const void *const b[], void *const c[], bool grouped)
{
    struct api_call call(name);
    if (call.error)
        return refused(&call);
    if (!is_open(handle))
        return CUBLAS_STATUS_NOT_INITIALIZED;
    if (!alpha || !beta)
        return CUBLAS_STATUS_INVALID_VALUE;
    size_t total = 0;
    for (size_t g = 0; g < shapes.size(); g++) {
        if (sizes[g] < 0)
            return CUBLAS_STATUS_INVALID_VALUE;
        if (cublasStatus_t bad = check(&shapes[g], grouped))
            return bad;
        total += (size_t)sizes[g];
    }
    if (total == 0)
        return CUBLAS_STATUS_SUCCESS;
    std::vector<float> al(alpha, alpha + shapes.size()), be(beta, beta + shapes.size());
    return submit(
        handle,
        [=] {
            check_place("pointers to A", a, total * sizeof *a);
            check_place("pointers to B", b, total * sizeof *b);
            check_place("pointers to C", c, total * sizeof *c);
            size_t product = 0;
            for (size_t g = 0; g < shapes.size(); g++)
                for (int i = 0; i < sizes[g]; i++, product++)
                    if (shapes[g].m && shapes[g].n) {
                        check_aligned(&shapes[g], a[product], b[product], c[product]);
                        multiply(&shapes[g], al[g], be[g], a[product], b[product], c[product]);
                    }
        },
        &call);
}

} // namespace

void cublas_leaks(std::vector<std::string> *leaks)
{
    for (size_t i = 0; i < handles()->open.size(); i++)
        leaks->push_back("a cuBLAS handle was not destroyed");
}

void cublas_reset(void)
{
    for (cublasHandle_t handle : handles()->open)
        delete handle;
    handles()->open.clear();
}

} // namespace cuda_host

using namespace cuda_host;

cublasStatus_t cublasCreate(cublasHandle_t *handle)
{
    struct api_call call("cublasCreate", API_UNSAFE_IN_CAPTURE);
    if (call.error)
        return refused(&call);
    if (!handle)
        return CUBLAS_STATUS_INVALID_VALUE;
    *handle = new cublasContext;
    handles()->open.insert(*handle);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasDestroy(cublasHandle_t handle)
{
    struct api_call call("cublasDestroy", API_UNSAFE_IN_CAPTURE);
    if (call.error)
        return refused(&call);
    if (!handles()->open.erase(handle))
        return CUBLAS_STATUS_NOT_INITIALIZED;
    delete handle;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasGetVersion(cublasHandle_t handle, int *version)
{
    struct api_call call("cublasGetVersion");
    if (call.error || !version)
        return call.error ? refused(&call) : CUBLAS_STATUS_INVALID_VALUE;
    *version = 130000;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetStream(cublasHandle_t handle, cudaStream_t stream)
{
    struct api_call call("cublasSetStream");
    if (call.error || !is_open(handle))
        return call.error ? refused(&call) : CUBLAS_STATUS_NOT_INITIALIZED;
    handle->stream = stream;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasGetStream(cublasHandle_t handle, cudaStream_t *stream)
{
    struct api_call call("cublasGetStream");
    if (call.error || !is_open(handle))
        return call.error ? refused(&call) : CUBLAS_STATUS_NOT_INITIALIZED;
    *stream = handle->stream;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetWorkspace(cublasHandle_t handle, void *workspace, size_t bytes)
{
    struct api_call call("cublasSetWorkspace");
    if (call.error || !is_open(handle))
        return call.error ? refused(&call) : CUBLAS_STATUS_NOT_INITIALIZED;
    if (bytes && (reinterpret_cast<uintptr_t>(workspace) % 256 ||
                  memory_place_of(workspace, bytes) != MEMORY_DEVICE))
        return CUBLAS_STATUS_INVALID_VALUE;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetPointerMode(cublasHandle_t handle, cublasPointerMode_t mode)
{
    struct api_call call("cublasSetPointerMode");
    if (call.error || !is_open(handle))
        return call.error ? refused(&call) : CUBLAS_STATUS_NOT_INITIALIZED;
    return mode == CUBLAS_POINTER_MODE_HOST ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_SUPPORTED;
}

cublasStatus_t cublasSetMathMode(cublasHandle_t handle, cublasMath_t mode)
{
    struct api_call call("cublasSetMathMode");
    if (call.error || !is_open(handle))
        return call.error ? refused(&call) : CUBLAS_STATUS_NOT_INITIALIZED;
    int known_bits = CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION | 3;
    return (int)mode & ~known_bits ? CUBLAS_STATUS_INVALID_VALUE : CUBLAS_STATUS_SUCCESS;
}

const char *cublasGetStatusName(cublasStatus_t status)
{
#define NAME(name)                                                                                 \
    case name:                                                                                     \
        return #name;
    switch (status) {
        NAME(CUBLAS_STATUS_SUCCESS)
        NAME(CUBLAS_STATUS_NOT_INITIALIZED)
        NAME(CUBLAS_STATUS_ALLOC_FAILED)
        NAME(CUBLAS_STATUS_INVALID_VALUE)
        NAME(CUBLAS_STATUS_ARCH_MISMATCH)
        NAME(CUBLAS_STATUS_MAPPING_ERROR)
        NAME(CUBLAS_STATUS_EXECUTION_FAILED)
        NAME(CUBLAS_STATUS_INTERNAL_ERROR)
        NAME(CUBLAS_STATUS_NOT_SUPPORTED)
        NAME(CUBLAS_STATUS_LICENSE_ERROR)
    }
#undef NAME
    return "unknown cuBLAS status";
}

const char *cublasGetStatusString(cublasStatus_t status) { return cublasGetStatusName(status); }

cublasStatus_t cublasSgemm(cublasHandle_t handle, cublasOperation_t transa,
                           cublasOperation_t transb, int m, int n, int k, const float *alpha,
                           const float *A, int lda, const float *B, int ldb, const float *beta,
                           float *C, int ldc)
{
    struct shape s = {transa, transb, m,          n,          k,          lda,
                      ldb,    ldc,    CUDA_R_32F, CUDA_R_32F, CUDA_R_32F, CUBLAS_COMPUTE_32F};
    return strided_call("cublasSgemm", handle, &s, alpha, A, 0, B, 0, beta, C, 0, 1);
}

cublasStatus_t cublasGemmEx(cublasHandle_t handle, cublasOperation_t transa,
                            cublasOperation_t transb, int m, int n, int k, const void *alpha,
                            const void *A, cudaDataType Atype, int lda, const void *B,
                            cudaDataType Btype, int ldb, const void *beta, void *C,
                            cudaDataType Ctype, int ldc, cublasComputeType_t compute,
                            cublasGemmAlgo_t)
{
    struct shape s = {transa, transb, m, n, k, lda, ldb, ldc, Atype, Btype, Ctype, compute};
    return strided_call("cublasGemmEx", handle, &s, alpha, A, 0, B, 0, beta, C, 0, 1);
}

cublasStatus_t cublasGemmStridedBatchedEx(
    cublasHandle_t handle, cublasOperation_t transa, cublasOperation_t transb, int m, int n, int k,
    const void *alpha, const void *A, cudaDataType Atype, int lda, long long strideA, const void *B,
    cudaDataType Btype, int ldb, long long strideB, const void *beta, void *C, cudaDataType Ctype,
    int ldc, long long strideC, int batch, cublasComputeType_t compute, cublasGemmAlgo_t)
{
    struct shape s = {transa, transb, m, n, k, lda, ldb, ldc, Atype, Btype, Ctype, compute};
    return strided_call("cublasGemmStridedBatchedEx", handle, &s, alpha, A, strideA, B, strideB,
                        beta, C, strideC, batch);
}

cublasStatus_t cublasGemmBatchedEx(cublasHandle_t handle, cublasOperation_t transa,
                                   cublasOperation_t transb, int m, int n, int k, const void *alpha,
                                   const void *const A[], cudaDataType Atype, int lda,
                                   const void *const B[], cudaDataType Btype, int ldb,
                                   const void *beta, void *const C[], cudaDataType Ctype, int ldc,
                                   int batch, cublasComputeType_t compute, cublasGemmAlgo_t)
{
    struct shape s = {transa, transb, m, n, k, lda, ldb, ldc, Atype, Btype, Ctype, compute};
    return pointers_call("cublasGemmBatchedEx", handle, {s}, {batch},
                         static_cast<const float *>(alpha), static_cast<const float *>(beta), A, B,
                         C, false);
}

cublasStatus_t cublasGemmGroupedBatchedEx(
    cublasHandle_t handle, const cublasOperation_t transa[], const cublasOperation_t transb[],
    const int m[], const int n[], const int k[], const void *alpha, const void *const A[],
    cudaDataType Atype, const int lda[], const void *const B[], cudaDataType Btype, const int ldb[],
    const void *beta, void *const C[], cudaDataType Ctype, const int ldc[], int groups,
    const int group_size[], cublasComputeType_t compute)
{
    if (groups < 0)
        return CUBLAS_STATUS_INVALID_VALUE;
    std::vector<struct shape> shapes;
    for (int g = 0; g < groups; g++)
        shapes.push_back({transa[g], transb[g], m[g], n[g], k[g], lda[g], ldb[g], ldc[g], Atype,
                          Btype, Ctype, compute});
    return pointers_call("cublasGemmGroupedBatchedEx", handle, shapes,
                         std::vector<int>(group_size, group_size + groups),
                         static_cast<const float *>(alpha), static_cast<const float *>(beta), A, B,
                         C, true);
}
