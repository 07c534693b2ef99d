#include "engine/model/landing.h"

#include <stdlib.h>
#include <string.h>

#include "engine/model/expert_parts.h"
#include "engine/quant/packed.h"
#include "memory/base/check.h"

/* Values of a row that are encoded together: whole blocks of every format, small enough for sixteen
 * rows of them on the stack. */
#define PIECE_VALUES 256
#define PIECE_BYTES_MAX (PIECE_VALUES * 2) /* more than any block format takes */

struct landing {
    uint32_t experts;
    uint32_t forms;
    struct landing_form *form; /* [layers][EXPERT_PARTS] */
};

enum dtype landing_dtype(enum dtype from, uint32_t cols, enum dtype quantize)
{
    bool encodes = quantize != DTYPE_COUNT && dtype_is_plain(from) &&
                   cols % dtype_info(quantize)->block_values == 0;
    return encodes ? quantize : from;
}

bool landing_copies(const struct landing_form *form)
{
    return form->from == form->to && form->layout == LAYOUT_ROWS;
}

static size_t bytes_of(enum dtype dtype, uint64_t values)
{
    uint64_t bytes;
    CHECK(dtype_bytes(dtype, values, &bytes));
    return (size_t)bytes;
}

/* ---- encoding ---- */

/* Values [at, at + n) of a row, encoded. */
static void encode_piece(const struct landing_form *form, void *to, const uint8_t *row, uint32_t at,
                         uint32_t n)
{
    float values[PIECE_VALUES];
    dtype_decode(form->from, row + bytes_of(form->from, at), values, n);
    dtype_encode(form->to, values, to, n);
}

static uint32_t piece_at(const struct landing_form *form, uint32_t at)
{
    return form->cols - at < PIECE_VALUES ? form->cols - at : PIECE_VALUES;
}

static void encode_rows(const struct landing_form *form, uint8_t *to, const uint8_t *from)
{
    size_t from_bytes = bytes_of(form->from, form->cols), to_bytes = bytes_of(form->to, form->cols);
    for (uint32_t r = 0; r < form->rows; r++)
        for (uint32_t at = 0, n; at < form->cols; at += n) {
            n = piece_at(form, at);
            encode_piece(form, to + r * to_bytes + bytes_of(form->to, at), from + r * from_bytes,
                         at, n);
        }
}

/* A packed group is, field by field, what its pieces are, one behind the other: each piece is
 * packed as if it were a matrix of its own, and its fields are copied to where the whole group's
 * begin. */
static void encode_group(const struct landing_form *form, uint32_t rows, uint8_t *to,
                         const uint8_t *from)
{
    uint8_t pieces[PACKED_ROWS * PIECE_BYTES_MAX], packed[PACKED_ROWS * PIECE_BYTES_MAX];
    size_t row_bytes = bytes_of(form->from, form->cols);
    uint32_t fields, block = dtype_info(form->to)->block_values;
    const struct packed_field *field = packed_fields(form->to, &fields);
    for (uint32_t at = 0, n; at < form->cols; at += n) {
        n = piece_at(form, at);
        size_t piece_bytes = bytes_of(form->to, n);
        for (uint32_t r = 0; r < rows; r++)
            encode_piece(form, pieces + r * piece_bytes, from + r * row_bytes, at, n);
        packed_pack(form->to, pieces, packed, rows, n);
        for (uint32_t f = 0; f < fields; f++) {
            size_t each =
                (size_t)field[f].units * field[f].unit_bytes * rows; /* of a block column */
            memcpy(to + packed_field_offset(form->to, f, rows, form->cols) + at / block * each,
                   packed + packed_field_offset(form->to, f, rows, n), n / block * each);
        }
    }
}

static void encode_packed(const struct landing_form *form, uint8_t *to, const uint8_t *from)
{
    size_t from_bytes = bytes_of(form->from, form->cols), to_bytes = bytes_of(form->to, form->cols);
    for (uint32_t r = 0; r < form->rows; r += PACKED_ROWS) {
        uint32_t rows = form->rows - r < PACKED_ROWS ? form->rows - r : PACKED_ROWS;
        encode_group(form, rows, to + r * to_bytes, from + r * from_bytes);
    }
}

void landing_matrix(const struct landing_form *form, void *to, const void *from)
{
    if (landing_copies(form))
        memcpy(to, from, form->rows * bytes_of(form->from, form->cols));
    else if (form->from == form->to)
        packed_pack(form->to, from, to, form->rows, form->cols);
    else if (form->layout == LAYOUT_ROWS)
        encode_rows(form, to, from);
    else
        encode_packed(form, to, from);
}

