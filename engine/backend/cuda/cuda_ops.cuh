/* The inside of the CUDA backend: one launching function per operation, each in the .cu of its
 * name. All pointers are device memory unless a comment says "host". Everything runs on `stream`;
 * nothing here waits, allocates or reads device memory on the host, so all of it can be captured.
 *
 * `stopped` (one word): where it is not 0, the layer before lacked a page, and a kernel that
 * changes x in place (an addition to it) leaves it alone. What other kernels write then is garbage
 * that the second run of the layer writes again. */
#ifndef MOERING_ENGINE_BACKEND_CUDA_CUDA_OPS_CUH
#define MOERING_ENGINE_BACKEND_CUDA_CUDA_OPS_CUH

#include <cublas_v2.h>

#include "engine/backend/cuda/cuda_kernel.cuh"

/* The rows of the step, as begin() left them. Addresses stay; contents change from step to step. */
struct cuda_rows {
    const uint32_t *tokens;    /* [rows] */
    const uint32_t *positions; /* [rows] */
    const uint32_t *table_of;  /* [rows] which block table */
    const uint32_t *tables;    /* [tables][table_stride] block numbers */
    uint32_t table_stride;
};

/* ---- embed.cu, norm.cu, scale.cu, rope.cu, kv_write.cu, gather.cu, matmul.cu; `stopped` may be
 * NULL */

void cuda_embed(cudaStream_t stream, float *out, struct tensor table, const uint32_t *tokens,
                uint32_t rows);
void cuda_rms_norm(cudaStream_t stream, float *out, const float *x, const float *weight,
                   uint32_t rows, uint32_t width, float eps);
/* As scale and add_scaled of backend.h; gate NULL: 1. Where *stopped, nothing is added. */
void cuda_scale(cudaStream_t stream, float *x, float factor, uint32_t rows, uint32_t width);
void cuda_add_scaled(cudaStream_t stream, float *x, const float *y, const float *gate,
                     float factor, uint32_t rows, uint32_t width, const uint32_t *stopped);
void cuda_gather(cudaStream_t stream, float *out, const float *x, const uint32_t *rows,
                 uint32_t count, uint32_t width);
void cuda_rope(cudaStream_t stream, float *x, const uint32_t *positions, const float *inv_freq,
               uint32_t rows, uint32_t heads, uint32_t head_dim);
void cuda_kv_write(cudaStream_t stream, struct kv_layer kv, const float *k, const float *v,
                   const struct cuda_rows *at, uint32_t rows);

/* y = W x (+ bias) for any number of rows, CUDA_FEW_ROWS at a time. The sum of an output has one
 * order, fixed by cols: neither rows nor their place changes a bit. W's rows may be unaligned. */
void cuda_matmul_few(cudaStream_t stream, float *out, const float *x, struct tensor w,
                     const float *bias, uint32_t rows, bool add, const uint32_t *stopped);

/* The same by cuBLAS for many rows: x is rounded to the format of the weights first, sums are f32.
 * `half`: [rows][cols] elements of 2 bytes; `sum`: [rows][w.rows], needed for `add` alone. */
struct cuda_gemm {
    cublasHandle_t handle; /* bound to the stream, with its own workspace (capturable) */
    cudaStream_t stream;
    void *half;
    float *sum;
    const uint32_t *stopped;
};
void cuda_matmul_many(const struct cuda_gemm *gemm, float *out, const float *x, struct tensor w,
                      const float *bias, uint32_t rows, bool add);

/* ---- attention.cu, attention_prefill.cu ---- */

struct cuda_attention_args {
    float *out;       /* [rows][heads * head_dim] */
    const float *q;
    struct kv_layer kv;
    struct cuda_rows at;
    uint32_t rows, heads;
    float scale;
    uint32_t window;
    uint32_t context_max;  /* above every position of the step; sizes grids, not results */
    float *scratch;        /* cuda_attention_scratch(...) bytes, 16-byte aligned */
};
/* Each row alone, its keys cut into parts of one fixed length whose results are joined in order:
 * the order of sums depends on the row's position only. */
size_t cuda_attention_scratch(uint32_t rows, uint32_t heads, uint32_t head_dim,
                              uint32_t context_max);
