/* Logits to tokens on the device: what sampler.c does with a row without penalties, bans and
 * log-probabilities, for rows of any parameters in one call.
 *
 * Integers. The weight of a token, exp((logit - max) / temperature), is computed as in
 * sampler_row.c, to the same bits, and then rounded to a multiple of 2^-44: its mass. All sums are
 * of masses, so they are exact: how a row is cut into parts, in which order threads and atomic
 * additions arrive and which rows share the call cannot change a token.
 *
 * Order. sampler.c walks tokens best first (higher logit, then lower id) where top-k or top-p
 * select, and in the order of ids where nothing does. Top-k, top-p, min-p and the draw are each the
 * search for a place in that order where the number of tokens or their mass reaches a goal; min-p's
 * goal is the mass of all that it keeps. Nothing is sorted for that. The range of logits is cut
 * into buckets, as in sampler_select.c, whose counts and masses tell the bucket of the place; of
 * the tokens in it, each sums what comes before it, and the one that crosses the goal says so. A
 * bucket too full for that (many tokens share a value) is cut in four by value and id until it is
 * not.
 *
 * The token is that of sampler_sample for the same uniform, but where rounding decides. Masses are
 * off by up to 2^-45 of the best weight and the sums of sampler.c by up to 2^-53 of the whole in
 * each step, together less than vocab * 2^-43 of the mass: 3e-8 for 2^18 tokens, and some 1e-11
 * where errors cancel as they do. A different token is possible only if uniform * mass lies so
 * close to the sum at which a token ends and its neighbour begins (a weight below 2^-45, which
 * counts as none here, is so close), or if top_p * mass lies so close to the sum at the token where
 * top-p stops: then one more or one less is kept, the mass changes by its weight, and with it the
 * draw.
 *
 * Kernels: draw_peak and draw_weigh take a part of a row per block, draw_choose a row per block;
 * greedy rows are done after the first. Bytes: the row is read twice, a third time where an order
 * of values is needed and once or twice more for a search in a bucket beyond the listed ones, all
 * from L2 where the head has just left it. draw_weigh is bound by double arithmetic (some 50
 * instructions a token) and, for ordered rows, by atomic additions in shared memory; draw_choose by
 * the latency of one block that goes over a row, which no other row waits for. None of this has
 * been measured on a device. */
#include "engine/backend/cuda/cuda_ops.cuh"
#include "engine/backend/cuda/draw_order.cuh"

/* Grid: parts, rows. Also clears what draw_weigh adds to. */
static __global__ void __launch_bounds__(DRAW_THREADS)
    draw_peak_kernel(const float *logits, struct draw_cut cut)
{
    __shared__ struct draw_peak peaks[DRAW_THREADS];
    struct draw_scratch scratch = draw_scratch_of(&cut, blockIdx.y);
    if (blockIdx.x == 0 && threadIdx.x == 0)
        *scratch.mass = 0;
    for (uint32_t i = blockIdx.x * DRAW_THREADS + threadIdx.x; i < DRAW_BUCKETS;
         i += cut.parts * DRAW_THREADS) {
        scratch.bucket_counts[i] = 0;
        scratch.bucket_masses[i] = 0;
    }
    const float *row = logits + (size_t)blockIdx.y * cut.vocab;
    const uint32_t begin = blockIdx.x * cut.part;
    const uint32_t count = cut.vocab - begin < cut.part ? cut.vocab - begin : cut.part;
    struct draw_peak peak = draw_peak_none();
#pragma unroll 4
    for (uint32_t i = threadIdx.x; i < count; i += DRAW_THREADS) {
        float value = row[begin + i];
        if (value > peak.highest) { /* an equal one that comes later ranks lower */
            peak.highest = value;
            peak.token = begin + i;
        }
        bool finite = value >= -FLT_MAX && value <= FLT_MAX;
        peak.lowest = finite ? fminf(peak.lowest, value) : peak.lowest;
        peak.finite += finite;
        peak.bad |= !(value <= FLT_MAX);
    }
    peaks[threadIdx.x] = peak;
    __syncthreads();
    if (threadIdx.x < CUDA_WARP) {
        peak = draw_warp_peak(peaks, DRAW_THREADS);
        if (threadIdx.x == 0)
            scratch.peaks[blockIdx.x] = peak;
    }
}

