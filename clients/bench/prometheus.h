/* The text of GET /metrics, as far as the load generator reads it: the series whose names begin
 * with "moering_", without histogram buckets, summed over `layer`. Pure. */
#ifndef MOERING_CLIENTS_BENCH_PROMETHEUS_H
#define MOERING_CLIENTS_BENCH_PROMETHEUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { PROMETHEUS_NAME_BYTES_MAX = 192, PROMETHEUS_SERIES_MAX = 512 };

struct prometheus_series {
    char name[PROMETHEUS_NAME_BYTES_MAX]; /* with its labels but `layer`: a_total{tier="host"} */
    double value;
};

struct prometheus {
    struct prometheus_series *series;
    uint32_t count;
};

/* Lines that are no samples are passed over. False: out of memory. */
bool prometheus_open(struct prometheus *out, const char *text, size_t bytes);
void prometheus_close(struct prometheus *page);
/* NULL: not there. */
const struct prometheus_series *prometheus_find(const struct prometheus *page, const char *name);
/* Counters become what they grew by between the pages, gauges stay as they are in `after`. */
void prometheus_subtract(struct prometheus *after, const struct prometheus *before);

#ifdef __cplusplus
}
#endif
#endif
