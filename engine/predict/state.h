/* Transient or stable: may a layer's loads be planned by forecast?
 *
 * Over the last w ticks of a layer, with m the mean share of an expert and s its deviation:
 *
 *   cv    relative deviation weighted by share, sum of m (s / m), less what sampling alone
 *         explains: sqrt(max(0, cv_seen^2 - floor^2)). A tick of R routed tokens, k per token,
 *         scatters a share by sqrt(m (1 - k m) / R) (real top-k; k = 1 for independent draws);
 *         the floor is the sum of that.
 *   tv    half the L1 distance between the means of the older and the newer half of the window
 *   jump  half the L1 distance between the newest tick and the mean of the window before it
 *
 * Stable after 3 ticks in a row with cv < 0.25, tv < 0.1 and jump below its limit; transient at
 * once when tv > 0.2 or jump > its limit, max(0.2, 3 x the jump that sampling alone makes). In
 * between the state stays as it was. tv sees slow change, but after a switch it takes tens of ticks
 * to rise at w = 100: jump is what flags one at once. (The two states are those of arXiv
 * 2404.16914; it gives no thresholds, these are ours.)
 *
 * A layer begins transient, and is not called stable before a quarter of the window has been seen.
 *
 * Incremental: per expert the integer sums of shares, of their squares and of the newer half move
 * with the window, so a tick costs O(experts) and never drifts. Bytes per layer and expert:
 * 2 w + 16. Pure, nothing allocated after open. Engine thread. */
#ifndef MOERING_ENGINE_PREDICT_STATE_H
#define MOERING_ENGINE_PREDICT_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "memory/base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { STATE_WINDOW_TICKS = 100 };

struct state;

struct state_config {
    uint32_t layers, experts;
    uint32_t top_k;  /* of real top-k routing; 0: unknown, draws count as independent */
    uint32_t window; /* ticks, at least 4; 0: STATE_WINDOW_TICKS */
};

struct state_figures {
    float cv, tv, jump; /* 0 before there are two ticks */
    float jump_limit;
    float floor;        /* of cv, what was subtracted */
    bool stable;
    uint32_t quiet;     /* ticks in a row that would allow stable */
    uint32_t changes;   /* of the state, so far */
    uint64_t ticks;
    uint64_t since;     /* the tick, counted from 1, at which the state last changed; 0: never */
};

/* INVALID, NO_MEMORY. */
enum status state_open(struct state **out, const struct state_config *config, struct error *error);
void state_close(struct state *state); /* accepts NULL */
size_t state_bytes(const struct state *state);

/* A tick of `layer` closed: share[experts] >= 0, summing to 1, counted over `routed` >= 1 choices
 * (rows x k). Returns whether the layer is stable now. */
bool state_tick(struct state *state, uint32_t layer, const float *share, uint64_t routed);
void state_get(const struct state *state, uint32_t layer, struct state_figures *out);

#ifdef __cplusplus
}
#endif
#endif
