/* The heart: one Mixture-of-Experts layer over a batch, its experts paged.
 *
 *     route -> ask the pager for the distinct experts (hits pinned, misses on their way)
 *           -> compute each expert as it becomes ready, over all rows that chose it
 *           -> combine in each token's own order of experts -> release
 *
 * The order in which experts become ready changes nothing in the result: outputs wait in `grouped`
 * until all are there, and each row sums its own choices in the order of its router. Engine
 * thread. */
#ifndef MOERING_ENGINE_MOE_MOE_LAYER_H
#define MOERING_ENGINE_MOE_MOE_LAYER_H

#include "engine/batch/batch.h"
#include "engine/moe/dispatch.h"
#include "engine/moe/router.h"
#include "engine/moe/router_lookahead.h"
#include "engine/paging/expert_pager.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Told what the router chose for the rows of a batch, and which of dispatch->touched were resident
 * when they were asked for, by place there; a step that fails later was told too. `layer` NULL:
 * nobody listens. */
struct routing_observer {
    void *self;
    void (*layer)(void *self, uint32_t layer, const struct dispatch *dispatch, const bool *hit);
};

/* What the layer works with, sized once for all layers of a model. */
struct moe {
    struct backend *backend;     /* borrowed */
    struct expert_pager *pager;  /* borrowed */
    struct router router;
    uint32_t hidden, expert_width;
    uint32_t rows_max;
    struct dispatch dispatch;
    float *scores;               /* [rows][E], backend memory */
    float *grouped;              /* [rows * top_k][h], backend memory */
    float *host_scores;          /* [rows][E] */
    uint32_t *chosen;            /* [top_k] of one row */
    float *weights;              /* [top_k] */
    bool *hit;                   /* [E] by place in dispatch.touched */
    uint32_t *rows_of;           /* [E] rows that chose it, by place in dispatch.touched */
    struct router_lookahead lookahead;
    struct routing_observer observer; /* nobody after open; the owner may set it between steps */
};

struct moe_config {
    struct backend *backend;
    struct expert_pager *pager;
    struct router router;
    uint32_t hidden, expert_width, rows_max;
    /* To look ahead with; NULL: the layer does not. */
    const struct layer_router *routers; /* [layers] borrowed */
    uint32_t layers;
    float norm_eps;
};
enum status moe_open(struct moe *moe, const struct moe_config *config, struct error *error);
void moe_close(struct moe *moe);
/* Bytes that moe_open takes from the backend and the host. */
uint64_t moe_bytes(const struct moe_config *config);

/* x += experts(normed) for the rows of the batch; batch->usage is charged per item.
 * IO: a page could not be read; x is unchanged and batch->failed tells the items that chose it. */
enum status moe_layer(struct moe *moe, uint32_t layer, struct tensor router_weight,
                      enum dtype expert_dtype, float *x, const float *normed,
                      struct batch *batch, struct error *error);

#ifdef __cplusplus
}
#endif
#endif
