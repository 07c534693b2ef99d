/* What a layer asks of the machine it runs on: one table of operations, one implementation per kind
 * of machine (cpu/, cuda/). Activations are f32, row-major [rows][width]; weights are matrices
 * [rows][cols] in any format of engine/quant, where a linear layer computes y = W x.
 *
 * The promise that invariant 1 of ARCHITECTURE.md rests on: the result for a row depends on that
 * row alone. How many rows share a call, how many threads work and where weights lie do not change
 * a bit of it, because every sum has one fixed order that depends on its length only.
 *
 * Called by the engine thread only. Pointers are into the backend's memory (plain RAM on the CPU)
 * unless a comment says "host". Operations are asynchronous where the machine is, and run in the
 * order in which they were asked for; host memory given to one may be reused when it returns, but
 * for what `begin` was given. Shapes are the caller's duty. */
#ifndef MOERING_ENGINE_BACKEND_BACKEND_H
#define MOERING_ENGINE_BACKEND_BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/backend/router.h"
#include "engine/quant/dtype.h"
#include "memory/base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

struct backend;

/* How a matrix lies in memory. A backend says which it wants (`layout`); who brings weights into
 * its memory or into a slot brings them so. Both take the same bytes. */
enum weight_layout {
    LAYOUT_ROWS,   /* row after row, as in the file */
    LAYOUT_PACKED, /* sixteen rows side by side (engine/quant/packed.h) */
};

/* A weight matrix in backend memory. data needs no alignment beyond its element's; PACKED is faster
 * at 64 bytes. */
struct tensor {
    const void *data;
    enum dtype dtype;
    uint32_t rows; /* outputs */
    uint32_t cols; /* inputs: length of a row */
    enum weight_layout layout;
};

#define MATMULS_MAX 4
/* One of several matrices that are multiplied with the same activations. */
struct matmul_out {
    float *out;        /* [rows][w.rows] */
    struct tensor w;
    const float *bias; /* [w.rows] or NULL */
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
    const uint32_t *blocks; /* host: block table of its sequence; rows of one sequence share it */
    uint32_t position;      /* attends to positions 0 .. position */
};

struct attention_args {
    float *out;       /* [rows][heads * head_dim] */
    const float *q;   /* [rows][heads * head_dim], rotated */
    struct kv_layer kv;
    const struct row_place *places; /* [rows] host: those of begin() */
    uint32_t rows;
    uint32_t heads;   /* query head h reads kv head h / (heads / kv_heads) */
    float scale;      /* of q.k before softmax */
    uint32_t window;  /* positions attended to, 0: all */
};

/* One expert over the rows routed to it: out = down(silu(gate x) * up x). The three may differ in
 * format. */
struct expert_args {
    float *out;            /* [rows][down.rows], rows in the order of `gather` */
    const float *x;        /* [..][gate.cols] */
    const uint32_t *gather; /* [rows] row numbers of x, ascending */
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

/* What the device may draw by itself: see sampler.h for the meaning and the order of the steps. */
struct draw {
    float temperature; /* 0: the highest logit, ties to the lowest id */
    uint32_t top_k;    /* 0: all */
    float top_p;       /* 1: off */
    float min_p;       /* 0: off */
    double uniform;    /* in [0, 1): decides */
};
#define DRAW_NONE                                                                                  \
    UINT32_MAX /* nothing could be drawn: a NaN or +inf among the logits, or all -inf */

/* A run of operations that is repeated with the very same arguments: same key, same calls. */
struct segment_key {
    uint32_t layer;
    uint32_t rows;
    uint32_t variant; /* whatever else the caller makes the calls depend on */
};

/* The experts of a layer for rows whose choices the host does not know yet. */
struct resident_args {
    float *x;               /* [rows][h] += */
    const float *normed;    /* [rows][h] */
    const uint32_t *chosen; /* [rows][top_k], as route() left them */
    const float *weights;   /* [rows][top_k] */
    uint32_t rows, top_k;
    uint32_t layer, experts;
    struct tensor gate, up, down; /* shapes and formats; data: NULL */
    uint32_t offset[3];     /* of gate, up, down in a slot */
    uint32_t *stopped;      /* out, one word: 0, or 1 + the layer that lacks a page (this or an
                               earlier one); where not 0, x is as it was before that layer's
                               experts */
};

/* Running layers before the host has seen their routing. A table in device memory tells where each
 * page is; a layer all of whose chosen pages are there computes, the first that lacks one stops the
 * stream of work: from there on operations leave x alone (and write only what a second run writes
 * again), until go(). NULL where the processor works while it is called: nothing to gain. */
struct resident_ops {
    /* Page (layer * experts + expert) lies in this slot; NULL: it is gone. In force for work asked
     * for from now on; what is under way sees the old place. */
    void (*where)(struct backend *b, uint32_t page, const void *slot);
    void (*experts)(struct backend *b, const struct resident_args *args);
    void (*go)(struct backend *b);
    /* Copies to host memory of host_alloc in its turn; there once a later fence is reached. */
    void (*post)(struct backend *b, void *to_host, const void *from, size_t bytes);
    void *(*host_alloc)(struct backend *b, size_t bytes); /* page-locked; NULL: exhausted */
    void (*host_release)(struct backend *b, void *p);
    uint32_t rows_max; /* more rows in a step than this are faster when the host sorts them */
};

struct backend_ops {
    const char *name; /* "cpu" */
    /* May matrices of this format be here, and how are they to lie? False: it has no kernels. */
    bool (*layout)(const struct backend *b, enum dtype dtype, enum weight_layout *out);
    /* Memory for weights, KV and activations, 64-byte aligned and zeroed; NULL: exhausted. */
    void *(*alloc)(struct backend *b, size_t bytes);
    void (*release)(struct backend *b, void *p);
    void (*upload)(struct backend *b, void *to, const void *from_host, size_t bytes);
    /* Waits for everything asked for before. */
    void (*download)(struct backend *b, void *to_host, const void *from, size_t bytes);
    /* Both in backend memory, not overlapping. */
    void (*copy)(struct backend *b, void *to, const void *from, size_t bytes);

