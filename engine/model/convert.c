/* Carries a model's weights over, piece by piece: a piece is some rows of one matrix, read, turned
 * into its new format by the landing that loading uses, and put where it belongs. Owns the list of
 * what goes where; convert_header.c writes the metadata. */
#include "engine/model/convert.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "engine/backend/cpu/cpu_threads.h"
#include "engine/load/crc32c.h"
#include "engine/load/gguf_arch.h"
#include "engine/load/gguf_writer.h"
#include "engine/load/model_file.h"
#include "engine/model/convert_header.h"
#include "engine/model/expert_parts.h"
#include "engine/model/landing.h"
#include "engine/model/tensors.h"
#include "engine/quant/packed.h"
#include "memory/base/bytes.h"
#include "memory/base/check.h"

#define PIECE_BYTES ((uint64_t)8 << 20) /* read at once, at most, but for a single row */
#define PAGE_ALIGNMENT 4096
#define PARTS_OF_PIECE 64               /* that threads share */

/* Rows on their way. `from` of the file, `to` where the new format begins in the tensor. */
struct carried {
    uint32_t file;
    uint64_t from;
    uint32_t tensor;
    uint64_t to;
    struct landing_form form;
    uint32_t head_rows;  /* > 0: put the halves of each so many rows side by side */
    uint32_t expert;     /* of all layers; UINT32_MAX: dense */
};

struct converter {
    const struct checkpoint *checkpoint;
    const struct convert_config *config;
    struct model_plan plan;
    struct store *store;
    struct gguf_writer *writer;
    struct cpu_threads *threads;
    struct carried *list;
    uint32_t count, capacity;
    uint64_t bytes, done;
    uint32_t *crc;       /* [layers * experts] by expert; NULL: stacked */
    uint8_t *in, *turned, *out;
    struct error *error;
};

/* ---- what goes where ---- */

static struct carried *carry(struct converter *c)
{
    if (c->count == c->capacity) {
        uint32_t capacity = c->capacity ? 2 * c->capacity : 1024;
        struct carried *larger = reallocarray(c->list, capacity, sizeof *larger);
        if (!larger) {
            error_set(c->error, STATUS_NO_MEMORY, "no memory for the list of %u matrices",
                      capacity);
            return NULL;
        }
        c->list = larger;
        c->capacity = capacity;
    }
    return &c->list[c->count++];
}

static enum status own_name(const struct converter *c, const char *here, char *out)
{
    const struct gguf_arch *arch = gguf_arch_of_model_type(c->plan.arch->name);
    if (arch && gguf_arch_own(arch, here, out))
        return STATUS_OK;
    return error_set(c->error, STATUS_UNSUPPORTED, "%s: %s has no name in GGUF files of %s",
                     checkpoint_path(c->checkpoint), here, c->plan.arch->name);
}

static enum status add_dense(struct converter *c, const struct dense_tensor *tensors, uint32_t n)
{
    const struct hparams *h = &c->plan.hparams;
    for (uint32_t i = 0; i < n; i++) {
        const struct dense_tensor *want = &tensors[i];
        const struct checkpoint_tensor *t;
        char name[GGUF_ARCH_NAME_BYTES];
        struct carried *to = carry(c);
        enum status status = to ? own_name(c, want->name, name) : STATUS_NO_MEMORY;
        if (status == STATUS_OK)
            status = checkpoint_need(c->checkpoint, want->name, want->rows, want->cols, 0, &t,
                                     c->error);
        if (status != STATUS_OK)
            return status;
        bool vector = want->cols == 0;
        uint64_t dim[2] = {want->rows, want->cols}, bytes;
        *to = (struct carried){
            .file = t->file, .from = t->offset, .expert = UINT32_MAX,
            .form = {.from = t->dtype, .to = DTYPE_F32, .rows = want->rows,
                     .cols = vector ? 1 : want->cols}};
        if (!vector)
            to->form.to = want->use == TENSOR_WEIGHTS
                              ? landing_dtype(t->dtype, want->cols, c->config->quantize)
                              : t->dtype;
        /* Files of Hugging Face have the halves of a head one behind the other. */
        if (gguf_arch_of_model_type(c->plan.arch->name)->interleaved && !h->rope_interleaved)
            to->head_rows = convert_head_rows(h, want->name);
        to->tensor = gguf_writer_tensor(c->writer, name, to->form.to, vector ? 1 : 2, dim, &bytes);
        c->bytes += bytes;
    }
    return STATUS_OK;
}

