/* The experts of a step of few rows: out = down(silu(gate x) * up x) for every expert that has
 * work, read straight from the slots where their pages lie.
 *
 * Bound by bytes: each touched page is read once per CUDA_FEW_ROWS of its rows, (2 f h + h f) x the
 * bytes of a weight, and everything else is small beside it: eight experts of 2048 x 1024 in BF16
 * are 100 MB, the activations 40 KB. So the whole GPU must ask for weights all the time. Two
 * launches, since down needs all of a hidden row:
 *
 *   gate and up   a warp computes two outputs: two rows of gate, the same two of up, and
 *                 silu(gate) * up before anything is stored
 *   down          a warp computes four outputs
 *
 * Either way a warp streams four rows of weights, 16 bytes per lane and load, and holds them for up
 * to eight rows of x, which come from the first-level cache. One row of x: eight loads in the air
 * (4 KiB a warp) and 24 warps a multiprocessor where no expert has more than two rows (80 registers
 * at most), 12 where some have (168): 96 or 48 KiB, where the latency of memory times its rate asks
 * for some 30. Blocks of four warps at eight experts of 2048 x 1024: 1024 for gate and up, 1024 for
 * down, more than 132 multiprocessors hold at a time; where there are fewer, groups of rows go side
 * by side, else a block takes them in turn and finds the weights in the caches. How many experts
 * there are is known on the device only: the grid is for as many as there can be, experts in its
 * slow dimension, so the blocks that find nothing to do come last and return at once.
 *
 * Order of sums: value i belongs to lane (i / 8) mod 32; a lane adds its products in rising order
 * (acc = fma(w, x, acc)), then the lanes are added as a tree. It follows from the width alone: how
 * many rows share an expert, whether they fit a group of 1, 2, 4 or 8, and whether rows of weights
 * are aligned (else values are read one by one) do not change a bit.
 *
 * Where gate and up have different formats, they are two launches of the one-matrix kernel and the
 * second multiplies; so a format has two kernels, not one for each format it may be paired with. */
#include "engine/backend/cuda/cuda_ops.cuh"

#define FEW_WARPS 4
#define FEW_THREADS (FEW_WARPS * CUDA_WARP)
#define FEW_STREAMS 4          /* rows of weights that a warp reads side by side */
#define FEW_LEAN_ROWS 2        /* up to here a kernel of half the registers */
#define FEW_CHUNK 8            /* neighbouring values of one lane */
#define FEW_STEP (CUDA_WARP * FEW_CHUNK)
#define FEW_BLOCKS_WANTED 1024 /* fill a GPU twice */

static_assert(FEW_STREAMS * CUDA_FEW_ROWS == CUDA_WARP, "each lane keeps one of a warp's sums");

enum few_matrix { FEW_GATE, FEW_UP, FEW_DOWN };

struct few_job {
    float *out;             /* [places][outputs] */
    const float *x;         /* [..][cols] */
    const uint32_t *gather; /* row of x of each place; NULL: the place itself */
    const struct cuda_expert *experts;
    const uint32_t *count;
    uint32_t outputs, cols;
    enum few_matrix matrix; /* where one is read */
    bool gated;             /* out = silu(out) * sum instead of sum */
};

/* ---- device ---- */

/* Where a warp reads: its four rows of weights, and the rows of x of one group of places. */
struct few_rows {
    const uint8_t *weights[FEW_STREAMS];
    uint32_t place, rows; /* 1 .. CUDA_FEW_ROWS */
};

/* Adds the products of N chunks, the first at value i: four rows of weights with R rows of x. All
 * weights are asked for before any is used. */
template <enum dtype D, int R, int N>
static __device__ __forceinline__ void add_chunks(float (&sum)[FEW_STREAMS * R],
                                                  const struct few_rows &at,
                                                  const float *const (&x)[R], uint32_t i)
{
    float weight[N][FEW_STREAMS][FEW_CHUNK];
#pragma unroll
    for (int n = 0; n < N; n++) {
#pragma unroll
        for (int s = 0; s < FEW_STREAMS; s++)
            cuda_format<D>::load8(at.weights[s], i + (uint32_t)n * FEW_STEP, weight[n][s]);
    }
#pragma unroll
    for (int n = 0; n < N; n++) {
#pragma unroll
        for (int r = 0; r < R; r++) {
            float value[FEW_CHUNK];
            cuda_format<DTYPE_F32>::load8(x[r], i + (uint32_t)n * FEW_STEP, value);
#pragma unroll
            for (int s = 0; s < FEW_STREAMS; s++) {
#pragma unroll
                for (int j = 0; j < FEW_CHUNK; j++)
                    sum[s * R + r] = fmaf(weight[n][s][j], value[j], sum[s * R + r]);
            }
        }
    }
}

