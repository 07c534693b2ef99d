/* When and how often each expert was used: what recency and frequency tell of its next use.
 *
 * For every (layer, expert), resident or not: runs of the layer since its last use, a fast and a
 * slow moving average of its use. The three together fall into one of some thousand cells, and a
 * table over cells learns how often an expert in that state is used in the next run of its layer
 * (the hazard). The table is shared by all layers, so it is learned within some hundred runs.
 *
 * In a decode run each expert counts as used or not, whatever the batch. A prefill run tells of
 * many tokens at once: rates move towards the share of rows, as far as so many tokens would move
 * them. */
#ifndef MOERING_ENGINE_PREDICT_HISTORY_H
#define MOERING_ENGINE_PREDICT_HISTORY_H

#include "engine/predict/predictor.h"

#ifdef __cplusplus
extern "C" {
#endif

#define HISTORY_GAP_BINS 15
#define HISTORY_RATE_BINS 12
#define HISTORY_CELLS (HISTORY_GAP_BINS * HISTORY_RATE_BINS * HISTORY_RATE_BINS)

struct history {
    uint32_t layers, experts;
    float *fast, *slow;       /* [layers][experts] rates of use per run */
    uint8_t *gap;             /* [layers][experts] runs without it, saturating */
    uint16_t *cell;           /* [layers][experts] */
    float *logit;             /* [layers][experts] of the hazard of its cell, as of its last run */
    float *seen;              /* [layers] decode runs */
    float *used;              /* [experts] 1 or 0, of the newest run */
    float uses[HISTORY_CELLS], runs[HISTORY_CELLS], cell_logit[HISTORY_CELLS];
    uint32_t touched[HISTORY_CELLS]; /* the run in which the cell was last touched */
    uint32_t decode_runs;
    uint8_t gap_bin[256];
    void *block;
};

/* top_k: experts of one token; the rates begin at top_k / experts. NO_MEMORY. */
enum status history_open(struct history *history, uint32_t layers, uint32_t experts, uint32_t top_k,
                         struct error *error);
void history_close(struct history *history); /* accepts a zeroed one */
void history_observe(struct history *history, const struct layer_run *run);
/* What is assumed of a cell before it has been seen: its use per run, from its gap and rates. */
float history_cell_rate(uint32_t cell);
uint64_t history_bytes(uint32_t layers, uint32_t experts);

#ifdef __cplusplus
}
#endif
#endif
