/* A histogram in Prometheus' sense: counts of values at or below fixed bounds, their sum. One
 * thread. */
#ifndef MOERING_SERVER_METRICS_HISTOGRAM_H
#define MOERING_SERVER_METRICS_HISTOGRAM_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { HISTOGRAM_BOUNDS_MAX = 32 };

struct histogram {
    const double *bounds; /* ascending; borrowed */
    uint32_t count;       /* of bounds, at most HISTOGRAM_BOUNDS_MAX */
    uint64_t
        in[HISTOGRAM_BOUNDS_MAX + 1]; /* values in (bounds[i - 1], bounds[i]]; the last: above */
    uint64_t observed;
    double sum;
};

void histogram_init(struct histogram *h, const double *bounds, uint32_t count);
/* `times` values of the same size. */
void histogram_observe(struct histogram *h, double value, uint64_t times);
/* 1, 2, 5, 10, 20, ... up to the first that is not below `top`; returns how many were written. */
uint32_t histogram_125(double top, double bounds[HISTOGRAM_BOUNDS_MAX]);

#ifdef __cplusplus
}
#endif
#endif
