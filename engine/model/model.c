/* Loading of dense weights. Matrices keep the type of the file; norms and biases become f32. */
#include "engine/model/model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/model/arch.h"
#include "engine/model/tensors.h"
#include "memory/base/check.h"

struct loader {
    struct model *model;
    const struct checkpoint *checkpoint;
    void *staging; /* host memory for the largest tensor seen so far */
    uint64_t staging_bytes;
    struct error *error;
};

static enum status stage(struct loader *l, uint64_t bytes)
{
    if (bytes <= l->staging_bytes)
        return STATUS_OK;
    free(l->staging);
    l->staging = malloc(bytes);
    l->staging_bytes = l->staging ? bytes : 0;
    return l->staging ? STATUS_OK
                      : error_set(l->error, STATUS_NO_MEMORY, "no memory to load weights");
}

/* Staged bytes to backend memory that the model owns. */
static enum status keep(struct loader *l, const char *name, uint64_t bytes, const void **out)
{
    struct backend *b = l->model->backend;
    void *data = b->ops->alloc(b, bytes);
    if (!data)
        return error_set(l->error, STATUS_NO_MEMORY, "no memory for %s (%llu bytes)", name,
                         (unsigned long long)bytes);
    l->model->owned[l->model->owned_count++] = data;
    b->ops->upload(b, data, l->staging, bytes);
    *out = data;
    return STATUS_OK;
}

/* Fills the field of `owner` (a struct layer or a struct model) that `want` names. */
static enum status load_one(struct loader *l, const struct dense_tensor *want, void *owner)
{
    const struct checkpoint_tensor *t;
    void *field = (char *)owner + want->field;
    bool vector = want->cols == 0;
    enum status status = checkpoint_need(l->checkpoint, want->name, want->rows, want->cols, 0, &t,
                                         l->error);
    if (status != STATUS_OK)
        return status;
    uint64_t bytes = vector ? (uint64_t)want->rows * sizeof(float) : t->bytes;
    status = stage(l, bytes);
    if (status == STATUS_OK)
        status = vector ? checkpoint_read_f32(l->checkpoint, t, l->staging, l->error)
                        : checkpoint_read(l->checkpoint, t, l->staging, l->error);
    if (status != STATUS_OK)
        return status;
    if (vector)
        return keep(l, want->name, bytes, (const void **)field);
    struct tensor *tensor = field;
    *tensor = (struct tensor){.dtype = t->dtype, .rows = want->rows, .cols = want->cols};
    return keep(l, want->name, bytes, &tensor->data);
}

static enum status load_all(struct loader *l, const struct dense_tensor *tensors, uint32_t n,
                            void *owner)
{
    enum status status = STATUS_OK;
    for (uint32_t i = 0; i < n && status == STATUS_OK; i++)
        status = load_one(l, &tensors[i], owner);
    return status;
}

/* The experts' type, read off the first expert's gate matrix, found as plan.c finds it (fused or
 * not); plan.c has made sure that all agree. */
static enum dtype expert_dtype(const struct loader *l, uint32_t layer)
{
    const struct arch_names *names = l->model->arch->names;
    char name[200];
    snprintf(name, sizeof name, "model.layers.%u.%s", layer, names->fused_gate_up);
    const struct checkpoint_tensor *t = checkpoint_find(l->checkpoint, name);
    if (!t) {
        int used = snprintf(name, sizeof name, "model.layers.%u.", layer);
        snprintf(name + used, sizeof name - (size_t)used, names->gate, 0);
        t = checkpoint_find(l->checkpoint, name);
    }
    CHECK(t);
    return t->dtype;
}

static float *rope_frequencies(const struct hparams *h, struct backend *b)
{
    uint32_t half = h->head_dim / 2;
    float *host = malloc(half * sizeof *host);
    float *freq = host ? b->ops->alloc(b, half * sizeof *freq) : NULL;
    for (uint32_t i = 0; freq && i < half; i++)
        host[i] = (float)pow(h->rope_theta, -2.0 * i / h->head_dim);
    if (freq)
        b->ops->upload(b, freq, host, half * sizeof *freq);
    free(host);
    return freq;
}

enum status model_open(struct model **out, const struct checkpoint *checkpoint,
                       const struct model_plan *plan, struct backend *backend,
                       void (*progress)(void *arg, double fraction), void *arg,
                       struct error *error)
{
    struct dense_tensor tensors[LAYER_TENSORS_MAX];
    const struct hparams *h = &plan->hparams;
    struct model *m = calloc(1, sizeof *m);
    struct loader l = {.model = m, .checkpoint = checkpoint, .error = error};
    enum status status = STATUS_NO_MEMORY;
    if (!m)
        goto fail;
    m->arch = plan->arch;
    m->hparams = *h;
    m->backend = backend;
    m->dense_bytes = plan->dense_bytes;
    m->layers = calloc(h->layers, sizeof *m->layers);
    m->owned = calloc((size_t)h->layers * LAYER_TENSORS_MAX + OUTER_TENSORS_MAX, sizeof *m->owned);
    m->inv_freq = rope_frequencies(h, backend);
    if (!m->layers || !m->owned || !m->inv_freq)
        goto fail;
    status = load_all(&l, tensors, tensors_outer(h, tensors), m);
    for (uint32_t n = 0; n < h->layers && status == STATUS_OK; n++) {
        if (progress)
            progress(arg, (double)n / h->layers);
        m->layers[n].expert_dtype = expert_dtype(&l, n);
        status = load_all(&l, tensors, tensors_of_layer(m->arch, h, n, tensors), &m->layers[n]);
    }
    if (status != STATUS_OK)
        goto fail;
    if (h->tied_head)
        m->head = m->embedding;
    if (progress)
        progress(arg, 1);
    free(l.staging);
    *out = m;
    return STATUS_OK;
fail:
    free(l.staging);
    model_close(m);
    return error_set(error, status, "no memory for the model's tables");
}

void model_close(struct model *model)
{
    if (!model)
        return;
    for (uint32_t i = 0; i < model->owned_count; i++)
        model->backend->ops->release(model->backend, model->owned[i]);
    free(model->owned);
    free(model->layers);
    if (model->inv_freq)
        model->backend->ops->release(model->backend, model->inv_freq);
    free(model);
}
