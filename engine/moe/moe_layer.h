/* The heart: one Mixture-of-Experts layer over a batch, its experts paged.
 *
 *     route -> ask the pager for the distinct experts (hits pinned, misses on their way, or left to
 *              be computed in host memory where they lie)
 *           -> compute experts as they become ready, each over all rows that chose it
 *           -> the shared expert, if there is one, over all rows, while misses are on their way
 *           -> combine in each token's own order of experts; the shared expert comes last
 *
 * The order in which experts become ready changes nothing in the result: outputs wait in `grouped`
 * until all are there, and each row sums its own choices in the order of its router.
 *
 * The device is never waited for but where routing comes back. What it was asked to compute is
 * given back to the pager at once, with the fence behind it. Engine thread. */
#ifndef MOERING_ENGINE_MOE_MOE_LAYER_H
#define MOERING_ENGINE_MOE_MOE_LAYER_H

#include "engine/batch/batch.h"
#include "engine/moe/dispatch.h"
#include "engine/moe/moe_host.h"
#include "engine/moe/moe_weights.h"
#include "engine/moe/router_lookahead.h"
#include "engine/moe/routing_script.h"
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
    uint32_t *front;             /* backend memory: copy of the dispatch's front */
    float *scores;               /* [rows][E], backend memory */
    uint32_t *routed;            /* [rows][top_k] chosen, then as many weights, backend memory */
    float *grouped;              /* [rows * top_k][h], backend memory */
    float *shared; /* [rows][h] of the shared expert; backend memory; NULL: there is none */
    float *shared_gate;          /* [rows] its gate, before the sigmoid; backend memory */
    uint32_t *every_row;         /* [rows] 0, 1, 2 ...; backend memory */
    uint32_t *chosen;            /* the same in host memory */
    float *weights;              /* in `chosen`, behind the choices of the newest rows */
    bool *hit;                   /* [E] by place in dispatch.touched */
    uint32_t *rows_of;           /* [E] rows that chose it, by place in dispatch.touched */
    uint32_t at_once;            /* experts in one call of the backend */
    struct expert_args *args;    /* [at_once] */
    uint32_t *taken;             /* [at_once] by place in dispatch.touched */
    struct moe_host host;        /* zeros: nothing is computed on the host */
    struct router_lookahead lookahead;
    const struct scripted_routing *scripted; /* who chooses in the router's place; NULL: nobody */
    struct routing_observer observer; /* nobody after open; the owner may set it between steps */
};

struct moe_config {
    struct backend *backend;
    /* Computes experts in host memory where the pager says so; NULL: nobody does (then the pager's
     * host_compute must be false). Its rows and expert width are those of this layer. */
    struct backend *host;
    struct expert_pager *pager;
    struct router router;
    uint32_t hidden, expert_width, rows_max;
    bool shared;             /* layers have a shared expert */
    /* To look ahead with; NULL: the layer does not. */
    const struct layer_router *routers; /* [layers] borrowed */
    uint32_t layers;
    float norm_eps;
};
enum status moe_open(struct moe *moe, const struct moe_config *config, struct error *error);
void moe_close(struct moe *moe);
/* Bytes that moe_open takes from the backend and the host. `backend` and `host` are only looked at
 * for being there. */
uint64_t moe_bytes(const struct moe_config *config);

/* What was chosen for the rows of a batch, in host memory: [rows][top_k] each. */
struct moe_routing {
    const uint32_t *chosen;
    const float *weights;
};
/* Lets the device choose for rows of normed, and waits; *routing is in force until the next
 * call. */
void moe_route(struct moe *moe, uint32_t layer, const struct moe_weights *weights,
               const float *normed, uint32_t rows, struct moe_routing *routing);

/* What a layer works on. */
struct moe_call {
    uint32_t layer;
    const struct moe_weights *weights;
    float *x;                /* [rows][h], backend memory, += */
    const float *normed;     /* [rows][h], backend memory */
    struct batch *batch;
};
/* x += experts(normed) for the rows of the batch, one layer whose routing the host knows;
 * batch->usage is charged per item.
 * IO: a page could not be read; x is unchanged and batch->failed tells the items that chose it. */
enum status moe_experts(struct moe *moe, const struct moe_call *call,
                        const struct moe_routing *routing, struct error *error);
/* A layer that the device computed by itself, with what was resident: pager, observer and
 * batch->usage hear of it as of a layer of hits. */
void moe_ran(struct moe *moe, uint32_t layer, struct batch *batch,
             const struct moe_routing *routing);
/* Where gate, up and down lie in a slot that holds a page of this layer. */
void moe_part_offsets(const struct moe *moe, uint32_t layer, uint32_t offset[3]);

/* Computes the shared expert for rows of normed, if these weights have one; x is not touched
 * yet. */
void moe_shared_compute(struct moe *moe, const struct moe_weights *weights, const float *normed,
                        uint32_t rows);
/* x += what it computed. */
void moe_shared_add(struct moe *moe, const struct moe_weights *weights, float *x, uint32_t rows);

/* Both together: moe_route, moe_experts. */
enum status moe_layer(struct moe *moe, const struct moe_call *call, struct error *error);

#ifdef __cplusplus
}
#endif
#endif
