/* What a trace's lookahead columns say (trace.h): for each token and layer, the experts that the
 * router `distance` layers ahead would have chosen from the hidden state of the time, best first.
 *
 * A policy takes scores of which only the order counts (policy.h), since it measures itself how
 * often each place is right. An expert scores the places behind it in each row's list, summed over
 * the rows of the step; one that no row names scores nothing. Read-only but for the answer it
 * lends. */
#ifndef MOERING_ENGINE_REPLAY_RECORDED_LOOKAHEAD_H
#define MOERING_ENGINE_REPLAY_RECORDED_LOOKAHEAD_H

#include "engine/replay/schedule.h"

#ifdef __cplusplus
extern "C" {
#endif

struct recorded_lookahead;

/* *out = NULL with STATUS_OK: the schedule's trace has no such column of a distance up to
 * `distance_max`. NO_MEMORY. */
enum status recorded_lookahead_open(struct recorded_lookahead **out,
                                    const struct schedule *schedule, uint32_t distance_max,
                                    struct error *error);
void recorded_lookahead_close(struct recorded_lookahead *lookahead); /* accepts NULL */

/* score[experts] of layer + distance as seen from `layer` in that step; lent until the next call.
 * NULL: not recorded. */
const float *recorded_lookahead_ask(struct recorded_lookahead *lookahead, uint32_t step,
                                    uint32_t layer, uint32_t distance);

#ifdef __cplusplus
}
#endif
#endif
