/* Linear search: values cluster in the low buckets, and twenty comparisons cost less than they
 * would to plan. */
#include "server/metrics/histogram.h"

#include <string.h>

#include "memory/base/check.h"

void histogram_init(struct histogram *h, const double *bounds, uint32_t count)
{
    CHECK(count <= HISTOGRAM_BOUNDS_MAX);
    memset(h, 0, sizeof *h);
    h->bounds = bounds;
    h->count = count;
}

void histogram_observe(struct histogram *h, double value, uint64_t times)
{
    uint32_t i = 0;
    while (i < h->count && value > h->bounds[i])
        i++;
    h->in[i] += times;
    h->observed += times;
    h->sum += value * (double)times;
}

uint32_t histogram_125(double top, double bounds[HISTOGRAM_BOUNDS_MAX])
{
    static const double steps[] = {1, 2, 5};
    double scale = 1;
    for (uint32_t i = 0; i < HISTOGRAM_BOUNDS_MAX; i++) {
        bounds[i] = scale * steps[i % 3];
        if (bounds[i] >= top)
            return i + 1;
        if (i % 3 == 2)
            scale *= 10;
    }
    return HISTOGRAM_BOUNDS_MAX;
}
