/* What a model will need, from its headers alone: every tensor found with its right shape, every
 * expert page given to the store, bytes and parameters summed. Nothing is loaded here, so that a
 * wrong file or a budget too small is told before minutes of reading. */
#include <stdio.h>

#include "engine/model/arch.h"
#include "engine/model/expert_parts.h"
#include "engine/model/landing.h"
#include "engine/model/model.h"
#include "engine/model/tensors.h"
#include "memory/base/bytes.h"

struct planner {
    const struct checkpoint *checkpoint;
    struct store *store;
    struct model_plan *plan;
    struct error *error;
};

/* A matrix that will be in memory: what it becomes and how many bytes that takes. */
static uint64_t count_matrix(struct planner *p, enum dtype from, enum tensor_use use, uint64_t rows,
                             uint32_t cols, enum dtype *to)
{
    struct model_plan *plan = p->plan;
    uint64_t bytes = 0;
    *to = use == TENSOR_WEIGHTS ? landing_dtype(from, cols, plan->quantize) : from;
    dtype_bytes(*to, rows * cols, &bytes); /* of whole blocks, as the file's were */
    plan->dtypes |= 1u << *to;
    plan->cols_max = cols > plan->cols_max ? cols : plan->cols_max;
    if (plan->quantize != DTYPE_COUNT && use == TENSOR_WEIGHTS && dtype_is_plain(from))
        *(*to == plan->quantize ? &plan->encoded : &plan->kept) += 1;
    return bytes;
}

static enum status count_dense(struct planner *p, const struct dense_tensor *tensors, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        const struct dense_tensor *want = &tensors[i];
        const struct checkpoint_tensor *t;
        enum status status = checkpoint_need(p->checkpoint, want->name, want->rows, want->cols, 0,
                                             &t, p->error);
        if (status != STATUS_OK)
            return status;
        bool vector = want->cols == 0;
        uint64_t values = (uint64_t)want->rows * (vector ? 1 : want->cols);
        uint64_t bytes = values * sizeof(float);
        const struct dtype_info *info = dtype_info(t->dtype);
        enum dtype to;
        if (!vector && want->cols % info->block_values != 0)
            return error_set(p->error, STATUS_INVALID,
                             "%s: %s: rows of %u values are no whole blocks of %s (%u values)",
                             checkpoint_path(p->checkpoint), want->name, want->cols, info->name,
                             info->block_values);
        if (!vector)
            bytes = count_matrix(p, t->dtype, want->use, want->rows, want->cols, &to);
        p->plan->parameters += values;
        p->plan->dense_bytes += bytes_align_up(bytes, 64);
    }
    return STATUS_OK;
}

/* More in the file than the configuration says: fewer layers or experts would compute fluent
 * nonsense. */
static enum status refuse_leftovers(struct planner *p)
{
    const struct hparams *h = &p->plan->hparams;
    char name[200], expert[160], shown[CHECKPOINT_KEY_BYTES];
    snprintf(name, sizeof name, "model.layers.%u.input_layernorm.weight", h->layers);
    if (checkpoint_find(p->checkpoint, name))
        return error_set(p->error, STATUS_INVALID, "%s: %s %u, but the file has %s",
                         checkpoint_path(p->checkpoint),
                         checkpoint_key_shown(p->checkpoint, "num_hidden_layers", shown), h->layers,
                         name);
    snprintf(expert, sizeof expert, p->plan->arch->names->gate, h->experts);
    snprintf(name, sizeof name, "model.layers.0.%s", expert);
    if (checkpoint_find(p->checkpoint, name))
        return error_set(p->error, STATUS_INVALID,
                         "%s: %u experts a layer, but the file has %s",
                         checkpoint_path(p->checkpoint), h->experts, name);
    return STATUS_OK;
}

