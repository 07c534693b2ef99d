#include "engine/predict/history.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/predict/logistic.h"

/* Rates found best on measured traces within a factor of two either way; the result hardly
 * moves. */
#define FAST_STEP 0.1f
#define SLOW_STEP 0.015f
#define SLOW_PRIOR_RUNS 10.0f /* while fewer than 1 / SLOW_STEP were seen the rate is their mean */
#define BIN_STEP 0.6f       /* of rates: powers of two */
#define PRIOR_RUNS 4.0f     /* weight of the prior in a cell */
#define MEMORY_RUNS 4000.0f /* a cell forgets what is older */
#define PREFILL_TOKENS_MAX 32

static void fill_gap_bins(struct history *h)
{
    uint32_t bin = 0, edge = 4;
    for (uint32_t gap = 0; gap < 256; gap++) {
        if (gap < 4)
            bin = gap;
        else if (gap >= edge && bin < HISTORY_GAP_BINS - 1) {
            bin++;
            edge = edge + edge / 2;
        }
        h->gap_bin[gap] = (uint8_t)bin;
    }
}

/* log2 read from the bits of a float, linear inside an octave: good enough to choose a bin. */
static inline uint32_t rate_bin(float rate)
{
    float log2_rate = (float)(logistic_float_bits(rate + 1e-4f) - 0x3F800000) * (1.0f / 8388608.0f);
    int32_t bin = (int32_t)((float)HISTORY_RATE_BINS - 0.5f + log2_rate * (1.0f / BIN_STEP));
    bin = bin < 0 ? 0 : bin;
    return (uint32_t)(bin < HISTORY_RATE_BINS ? bin : HISTORY_RATE_BINS - 1);
}

float history_cell_rate(uint32_t cell)
{
    uint32_t slow = cell % HISTORY_RATE_BINS, fast = cell / HISTORY_RATE_BINS % HISTORY_RATE_BINS;
    uint32_t bin = cell / (HISTORY_RATE_BINS * HISTORY_RATE_BINS);
    float gap = bin < 4 ? (float)bin : 4.0f * exp2f(0.585f * ((float)bin - 3.5f)); /* 1.5^.. */
    float p = 0.45f * exp2f(-BIN_STEP * (float)(HISTORY_RATE_BINS - 1 - fast)) +
              0.25f * exp2f(-BIN_STEP * (float)(HISTORY_RATE_BINS - 1 - slow)) +
              0.4f / (1.5f + gap);
    return p < 0.9f ? p : 0.9f;
}

uint64_t history_bytes(uint32_t layers, uint32_t experts)
{
    uint64_t pages = (uint64_t)layers * experts;
    return pages * (3 * sizeof(float) + sizeof(uint16_t) + 1) + (experts + layers) * sizeof(float) +
           sizeof(struct history);
}

enum status history_open(struct history *h, uint32_t layers, uint32_t experts, uint32_t top_k,
                         struct error *error)
{
    uint64_t pages = (uint64_t)layers * experts;
    memset(h, 0, sizeof *h);
    h->layers = layers;
    h->experts = experts;
    h->block = malloc(history_bytes(layers, experts));
    if (!h->block)
        return error_set(error, STATUS_NO_MEMORY, "no memory for the history of %u x %u experts",
                         layers, experts);
    h->fast = h->block;
    h->slow = h->fast + pages;
    h->logit = h->slow + pages;
    h->used = h->logit + pages;
    h->seen = h->used + experts;
    h->cell = (uint16_t *)(h->seen + layers);
    h->gap = (uint8_t *)(h->cell + pages);
    fill_gap_bins(h);
    for (uint32_t c = 0; c < HISTORY_CELLS; c++) {
        h->runs[c] = PRIOR_RUNS;
        h->uses[c] = PRIOR_RUNS * history_cell_rate(c);
        h->cell_logit[c] = logistic_logit(history_cell_rate(c));
    }
    float rate = (float)top_k / (float)experts;
    uint32_t bin = rate_bin(rate);
    uint32_t cell = ((HISTORY_GAP_BINS - 1) * HISTORY_RATE_BINS + bin) * HISTORY_RATE_BINS + bin;
    for (uint64_t p = 0; p < pages; p++) {
        h->fast[p] = h->slow[p] = rate;
        h->gap[p] = 255;
        h->cell[p] = (uint16_t)cell;
        h->logit[p] = h->cell_logit[cell];
    }
    memset(h->used, 0, experts * sizeof *h->used);
    memset(h->seen, 0, layers * sizeof *h->seen);
    return STATUS_OK;
}

