/* Asks the next layers' routers about the present hidden state, to foretell their experts.
 *
 * A layer adds little to the residual stream, so the router of layer l + d, applied (behind its own
 * norm) to the stream as it is when layer l routes, ranks the experts nearly as it will when its
 * turn comes. The pager's predictors learn how far to trust each rank. Done while the misses of the
 * present layer are on their way, for small batches only: large ones touch most experts anyway.
 * Engine thread. */
#ifndef MOERING_ENGINE_MOE_ROUTER_LOOKAHEAD_H
#define MOERING_ENGINE_MOE_ROUTER_LOOKAHEAD_H

#include "engine/backend/backend.h"
#include "engine/paging/expert_pager.h"

#ifdef __cplusplus
extern "C" {
#endif

#define ROUTER_LOOKAHEAD_ROWS 8     /* larger batches are not foretold */
#define ROUTER_LOOKAHEAD_LAYERS_MAX 4 /* nor layers further off */

/* What one layer routes by; lent by the model. */
struct layer_router {
    struct tensor weight; /* [E][h] */
    const float *norm;    /* [h] in front of it */
};

/* Told what was asked, row by row, whether the pager wants to know or not. `scores` NULL: nobody
 * listens. */
struct lookahead_listener {
    void *self;
    uint32_t distances; /* 1 .. this many layers ahead */
    /* logits[rows][E] of the router of layer + distance; lent for the call. */
    void (*scores)(void *self, uint32_t layer, uint32_t distance, const float *logits,
                   uint32_t rows);
};

struct router_lookahead {
    struct backend *backend;           /* borrowed; NULL: not open */
    const struct layer_router *router; /* [layers] borrowed; NULL: looks nowhere */
    uint32_t layers, experts, hidden;
    float norm_eps;
    float *normed;  /* [ROUTER_LOOKAHEAD_ROWS][h], backend memory */
    float *scores;  /* [ROUTER_LOOKAHEAD_LAYERS_MAX][ROUTER_LOOKAHEAD_ROWS][E], backend memory */
    float *host;    /* the same */
    float *best;    /* [E] */
    struct lookahead_listener listener; /* nobody after open; the owner may set it between steps */
};

struct router_lookahead_config {
    struct backend *backend;
    const struct layer_router *router; /* [layers], or NULL */
    uint32_t layers, experts, hidden;
    float norm_eps;
};
enum status router_lookahead_open(struct router_lookahead *lookahead,
                                  const struct router_lookahead_config *config,
                                  struct error *error);
void router_lookahead_close(struct router_lookahead *lookahead); /* accepts a zeroed one */
uint64_t router_lookahead_bytes(const struct router_lookahead_config *config);

/* How many layers behind `layer` are worth asking for a batch of so many rows. */
uint32_t router_lookahead_reach(const struct router_lookahead *lookahead,
                                const struct expert_pager *pager, uint32_t layer, uint32_t rows);
/* Asks the routers of layer + 1 .. layer + reach: out[reach][rows][E] in backend memory, once the
 * backend gets there. x[rows][h] is the residual stream that `layer` routes by. */
void router_lookahead_ask(struct router_lookahead *lookahead, uint32_t layer, uint32_t reach,
                          const float *x, uint32_t rows, float *out);
/* After pager_request, or pager_ran, of `layer`: tells pager and listener of the answers (host). */
void router_lookahead_take(struct router_lookahead *lookahead, struct expert_pager *pager,
                           uint32_t layer, uint32_t reach, const float *answers, uint32_t rows);
/* The three together. */
void router_lookahead_tell(struct router_lookahead *lookahead, struct expert_pager *pager,
                           uint32_t layer, const float *x, uint32_t rows);

#ifdef __cplusplus
}
#endif
#endif