/* All experts of a layer are computed by the same kernels. */
static enum status compare_types(struct planner *p, uint32_t layer,
                                 const struct expert_parts *first, const struct expert_parts *parts)
{
    for (int i = 0; i < EXPERT_PARTS; i++)
        if (parts->dtype[i] != first->dtype[i])
            return error_set(p->error, STATUS_UNSUPPORTED,
                             "%s: layer %u: experts of different types (%s in %s, %s in %s)",
                             checkpoint_path(p->checkpoint), layer,
                             dtype_info(first->dtype[i])->name, first->name,
                             dtype_info(parts->dtype[i])->name, parts->name);
    return STATUS_OK;
}

static enum status add_page(struct planner *p, struct expert_parts *parts)
{
    page_id page;
    for (int i = 0; i < EXPERT_PARTS; i++) {
        enum dtype to;
        parts->part[i].slot_bytes = count_matrix(p, parts->dtype[i], TENSOR_WEIGHTS,
                                                 parts->rows[i], parts->cols[i], &to);
        p->plan->expert_dtypes |= 1u << to;
    }
    return store_add_page(p->store, parts->part, EXPERT_PARTS, &page, p->error);
}

static enum status add_pages(struct planner *p)
{
    const struct hparams *h = &p->plan->hparams;
    enum status status = STATUS_OK;
    for (uint32_t i = 0; i < checkpoint_files(p->checkpoint) && status == STATUS_OK; i++) {
        uint32_t file;
        status = store_add_file(p->store, checkpoint_file_path(p->checkpoint, i), &file, p->error);
    }
    for (uint32_t l = 0; l < h->layers; l++) {
        struct expert_parts first, parts;
        for (uint32_t e = 0; e < h->experts && status == STATUS_OK; e++) {
            status = expert_parts_find(p->checkpoint, p->plan->arch, h, l, e, &parts, p->error);
            if (e == 0)
                first = parts;
            if (status == STATUS_OK)
                status = compare_types(p, l, &first, &parts);
            if (status == STATUS_OK)
                status = add_page(p, &parts);
        }
    }
    return status == STATUS_OK ? store_seal(p->store, p->error) : status;
}

enum status model_plan(const struct checkpoint *checkpoint, struct store *store,
                       enum dtype quantize, struct model_plan *out, struct error *error)
{
    struct planner p = {.checkpoint = checkpoint, .store = store, .plan = out, .error = error};
    *out = (struct model_plan){.quantize = quantize};
    struct hparams *h = &out->hparams;
    enum status status = arch_find(checkpoint, &out->arch, error);
    if (status == STATUS_OK)
        status = hparams_read(checkpoint, h, error);
    if (status == STATUS_OK)
        status = out->arch->read(checkpoint, h, error);
    if (status != STATUS_OK)
        return status;
    /* A head of its own wins over the flag: files exist that say tied and carry one. */
    if (checkpoint_find(checkpoint, "lm_head.weight"))
        h->tied_head = false;
    struct dense_tensor tensors[LAYER_TENSORS_MAX];
    status = count_dense(&p, tensors, tensors_outer(h, tensors));
    for (uint32_t l = 0; l < h->layers && status == STATUS_OK; l++)
        status = count_dense(&p, tensors, tensors_of_layer(out->arch, h, l, tensors));
    if (status == STATUS_OK)
        status = refuse_leftovers(&p);
    if (status == STATUS_OK)
        status = add_pages(&p);
    if (status == STATUS_OK && quantize != DTYPE_COUNT && out->encoded == 0)
        status = error_set(error, STATUS_INVALID,
                           "%s: no matrix can be encoded as %s while it is read: none has plain "
                           "numbers in rows of whole blocks (%u values)",
                           checkpoint_path(checkpoint), dtype_info(quantize)->name,
                           dtype_info(quantize)->block_values);
    if (status != STATUS_OK)
        return status;
    uint64_t expert = 3 * (uint64_t)h->hidden * h->expert_width;
    out->active_parameters = out->parameters + expert * h->layers * h->router.top_k;
    out->parameters += expert * h->layers * h->experts;
    return STATUS_OK;
}
