/* Routing by a script instead of by the router's scores: for measuring models of random weights,
 * whose own routing has none of the locality that a ring lives on. The router still runs and gives
 * the weights; only which experts are chosen is replaced, on the device, so that a scripted step
 * costs what a real one does. Engine thread. */
#ifndef MOERING_ENGINE_MOE_ROUTING_SCRIPT_H
#define MOERING_ENGINE_MOE_ROUTING_SCRIPT_H

#include "engine/batch/batch.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Fills chosen[top_k] with distinct experts for the token at `position` of the step's item. */
struct routing_script {
    void *self;
    void (*choices)(void *self, uint32_t layer, uint32_t item, uint32_t position,
                    uint32_t *chosen);
};

struct scripted_routing {
    struct backend *backend; /* borrowed; NULL: not open */
    struct routing_script script;
    uint32_t layers, rows_max, top_k;
    uint32_t *host;          /* [layers][rows][top_k] of the step */
    uint32_t *device;        /* the same, backend memory; room for rows_max */
};

enum status scripted_routing_open(struct scripted_routing *s, struct backend *backend,
                                  struct routing_script script, uint32_t layers, uint32_t rows_max,
                                  uint32_t top_k, struct error *error);
void scripted_routing_close(struct scripted_routing *s); /* accepts a zeroed one */
/* Asks for all choices of a step. */
void scripted_routing_begin(struct scripted_routing *s, const struct batch *batch);
/* chosen[rows][top_k] (backend memory) = those of this layer. */
void scripted_routing_apply(const struct scripted_routing *s, uint32_t layer, uint32_t rows,
                            uint32_t *chosen);

#ifdef __cplusplus
}
#endif
#endif