/* The tensor of part `part` of an expert (by expert), or of all experts of the layer. */
static enum status expert_tensor(struct converter *c, uint32_t layer, uint32_t expert,
                                 enum expert_part part, const struct landing_form *form,
                                 uint32_t *tensor)
{
    static const char *const words[EXPERT_PARTS] = {"gate", "up", "down"};
    char name[64];
    uint64_t dim[3] = {c->plan.hparams.experts, form->rows, form->cols}, bytes;
    if (c->config->by_expert)
        snprintf(name, sizeof name, "blk.%u.ffn_%s.%u.weight", layer, words[part], expert);
    else
        snprintf(name, sizeof name, "blk.%u.ffn_%s_exps.weight", layer, words[part]);
    *tensor = gguf_writer_tensor(c->writer, name, form->to, c->config->by_expert ? 2 : 3,
                                 c->config->by_expert ? dim + 1 : dim, &bytes);
    c->bytes += bytes;
    return STATUS_OK;
}

static enum status add_experts(struct converter *c, uint32_t layer)
{
    const struct hparams *h = &c->plan.hparams;
    uint32_t tensor[EXPERT_PARTS] = {0};
    for (uint32_t e = 0; e < h->experts; e++) {
        struct expert_parts parts;
        enum status status = expert_parts_find(c->checkpoint, c->plan.arch, h, layer, e, &parts,
                                               c->error);
        for (int i = 0; i < EXPERT_PARTS && status == STATUS_OK; i++) {
            struct landing_form form = {.from = parts.dtype[i], .rows = parts.rows[i],
                                        .cols = parts.cols[i]};
            uint64_t bytes;
            form.to = landing_dtype(form.from, form.cols, c->config->quantize);
            CHECK(dtype_bytes(form.to, (uint64_t)form.rows * form.cols, &bytes));
            if (e == 0 || c->config->by_expert)
                status = expert_tensor(c, layer, e, (enum expert_part)i, &form, &tensor[i]);
            struct carried *to = carry(c);
            if (!to)
                return STATUS_NO_MEMORY;
            *to = (struct carried){.file = parts.part[i].file, .from = parts.part[i].offset,
                                   .tensor = tensor[i],
                                   .to = c->config->by_expert ? 0 : e * bytes, .form = form,
                                   .expert = layer * h->experts + e};
        }
        if (status != STATUS_OK)
            return status;
    }
    return STATUS_OK;
}

static enum status list_all(struct converter *c)
{
    struct dense_tensor tensors[LAYER_TENSORS_MAX];
    const struct hparams *h = &c->plan.hparams;
    enum status status = add_dense(c, tensors, tensors_outer(h, tensors));
    for (uint32_t l = 0; l < h->layers && status == STATUS_OK; l++)
        status = add_dense(c, tensors, tensors_of_layer(c->plan.arch, h, l, tensors));
    for (uint32_t l = 0; l < h->layers && status == STATUS_OK; l++)
        status = add_experts(c, l);
    return status;
}

/* ---- carrying ---- */

struct piece {
    const struct landing_form *form;
    uint32_t rows, per_part;
    uint64_t from_row_bytes, to_row_bytes;
    const uint8_t *in;
    uint8_t *out;
};

static void land_part(void *arg, uint32_t part, uint32_t worker)
{
    const struct piece *p = arg;
    uint32_t begin = part * p->per_part;
    struct landing_form form = *p->form;
    form.rows = p->rows - begin < p->per_part ? p->rows - begin : p->per_part;
    landing_matrix(&form, p->out + begin * p->to_row_bytes, p->in + begin * p->from_row_bytes);
}

static enum status read_bytes(struct converter *c, uint32_t file, uint64_t offset, uint64_t bytes)
{
    const struct model_file from = {.fd = store_fd(c->store, file)};
    return model_file_read(&from, store_path(c->store, file), offset, bytes, c->in, c->error);
}

/* Rows [first, first + rows) of a matrix. */
static enum status carry_rows(struct converter *c, const struct carried *m, uint32_t first,
                              uint32_t rows)
{
    uint64_t in_row, out_row;
    CHECK(dtype_bytes(m->form.from, m->form.cols, &in_row) &&
          dtype_bytes(m->form.to, m->form.cols, &out_row));
    enum status status = read_bytes(c, m->file, m->from + first * in_row, rows * in_row);
    if (status != STATUS_OK)
        return status;
    const uint8_t *in = c->in;
    if (m->head_rows) {
        convert_interleave(c->turned, c->in, rows, m->head_rows, in_row);
        in = c->turned;
    }
    struct piece piece = {.form = &m->form, .rows = rows, .from_row_bytes = in_row,
                          .to_row_bytes = out_row, .in = in, .out = c->out};
    piece.per_part = (rows + PARTS_OF_PIECE - 1) / PARTS_OF_PIECE;
    piece.per_part = (piece.per_part + PACKED_ROWS - 1) / PACKED_ROWS * PACKED_ROWS;
    cpu_threads_run(c->threads, land_part, &piece, (rows + piece.per_part - 1) / piece.per_part);
    if (c->crc && m->expert != UINT32_MAX)
        c->crc[m->expert] = crc32c(c->crc[m->expert], c->out, rows * out_row);
    c->done += rows * out_row;
    return gguf_writer_put(c->writer, m->tensor, m->to + first * out_row, c->out, rows * out_row,
                           c->error);
}

