/* The slot table in device memory and what is planned from it: which experts of a layer have work,
 * where their pages lie and whose rows they take, without asking the host.
 *
 * cuda_plan_resident answers what dispatch_build (engine/moe/dispatch.h) answers, number for
 * number, so that a layer gives the same bits whoever planned it. A counting sort of choices by
 * expert needs, for each choice, how many earlier rows chose the same expert. The experts of a row
 * are distinct, so a set of rows per expert (a bit each, in shared memory) says it: the rank of row
 * r is the number of bits below r, whatever the order in which threads set them. No pass is
 * sequential and no result depends on timing.
 *
 * Bytes are nothing here (a few KiB); the time is the latency of one block: choices -> bits ->
 * lengths and slots -> one scan -> places, four barriers and a few trips to memory. It stands in
 * the chain of every layer, hence one block of 256 threads and no second launch. Shared memory:
 * experts x (1 + rows / 32, made odd) words, 36 KiB at 512 x 512.
 *
 * Changes of the table are a kernel's parameters: they need no staging buffer whose life must be
 * watched, and are in force for exactly what is asked for afterwards. */
#include "engine/backend/cuda/cuda_ops.cuh"

#define SLOTS_THREADS CUDA_SLOT_CHANGES_MAX
#define PLAN_THREADS 256
#define PLAN_WARPS (PLAN_THREADS / CUDA_WARP)
#define PLAN_ROW_BITS 32
#define PLAN_SHARED_BYTES_MAX (47u << 10) /* with the static part, what every GPU gives unasked */

struct slot_changes {
    uint32_t count;
    uint32_t page[CUDA_SLOT_CHANGES_MAX];
    const uint8_t *slot[CUDA_SLOT_CHANGES_MAX];
};

struct plan_job {
    struct cuda_plan plan;
    const uint32_t *chosen; /* [rows][top_k] */
    uint32_t rows, top_k;
    uint32_t layer, experts;
    uint32_t offset[3];
    const uint8_t *const *table;
    uint32_t *stopped;
    uint32_t *told; /* takes what *stopped is afterwards; NULL: nobody asks */
    uint32_t words; /* of one expert's set of rows; odd, so that sets begin in different banks */
    uint32_t share; /* neighbouring experts per thread */
};

/* ---- device ---- */

/* The sum of `value` over the threads before this one; *total: over all. Every thread calls it. */
static __device__ uint32_t block_sum_before(uint32_t value, uint32_t *warp_sums, uint32_t *total)
{
    uint32_t lane = threadIdx.x % CUDA_WARP, warp = threadIdx.x / CUDA_WARP;
    uint32_t upto = value;
    for (uint32_t apart = 1; apart < CUDA_WARP; apart *= 2) {
        uint32_t other = __shfl_up_sync(0xFFFFFFFFu, upto, apart);
        upto += lane >= apart ? other : 0;
    }
    if (lane == CUDA_WARP - 1)
        warp_sums[warp] = upto;
    __syncthreads();
    uint32_t before = 0;
    *total = 0;
    for (uint32_t w = 0; w < PLAN_WARPS; w++) {
        before += w < warp ? warp_sums[w] : 0;
        *total += warp_sums[w];
    }
    return before + upto - value;
}

static __device__ uint32_t set_size(const uint32_t *set, uint32_t words)
{
    uint32_t sum = 0;
    for (uint32_t i = 0; i < words; i++)
        sum += (uint32_t)__popc(set[i]);
    return sum;
}

/* How many rows below `row` are in the set. */
static __device__ uint32_t rows_below(const uint32_t *set, uint32_t row)
{
    uint32_t word = row / PLAN_ROW_BITS, below = (1u << row % PLAN_ROW_BITS) - 1;
    return set_size(set, word) + (uint32_t)__popc(set[word] & below);
}

/* Gives every expert of this thread its first place, and the touched ones their entry. `before`: in
 * the upper half the touched experts, in the lower the places, of the threads before. */
static __device__ void plan_experts(const struct plan_job *job, const uint32_t *sets,
                                    uint32_t *first, uint32_t begin, uint32_t end, uint32_t before)
{
    uint32_t index = before >> 16, place = before & 0xFFFF;
    for (uint32_t e = begin; e < end; e++) {
        uint32_t rows = set_size(sets + e * job->words, job->words);
        first[e] = place;
        if (rows == 0)
            continue;
        const uint8_t *slot = job->table[(size_t)job->layer * job->experts + e];
        struct cuda_expert *expert = &job->plan.experts[index++];
        expert->gate = slot + job->offset[0];
        expert->up = slot + job->offset[1];
        expert->down = slot + job->offset[2];
        expert->begin = place;
        expert->end = place += rows;
    }
}

/* ---- kernels ---- */