/* Grid: parts, rows. Masses of the parts and, of an ordered row, of the buckets. */
static __global__ void __launch_bounds__(DRAW_THREADS)
    draw_weigh_kernel(const float *logits, const struct draw *draws, struct draw_cut cut)
{
    __shared__ struct draw_peak peak;
    __shared__ uint32_t counts[DRAW_BUCKETS];
    __shared__ draw_mass masses[DRAW_BUCKETS], part_mass;
    const struct draw_row row = draw_row_of(logits, draws, &cut, blockIdx.y, &peak);
    if (draw_is_greedy(&row))
        return;
    const bool ordered = draw_is_ordered(&row);
    for (uint32_t i = threadIdx.x; i < DRAW_BUCKETS; i += DRAW_THREADS) {
        counts[i] = 0;
        masses[i] = 0;
    }
    if (threadIdx.x == 0)
        part_mass = 0;
    __syncthreads();

    const uint32_t begin = blockIdx.x * cut.part;
    const uint32_t count = cut.vocab - begin < cut.part ? cut.vocab - begin : cut.part;
    draw_mass kept = 0;
    for (uint32_t i = threadIdx.x; i < count; i += DRAW_THREADS) {
        const float value = row.logits[begin + i];
        const double weight = draw_weight(&row, value);
        const draw_mass mass = draw_mass_of(weight);
        if (weight >= row.draw.min_p)
            kept += mass;
        if (ordered && mass > 0) {
            uint32_t bucket = draw_bucket(&row, value);
            atomicAdd(&counts[bucket], 1u);
            atomicAdd(&masses[bucket], mass);
        }
    }
    for (int apart = CUDA_WARP / 2; apart > 0; apart /= 2)
        kept += __shfl_xor_sync(0xFFFFFFFFu, kept, apart);
    if (threadIdx.x % CUDA_WARP == 0)
        atomicAdd(&part_mass, kept);
    __syncthreads();

    struct draw_scratch scratch = draw_scratch_of(&cut, blockIdx.y);
    if (threadIdx.x == 0) {
        scratch.part_masses[blockIdx.x] = part_mass;
        atomicAdd(scratch.mass, part_mass);
    }
    for (uint32_t i = threadIdx.x; ordered && i < DRAW_BUCKETS; i += DRAW_THREADS)
        if (counts[i] > 0) {
            atomicAdd(&scratch.bucket_counts[i], counts[i]);
            atomicAdd(&scratch.bucket_masses[i], masses[i]);
        }
}

/* --- The choice --- */

/* The goal of the draw itself: the first token whose sum exceeds uniform * mass. */
static __device__ __forceinline__ struct draw_sum draw_goal(const struct draw_row *row,
                                                            draw_mass mass)
{
    draw_mass target = (draw_mass)(row->draw.uniform * (double)mass);
    return draw_goal_mass((target < mass ? target : mass - 1) + 1);
}

static __device__ __forceinline__ uint32_t draw_best_first(const struct draw_row *row,
                                                           const struct draw_scratch *scratch,
                                                           struct draw_shared *shared)
{
    const struct draw_order order = draw_order_of(row, scratch, shared);
    /* What is kept is a beginning of the order, so the least of these masses is that of all three:
     * the best k, those of them that top-p wants, those that min-p keeps. */
    draw_mass most =
        draw_find(&order, draw_goal_count(draw_is_limited(row) ? row->draw.top_k : UINT32_MAX))
            .before.mass;
    draw_mass mass = *scratch->mass < most ? *scratch->mass : most;
    if (row->draw.top_p < 1) {
        double wanted = ceil(row->draw.top_p * (double)most);
        draw_mass reached =
            draw_find(&order, draw_goal_mass(wanted > 1 ? (draw_mass)wanted : 1)).before.mass;
        mass = reached < mass ? reached : mass;
    }
    return draw_find(&order, draw_goal(row, mass)).index;
}

