/* The weights of one Mixture-of-Experts layer, as the model lends them for a call. */
#ifndef MOERING_ENGINE_MOE_MOE_WEIGHTS_H
#define MOERING_ENGINE_MOE_MOE_WEIGHTS_H

#include "engine/backend/backend.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The three matrices of an expert: down(silu(gate x) * up x). */
struct expert_tensors {
    struct tensor gate, up; /* [f][h] */
    struct tensor down;     /* [h][f] */
};

struct moe_weights {
    struct tensor router;         /* [E][h] */
    struct expert_tensors expert; /* how each of them lies in a slot; data: NULL, it moves */
    /* The expert that every row passes through, weighted by the sigmoid of its gate. Resident; its
     * width is its own. shared.gate.data NULL: there is none. */
    struct expert_tensors shared;
    struct tensor shared_gate;    /* [1][h] */
};

#ifdef __cplusplus
}
#endif
#endif
