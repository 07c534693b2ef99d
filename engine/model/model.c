/* Loading of dense weights, a few megabytes at a time, so that little more memory is held than what
 * they will take. Matrices land as experts do (landing.h); norms and biases become f32. */
#include "engine/model/model.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "engine/model/arch.h"
#include "engine/model/landing.h"
#include "engine/model/tensors.h"
#include "engine/quant/packed.h"
#include "memory/base/check.h"
#include "memory/base/log.h"

/* So much of a matrix is read, landed and given to the backend at a time. */
#define PIECE_BYTES (4u << 20)

struct loader {
    struct model *model;
    const struct checkpoint *checkpoint;
    const struct model_plan *plan;
    void *read, *landed; /* host memory for a piece as it is in the file, and as it will be */
    uint64_t read_bytes, landed_bytes;
    struct error *error;
};

static enum status make_room(struct loader *l, void **room, uint64_t *have, uint64_t bytes)
{
    if (bytes <= *have)
        return STATUS_OK;
    free(*room);
    *room = malloc(bytes);
    *have = *room ? bytes : 0;
    return *room ? STATUS_OK
                 : error_set(l->error, STATUS_NO_MEMORY, "no memory to load weights");
}

/* Backend memory that the model owns. */
static enum status allocate(struct loader *l, const char *name, uint64_t bytes, void **out)
{
    struct backend *b = l->model->backend;
    *out = b->ops->alloc(b, bytes);
    if (!*out)
        return error_set(l->error, STATUS_NO_MEMORY, "no memory for %s (%llu bytes)", name,
                         (unsigned long long)bytes);
    l->model->owned[l->model->owned_count++] = (struct model_piece){*out, bytes};
    return STATUS_OK;
}

/* Rows of `bytes` each, heads of `head` rows: in the file row 2i of a head is its row i, and
 * row 2i + 1 its row i + head / 2. */
static void put_halves_back(uint8_t *to, const uint8_t *from, uint32_t rows, uint32_t head,
                            size_t bytes)
{
    for (uint32_t r = 0; r < rows; r++) {
        uint32_t in_head = r % head;
        uint32_t at = in_head < head / 2 ? 2 * in_head : 2 * (in_head - head / 2) + 1;
        memcpy(to + r * bytes, from + (r - in_head + at) * bytes, bytes);
    }
}

static enum status load_vector(struct loader *l, const struct dense_tensor *want,
                               const struct checkpoint_tensor *t, const float **field)
{
    struct backend *b = l->model->backend;
    uint64_t bytes = (uint64_t)want->rows * sizeof(float);
    void *data = NULL;
    enum status status = make_room(l, &l->read, &l->read_bytes, bytes);
    if (status == STATUS_OK)
        status = make_room(l, &l->landed, &l->landed_bytes, bytes);
    if (status == STATUS_OK)
        status = checkpoint_read_f32(l->checkpoint, t, l->read, l->error);
    if (status == STATUS_OK)
        status = allocate(l, want->name, bytes, &data);
    if (status != STATUS_OK)
        return status;
    if (want->head_rows)
        put_halves_back(l->landed, l->read, want->rows, want->head_rows, sizeof(float));
    b->ops->upload(b, data, want->head_rows ? l->landed : l->read, bytes);
    *field = data;
    return STATUS_OK;
}

/* Rows first .. first + form->rows of a tensor, read, put in order, landed and uploaded. */
static enum status load_rows(struct loader *l, const struct dense_tensor *want,
                             const struct checkpoint_tensor *t, const struct landing_form *form,
                             uint32_t first, uint8_t *data)
{
    struct backend *b = l->model->backend;
    uint64_t from_row = t->bytes / want->rows, to_row = 0;
    CHECK(dtype_bytes(form->to, form->cols, &to_row));
    struct checkpoint_tensor part = *t;
    part.offset += first * from_row;
    part.bytes = form->rows * from_row;
    uint64_t landed = form->rows * (to_row > from_row ? to_row : from_row);
    enum status status = make_room(l, &l->read, &l->read_bytes, landed);
    if (status == STATUS_OK)
        status = make_room(l, &l->landed, &l->landed_bytes, landed);
    if (status == STATUS_OK)
        status = checkpoint_read(l->checkpoint, &part, l->read, l->error);
    if (status != STATUS_OK)
        return status;
    void *from = l->read, *to = l->landed;
    if (want->head_rows) {
        put_halves_back(to, from, form->rows, want->head_rows, from_row);
        from = l->landed;
        to = l->read;
    }
    if (!landing_copies(form))
        landing_matrix(form, to, from);
    b->ops->upload(b, data + first * to_row, landing_copies(form) ? from : to,
                   form->rows * to_row);
    return STATUS_OK;
}

