#include "engine/predict/use_value.h"

#include <stdlib.h>
#include <string.h>

#include "engine/predict/history.h"
#include "engine/predict/logistic.h"
#include "engine/predict/weight_rows.h"

/* Steps of learning; a factor of two either way changes hit rates by some tenths of a point. */
#define TABLE_STEP_MIN 0.001f
#define LAST_STEP 0.02f
#define COMPANY_STEP 0.05f
#define FIRST_STEPS 4.0f     /* the first steps are larger by this, ... */
#define FIRST_RUNS 400.0f    /* ... fading over so many runs of a layer */
#define LOSS_STEP 0.01f      /* of the running errors, per run of a layer */
#define GAIN_FULL                                                                                  \
    0.005f /* share of the table's error that the rows must save to be fully believed */
#define COMPANY_LEAST 0.05f  /* rates below are no company */
#define DEFAULT_BYTES (32ull << 20)
enum {
    LAST_MAX = 32,
    COMPANY_MAX = 96,
    COMPANY_COST_MAX = 16 * 1024, /* experts x company of one run */
};

/* Weighted features of one layer: rows of one of the two tables. */
struct features {
    uint32_t count;
    uint32_t expert[COMPANY_MAX];
    float weight[COMPANY_MAX];
};

struct use_value {
    const struct history *history;
    uint32_t layers, experts, company_max;
    float gamma;
    float cell[HISTORY_CELLS], cell_logit[HISTORY_CELLS], cell_runs[HISTORY_CELLS];
    uint32_t touched[HISTORY_CELLS]; /* the run in which the cell last learned */
    uint32_t runs;
    struct weight_rows last_rows, company_rows;
    float *trust;            /* [layers] in the rows, 0..1 */
    float *loss, *table_loss; /* [layers] mean squared error with them, and of the table alone */
    float *full; /* [layers][experts] the value with the rows fully trusted: what learns */
    float *learned;          /* [layers] runs that it has learned from */
    struct features *last;   /* [layers] what its newest run used */
    float *value;            /* [layers][experts] */
    /* Of the layer at hand, between before and after. */
    struct features old_last, old_company, company;
    uint16_t *old_cell;      /* [experts] */
    float *old_value, *error, *logit; /* [experts] */
};

float use_value_gamma(uint32_t slots, uint32_t pages)
{
    float share = pages ? (float)slots / (float)pages : 1.0f;
    float gamma = 0.5f + 0.8f * share; /* measured: engine/predict/README.md */
    return gamma < 0.9f ? gamma : 0.9f;
}

static uint32_t rows_each(const struct use_value_config *c)
{
    uint64_t bytes = c->weight_bytes ? c->weight_bytes : DEFAULT_BYTES;
    return weight_rows_fit(c->layers, c->experts, c->experts, bytes / 2);
}

uint64_t use_value_bytes(const struct use_value_config *c)
{
    uint64_t pages = (uint64_t)c->layers * c->experts;
    return pages * sizeof(float) * (2 * (uint64_t)rows_each(c) + 2) +
           c->layers * (sizeof(struct features) + 4 * sizeof(float)) +
           c->experts * (3 * sizeof(float) + 2) + sizeof(struct use_value);
}

static uint32_t company_max(uint32_t experts)
{
    uint32_t fit = COMPANY_COST_MAX / experts;
    return fit < 16 ? 16 : fit < COMPANY_MAX ? fit : COMPANY_MAX;
}