/* Of several changes of one page the last counts: the others are not written at all. */
static __global__ void __launch_bounds__(SLOTS_THREADS)
    slots_change_kernel(const uint8_t **table, struct slot_changes changes)
{
    uint32_t i = threadIdx.x;
    if (i >= changes.count)
        return;
    for (uint32_t later = i + 1; later < changes.count; later++)
        if (changes.page[later] == changes.page[i])
            return;
    table[changes.page[i]] = changes.slot[i];
}

static __global__ void __launch_bounds__(PLAN_THREADS) plan_kernel(struct plan_job job)
{
    __shared__ uint32_t warp_sums[PLAN_WARPS];
    __shared__ uint32_t missing;
    CUDA_DYNAMIC_SHARED(uint32_t, sets); /* [experts][words] rows that chose it */
    uint32_t *first = sets + job.experts * job.words; /* [experts] first place of each */
    uint32_t choices = job.rows * job.top_k, thread = threadIdx.x;
    uint32_t stopped = *job.stopped;
    if (stopped) { /* the same in all threads: it is written behind barriers only */
        if (thread == 0) {
            *job.plan.count = 0;
            if (job.told)
                *job.told = stopped;
        }
        return;
    }
    for (uint32_t i = thread; i < job.experts * job.words; i += PLAN_THREADS)
        sets[i] = 0;
    if (thread == 0)
        missing = 0;
    __syncthreads();
    for (uint32_t c = thread; c < choices; c += PLAN_THREADS) {
        uint32_t row = c / job.top_k;
        atomicOr(&sets[job.chosen[c] * job.words + row / PLAN_ROW_BITS],
                 1u << row % PLAN_ROW_BITS);
    }
    __syncthreads();
    uint32_t begin = thread * job.share, end = begin + job.share;
    end = end < job.experts ? end : job.experts;
    uint32_t mine = 0; /* touched experts << 16 | places: one scan for both */
    for (uint32_t e = begin; e < end; e++) {
        uint32_t rows = set_size(sets + e * job.words, job.words);
        mine += rows ? (1u << 16) + rows : 0;
        if (rows && !job.table[(size_t)job.layer * job.experts + e])
            atomicOr(&missing, 1u);
    }
    uint32_t total, before = block_sum_before(mine, warp_sums, &total); /* a barrier is within */
    if (thread == 0) {
        *job.plan.count = missing ? 0 : total >> 16;
        if (missing)
            *job.stopped = job.layer + 1;
        if (job.told)
            *job.told = missing ? job.layer + 1 : 0;
    }
    if (missing)
        return;
    plan_experts(&job, sets, first, begin, end, before);
    __syncthreads();
    for (uint32_t c = thread; c < choices; c += PLAN_THREADS) {
        uint32_t row = c / job.top_k, expert = job.chosen[c];
        uint32_t place = first[expert] + rows_below(sets + expert * job.words, row);
        job.plan.place[c] = place;
        job.plan.gather[place] = row;
    }
    for (uint32_t r = thread; r <= job.rows; r += PLAN_THREADS)
        job.plan.offsets[r] = r * job.top_k;
}

/* ---- launchers ---- */

void cuda_slots_change(cudaStream_t stream, const uint8_t **table, const uint32_t *page,
                       const uint8_t *const *slot, uint32_t count)
{
    CHECK_MSG(count <= CUDA_SLOT_CHANGES_MAX, "%u changes of slots in one launch", count);
    if (count == 0)
        return;
    struct slot_changes changes = {};
    changes.count = count;
    for (uint32_t i = 0; i < count; i++) {
        changes.page[i] = page[i];
        changes.slot[i] = slot[i];
    }
    cuda_launch(stream, slots_change_kernel, dim3(1), dim3(SLOTS_THREADS), 0, table, changes);
}

void cuda_plan_resident(cudaStream_t stream, const struct cuda_plan *plan,
                        const struct resident_args *args, const uint8_t *const *table,
                        uint32_t *stopped)
{
    struct plan_job job = {};
    job.plan = *plan;
    job.chosen = args->chosen;
    job.rows = args->rows;
    job.top_k = args->top_k;
    job.layer = args->layer;
    job.experts = args->experts;
    for (int i = 0; i < 3; i++)
        job.offset[i] = args->offset[i];
    job.table = table;
    job.stopped = stopped;
    job.told = args->stopped;
    job.words = cuda_parts(args->rows, PLAN_ROW_BITS) | 1;
    job.share = cuda_parts(args->experts, PLAN_THREADS);
    size_t shared_bytes = (size_t)args->experts * (job.words + 1) * sizeof(uint32_t);
    CHECK_MSG(shared_bytes <= PLAN_SHARED_BYTES_MAX && (size_t)args->rows * args->top_k <= 0xFFFF,
              "%u rows of %u choices among %u experts are too many to plan on the device",
              args->rows, args->top_k, args->experts);
    cuda_launch(stream, plan_kernel, dim3(1), dim3(PLAN_THREADS), shared_bytes, job);
}
