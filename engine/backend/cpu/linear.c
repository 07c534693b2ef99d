/* Matrices times rows. Three ways, by what a matrix is:
 *
 *   packed           activations in 8 bits against packed blocks (packed_kernels.h)
 *   plain            f32 activations against f32, f16 or bf16 (kernels.h)
 *   blocks in rows   what `exact` asks for: a few weight rows at a time are decoded to f32 and
 *                    multiplied as plain ones, so a result is that of the decoded matrix, bit for
 *                    bit
 *
 * An output is computed whole by one kernel, in an order that is a matter of its length alone, so
 * nothing here, the cutting least of all, changes a result.
 *
 * How work is cut: a unit is some outputs by a block of rows; units of a row block follow each
 * other, so that a stretch of them is a stretch of the matrix. With few rows there is one row
 * block, and a part is a plain stream over contiguous weights at the speed of memory; with many,
 * the block of activations stays in the second-level cache while the weights go by. */
#include "engine/backend/cpu/linear.h"

#include <string.h>

#include "engine/backend/cpu/cpu_backend.h"
#include "memory/base/check.h"

#define ROWS_BLOCK_BYTES 524288 /* of activations that stay in the second-level cache */
#define ROWS_BLOCK_MAX (LINEAR_TILE_VALUES / 2 / PACKED_ROWS)
#define FEW_ROWS 8              /* up to here a unit is the smallest */
#define WEIGHT_BLOCK_BYTES 262144 /* of plain weights that meet a tile after the other */
#define DECODED_ROWS 16         /* weight rows decoded at a time */

size_t cpu_linear_scratch_bytes(const struct cpu_backend_config *config)
{
    size_t decoded = (size_t)DECODED_ROWS * config->cols_max * sizeof(float);
    size_t unpacked = PACKED_SCRATCH_BYTES(config->cols_max);
    return LINEAR_TILE_VALUES * sizeof(float) + (decoded > unpacked ? decoded : unpacked);
}

/* What of a worker's scratch the tiles of results leave. */
static void *kernel_scratch(const struct cpu_backend *b, uint32_t worker)
{
    return (float *)cpu_scratch(b, worker) + LINEAR_TILE_VALUES;
}

/* ---- one block ---- */

/* Weight rows as the plain kernels take them. */
struct plain_rows {
    void (*dot)(float *sums, const struct kernel_tile *tile);
    const uint8_t *w;
    size_t row_bytes;
};

/* All rows of the block, a tile at a time, against weights that stay in cache meanwhile. */
static void multiply_tiles(const struct cpu_backend *b, const struct linear *l,
                           const struct linear_block *block, const struct plain_rows *plain,
                           float *out, size_t out_stride)
{
    const float *x[KERNEL_TILE_X_MAX];
    float sums[KERNEL_TILE_X_MAX * KERNEL_TILE_W];
    struct kernel_tile tile = {.w_stride_bytes = plain->row_bytes, .x = x, .n = l->w.cols};
    for (uint32_t row = 0; row < block->count; row += tile.x_rows) {
        uint32_t left = block->count - row;
        tile.x_rows = left < b->kernels->tile_x ? left : b->kernels->tile_x;
        for (uint32_t i = 0; i < tile.x_rows; i++) {
            size_t r = block->row + row + i;
            x[i] = l->x + (l->rows ? l->rows[r] : r) * (size_t)l->w.cols;
        }
        for (uint32_t o = 0; o < block->outputs; o += tile.w_rows) {
            left = block->outputs - o;
            tile.w_rows = left < KERNEL_TILE_W ? left : KERNEL_TILE_W;
            tile.w = plain->w + o * plain->row_bytes;
            plain->dot(sums, &tile);
            for (uint32_t i = 0; i < tile.x_rows; i++)
                for (uint32_t j = 0; j < tile.w_rows; j++)
                    out[(row + i) * out_stride + o + j] = sums[i * KERNEL_TILE_W + j];
        }
    }
}

