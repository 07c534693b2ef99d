#include "engine/paging/prefetch.h"

#include <stdlib.h>
#include <string.h>

struct prefetch {
    uint32_t layers, experts, ahead;
    uint32_t *last;  /* [layers][experts]: the experts of a layer's last run, first count[] valid */
    uint32_t *count; /* [layers] */
};

enum status prefetch_open(struct prefetch **out, uint32_t layers, uint32_t experts, uint32_t ahead,
                          struct error *error)
{
    struct prefetch *p = calloc(1, sizeof *p);
    if (!p)
        goto fail;
    p->layers = layers;
    p->experts = experts;
    p->ahead = ahead < layers ? ahead : layers - 1;
    p->last = calloc((size_t)layers * experts, sizeof *p->last);
    p->count = calloc(layers, sizeof *p->count);
    if (!p->last || !p->count)
        goto fail;
    *out = p;
    return STATUS_OK;
fail:
    prefetch_close(p);
    return error_set(error, STATUS_NO_MEMORY, "no memory for the history of %u x %u experts",
                     layers, experts);
}

void prefetch_close(struct prefetch *prefetch)
{
    if (!prefetch)
        return;
    free(prefetch->last);
    free(prefetch->count);
    free(prefetch);
}

void prefetch_observe(struct prefetch *prefetch, uint32_t layer, const uint32_t *experts,
                      uint32_t count)
{
    if (count > 0)
        memcpy(prefetch->last + (size_t)layer * prefetch->experts, experts,
               count * sizeof *experts);
    prefetch->count[layer] = count;
}

uint32_t prefetch_candidates(const struct prefetch *prefetch, uint32_t layer, page_id *pages,
                             uint32_t max)
{
    uint32_t n = 0;
    for (uint32_t step = 1; step <= prefetch->ahead; step++) {
        uint32_t next = (layer + step) % prefetch->layers;
        if (prefetch->count[next] > prefetch->experts / 2)
            continue;
        const uint32_t *last = prefetch->last + (size_t)next * prefetch->experts;
        for (uint32_t i = 0; i < prefetch->count[next] && n < max; i++)
            pages[n++] = next * prefetch->experts + last[i];
    }
    return n;
}