/* The same one by one, for rows that are not aligned or end in the midst of a chunk. */
template <enum dtype D, int R>
static __device__ __forceinline__ void add_values(float (&sum)[FEW_STREAMS * R],
                                                  const struct few_rows &at,
                                                  const float *const (&x)[R], uint32_t i,
                                                  uint32_t end)
{
#pragma unroll 1
    for (; i < end; i++) {
        float weight[FEW_STREAMS];
#pragma unroll
        for (int s = 0; s < FEW_STREAMS; s++)
            weight[s] = cuda_format<D>::load(at.weights[s], i);
#pragma unroll
        for (int r = 0; r < R; r++) {
            float value = x[r][i];
#pragma unroll
            for (int s = 0; s < FEW_STREAMS; s++)
                sum[s * R + r] = fmaf(weight[s], value, sum[s * R + r]);
        }
    }
}

/* The sum of each of N values over the lanes: lane l returns that of value l / (32 / N). The tree
 * is that of cuda_warp_sum (lanes 16 apart, then 8 ...), but a lane passes on the half of the
 * values that it will not keep, so 32 values take 31 exchanges, not 160. */
template <int N>
static __device__ __forceinline__ float sum_each(float (&value)[N], uint32_t lane)
{
    uint32_t apart = CUDA_WARP / 2;
#pragma unroll
    for (int kept = N / 2; kept > 0; kept /= 2, apart /= 2) {
        bool upper = lane & apart;
#pragma unroll
        for (int i = 0; i < kept; i++) {
            float mine = upper ? value[kept + i] : value[i];
            float other = upper ? value[i] : value[kept + i];
            value[i] = mine + __shfl_xor_sync(0xFFFFFFFFu, other, (int)apart);
        }
    }
#pragma unroll
    for (; apart > 0; apart /= 2)
        value[0] += __shfl_xor_sync(0xFFFFFFFFu, value[0], (int)apart);
    return value[0];
}

/* The dot products of all streams with R rows of x; lane s * CUDA_FEW_ROWS + r returns that of
 * stream s and row r. Rows beyond at.rows repeat the last one and are nobody's. WHOLE: rows are
 * aligned to 16 bytes and a multiple of 8 values long. */
template <enum dtype D, int R, bool WHOLE>
static __device__ __forceinline__ float few_dots(const struct few_job &job,
                                                 const struct few_rows &at, uint32_t lane)
{
    const float *x[R];
    float sum[FEW_STREAMS * R] = {};
#pragma unroll
    for (int r = 0; r < R; r++) {
        uint32_t place = at.place + ((uint32_t)r < at.rows ? (uint32_t)r : at.rows - 1);
        x[r] = job.x + (size_t)(job.gather ? job.gather[place] : place) * job.cols;
    }
    uint32_t i = lane * FEW_CHUNK;
    if constexpr (WHOLE) {
        if constexpr (R == 1)
            for (; i + FEW_STEP < job.cols; i += 2 * FEW_STEP)
                add_chunks<D, R, 2>(sum, at, x, i);
#pragma unroll 1
        for (; i < job.cols; i += FEW_STEP)
            add_chunks<D, R, 1>(sum, at, x, i);
    } else {
        for (; i < job.cols; i += FEW_STEP)
            add_values<D, R>(sum, at, x, i,
                             job.cols - i < FEW_CHUNK ? job.cols : i + FEW_CHUNK);
    }
    float mine = sum_each(sum, lane);
    if constexpr (R < CUDA_FEW_ROWS) /* from where sum_each left it */
        mine = __shfl_sync(0xFFFFFFFFu, mine,
                           lane / CUDA_FEW_ROWS * CUDA_FEW_ROWS +
                               lane * (CUDA_FEW_ROWS / R) % CUDA_FEW_ROWS);
    return mine;
}

/* The same for as many rows as there are, at most MOST. */
template <enum dtype D, int MOST>
static __device__ __forceinline__ float few_dots_of(const struct few_job &job,
                                                    const struct few_rows &at, bool whole,
                                                    uint32_t lane)
{
    if (!whole)
        return few_dots<D, MOST, false>(job, at, lane);
    if (at.rows == 1)
        return few_dots<D, 1, true>(job, at, lane);
    if constexpr (MOST > 4) {
        if (at.rows == 2)
            return few_dots<D, 2, true>(job, at, lane);
        if (at.rows <= 4)
            return few_dots<D, 4, true>(job, at, lane);
    }
    return few_dots<D, MOST, true>(job, at, lane);
}

static __device__ __forceinline__ const uint8_t *few_base(const struct cuda_expert &expert,
                                                          enum few_matrix matrix)
{
    const uint8_t *base = matrix == FEW_GATE ? expert.gate
                          : matrix == FEW_UP ? expert.up
                                             : expert.down;
#ifdef __CUDA_ARCH__
    __builtin_assume(__isGlobal(base)); /* an address that was itself read from memory */
#endif
    return base;
}

/* ---- kernels ---- */

/* Grid: (tiles of outputs, experts, groups of rows side by side). PAIR: gate and up together. MOST:
 * rows in a group. */
