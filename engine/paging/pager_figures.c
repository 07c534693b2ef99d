/* What a pager tells of its work: its own counters and those of whom it asks, put together when
 * somebody looks. Nothing here changes anything. See expert_pager.h. */
#include "engine/paging/pager_state.h"

void pager_counters(const struct expert_pager *pager, struct pager_counters *out)
{
    *out = pager->counters;
    policy_counters(pager->policy, &out->policy);
    if (pager->stream)
        stream_figures(pager->stream, &out->stream);
    if (pager->own_place)
        placement_figures(pager_place_dictionary(pager->own_place), &out->placement);
}

void pager_layer_usage(const struct expert_pager *p, uint32_t layer,
                       struct expert_tier_usage usage[MEMORY_TIERS])
{
    const struct pager_asked *asked = &p->asked[layer];
    struct prefetch_count guesses;
    policy_prefetch_count(p->policy, layer, &guesses);
    usage[MEMORY_DEVICE] = (struct expert_tier_usage){
        .hits = asked->hits, .misses = asked->misses, .prefetch_issued = guesses.issued,
        .prefetch_used = guesses.used, .prefetch_wasted = guesses.wasted};
    usage[MEMORY_HOST] =
        (struct expert_tier_usage){.hits = asked->host_hits, .misses = asked->host_misses};
    for (int tier = 0; tier < MEMORY_TIERS; tier++) {
        usage[tier].evictions = p->evictions[layer * MEMORY_TIERS + (uint32_t)tier];
        usage[tier].resident = expert_map_count(p->map, (enum memory_tier)tier, layer);
    }
}

const struct expert_map *pager_map(const struct expert_pager *pager)
{
    return pager->map;
}

const struct loads *pager_loads(const struct expert_pager *pager)
{
    return policy_loads(pager->policy);
}
