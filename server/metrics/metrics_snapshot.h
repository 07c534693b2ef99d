/* All figures of the server at one moment, for the pages that show them (metrics_page, stats_json):
 * taken from the engine thread, the engine, the requests. Front thread.
 *
 * Engine totals and figures of layers belong to the same step boundary, so that sums over layers
 * are the totals; requests and queues are of a boundary near it. */
#ifndef MOERING_SERVER_METRICS_METRICS_SNAPSHOT_H
#define MOERING_SERVER_METRICS_METRICS_SNAPSHOT_H

#include "server/metrics/request_metrics.h"
#include "server/requests/requests.h"

#ifdef __cplusplus
extern "C" {
#endif

enum metrics_state { METRICS_LOADING, METRICS_READY, METRICS_DRAINING, METRICS_FAILED };

struct metrics_snapshot {
    uint64_t start_ns, now_ns;               /* memory/base/clock.h */
    enum metrics_state state;                /* DRAINING only once the model was READY */
    const char *error;                       /* FAILED: the sentence */
    const char *model_name;                  /* NULL: not known before READY */
    struct engine_thread_stats thread;
    uint64_t rejected;                       /* for want of room in any queue */
    const struct request_metrics *requests;
    /* The rest is there with the model: `info` NULL otherwise. */
    const struct engine_info *info;
    struct engine_stats engine;
    const struct engine_layer_stats *layers; /* [info->layers] */
    const struct engine_load *loads;         /* [info->layers][LOAD_PHASES] */
};

/* Where it is taken from; all borrowed, but for the last two. */
struct metrics_source {
    uint64_t start_ns;
    const char *served_name;                /* NULL: the model's own */
    const struct requests *requests;
    const struct engine_thread *engine;
    const struct request_metrics *request_metrics;
    struct engine_layer_stats *layers;      /* made by the first snapshot of an open model */
    struct engine_load *loads;
};

/* Pointers in `out` are good until the next snapshot. False: out of memory. */
bool metrics_snapshot_take(struct metrics_source *source, struct metrics_snapshot *out);
void metrics_source_reset(struct metrics_source *source); /* frees */

#ifdef __cplusplus
}
#endif
#endif
