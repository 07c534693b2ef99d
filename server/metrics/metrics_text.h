/* Writes a page in Prometheus' text format 0.0.4 or in OpenMetrics 1.0: families, samples, escapes.
 *
 * What differs between the two is here and nowhere else: in OpenMetrics the TYPE and HELP of a
 * counter lose its _total, a quote in HELP is escaped, and the page ends with "# EOF". Bounds of
 * buckets are written in both as OpenMetrics wants them ("1.0", "+Inf"), which is also how vLLM
 * writes them.
 *
 * A family's samples follow its metrics_text_family at once; each family comes once. Memory that
 * runs out is remembered: look at out.failed at the end. The buffer is that of the JSON writer, and
 * stays for the next page. */
#ifndef MOERING_SERVER_METRICS_METRICS_TEXT_H
#define MOERING_SERVER_METRICS_METRICS_TEXT_H

#include <stdbool.h>
#include <stdint.h>

#include "server/jsonw.h"
#include "server/metrics/histogram.h"

#ifdef __cplusplus
extern "C" {
#endif

enum metrics_type { METRICS_COUNTER, METRICS_GAUGE, METRICS_HISTOGRAM };

/* Names are the program's own; values may be any bytes. */
struct metrics_label {
    const char *name, *value;
};

/* Zero-initialise; metrics_text_close frees. */
struct metrics_text {
    struct jsonw out;
    bool openmetrics;
    const struct metrics_label *common; /* in front of each sample's own; borrowed, set at will */
    uint32_t common_count;
    const char *family; /* borrowed: the name that samples get */
};

#define METRICS_TEXT_TYPE "text/plain; version=0.0.4; charset=utf-8"
#define METRICS_OPENMETRICS_TYPE "application/openmetrics-text; version=1.0.0; charset=utf-8"

void metrics_text_begin(struct metrics_text *text, bool openmetrics); /* an empty page */
/* A counter's name ends in _total (CHECKed). `name` must live until the next family. */
void metrics_text_family(struct metrics_text *text, const char *name, enum metrics_type type,
                         const char *help);
/* Samples of the family. `labels` may be NULL where count is 0. */
void metrics_text_count(struct metrics_text *text, const struct metrics_label *labels,
                        uint32_t count, uint64_t value);
void metrics_text_number(struct metrics_text *text, const struct metrics_label *labels,
                         uint32_t count, double value);
/* in[bounds_count + 1] as struct histogram has them: not cumulative, the last above all bounds. */
void metrics_text_buckets(struct metrics_text *text, const double *bounds, uint32_t bounds_count,
                          const uint64_t *in, double sum);
void metrics_text_histogram(struct metrics_text *text, const struct histogram *histogram);
void metrics_text_end(struct metrics_text *text);
void metrics_text_close(struct metrics_text *text);

/* The shortest decimal that reads back as the same double; "NaN", "+Inf", "-Inf". */
#define METRICS_NUMBER_BYTES 32
void metrics_text_format(char out[METRICS_NUMBER_BYTES], double value);

#ifdef __cplusplus
}
#endif
#endif