template <enum dtype D, bool PAIR, int MOST>
static __global__ void __launch_bounds__(FEW_THREADS, MOST == CUDA_FEW_ROWS ? 3 : 6)
    few_kernel(struct few_job job)
{
    constexpr uint32_t outputs_each = PAIR ? FEW_STREAMS / 2 : FEW_STREAMS;
    uint32_t lane = threadIdx.x % CUDA_WARP;
    uint32_t first = (blockIdx.x * FEW_WARPS + threadIdx.x / CUDA_WARP) * outputs_each;
    if (first >= job.outputs || blockIdx.y >= *job.count)
        return;
    struct cuda_expert expert = job.experts[blockIdx.y];
    const uint8_t *bases[2] = {few_base(expert, PAIR ? FEW_GATE : job.matrix),
                               PAIR ? few_base(expert, FEW_UP) : NULL};
    struct few_rows at;
#pragma unroll
    for (uint32_t s = 0; s < FEW_STREAMS; s++) {
        uint32_t output = first + s % outputs_each;
        output = output < job.outputs ? output : job.outputs - 1;
        at.weights[s] = bases[s / outputs_each] +
                        (size_t)output * job.cols * sizeof(typename cuda_format<D>::element);
    }
    bool whole = job.cols % FEW_CHUNK == 0 &&
                 ((uintptr_t)bases[0] | (uintptr_t)bases[1] | (uintptr_t)job.x) % 16 == 0;
    uint32_t row = lane % CUDA_FEW_ROWS, output = first + lane / CUDA_FEW_ROWS;
    for (at.place = expert.begin + blockIdx.z * MOST; at.place < expert.end;
         at.place += gridDim.z * MOST) {
        uint32_t left = expert.end - at.place;
        at.rows = left < MOST ? left : MOST;
        float sum = few_dots_of<D, MOST>(job, at, whole, lane);
        float up = __shfl_down_sync(0xFFFFFFFFu, sum, outputs_each * CUDA_FEW_ROWS % CUDA_WARP);
        if (row >= at.rows || output >= job.outputs || lane >= outputs_each * CUDA_FEW_ROWS)
            continue; /* no lane waits for another before the next group's sums */
        float *to = job.out + (size_t)(at.place + row) * job.outputs + output;
        if (PAIR)
            *to = cuda_silu(sum) * up;
        else
            *to = job.gated ? cuda_silu(*to) * sum : sum;
    }
}

static __global__ void put_kernel(struct cuda_expert *experts, uint32_t *count,
                                  struct cuda_expert alone)
{
    experts[0] = alone;
    *count = 1;
}

/* ---- launchers ---- */

void cuda_expert_put(cudaStream_t stream, struct cuda_expert *experts, uint32_t *count,
                     struct cuda_expert alone)
{
    cuda_launch(stream, put_kernel, dim3(1), dim3(1), 0, experts, count, alone);
}

template <enum dtype D, bool PAIR>
static void few_launch(cudaStream_t stream, const struct few_job &job,
                       const struct cuda_experts_args *args)
{
    uint32_t each = FEW_WARPS * (PAIR ? FEW_STREAMS / 2 : FEW_STREAMS);
    uint32_t tiles = cuda_parts(job.outputs, each);
    uint32_t groups = cuda_parts(args->rows_each_max, CUDA_FEW_ROWS);
    uint64_t blocks = (uint64_t)tiles * args->count_max;
    uint64_t abreast = blocks ? (FEW_BLOCKS_WANTED + blocks - 1) / blocks : 0;
    uint32_t depth = groups < abreast ? groups : (uint32_t)abreast;
    cuda_launch(stream,
                args->rows_each_max <= FEW_LEAN_ROWS ? few_kernel<D, PAIR, FEW_LEAN_ROWS>
                                                     : few_kernel<D, PAIR, CUDA_FEW_ROWS>,
                dim3(tiles, args->count_max, depth), dim3(FEW_THREADS), 0, job);
}

void cuda_experts_few(cudaStream_t stream, const struct cuda_experts_args *args)
{
    const struct cuda_expert_shape *shape = &args->shape;
    CHECK_MSG(args->count_max <= 65535, "%u experts in one launch", args->count_max);
    struct few_job wide = {args->hidden, args->x,      args->gather,  args->experts, args->count,
                           shape->width, shape->hidden, FEW_GATE, false};
    if (shape->gate == shape->up) {
        cuda_with_format(shape->gate, [&](auto format) {
            few_launch<decltype(format)::value, true>(stream, wide, args);
        });
    } else {
        cuda_with_format(shape->gate, [&](auto format) {
            few_launch<decltype(format)::value, false>(stream, wide, args);
        });
        wide.matrix = FEW_UP;
        wide.gated = true;
        cuda_with_format(shape->up, [&](auto format) {
            few_launch<decltype(format)::value, false>(stream, wide, args);
        });
    }
    struct few_job down = {args->out,     args->hidden, NULL,     args->experts, args->count,
                           shape->hidden, shape->width, FEW_DOWN, false};
    cuda_with_format(shape->down, [&](auto format) {
        few_launch<decltype(format)::value, false>(stream, down, args);
    });
}