/* Whole groups of rows, and whole heads where heads are put in order. */
static uint32_t rows_at_once(const struct dense_tensor *want, uint64_t row_bytes)
{
    uint64_t unit = (uint64_t)PACKED_ROWS * (want->head_rows ? want->head_rows : 1);
    uint64_t units = PIECE_BYTES / (unit * row_bytes);
    uint64_t rows = unit * (units > 0 ? units : 1);
    return rows < want->rows ? (uint32_t)rows : want->rows;
}

static enum status load_matrix(struct loader *l, const struct dense_tensor *want,
                               const struct checkpoint_tensor *t, struct tensor *out)
{
    struct landing_form form = {.from = t->dtype, .to = t->dtype, .cols = want->cols};
    void *data = NULL;
    uint64_t bytes = 0;
    if (want->use == TENSOR_WEIGHTS)
        form.to = landing_dtype(t->dtype, want->cols, l->plan->quantize);
    enum status status = landing_layout(l->checkpoint, l->model->backend, form.to, &form.layout,
                                        l->error);
    if (want->use == TENSOR_TABLE)
        form.layout = LAYOUT_ROWS;
    CHECK(dtype_bytes(form.to, (uint64_t)want->rows * want->cols, &bytes));
    if (status == STATUS_OK)
        status = allocate(l, want->name, bytes, &data);
    uint32_t at_once = rows_at_once(want, t->bytes / want->rows);
    for (uint32_t r = 0; r < want->rows && status == STATUS_OK; r += at_once) {
        form.rows = want->rows - r < at_once ? want->rows - r : at_once;
        status = load_rows(l, want, t, &form, r, data);
    }
    *out = (struct tensor){.data = data, .dtype = form.to, .rows = want->rows, .cols = want->cols,
                           .layout = form.layout};
    return status;
}

/* Fills the field of `owner` (a struct layer or a struct model) that `want` names. */
static enum status load_one(struct loader *l, const struct dense_tensor *want, void *owner)
{
    const struct checkpoint_tensor *t;
    void *field = (char *)owner + want->field;
    enum status status = checkpoint_need(l->checkpoint, want->name, want->rows, want->cols, 0, &t,
                                         l->error);
    if (status != STATUS_OK)
        return status;
    return want->cols == 0 ? load_vector(l, want, t, field) : load_matrix(l, want, t, field);
}

static enum status load_all(struct loader *l, const struct dense_tensor *tensors, uint32_t n,
                            void *owner)
{
    enum status status = STATUS_OK;
    for (uint32_t i = 0; i < n && status == STATUS_OK; i++)
        status = load_one(l, &tensors[i], owner);
    return status;
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
    struct loader l = {.model = m, .checkpoint = checkpoint, .plan = plan, .error = error};
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
        status = landing_expert_tensors(checkpoint, plan, backend, n, &m->layers[n].moe.expert,
                                        error);
        if (status == STATUS_OK)
            status = load_all(&l, tensors, tensors_of_layer(m->arch, h, n, tensors),
                              &m->layers[n]);
    }
    if (status != STATUS_OK)
        goto fail;
    if (h->tied_head)
        m->head = m->embedding;
    if (progress)
        progress(arg, 1);
    free(l.read);
    free(l.landed);
    *out = m;
    return STATUS_OK;
fail:
    free(l.read);
    free(l.landed);
    model_close(m);
    return error_set(error, status, "no memory for the model's tables");
}

void model_lock(const struct model *model)
{
    for (uint32_t i = 0; i < model->owned_count; i++)
        if (mlock(model->owned[i].data, model->owned[i].bytes) != 0) {
            log_info(
                "dense weights are not locked in memory: %s; raise 'ulimit -l' if this machine "
                "swaps",
                strerror(errno));
            return;
        }
}

void model_close(struct model *model)
{
    if (!model)
        return;
    for (uint32_t i = 0; i < model->owned_count; i++)
        model->backend->ops->release(model->backend, model->owned[i].data);
    free(model->owned);
    free(model->layers);
    if (model->inv_freq)
        model->backend->ops->release(model->backend, model->inv_freq);
    free(model);
}
