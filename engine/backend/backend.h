/* What a layer asks of the machine it runs on: one table of operations, one implementation per kind
 * of machine (cpu/, cuda/). Activations are f32, row-major [rows][width]; weights are matrices
 * [rows][cols] in any format of engine/quant, where a linear layer computes y = W x.
 *
 * The promise that invariant 1 of ARCHITECTURE.md rests on: the result for a row depends on that
 * row alone. How many rows share a call, how many threads work and where weights lie do not change
 * a bit of it, because every sum has one fixed order that depends on its length only.
 *
 * Called by the engine thread only. Pointers are into the backend's memory (plain RAM on the CPU).
 * Operations are asynchronous where the machine is; sync() waits. Shapes are the caller's duty. */
#ifndef MOERING_ENGINE_BACKEND_BACKEND_H
#define MOERING_ENGINE_BACKEND_BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/quant/dtype.h"
#include "memory/base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

struct backend;

/* A weight matrix in backend memory. data needs no alignment beyond its element's. */
struct tensor {
    const void *data;
    enum dtype dtype;
    uint32_t rows; /* outputs */
    uint32_t cols; /* inputs: length of a row, contiguous */
};

/* One layer's keys and values: blocks of KV_BLOCK_TOKENS positions, [block][kv_head][token][dim].
 * A sequence's position p lies in its block p / KV_BLOCK_TOKENS. */
#define KV_BLOCK_TOKENS 16
struct kv_layer {
    void *keys;
    void *values;
    enum dtype dtype; /* F32 or F16 */
    uint32_t kv_heads;
    uint32_t head_dim;
};

/* Where one row of a batch stands in its sequence. */
struct row_place {
    const uint32_t *blocks; /* block table of its sequence, host memory */
    uint32_t position;      /* attends to positions 0 .. position */
};

struct attention_args {
    float *out;       /* [rows][heads * head_dim] */
    const float *q;   /* [rows][heads * head_dim], rotated */
    struct kv_layer kv;
    const struct row_place *places; /* [rows] */
    uint32_t rows;
    uint32_t heads;   /* query head h reads kv head h / (heads / kv_heads) */
    float scale;      /* of q.k before softmax */
    uint32_t window;  /* positions attended to, 0: all */
};

/* One expert over the rows routed to it: out = down(silu(gate x) * up x). */
struct expert_args {
    float *out;            /* [rows][down.rows], rows in the order of `gather` */
    const float *x;        /* [..][gate.cols] */
    const uint32_t *gather; /* [rows] row numbers of x */
    uint32_t rows;
    struct tensor gate, up, down; /* [f][h], [f][h], [h][f]; in a slot of the device tier */
};

struct combine_args {
    float *out;              /* [rows][width]; += is what it does */
    const float *y;          /* [choices][width]: expert outputs, grouped by expert */
    const uint32_t *offsets; /* [rows + 1]: row r has choices offsets[r] .. offsets[r+1] - 1 */
    const uint32_t *places;  /* [choices] row of y, in the token's own order of experts */
    const float *weights;    /* [choices] */
    uint32_t rows;
    uint32_t width;
};

struct backend_ops {
    const char *name; /* "cpu" */
    /* Memory for weights, KV and activations, 64-byte aligned and zeroed; NULL: exhausted. */
    void *(*alloc)(struct backend *b, size_t bytes);
    void (*release)(struct backend *b, void *p);
    void (*upload)(struct backend *b, void *to, const void *from_host, size_t bytes);
    void (*download)(struct backend *b, void *to_host, const void *from, size_t bytes);

    /* out[r] = table[tokens[r]] decoded; tokens in host memory, each < table.rows. */
    void (*embed)(struct backend *b, float *out, struct tensor table, const uint32_t *tokens,
                  uint32_t rows);
    /* out[r][i] = x[r][i] / sqrt(mean(x[r]^2) + eps) * weight[i]; weight f32; in place allowed. */
    void (*rms_norm)(struct backend *b, float *out, const float *x, const float *weight,
                     uint32_t rows, uint32_t width, float eps);
    /* out[r][o] = W[o] . x[r] (+ bias[o], NULL: none); with `add`, out += it. out is not x. */
    void (*matmul)(struct backend *b, float *out, const float *x, struct tensor w,
                   const float *bias, uint32_t rows, bool add);
    /* Rotate-half RoPE in place on x[rows][heads][head_dim]: pairs (i, i + head_dim/2) turn by
     * places[r].position * inv_freq[i], i < head_dim/2 (inv_freq in host memory). */
    void (*rope)(struct backend *b, float *x, const struct row_place *places,
                 const float *inv_freq, uint32_t rows, uint32_t heads, uint32_t head_dim);
    /* Stores k and v [rows][kv_heads][head_dim] at each row's position. */
    void (*kv_write)(struct backend *b, struct kv_layer kv, const float *k, const float *v,
                     const struct row_place *places, uint32_t rows);
    void (*attention)(struct backend *b, const struct attention_args *args);
    void (*expert)(struct backend *b, const struct expert_args *args);
    /* out[r] += sum over its choices, in order, of weights * y. */
    void (*combine)(struct backend *b, const struct combine_args *args);
    void (*sync)(struct backend *b);
    void (*close)(struct backend *b);
};

struct backend {
    const struct backend_ops *ops; /* first member of every kind of backend */
};

enum cpu_isa { CPU_SCALAR, CPU_AVX2, CPU_AVX512, CPU_ISA_COUNT, CPU_BEST = CPU_ISA_COUNT };

struct cpu_backend_config {
    uint32_t threads;          /* 0: as many as the process may use */
    enum cpu_isa isa;          /* CPU_BEST: the best this machine has */
    uint32_t expert_width_max; /* largest f; sizes scratch */
    uint32_t context_max;      /* longest sequence; sizes attention scratch */
    uint32_t rows_max;         /* rows in one call at most */
};

/* UNSUPPORTED: this machine lacks the instruction set; NO_MEMORY. */
enum status cpu_backend_open(struct backend **out, const struct cpu_backend_config *config,
                             struct error *error);
const char *cpu_isa_name(enum cpu_isa isa); /* "scalar", "avx2", "avx512" */
bool cpu_isa_parse(const char *name, enum cpu_isa *out); /* also "auto" */
enum cpu_isa cpu_backend_isa(const struct backend *b);
uint32_t cpu_backend_threads(const struct backend *b);

static inline void backend_close(struct backend *b)
{
    if (b)
        b->ops->close(b);
}

#ifdef __cplusplus
}
#endif
#endif
