/* The parts of an open engine and how they are put together: plan, budget, memory, weights. Used by
 * engine.c alone; apart from it so that building is read in one place and running in another. */
#ifndef MOERING_ENGINE_PARTS_H
#define MOERING_ENGINE_PARTS_H

#include "engine/engine.h"
#include "engine/model/landing.h"
#include "engine/model/transformer.h"

#ifdef __cplusplus
extern "C" {
#endif

struct engine_parts {
    struct checkpoint *checkpoint;
    struct tokenizer *tokenizer;   /* NULL: the model comes without one */
    struct backend *backend;
    struct backend *host_backend;  /* the CPU, beside a GPU; NULL: none */
    struct memory *memory;         /* owns store and device */
    struct landing *landing;       /* of pages, on the CPU; the store in memory borrows it */
    struct device *gpu; /* memory's device, if layers are computed on it; NULL: the CPU */
    char gpu_name[128];
    char model_name[256];
    char weight_dtype[128];
    struct model *model;
    struct kv_cache *kv;
    struct lstm_net *lstm_net;     /* of --load-lstm; NULL: none */
    struct predictor *lstm[LOAD_PHASES]; /* its states; the pager borrows them */
    struct expert_pager *pager;
    struct transformer transformer;
    struct engine_info info;
};

enum status parts_open(struct engine_parts *parts, const struct engine_config *config,
                       struct error *error);
void parts_close(struct engine_parts *parts); /* accepts half-built ones */

#ifdef __cplusplus
}
#endif
#endif
