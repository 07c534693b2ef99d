/* What a model will need, from its headers alone: every tensor found with its right shape, every
 * expert page given to the store, bytes and parameters summed. Nothing is loaded here, so that a
 * wrong file or a budget too small is told before minutes of reading. */
#include <stdio.h>

#include "engine/model/arch.h"
#include "engine/model/model.h"
#include "engine/model/tensors.h"
#include "memory/base/bytes.h"

struct planner {
    const struct checkpoint *checkpoint;
    struct store *store;
    struct model_plan *plan;
    struct error *error;
};

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
        p->plan->parameters += values;
        p->plan->dense_bytes += bytes_align_up(vector ? values * sizeof(float) : t->bytes, 64);
    }
    return STATUS_OK;
}

/* The three parts of one expert, from three tensors or from slices of two fused ones. */
static enum status find_parts(struct planner *p, uint32_t layer, uint32_t expert,
                              struct page_part parts[3], enum dtype *dtype)
{
    const struct hparams *h = &p->plan->hparams;
    const struct arch_names *names = p->plan->arch->names;
    const struct checkpoint_tensor *t[3];
    char prefix[48], name[200], fused[2][200];
    snprintf(prefix, sizeof prefix, "model.layers.%u.", layer);
    snprintf(fused[0], sizeof fused[0], "%s%s", prefix, names->fused_gate_up);
    snprintf(fused[1], sizeof fused[1], "%s%s", prefix, names->fused_down);
    uint64_t f = h->expert_width;
    bool is_fused = checkpoint_find(p->checkpoint, fused[0]) != NULL;
    enum status status;
    if (is_fused) {
        status = checkpoint_need(p->checkpoint, fused[0], h->experts, 2 * f, h->hidden, &t[0],
                                 p->error);
        if (status == STATUS_OK)
            status = checkpoint_need(p->checkpoint, fused[1], h->experts, h->hidden, f, &t[2],
                                     p->error);
        t[1] = t[0];
    } else {
        const char *const formats[3] = {names->gate, names->up, names->down};
        status = STATUS_OK;
        for (int i = 0; i < 3 && status == STATUS_OK; i++) {
            int used = snprintf(name, sizeof name, "%s", prefix);
            snprintf(name + used, sizeof name - (size_t)used, formats[i], expert);
            status = checkpoint_need(p->checkpoint, name, i == 2 ? h->hidden : f,
                                     i == 2 ? f : h->hidden, 0, &t[i], p->error);
        }
    }
    if (status != STATUS_OK)
        return status;
    if (t[1]->dtype != t[0]->dtype || t[2]->dtype != t[0]->dtype)
        return error_set(p->error, STATUS_UNSUPPORTED,
                         "%s: %s: one expert's matrices have different types (%s, %s, %s)",
                         checkpoint_path(p->checkpoint), t[0]->name, dtype_info(t[0]->dtype)->name,
                         dtype_info(t[1]->dtype)->name, dtype_info(t[2]->dtype)->name);
    *dtype = t[0]->dtype;
    uint64_t one = is_fused ? t[2]->bytes / h->experts : t[2]->bytes;
    for (int i = 0; i < 3; i++)
        parts[i] = (struct page_part){
            .file = t[i]->file,
            .offset = t[i]->offset + (!is_fused ? 0
                                      : i == 2 ? expert * one : (2 * (uint64_t)expert + i) * one),
            .bytes = one,
        };
    return STATUS_OK;
}

/* More in the file than the configuration says: fewer layers or experts would compute fluent nonsense. */
static enum status refuse_leftovers(struct planner *p)
{
    const struct hparams *h = &p->plan->hparams;
    char name[200], expert[160];
    snprintf(name, sizeof name, "model.layers.%u.input_layernorm.weight", h->layers);
    if (checkpoint_find(p->checkpoint, name))
        return error_set(p->error, STATUS_INVALID,
                         "%s: config.json: num_hidden_layers %u, but the file has %s",
                         checkpoint_path(p->checkpoint), h->layers, name);
    snprintf(expert, sizeof expert, p->plan->arch->names->gate, h->experts);
    snprintf(name, sizeof name, "model.layers.0.%s", expert);
    if (checkpoint_find(p->checkpoint, name))
        return error_set(p->error, STATUS_INVALID,
                         "%s: config.json: %u experts a layer, but the file has %s",
                         checkpoint_path(p->checkpoint), h->experts, name);
    return STATUS_OK;
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
        enum dtype first = DTYPE_F32, dtype = DTYPE_F32;
        for (uint32_t e = 0; e < h->experts && status == STATUS_OK; e++) {
            struct page_part parts[3];
            page_id page;
            status = find_parts(p, l, e, parts, &dtype);
            if (status == STATUS_OK && e == 0)
                first = dtype;
            if (status == STATUS_OK && dtype != first)
                status = error_set(p->error, STATUS_UNSUPPORTED,
                                   "%s: layer %u: experts of different types (%s, %s)",
                                   checkpoint_path(p->checkpoint), l, dtype_info(first)->name,
                                   dtype_info(dtype)->name);
            if (status == STATUS_OK)
                status = store_add_page(p->store, parts, 3, &page, p->error);
        }
    }
    return status == STATUS_OK ? store_seal(p->store, p->error) : status;
}

enum status model_plan(const struct checkpoint *checkpoint, struct store *store,
                       struct model_plan *out, struct error *error)
{
    struct planner p = {.checkpoint = checkpoint, .store = store, .plan = out, .error = error};
    *out = (struct model_plan){0};
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
    if (status != STATUS_OK)
        return status;
    uint64_t expert = 3 * (uint64_t)h->hidden * h->expert_width;
    out->active_parameters = out->parameters + expert * h->layers * h->router.top_k;
    out->parameters += expert * h->layers * h->experts;
    return STATUS_OK;
}
