#include "engine/moe/moe_layer.h"

#include <stdlib.h>
#include <string.h>

#include "memory/base/clock.h"

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
           (uint64_t)c->rows_max * c->router.experts * sizeof(float) +
           2 * dispatch_front_bytes_max(c->rows_max, (uint32_t)choices) + 5 * choices * 4 +
           router_lookahead_bytes(&lookahead) +
           (c->shared ? (uint64_t)c->rows_max * (c->hidden + 2) * sizeof(float) : 0) +
           (c->host ? moe_host_bytes(c->hidden, c->rows_max) : 0);
}

/* What the shared expert needs: true if there is none. */
static bool open_shared(struct moe *moe, const struct moe_config *c)
{
    struct backend *b = c->backend;
    if (!c->shared)
        return true;
    uint32_t *rows = malloc(c->rows_max * sizeof *rows);
    moe->shared = b->ops->alloc(b, (size_t)c->rows_max * c->hidden * sizeof(float));
    moe->shared_gate = b->ops->alloc(b, c->rows_max * sizeof(float));
    moe->every_row = b->ops->alloc(b, c->rows_max * sizeof *rows);
    bool all = rows && moe->shared && moe->shared_gate && moe->every_row;
    for (uint32_t r = 0; rows && r < c->rows_max; r++)
        rows[r] = r;
    if (all)
        b->ops->upload(b, moe->every_row, rows, c->rows_max * sizeof *rows);
    free(rows);
    return all;
}

static enum status open_arrays(struct moe *moe, const struct moe_config *c, struct error *error)
{
    struct backend *b = c->backend;
    uint32_t choices = c->rows_max * c->router.top_k, experts = c->router.experts;
    uint32_t at_once = b->ops->experts_at_once;
    moe->at_once = at_once < experts ? at_once : experts;
    moe->scores = b->ops->alloc(b, (size_t)c->rows_max * experts * sizeof(float));
    moe->routed = b->ops->alloc(b, 2 * (size_t)choices * sizeof(uint32_t));
    moe->grouped = b->ops->alloc(b, (size_t)choices * c->hidden * sizeof(float));
    moe->front = b->ops->alloc(b, dispatch_front_bytes_max(c->rows_max, choices));
    moe->chosen = malloc(2 * (size_t)choices * sizeof *moe->chosen);
    moe->hit = malloc(experts * sizeof *moe->hit);
    moe->rows_of = malloc(experts * sizeof *moe->rows_of);
    moe->args = malloc(moe->at_once * sizeof *moe->args);
    moe->taken = malloc(moe->at_once * sizeof *moe->taken);
    bool shared = open_shared(moe, c);
    if (shared && moe->scores && moe->routed && moe->grouped && moe->front && moe->chosen &&
        moe->hit && moe->rows_of && moe->args && moe->taken) {
        moe->weights = (float *)(moe->chosen + choices);
        return STATUS_OK;
    }
    return error_set(error, STATUS_NO_MEMORY,
                     "no memory for the expert outputs of %u tokens; lower "
                     "--max-num-batched-tokens", c->rows_max);
}

enum status moe_open(struct moe *moe, const struct moe_config *c, struct error *error)
{
    *moe = (struct moe){.backend = c->backend, .pager = c->pager, .router = c->router,
                        .hidden = c->hidden, .expert_width = c->expert_width,
                        .rows_max = c->rows_max};
    struct router_lookahead_config lookahead = lookahead_config(c);
    enum status status = dispatch_open(&moe->dispatch, c->rows_max,
                                       c->rows_max * c->router.top_k, c->router.experts, error);
    if (status == STATUS_OK)
        status = open_arrays(moe, c, error);
    if (status == STATUS_OK)
        status = router_lookahead_open(&moe->lookahead, &lookahead, error);
    if (status == STATUS_OK && c->host)
        status = moe_host_open(&moe->host, c->host, c->backend, c->hidden, c->rows_max,
                               c->router.experts, error);
    if (status != STATUS_OK)
        moe_close(moe);
    return status;
}

void moe_close(struct moe *moe)
{
    void *device[] = {moe->scores, moe->routed,      moe->grouped,  moe->front,
                      moe->shared, moe->shared_gate, moe->every_row};
    for (unsigned i = 0; i < sizeof device / sizeof device[0]; i++)
        if (device[i])
            moe->backend->ops->release(moe->backend, device[i]);
    dispatch_close(&moe->dispatch);
    free(moe->chosen);
    free(moe->hit);
    free(moe->rows_of);
    free(moe->args);
    free(moe->taken);
    moe_host_close(&moe->host);
    router_lookahead_close(&moe->lookahead);
    memset(moe, 0, sizeof *moe);
}

/* ---- routing ---- */

