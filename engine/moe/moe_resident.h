/* Decoding ahead of the host: layers are asked for before the routing of those in front of them is
 * known, on backends that can stop by themselves at a page that is not there (struct resident_ops).
 *
 *     ask(n), ask(n + 1), ask(n + 2)      route, look slots up, compute, post the routing to the
 *                                         host
 *     confirm(n)                          wait for the posted routing: the layer ran, or it stopped
 *
 * What is confirmed is told to the pager as if it had been asked. Where the device stopped, the
 * caller runs that layer's experts by moe_experts, which fetches, and asks for the layers behind it
 * once more; what was asked for too early did nothing. A layer that stopped lately is waited for
 * before anything is asked for behind it. Engine thread. */
#ifndef MOERING_ENGINE_MOE_MOE_RESIDENT_H
#define MOERING_ENGINE_MOE_MOE_RESIDENT_H

#include "engine/moe/moe_layer.h"

#ifdef __cplusplus
extern "C" {
#endif

#define MOE_RESIDENT_AHEAD 2 /* layers asked for beyond the one that is waited for */

/* What one layer posted, in host memory. */
struct moe_posted {
    uint32_t *words; /* chosen [rows][k], stopped, weights [rows][k], answers [reach][rows][E] */
    uint64_t fence;
    uint32_t reach;  /* of the routers looked ahead at */
};

struct moe_resident {
    struct moe *moe;                /* borrowed; NULL: not open */
    const struct resident_ops *ops; /* NULL: the backend has none; then nothing else is set */
    uint32_t layers, rows_max;
    uint32_t *record;               /* backend memory: what a layer posts, all of them in turn */
    struct moe_posted *posted;      /* [layers] */
    uint8_t *trust;                 /* [layers] 0 .. 3: rises when it passes, falls when it stops */
};

enum status moe_resident_open(struct moe_resident *r, struct moe *moe, uint32_t layers,
                              struct error *error);
void moe_resident_close(struct moe_resident *r); /* accepts a zeroed one */
/* Can a step of so many rows run ahead? */
bool moe_resident_can(const struct moe_resident *r, uint32_t rows);
/* Is layer `next` to be asked for while `waiting` is not confirmed yet? */
bool moe_resident_further(const struct moe_resident *r, uint32_t waiting, uint32_t next);

/* A step begins: whatever stopped before is forgotten. */
void moe_resident_begin(struct moe_resident *r);
/* What, beside layer and rows, the calls of moe_resident_ask depend on. Also what it will use. */
uint32_t moe_resident_variant(struct moe_resident *r, uint32_t layer, uint32_t rows);
/* Between segment_begin and segment_end: x += experts(normed), and the routing is posted. */
void moe_resident_ask(struct moe_resident *r, uint32_t layer, const struct moe_weights *weights,
                      float *x, const float *normed, uint32_t rows);
/* After segment_end. */
void moe_resident_asked(struct moe_resident *r, uint32_t layer);
/* Waits. True: the layer has run; pager, observer and batch->usage know. False: it lacked a page, x
 * is as it was before its experts and everything asked for behind it did nothing; *routing is what
 * it chose, until the layer is asked for again. */
bool moe_resident_confirm(struct moe_resident *r, uint32_t layer, struct batch *batch,
                          struct moe_routing *routing);

#ifdef __cplusplus
}
#endif
#endif
