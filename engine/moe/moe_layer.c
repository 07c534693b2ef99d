#include "engine/moe/moe_layer.h"

#include <stdlib.h>
#include <string.h>

static struct router_lookahead_config lookahead_config(const struct moe_config *c)
{
    return (struct router_lookahead_config){
        .backend = c->backend, .router = c->routers, .layers = c->layers,
        .experts = c->router.experts, .hidden = c->hidden, .norm_eps = c->norm_eps};
}

uint64_t moe_bytes(const struct moe_config *c)
{
    struct router_lookahead_config lookahead = lookahead_config(c);
    uint64_t choices = (uint64_t)c->rows_max * c->router.top_k;
    return choices * c->hidden * sizeof(float) +
           2 * (uint64_t)c->rows_max * c->router.experts * sizeof(float) + 5 * choices * 4 +
           router_lookahead_bytes(&lookahead);
}

enum status moe_open(struct moe *moe, const struct moe_config *c, struct error *error)
{
    struct backend *b = c->backend;
    uint32_t choices = c->rows_max * c->router.top_k;
    size_t scores = (size_t)c->rows_max * c->router.experts;
    *moe = (struct moe){.backend = b, .pager = c->pager, .router = c->router, .hidden = c->hidden,
                        .expert_width = c->expert_width, .rows_max = c->rows_max};
    enum status status =
        dispatch_open(&moe->dispatch, c->rows_max, choices, c->router.experts, error);
    moe->scores = b->ops->alloc(b, scores * sizeof(float));
    moe->grouped = b->ops->alloc(b, (size_t)choices * c->hidden * sizeof(float));
    moe->host_scores = malloc(scores * sizeof(float));
    moe->chosen = malloc(c->router.top_k * sizeof *moe->chosen);
    moe->weights = malloc(c->router.top_k * sizeof *moe->weights);
    moe->hit = malloc(c->router.experts * sizeof *moe->hit);
    moe->rows_of = malloc(c->router.experts * sizeof *moe->rows_of);
    struct router_lookahead_config lookahead = lookahead_config(c);
    if (status == STATUS_OK)
        status = router_lookahead_open(&moe->lookahead, &lookahead, error);
    if (status == STATUS_OK && moe->scores && moe->grouped && moe->host_scores && moe->chosen &&
        moe->weights && moe->hit && moe->rows_of)
        return STATUS_OK;
    moe_close(moe);
    return error_set(error, STATUS_NO_MEMORY,
                     "no memory for the expert outputs of %u tokens; lower "
                     "--max-num-batched-tokens", c->rows_max);
}

void moe_close(struct moe *moe)
{
    if (moe->scores)
        moe->backend->ops->release(moe->backend, moe->scores);
    if (moe->grouped)
        moe->backend->ops->release(moe->backend, moe->grouped);
    dispatch_close(&moe->dispatch);
    free(moe->host_scores);
    free(moe->chosen);
    free(moe->weights);
    free(moe->hit);
    free(moe->rows_of);
    router_lookahead_close(&moe->lookahead);
    memset(moe, 0, sizeof *moe);
}

static void route(struct moe *moe, struct tensor router_weight, const float *normed, uint32_t rows)
{
    struct backend *b = moe->backend;
    uint32_t experts = moe->router.experts;
    b->ops->matmul(b, moe->scores, normed, router_weight, NULL, rows, false);
    b->ops->download(b, moe->host_scores, moe->scores, (size_t)rows * experts * sizeof(float));
    dispatch_reset(&moe->dispatch);
    for (uint32_t r = 0; r < rows; r++) {
        router_choose(&moe->router, moe->host_scores + (size_t)r * experts, moe->chosen,
                      moe->weights);
        dispatch_add_row(&moe->dispatch, moe->chosen, moe->weights, moe->router.top_k);
    }
    dispatch_build(&moe->dispatch);
}

