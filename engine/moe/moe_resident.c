/* See moe_resident.h. One record in backend memory serves all layers, because the copy to the host
 * is part of the stream of work: a layer overwrites it after the one before has been posted. */
#include "engine/moe/moe_resident.h"

#include <stdlib.h>
#include <string.h>

#include "memory/base/check.h"

#define TRUST_MAX 3
#define TRUST_ENOUGH 2

static size_t record_words(const struct moe *moe, uint32_t rows, uint32_t reach)
{
    size_t choices = (size_t)rows * moe->router.top_k;
    return 2 * choices + 1 + (size_t)reach * rows * moe->router.experts;
}

enum status moe_resident_open(struct moe_resident *r, struct moe *moe, uint32_t layers,
                              struct error *error)
{
    struct backend *b = moe->backend;
    *r = (struct moe_resident){.moe = moe, .ops = b->ops->resident, .layers = layers};
    if (!r->ops)
        return STATUS_OK;
    r->rows_max = moe->rows_max < r->ops->rows_max ? moe->rows_max : r->ops->rows_max;
    size_t foretold = record_words(moe, ROUTER_LOOKAHEAD_ROWS, ROUTER_LOOKAHEAD_LAYERS_MAX);
    size_t words = record_words(moe, r->rows_max, 0);
    words = words > foretold ? words : foretold;
    r->record = b->ops->alloc(b, words * sizeof *r->record);
    r->posted = calloc(layers, sizeof *r->posted);
    r->trust = malloc(layers);
    bool all = r->record && r->posted && r->trust;
    for (uint32_t n = 0; n < layers && all; n++) {
        r->posted[n].words = r->ops->host_alloc(b, words * sizeof *r->record);
        all = r->posted[n].words != NULL;
    }
    if (all) {
        memset(r->trust, TRUST_MAX, layers);
        return STATUS_OK;
    }
    moe_resident_close(r);
    return error_set(error, STATUS_NO_MEMORY,
                     "no page-locked memory for the routing of %u layers; raise 'ulimit -l'",
                     layers);
}

void moe_resident_close(struct moe_resident *r)
{
    if (!r->moe)
        return;
    struct backend *b = r->moe->backend;
    if (r->record)
        b->ops->release(b, r->record);
    for (uint32_t n = 0; r->posted && n < r->layers; n++)
        if (r->posted[n].words)
            r->ops->host_release(b, r->posted[n].words);
    free(r->posted);
    free(r->trust);
    memset(r, 0, sizeof *r);
}

bool moe_resident_can(const struct moe_resident *r, uint32_t rows)
{
    return r->ops && rows <= r->rows_max;
}

bool moe_resident_further(const struct moe_resident *r, uint32_t waiting, uint32_t next)
{
    if (next >= r->layers || next > waiting + MOE_RESIDENT_AHEAD)
        return false;
    for (uint32_t n = waiting; n < next; n++)
        if (r->trust[n] < TRUST_ENOUGH)
            return false;
    return true;
}

void moe_resident_begin(struct moe_resident *r)
{
    r->ops->go(r->moe->backend);
}

uint32_t moe_resident_variant(struct moe_resident *r, uint32_t layer, uint32_t rows)
{
    const struct moe *moe = r->moe;
    return r->posted[layer].reach =
               router_lookahead_reach(&moe->lookahead, moe->pager, layer, rows);
}

void moe_resident_ask(struct moe_resident *r, uint32_t layer, const struct moe_weights *weights,
                      float *x, const float *normed, uint32_t rows)
{
    struct moe *moe = r->moe;
    struct backend *b = moe->backend;
    struct moe_posted *posted = &r->posted[layer];
    uint32_t choices = rows * moe->router.top_k;
    uint32_t *stopped = r->record + choices;
    float *shares = (float *)(stopped + 1), *answers = shares + choices;
    struct resident_args args = {
        .x = x,
        .normed = normed,
        .chosen = r->record,
        .weights = shares,
        .rows = rows,
        .top_k = moe->router.top_k,
        .layer = layer,
        .experts = moe->router.experts,
        .gate = weights->expert.gate,
        .up = weights->expert.up,
        .down = weights->expert.down,
        .stopped = stopped,
    };
    moe_part_offsets(moe, layer, args.offset);
    b->ops->matmul(b, moe->scores, normed, weights->router, NULL, rows, false);
    b->ops->route(b, &moe->router, moe->scores, rows, r->record, shares);
    if (moe->scripted)
        scripted_routing_apply(moe->scripted, layer, rows, r->record);
    /* Before the experts change x. */
    router_lookahead_ask(&moe->lookahead, layer, posted->reach, x, rows, answers);
    r->ops->experts(b, &args);
    moe_shared_compute(moe, weights, normed, rows);
    moe_shared_add(moe, weights, x,
                   rows); /* where the layer stopped, as little as its experts did */
    r->ops->post(b, posted->words, r->record,
                 record_words(moe, rows, posted->reach) * sizeof *r->record);
}

void moe_resident_asked(struct moe_resident *r, uint32_t layer)
{
    struct backend *b = r->moe->backend;
    r->posted[layer].fence = b->ops->fence(b);
    pager_layer_fence(r->moe->pager, layer, r->posted[layer].fence);
}

bool moe_resident_confirm(struct moe_resident *r, uint32_t layer, struct batch *batch,
                          struct moe_routing *routing)
{
    struct moe *moe = r->moe;
    struct backend *b = moe->backend;
    const struct moe_posted *posted = &r->posted[layer];
    uint32_t choices = batch->rows * moe->router.top_k;
    b->ops->reached(b, posted->fence, true);
    const uint32_t stopped = posted->words[choices];
    const float *weights = (const float *)(posted->words + choices + 1);
    *routing = (struct moe_routing){.chosen = posted->words, .weights = weights};
    uint8_t *trust = &r->trust[layer];
    if (stopped) {
        CHECK_MSG(stopped == layer + 1, "layer %u stopped, but layer %u was waited for",
                  stopped - 1, layer);
        *trust -= *trust > 0;
        r->ops->go(b);
        return false;
    }
    *trust += *trust < TRUST_MAX;
    moe_ran(moe, layer, batch, routing);
    router_lookahead_take(&moe->lookahead, moe->pager, layer, posted->reach, weights + choices,
                          batch->rows);
    return true;
}
