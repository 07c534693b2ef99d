#include "clients/bench/figures.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double figures_percentile(const double *sorted, size_t count, double rank)
{
    if (count == 0)
        return 0;
    double at = rank / 100 * (double)(count - 1);
    size_t below = (size_t)at;
    if (below + 1 >= count)
        return sorted[count - 1];
    return sorted[below] + (sorted[below + 1] - sorted[below]) * (at - (double)below);
}

void figures_of(double *values, size_t count, const struct percentiles *percentiles,
                struct figures *out)
{
    memset(out, 0, sizeof *out);
    out->count = count;
    if (count == 0)
        return;
    double sum = 0, squares = 0;
    for (size_t i = 0; i < count; i++)
        sum += values[i];
    out->mean = sum / (double)count;
    for (size_t i = 0; i < count; i++)
        squares += (values[i] - out->mean) * (values[i] - out->mean);
    out->std = sqrt(squares / (double)count);
    qsort(values, count, sizeof *values, ascending);
    out->median = figures_percentile(values, count, 50);
    for (uint32_t i = 0; i < percentiles->count; i++)
        out->percentile[i] = figures_percentile(values, count, percentiles->rank[i]);
}