enum status use_value_open(struct use_value **out, const struct use_value_config *c,
                           const struct history *history, struct error *error)
{
    uint64_t pages = (uint64_t)c->layers * c->experts;
    enum status status = STATUS_NO_MEMORY;
    struct use_value *v = calloc(1, sizeof *v);
    if (!v)
        goto fail;
    v->history = history;
    v->layers = c->layers;
    v->experts = c->experts;
    v->gamma = c->gamma;
    v->company_max = company_max(c->experts);
    status = weight_rows_open(&v->last_rows, c->layers, c->experts, rows_each(c), error);
    if (status == STATUS_OK)
        status = weight_rows_open(&v->company_rows, c->layers, c->experts, rows_each(c), error);
    if (status != STATUS_OK)
        goto fail;
    status = STATUS_NO_MEMORY;
    v->trust = calloc(c->layers, sizeof *v->trust);
    v->loss = calloc(c->layers, sizeof *v->loss);
    v->table_loss = calloc(c->layers, sizeof *v->table_loss);
    v->full = malloc(pages * sizeof *v->full);
    v->learned = calloc(c->layers, sizeof *v->learned);
    v->last = calloc(c->layers, sizeof *v->last);
    v->value = malloc(pages * sizeof *v->value);
    v->old_cell = malloc(c->experts * sizeof *v->old_cell);
    v->old_value = malloc(c->experts * sizeof *v->old_value);
    v->error = malloc(c->experts * sizeof *v->error);
    v->logit = malloc(c->experts * sizeof *v->logit);
    if (!v->trust || !v->loss || !v->table_loss || !v->full || !v->learned || !v->last ||
        !v->value || !v->old_cell || !v->old_value || !v->error || !v->logit)
        goto fail;
    for (uint32_t i = 0; i < HISTORY_CELLS; i++) {
        float p = history_cell_rate(i);
        v->cell[i] = p / (1.0f - c->gamma * (1.0f - p)); /* of a page used with p in each run */
        v->cell_logit[i] = logistic_logit(v->cell[i]);
    }
    for (uint64_t p = 0; p < pages; p++)
        v->full[p] = v->value[p] = v->cell[history->cell[p]];
    *out = v;
    return STATUS_OK;
fail:
    use_value_close(v);
    return error_set(error, status, "no memory for the use values of %u x %u experts", c->layers,
                     c->experts);
}

void use_value_close(struct use_value *v)
{
    if (!v)
        return;
    weight_rows_close(&v->last_rows);
    weight_rows_close(&v->company_rows);
    free(v->trust);
    free(v->loss);
    free(v->table_loss);
    free(v->full);
    free(v->learned);
    free(v->last);
    free(v->value);
    free(v->old_cell);
    free(v->old_value);
    free(v->error);
    free(v->logit);
    free(v);
}

/* The experts of a run, together as heavy as those of a few tokens; more than LAST_MAX say
 * nothing. */
static void take_last(struct features *f, const struct layer_run *run)
{
    f->count = run->prefill || run->count > LAST_MAX ? 0 : run->count;
    float weight = f->count > 8 ? 8.0f / (float)f->count : 1.0f;
    for (uint32_t i = 0; i < f->count; i++) {
        f->expert[i] = run->experts[i];
        f->weight[i] = weight;
    }
}

/* The moving average of what the layer used, small entries left out; what is small rises until the
 * rest fits, so that what is left out never hangs on the numbers that experts bear. */
static void take_company(const struct use_value *v, struct features *f, const float *rate)
{
    float least = COMPANY_LEAST;
    uint32_t e = 0;
    do {
        f->count = 0;
        for (e = 0; e < v->experts; e++) {
            if (rate[e] <= least)
                continue;
            if (f->count == v->company_max)
                break;
            f->expert[f->count] = e;
            f->weight[f->count++] = rate[e];
        }
        least *= 1.5f;
    } while (e < v->experts && least < 1.0f);
    if (e < v->experts) /* whoever is always there tells nothing */
        f->count = 0;
}

static void add_rows(float *out, const struct weight_rows *rows, uint32_t layer,
                     const struct features *f)
{
    weight_rows_add(rows, layer, f->expert, f->weight, f->count, out);
}

static void learn_rows(struct weight_rows *rows, uint32_t layer, const struct features *f,
                       const float *error, float step)
{
    weight_rows_learn(rows, layer, f->expert, f->weight, f->count, step, error);
}

void use_value_before(struct use_value *v, const struct layer_run *run)
{
    uint64_t first = (uint64_t)run->layer * v->experts;
    memcpy(v->old_cell, v->history->cell + first, v->experts * sizeof *v->old_cell);
    memcpy(v->old_value, v->full + first, v->experts * sizeof *v->old_value);
    v->old_last = v->last[run->layer];
    take_company(v, &v->old_company, v->history->fast + first);
}