/* Most rows are prompt tokens where they are more than items: an item of one row is decoding. */
static void request(struct moe *moe, uint32_t layer, const struct batch *batch)
{
    const struct dispatch *d = &moe->dispatch;
    for (uint32_t i = 0; i < d->touched_count; i++) {
        uint32_t e = d->touched[i];
        moe->rows_of[i] = d->expert_offsets[e + 1] - d->expert_offsets[e];
    }
    struct layer_run run = {.layer = layer, .rows = batch->rows, .count = d->touched_count,
                            .experts = d->touched, .tokens = moe->rows_of,
                            .prefill = batch->rows > 2 * batch->items};
    pager_request(moe->pager, &run, moe->hit);
}

/* Charges a touched expert to every item with a row there; its bytes to the first. */
static void charge(const struct moe *moe, struct batch *batch, uint32_t expert, bool hit,
                   uint64_t bytes)
{
    const struct dispatch *d = &moe->dispatch;
    uint32_t last = UINT32_MAX;
    for (uint32_t p = d->expert_offsets[expert]; p < d->expert_offsets[expert + 1]; p++) {
        uint32_t item = batch->item[d->gather[p]];
        if (item == last) /* rows ascend, so an item's rows are neighbours */
            continue;
        batch->usage[item].hits += hit;
        batch->usage[item].misses += !hit;
        batch->usage[item].bytes += last == UINT32_MAX ? bytes : 0;
        last = item;
    }
}

/* Marks the items with a row that chose this expert. */
static void mark_failed(const struct moe *moe, struct batch *batch, uint32_t expert)
{
    const struct dispatch *d = &moe->dispatch;
    for (uint32_t p = d->expert_offsets[expert]; p < d->expert_offsets[expert + 1]; p++)
        batch->failed[batch->item[d->gather[p]]] = true;
}

static void compute(struct moe *moe, enum dtype dtype, const struct pager_expert *e,
                    uint32_t expert, const float *normed)
{
    const struct dispatch *d = &moe->dispatch;
    uint32_t begin = d->expert_offsets[expert], end = d->expert_offsets[expert + 1];
    struct tensor wide = {.dtype = dtype, .rows = moe->expert_width, .cols = moe->hidden};
    struct expert_args args = {
        .out = moe->grouped + (size_t)begin * moe->hidden,
        .x = normed,
        .gather = d->gather + begin,
        .rows = end - begin,
        .gate = wide,
        .up = wide,
        .down = {.dtype = dtype, .rows = moe->hidden, .cols = moe->expert_width},
    };
    args.gate.data = e->slot + e->page->part[0].slot_offset;
    args.up.data = e->slot + e->page->part[1].slot_offset;
    args.down.data = e->slot + e->page->part[2].slot_offset;
    moe->backend->ops->expert(moe->backend, &args);
}

enum status moe_layer(struct moe *moe, uint32_t layer, struct tensor router_weight,
                      enum dtype expert_dtype, float *x, const float *normed,
                      struct batch *batch, struct error *error)
{
    struct backend *b = moe->backend;
    const struct dispatch *d = &moe->dispatch;
    struct pager_expert ready = {0};
    enum status status;
    route(moe, router_weight, normed, batch->rows);
    request(moe, layer, batch);
    if (moe->observer.layer)
        moe->observer.layer(moe->observer.self, layer, d, moe->hit);
    router_lookahead_tell(&moe->lookahead, moe->pager, layer, x, batch->rows);
    while ((status = pager_next(moe->pager, &ready, error)) == STATUS_OK) {
        uint32_t expert = d->touched[ready.index];
        charge(moe, batch, expert, moe->hit[ready.index], ready.bytes);
        compute(moe, expert_dtype, &ready, expert, normed);
        pager_release(moe->pager, ready.index);
    }
    if (status != STATUS_NOT_FOUND) {
        mark_failed(moe, batch, d->touched[ready.index]);
        pager_abort(moe->pager);
        return status;
    }
    struct combine_args args = {
        .out = x,
        .y = moe->grouped,
        .offsets = d->row_offsets,
        .places = d->place,
        .weights = d->weight,
        .rows = batch->rows,
        .width = moe->hidden,
    };
    b->ops->combine(b, &args);
    return STATUS_OK;
}
