#include "engine/predict/transition.h"

#include <stdlib.h>
#include <string.h>

#include "engine/predict/logistic.h"
#include "engine/predict/weight_rows.h"

#define STEP 0.02f
enum {
    DEPTH = 8,             /* layers looked back on, the present one included */
    RECENT_MAX = 32,       /* experts of a run that are remembered; wider runs say nothing */
    PAIR_EXPERTS_MAX = 10, /* of one token; unions of several make no pairs */
    FEATURES_MAX = 256,
    ROWS_WANTED = 8192,
    COST_MAX = 24 * 1024,  /* experts x features x distances in one run */
};

struct recent {
    uint32_t count;
    float weight;
    uint16_t expert[RECENT_MAX];
};

struct features {
    uint64_t run;              /* the observation after which it foretold */
    uint32_t count;
    uint32_t row[FEATURES_MAX];
    float weight[FEATURES_MAX];
};

struct transition {
    struct predictor base;
    const struct history *history;
    uint32_t layers, experts, ahead, features_max, present;
    bool hashed;               /* singles too: there are fewer rows than they need */
    uint64_t runs;             /* observations so far */
    struct weight_rows rows[TRANSITION_AHEAD_MAX + 1]; /* [distance] */
    struct recent *recent;     /* [layers] */
    struct features now;       /* of the present layer and those before it */
    struct features *told_by;  /* [ahead][layers] the features that a foretelling was made from;
                                  count 0:  none was made */
    float *told;               /* [ahead][layers][experts] */
    float *error;              /* [experts] */
};

static uint32_t hash_pair(uint32_t kind, uint32_t a, uint32_t b)
{
    uint32_t h = a * 0x9E3779B1u ^ b * 0x85EBCA77u ^ kind * 0xC2B2AE3Du;
    h ^= h >> 15;
    h *= 0x2C1B3C6Du;
    return h ^ h >> 13;
}

static void add(struct transition *t, struct features *f, uint32_t row, float weight)
{
    if (f->count == t->features_max)
        return;
    f->row[f->count] = row;
    f->weight[f->count++] = weight;
}

static void add_singles(struct transition *t, struct features *f, uint32_t group,
                        const struct recent *r)
{
    for (uint32_t i = 0; i < r->count; i++) {
        uint32_t single = group * t->experts + r->expert[i];
        add(t, f, t->hashed ? hash_pair(0, group, r->expert[i]) : single, r->weight);
    }
}

static void add_pairs(struct transition *t, struct features *f, const struct recent *a,
                      const struct recent *b)
{
    if (a->count > PAIR_EXPERTS_MAX || b->count > PAIR_EXPERTS_MAX)
        return;
    for (uint32_t i = 0; i < a->count; i++)
        for (uint32_t j = a == b ? i + 1 : 0; j < b->count; j++) {
            uint32_t x = a->expert[i], y = b->expert[j];
            if (a == b && x > y) {
                x = b->expert[j];
                y = a->expert[i];
            }
            add(t, f, hash_pair(a == b ? 1 : 2, x, y), 1.0f);
        }
}

/* Nearest first: what does not fit is what tells least. */
static void collect(struct transition *t, uint32_t layer)
{
    const struct recent *here = &t->recent[layer];
    const struct recent *before = &t->recent[(layer + t->layers - 1) % t->layers];
    t->now.count = 0;
    add_singles(t, &t->now, 1, here);
    add_singles(t, &t->now, 2, before);
    add_pairs(t, &t->now, here, here);
    for (uint32_t j = 2; j < DEPTH && j < t->layers; j++)
        add_singles(t, &t->now, j + 1, &t->recent[(layer + t->layers - j) % t->layers]);
    add_pairs(t, &t->now, here, before);
}

static size_t at(const struct transition *t, uint32_t distance, uint32_t layer)
{
    return (size_t)(distance - 1) * t->layers + layer;
}

static void learn(struct transition *t, uint32_t distance, uint32_t layer)
{
    struct features *f = &t->told_by[at(t, distance, layer)];
    const float *told = t->told + at(t, distance, layer) * t->experts;
    if (f->run + distance != t->runs) /* layers were left out in between */
        f->count = 0;
    if (f->count == 0)
        return;
    for (uint32_t e = 0; e < t->experts; e++)
        t->error[e] = t->history->used[e] - told[e];
    weight_rows_learn(&t->rows[distance], layer, f->row, f->weight, f->count, STEP, t->error);
    f->count = 0;
}

