/* Where every page is and how much it was routed to lately, for views: written by the engine thread
 * as it happens, read by any thread at any time without a lock.
 *
 * Heat counts the runs of its layer that chose an expert, each worth half as much with every 1.07 s
 * (2^30 ns) of wall time: h <- h * 2^-(dt / 1.07 s) + 1, in fixed point. f runs a second keep h
 * near 1.55 f. A cell shows the logarithm, since rates differ by thousands: 6.3 * log2(1 + h), at
 * most 63. So one run of a cold expert shows at once (0 -> 6) and is gone after 4 seconds, one run
 * a second keeps a cell between 6 and 10, a hundred keep it at 45, and 63 is 660 runs a second.
 * What was routed since the last look is what has become hotter.
 *
 * Cost of the writer: a few instructions for each page that comes, goes or is chosen; no line is
 * shared with anybody but readers. A page's heat is one 64-bit word (value and time together), its
 * tiers are one byte, so a reader never sees half a change. */
#ifndef MOERING_ENGINE_PAGING_EXPERT_MAP_H
#define MOERING_ENGINE_PAGING_EXPERT_MAP_H

#include "engine/predict/predictor.h"
#include "memory/memory.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A cell: 0 storage, 1 host, 2 device, whichever is nearest; and its heat. */
#define EXPERT_CELL_TIER(cell) ((uint8_t)(cell) >> 6)
#define EXPERT_CELL_HEAT(cell) ((uint8_t)(cell) & 63)

struct expert_map;

/* Nothing is resident, everything is cold. NO_MEMORY. */
enum status expert_map_open(struct expert_map **out, uint32_t layers, uint32_t experts,
                            struct error *error);
void expert_map_close(struct expert_map *map); /* accepts NULL */

/* A page is READY in a tier, or is not. Telling what is so already changes nothing. */
void expert_map_resident(struct expert_map *map, enum memory_tier tier, page_id page,
                         bool resident);
/* A layer runs with these experts; the time is of the clock of memory/base/clock.h. */
void expert_map_run(struct expert_map *map, const struct layer_run *run, uint64_t now_ns);
/* Pages of a layer that are resident in a tier. Engine thread. */
uint32_t expert_map_count(const struct expert_map *map, enum memory_tier tier, uint32_t layer);

/* cells[layers * experts] as of now_ns. Any thread. */
void expert_map_read(const struct expert_map *map, uint64_t now_ns, uint8_t *cells);

#ifdef __cplusplus
}
#endif
#endif