void moe_route(struct moe *moe, uint32_t layer, const struct moe_weights *weights,
               const float *normed, uint32_t rows, struct moe_routing *routing)
{
    struct backend *b = moe->backend;
    size_t choices = (size_t)rows * moe->router.top_k;
    b->ops->matmul(b, moe->scores, normed, weights->router, NULL, rows, false);
    b->ops->route(b, &moe->router, moe->scores, rows, moe->routed,
                  (float *)(moe->routed + choices));
    if (moe->scripted)
        scripted_routing_apply(moe->scripted, layer, rows, moe->routed);
    b->ops->download(b, moe->chosen, moe->routed, 2 * choices * sizeof *moe->chosen);
    moe->weights = (float *)(moe->chosen + choices);
    *routing = (struct moe_routing){moe->chosen, moe->weights};
}

/* Turns it round; the pager's view of it in *run. */
static void sort(struct moe *moe, uint32_t layer, const struct batch *batch,
                 const struct moe_routing *routing, struct layer_run *run)
{
    struct dispatch *d = &moe->dispatch;
    uint32_t top_k = moe->router.top_k;
    dispatch_reset(d, batch->rows);
    for (size_t r = 0; r < batch->rows; r++)
        dispatch_add_row(d, routing->chosen + r * top_k, routing->weights + r * top_k, top_k);
    dispatch_build(d);
    for (uint32_t i = 0; i < d->touched_count; i++) {
        uint32_t e = d->touched[i];
        moe->rows_of[i] = d->expert_offsets[e + 1] - d->expert_offsets[e];
    }
    /* Most rows are prompt tokens where they are more than items: an item of one row is
     * decoding. */
    *run = (struct layer_run){.layer = layer, .rows = batch->rows, .count = d->touched_count,
                              .experts = d->touched, .tokens = moe->rows_of,
                              .prefill = batch->rows > 2 * batch->items};
}

