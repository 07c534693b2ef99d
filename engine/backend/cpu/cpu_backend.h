/* The inside of the CPU backend: what its operations share. Only the sources of cpu/ and their
 * tests include this; everybody else sees engine/backend/backend.h. */
#ifndef MOERING_ENGINE_BACKEND_CPU_CPU_BACKEND_H
#define MOERING_ENGINE_BACKEND_CPU_CPU_BACKEND_H

#include "engine/backend/backend.h"
#include "engine/backend/cpu/cpu_split.h"
#include "engine/backend/cpu/cpu_threads.h"
#include "engine/backend/cpu/kernels.h"
#include "engine/backend/cpu/linear.h"
#include "engine/backend/cpu/packed_kernels.h"

#ifdef __cplusplus
extern "C" {
#endif

struct cpu_backend {
    struct backend base;
    struct backend_ops ops; /* this instance's: experts_at_once is the configuration's */
    const struct kernels *kernels;
    const struct packed_kernels *packed;
    struct cpu_threads *threads;
    enum cpu_isa isa;
    struct cpu_backend_config config;

    uint8_t *scratch;       /* [threads][scratch_bytes]: of one worker, within one operation */
    size_t scratch_bytes;
    uint8_t *packed_rows;   /* [rows_max] rows of x in 8 bits */
    float *hidden;          /* [hidden_rows][expert_width_max]: between the halves of experts */
    uint8_t *packed_hidden; /* the same in 8 bits */
    uint32_t hidden_rows;
    uint32_t items_max;     /* matrices of one list */
    struct linear *linears; /* [2 * items_max] */
    struct linear_units *units; /* [items_max] */
    uint64_t *firsts;       /* [items_max + 1] */
    uint32_t *runs;         /* [rows_max + 1] attention's */
    uint32_t *row_list;     /* [rows_max] rows to quantise */
    uint8_t *row_marked;    /* [rows_max] all 0 between operations */
    struct rope_table *rope_table;
};

static inline struct cpu_backend *cpu_backend_of(struct backend *b)
{
    return (struct cpu_backend *)b; /* base is the first member */
}

/* Scratch of one worker, 64-byte aligned. */
static inline void *cpu_scratch(const struct cpu_backend *b, uint32_t worker)
{
    return b->scratch + worker * b->scratch_bytes;
}

/* Rows of equal work, shared out: cost is that of all. */
static inline struct cpu_split cpu_split_rows(const struct cpu_backend *b, uint32_t rows,
                                              uint64_t cost)
{
    return cpu_split_make(cpu_threads_count(b->threads), rows, 1, cost);
}

size_t cpu_attention_scratch_bytes(void);
size_t cpu_linear_scratch_bytes(const struct cpu_backend_config *config);

/* Cosines and sines of the rows of a step, the same for all layers (rope.c). */
struct rope_table;
struct rope_table *cpu_rope_table_open(uint32_t rows_max);
void cpu_rope_table_close(struct rope_table *t);
uint64_t cpu_rope_table_bytes(uint32_t rows_max);

/* The operations, one file each; contracts in backend.h. */
void cpu_embed(struct backend *b, float *out, struct tensor table, const uint32_t *tokens,
               uint32_t rows);
void cpu_rms_norm(struct backend *b, float *out, const float *x, const float *weight,
                  uint32_t rows, uint32_t width, float eps);
void cpu_matmul(struct backend *b, float *out, const float *x, struct tensor w, const float *bias,
                uint32_t rows, bool add);
void cpu_matmuls(struct backend *b, const float *x, uint32_t rows, const struct matmul_out *outs,
                 uint32_t count);
void cpu_rope(struct backend *b, float *x, const struct row_place *places, const float *inv_freq,
              uint32_t rows, uint32_t heads, uint32_t head_dim);
void cpu_kv_write(struct backend *b, struct kv_layer kv, const float *k, const float *v,
                  const struct row_place *places, uint32_t rows);
void cpu_attention(struct backend *b, const struct attention_args *args);
void cpu_route(struct backend *b, const struct router *router, const float *scores, uint32_t rows,
               uint32_t *chosen, float *weights);
void cpu_experts(struct backend *b, const struct expert_args *args, uint32_t count);
void cpu_combine(struct backend *b, const struct combine_args *args);
void cpu_scale(struct backend *b, float *x, float factor, uint32_t rows, uint32_t width);
void cpu_add_scaled(struct backend *b, float *x, const float *y, const float *gate, float factor,
                    uint32_t rows, uint32_t width);

#ifdef __cplusplus
}
#endif
#endif