static void multiply_plain(const struct cpu_backend *b, const struct linear *l,
                           const struct linear_block *block, float *out, size_t out_stride)
{
    size_t row_bytes = l->w.cols * (size_t)dtype_info(l->w.dtype)->block_bytes;
    size_t fit = WEIGHT_BLOCK_BYTES / (row_bytes + 1) / KERNEL_TILE_W * KERNEL_TILE_W;
    struct plain_rows plain = {.dot = b->kernels->format[l->w.dtype].dot, .row_bytes = row_bytes};
    struct linear_block some = *block;
    if (fit < PACKED_ROWS)
        fit = PACKED_ROWS;
    for (uint32_t o = 0; o < block->outputs; o += some.outputs) {
        uint32_t left = block->outputs - o;
        some.outputs = left < fit ? left : (uint32_t)fit;
        plain.w = (const uint8_t *)l->w.data + (block->first + o) * row_bytes;
        multiply_tiles(b, l, &some, &plain, out + o, out_stride);
    }
}

static void multiply_decoded(const struct cpu_backend *b, const struct linear *l,
                             const struct linear_block *block, float *out, size_t out_stride,
                             uint32_t worker)
{
    uint64_t row_bytes;
    size_t cols = l->w.cols;
    float *decoded = kernel_scratch(b, worker);
    struct plain_rows plain = {.dot = b->kernels->format[DTYPE_F32].dot,
                               .w = (const uint8_t *)decoded,
                               .row_bytes = cols * sizeof(float)};
    struct linear_block some = *block;
    CHECK(dtype_bytes(l->w.dtype, cols, &row_bytes));
    CHECK_MSG(cols <= b->config.cols_max, "%zu columns exceed the scratch for %u", cols,
              b->config.cols_max);
    for (uint32_t o = 0; o < block->outputs; o += some.outputs) {
        uint32_t left = block->outputs - o;
        some.outputs = left < DECODED_ROWS ? left : DECODED_ROWS;
        dtype_decode(l->w.dtype,
                     (const uint8_t *)l->w.data + (block->first + o) * (size_t)row_bytes, decoded,
                     some.outputs * cols);
        multiply_tiles(b, l, &some, &plain, out + o, out_stride);
    }
}

void linear_multiply(const struct cpu_backend *b, const struct linear *l,
                     const struct linear_block *block, float *out, size_t out_stride,
                     uint32_t worker)
{
    if (linear_is_packed(l->w)) {
        struct packed_tile tile = {.w = l->w.data,
                                   .w_rows = l->w.rows,
                                   .first = block->first,
                                   .outputs = block->outputs,
                                   .x = l->rows ? l->q : packed_x_from(&l->q, block->row),
                                   .rows = l->rows ? l->rows + block->row : NULL,
                                   .count = block->count,
                                   .out = out,
                                   .out_stride = out_stride,
                                   .scratch = kernel_scratch(b, worker)};
        b->packed->dot[l->w.dtype](&tile);
    } else if (dtype_is_plain(l->w.dtype)) {
        multiply_plain(b, l, block, out, out_stride);
    } else {
        multiply_decoded(b, l, block, out, out_stride, worker);
    }
}

/* ---- lists ---- */

struct linear_list linear_list_begin(struct cpu_backend *b)
{
    b->firsts[0] = 0;
    return (struct linear_list){.first = b->firsts, .units = b->units};
}

/* Of `outputs` outputs by `rows` rows. */
static uint64_t cost_of(struct tensor w, uint32_t outputs, uint32_t rows)
{
    const struct dtype_info *info = dtype_info(w.dtype);
    uint64_t weights = (uint64_t)outputs * w.cols;
    uint64_t read = weights / info->block_values * info->block_bytes;
    uint64_t products = weights * rows;
    if (linear_is_packed(w))
        products /= 10; /* 8 bits: three times the rate of f32, at the least */
    else
        products = cpu_cost_f32(products) + (dtype_is_plain(w.dtype) ? 0 : 4 * weights);
    return 1 + (products > read ? products : read);
}