    /* The rows of the step that begins (host). embed, rope, kv_write and attention are given these
     * arrays again, and a machine with memory of its own reads its copies of them: they must not
     * change until the next begin. */
    void (*begin)(struct backend *b, const uint32_t *tokens, const struct row_place *places,
                  uint32_t rows);
    /* Is there anything to ask for? False: this key was asked for before, and its operations have
     * just been asked for again. True: ask for them, then segment_end. */
    bool (*segment_begin)(struct backend *b, const struct segment_key *key);
    void (*segment_end)(struct backend *b);
    /* Segments are to be asked for anew: memory that they use has moved. */
    void (*segments_forget)(struct backend *b);

    /* out[r] = table[tokens[r]] decoded; tokens those of begin(), each < table.rows. */
    void (*embed)(struct backend *b, float *out, struct tensor table, const uint32_t *tokens,
                  uint32_t rows);
    /* out[r][i] = x[r][i] / sqrt(mean(x[r]^2) + eps) * weight[i]; weight f32; in place allowed. */
    void (*rms_norm)(struct backend *b, float *out, const float *x, const float *weight,
                     uint32_t rows, uint32_t width, float eps);
    /* out[r][o] = W[o] . x[r] (+ bias[o], NULL: none); with `add`, out += it. out is not x. */
    void (*matmul)(struct backend *b, float *out, const float *x, struct tensor w,
                   const float *bias, uint32_t rows, bool add);
    /* The same for several matrices: what attention's q, k and v are. count <= MATMULS_MAX. */
    void (*matmuls)(struct backend *b, const float *x, uint32_t rows,
                    const struct matmul_out *outs, uint32_t count);
    /* x[i] *= factor. */
    void (*scale)(struct backend *b, float *x, float factor, uint32_t rows, uint32_t width);
    /* x[r] += factor * (gate ? sigmoid(gate[r]) : 1) * y[r]. */
    void (*add_scaled)(struct backend *b, float *x, const float *y, const float *gate, float factor,
                       uint32_t rows, uint32_t width);
    /* out[i] = x[rows[i]]; rows: host. */
    void (*gather)(struct backend *b, float *out, const float *x, const uint32_t *rows,
                   uint32_t count, uint32_t width);
    /* Rotate-half RoPE in place on x[rows][heads][head_dim]: pairs (i, i + head_dim/2) turn by
     * places[r].position * inv_freq[i], i < head_dim/2. */
    void (*rope)(struct backend *b, float *x, const struct row_place *places,
                 const float *inv_freq, uint32_t rows, uint32_t heads, uint32_t head_dim);
    /* Stores k and v [rows][kv_heads][head_dim] at each row's position. */
    void (*kv_write)(struct backend *b, struct kv_layer kv, const float *k, const float *v,
                     const struct row_place *places, uint32_t rows);
    void (*attention)(struct backend *b, const struct attention_args *args);
    /* scores[rows][experts] -> chosen[rows][top_k], weights[rows][top_k] (router.h). */
    void (*route)(struct backend *b, const struct router *router, const float *scores,
                  uint32_t rows, uint32_t *chosen, float *weights);
    void (*experts)(struct backend *b, const struct expert_args *args, uint32_t count);
    /* out[r] += sum over its choices, in order, of weights * y. */
    void (*combine)(struct backend *b, const struct combine_args *args);
    /* One token for each row of logits[count][vocab] -> tokens[count] (host), or DRAW_NONE. Waits.
     * NULL: not here, the logits must be downloaded. */
    void (*draw)(struct backend *b, const float *logits, uint32_t vocab, const struct draw *draws,
                 uint32_t count, uint32_t *tokens);
    /* As device_ops (memory/device.h): 0 where operations are done when they return. */
    uint64_t (*fence)(struct backend *b);
    bool (*reached)(struct backend *b, uint64_t fence, bool wait);
    void (*sync)(struct backend *b); /* until everything asked for is done */
    /* Time that the operations above have waited for the machine since open; NULL: they never
     * do. */
    uint64_t (*waited_ns)(struct backend *b);
    const struct resident_ops *resident; /* NULL: layers wait for the host */
    uint32_t experts_at_once; /* in one call of `experts` that pay; 1: give slots back one by one */
    void (*close)(struct backend *b);
};

struct backend {
    const struct backend_ops *ops; /* first member of every kind of backend */
};

static inline void backend_close(struct backend *b)
{
    if (b)
        b->ops->close(b);
}

#ifdef __cplusplus
}
#endif

#include "engine/backend/cpu/cpu_open.h"
#endif
