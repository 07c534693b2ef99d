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
#define PART_COST_MIN 65536 /* multiplications worth handing to another thread: some 3 us */
#define PARTS_PER_THREAD 4

/* Large memory asks for huge pages: a matrix is read from end to end, a page fault and a TLB miss
 * every 4 KiB would be felt. */
static void *aligned_zeroed(uint64_t bytes)
{
    size_t align = bytes >= 4 * HUGE_PAGE_BYTES ? HUGE_PAGE_BYTES : LINE_BYTES;
    if (bytes > SIZE_MAX - align)
        return NULL;
    size_t rounded = bytes_align_up(bytes > 0 ? bytes : 1, align);
    void *p = aligned_alloc(align, rounded);
    if (!p)
        return NULL;
    if (align == HUGE_PAGE_BYTES)
        (void)madvise(p, rounded, MADV_HUGEPAGE); /* advice: a refusal costs speed only */
    memset(p, 0, rounded);
    return p;
}

static void *cpu_alloc(struct backend *b, size_t bytes)
{
    return aligned_zeroed(bytes);
}

static void cpu_release(struct backend *b, void *p)
{
    free(p);
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

static void cpu_route(struct backend *b, const struct router *router, const float *scores,
                      uint32_t rows, uint32_t *chosen, float *weights)
{
    for (uint32_t r = 0; r < rows; r++)
        router_choose(router, scores + (size_t)r * router->experts,
                      chosen + (size_t)r * router->top_k, weights + (size_t)r * router->top_k);
}

static void cpu_experts(struct backend *b, const struct expert_args *args, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        cpu_expert(b, &args[i]);
}

static void cpu_close(struct backend *base)
{
    struct cpu_backend *b = cpu_backend_of(base);
    cpu_threads_close(b->threads);
    free(b->hidden);
    free(b->scores);
    free(b);
}

static const struct backend_ops ops = {
    .name = "cpu",
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
    .experts_at_once = 1,
    .close = cpu_close,
};

const char *cpu_isa_name(enum cpu_isa isa)
{
    static const char *const names[CPU_ISA_COUNT + 1] = {
        [CPU_SCALAR] = "scalar", [CPU_AVX2] = "avx2", [CPU_AVX512] = "avx512", [CPU_BEST] = "auto"};
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
    return STATUS_OK;
}

static enum status make_scratch(struct cpu_backend *b, struct error *error)
{
    uint64_t hidden_bytes, scores_bytes;
    uint64_t rows = b->config.rows_max, width = b->config.expert_width_max;
    uint64_t lists = (uint64_t)cpu_threads_count(b->threads) * CPU_ATTENTION_HEADS;
    b->scores_stride = bytes_align_up(b->config.context_max, LINE_BYTES / sizeof(float));
    if (!bytes_mul(rows * width, sizeof(float), &hidden_bytes) ||
        !bytes_mul(lists * b->scores_stride, sizeof(float), &scores_bytes))
        return error_set(error, STATUS_NO_MEMORY,
                         "compute scratch for rows_max %u, expert width %u and context_max %u "
                         "exceeds the address space",
                         b->config.rows_max, b->config.expert_width_max, b->config.context_max);
    b->hidden = aligned_zeroed(hidden_bytes);
    b->scores = aligned_zeroed(scores_bytes);
    if (!b->hidden || !b->scores)
        return error_set(error, STATUS_NO_MEMORY,
                         "no memory for %llu bytes of compute scratch (rows_max %u x expert width "
                         "%u, context_max %u)",
                         (unsigned long long)(hidden_bytes + scores_bytes), b->config.rows_max,
                         b->config.expert_width_max, b->config.context_max);
    return STATUS_OK;
}

enum status cpu_backend_open(struct backend **out, const struct cpu_backend_config *config,
                             struct error *error)
{
    enum status status;
    *out = NULL;
    struct cpu_backend *b = calloc(1, sizeof *b);
    if (!b)
        return error_set(error, STATUS_NO_MEMORY, "no memory for the CPU backend");
    b->base.ops = &ops;
    b->config = *config;
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

struct cpu_split cpu_split_work(const struct cpu_backend *b, uint32_t units,
                                uint64_t cost_per_unit, uint32_t align)
{
    struct cpu_split split = {.units = units, .per_part = units, .parts = units > 0};
    uint64_t threads = cpu_threads_count(b->threads);
    uint64_t cost = units * cost_per_unit;
    if (threads == 1 || cost < 2 * PART_COST_MIN)
        return split;
    uint64_t parts = cost / PART_COST_MIN;
    if (parts > threads * PARTS_PER_THREAD)
        parts = threads * PARTS_PER_THREAD;
    uint64_t per_part = ((units + parts - 1) / parts + align - 1) / align * align;
    split.per_part = per_part < units ? (uint32_t)per_part : units;
    split.parts = (units - 1) / split.per_part + 1;
    return split;
}
