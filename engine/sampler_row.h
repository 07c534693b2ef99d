/* Whole passes over one row of logits: its highest value, its lowest, the weights of its tokens.
 *
 * A vocabulary has some 150,000 entries, so every pass counts: these are the only loops of the
 * sampler that touch all of it, and each is written so that the compiler's ordinary optimisation
 * turns it into vector instructions. Nothing depends on how wide these are: minima and maxima have
 * no rounding, and sums are made one by one in the order of ids. Pure; any thread. */
#ifndef MOERING_ENGINE_SAMPLER_ROW_H
#define MOERING_ENGINE_SAMPLER_ROW_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SAMPLER_BLOCK 64 /* values that are weighed together */

struct sampler_peak {
    float value;
    uint32_t token; /* of equal values the lowest id */
};
/* The highest of values[count] (at least 1; -inf if all are). False: a NaN or +inf is among them,
 * and `peak` is the first of these. */
bool sampler_row_peak(const float *values, uint32_t count, struct sampler_peak *peak);

/* The lowest that is not -inf; +inf if there is none. No value is NaN. */
float sampler_row_lowest(const float *values, uint32_t count);

/* The weight of a token is exp((value - max) / temperature): 1 for the best one, 0 for -inf. */
struct sampler_scale {
    double max, temperature; /* temperature > 0 */
};
/* weights[SAMPLER_BLOCK] of values[count], count up to SAMPLER_BLOCK; the rest become 0. Within
 * 1e-15 relative, 0 where the exponent is below -708, the same bits on every machine. */
void sampler_row_weights(double *weights, const float *values, uint32_t count,
                         struct sampler_scale scale);

/* Their sum over values[count]. */
double sampler_row_total(const float *values, uint32_t count, struct sampler_scale scale);

#ifdef __cplusplus
}
#endif
#endif
