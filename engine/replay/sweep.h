/* Policies x ring sizes over one schedule: a table for programs (CSV) and a picture for people. */
#ifndef MOERING_ENGINE_REPLAY_SWEEP_H
#define MOERING_ENGINE_REPLAY_SWEEP_H

#include <stdio.h>

#include "engine/replay/replay.h"

#ifdef __cplusplus
extern "C" {
#endif

#define SWEEP_SIZES 7
extern const double sweep_percent[SWEEP_SIZES]; /* of all pages, ascending */

struct sweep_row {
    enum evict_kind evict;
    double percent;
    struct replay_result result;
};

struct sweep {
    const char *name; /* of the trace or its model, for the picture; borrowed */
    uint32_t kinds;
    struct sweep_row row[EVICT_KINDS * SWEEP_SIZES]; /* [kinds][SWEEP_SIZES] */
};

/* How many slots so many percent of all pages are: rounded down, at least 1. */
uint32_t sweep_slots(const struct schedule *schedule, double percent);

/* Replays `base` with each rule of eviction (`kinds` of them) and size; `slots`, `evict` and
 * `belady` of `base` are not used. NO_MEMORY. */
enum status sweep_run(struct sweep *sweep, const struct schedule *schedule, const char *name,
                      const enum evict_kind *evict, uint32_t kinds,
                      const struct replay_config *base, struct error *error);

/* One line of names, one line for each row. */
void sweep_csv(const struct sweep *sweep, FILE *out);
/* Hit rate over size, a line for each rule and Belady's bound. */
void sweep_svg(const struct sweep *sweep, FILE *out);

#ifdef __cplusplus
}
#endif
#endif
