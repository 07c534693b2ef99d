#include "engine/model/expert_parts.h"

#include <stdio.h>
#include <string.h>

#define NAME_MAX_BYTES 200

/* GGUF's own fused spelling, whatever the architecture. */
static const char stacked_gate_up[] = "mlp.experts.gate_up_proj";
static const char *const stacked[EXPERT_PARTS] = {"mlp.experts.gate_proj.weight",
                                                  "mlp.experts.up_proj.weight",
                                                  "mlp.experts.down_proj.weight"};

struct finder {
    const struct checkpoint *checkpoint;
    const struct hparams *hparams;
    uint32_t layer, expert;
    struct expert_parts *out;
    struct error *error;
};

static void layer_name(const struct finder *f, const char *inner, char out[NAME_MAX_BYTES])
{
    snprintf(out, NAME_MAX_BYTES, "model.layers.%u.%s", f->layer, inner);
}

static bool has(const struct finder *f, const char *inner)
{
    char name[NAME_MAX_BYTES];
    layer_name(f, inner, name);
    return checkpoint_find(f->checkpoint, name) != NULL;
}

/* A slice of a tensor [E][...]: the `index`-th of `slices` equal ones. */
static enum status take_slice(struct finder *f, enum expert_part part, const char *inner,
                              uint64_t slices_each, uint64_t index)
{
    const struct hparams *h = f->hparams;
    struct expert_parts *out = f->out;
    const struct checkpoint_tensor *t;
    char name[NAME_MAX_BYTES];
    layer_name(f, inner, name);
    enum status status = checkpoint_need(f->checkpoint, name, h->experts,
                                         slices_each * out->rows[part], out->cols[part], &t,
                                         f->error);
    if (status != STATUS_OK)
        return status;
    uint64_t one = t->bytes / h->experts / slices_each;
    out->part[part] = (struct page_part){
        .file = t->file, .offset = t->offset + (f->expert * slices_each + index) * one,
        .bytes = one};
    out->dtype[part] = t->dtype;
    out->name = part == EXPERT_GATE ? t->name : out->name;
    return STATUS_OK;
}

/* A tensor of its own. */
static enum status take_one(struct finder *f, enum expert_part part, const char *format)
{
    struct expert_parts *out = f->out;
    const struct checkpoint_tensor *t;
    char inner[NAME_MAX_BYTES - 40], name[NAME_MAX_BYTES];
    snprintf(inner, sizeof inner, format, f->expert);
    layer_name(f, inner, name);
    enum status status = checkpoint_need(f->checkpoint, name, out->rows[part], out->cols[part], 0,
                                         &t, f->error);
    if (status != STATUS_OK)
        return status;
    out->part[part] = (struct page_part){.file = t->file, .offset = t->offset, .bytes = t->bytes};
    out->dtype[part] = t->dtype;
    out->name = part == EXPERT_GATE ? t->name : out->name;
    return STATUS_OK;
}

static enum status take_fused(struct finder *f, const char *gate_up, const char *down)
{
    bool down_is_stacked = !has(f, down) && has(f, stacked[EXPERT_DOWN]);
    enum status status = take_slice(f, EXPERT_GATE, gate_up, 2, 0);
    if (status == STATUS_OK)
        status = take_slice(f, EXPERT_UP, gate_up, 2, 1);
    if (status == STATUS_OK)
        status = take_slice(f, EXPERT_DOWN, down_is_stacked ? stacked[EXPERT_DOWN] : down, 1, 0);
    return status;
}

static enum status take_parts(struct finder *f, const struct arch_names *names)
{
    if (has(f, names->fused_gate_up))
        return take_fused(f, names->fused_gate_up, names->fused_down);
    if (has(f, stacked_gate_up))
        return take_fused(f, stacked_gate_up, stacked[EXPERT_DOWN]);
    const char *const one[EXPERT_PARTS] = {names->gate, names->up, names->down};
    bool is_stacked = has(f, stacked[EXPERT_GATE]);
    char gate[NAME_MAX_BYTES - 40];
    snprintf(gate, sizeof gate, names->gate, f->expert);
    if (!is_stacked && names->fused_at_home && !has(f, gate))
        return take_fused(f, names->fused_gate_up, names->fused_down);
    enum status status = STATUS_OK;
    for (int i = 0; i < EXPERT_PARTS && status == STATUS_OK; i++)
        status = is_stacked ? take_slice(f, (enum expert_part)i, stacked[i], 1, 0)
                            : take_one(f, (enum expert_part)i, one[i]);
    return status;
}

enum status expert_parts_find(const struct checkpoint *checkpoint, const struct arch *arch,
                              const struct hparams *h, uint32_t layer, uint32_t expert,
                              struct expert_parts *out, struct error *error)
{
    struct finder f = {.checkpoint = checkpoint, .hparams = h, .layer = layer, .expert = expert,
                       .out = out, .error = error};
    *out = (struct expert_parts){
        .rows = {h->expert_width, h->expert_width, h->hidden},
        .cols = {h->hidden, h->hidden, h->expert_width},
    };
    enum status status = take_parts(&f, arch->names);
    for (int i = 0; i < EXPERT_PARTS && status == STATUS_OK; i++) {
        const struct dtype_info *info = dtype_info(out->dtype[i]);
        if (out->cols[i] % info->block_values != 0)
            status = error_set(error, STATUS_INVALID,
                               "%s: %s: rows of %u values are no whole blocks of %s (%u values)",
                               checkpoint_path(checkpoint), out->name, out->cols[i], info->name,
                               info->block_values);
    }
    return status;
}