void history_close(struct history *h)
{
    free(h->block);
    memset(h, 0, sizeof *h);
}

static void learn_hazard(struct history *h, uint64_t first)
{
    const uint16_t *cell = h->cell + first;
    for (uint32_t e = 0; e < h->experts; e++) {
        h->runs[cell[e]] += 1.0f;
        h->uses[cell[e]] += h->used[e];
    }
    h->decode_runs++;
    for (uint32_t e = 0; e < h->experts; e++) {
        uint32_t c = cell[e];
        if (h->touched[c] == h->decode_runs)
            continue;
        h->touched[c] = h->decode_runs;
        if (h->runs[c] > MEMORY_RUNS) {
            h->runs[c] *= 0.5f;
            h->uses[c] *= 0.5f;
        }
        h->cell_logit[c] = logistic_logit(h->uses[c] / h->runs[c]);
    }
}

static void move_decode(struct history *h, uint32_t layer, uint64_t first)
{
    float mean_step = 1.0f / (h->seen[layer] + SLOW_PRIOR_RUNS);
    float slow_step = mean_step > SLOW_STEP ? mean_step : SLOW_STEP;
    const float *restrict used = h->used;
    float *restrict fast = h->fast + first, *restrict slow = h->slow + first;
    uint8_t *restrict gap = h->gap + first;
    uint32_t experts = h->experts;
    h->seen[layer] += 1.0f;
    for (uint32_t e = 0; e < experts; e++) {
        fast[e] += FAST_STEP * (used[e] - fast[e]);
        slow[e] += slow_step * (used[e] - slow[e]);
    }
    for (uint32_t e = 0; e < experts; e++) {
        uint32_t longer = gap[e] + (gap[e] < 255);
        gap[e] = (uint8_t)(used[e] > 0.0f ? 0 : longer);
    }
}

static void move_prefill(struct history *h, uint64_t first, const struct layer_run *run)
{
    uint32_t tokens = run->rows < PREFILL_TOKENS_MAX ? run->rows : PREFILL_TOKENS_MAX;
    float fast = 1.0f - powf(1.0f - FAST_STEP, (float)tokens);
    float slow = 1.0f - powf(1.0f - SLOW_STEP, (float)tokens);
    for (uint32_t e = 0; e < h->experts; e++) {
        uint64_t p = first + e;
        uint32_t gap = h->gap[p] + run->rows;
        h->fast[p] -= fast * h->fast[p];
        h->slow[p] -= slow * h->slow[p];
        h->gap[p] = (uint8_t)(gap < 255 ? gap : 255);
    }
    for (uint32_t i = 0; i < run->count; i++) {
        uint64_t p = first + run->experts[i];
        float share = (float)run->tokens[i] / (float)run->rows;
        uint32_t gap = run->rows / run->tokens[i] - 1; /* as if its rows were spread evenly */
        h->fast[p] += fast * share;
        h->slow[p] += slow * share;
        h->gap[p] = (uint8_t)(gap < h->gap[p] ? gap : h->gap[p]);
    }
}

/* Two loops, since the bins of rates can be had for several experts at once. */
static void find_cells(struct history *h, uint64_t first)
{
    const float *restrict fast = h->fast + first, *restrict slow = h->slow + first;
    const uint8_t *restrict gap = h->gap + first;
    uint16_t *restrict cell = h->cell + first;
    float *restrict logit = h->logit + first;
    uint32_t experts = h->experts;
    for (uint32_t e = 0; e < experts; e++)
        cell[e] = (uint16_t)(rate_bin(fast[e]) * HISTORY_RATE_BINS + rate_bin(slow[e]));
    for (uint32_t e = 0; e < experts; e++) {
        cell[e] = (uint16_t)(cell[e] + h->gap_bin[gap[e]] * HISTORY_RATE_BINS * HISTORY_RATE_BINS);
        logit[e] = h->cell_logit[cell[e]];
    }
}

void history_observe(struct history *h, const struct layer_run *run)
{
    uint64_t first = (uint64_t)run->layer * h->experts;
    memset(h->used, 0, h->experts * sizeof *h->used);
    for (uint32_t i = 0; i < run->count; i++)
        h->used[run->experts[i]] = 1.0f;
    if (run->prefill) {
        move_prefill(h, first, run);
    } else {
        learn_hazard(h, first);
        move_decode(h, run->layer, first);
    }
    find_cells(h, first);
}
