#include "engine/replay/foresight_error.h"

#include <math.h>
#include <stdlib.h>

#include "engine/predict/lookahead.h"
#include "engine/predict/previous.h"
#include "engine/predict/transition.h"
#include "engine/replay/recorded_lookahead.h"

#define WEIGHT_BYTES (64ull << 20) /* of each predictor that keeps weights */

struct trial {
    const struct schedule *schedule;
    struct history history;
    struct predictor *predictor[FORESIGHT_KINDS]; /* NULL: none */
    struct recorded_lookahead *recorded;          /* NULL: none */
    bool *told;                /* [kinds][distances][layers] an answer waits for that layer */
    float *probability;        /* [kinds][distances][layers][experts] */
    uint32_t *experts, *rows;  /* [distinct_max] of the present run */
    struct foresight_errors *out;
};

static size_t place(const struct trial *t, int kind, uint32_t distance, uint32_t layer)
{
    return ((size_t)kind * POLICY_AHEAD_MAX + distance - 1) * t->schedule->layers + layer;
}

static enum status open_trial(struct trial *t, struct error *error)
{
    const struct schedule *s = t->schedule;
    size_t places = (size_t)FORESIGHT_KINDS * POLICY_AHEAD_MAX * s->layers;
    size_t most = s->distinct_max ? s->distinct_max : 1;
    t->told = calloc(places, sizeof *t->told);
    t->probability = malloc(sizeof *t->probability * places * s->experts);
    t->experts = malloc(sizeof *t->experts * most);
    t->rows = malloc(sizeof *t->rows * most);
    if (!t->told || !t->probability || !t->experts || !t->rows)
        return STATUS_NO_MEMORY;
    enum status status = history_open(&t->history, s->layers, s->experts,
                                      s->trace ? s->trace->top_k : s->distinct_max, error);
    if (status == STATUS_OK)
        status = previous_open(&t->predictor[FORESIGHT_PREVIOUS], &t->history, WEIGHT_BYTES, error);
    if (status == STATUS_OK)
        status = transition_open(&t->predictor[FORESIGHT_TRANSITION], &t->history,
                                 TRANSITION_AHEAD_MAX, WEIGHT_BYTES, error);
    if (status == STATUS_OK)
        status = recorded_lookahead_open(&t->recorded, s, POLICY_AHEAD_MAX, error);
    if (status == STATUS_OK && t->recorded)
        status = lookahead_open(&t->predictor[FORESIGHT_LOOKAHEAD], s->layers, s->experts, error);
    return status;
}

static void close_trial(struct trial *t)
{
    for (int kind = 0; kind < FORESIGHT_KINDS; kind++)
        predictor_close(t->predictor[kind]);
    recorded_lookahead_close(t->recorded);
    history_close(&t->history);
    free(t->told);
    free(t->probability);
    free(t->experts);
    free(t->rows);
}

/* Is the expert among the `count` likeliest? Of equals the first in order counts as likelier. */
static bool is_among(const float *probability, uint32_t experts, uint32_t expert, uint32_t count)
{
    uint32_t before = 0;
    for (uint32_t e = 0; e < experts; e++)
        before += probability[e] > probability[expert] ||
                  (e < expert && probability[e] == probability[expert]);
    return before < count;
}

static void score(struct foresight_error *sum, const float *probability, uint32_t experts,
                  const struct layer_run *run)
{
    double loss = 0;
    uint32_t found = 0;
    for (uint32_t e = 0; e < experts; e++) { /* as if none were used */
        double p = probability[e];
        loss -= log(p > 1 - 1e-6 ? 1e-6 : 1 - p);
    }
    for (uint32_t i = 0; i < run->count; i++) {
        double p = probability[run->experts[i]];
        loss += log(p > 1 - 1e-6 ? 1e-6 : 1 - p) - log(p < 1e-6 ? 1e-6 : p);
        found += is_among(probability, experts, run->experts[i], run->count);
    }
    sum->runs++;
    sum->log_loss += loss / experts;
    sum->recall += (double)found / run->count;
}

static void settle(struct trial *t, const struct layer_run *run)
{
    for (int kind = 0; kind < FORESIGHT_KINDS; kind++)
        for (uint32_t d = 1; d <= POLICY_AHEAD_MAX; d++) {
            size_t at = place(t, kind, d, run->layer);
            if (t->told[at])
                score(&t->out->of[kind][d], t->probability + at * t->schedule->experts,
                      t->schedule->experts, run);
            t->told[at] = false;
        }
}

static void ask(struct trial *t, uint32_t step, uint32_t layer)
{
    const struct schedule *s = t->schedule;
    for (uint32_t d = 1; d <= POLICY_AHEAD_MAX && d < s->layers; d++) {
        const float *recorded =
            t->recorded ? recorded_lookahead_ask(t->recorded, step, layer, d) : NULL;
        if (recorded)
            lookahead_tell(t->predictor[FORESIGHT_LOOKAHEAD], d, recorded);
        for (int kind = 0; kind < FORESIGHT_KINDS; kind++) {
            struct predictor *p = t->predictor[kind];
            size_t at = place(t, kind, d, (layer + d) % s->layers);
            if (p)
                t->told[at] = p->ops->experts(p, d, t->probability + at * s->experts);
        }
    }
}

static void run_layer(struct trial *t, uint32_t step, uint32_t layer)
{
    const struct schedule *s = t->schedule;
    uint32_t at = step * s->layers + layer, first = s->run_start[at];
    uint32_t count = s->run_start[at + 1] - first;
    struct layer_run run = {layer, s->step_start[step + 1] - s->step_start[step], count,
                            t->experts, t->rows, s->prefill[step] != 0};
    if (!count)
        return; /* a layer without experts */
    for (uint32_t i = 0; i < count; i++) {
        t->experts[i] = s->pages[first + i] - layer * s->experts;
        t->rows[i] = s->rows_of ? s->rows_of[first + i] : 1;
    }
    settle(t, &run);
    history_observe(&t->history, &run);
    for (int kind = 0; kind < FORESIGHT_KINDS; kind++)
        if (t->predictor[kind])
            t->predictor[kind]->ops->observe(t->predictor[kind], &run);
    ask(t, step, layer);
}

enum status foresight_error_measure(const struct schedule *s, uint64_t runs_max,
                                    struct foresight_errors *out, struct error *error)
{
    *out = (struct foresight_errors){0};
    struct trial *t = calloc(1, sizeof *t); /* the history alone is too large for a stack */
    enum status status = STATUS_NO_MEMORY;
    uint64_t runs = (uint64_t)s->steps * s->layers;
    if (t) {
        t->schedule = s;
        t->out = out;
        status = open_trial(t, error);
        for (uint64_t i = 0; status == STATUS_OK && i < runs && i < runs_max; i++)
            run_layer(t, (uint32_t)(i / s->layers), (uint32_t)(i % s->layers));
        close_trial(t);
        free(t);
    }
    for (int kind = 0; kind < FORESIGHT_KINDS; kind++)
        for (uint32_t d = 1; d <= POLICY_AHEAD_MAX; d++)
            if (out->of[kind][d].runs) {
                out->of[kind][d].log_loss /= (double)out->of[kind][d].runs;
                out->of[kind][d].recall /= (double)out->of[kind][d].runs;
            }
    return status == STATUS_OK ? status
                               : error_set(error, status, "no memory to measure predictors");
}
