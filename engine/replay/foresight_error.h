/* How well the next layers' experts can be foretold on a trace: each predictor that serves
 * prefetching (engine/predict), asked after every run of a layer about the next four, scored when
 * they run.
 *
 * No ring takes part, so figures of different policies and sizes are not mixed up with it.
 * Predictors learn while they are scored, from nothing, as they do in the server: figures over few
 * runs are mostly of the learning. All four distances of every predictor cost some ten times what a
 * replay without prefetch costs a run, hence a limit of runs. */
#ifndef MOERING_ENGINE_REPLAY_FORESIGHT_ERROR_H
#define MOERING_ENGINE_REPLAY_FORESIGHT_ERROR_H

#include "engine/paging/policy.h"
#include "engine/replay/schedule.h"

#ifdef __cplusplus
extern "C" {
#endif

#define FORESIGHT_ERROR_RUNS 24000 /* enough for figures that do not move in the second digit */

struct foresight_error {
    uint64_t runs;    /* scored; 0: it never said anything, the others are 0 */
    double log_loss;  /* nats, mean over runs and experts */
    double recall;    /* of the n experts that a run used, the share among the n likeliest */
};

/* FORESIGHT_AUTO and distance 0 stay zero. */
struct foresight_errors {
    struct foresight_error of[FORESIGHT_KINDS][POLICY_AHEAD_MAX + 1]; /* [kind][distance] */
};

/* Over the first `runs_max` runs of the schedule. NO_MEMORY. */
enum status foresight_error_measure(const struct schedule *schedule, uint64_t runs_max,
                                    struct foresight_errors *out, struct error *error);

#ifdef __cplusplus
}
#endif
#endif
