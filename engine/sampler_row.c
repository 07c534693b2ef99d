/* The loops have trip counts known to the compiler, no early exit and no call inside: that is what
 * its cheapest vectoriser (the one of plain -O2) asks for. A row is cut into blocks of fixed size;
 * the last one is filled up with a value that changes nothing.
 *
 * exp is our own: the C library picks an implementation by instruction set, and these differ in the
 * last bit. It has no branches. */
#include "engine/sampler_row.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* --- Extremes --- */

#define LANES 16
#define PEAK_BLOCK 256

/* The highest of a block in `highest`, whatever it holds if the result is not 0: a NaN or +inf. */
static uint32_t block_peak(const float *restrict values, float *highest)
{
    float lanes[LANES];
    int32_t bad[LANES] = {0};
    for (int j = 0; j < LANES; j++)
        lanes[j] = -INFINITY;
    for (int i = 0; i < PEAK_BLOCK; i += LANES)
        for (int j = 0; j < LANES; j++) {
            float value = values[i + j];
            bad[j] |= !(value <= FLT_MAX);
            lanes[j] = value > lanes[j] ? value : lanes[j];
        }
    uint32_t any = 0;
    float best = -INFINITY;
    for (int j = 0; j < LANES; j++) {
        any |= (uint32_t)bad[j];
        best = lanes[j] > best ? lanes[j] : best;
    }
    *highest = best;
    return any;
}

static bool first_bad(const float *values, uint32_t count, struct sampler_peak *peak)
{
    for (uint32_t i = 0; i < count; i++)
        if (!(values[i] <= FLT_MAX)) {
            *peak = (struct sampler_peak){values[i], i};
            return true;
        }
    return false;
}

bool sampler_row_peak(const float *values, uint32_t count, struct sampler_peak *peak)
{
    float padded[PEAK_BLOCK];
    *peak = (struct sampler_peak){-INFINITY, 0};
    uint32_t begin_of_best = 0;
    for (uint32_t begin = 0; begin < count; begin += PEAK_BLOCK) {
        const float *block = values + begin;
        float highest;
        if (count - begin < PEAK_BLOCK) {
            for (int j = 0; j < PEAK_BLOCK; j++)
                padded[j] = -INFINITY;
            memcpy(padded, block, (count - begin) * sizeof *block);
            block = padded;
        }
        if (block_peak(block, &highest)) {
            first_bad(values + begin, count - begin, peak);
            peak->token += begin;
            return false;
        }
        if (highest > peak->value) { /* an equal one that comes later ranks lower */
            peak->value = highest;
            begin_of_best = begin;
        }
    }
    for (peak->token = begin_of_best; values[peak->token] != peak->value;)
        peak->token++;
    return true;
}

float sampler_row_lowest(const float *values, uint32_t count)
{
    float lanes[LANES], lowest = INFINITY;
    uint32_t i = 0;
    for (int j = 0; j < LANES; j++)
        lanes[j] = INFINITY;
    for (; i + LANES <= count; i += LANES)
        for (int j = 0; j < LANES; j++) {
            float value = values[i + j] >= -FLT_MAX ? values[i + j] : INFINITY;
            lanes[j] = value < lanes[j] ? value : lanes[j];
        }
    for (; i < count; i++)
        if (values[i] >= -FLT_MAX && values[i] < lanes[0])
            lanes[0] = values[i];
    for (int j = 0; j < LANES; j++)
        lowest = lanes[j] < lowest ? lanes[j] : lowest;
    return lowest;
}

/* --- Weights --- */

/* exp(x) for -709 <= x <= 0 by additions and products alone. x = n ln 2 + r with |r| <= ln 2 / 2,
 * then the series of r, then n goes into the exponent: `shifted` holds n in its lowest bits, and
 * all that lies above them leaves at the top. At -709, n is -1023: the exponent becomes 0, and so
 * does exp. */
static inline double exp_of(double x)
{
    const double log2_e = 1.4426950408889634, ln2_high = 0x1.62e42fee00000p-1;
    const double ln2_low = 1.90821492927058770002e-10, round = 0x1.8p52;
    double shifted = x * log2_e + round;
    double n = shifted - round; /* the nearest integer */
    double r = (x - n * ln2_high) - n * ln2_low;
    double sum = 1.0 / 6227020800.0;
    sum = sum * r + 1.0 / 479001600.0;
    sum = sum * r + 1.0 / 39916800.0;
    sum = sum * r + 1.0 / 3628800.0;
    sum = sum * r + 1.0 / 362880.0;
    sum = sum * r + 1.0 / 40320.0;
    sum = sum * r + 1.0 / 5040.0;
    sum = sum * r + 1.0 / 720.0;
    sum = sum * r + 1.0 / 120.0;
    sum = sum * r + 1.0 / 24.0;
    sum = sum * r + 1.0 / 6.0;
    sum = sum * r + 1.0 / 2.0;
    sum = sum * r + 1.0;
    sum = sum * r + 1.0;
    uint64_t bits;
    memcpy(&bits, &shifted, sizeof bits);
    bits = (bits + 1023) << 52;
    double scale;
    memcpy(&scale, &bits, sizeof scale);
    return sum * scale;
}

static void weigh_block(double *restrict weights, const float *restrict values,
                        struct sampler_scale scale)
{
    for (int j = 0; j < SAMPLER_BLOCK; j++) {
        double x = ((double)values[j] - scale.max) / scale.temperature;
        weights[j] = x > -708.0 ? x : -709.0;
    }
    for (int j = 0; j < SAMPLER_BLOCK; j++) /* a second loop: a choice in it would not vectorise */
        weights[j] = exp_of(weights[j]);
}

void sampler_row_weights(double *weights, const float *values, uint32_t count,
                         struct sampler_scale scale)
{
    float padded[SAMPLER_BLOCK];
    if (count < SAMPLER_BLOCK) {
        for (int j = 0; j < SAMPLER_BLOCK; j++)
            padded[j] = -INFINITY;
        memcpy(padded, values, count * sizeof *values);
        values = padded;
    }
    weigh_block(weights, values, scale);
}

double sampler_row_total(const float *values, uint32_t count, struct sampler_scale scale)
{
    double weights[SAMPLER_BLOCK], total = 0;
    for (uint32_t i = 0; i < count; i += SAMPLER_BLOCK) {
        uint32_t n = count - i < SAMPLER_BLOCK ? count - i : SAMPLER_BLOCK;
        sampler_row_weights(weights, values + i, n, scale);
        for (int j = 0; j < SAMPLER_BLOCK; j++)
            total += weights[j];
    }
    return total;
}
