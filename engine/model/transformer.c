#include "engine/model/transformer.h"

#include <stdlib.h>
#include <string.h>

#include "memory/base/check.h"

uint64_t transformer_bytes(const struct hparams *h, uint32_t rows_max, uint32_t logits_max)
{
    struct moe_config moe = {.router = h->router, .hidden = h->hidden,
                             .expert_width = h->expert_width, .rows_max = rows_max,
                             .shared = h->shared_width > 0, .layers = h->layers};
    uint64_t row = 2 * (uint64_t)h->hidden + 2 * (uint64_t)h->heads * h->head_dim +
                   2 * (uint64_t)h->kv_heads * h->head_dim;
    return (row * rows_max + ((uint64_t)h->hidden + h->vocab) * logits_max) * sizeof(float) +
           moe_bytes(&moe);
}

enum status transformer_open(struct transformer *d, const struct transformer_config *c,
                             struct error *error)
{
    const struct hparams *h = &c->model->hparams;
    struct backend *b = c->model->backend;
    size_t q = (size_t)h->heads * h->head_dim, kv = (size_t)h->kv_heads * h->head_dim;
    size_t rows = c->rows_max;
    *d = (struct transformer){.model = c->model, .kv = c->kv, .rows_max = c->rows_max,
                          .logits_max = c->logits_max};
    const struct {
        float **field;
        size_t values;
    } buffers[] = {
        {&d->x, rows * h->hidden},        {&d->normed, rows * h->hidden},
        {&d->q, rows * q},                {&d->attended, rows * q},
        {&d->k, rows * kv},               {&d->v, rows * kv},
        {&d->last, (size_t)c->logits_max * h->hidden},
        {&d->logits, (size_t)c->logits_max * h->vocab},
    };
    for (unsigned i = 0; i < sizeof buffers / sizeof buffers[0]; i++) {
        *buffers[i].field = b->ops->alloc(b, buffers[i].values * sizeof(float));
        if (!*buffers[i].field) {
            transformer_close(d);
            return error_set(error, STATUS_NO_MEMORY,
                             "no memory for the activations of %u tokens; lower "
                             "--max-num-batched-tokens", c->rows_max);
        }
    }
    d->routers = calloc(h->layers, sizeof *d->routers);
    if (!d->routers) {
        transformer_close(d);
        return error_set(error, STATUS_NO_MEMORY, "no memory for %u layers", h->layers);
    }
    for (uint32_t n = 0; n < h->layers; n++)
        d->routers[n] = (struct layer_router){c->model->layers[n].moe.router,
                                              c->model->layers[n].expert_norm};
    struct moe_config moe = {.backend = b, .host = c->host, .pager = c->pager,
                             .router = h->router,
                             .hidden = h->hidden, .expert_width = h->expert_width,
                             .rows_max = c->rows_max, .shared = h->shared_width > 0,
                             .routers = d->routers,
                             .layers = h->layers, .norm_eps = h->norm_eps};
    enum status status = moe_open(&d->moe, &moe, error);
    if (status == STATUS_OK)
        status = moe_resident_open(&d->ahead, &d->moe, h->layers, error);
    if (status == STATUS_OK && c->routing.choices) {
        status = scripted_routing_open(&d->scripted, b, c->routing, h->layers, c->rows_max,
                                       h->router.top_k, error);
        d->moe.scripted = &d->scripted;
    }
    if (status != STATUS_OK)
        transformer_close(d);
    return status;
}

void transformer_close(struct transformer *d)
{
    if (!d->model)
        return;
    struct backend *b = d->model->backend;
    float *buffers[] = {d->x, d->normed, d->q, d->attended, d->k, d->v, d->last, d->logits};
    for (unsigned i = 0; i < sizeof buffers / sizeof buffers[0]; i++)
        if (buffers[i])
            b->ops->release(b, buffers[i]);
    moe_resident_close(&d->ahead);
    scripted_routing_close(&d->scripted);
    if (d->moe.backend)
        moe_close(&d->moe);
    free(d->routers);
    memset(d, 0, sizeof *d);
}

/* q and k are normed per head (each head is a row) or over all heads at once. */
static void norm_heads(struct transformer *d, float *x, const float *weight, uint32_t rows,
                       uint32_t heads)
{
    const struct hparams *h = &d->model->hparams;
    struct backend *b = d->model->backend;
    if (h->qk_norm == QK_NORM_HEAD)
        b->ops->rms_norm(b, x, x, weight, rows * heads, h->head_dim, h->norm_eps);
    else if (h->qk_norm == QK_NORM_WHOLE)
        b->ops->rms_norm(b, x, x, weight, rows, heads * h->head_dim, h->norm_eps);
}

/* x += residual_scale * o(attended). */
static void add_attention(struct transformer *d, const struct layer *layer, uint32_t rows)
{
    const struct hparams *h = &d->model->hparams;
    struct backend *b = d->model->backend;
    if (h->residual_scale == 1.0f) {
        b->ops->matmul(b, d->x, d->attended, layer->o, layer->o_bias, rows, true);
        return;
    }
    b->ops->matmul(b, d->normed, d->attended, layer->o, layer->o_bias, rows, false);
    b->ops->add_scaled(b, d->x, d->normed, NULL, h->residual_scale, rows, h->hidden);
}

