/* Segments: a run of operations captured as a CUDA graph the first time and launched as one from
 * then on. A layer of decoding is some twenty kernels of a few microseconds; launched one by one
 * they cost the host more than they cost the device.
 *
 * The key stands for everything that the caller makes the calls depend on; what changes from step
 * to step (tokens, positions, tables, slots) lies in device memory at fixed addresses. Memory that
 * moves makes every graph wrong: segments_forget. Kept in an open-addressed table; when it is full,
 * which takes thousands of different batch sizes, all are dropped. */
#include "engine/backend/cuda/cuda_state.cuh"

static bool same(const struct segment_key *a, const struct segment_key *b)
{
    return a->layer == b->layer && a->rows == b->rows && a->variant == b->variant;
}

static struct cuda_segment *find(struct cuda_backend *b, const struct segment_key *key)
{
    uint32_t hash = key->layer * 2654435761u ^ key->rows * 2246822519u ^ key->variant * 3266489917u;
    uint32_t at = (hash ^ hash >> 15) % CUDA_SEGMENTS_MAX;
    while (b->segments[at].exec && !same(&b->segments[at].key, key))
        at = (at + 1) % CUDA_SEGMENTS_MAX;
    return &b->segments[at];
}

void cuda_segments_forget(struct backend *base)
{
    struct cuda_backend *b = cuda_backend_of(base);
    CHECK(!b->capturing);
    if (b->segment_count == 0)
        return;
    CUDA_CALL(cudaStreamSynchronize(b->stream)); /* none of them is running when it goes */
    for (uint32_t i = 0; i < CUDA_SEGMENTS_MAX; i++) {
        if (b->segments[i].exec)
            CUDA_CALL(cudaGraphExecDestroy(b->segments[i].exec));
        b->segments[i].exec = NULL;
    }
    b->segment_count = 0;
}

bool cuda_segment_begin(struct backend *base, const struct segment_key *key)
{
    struct cuda_backend *b = cuda_backend_of(base);
    CHECK(!b->capturing && key->rows <= CUDA_RESIDENT_ROWS);
    cuda_resident_flush(b);
    struct cuda_segment *segment = find(b, key);
    if (segment->exec) {
        CUDA_CALL(cudaGraphLaunch(segment->exec, b->stream));
        return false;
    }
    if (b->segment_count >= CUDA_SEGMENTS_MAX / 4 * 3)
        cuda_segments_forget(base);
    b->capturing = true;
    b->capture_key = *key;
    CUDA_CALL(cudaStreamBeginCapture(b->stream, cudaStreamCaptureModeThreadLocal));
    return true;
}

void cuda_segment_end(struct backend *base)
{
    struct cuda_backend *b = cuda_backend_of(base);
    CHECK(b->capturing);
    struct cuda_segment *segment = find(b, &b->capture_key);
    cudaGraph_t graph;
    CUDA_CALL(cudaStreamEndCapture(b->stream, &graph));
    CUDA_CALL(cudaGraphInstantiate(&segment->exec, graph, 0));
    CUDA_CALL(cudaGraphDestroy(graph));
    segment->key = b->capture_key;
    b->segment_count++;
    b->capturing = false;
    CUDA_CALL(cudaGraphLaunch(segment->exec, b->stream));
}