static void foretell(struct transition *t, uint32_t distance)
{
    uint32_t layer = (t->present + distance) % t->layers;
    struct features *f = &t->told_by[at(t, distance, layer)];
    float *out = t->told + at(t, distance, layer) * t->experts;
    f->count = 0;
    f->run = t->runs;
    if (t->recent[t->present].count == 0)
        return;
    add_singles(t, f, 0, &t->recent[layer]);
    for (uint32_t i = 0; i < t->now.count; i++)
        add(t, f, t->now.row[i], t->now.weight[i]);
    memcpy(out, t->history->logit + (size_t)layer * t->experts, t->experts * sizeof *out);
    weight_rows_add(&t->rows[distance], layer, f->row, f->weight, f->count, out);
    for (uint32_t e = 0; e < t->experts; e++)
        out[e] = logistic_sigmoid(out[e]);
}

static void observe(struct predictor *predictor, const struct layer_run *run)
{
    struct transition *t = (struct transition *)predictor;
    struct recent *recent = &t->recent[run->layer];
    t->present = run->layer;
    t->runs++;
    for (uint32_t d = 1; d <= t->ahead; d++) {
        if (run->prefill)
            t->told_by[at(t, d, run->layer)].count = 0;
        else
            learn(t, d, run->layer);
    }
    recent->count = run->prefill || run->count > RECENT_MAX ? 0 : run->count;
    recent->weight = run->count > 8 ? 8.0f / (float)run->count : 1.0f;
    for (uint32_t i = 0; i < recent->count; i++)
        recent->expert[i] = (uint16_t)run->experts[i];
    collect(t, run->layer);
    for (uint32_t d = 1; d <= t->ahead; d++)
        foretell(t, d);
}

static bool experts(struct predictor *predictor, uint32_t distance, float *probability)
{
    struct transition *t = (struct transition *)predictor;
    uint32_t layer = (t->present + distance) % t->layers;
    if (distance > t->ahead || t->told_by[at(t, distance, layer)].count == 0)
        return false;
    memcpy(probability, t->told + at(t, distance, layer) * t->experts,
           t->experts * sizeof *probability);
    return true;
}

static void close_transition(struct predictor *predictor)
{
    struct transition *t = (struct transition *)predictor;
    for (uint32_t d = 0; d <= TRANSITION_AHEAD_MAX; d++)
        weight_rows_close(&t->rows[d]);
    free(t->recent);
    free(t->told_by);
    free(t->told);
    free(t->error);
    free(t);
}

uint64_t transition_bytes(uint32_t layers, uint32_t experts, uint32_t ahead, uint64_t weight_bytes)
{
    uint64_t pages = (uint64_t)layers * experts;
    uint64_t rows = weight_rows_fit(layers, experts, ROWS_WANTED, weight_bytes / ahead);
    return ahead * pages * (rows + 1) * sizeof(float) +
           (uint64_t)ahead * layers * sizeof(struct features) + layers * sizeof(struct recent) +
           experts * sizeof(float) + sizeof(struct transition);
}

enum status transition_open(struct predictor **out, const struct history *history, uint32_t ahead,
                            uint64_t weight_bytes, struct error *error)
{
    static const struct predictor_ops ops = {
        .name = "transition", .observe = observe, .experts = experts, .close = close_transition};
    uint32_t layers = history->layers, count = history->experts;
    enum status status = STATUS_OK;
    struct transition *t = calloc(1, sizeof *t);
    if (!t)
        return error_set(error, STATUS_NO_MEMORY, "no memory for a predictor");
    uint32_t cost = COST_MAX / (count * ahead);
    *t = (struct transition){.base = {&ops}, .history = history, .layers = layers, .experts = count,
                             .ahead = ahead};
    t->features_max = cost < 16 ? 16 : cost > FEATURES_MAX ? FEATURES_MAX : cost;
    uint32_t rows = weight_rows_fit(layers, count, ROWS_WANTED, weight_bytes / ahead);
    t->hashed = rows < (DEPTH + 1) * count;
    for (uint32_t d = 1; d <= ahead && status == STATUS_OK; d++)
        status = weight_rows_open(&t->rows[d], layers, count, rows, error);
    t->recent = calloc(layers, sizeof *t->recent);
    t->told_by = calloc((size_t)ahead * layers, sizeof *t->told_by);
    t->told = malloc((size_t)ahead * layers * count * sizeof *t->told);
    t->error = malloc(count * sizeof *t->error);
    if (status == STATUS_OK && t->recent && t->told_by && t->told && t->error) {
        *out = &t->base;
        return STATUS_OK;
    }
    close_transition(&t->base);
    return error_set(error, STATUS_NO_MEMORY, "no memory for transition tables of %u x %u experts",
                     layers, count);
}
