#include "engine/model/transformer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "memory/base/check.h"

uint64_t transformer_bytes(const struct hparams *h, uint32_t rows_max, uint32_t logits_max)
{
    struct moe_config moe = {.router = h->router, .hidden = h->hidden,
                             .expert_width = h->expert_width, .rows_max = rows_max,
                             .layers = h->layers};
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
        d->routers[n] = (struct layer_router){c->model->layers[n].router,
                                              c->model->layers[n].expert_norm};
    struct moe_config moe = {.backend = b, .pager = c->pager, .router = h->router,
                             .hidden = h->hidden, .expert_width = h->expert_width,
                             .rows_max = c->rows_max, .routers = d->routers,
                             .layers = h->layers, .norm_eps = h->norm_eps};
    enum status status = moe_open(&d->moe, &moe, error);
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

static void attention_block(struct transformer *d, uint32_t n, const struct batch *batch)
{
    const struct hparams *h = &d->model->hparams;
    const struct layer *layer = &d->model->layers[n];
    struct backend *b = d->model->backend;
    const struct backend_ops *op = b->ops;
    struct kv_layer kv = kv_cache_layer(d->kv, n);
    uint32_t rows = batch->rows;

    op->rms_norm(b, d->normed, d->x, layer->attention_norm, rows, h->hidden, h->norm_eps);
    op->matmul(b, d->q, d->normed, layer->q, layer->q_bias, rows, false);
    op->matmul(b, d->k, d->normed, layer->k, layer->k_bias, rows, false);
    op->matmul(b, d->v, d->normed, layer->v, layer->v_bias, rows, false);
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
        .scale = 1.0f / sqrtf((float)h->head_dim),
        .window = h->window,
    };
    op->attention(b, &args);
    op->matmul(b, d->x, d->attended, layer->o, layer->o_bias, rows, true);
}

enum status transformer_forward(struct transformer *d, struct batch *batch, struct error *error)
{
    const struct hparams *h = &d->model->hparams;
    struct backend *b = d->model->backend;
    CHECK(batch->rows <= d->rows_max);
    b->ops->embed(b, d->x, d->model->embedding, batch->tokens, batch->rows);
    for (uint32_t n = 0; n < h->layers; n++) {
        const struct layer *layer = &d->model->layers[n];
        attention_block(d, n, batch);
        b->ops->rms_norm(b, d->normed, d->x, layer->expert_norm, batch->rows, h->hidden,
                         h->norm_eps);
        enum status status = moe_layer(&d->moe, n, layer->router, layer->expert_dtype, d->x,
                                       d->normed, batch, error);
        if (status != STATUS_OK)
            return status;
    }
    return STATUS_OK;
}

void transformer_logits(struct transformer *d, const uint32_t *rows, uint32_t count, float *out)
{
    const struct hparams *h = &d->model->hparams;
    struct backend *b = d->model->backend;
    CHECK(count <= d->logits_max);
    for (uint32_t i = 0; i < count; i++)
        b->ops->rms_norm(b, d->last + (size_t)i * h->hidden, d->x + (size_t)rows[i] * h->hidden,
                         d->model->final_norm, 1, h->hidden, h->norm_eps);
    b->ops->matmul(b, d->logits, d->last, d->model->head, NULL, count, false);
    b->ops->download(b, out, d->logits, (size_t)count * h->vocab * sizeof(float));
}