/* Where the device finds an array of the dispatch's front. */
static const void *on_device(const struct moe *moe, const void *array)
{
    return moe->front + ((const uint32_t *)array - moe->dispatch.block);
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

/* ---- experts ---- */

/* An expert over its rows; `gather`: of all choices, where whoever computes it finds them. */
static struct expert_args expert_args(const struct moe *moe, const struct moe_call *call,
                                      const struct pager_expert *e, const uint32_t *gather)
{
    const struct dispatch *d = &moe->dispatch;
    uint32_t expert = d->touched[e->index];
    uint32_t begin = d->expert_offsets[expert], end = d->expert_offsets[expert + 1];
    const struct expert_tensors *expert_of_layer = &call->weights->expert;
    struct expert_args args = {
        .out = moe->grouped + (size_t)begin * moe->hidden,
        .x = call->normed,
        .gather = gather + begin,
        .rows = end - begin,
        .gate = expert_of_layer->gate,
        .up = expert_of_layer->up,
        .down = expert_of_layer->down,
    };
    args.gate.data = e->slot + e->page->part[0].slot_offset;
    args.up.data = e->slot + e->page->part[1].slot_offset;
    args.down.data = e->slot + e->page->part[2].slot_offset;
    return args;
}

/* What a call of the backend takes, waited for; only where the pager wants to know. */
static uint64_t time_experts(struct moe *moe, uint32_t count)
{
    struct backend *b = moe->backend;
    b->ops->reached(b, b->ops->fence(b), true);
    uint64_t begin = clock_now_ns();
    b->ops->experts(b, moe->args, count);
    b->ops->reached(b, b->ops->fence(b), true);
    return clock_now_ns() - begin;
}

static void run_on_device(struct moe *moe, uint32_t count)
{
    struct backend *b = moe->backend;
    if (pager_samples(moe->pager))
        pager_sampled(moe->pager, moe->taken, count, time_experts(moe, count));
    else
        b->ops->experts(b, moe->args, count);
    uint64_t fence = b->ops->fence(b);
    for (uint32_t i = 0; i < count; i++)
        pager_release(moe->pager, moe->taken[i], fence);
}

/* Its share of fetching the rows belongs to what it took; that of sending the results is not known
 * yet, and is hidden behind what the device still does. */
static void run_at_host(struct moe *moe, const struct moe_call *call, const struct pager_expert *e,
                        uint64_t fetch_ns)
{
    const struct dispatch *d = &moe->dispatch;
    struct expert_args args = expert_args(moe, call, e, d->gather);
    uint64_t begin = clock_now_ns();
    moe_host_run(&moe->host, &args, moe->grouped, d->expert_offsets[d->touched[e->index]]);
    pager_measured(moe->pager, e->index, clock_now_ns() - begin + fetch_ns);
    pager_release(moe->pager, e->index, 0);
}

/* Takes what is ready on the device beside `e`, which is, as far as it pays in one call, and runs
 * it. The status of the last that was asked for: `e` is that one where it failed. */
static enum status run_batch(struct moe *moe, const struct moe_call *call, struct pager_expert *e,
                             struct error *error)
{
    const struct dispatch *d = &moe->dispatch;
    const uint32_t *gather = on_device(moe, d->gather);
    enum status status = STATUS_OK;
    uint32_t count = 0;
    for (;;) {
        charge(moe, call->batch, d->touched[e->index], moe->hit[e->index], e->bytes);
        moe->args[count] = expert_args(moe, call, e, gather);
        moe->taken[count++] = e->index;
        if (count == moe->at_once || pager_ready(moe->pager) == 0)
            break;
        status = pager_next(moe->pager, e, error);
        if (status != STATUS_OK)
            break;
    }
    run_on_device(moe, count);
    return status;
}

static enum status run_experts(struct moe *moe, const struct moe_call *call, struct error *error)
{
    const struct dispatch *d = &moe->dispatch;
    struct pager_expert ready = {0};
    uint32_t at_host = pager_at_host(moe->pager);
    uint64_t begin = at_host ? clock_now_ns() : 0, fetch_ns = 0;
    enum status status;
    if (at_host) {
        moe_host_begin(&moe->host, call->normed, call->batch->rows);
        fetch_ns = (clock_now_ns() - begin) / at_host;
    }
    while ((status = pager_next(moe->pager, &ready, error)) == STATUS_OK) {
        if (ready.at_host) {
            charge(moe, call->batch, d->touched[ready.index], false, 0);
            run_at_host(moe, call, &ready, fetch_ns);
        } else if ((status = run_batch(moe, call, &ready, error)) != STATUS_OK) {
            break;
        }
    }
    if (at_host)
        moe_host_end(&moe->host, moe->grouped);
    if (status == STATUS_NOT_FOUND)
        return STATUS_OK;
    mark_failed(moe, call->batch, d->touched[ready.index]);
    pager_abort(moe->pager);
    return status;
}

static void combine(struct moe *moe, const struct moe_call *call)
{
    const struct dispatch *d = &moe->dispatch;
    struct combine_args args = {
        .out = call->x,
        .y = moe->grouped,
        .offsets = on_device(moe, d->row_offsets),
        .places = on_device(moe, d->place),
        .weights = on_device(moe, d->weight),
        .rows = call->batch->rows,
        .width = moe->hidden,
    };
    moe->backend->ops->combine(moe->backend, &args);
}

/* ---- the shared expert ---- */

void moe_shared_compute(struct moe *moe, const struct moe_weights *weights, const float *normed,
                        uint32_t rows)
{
    struct backend *b = moe->backend;
    const struct expert_tensors *shared = &weights->shared;
    if (!shared->gate.data)
        return;
    struct expert_args args = {
        .out = moe->shared,
        .x = normed,
        .gather = moe->every_row,
        .rows = rows,
        .gate = shared->gate,
        .up = shared->up,
        .down = shared->down,
    };
    b->ops->matmul(b, moe->shared_gate, normed, weights->shared_gate, NULL, rows, false);
    b->ops->experts(b, &args, 1);
}

void moe_shared_add(struct moe *moe, const struct moe_weights *weights, float *x, uint32_t rows)
{
    struct backend *b = moe->backend;
    if (weights->shared.gate.data)
        b->ops->add_scaled(b, x, moe->shared, moe->shared_gate, 1.0f, rows, moe->hidden);
}

enum status moe_experts(struct moe *moe, const struct moe_call *call,
                        const struct moe_routing *routing, struct error *error)
{
    struct backend *b = moe->backend;
    const struct dispatch *d = &moe->dispatch;
    struct batch *batch = call->batch;
    struct layer_run run;
    sort(moe, call->layer, batch, routing, &run);
    pager_request(moe->pager, &run, moe->hit);
    b->ops->upload(b, moe->front, d->block, dispatch_front_bytes(d));
    if (moe->observer.layer)
        moe->observer.layer(moe->observer.self, call->layer, d, moe->hit);
    router_lookahead_tell(&moe->lookahead, moe->pager, call->layer, call->x, batch->rows);
    moe_shared_compute(moe, call->weights, call->normed, batch->rows);
    enum status status = run_experts(moe, call, error);
    if (status != STATUS_OK)
        return status;
    combine(moe, call);
    moe_shared_add(moe, call->weights, call->x, batch->rows);
    return STATUS_OK;
}

enum status moe_layer(struct moe *moe, const struct moe_call *call, struct error *error)
{
    struct moe_routing routing;
    moe_route(moe, call->layer, call->weights, call->normed, call->batch->rows, &routing);
    return moe_experts(moe, call, &routing, error);
}

/* ---- layers that the device ran by itself ---- */

void moe_ran(struct moe *moe, uint32_t layer, struct batch *batch,
             const struct moe_routing *routing)
{
    const struct dispatch *d = &moe->dispatch;
    struct layer_run run;
    sort(moe, layer, batch, routing, &run);
    pager_ran(moe->pager, &run);
    for (uint32_t i = 0; i < d->touched_count; i++) {
        moe->hit[i] = true;
        charge(moe, batch, d->touched[i], true, 0);
    }
    if (moe->observer.layer)
        moe->observer.layer(moe->observer.self, layer, d, moe->hit);
}

void moe_part_offsets(const struct moe *moe, uint32_t layer, uint32_t offset[3])
{
    const struct page *page = pager_page(moe->pager, layer, 0);
    for (uint32_t i = 0; i < 3; i++)
        offset[i] = (uint32_t)page->part[i].slot_offset;
}
