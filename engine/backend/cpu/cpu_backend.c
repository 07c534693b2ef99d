/* The CPU backend: opening, closing, memory, and the table of operations, which live in files of
 * their own. Owns the compute threads and the scratch memory; after open nothing is allocated but
 * by alloc(). Refuses an instruction set the machine lacks rather than falling back: a flag does
 * what it says. Engine thread only, as backend.h says. */
#include "engine/backend/cpu/cpu_backend.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "memory/base/bytes.h"
#include "memory/base/check.h"

#define LINE_BYTES 64
#define HUGE_PAGE_BYTES ((size_t)2 << 20)
#define HIDDEN_ROWS 1024 /* of all experts of a round together: each call is a few rounds at most */

/* Zeroed memory that nobody has touched yet: what calloc() maps fresh costs on first use only, and
 * of a KV pool most may never be used. Large memory asks for huge pages: a matrix is read from end
 * to end, a page fault and a TLB miss every 4 KiB would be felt. calloc()'s own address lies before
 * ours. */
static void *aligned_zeroed(uint64_t bytes)
{
    size_t align = bytes >= 4 * HUGE_PAGE_BYTES ? HUGE_PAGE_BYTES : LINE_BYTES;
    if (bytes > SIZE_MAX - 2 * align)
        return NULL;
    size_t rounded = bytes_align_up(bytes > 0 ? bytes : 1, align);
    char *base = calloc(1, rounded + align);
    if (!base)
        return NULL;
    /* calloc() aligns to 16: there is room for one address before the next multiple. */
    char *p = base + (align - (uintptr_t)base % align);
    if (align == HUGE_PAGE_BYTES)
        (void)madvise(p, rounded, MADV_HUGEPAGE); /* advice: a refusal costs speed only */
    ((void **)(void *)p)[-1] = base;
    return p;
}

/* Accepts NULL. */
static void aligned_free(void *p)
{
    if (p)
        free(((void **)p)[-1]);
}

static void *cpu_alloc(struct backend *b, size_t bytes)
{
    return aligned_zeroed(bytes);
}

static void cpu_release(struct backend *b, void *p)
{
    aligned_free(p);
}

static void cpu_upload(struct backend *b, void *to, const void *from_host, size_t bytes)
{
    if (bytes > 0)
        memcpy(to, from_host, bytes);
}

static void cpu_download(struct backend *b, void *to_host, const void *from, size_t bytes)
{
    if (bytes > 0)
        memcpy(to_host, from, bytes);
}

/* Operations are done when they return, and read the caller's arrays where they are. */
static void cpu_begin(struct backend *b, const uint32_t *tokens, const struct row_place *places,
                      uint32_t rows)
{
}

static bool cpu_segment_begin(struct backend *b, const struct segment_key *key)
{
    return true;
}

static void cpu_nothing(struct backend *b)
{
}

static uint64_t cpu_fence(struct backend *b)
{
    return 0;
}

static bool cpu_reached(struct backend *b, uint64_t fence, bool wait)
{
    return true;
}

static void cpu_gather(struct backend *b, float *out, const float *x, const uint32_t *rows,
                       uint32_t count, uint32_t width)
{
    for (uint32_t i = 0; i < count; i++)
        memcpy(out + (size_t)i * width, x + (size_t)rows[i] * width, width * sizeof *out);
}

/* Packed where it can be: a stream of whole vectors. Exact products are of decoded rows. */
static bool cpu_layout(const struct backend *b, enum dtype dtype, enum weight_layout *out)
{
    const struct cpu_backend *cpu = (const struct cpu_backend *)b;
    *out = dtype_is_plain(dtype) || cpu->config.exact ? LAYOUT_ROWS : LAYOUT_PACKED;
    return true;
}

static void cpu_close(struct backend *base)
{
    struct cpu_backend *b = cpu_backend_of(base);
    cpu_threads_close(b->threads);
    cpu_rope_table_close(b->rope_table);
    aligned_free(b->scratch);
    aligned_free(b->packed_rows);
    aligned_free(b->hidden);
    aligned_free(b->packed_hidden);
    free(b->linears);
    free(b->units);
    free(b->firsts);
    free(b->runs);
    free(b->row_list);
    free(b->row_marked);
    free(b);
}