/* ---- pages ---- */

enum status landing_layout(const struct checkpoint *checkpoint, const struct backend *backend,
                           enum dtype dtype, enum weight_layout *out, struct error *error)
{
    if (backend->ops->layout(backend, dtype, out))
        return STATUS_OK;
    return error_set(error, STATUS_UNSUPPORTED,
                     "%s: weights of type %s are not supported by the %s kernels",
                     checkpoint_path(checkpoint), dtype_info(dtype)->name, backend->ops->name);
}

/* The parts of a layer's experts, which all have the first one's formats (plan.c has made sure). */
static enum status layer_forms(const struct checkpoint *checkpoint, const struct model_plan *plan,
                               uint32_t layer, struct landing_form form[EXPERT_PARTS],
                               struct error *error)
{
    struct expert_parts parts;
    enum status status = expert_parts_find(checkpoint, plan->arch, &plan->hparams, layer, 0, &parts,
                                           error);
    for (int i = 0; i < EXPERT_PARTS && status == STATUS_OK; i++)
        form[i] = (struct landing_form){
            .from = parts.dtype[i],
            .to = landing_dtype(parts.dtype[i], parts.cols[i], plan->quantize),
            .layout = LAYOUT_ROWS,
            .rows = parts.rows[i],
            .cols = parts.cols[i]};
    return status;
}

static enum status settle_forms(const struct checkpoint *checkpoint, const struct backend *backend,
                                struct landing_form *form, uint32_t count, struct error *error)
{
    enum status status = STATUS_OK;
    for (uint32_t i = 0; i < count && status == STATUS_OK; i++)
        status = landing_layout(checkpoint, backend, form[i].to, &form[i].layout, error);
    return status;
}

enum status landing_open(struct landing **out, const struct checkpoint *checkpoint,
                         const struct model_plan *plan, struct error *error)
{
    const struct hparams *h = &plan->hparams;
    enum status status = STATUS_OK;
    struct landing *l = calloc(1, sizeof *l);
    if (l)
        l->form = calloc((size_t)h->layers * EXPERT_PARTS, sizeof *l->form);
    if (!l || !l->form) {
        landing_close(l);
        return error_set(error, STATUS_NO_MEMORY, "no memory for %u layers", h->layers);
    }
    l->experts = h->experts;
    l->forms = h->layers * EXPERT_PARTS;
    for (uint32_t n = 0; n < h->layers && status == STATUS_OK; n++)
        status = layer_forms(checkpoint, plan, n, l->form + (size_t)n * EXPERT_PARTS, error);
    if (status != STATUS_OK) {
        landing_close(l);
        return status;
    }
    *out = l;
    return STATUS_OK;
}

enum status landing_settle(struct landing *landing, const struct checkpoint *checkpoint,
                           const struct backend *backend, struct error *error)
{
    return settle_forms(checkpoint, backend, landing->form, landing->forms, error);
}

void landing_close(struct landing *landing)
{
    if (!landing)
        return;
    free(landing->form);
    free(landing);
}

static void land_part(void *self, page_id page, uint32_t part, uint8_t *to, const uint8_t *from)
{
    const struct landing *l = self;
    landing_matrix(&l->form[(size_t)(page / l->experts) * EXPERT_PARTS + part], to, from);
}

struct page_landing landing_of_pages(struct landing *landing)
{
    bool copies = true;
    for (uint32_t i = 0; i < landing->forms; i++)
        copies &= landing_copies(&landing->form[i]);
    return (struct page_landing){.self = landing, .part = copies ? NULL : land_part};
}

static struct tensor tensor_of(const struct landing_form *form)
{
    return (struct tensor){.dtype = form->to, .rows = form->rows, .cols = form->cols,
                           .layout = form->layout};
}

enum status landing_expert_tensors(const struct checkpoint *checkpoint,
                                   const struct model_plan *plan, const struct backend *backend,
                                   uint32_t layer, struct expert_tensors *out,
                                   struct error *error)
{
    struct landing_form form[EXPERT_PARTS];
    enum status status = layer_forms(checkpoint, plan, layer, form, error);
    if (status == STATUS_OK)
        status = settle_forms(checkpoint, backend, form, EXPERT_PARTS, error);
    if (status == STATUS_OK)
        *out = (struct expert_tensors){.gate = tensor_of(&form[EXPERT_GATE]),
                                       .up = tensor_of(&form[EXPERT_UP]),
                                       .down = tensor_of(&form[EXPERT_DOWN])};
    return status;
}
