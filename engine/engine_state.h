/* What an open engine is made of, for the files that are its methods: engine.c runs it,
 * engine_stats.c tells of it. Nobody else includes this. */
#ifndef MOERING_ENGINE_ENGINE_STATE_H
#define MOERING_ENGINE_ENGINE_STATE_H

#include <pthread.h>

#include "engine/parts.h"
#include "engine/replay/trace_writer.h"
#include "engine/step_sampler.h"

#ifdef __cplusplus
extern "C" {
#endif

struct engine {
    struct engine_parts parts;
    struct batch batch;
    struct step_sampler sampler;
    uint32_t sequences;
    uint64_t serial;                     /* of the next sequence */
    struct trace_writer *trace;          /* NULL: nothing is recorded */
    struct trace_writer_item *trace_items; /* [max_num_seqs] */
    struct regret *regret;
    struct engine_stats totals;          /* engine thread */
    uint64_t load_ticks;                 /* as of which `loads` are */
    pthread_mutex_t snapshot_lock;       /* guards those below alone */
    struct engine_stats snapshot;
    struct engine_load *loads;           /* [layers][LOAD_PHASES] */
    struct engine_layer_stats *layers;   /* [layers] */
};

/* Copies the totals of the parts into the snapshot that other threads read: after whatever changes
 * them. */
void engine_publish(struct engine *engine);
/* A step has stood still for so long. */
void engine_stalled(struct engine *engine, uint64_t stall_ns);

#ifdef __cplusplus
}
#endif
#endif