static const struct backend_ops ops = {
    .name = "cpu",
    .layout = cpu_layout,
    .alloc = cpu_alloc,
    .release = cpu_release,
    .upload = cpu_upload,
    .download = cpu_download,
    .copy = cpu_upload,
    .begin = cpu_begin,
    .segment_begin = cpu_segment_begin,
    .segment_end = cpu_nothing,
    .segments_forget = cpu_nothing,
    .embed = cpu_embed,
    .rms_norm = cpu_rms_norm,
    .matmul = cpu_matmul,
    .matmuls = cpu_matmuls,
    .scale = cpu_scale,
    .add_scaled = cpu_add_scaled,
    .gather = cpu_gather,
    .rope = cpu_rope,
    .kv_write = cpu_kv_write,
    .attention = cpu_attention,
    .route = cpu_route,
    .experts = cpu_experts,
    .combine = cpu_combine,
    .fence = cpu_fence,
    .reached = cpu_reached,
    .sync = cpu_nothing,
    .close = cpu_close,
};

const char *cpu_isa_name(enum cpu_isa isa)
{
    static const char *const names[CPU_ISA_COUNT + 1] = {
        [CPU_SCALAR] = "scalar", [CPU_AVX2] = "avx2", [CPU_AVX512] = "avx512",
        [CPU_NEON] = "neon",     [CPU_BEST] = "auto"};
    CHECK_MSG((unsigned)isa <= CPU_BEST, "isa %d is not one", (int)isa);
    return names[isa];
}

bool cpu_isa_parse(const char *name, enum cpu_isa *out)
{
    for (int i = 0; i <= CPU_BEST; i++) {
        if (strcmp(cpu_isa_name((enum cpu_isa)i), name) == 0) {
            *out = (enum cpu_isa)i;
            return true;
        }
    }
    return false;
}

static enum status pick_kernels(struct cpu_backend *b, struct error *error)
{
    enum cpu_isa wanted = b->config.isa;
    CHECK_MSG((unsigned)wanted <= CPU_BEST, "isa %d is not one", (int)wanted);
    b->isa = wanted == CPU_BEST ? CPU_ISA_COUNT - 1 : wanted;
    b->kernels = kernels_find(b->isa);
    while (wanted == CPU_BEST && !b->kernels) /* ends at scalar, which is everywhere */
        b->kernels = kernels_find(--b->isa);
    if (!b->kernels)
        return error_set(error, STATUS_UNSUPPORTED, "this machine cannot run %s kernels",
                         cpu_isa_name(wanted));
    b->packed = packed_kernels_find(b->isa);
    return STATUS_OK;
}

/* What is allocated beside the threads: sizes in one place, for open and for the budget. */
struct memory_plan {
    uint64_t scratch, packed_rows, hidden, packed_hidden, lists;
};

static uint32_t hidden_rows(const struct cpu_backend_config *c)
{
    uint64_t most = (uint64_t)c->rows_max * (c->experts_max > 0 ? c->experts_max : 1);
    most = most < HIDDEN_ROWS ? most : HIDDEN_ROWS;
    return most > c->rows_max ? (uint32_t)most : c->rows_max;
}

static uint32_t items_max(const struct cpu_backend_config *c)
{
    return c->experts_max > MATMULS_MAX ? c->experts_max : MATMULS_MAX;
}

static size_t scratch_bytes(const struct cpu_backend_config *c)
{
    size_t attention = cpu_attention_scratch_bytes(), linear = cpu_linear_scratch_bytes(c);
    return bytes_align_up(attention > linear ? attention : linear, LINE_BYTES);
}

