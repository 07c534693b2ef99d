/* Matrices times rows of activations, the common half of matmul.c and expert.c: how a matrix of any
 * format and layout is multiplied, how much work it is, and how a list of them is shared out among
 * the threads in one fork-join. Inside of cpu/ only. */
#ifndef MOERING_ENGINE_BACKEND_CPU_LINEAR_H
#define MOERING_ENGINE_BACKEND_CPU_LINEAR_H

#include "engine/backend/backend.h"
#include "engine/backend/cpu/cpu_split.h"
#include "engine/backend/cpu/packed_kernels.h"

#ifdef __cplusplus
extern "C" {
#endif

struct cpu_backend;

#define LINEAR_TILE_VALUES 16384 /* results that wait in a worker's scratch, at most */

/* One matrix and the rows it is to be multiplied with: out[i] = W x[rows[i]] (+ bias), or += it. */
struct linear {
    struct tensor w;
    const float *x; /* [..][w.cols]; of a packed matrix only the backend's 8-bit rows are read */
    struct packed_x q;     /* the same rows, row r of x at row r; where linear_is_packed(w) */
    const uint32_t *rows;  /* [count] rows of x; NULL: 0 .. count - 1 */
    uint32_t count;
    float *out;            /* [count][w.rows] */
    const float *bias;     /* [w.rows] or NULL */
    bool add;
};

static inline bool linear_is_packed(struct tensor w)
{
    return w.layout == LAYOUT_PACKED;
}

/* The rows of q from `row` on. */
static inline struct packed_x packed_x_from(const struct packed_x *q, size_t row)
{
    struct packed_x from = *q;
    size_t blocks = row * (q->cols / ACTIVATION_BLOCK);
    from.q += row * q->cols;
    from.scale += blocks;
    from.sum32 += blocks;
    from.sum16 += 2 * blocks;
    from.count += 2 * blocks;
    return from;
}

/* A block of a list's work: outputs [first, first + outputs) of rows [row, row + count) of one
 * item. `first` is a multiple of PACKED_ROWS. */
struct linear_block {
    uint32_t item;
    uint32_t first, outputs;
    uint32_t row, count;
};

/* out[i * out_stride + j] = output first + j of row row + i, bare: no bias, nothing added. */
void linear_multiply(const struct cpu_backend *b, const struct linear *l,
                     const struct linear_block *block, float *out, size_t out_stride,
                     uint32_t worker);

/* Items of work that need not be equal, each in units of some outputs by some rows. A row block is
 * as many rows as the second-level cache holds: all weights meet it before the next one comes. */
struct linear_list {
    uint64_t *first;         /* [items + 1]: where an item begins, in cost */
    struct linear_units {
        uint64_t cost;       /* of one unit */
        uint32_t outputs;    /* of the matrix */
        uint32_t rows;       /* of the matrix's activations */
        uint32_t unit_outputs, unit_rows;
        uint32_t across;     /* units of all outputs of a row block */
        uint32_t count;
    } *units;                /* [items] */
    uint32_t items;
    struct cpu_split split;
};
/* Begins a list in memory of the backend (one list at a time), adds an item (`twins`: as many
 * matrices of the same shape are done at once), and cuts it. At most items_max items. */
struct linear_list linear_list_begin(struct cpu_backend *b);
void linear_list_add(struct cpu_backend *b, struct linear_list *list, const struct linear *l,
                     uint32_t twins);
void linear_list_cut(struct cpu_backend *b, struct linear_list *list);

/* Goes through the blocks of a part; false: no more. */
struct linear_walk {
    uint64_t at, end; /* in cost */
    uint32_t item;
};
struct linear_walk linear_walk_begin(const struct linear_list *list, uint32_t part);
bool linear_walk_next(const struct linear_list *list, struct linear_walk *walk,
                      struct linear_block *out);

/* Rows of x to 8 bits, shared out among the threads: those listed, or all of 0 .. count - 1. Writes
 * row r of x to row r of q. */
void linear_quantize(struct cpu_backend *b, const struct packed_x *q, const float *x,
                     const uint32_t *rows, uint32_t count);
/* The same into the backend's own memory for as long as the operation lasts, for those of the items
 * that are packed: they get their q; with none that is, nothing is done. Items have one length. */
void linear_pack_rows(struct cpu_backend *b, const float *x, const uint32_t *rows, uint32_t count,
                      struct linear *items, uint32_t items_count);
/* All of the items in one fork-join. Rows of packed ones are in 8 bits already. */
void linear_run(struct cpu_backend *b, const struct linear *items, uint32_t count);

#ifdef __cplusplus
}
#endif
#endif
