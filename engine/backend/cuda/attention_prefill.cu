/* Attention of prompts: tiles of neighbouring rows against tiles of keys, so that a key comes from
 * memory once for all rows of a tile and arithmetic bounds it: 4 * rows * keys * head_dim
 * operations per head. Scores never leave a block of threads (online softmax), so no memory is
 * needed beside the arguments, whatever the prompt's length.
 *
 * Rows are taken in windows of 64 (F32: 32). The rows of one sequence in a window are a run; a
 * block of threads takes one run and one query head at a time. How many runs a window has is known
 * on the device alone: a window gets several blocks, block s takes its runs s, s + slots and so on,
 * and blocks without a run return at once. For a run, keys are walked in tiles from the first that
 * its first row attends to up to the position of its last row; what a row does not attend to is
 * masked by its own position, and keys of no row are not even read. The last windows of a prompt
 * have the most keys and are started first.
 *
 * F16: four warps of 16 rows. Scores and sums of values are products of 16 x 16 tiles on tensor
 * cores, f32 sums; queries (times scale) and weights are rounded to F16 for them. How a product
 * lies in the registers of a warp is the machine's secret, so the scores pass through shared
 * memory, where two lanes weigh each row, and the running sums are rescaled by a tile whose rows
 * hold the factors. Rows in shared memory are 16 bytes longer than their values, so that eight of
 * them begin in different banks. A tile takes 70 KiB at 128 values per head: three blocks to a
 * multiprocessor of sm_90, so that one loads while others multiply. F32 rounds nothing and runs on
 * the ordinary units; keys and values share one place there. */
#include "engine/backend/cuda/attention.cuh"

#include <mma.h>

