/* Mean, median, deviation and percentiles, as numpy counts them: a percentile lies between two
 * samples in proportion (method "linear"), the deviation is that of a population (divided by n). Of
 * no samples everything is 0. Pure. */
#ifndef MOERING_CLIENTS_BENCH_FIGURES_H
#define MOERING_CLIENTS_BENCH_FIGURES_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { FIGURES_PERCENTILES_MAX = 16 };

struct percentiles {
    uint32_t count;
    double rank[FIGURES_PERCENTILES_MAX]; /* 0 .. 100 */
};

struct figures {
    size_t count; /* of samples */
    double mean, median, std;
    double percentile[FIGURES_PERCENTILES_MAX]; /* in the order of struct percentiles */
};

/* values[count] become sorted. */
void figures_of(double *values, size_t count, const struct percentiles *percentiles,
                struct figures *out);
/* Of sorted[count]; rank 0 .. 100. */
double figures_percentile(const double *sorted, size_t count, double rank);

#ifdef __cplusplus
}
#endif
#endif
