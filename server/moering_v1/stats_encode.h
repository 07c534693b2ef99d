/* What the engine counts, as GetStatsResponse says it. Computes ratios and names; decides nothing.
 * No IO. */
#ifndef MOERING_SERVER_MOERING_V1_STATS_ENCODE_H
#define MOERING_SERVER_MOERING_V1_STATS_ENCODE_H

#include <moering/v1/moering.pb-c.h>

#include "engine/engine.h"
#include "server/grpc/pb.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Fills the fields of `out` that come from the engine; what they point to lives in `arena`.
 * loads[layers][LOAD_PHASES]. False: the arena is exhausted. */
bool stats_encode(struct pb_arena *arena, const struct engine_info *info,
                  const struct engine_stats *stats, const struct engine_load *loads,
                  Moering__V1__GetStatsResponse *out);
/* Of prefetched pages whose fate is known, the share that was used; 0: of none. */
double stats_precision(const struct prefetch_figures *prefetch);

#ifdef __cplusplus
}
#endif
#endif