/* Rows of a piece: as many as fit, whole groups of sixteen and whole heads. */
static uint32_t rows_at_once(const struct carried *m)
{
    uint64_t in_row, out_row;
    CHECK(dtype_bytes(m->form.from, m->form.cols, &in_row) &&
          dtype_bytes(m->form.to, m->form.cols, &out_row));
    uint64_t unit = m->head_rows ? (uint64_t)m->head_rows * PACKED_ROWS : PACKED_ROWS;
    uint64_t units = PIECE_BYTES / (unit * (in_row > out_row ? in_row : out_row));
    uint64_t rows = unit * (units ? units : 1);
    return rows < m->form.rows ? (uint32_t)rows : m->form.rows;
}

static enum status carry_all(struct converter *c)
{
    uint64_t largest = 0;
    for (uint32_t i = 0; i < c->count; i++) {
        uint64_t in, out, rows = rows_at_once(&c->list[i]);
        CHECK(dtype_bytes(c->list[i].form.from, rows * c->list[i].form.cols, &in) &&
              dtype_bytes(c->list[i].form.to, rows * c->list[i].form.cols, &out));
        largest = in > largest ? in : largest;
        largest = out > largest ? out : largest;
    }
    c->in = malloc(largest);
    c->turned = malloc(largest);
    c->out = malloc(largest);
    if (!c->in || !c->turned || !c->out)
        return error_set(c->error, STATUS_NO_MEMORY, "no memory for pieces of %llu bytes",
                         (unsigned long long)largest);
    enum status status = STATUS_OK;
    for (uint32_t i = 0; i < c->count && status == STATUS_OK; i++) {
        const struct carried *m = &c->list[i];
        uint32_t rows = rows_at_once(m);
        for (uint32_t r = 0; r < m->form.rows && status == STATUS_OK; r += rows)
            status = carry_rows(c, m, r, m->form.rows - r < rows ? m->form.rows - r : rows);
        if (c->config->progress)
            c->config->progress(c->config->arg, (double)c->done / (double)c->bytes);
    }
    return status;
}

/* ---- from end to end ---- */

/* Written over, the source would be read while it changes. */
static enum status refuse_source(const struct converter *c, const char *to)
{
    struct stat target, source;
    if (stat(to, &target) != 0)
        return STATUS_OK;
    for (uint32_t i = 0; i < checkpoint_files(c->checkpoint); i++)
        if (stat(checkpoint_file_path(c->checkpoint, i), &source) == 0 &&
            source.st_dev == target.st_dev && source.st_ino == target.st_ino)
            return error_set(c->error, STATUS_INVALID, "%s: it is a file of the model to be read",
                             to);
    return STATUS_OK;
}

static enum status prepare(struct converter *c, const char *to)
{
    const struct convert_config *config = c->config;
    enum status status = store_open(&c->store, c->error);
    if (status == STATUS_OK)
        status = model_plan(c->checkpoint, c->store, config->quantize, &c->plan, c->error);
    if (status == STATUS_OK)
        status = refuse_source(c, to);
    if (status == STATUS_OK)
        status = cpu_threads_open(&c->threads, config->threads, c->error);
    if (status != STATUS_OK)
        return status;
    uint32_t pages = c->plan.hparams.layers * c->plan.hparams.experts;
    if (config->by_expert && !(c->crc = calloc(pages, sizeof *c->crc)))
        return error_set(c->error, STATUS_NO_MEMORY, "no memory for %u checksums", pages);
    status = gguf_writer_open(&c->writer, to, config->by_expert ? PAGE_ALIGNMENT : 0, c->error);
    if (status == STATUS_OK)
        status = convert_header(c->writer, c->checkpoint, &c->plan, c->error);
    if (status == STATUS_OK && config->by_expert)
        gguf_writer_u32_array_later(c->writer, CONVERT_CRC_KEY, pages);
    if (status == STATUS_OK)
        status = list_all(c);
    return status == STATUS_OK ? gguf_writer_begin(c->writer, c->error) : status;
}

enum status convert_write(const struct checkpoint *from, const char *to,
                          const struct convert_config *config, struct convert_result *result,
                          struct error *error)
{
    struct converter c = {.checkpoint = from, .config = config, .error = error};
    enum status status = prepare(&c, to);
    if (status == STATUS_OK)
        status = carry_all(&c);
    if (status == STATUS_OK && c.crc)
        status = gguf_writer_fill(c.writer, c.crc, error);
    if (status == STATUS_OK)
        status = gguf_writer_finish(c.writer, error);
    *result = (struct convert_result){c.bytes, c.plan.encoded, c.plan.kept};
    gguf_writer_close(c.writer);
    cpu_threads_close(c.threads);
    store_close(c.store);
    free(c.list);
    free(c.crc);
    free(c.in);
    free(c.turned);
    free(c.out);
    return status;
}