void cuda_attention_rows(cudaStream_t stream, const struct cuda_attention_args *args);
/* Tiles of neighbouring rows of one sequence (one table_of, ascending positions) against tiles of
 * keys, by online softmax. For prompts. Where KV is F16 on tensor cores, which round q and weights
 * to F16: about 1e-3 off cuda_attention_rows; else off in the last bits. */
void cuda_attention_tiled(cudaStream_t stream, const struct cuda_attention_args *args);

/* ---- route.cu, draw.cu ---- */

/* Ties to the lower index, NaN as -inf, order and formulas of router_choose (router.h). */
void cuda_route(cudaStream_t stream, struct router router, const float *scores, uint32_t rows,
                uint32_t *chosen, float *weights);
/* tokens[count]; scratch: cuda_draw_scratch bytes, 8-byte aligned. draws: device copy of struct
 * draw [count]. vocab < 2^20. A row's token does not depend on its company. */
size_t cuda_draw_scratch(uint32_t count, uint32_t vocab);
void cuda_draw(cudaStream_t stream, const float *logits, uint32_t vocab, const struct draw *draws,
               uint32_t count, uint32_t *tokens, void *scratch);

/* ---- slots.cu, experts.cu, experts_many.cu, combine.cu ---- */

/* One expert with work: where its three matrices lie and which places of `gather` are its. */
struct cuda_expert {
    const uint8_t *gate, *up, *down; /* device memory */
    uint32_t begin, end;             /* places; its rows of x are gather[begin .. end - 1] */
};

/* Shapes of the experts of a layer. */
struct cuda_expert_shape {
    uint32_t hidden, width;
    enum dtype gate, up, down;
};

/* Changes of the slot table, in the order given: table[page[i]] = slot[i]. Host arrays, passed as
 * kernel parameters; count <= CUDA_SLOT_CHANGES_MAX. */
#define CUDA_SLOT_CHANGES_MAX 128
void cuda_slots_change(cudaStream_t stream, const uint8_t **table, const uint32_t *page,
                       const uint8_t *const *slot, uint32_t count);

/* What the host would do with the choices of a layer, done on the device: groups them by expert
 * (dispatch.h has the order) and looks up slots. */
struct cuda_plan {
    struct cuda_expert *experts; /* [choices_max] the touched ones, ascending */
    uint32_t *count;             /* of them; 0 where stopped */
    uint32_t *gather;            /* [choices_max] row of each place */
    uint32_t *place;             /* [choices_max] place of each choice (row-major) */
    uint32_t *offsets;           /* [rows_max + 1] r * top_k */
};
/* One block. Where *stopped is 0 and a chosen page has no slot, *stopped becomes layer + 1; what it
 * is then, args->stopped takes too (NULL: nothing does). */
void cuda_plan_resident(cudaStream_t stream, const struct cuda_plan *plan,
                        const struct resident_args *args, const uint8_t *const *table,
                        uint32_t *stopped);

/* out[place] = down(silu(gate x) * up x) for all places of experts[0 .. *count - 1]; `hidden`:
 * [choices][width] between the halves. `count` is read on the device; `count_max` and
 * `rows_each_max` bound the grid. A place's result depends on its row and expert alone. */
struct cuda_experts_args {
    float *out;         /* [choices][hidden] */
    const float *x;     /* [..][hidden] */
    const uint32_t *gather;
    const struct cuda_expert *experts;
    const uint32_t *count;
    uint32_t count_max, rows_each_max;
    struct cuda_expert_shape shape;
    float *hidden;      /* [choices][width] */
};
void cuda_experts_few(cudaStream_t stream, const struct cuda_experts_args *args);
/* experts[0] = alone, *count = 1, by a kernel: no staging, so that it can be captured. */
void cuda_expert_put(cudaStream_t stream, struct cuda_expert *experts, uint32_t *count,
                     struct cuda_expert alone);
/* The same by cuBLAS, for experts of many rows each, one after the other; `experts` is read on the
 * host. Scratch: half [choices][max(hidden, width)] of 2 bytes, gate and up [choices][width]. */
struct cuda_experts_scratch {
    void *half;
    float *gate, *up;
};
void cuda_experts_many(const struct cuda_gemm *gemm, const struct cuda_experts_args *args,
                       const struct cuda_expert *host_experts, uint32_t count,
                       const struct cuda_experts_scratch *scratch);

/* As combine of backend.h; where *stopped, nothing. */
void cuda_combine(cudaStream_t stream, const struct combine_args *args, const uint32_t *stopped);

#endif