namespace {

using namespace nvcuda;

constexpr uint32_t THREADS = 128;
constexpr uint32_t WARPS = THREADS / CUDA_WARP;
constexpr uint32_t MMA = 16; /* edge of a tile of the tensor cores */

/* A run of rows of one sequence for one query head. */
struct attention_run {
    uint32_t first, rows;   /* rows of the batch */
    uint32_t head, kv_head;
    const uint32_t *blocks; /* table of the sequence */
    uint32_t begin, end;    /* keys that any of the rows attends to */
};

/* Online softmax of one row: the greatest score so far, and the sum of exp(score - top). */
struct running_row {
    uint32_t begin, end; /* keys that the row attends to; none: not a row of the run */
    float top, sum;
};

/* Bit i: row first + i begins a run. */
__device__ uint64_t run_starts(const uint32_t *table_of, uint32_t first, uint32_t count)
{
    uint64_t starts = 0;
    for (uint32_t half = 0; half < 2; half++) {
        uint32_t i = half * CUDA_WARP + threadIdx.x % CUDA_WARP;
        bool start = i < count && (i == 0 || table_of[first + i] != table_of[first + i - 1]);
        starts |= (uint64_t)__ballot_sync(0xFFFFFFFFu, start) << (half * CUDA_WARP);
    }
    return starts;
}

/* The run that begins at the lowest bit of `starts`. */
__device__ struct attention_run find_run(const struct cuda_attention_args &args, uint32_t first,
                                         uint32_t count, uint64_t starts)
{
    uint32_t from = (uint32_t)__ffsll((long long)starts) - 1;
    uint64_t later = starts & (starts - 1);
    uint32_t to = later ? (uint32_t)__ffsll((long long)later) - 1 : count;
    struct attention_run run;
    run.first = first + from;
    run.rows = to - from;
    run.head = blockIdx.y;
    run.kv_head = run.head / (args.heads / args.kv.kv_heads);
    run.blocks = args.at.tables + (size_t)args.at.table_of[run.first] * args.at.table_stride;
    run.begin = cuda_first_key(args.at.positions[run.first] + 1, args.window);
    run.end = args.at.positions[run.first + run.rows - 1] + 1;
    return run;
}

/* Calls each(run) for the runs of this block: x = (window from the last on, slot), y = head. */
template <uint32_t ROWS, typename Each>
__device__ void for_runs(const struct cuda_attention_args &args, uint32_t slots, const Each &each)
{
    uint32_t window = (gridDim.x - 1 - blockIdx.x) / slots, slot = blockIdx.x % slots;
    uint32_t first = window * ROWS;
    uint32_t count = args.rows - first < ROWS ? args.rows - first : ROWS;
    uint64_t starts = run_starts(args.at.table_of, first, count);
    for (uint32_t i = 0; starts != 0; i++, starts &= starts - 1) {
        if (i % slots == slot)
            each(find_run(args, first, count, starts));
    }
}

__device__ __forceinline__ struct running_row begin_row(const struct cuda_attention_args &args,
                                                        const struct attention_run &run,
                                                        uint32_t row)
{
    struct running_row r = {0, 0, -INFINITY, 0.0f};
    if (row < run.rows) {
        r.end = args.at.positions[run.first + row] + 1;
        r.begin = cuda_first_key(r.end, args.window);
    }
    return r;
}

/* Takes a new greatest score into account; what was summed so far is to be multiplied by the
 * result. A row that has seen no key yet stays as it is. */
__device__ __forceinline__ float raise_top(struct running_row *r, float top)
{
    top = fmaxf(top, r->top);
    float factor = top == r->top ? 1.0f : expf(r->top - top);
    r->top = top;
    r->sum *= factor;
    return factor;
}

__device__ __forceinline__ bool attends(const struct running_row &r, uint32_t key)
{
    return key >= r.begin && key < r.end;
}

/* Where a key or value lies. */
template <typename Element>
__device__ __forceinline__ const Element *kv_row(const struct kv_layer &kv, const void *data,
                                                 const struct attention_run &run, uint32_t key)
{
    size_t at = cuda_kv_block(kv, run.blocks[key / KV_BLOCK_TOKENS], run.kv_head) +
                (size_t)(key % KV_BLOCK_TOKENS) * kv.head_dim;
    return static_cast<const Element *>(data) + at;
}

/* KEYS keys or values from `first` on to shared memory, rows of STRIDE elements of which DIM are
 * written: zeros past head_dim and for keys of no row (whose memory may hold anything). */
template <typename Element, uint32_t DIM, uint32_t STRIDE, uint32_t KEYS>
__device__ void load_keys(const struct kv_layer &kv, const void *data,
                          const struct attention_run &run, uint32_t first, bool aligned,
                          Element *to)
{
    constexpr uint32_t IN_PIECE = 16 / sizeof(Element), PIECES = DIM / IN_PIECE;
    constexpr uint32_t EACH = KEYS * PIECES / THREADS;
    static_assert(KEYS * PIECES % THREADS == 0, "threads share the pieces evenly");
    if (aligned) {
        uint4 held[EACH];
#pragma unroll
        for (uint32_t i = 0; i < EACH; i++) {
            uint32_t place = threadIdx.x + i * THREADS;
            uint32_t key = first + place / PIECES, d = place % PIECES * IN_PIECE;
            held[i] = make_uint4(0, 0, 0, 0);
            if (key >= run.begin && key < run.end && d < kv.head_dim)
                held[i] = *reinterpret_cast<const uint4 *>(kv_row<Element>(kv, data, run, key) + d);
        }
#pragma unroll
        for (uint32_t i = 0; i < EACH; i++) {
            uint32_t place = threadIdx.x + i * THREADS;
            Element *at = to + place / PIECES * STRIDE + place % PIECES * IN_PIECE;
            *reinterpret_cast<uint4 *>(at) = held[i];
        }
        return;
    }
    for (uint32_t i = threadIdx.x; i < KEYS * DIM; i += THREADS) {
        uint32_t key = first + i / DIM, d = i % DIM;
        bool there = key >= run.begin && key < run.end && d < kv.head_dim;
        to[i / DIM * STRIDE + d] = there ? kv_row<Element>(kv, data, run, key)[d] : Element(0.0f);
    }
}

/* ---- F16: tensor cores ---- */

/* Sizes for heads of up to DIM values, in elements of the type at hand. */
template <uint32_t DIM> struct half_tile {
    static constexpr uint32_t ROWS = WARPS * MMA;
    static constexpr uint32_t KEYS = DIM > 128 ? 32 : 64;
    static constexpr uint32_t STRIDE = DIM + 8;         /* of q, keys and values */
    static constexpr uint32_t SCORES_STRIDE = KEYS + 4; /* floats */
    static constexpr uint32_t FACTORS = KEYS / 2;       /* floats of a row of scores that the
                                                           weights leave free: 16 factors */
    static constexpr uint32_t PARTS = DIM / MMA;        /* of a row of values */
    static constexpr size_t BYTES = (ROWS + 2 * KEYS) * STRIDE * sizeof(__half) +
                                    ROWS * SCORES_STRIDE * sizeof(float);
    typedef wmma::fragment<wmma::accumulator, MMA, MMA, MMA, float> product;
    typedef wmma::fragment<wmma::matrix_a, MMA, MMA, MMA, __half, wmma::row_major> left;
    typedef wmma::fragment<wmma::matrix_b, MMA, MMA, MMA, __half, wmma::row_major> right;
    typedef wmma::fragment<wmma::matrix_b, MMA, MMA, MMA, __half, wmma::col_major> turned;
};

template <uint32_t DIM>
__device__ void load_half_q(const struct cuda_attention_args &args, const struct attention_run &run,
                            __half *to)
{
    typedef half_tile<DIM> tile;
    uint32_t dim = args.kv.head_dim;
    for (uint32_t i = threadIdx.x; i < tile::ROWS * DIM; i += THREADS) {
        uint32_t row = i / DIM, d = i % DIM;
        float value = 0.0f;
        if (row < run.rows && d < dim)
            value = args.q[((size_t)(run.first + row) * args.heads + run.head) * dim + d];
        to[row * tile::STRIDE + d] = __float2half_rn(value * args.scale);
    }
}

/* scores[16][KEYS] of a warp: its rows of q against all keys of the tile. */
template <uint32_t DIM>
__device__ __forceinline__ void score_tile(const __half *q, const __half *keys, float *scores)
{
    typedef half_tile<DIM> tile;
    typename tile::product s[tile::KEYS / MMA];
#pragma unroll
    for (uint32_t n = 0; n < tile::KEYS / MMA; n++)
        wmma::fill_fragment(s[n], 0.0f);
#pragma unroll
    for (uint32_t k = 0; k < tile::PARTS; k++) {
        typename tile::left a;
        wmma::load_matrix_sync(a, q + k * MMA, tile::STRIDE);
#pragma unroll
        for (uint32_t n = 0; n < tile::KEYS / MMA; n++) {
            typename tile::turned b;
            wmma::load_matrix_sync(b, keys + n * MMA * tile::STRIDE + k * MMA, tile::STRIDE);
            wmma::mma_sync(s[n], a, b, s[n]);
        }
    }
#pragma unroll
    for (uint32_t n = 0; n < tile::KEYS / MMA; n++)
        wmma::store_matrix_sync(scores + n * MMA, s[n], tile::SCORES_STRIDE, wmma::mem_row_major);
    __syncwarp();
}

/* Scores become weights, F16, at the beginning of each row, and factors of what was summed so far,
 * 16 times per row, behind them. Two lanes share a row; each has 16 of every 32 keys. */
template <uint32_t DIM>
__device__ __forceinline__ void weigh_tile(float *scores, uint32_t first, struct running_row *r)
{
    typedef half_tile<DIM> tile;
    constexpr uint32_t EACH = tile::KEYS / 2;
    uint32_t lane = threadIdx.x % CUDA_WARP, half = lane % 2;
    float *row = scores + lane / 2 * tile::SCORES_STRIDE;
    float x[EACH], top = -INFINITY;
#pragma unroll
    for (uint32_t i = 0; i < EACH; i += 4) {
        uint32_t key = i / 16 * 32 + half * 16 + i % 16;
        float4 four = *reinterpret_cast<const float4 *>(row + key);
        x[i] = four.x, x[i + 1] = four.y, x[i + 2] = four.z, x[i + 3] = four.w;
        for (uint32_t j = 0; j < 4; j++) {
            x[i + j] = attends(*r, first + key + j) ? x[i + j] : -INFINITY;
            top = fmaxf(top, x[i + j]);
        }
    }
    float factor = raise_top(r, fmaxf(top, __shfl_xor_sync(0xFFFFFFFFu, top, 1)));
    __syncwarp(); /* the scores have been read: weights take their place */
    float sum = 0.0f;
#pragma unroll
    for (uint32_t i = 0; i < EACH; i += 2) {
        uint32_t key = i / 16 * 32 + half * 16 + i % 16;
        __half two[2];
        for (uint32_t j = 0; j < 2; j++) {
            bool there = attends(*r, first + key + j);
            two[j] = __float2half_rn(there ? expf(x[i + j] - r->top) : 0.0f);
            sum += __half2float(two[j]);
        }
        reinterpret_cast<__half2 *>(row)[key / 2] = __halves2half2(two[0], two[1]);
    }
    r->sum += sum + __shfl_xor_sync(0xFFFFFFFFu, sum, 1);
    float4 factors = make_float4(factor, factor, factor, factor);
    reinterpret_cast<float4 *>(row + tile::FACTORS)[2 * half] = factors;
    reinterpret_cast<float4 *>(row + tile::FACTORS)[2 * half + 1] = factors;
    __syncwarp();
}

/* sums = factors * sums + weights * values */
template <uint32_t DIM>
__device__ __forceinline__ void sum_tile(const float *scores, const __half *values,
                                         typename half_tile<DIM>::product *sums)
{
    typedef half_tile<DIM> tile;
    const __half *weights = reinterpret_cast<const __half *>(scores);
    typename tile::product factors;
    wmma::load_matrix_sync(factors, scores + tile::FACTORS, tile::SCORES_STRIDE,
                           wmma::mem_row_major);
#pragma unroll
    for (uint32_t n = 0; n < tile::PARTS; n++)
        for (int i = 0; i < factors.num_elements; i++)
            sums[n].x[i] *= factors.x[i];
#pragma unroll 1 /* with the loads of later steps drawn forward, registers would not suffice */
    for (uint32_t k = 0; k < tile::KEYS / MMA; k++) {
        typename tile::left a;
        wmma::load_matrix_sync(a, weights + k * MMA, 2 * tile::SCORES_STRIDE);
#pragma unroll
        for (uint32_t n = 0; n < tile::PARTS; n++) {
            typename tile::right b;
            wmma::load_matrix_sync(b, values + k * MMA * tile::STRIDE + n * MMA, tile::STRIDE);
            wmma::mma_sync(sums[n], a, b, sums[n]);
        }
    }
}

/* A warp's rows of the result, by way of its scores' place, KEYS values of each row at a time. */
template <uint32_t DIM>
__device__ void write_tile(const struct cuda_attention_args &args, const struct attention_run &run,
                           const typename half_tile<DIM>::product *sums, float sum, float *scores)
{
    typedef half_tile<DIM> tile;
    constexpr uint32_t AT_ONCE = tile::KEYS / MMA;
    uint32_t lane = threadIdx.x % CUDA_WARP, dim = args.kv.head_dim;
    uint32_t above = threadIdx.x / CUDA_WARP * MMA; /* rows of the warps before */
#pragma unroll
    for (uint32_t from = 0; from < tile::PARTS; from += AT_ONCE) {
        __syncwarp();
#pragma unroll
        for (uint32_t n = 0; n < AT_ONCE; n++)
            if (from + n < tile::PARTS)
                wmma::store_matrix_sync(scores + n * MMA, sums[from + n], tile::SCORES_STRIDE,
                                        wmma::mem_row_major);
        __syncwarp();
        for (uint32_t row = 0; row < MMA && above + row < run.rows; row++) {
            float part = 1.0f / __shfl_sync(0xFFFFFFFFu, sum, 2 * row);
            size_t at = ((size_t)(run.first + above + row) * args.heads + run.head) * dim;
            for (uint32_t i = lane; i < tile::KEYS && from * MMA + i < dim; i += CUDA_WARP)
                if (i < (tile::PARTS - from) * MMA)
                    args.out[at + from * MMA + i] = scores[row * tile::SCORES_STRIDE + i] * part;
        }
    }
}

/* One run. Warps without a row, or with none that attends to a tile, only help to load it. */
template <uint32_t DIM>
__device__ void attend_half_run(const struct cuda_attention_args &args,
                                const struct attention_run &run, bool aligned, __half *shared)
{
    typedef half_tile<DIM> tile;
    uint32_t warp = threadIdx.x / CUDA_WARP, lane = threadIdx.x % CUDA_WARP;
    __half *q = shared, *keys = q + tile::ROWS * tile::STRIDE;
    __half *values = keys + tile::KEYS * tile::STRIDE;
    float *scores = reinterpret_cast<float *>(values + tile::KEYS * tile::STRIDE) +
                    warp * MMA * tile::SCORES_STRIDE;
    struct running_row r = begin_row(args, run, warp * MMA + lane / 2);
    typename tile::product sums[tile::PARTS];
#pragma unroll
    for (uint32_t n = 0; n < tile::PARTS; n++)
        wmma::fill_fragment(sums[n], 0.0f);
    __syncthreads(); /* the run before is done with the shared memory */
    load_half_q<DIM>(args, run, q);
    uint32_t first = run.begin / tile::KEYS * tile::KEYS;
    for (; first < run.end; first += tile::KEYS) {
        __syncthreads();
        load_keys<__half, DIM, tile::STRIDE, tile::KEYS>(args.kv, args.kv.keys, run, first, aligned,
                                                         keys);
        load_keys<__half, DIM, tile::STRIDE, tile::KEYS>(args.kv, args.kv.values, run, first,
                                                         aligned, values);
        __syncthreads();
        if (!__any_sync(0xFFFFFFFFu, r.begin < first + tile::KEYS && r.end > first))
            continue;
        score_tile<DIM>(q + warp * MMA * tile::STRIDE, keys, scores);
        weigh_tile<DIM>(scores, first, &r);
        sum_tile<DIM>(scores, values, sums);
        __syncwarp(); /* the next scores overwrite what was just read */
    }
    write_tile<DIM>(args, run, sums, r.sum, scores);
}

template <uint32_t DIM>
__global__ void __launch_bounds__(THREADS, DIM > 128 ? 2 : 3)
    attend_half(struct cuda_attention_args args, uint32_t slots, bool aligned)
{
    CUDA_DYNAMIC_SHARED(__half, shared);
    for_runs<half_tile<DIM>::ROWS>(args, slots, [&](const struct attention_run &run) {
        attend_half_run<DIM>(args, run, aligned, shared);
    });
}

/* ---- F32 ---- */

constexpr uint32_t FLOAT_ROWS = 32;
constexpr uint32_t FLOAT_KEYS = 32;
constexpr uint32_t FLOAT_SCORES_STRIDE = FLOAT_KEYS + 4;
constexpr uint32_t FLOAT_ROWS_EACH = 4; /* rows of values that a thread sums */

template <uint32_t DIM> struct float_tile {
    static constexpr uint32_t STRIDE = DIM + 4;
    static constexpr uint32_t PARTS = DIM / 64; /* 16 threads with four values each */
    static constexpr size_t BYTES =
        ((FLOAT_ROWS + FLOAT_KEYS) * STRIDE + FLOAT_ROWS * FLOAT_SCORES_STRIDE + FLOAT_ROWS) *
        sizeof(float);
};

__device__ __forceinline__ float4 read4(const float *p)
{
    return *reinterpret_cast<const float4 *>(p);
}

template <uint32_t DIM>
__device__ void load_float_q(const struct cuda_attention_args &args,
                             const struct attention_run &run, float *to)
{
    uint32_t dim = args.kv.head_dim;
    for (uint32_t i = threadIdx.x; i < FLOAT_ROWS * DIM; i += THREADS) {
        uint32_t row = i / DIM, d = i % DIM;
        size_t at = ((size_t)(run.first + row) * args.heads + run.head) * dim + d;
        to[row * float_tile<DIM>::STRIDE + d] = row < run.rows && d < dim ? args.q[at] : 0.0f;
    }
}

/* scores[32][32]: two rows and every eighth key for each thread. */
template <uint32_t DIM>
__device__ void score_float_tile(const float *q, const float *keys, float scale, float *scores)
{
    constexpr uint32_t STRIDE = float_tile<DIM>::STRIDE;
    uint32_t row = threadIdx.x / 8 * 2, column = threadIdx.x % 8;
    float dots[2][4] = {};
    for (uint32_t d = 0; d < DIM; d += 4) {
        float4 x[2] = {read4(q + row * STRIDE + d), read4(q + (row + 1) * STRIDE + d)};
#pragma unroll
        for (uint32_t k = 0; k < 4; k++) {
            float4 y = read4(keys + (column + 8 * k) * STRIDE + d);
#pragma unroll
            for (uint32_t i = 0; i < 2; i++)
                dots[i][k] = fmaf(x[i].w, y.w, fmaf(x[i].z, y.z,
                                  fmaf(x[i].y, y.y, fmaf(x[i].x, y.x, dots[i][k]))));
        }
    }
    for (uint32_t i = 0; i < 2; i++)
        for (uint32_t k = 0; k < 4; k++)
            scores[(row + i) * FLOAT_SCORES_STRIDE + column + 8 * k] = dots[i][k] * scale;
}

/* Scores become weights; four neighbouring lanes share a row and have every fourth key. */
__device__ void weigh_float_tile(float *scores, uint32_t first, struct running_row *r,
                                 float *factors)
{
    uint32_t row = threadIdx.x / 4, quarter = threadIdx.x % 4;
    float *x = scores + row * FLOAT_SCORES_STRIDE, top = -INFINITY, sum = 0.0f;
    for (uint32_t k = quarter; k < FLOAT_KEYS; k += 4)
        top = attends(*r, first + k) ? fmaxf(top, x[k]) : top;
    top = fmaxf(top, __shfl_xor_sync(0xFFFFFFFFu, top, 1));
    top = fmaxf(top, __shfl_xor_sync(0xFFFFFFFFu, top, 2));
    float factor = raise_top(r, top);
    for (uint32_t k = quarter; k < FLOAT_KEYS; k += 4) {
        x[k] = attends(*r, first + k) ? expf(x[k] - r->top) : 0.0f;
        sum += x[k];
    }
    sum += __shfl_xor_sync(0xFFFFFFFFu, sum, 1);
    sum += __shfl_xor_sync(0xFFFFFFFFu, sum, 2);
    r->sum += sum;
    if (quarter == 0)
        factors[row] = factor;
}

__device__ __forceinline__ void add_scaled(float4 *sum, float weight, float4 v)
{
    sum->x = fmaf(weight, v.x, sum->x), sum->y = fmaf(weight, v.y, sum->y);
    sum->z = fmaf(weight, v.z, sum->z), sum->w = fmaf(weight, v.w, sum->w);
}

/* sums = factors * sums + weights * values, for four rows and 4 * PARTS values of each. */
template <uint32_t DIM>
__device__ __forceinline__ void
sum_float_tile(const float *scores, const float *values, const float *factors,
               float4 sums[FLOAT_ROWS_EACH][float_tile<DIM>::PARTS])
{
    constexpr uint32_t PARTS = float_tile<DIM>::PARTS;
    uint32_t row = threadIdx.x / 16 * FLOAT_ROWS_EACH, d = threadIdx.x % 16 * 4;
#pragma unroll
    for (uint32_t i = 0; i < FLOAT_ROWS_EACH; i++) {
        float factor = factors[row + i];
        for (uint32_t n = 0; n < PARTS; n++) {
            sums[i][n].x *= factor, sums[i][n].y *= factor;
            sums[i][n].z *= factor, sums[i][n].w *= factor;
        }
    }
    for (uint32_t k = 0; k < FLOAT_KEYS; k++) {
        float4 v[PARTS];
#pragma unroll
        for (uint32_t n = 0; n < PARTS; n++)
            v[n] = read4(values + k * float_tile<DIM>::STRIDE + d + 64 * n);
#pragma unroll
        for (uint32_t i = 0; i < FLOAT_ROWS_EACH; i++) {
            float weight = scores[(row + i) * FLOAT_SCORES_STRIDE + k];
            for (uint32_t n = 0; n < PARTS; n++)
                add_scaled(&sums[i][n], weight, v[n]);
        }
    }
}

template <uint32_t DIM>
__device__ void write_float_tile(const struct cuda_attention_args &args,
                                 const struct attention_run &run,
                                 const float4 sums[FLOAT_ROWS_EACH][float_tile<DIM>::PARTS],
                                 const float *totals)
{
    uint32_t row = threadIdx.x / 16 * FLOAT_ROWS_EACH, dim = args.kv.head_dim;
#pragma unroll
    for (uint32_t i = 0; i < FLOAT_ROWS_EACH; i++) {
        if (row + i >= run.rows)
            continue;
        float part = 1.0f / totals[row + i];
        float *to = args.out + ((size_t)(run.first + row + i) * args.heads + run.head) * dim;
#pragma unroll
        for (uint32_t n = 0; n < float_tile<DIM>::PARTS; n++) {
            float4 s = sums[i][n];
            float four[4] = {s.x, s.y, s.z, s.w};
            uint32_t d = 64 * n + threadIdx.x % 16 * 4;
            for (uint32_t j = 0; j < 4 && d + j < dim; j++)
                to[d + j] = four[j] * part;
        }
    }
}

template <uint32_t DIM>
__device__ void attend_float_run(const struct cuda_attention_args &args,
                                 const struct attention_run &run, bool aligned, float *shared)
{
    typedef float_tile<DIM> tile;
    float *q = shared, *kv = q + FLOAT_ROWS * tile::STRIDE;
    float *scores = kv + FLOAT_KEYS * tile::STRIDE;
    float *factors = scores + FLOAT_ROWS * FLOAT_SCORES_STRIDE;
    struct running_row r = begin_row(args, run, threadIdx.x / 4);
    float4 sums[FLOAT_ROWS_EACH][tile::PARTS];
    for (uint32_t i = 0; i < FLOAT_ROWS_EACH; i++)
        for (uint32_t n = 0; n < tile::PARTS; n++)
            sums[i][n] = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    load_float_q<DIM>(args, run, q);
    for (uint32_t first = run.begin / FLOAT_KEYS * FLOAT_KEYS; first < run.end;
         first += FLOAT_KEYS) {
        load_keys<float, DIM, tile::STRIDE, FLOAT_KEYS>(args.kv, args.kv.keys, run, first, aligned,
                                                        kv);
        __syncthreads();
        score_float_tile<DIM>(q, kv, args.scale, scores);
        __syncthreads();
        load_keys<float, DIM, tile::STRIDE, FLOAT_KEYS>(args.kv, args.kv.values, run, first,
                                                        aligned, kv);
        weigh_float_tile(scores, first, &r, factors);
        __syncthreads();
        sum_float_tile<DIM>(scores, kv, factors, sums);
        __syncthreads();
    }
    if (threadIdx.x % 4 == 0)
        factors[threadIdx.x / 4] = r.sum;
    __syncthreads();
    write_float_tile<DIM>(args, run, sums, factors);
}

template <uint32_t DIM>
__global__ void __launch_bounds__(THREADS)
    attend_float(struct cuda_attention_args args, uint32_t slots, bool aligned)
{
    CUDA_DYNAMIC_SHARED(float, shared);
    for_runs<FLOAT_ROWS>(args, slots, [&](const struct attention_run &run) {
        attend_float_run<DIM>(args, run, aligned, shared);
    });
}

/* ---- launcher ---- */

/* What takes heads of up to `dim` values. */
struct attention_tile {
    uint32_t dim, rows;
    size_t shared_bytes;
    void (*kernel)(struct cuda_attention_args, uint32_t slots, bool aligned);
};

template <uint32_t DIM> struct attention_tile tile_of_half()
{
    return {DIM, half_tile<DIM>::ROWS, half_tile<DIM>::BYTES, attend_half<DIM>};
}

template <uint32_t DIM> struct attention_tile tile_of_float()
{
    return {DIM, FLOAT_ROWS, float_tile<DIM>::BYTES, attend_float<DIM>};
}

struct attention_tile find_tile(enum dtype dtype, uint32_t dim)
{
    if (dtype == DTYPE_F32)
        return dim <= 64    ? tile_of_float<64>()
               : dim <= 128 ? tile_of_float<128>()
               : dim <= 192 ? tile_of_float<192>()
                            : tile_of_float<256>();
    return dim <= 32    ? tile_of_half<32>()
           : dim <= 64  ? tile_of_half<64>()
           : dim <= 80  ? tile_of_half<80>()
           : dim <= 96  ? tile_of_half<96>()
           : dim <= 128 ? tile_of_half<128>()
           : dim <= 192 ? tile_of_half<192>()
                        : tile_of_half<256>();
}

} // namespace

/* A few blocks per window are plenty in a long prompt, whose windows have one run each; a step of
 * few windows may be as many sequences as rows. Results do not depend on it. */
void cuda_attention_tiled(cudaStream_t stream, const struct cuda_attention_args *args)
{
    cuda_attention_check(args);
    if (args->rows == 0 || args->heads == 0)
        return;
    struct attention_tile tile = find_tile(args->kv.dtype, args->kv.head_dim);
    uint32_t windows = args->rows / tile.rows + (args->rows % tile.rows != 0);
    uint32_t slots = windows < 8 ? 16 : windows < 32 ? 128 / windows : 4;
    CUDA_CALL(cudaFuncSetAttribute(reinterpret_cast<const void *>(tile.kernel),
                                   cudaFuncAttributeMaxDynamicSharedMemorySize,
                                   (int)tile.shared_bytes));
    cuda_launch(stream, tile.kernel, dim3(windows * slots, args->heads), dim3(THREADS),
                tile.shared_bytes, *args, slots, cuda_attention_aligned(&args->kv));
}
