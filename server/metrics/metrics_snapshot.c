/* The engine publishes totals and layers together but gives them out one after the other. Reading
 * the totals before and after tells whether a step came between; it seldom does, since reading
 * takes microseconds. */
#include "server/metrics/metrics_snapshot.h"

#include <stdlib.h>
#include <string.h>

#include "memory/base/clock.h"

enum { ATTEMPTS = 16 }; /* then the newest is taken as it is */

static bool same_boundary(const struct engine_stats *a, const struct engine_stats *b)
{
    return a->steps == b->steps && a->evictions == b->evictions &&
           a->experts.hits == b->experts.hits && a->experts.misses == b->experts.misses &&
           a->resident_pages == b->resident_pages && a->host_pages == b->host_pages;
}

static void read_engine(const struct engine *engine, struct metrics_source *s,
                        struct engine_stats *out)
{
    struct engine_stats before;
    engine_stats_read(engine, out, NULL);
    for (int i = 0; i < ATTEMPTS; i++) {
        before = *out;
        engine_layer_stats_read(engine, s->layers);
        engine_stats_read(engine, out, s->loads);
        if (same_boundary(&before, out))
            return;
    }
}

static bool make_room(struct metrics_source *s, uint32_t layers)
{
    if (!s->layers)
        s->layers = calloc(layers, sizeof *s->layers);
    if (!s->loads)
        s->loads = calloc((size_t)layers * LOAD_PHASES, sizeof *s->loads);
    return s->layers && s->loads;
}

bool metrics_snapshot_take(struct metrics_source *s, struct metrics_snapshot *out)
{
    const struct engine *engine = engine_thread_engine(s->engine);
    *out = (struct metrics_snapshot){
        .start_ns = s->start_ns,
        .state = METRICS_LOADING,
        .model_name = s->served_name,
        .rejected = requests_rejected(s->requests),
        .requests = s->request_metrics,
    };
    engine_thread_stats_read(s->engine, &out->thread);
    out->rejected += out->thread.batcher.rejected;
    if (engine) {
        out->state = requests_draining(s->requests) ? METRICS_DRAINING : METRICS_READY;
        out->model_name = requests_model_name(s->requests);
        out->info = engine_info(engine);
        if (!make_room(s, out->info->layers))
            return false;
        read_engine(engine, s, &out->engine);
        out->layers = s->layers;
        out->loads = s->loads;
    } else if (engine_thread_state(s->engine) == ENGINE_FAILED) {
        out->state = METRICS_FAILED;
        out->error = engine_thread_error(s->engine);
    }
    out->now_ns = clock_now_ns();
    return true;
}

void metrics_source_reset(struct metrics_source *s)
{
    free(s->layers);
    free(s->loads);
    s->layers = NULL;
    s->loads = NULL;
}
