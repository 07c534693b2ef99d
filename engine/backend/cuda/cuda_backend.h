/* The table of operations (backend.h) on a CUDA device. Weights, KV and activations lie in device
 * memory; everything runs on the compute stream of the device that the ring lives on, so that
 * fences order copies and kernels.
 *
 * Steps of few rows (CUDA_FEW_ROWS) go through kernels of our own that read each weight once and
 * are bound by memory; more rows go through cuBLAS, whose sums depend on how many rows there are.
 * With `deterministic` only our own kernels run: the result for a row then depends on that row
 * alone. */
#ifndef MOERING_ENGINE_BACKEND_CUDA_CUDA_BACKEND_H
#define MOERING_ENGINE_BACKEND_CUDA_CUDA_BACKEND_H

#include "engine/backend/backend.h"
#include "memory/device.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What the kernels take at most. */
#define CUDA_EXPERTS_MAX 512u
#define CUDA_TOP_K_MAX 64u
#define CUDA_HEAD_DIM_MAX 256u
#define CUDA_VOCAB_MAX ((1u << 20) - 1)

struct cuda_backend_config {
    struct device *device;   /* opened by device_cuda_open; borrowed, outlives the backend */
    bool deterministic;
    uint32_t rows_max;       /* rows in one call at most */
    uint32_t places_max;     /* sequences in one step at most */
    uint32_t context_max;    /* longest sequence */
    uint32_t heads, head_dim;
    uint32_t hidden, expert_width, top_k;
    uint32_t shared_width;   /* of the expert that every row passes through; 0: none */
    uint32_t experts;        /* of a layer */
    uint32_t pages;          /* layers x experts: size of the slot table */
    uint32_t width_max;      /* longest side of a dense matrix but the vocabulary's */
    uint32_t vocab;
};

/* As backend_ops.layout, before there is a backend: formats of plain numbers, row by row. False for
 * every other, and where there is no CUDA. */
bool cuda_backend_layout(enum dtype dtype, enum weight_layout *out);
/* Device memory that open takes for scratch, for the budget. */
uint64_t cuda_backend_bytes(const struct cuda_backend_config *config);
/* UNSUPPORTED: built without CUDA; NO_MEMORY: names the bytes and the flag. */
enum status cuda_backend_open(struct backend **out, const struct cuda_backend_config *config,
                              struct error *error);

#ifdef __cplusplus
}
#endif
#endif
