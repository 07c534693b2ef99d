/* See expert_map.h. Atomics are relaxed: each cell stands for itself and nothing is read because of
 * it. One writer, so a change is a load and a store, never a locked instruction. */
#include "engine/paging/expert_map.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "memory/base/check.h"

/* A page's heat: the tick of its last change above HEAT_BITS bits of h, which has FRACTION_BITS
 * after the point. A tick is 2^20 ns, and 2^10 ticks, 1.07 s, are what halves it. */
enum { HEAT_BITS = 24, FRACTION_BITS = 10, TICK_SHIFT = 20, HALF_BITS = 10, FACTOR_BITS = 16 };
#define HEAT_ONE (UINT64_C(1) << FRACTION_BITS)
#define HEAT_MAX ((UINT64_C(1) << HEAT_BITS) - 1)
#define HEAT_CELL_MAX 63
#define HEAT_LOG2_RANGE 10.0f /* log2(1 + h) that is shown as HEAT_CELL_MAX */

struct expert_map {
    uint32_t layers, experts;
    atomic_uint_least64_t *heat; /* [pages] */
    atomic_uchar *tiers;         /* [pages] bit by enum memory_tier */
    uint32_t *resident;          /* [layers][MEMORY_TIERS] */
};

enum status expert_map_open(struct expert_map **out, uint32_t layers, uint32_t experts,
                            struct error *error)
{
    size_t pages = (size_t)layers * experts;
    struct expert_map *map = calloc(1, sizeof *map);
    if (!map)
        goto fail;
    map->layers = layers;
    map->experts = experts;
    map->heat = calloc(pages, sizeof *map->heat);
    map->tiers = calloc(pages, sizeof *map->tiers);
    map->resident = calloc((size_t)layers * MEMORY_TIERS, sizeof *map->resident);
    if (!map->heat || !map->tiers || !map->resident)
        goto fail;
    *out = map;
    return STATUS_OK;
fail:
    expert_map_close(map);
    return error_set(error, STATUS_NO_MEMORY, "no memory for the map of %u x %u experts", layers,
                     experts);
}

void expert_map_close(struct expert_map *map)
{
    if (!map)
        return;
    free(map->heat);
    free(map->tiers);
    free(map->resident);
    free(map);
}

void expert_map_resident(struct expert_map *map, enum memory_tier tier, page_id page, bool resident)
{
    unsigned tiers = atomic_load_explicit(&map->tiers[page], memory_order_relaxed);
    unsigned bit = 1u << tier, now = resident ? tiers | bit : tiers & ~bit;
    if (now == tiers)
        return;
    atomic_store_explicit(&map->tiers[page], (unsigned char)now, memory_order_relaxed);
    map->resident[page / map->experts * MEMORY_TIERS + tier] += resident ? 1u : UINT32_MAX;
}

uint32_t expert_map_count(const struct expert_map *map, enum memory_tier tier, uint32_t layer)
{
    return map->resident[layer * MEMORY_TIERS + tier];
}

/* h after so many ticks. 2^-f for f in [0, 1) is 1 - f (0.69316 - 0.19316 f), exact at both ends
 * and at most 0.8 % low between. */
static uint64_t cool(uint64_t heat, uint64_t ticks)
{
    const uint64_t slope = 45427, bend = 12659; /* in 2^-FACTOR_BITS; their difference is a half */
    uint64_t halves = ticks >> HALF_BITS, f = ticks & ((1 << HALF_BITS) - 1);
    if (halves >= HEAT_BITS)
        return 0;
    uint64_t factor = (1 << FACTOR_BITS) - (f * (slope - (bend * f >> HALF_BITS)) >> HALF_BITS);
    return heat * factor >> FACTOR_BITS >> halves;
}

static uint64_t heat_at(uint64_t word, uint64_t tick)
{
    uint64_t then = word >> HEAT_BITS; /* a reader's clock may be read before a writer's */
    return cool(word & HEAT_MAX, tick > then ? tick - then : 0);
}

void expert_map_run(struct expert_map *map, const struct layer_run *run, uint64_t now_ns)
{
    atomic_uint_least64_t *heat = map->heat + (size_t)run->layer * map->experts;
    uint64_t tick = now_ns >> TICK_SHIFT;
    for (uint32_t i = 0; i < run->count; i++) {
        atomic_uint_least64_t *cell = &heat[run->experts[i]];
        uint64_t hot = heat_at(atomic_load_explicit(cell, memory_order_relaxed), tick) + HEAT_ONE;
        hot = hot < HEAT_MAX ? hot : HEAT_MAX;
        atomic_store_explicit(cell, tick << HEAT_BITS | hot, memory_order_relaxed);
    }
}

static unsigned cell_heat(uint64_t heat)
{
    float h = (float)heat / (float)HEAT_ONE;
    float shown = HEAT_CELL_MAX / HEAT_LOG2_RANGE * log2f(1.0f + h);
    return shown < HEAT_CELL_MAX ? (unsigned)shown : HEAT_CELL_MAX;
}

void expert_map_read(const struct expert_map *const_map, uint64_t now_ns, uint8_t *cells)
{
    struct expert_map *map = (struct expert_map *)const_map; /* atomic loads want it */
    uint64_t tick = now_ns >> TICK_SHIFT;
    size_t pages = (size_t)map->layers * map->experts;
    for (size_t i = 0; i < pages; i++) {
        unsigned tiers = atomic_load_explicit(&map->tiers[i], memory_order_relaxed);
        uint64_t heat = heat_at(atomic_load_explicit(&map->heat[i], memory_order_relaxed), tick);
        unsigned nearest = tiers & 1u << MEMORY_DEVICE ? 2 : tiers & 1u << MEMORY_HOST ? 1 : 0;
        cells[i] = (uint8_t)(nearest << 6 | (heat ? cell_heat(heat) : 0));
    }
}