/* In the order of ids: first the part, then the token. */
static __device__ __forceinline__ uint32_t draw_by_id(const struct draw_row *row,
                                                      const struct draw_scratch *scratch,
                                                      const struct draw_cut *cut,
                                                      struct draw_board *board)
{
    struct draw_sum goal = draw_goal(row, *scratch->mass);
    struct draw_at part =
        draw_walk(board, cut->parts, draw_sum_of(0, 0), goal,
                  [=](uint32_t i) { return draw_sum_of(scratch->part_masses[i], 0); });
    const uint32_t begin = part.index * cut->part;
    const uint32_t count = cut->vocab - begin < cut->part ? cut->vocab - begin : cut->part;
    return begin + draw_walk(board, count, part.before, goal, [=](uint32_t i) {
                       double weight = draw_weight(row, row->logits[begin + i]);
                       return draw_sum_of(weight >= row->draw.min_p ? draw_mass_of(weight) : 0, 0);
                   }).index;
}

/* Grid: rows. */
static __global__ void __launch_bounds__(DRAW_THREADS)
    draw_choose_kernel(const float *logits, const struct draw *draws, struct draw_cut cut,
                       uint32_t *tokens)
{
    __shared__ struct draw_shared shared;
    const struct draw_row row = draw_row_of(logits, draws, &cut, blockIdx.x, &shared.peak);
    if (draw_is_greedy(&row)) {
        if (threadIdx.x == 0)
            tokens[blockIdx.x] = row.peak.bad || row.peak.finite == 0 ? DRAW_NONE : row.peak.token;
        return;
    }
    const struct draw_scratch scratch = draw_scratch_of(&cut, blockIdx.x);
    const uint32_t token = draw_is_ordered(&row)
                               ? draw_best_first(&row, &scratch, &shared)
                               : draw_by_id(&row, &scratch, &cut, &shared.board);
    if (threadIdx.x == 0)
        tokens[blockIdx.x] = token;
}

/* --- Launching --- */

static uint32_t draw_parts(uint32_t vocab, uint32_t part)
{
    return (vocab - 1) / part + 1;
}

size_t cuda_draw_scratch(uint32_t count, uint32_t vocab)
{
    return count * draw_row_bytes(draw_parts(vocab, DRAW_PART_MIN));
}

void cuda_draw(cudaStream_t stream, const float *logits, uint32_t vocab, const struct draw *draws,
               uint32_t count, uint32_t *tokens, void *scratch)
{
    CHECK_MSG(vocab > 0 && vocab <= DRAW_VOCAB_MAX, "no CUDA kernel draws one of %u tokens", vocab);
    struct draw_cut cut = {static_cast<unsigned char *>(scratch), vocab, 0, DRAW_PART_MIN};
    while (cut.part < DRAW_PART_MAX &&
           (uint64_t)count * draw_parts(vocab, cut.part) > DRAW_BLOCKS)
        cut.part *= 2;
    cut.parts = draw_parts(vocab, cut.part);
    cuda_launch(stream, draw_peak_kernel, dim3(cut.parts, count), dim3(DRAW_THREADS), 0, logits,
                cut);
    cuda_launch(stream, draw_weigh_kernel, dim3(cut.parts, count), dim3(DRAW_THREADS), 0, logits,
                draws, cut);
    cuda_launch(stream, draw_choose_kernel, dim3(count), dim3(DRAW_THREADS), 0, logits, draws, cut,
                tokens);
}
