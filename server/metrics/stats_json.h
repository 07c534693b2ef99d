/* GET /v1/stats: the figures of the dashboard as one JSON object, by server/ui/FORMATS.md, which
 * says what each key means. Pure: a snapshot in, text out. */
#ifndef MOERING_SERVER_METRICS_STATS_JSON_H
#define MOERING_SERVER_METRICS_STATS_JSON_H

#include "server/jsonw.h"
#include "server/metrics/metrics_snapshot.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Appends to `out`; out->failed: out of memory. */
void stats_json(struct jsonw *out, const struct metrics_snapshot *snapshot);

/* A number as short as it can be; null for what is not finite. */
void stats_json_number(struct jsonw *out, double value);

#ifdef __cplusplus
}
#endif
#endif