/* Rows of a row block: what the cache holds, in equal blocks. */
static uint32_t block_rows(const struct cpu_backend *b, const struct linear *l)
{
    bool packed = linear_is_packed(l->w);
    size_t row_bytes = packed ? packed_x_row_bytes(l->w.cols) : l->w.cols * sizeof(float);
    uint64_t fit = ROWS_BLOCK_BYTES / (row_bytes + 1) + 1;
    uint64_t full = packed ? b->packed->rows_full : b->kernels->tile_x;
    if (fit < full)
        fit = full;
    if (fit > ROWS_BLOCK_MAX)
        fit = ROWS_BLOCK_MAX;
    uint64_t blocks = (l->count + fit - 1) / fit;
    uint32_t rows = (uint32_t)((l->count + blocks - 1) / blocks);
    uint32_t align = b->kernels->tile_x;
    return blocks == 1 ? l->count : (rows + align - 1) / align * align;
}

void linear_list_add(struct cpu_backend *b, struct linear_list *list, const struct linear *l,
                     uint32_t twins)
{
    CHECK(list->items < b->items_max);
    struct linear_units *u = &list->units[list->items];
    *u = (struct linear_units){.outputs = l->w.rows, .rows = l->count, .cost = 1, .unit_rows = 1};
    if (l->count > 0 && l->w.rows > 0) {
        u->unit_outputs = l->count <= FEW_ROWS ? PACKED_ROWS : 2 * PACKED_ROWS;
        u->unit_rows = block_rows(b, l);
        u->across = (u->outputs + u->unit_outputs - 1) / u->unit_outputs;
        u->count = u->across * ((u->rows + u->unit_rows - 1) / u->unit_rows);
        u->cost = twins * cost_of(l->w, u->unit_outputs, u->unit_rows);
    }
    list->first[list->items + 1] = list->first[list->items] + u->count * u->cost;
    list->items++;
}

void linear_list_cut(struct cpu_backend *b, struct linear_list *list)
{
    uint64_t cost = list->first[list->items];
    list->split = cpu_split_make(cpu_threads_count(b->threads), cost, 1, cost);
}

struct linear_walk linear_walk_begin(const struct linear_list *list, uint32_t part)
{
    struct linear_walk walk = {.at = cpu_split_begin(&list->split, part),
                               .end = cpu_split_end(&list->split, part)};
    while (walk.item < list->items && list->first[walk.item + 1] <= walk.at)
        walk.item++;
    return walk;
}

/* A unit belongs to the part in which it begins. */
bool linear_walk_next(const struct linear_list *list, struct linear_walk *walk,
                      struct linear_block *out)
{
    while (walk->item < list->items && walk->at < walk->end) {
        const struct linear_units *u = &list->units[walk->item];
        uint64_t first = list->first[walk->item], last = list->first[walk->item + 1];
        uint64_t stop = walk->end < last ? walk->end : last;
        uint64_t from = (walk->at - first + u->cost - 1) / u->cost;
        uint64_t to = (stop - first + u->cost - 1) / u->cost;
        if (from >= to) {
            walk->at = stop;
            walk->item += stop == last;
            continue;
        }
        uint64_t line = (from / u->across + 1) * u->across; /* where the row block ends */
        to = to < line ? to : line;
        uint32_t column = (uint32_t)(from % u->across);
        out->item = walk->item;
        out->row = (uint32_t)(from / u->across) * u->unit_rows;
        out->count = u->rows - out->row < u->unit_rows ? u->rows - out->row : u->unit_rows;
        out->first = column * u->unit_outputs;
        out->outputs = (uint32_t)(to - from) * u->unit_outputs;
        if (out->outputs > u->outputs - out->first)
            out->outputs = u->outputs - out->first;
        walk->at = first + to * u->cost;
        walk->item += walk->at >= last;
        return true;
    }
    return false;
}

/* ---- rows to 8 bits ---- */

struct quantize_job {
    const struct packed_kernels *packed;
    const struct packed_x *q;
    const float *x;
    const uint32_t *rows;
    struct cpu_split split; /* rows */
};

