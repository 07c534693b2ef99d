/* The best tokens of a row, best first, without sorting the row.
 *
 * "Best" is the higher value and of equal values the lower id, always; -inf is never selected. Few
 * tokens go through a heap of their number behind a threshold, many through buckets of their value.
 * Pure; any thread. */
#ifndef MOERING_ENGINE_SAMPLER_SELECT_H
#define MOERING_ENGINE_SAMPLER_SELECT_H

#include "engine/sampler.h"
#include "engine/sampler_row.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Up to here a heap is the faster way. */
#define SAMPLER_SELECT_HEAP_MAX 512

/* out[0, n): the n best of values[count], n = `most` (at least 1) or all there are. `out` has room
 * for `most`, or for `count` if `most` is above SAMPLER_SELECT_HEAP_MAX. Returns n. */
uint32_t sampler_select_top(const float *values, uint32_t count, uint32_t most,
                            struct sampler_candidate *out);

/* out[0, n): the n best of values[count], with n at least so large that their weights, summed one
 * by one in this order, reach *wanted = top_p * the weight of all; n is all there are if no sum
 * does. `scale.max` is the highest value, which is finite; top_p is in (0, 1). `out` has room for
 * `count`. Returns n. */
uint32_t sampler_select_mass(const float *values, uint32_t count, struct sampler_scale scale,
                             float top_p, struct sampler_candidate *out, double *wanted);

#ifdef __cplusplus
}
#endif
#endif