static bool plan_memory(const struct cpu_backend_config *c, uint32_t threads,
                        struct memory_plan *plan)
{
    bool packed = !c->exact && c->cols_max > 0;
    uint64_t rows = c->rows_max, width = c->expert_width_max, items = items_max(c);
    uint64_t width_in_blocks = bytes_align_up(width, ACTIVATION_BLOCK);
    *plan = (struct memory_plan){.scratch = (uint64_t)threads * scratch_bytes(c)};
    plan->lists = items * (2 * sizeof(struct linear) + sizeof(struct linear_units) + 8) +
                  rows * (2 * sizeof(uint32_t) + 1);
    if (packed) {
        size_t cols = bytes_align_up(c->cols_max, ACTIVATION_BLOCK);
        if (!bytes_mul(rows, packed_x_row_bytes(cols), &plan->packed_rows) ||
            !bytes_mul(hidden_rows(c), packed_x_row_bytes(width_in_blocks), &plan->packed_hidden))
            return false;
    }
    return bytes_mul(hidden_rows(c) * width, sizeof(float), &plan->hidden);
}

uint64_t cpu_backend_bytes(const struct cpu_backend_config *config)
{
    struct memory_plan p;
    uint32_t threads = cpu_threads_allowed(config->threads);
    if (!plan_memory(config, threads, &p))
        return UINT64_MAX;
    return p.scratch + p.packed_rows + p.hidden + p.packed_hidden + p.lists +
           cpu_rope_table_bytes(config->rows_max);
}

static enum status make_scratch(struct cpu_backend *b, struct error *error)
{
    const struct cpu_backend_config *c = &b->config;
    struct memory_plan p;
    if (!plan_memory(c, cpu_threads_count(b->threads), &p))
        return error_set(error, STATUS_NO_MEMORY,
                         "compute scratch for rows_max %u, expert width %u and rows of %u exceeds "
                         "the address space", c->rows_max, c->expert_width_max, c->cols_max);
    b->hidden_rows = hidden_rows(c);
    b->items_max = items_max(c);
    b->scratch_bytes = scratch_bytes(c);
    b->scratch = aligned_zeroed(p.scratch);
    b->packed_rows = aligned_zeroed(p.packed_rows);
    b->hidden = aligned_zeroed(p.hidden);
    b->packed_hidden = aligned_zeroed(p.packed_hidden);
    b->linears = calloc(2 * (size_t)b->items_max, sizeof *b->linears);
    b->units = calloc(b->items_max, sizeof *b->units);
    b->firsts = calloc((size_t)b->items_max + 1, sizeof *b->firsts);
    b->runs = calloc((size_t)c->rows_max + 1, sizeof *b->runs);
    b->row_list = calloc((size_t)c->rows_max + 1, sizeof *b->row_list);
    b->row_marked = calloc((size_t)c->rows_max + 1, 1);
    b->rope_table = cpu_rope_table_open(c->rows_max);
    if (b->scratch && b->packed_rows && b->hidden && b->packed_hidden && b->linears && b->units &&
        b->firsts && b->runs && b->row_list && b->row_marked && b->rope_table)
        return STATUS_OK;
    return error_set(error, STATUS_NO_MEMORY,
                     "no memory for %llu bytes of compute scratch (rows_max %u x expert width %u, "
                     "rows of %u)", (unsigned long long)cpu_backend_bytes(c), c->rows_max,
                     c->expert_width_max, c->cols_max);
}

enum status cpu_backend_open(struct backend **out, const struct cpu_backend_config *config,
                             struct error *error)
{
    enum status status;
    *out = NULL;
    struct cpu_backend *b = calloc(1, sizeof *b);
    if (!b)
        return error_set(error, STATUS_NO_MEMORY, "no memory for the CPU backend");
    b->config = *config;
    b->ops = ops;
    b->ops.experts_at_once = config->experts_max > 0 ? config->experts_max : 1;
    b->base.ops = &b->ops;
    if ((status = pick_kernels(b, error)) != STATUS_OK)
        goto fail;
    if ((status = cpu_threads_open(&b->threads, config->threads, error)) != STATUS_OK)
        goto fail;
    if ((status = make_scratch(b, error)) != STATUS_OK)
        goto fail;
    *out = &b->base;
    return STATUS_OK;
fail:
    cpu_close(&b->base);
    return status;
}

enum cpu_isa cpu_backend_isa(const struct backend *b)
{
    return ((const struct cpu_backend *)b)->isa;
}

uint32_t cpu_backend_threads(const struct backend *b)
{
    return cpu_threads_count(((const struct cpu_backend *)b)->threads);
}
