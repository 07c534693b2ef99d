/* Layers that run ahead of the host (struct resident_ops). The slot table in device memory is a
 * copy of the device tier's page table; changes gather on the host and go out as one small kernel
 * before the next work that looks slots up. Since that kernel and the work share a stream, each
 * layer sees one state of the table: what was resident when it was asked for.
 *
 * A layer that lacks a page raises the word `stopped`. Kernels that would change the residual
 * stream then leave it alone, so it stays as it was before that layer's experts, whatever was asked
 * for behind it, until go(). */
#include "engine/backend/cuda/cuda_state.cuh"

#define POST_THREADS 256

void cuda_resident_flush(struct cuda_backend *b)
{
    if (b->changes == 0)
        return;
    cuda_slots_change(b->stream, b->slots, b->change_page, b->change_slot, b->changes);
    b->changes = 0;
}

static void where(struct backend *base, uint32_t page, const void *slot)
{
    struct cuda_backend *b = cuda_backend_of(base);
    CHECK(page < b->config.pages);
    if (b->changes == CUDA_SLOT_CHANGES_MAX)
        cuda_resident_flush(b);
    b->change_page[b->changes] = page;
    b->change_slot[b->changes++] = (const uint8_t *)slot;
}

static void experts(struct backend *base, const struct resident_args *args)
{
    struct cuda_backend *b = cuda_backend_of(base);
    uint32_t choices = args->rows * args->top_k;
    CHECK(args->rows <= CUDA_RESIDENT_ROWS && args->top_k <= b->config.top_k);
    if (!b->capturing)
        cuda_resident_flush(b);
    cuda_plan_resident(b->stream, &b->plan, args, b->slots, b->stopped);
    struct cuda_experts_args each = {};
    each.out = b->grouped;
    each.x = args->normed;
    each.gather = b->plan.gather;
    each.experts = b->plan.experts;
    each.count = b->plan.count;
    each.count_max = choices < args->experts ? choices : args->experts;
    each.rows_each_max = args->rows;
    each.shape = {args->gate.cols, args->gate.rows, args->gate.dtype, args->up.dtype,
                  args->down.dtype};
    each.hidden = b->expert_hidden;
    cuda_experts_few(b->stream, &each);
    struct combine_args combine = {};
    combine.out = args->x;
    combine.y = b->grouped;
    combine.offsets = b->plan.offsets;
    combine.places = b->plan.place;
    combine.weights = args->weights;
    combine.rows = args->rows;
    combine.width = args->gate.cols;
    cuda_combine(b->stream, &combine, b->stopped);
}

static void go(struct backend *base)
{
    struct cuda_backend *b = cuda_backend_of(base);
    CUDA_CALL(cudaMemsetAsync(b->stopped, 0, sizeof *b->stopped, b->stream));
}

/* A kernel, not a copy: in a graph the copy engine takes its turn between two layers, which costs
 * more than the few KiB do. Page-locked memory has the same address on the device; what is written
 * there is the host's to read when a later fence is reached. */
static __global__ void __launch_bounds__(POST_THREADS)
    post_kernel(uint32_t *to_host, const uint32_t *from, uint32_t words)
{
    uint32_t i = blockIdx.x * POST_THREADS + threadIdx.x;
    if (i < words)
        to_host[i] = from[i];
}

static void post(struct backend *base, void *to_host, const void *from, size_t bytes)
{
    struct cuda_backend *b = cuda_backend_of(base);
    CHECK_MSG(bytes % sizeof(uint32_t) == 0 && bytes <= INT32_MAX, "%zu bytes to post", bytes);
    uint32_t words = (uint32_t)(bytes / sizeof(uint32_t));
    cuda_launch(b->stream, post_kernel, dim3(cuda_parts(words, POST_THREADS)), dim3(POST_THREADS),
                0, static_cast<uint32_t *>(to_host), static_cast<const uint32_t *>(from), words);
}

static void *host_alloc(struct backend *base, size_t bytes)
{
    void *p = NULL;
    if (cudaMallocHost(&p, bytes) != cudaSuccess) {
        (void)cudaGetLastError(); /* a refusal, not a fault */
        return NULL;
    }
    return p;
}

static void host_release(struct backend *base, void *p)
{
    if (p)
        CUDA_CALL(cudaFreeHost(p));
}

const struct resident_ops cuda_resident_ops = {
    where, experts, go, post, host_alloc, host_release, CUDA_RESIDENT_ROWS,
};
