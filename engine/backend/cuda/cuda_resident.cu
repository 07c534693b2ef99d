/* Layers that run ahead of the host (struct resident_ops). The slot table in device memory is a copy
 * of the device tier's page table; changes gather on the host and go out as one small kernel before
 * the next work that looks slots up. Since that kernel and the work share a stream, each layer sees
 * one state of the table: what was resident when it was asked for.
 *
 * A layer that lacks a page raises the word `stopped`. Kernels that would change the residual stream
 * then leave it alone, so it stays as it was before that layer's experts, whatever was asked for
 * behind it, until go(). */
#include "engine/backend/cuda/cuda_state.cuh"

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
    CUDA_CALL(cudaMemcpyAsync(args->stopped, b->stopped, sizeof *b->stopped,
                              cudaMemcpyDeviceToDevice, b->stream));
}

static void go(struct backend *base)
{
    struct cuda_backend *b = cuda_backend_of(base);
    CUDA_CALL(cudaMemsetAsync(b->stopped, 0, sizeof *b->stopped, b->stream));
}

static void post(struct backend *base, void *to_host, const void *from, size_t bytes)
{
    struct cuda_backend *b = cuda_backend_of(base);
    CUDA_CALL(cudaMemcpyAsync(to_host, from, bytes, cudaMemcpyDeviceToHost, b->stream));
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
