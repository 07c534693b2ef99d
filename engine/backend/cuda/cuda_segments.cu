/* Segments: a run of operations captured as a CUDA graph and launched as one from then on. A layer
 * of decoding is some twenty kernels of a few microseconds; launched one by one they cost the host
 * more than they cost the device.
 *
 * The first time a key is asked for its operations simply run, the second time they are captured.
 * Kernels, those of cuBLAS too, are loaded by their first launch, and loading may need what a
 * capture forbids (memory, a wait for the device), so it must not happen in one. And many keys come
 * once (the rows that are left of a prompt): building a graph costs more than it would save.
 *
 * The key stands for everything that the caller makes the calls depend on; what changes from step
 * to step (tokens, positions, tables, slots) lies in device memory at fixed addresses. Memory that
 * moves makes every graph wrong: segments_forget. Kept in an open-addressed table; when it is full,
 * which takes dozens of different batch sizes, all are dropped; so they are when the device has no
 * memory left for one more (graphs live there, a few hundred KiB each at most). */
#include "engine/backend/cuda/cuda_state.cuh"

static bool same(const struct segment_key *a, const struct segment_key *b)
{
    return a->layer == b->layer && a->rows == b->rows && a->variant == b->variant;
}

static struct cuda_segment *find(struct cuda_backend *b, const struct segment_key *key)
{
    uint32_t hash = key->layer * 2654435761u ^ key->rows * 2246822519u ^ key->variant * 3266489917u;
    uint32_t at = (hash ^ hash >> 15) % CUDA_SEGMENTS_MAX;
    while (b->segments[at].known && !same(&b->segments[at].key, key))
        at = (at + 1) % CUDA_SEGMENTS_MAX;
    return &b->segments[at];
}

void cuda_segments_forget(struct backend *base)
{
    struct cuda_backend *b = cuda_backend_of(base);
    CHECK(!b->in_segment);
    if (b->segment_count == 0)
        return;
    CUDA_CALL(cudaStreamSynchronize(b->stream)); /* none of them is running when it goes */
    for (uint32_t i = 0; i < CUDA_SEGMENTS_MAX; i++) {
        if (b->segments[i].exec)
            CUDA_CALL(cudaGraphExecDestroy(b->segments[i].exec));
        b->segments[i] = {};
    }
    b->segment_count = 0;
}

bool cuda_segment_begin(struct backend *base, const struct segment_key *key)
{
    struct cuda_backend *b = cuda_backend_of(base);
    CHECK(!b->in_segment && key->rows <= CUDA_RESIDENT_ROWS);
    cuda_resident_flush(b);
    struct cuda_segment *segment = find(b, key);
    if (segment->exec) {
        CUDA_CALL(cudaGraphLaunch(segment->exec, b->stream));
        return false;
    }
    if (segment->known) {
        CUDA_CALL(cudaStreamBeginCapture(b->stream, cudaStreamCaptureModeThreadLocal));
        b->capturing = true;
        b->capture_key = *key;
    } else {
        if (b->segment_count >= CUDA_SEGMENTS_MAX / 4 * 3)
            cuda_segments_forget(base);
        segment = find(b, key);
        segment->key = *key;
        segment->known = true;
        b->segment_count++;
    }
    b->in_segment = true;
    return true;
}

/* Where an error is returned nothing has run, and *exec is NULL. */
static cudaError_t launch_first(struct cuda_backend *b, cudaGraph_t graph, cudaGraphExec_t *exec)
{
    cudaError_t error = cudaGraphInstantiate(exec, graph, 0);
    if (error != cudaSuccess) {
        *exec = NULL;
        return error;
    }
    error = cudaGraphLaunch(*exec, b->stream);
    if (error != cudaSuccess) {
        CUDA_CALL(cudaGraphExecDestroy(*exec));
        *exec = NULL;
    }
    return error;
}

void cuda_segment_end(struct backend *base)
{
    struct cuda_backend *b = cuda_backend_of(base);
    CHECK(b->in_segment);
    b->in_segment = false;
    if (!b->capturing)
        return;
    cudaGraph_t graph;
    cudaGraphExec_t exec;
    CUDA_CALL(cudaStreamEndCapture(b->stream, &graph));
    b->capturing = false;
    cudaError_t error = launch_first(b, graph, &exec);
    if (error == cudaErrorMemoryAllocation) { /* the others give theirs back; they are rebuilt */
        (void)cudaGetLastError();
        cuda_segments_forget(base);
        error = launch_first(b, graph, &exec);
    }
    CUDA_CALL(error);
    CUDA_CALL(cudaGraphDestroy(graph));
    struct cuda_segment *segment = find(b, &b->capture_key);
    b->segment_count += !segment->known;
    *segment = {b->capture_key, true, exec};
}