/* One step of the table towards 1 for what was used and gamma x its present entry for the rest. */
static void learn_table(struct use_value *v, uint64_t first)
{
    const uint16_t *cell = v->history->cell + first;
    const float *used = v->history->used;
    v->runs++;
    for (uint32_t e = 0; e < v->experts; e++) {
        uint32_t c = v->old_cell[e];
        float target = used[e] > 0.0f ? 1.0f : v->gamma * v->cell[cell[e]];
        v->cell_runs[c] += 1.0f;
        float step = 1.0f / (v->cell_runs[c] + 4.0f);
        v->cell[c] += (step > TABLE_STEP_MIN ? step : TABLE_STEP_MIN) * (target - v->cell[c]);
    }
    for (uint32_t e = 0; e < v->experts; e++) {
        uint32_t c = v->old_cell[e];
        if (v->touched[c] == v->runs)
            continue;
        v->touched[c] = v->runs;
        v->cell_logit[c] = logistic_logit(v->cell[c]);
    }
}

/* The rows are believed as far as they have lately lowered the squared error of the table: where
 * there is nothing to learn their noise would only stir the order of equals. */
static void weigh(struct use_value *v, uint32_t layer)
{
    float with = 0.0f, without = 0.0f;
    for (uint32_t e = 0; e < v->experts; e++) {
        float alone = v->error[e] + v->old_value[e] - v->cell[v->old_cell[e]]; /* the same target */
        without += alone * alone;
        with += v->error[e] * v->error[e];
    }
    float step = 1.0f / (v->learned[layer] + 1.0f);
    step = step > LOSS_STEP ? step : LOSS_STEP;
    v->loss[layer] += step * (with - v->loss[layer]);
    v->table_loss[layer] += step * (without - v->table_loss[layer]);
    float gain = v->table_loss[layer] > 0.0f ? 1.0f - v->loss[layer] / v->table_loss[layer] : 0.0f;
    float trust = gain / GAIN_FULL;
    v->trust[layer] = trust < 0.0f ? 0.0f : trust < 1.0f ? trust : 1.0f;
}

void use_value_after(struct use_value *v, const struct layer_run *run)
{
    uint64_t first = (uint64_t)run->layer * v->experts;
    const uint16_t *cell = v->history->cell + first;
    const float *restrict used = v->history->used;
    float *restrict value = v->value + first, *restrict logit = v->logit,
                    *restrict error = v->error;
    float *restrict full = v->full + first;
    const float *restrict old = v->old_value;
    float gamma = v->gamma;
    take_last(&v->last[run->layer], run);
    take_company(v, &v->company, v->history->fast + first);
    memset(logit, 0, v->experts * sizeof *logit);
    add_rows(logit, &v->last_rows, run->layer, &v->last[run->layer]);
    add_rows(logit, &v->company_rows, run->layer, &v->company);
    float trust = v->trust[run->layer];
    for (uint32_t e = 0; e < v->experts; e++)
        error[e] = v->cell_logit[cell[e]]; /* gathered first: the next loop is vector code */
    for (uint32_t e = 0; e < v->experts; e++) {
        full[e] = logistic_sigmoid(error[e] + logit[e]);
        value[e] = logistic_sigmoid(error[e] + trust * logit[e]);
    }
    if (run->prefill) /* a prompt shows which experts are wanted, not when */
        return;
    for (uint32_t e = 0; e < v->experts; e++) {
        float later = gamma * full[e];
        error[e] = (used[e] > 0.0f ? 1.0f : later) - old[e];
    }
    weigh(v, run->layer);
    learn_table(v, first);
    float scale = 1.0f + FIRST_STEPS / (1.0f + v->learned[run->layer] / FIRST_RUNS);
    v->learned[run->layer] += 1.0f;
    learn_rows(&v->last_rows, run->layer, &v->old_last, error, LAST_STEP * scale);
    learn_rows(&v->company_rows, run->layer, &v->old_company, error, COMPANY_STEP * scale);
}

const float *use_value_layer(const struct use_value *v, uint32_t layer)
{
    return v->value + (uint64_t)layer * v->experts;
}

float use_value_gamma_of(const struct use_value *v)
{
    return v->gamma;
}

void use_value_set_gamma(struct use_value *v, float gamma)
{
    v->gamma = gamma;
}