static void attention_block(struct transformer *d, uint32_t n, const struct batch *batch)
{
    const struct hparams *h = &d->model->hparams;
    const struct layer *layer = &d->model->layers[n];
    struct backend *b = d->model->backend;
    const struct backend_ops *op = b->ops;
    struct kv_layer kv = kv_cache_layer(d->kv, n);
    uint32_t rows = batch->rows;

    op->rms_norm(b, d->normed, d->x, layer->attention_norm, rows, h->hidden, h->norm_eps);
    const struct matmul_out qkv[] = {{d->q, layer->q, layer->q_bias},
                                     {d->k, layer->k, layer->k_bias},
                                     {d->v, layer->v, layer->v_bias}};
    op->matmuls(b, d->normed, rows, qkv, 3);
    norm_heads(d, d->q, layer->q_norm, rows, h->heads);
    norm_heads(d, d->k, layer->k_norm, rows, h->kv_heads);
    op->rope(b, d->q, batch->places, d->model->inv_freq, rows, h->heads, h->head_dim);
    op->rope(b, d->k, batch->places, d->model->inv_freq, rows, h->kv_heads, h->head_dim);
    op->kv_write(b, kv, d->k, d->v, batch->places, rows);
    struct attention_args args = {
        .out = d->attended,
        .q = d->q,
        .kv = kv,
        .places = batch->places,
        .rows = rows,
        .heads = h->heads,
        .scale = h->attention_scale,
        .window = h->window,
    };
    op->attention(b, &args);
    add_attention(d, layer, rows);
}

/* What the router and the experts of a layer read. */
static void norm_for_experts(struct transformer *d, uint32_t n, uint32_t rows)
{
    const struct hparams *h = &d->model->hparams;
    struct backend *b = d->model->backend;
    b->ops->rms_norm(b, d->normed, d->x, d->model->layers[n].expert_norm, rows, h->hidden,
                     h->norm_eps);
}

static struct moe_call call_of(struct transformer *d, uint32_t n, struct batch *batch)
{
    return (struct moe_call){.layer = n, .weights = &d->model->layers[n].moe, .x = d->x,
                             .normed = d->normed, .batch = batch};
}

static void ask_layer(struct transformer *d, uint32_t n, const struct batch *batch)
{
    const struct layer *layer = &d->model->layers[n];
    struct backend *b = d->model->backend;
    struct segment_key key = {.layer = n, .rows = batch->rows,
                              .variant = moe_resident_variant(&d->ahead, n, batch->rows)};
    if (b->ops->segment_begin(b, &key)) {
        attention_block(d, n, batch);
        norm_for_experts(d, n, batch->rows);
        moe_resident_ask(&d->ahead, n, &layer->moe, d->x, d->normed, batch->rows);
        b->ops->segment_end(b);
    }
    moe_resident_asked(&d->ahead, n);
}

/* Layers are asked for before the host knows what those in front of them chose. */
static enum status forward_ahead(struct transformer *d, struct batch *batch, struct error *error)
{
    struct moe_routing routing;
    uint32_t layers = d->model->hparams.layers, asked = 0;
    moe_resident_begin(&d->ahead);
    for (uint32_t n = 0; n < layers; n++) {
        while (moe_resident_further(&d->ahead, n, asked))
            ask_layer(d, asked++, batch);
        if (moe_resident_confirm(&d->ahead, n, batch, &routing))
            continue;
        norm_for_experts(d, n, batch->rows); /* the layers behind it used its place */
        struct moe_call call = call_of(d, n, batch);
        enum status status = moe_experts(&d->moe, &call, &routing, error);
        if (status != STATUS_OK)
            return status;
        asked = n + 1;
    }
    return STATUS_OK;
}

enum status transformer_forward(struct transformer *d, struct batch *batch, struct error *error)
{
    const struct hparams *h = &d->model->hparams;
    struct backend *b = d->model->backend;
    CHECK(batch->rows <= d->rows_max);
    b->ops->begin(b, batch->tokens, batch->places, batch->rows);
    b->ops->embed(b, d->x, d->model->embedding, batch->tokens, batch->rows);
    if (h->embedding_scale != 1.0f)
        b->ops->scale(b, d->x, h->embedding_scale, batch->rows, h->hidden);
    if (d->scripted.backend)
        scripted_routing_begin(&d->scripted, batch);
    if (moe_resident_can(&d->ahead, batch->rows))
        return forward_ahead(d, batch, error);
    for (uint32_t n = 0; n < h->layers; n++) {
        attention_block(d, n, batch);
        norm_for_experts(d, n, batch->rows);
        struct moe_call call = call_of(d, n, batch);
        enum status status = moe_layer(&d->moe, &call, error);
        if (status != STATUS_OK)
            return status;
    }
    return STATUS_OK;
}

/* Leaves the logits of these rows in backend memory. */
static void compute_logits(struct transformer *d, const uint32_t *rows, uint32_t count)
{
    const struct hparams *h = &d->model->hparams;
    struct backend *b = d->model->backend;
    CHECK(count <= d->logits_max);
    b->ops->gather(b, d->last, d->x, rows, count, h->hidden);
    b->ops->rms_norm(b, d->last, d->last, d->model->final_norm, count, h->hidden, h->norm_eps);
    b->ops->matmul(b, d->logits, d->last, d->model->head, NULL, count, false);
    if (h->logits_scale != 1.0f)
        b->ops->scale(b, d->logits, h->logits_scale, count, h->vocab);
}

void transformer_logits(struct transformer *d, const uint32_t *rows, uint32_t count, float *out)
{
    struct backend *b = d->model->backend;
    compute_logits(d, rows, count);
    b->ops->download(b, out, d->logits,
                     (size_t)count * d->model->hparams.vocab * sizeof(float));
}

bool transformer_draws(const struct transformer *d)
{
    return d->model->backend->ops->draw != NULL;
}

void transformer_draw(struct transformer *d, const uint32_t *rows, const struct draw *draws,
                      uint32_t count, uint32_t *tokens)
{
    struct backend *b = d->model->backend;
    compute_logits(d, rows, count);
    b->ops->draw(b, d->logits, d->model->hparams.vocab, draws, count, tokens);
}
