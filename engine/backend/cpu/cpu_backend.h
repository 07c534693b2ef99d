/* The inside of the CPU backend: what its operations share. Only the sources of cpu/ and their
 * tests include this; everybody else sees engine/backend/backend.h. */
#ifndef MOERING_ENGINE_BACKEND_CPU_CPU_BACKEND_H
#define MOERING_ENGINE_BACKEND_CPU_CPU_BACKEND_H

#include "engine/backend/backend.h"
#include "engine/backend/cpu/cpu_threads.h"
#include "engine/backend/cpu/kernels.h"

#ifdef __cplusplus
extern "C" {
#endif

#define CPU_ATTENTION_HEADS 4 /* query heads that read one kv head together, at most */

struct cpu_backend {
    struct backend base;
    const struct kernels *kernels;
    struct cpu_threads *threads;
    enum cpu_isa isa;
    struct cpu_backend_config config;
    float *hidden;          /* [rows_max][expert_width_max]: between the two halves of an expert */
    float *scores;          /* [threads][CPU_ATTENTION_HEADS][scores_stride] */
    size_t scores_stride;   /* context_max, rounded up to a cache line */
};

static inline struct cpu_backend *cpu_backend_of(struct backend *b)
{
    return (struct cpu_backend *)b; /* base is the first member */
}

/* How to cut `units` of equal work among the threads. A part is worth a wake-up (tens of thousands
 * of multiplications), there are a few per thread (cores may be lent to others meanwhile), and its
 * size is a multiple of `align`. Never affects results. */
struct cpu_split {
    uint32_t units;
    uint32_t per_part;
    uint32_t parts;
};
struct cpu_split cpu_split_work(const struct cpu_backend *b, uint32_t units,
                                uint64_t cost_per_unit, uint32_t align);
static inline uint32_t cpu_split_begin(const struct cpu_split *s, uint32_t part)
{
    return part * s->per_part;
}
static inline uint32_t cpu_split_end(const struct cpu_split *s, uint32_t part)
{
    uint32_t begin = part * s->per_part;
    return s->units - begin < s->per_part ? s->units : begin + s->per_part;
}

/* Weight rows of so many bytes that the second-level cache holds beside the activations. */
size_t cpu_matmul_block(size_t row_bytes);

/* The operations, one file each; contracts in backend.h. */
void cpu_embed(struct backend *b, float *out, struct tensor table, const uint32_t *tokens,
               uint32_t rows);
void cpu_rms_norm(struct backend *b, float *out, const float *x, const float *weight,
                  uint32_t rows, uint32_t width, float eps);
void cpu_matmul(struct backend *b, float *out, const float *x, struct tensor w, const float *bias,
                uint32_t rows, bool add);
void cpu_rope(struct backend *b, float *x, const struct row_place *places, const float *inv_freq,
              uint32_t rows, uint32_t heads, uint32_t head_dim);
void cpu_kv_write(struct backend *b, struct kv_layer kv, const float *k, const float *v,
                  const struct row_place *places, uint32_t rows);
void cpu_attention(struct backend *b, const struct attention_args *args);
void cpu_expert(struct backend *b, const struct expert_args *args);
void cpu_combine(struct backend *b, const struct combine_args *args);

#ifdef __cplusplus
}
#endif
#endif