static void quantize_part(void *arg, uint32_t part, uint32_t worker)
{
    const struct quantize_job *job = arg;
    uint64_t end = cpu_split_end(&job->split, part);
    for (uint64_t i = cpu_split_begin(&job->split, part); i < end; i++) {
        uint32_t r = job->rows ? job->rows[i] : (uint32_t)i;
        job->packed->quantize(job->q, r, job->x + r * job->q->cols);
    }
}

void linear_quantize(struct cpu_backend *b, const struct packed_x *q, const float *x,
                     const uint32_t *rows, uint32_t count)
{
    struct quantize_job job = {.packed = b->packed, .q = q, .x = x, .rows = rows};
    job.split = cpu_split_rows(b, count, 4 * q->cols * count);
    cpu_threads_run(b->threads, quantize_part, &job, job.split.parts);
}

void linear_pack_rows(struct cpu_backend *b, const float *x, const uint32_t *rows, uint32_t count,
                      struct linear *items, uint32_t items_count)
{
    struct packed_x q = {0};
    for (uint32_t i = 0; i < items_count; i++) {
        uint32_t cols = items[i].w.cols;
        if (!linear_is_packed(items[i].w))
            continue;
        if (q.cols == 0) {
            CHECK_MSG(count <= b->config.rows_max && cols <= b->config.cols_max,
                      "%u rows of %u columns exceed the scratch for %u of %u", count, cols,
                      b->config.rows_max, b->config.cols_max);
            packed_x_place(&q, b->packed_rows, b->config.rows_max, cols);
        }
        CHECK(cols == q.cols);
        items[i].q = q;
    }
    if (q.cols > 0)
        linear_quantize(b, &q, x, rows, count);
}

/* ---- all items of a list ---- */

struct run_job {
    const struct cpu_backend *b;
    const struct linear *items;
    struct linear_list list;
};

/* Through scratch, a few outputs at a time, where something is added on the way out. */
static void finish_block(const struct run_job *job, struct linear_block block, uint32_t worker)
{
    const struct linear *l = &job->items[block.item];
    float *sums = cpu_scratch(job->b, worker);
    uint32_t end = block.first + block.outputs;
    uint32_t most = LINEAR_TILE_VALUES / block.count / PACKED_ROWS * PACKED_ROWS;
    for (; block.first < end; block.first += block.outputs) {
        block.outputs = end - block.first < most ? end - block.first : most;
        linear_multiply(job->b, l, &block, sums, block.outputs, worker);
        for (uint32_t i = 0; i < block.count; i++) {
            float *out = l->out + ((size_t)block.row + i) * l->w.rows + block.first;
            float *sum = sums + i * block.outputs;
            if (l->bias)
                job->b->kernels->add(sum, l->bias + block.first, block.outputs);
            if (l->add)
                job->b->kernels->add(out, sum, block.outputs);
            else
                memcpy(out, sum, block.outputs * sizeof *out);
        }
    }
}

static void run_part(void *arg, uint32_t part, uint32_t worker)
{
    const struct run_job *job = arg;
    struct linear_walk walk = linear_walk_begin(&job->list, part);
    struct linear_block block;
    while (linear_walk_next(&job->list, &walk, &block)) {
        const struct linear *l = &job->items[block.item];
        if (l->bias || l->add)
            finish_block(job, block, worker);
        else
            linear_multiply(job->b, l, &block,
                            l->out + (size_t)block.row * l->w.rows + block.first, l->w.rows,
                            worker);
    }
}

void linear_run(struct cpu_backend *b, const struct linear *items, uint32_t count)
{
    struct run_job job = {.b = b, .items = items, .list = linear_list_begin(b)};
    for (uint32_t i = 0; i < count; i++)
        linear_list_add(b, &job.list, &items[i], 1);
    linear_list_cut(b, &job.list);
    cpu_threads_run(b->threads, run_part, &job, job.list.split.parts);
}
