#include "engine/paging/evict.h"

#include <stdlib.h>

#include "memory/base/check.h"

struct evict {
    uint32_t layers, experts;
    uint32_t now;        /* the layer that runs */
    uint64_t *runs;      /* [layers] how often each layer ran */
    uint64_t *used_run;  /* [pages] runs[layer] when it was last used; 0: never */
};

enum status evict_open(struct evict **out, uint32_t layers, uint32_t experts, struct error *error)
{
    struct evict *evict = calloc(1, sizeof *evict);
    if (!evict)
        goto fail;
    evict->layers = layers;
    evict->experts = experts;
    evict->runs = calloc(layers, sizeof *evict->runs);
    evict->used_run = calloc((size_t)layers * experts, sizeof *evict->used_run);
    if (!evict->runs || !evict->used_run)
        goto fail;
    *out = evict;
    return STATUS_OK;
fail:
    evict_close(evict);
    return error_set(error, STATUS_NO_MEMORY, "no memory for the use counts of %u x %u experts",
                     layers, experts);
}

void evict_close(struct evict *evict)
{
    if (!evict)
        return;
    free(evict->runs);
    free(evict->used_run);
    free(evict);
}

void evict_layer(struct evict *evict, uint32_t layer)
{
    CHECK(layer < evict->layers);
    evict->now = layer;
    evict->runs[layer]++;
}

void evict_used(struct evict *evict, page_id page)
{
    evict->used_run[page] = evict->runs[page / evict->experts];
}

void evict_expect(struct evict *evict, page_id page)
{
    evict->used_run[page] = evict->runs[page / evict->experts];
}

uint64_t evict_distance(const struct evict *evict, page_id page)
{
    uint32_t layer = page / evict->experts;
    uint64_t age = evict->runs[layer] - evict->used_run[page];
    uint32_t ahead = layer > evict->now ? layer - evict->now : layer + evict->layers - evict->now;
    return ahead + age * evict->layers;
}

page_id evict_choose(struct evict *evict, struct memory *memory, enum memory_tier tier,
                     uint32_t size_class, uint64_t *distance)
{
    page_id best = PAGE_NONE;
    uint64_t best_rank = 0;
    page_id first = memory_sweep(memory, tier, size_class), page = first;
    /* The hand is round when it shows the first page again. */
    for (; page != PAGE_NONE && (best == PAGE_NONE || page != first);
         page = memory_sweep(memory, tier, size_class)) {
        uint64_t rank = evict_distance(evict, page);
        if (tier == MEMORY_HOST && memory_where(memory, MEMORY_DEVICE, page) == SLOT_READY)
            rank += UINT64_MAX / 2;
        if (best == PAGE_NONE || rank > best_rank) {
            best = page;
            best_rank = rank;
        }
    }
    if (distance && best != PAGE_NONE)
        *distance = evict_distance(evict, best);
    return best;
}
