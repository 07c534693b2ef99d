/* A row of logits that the device draws from: its scratch, its highest logit, the weights of its
 * tokens and their buckets. Device code; draw.cu says what it is for. */
#ifndef MOERING_ENGINE_BACKEND_CUDA_DRAW_ROW_CUH
#define MOERING_ENGINE_BACKEND_CUDA_DRAW_ROW_CUH

#include <float.h>
#include <math.h>
#include <string.h>

#include "engine/backend/cuda/cuda_kernel.cuh"

#define DRAW_PART_MIN 2048  /* tokens of a block, where rows are few */
#define DRAW_PART_MAX 16384 /* and where they are many */
#define DRAW_BLOCKS 1024    /* that fill any device */
#define DRAW_THREADS 512    /* of every kernel */
#define DRAW_BUCKETS 2048
#define DRAW_VOCAB_MAX ((1u << 20) - 1) /* so many masses have a sum in 64 bits */
#define DRAW_MASS_ONE 0x1p44
#define DRAW_EXPONENT_RANGE 32.0 /* exp(-32) is less than half of the smallest mass */

typedef unsigned long long draw_mass; /* the type that atomicAdd knows */

/* What a part of a row says of its logits. */
struct draw_peak {
    float highest; /* -inf: none can be drawn */
    float lowest;  /* of the finite ones */
    uint32_t token;
    uint32_t finite; /* how many */
    uint32_t bad;    /* NaN or +inf are among them */
};

/* The scratch of a row. */
struct draw_scratch {
    draw_mass *bucket_masses; /* [DRAW_BUCKETS] */
    draw_mass *part_masses;   /* [parts] of the tokens that min_p keeps */
    draw_mass *mass;          /* [1] of all parts */
    struct draw_peak *peaks;  /* [parts] */
    uint32_t *bucket_counts;  /* [DRAW_BUCKETS] */
};

/* How rows are cut and where their scratch begins: the same for all rows of a call. */
struct draw_cut {
    unsigned char *scratch;
    uint32_t vocab, parts, part; /* part: tokens of one */
};

static __host__ __device__ __forceinline__ size_t draw_row_bytes(uint32_t parts)
{
    size_t bytes = DRAW_BUCKETS * (sizeof(draw_mass) + sizeof(uint32_t)) +
                   parts * (sizeof(draw_mass) + sizeof(struct draw_peak)) + sizeof(draw_mass);
    return (bytes + 15) / 16 * 16;
}

static __device__ __forceinline__ struct draw_scratch draw_scratch_of(const struct draw_cut *cut,
                                                                      uint32_t row)
{
    struct draw_scratch s;
    s.bucket_masses =
        reinterpret_cast<draw_mass *>(cut->scratch + row * draw_row_bytes(cut->parts));
    s.part_masses = s.bucket_masses + DRAW_BUCKETS;
    s.mass = s.part_masses + cut->parts;
    s.bucket_counts = reinterpret_cast<uint32_t *>(s.mass + 1);
    s.peaks = reinterpret_cast<struct draw_peak *>(s.bucket_counts + DRAW_BUCKETS);
    return s;
}

/* --- The highest logit --- */

static __device__ __forceinline__ void draw_peak_add(struct draw_peak *a, struct draw_peak b)
{
    if (b.highest > a->highest || (b.highest == a->highest && b.token < a->token)) {
        a->highest = b.highest;
        a->token = b.token;
    }
    a->lowest = fminf(a->lowest, b.lowest);
    a->finite += b.finite;
    a->bad |= b.bad;
}

static __device__ __forceinline__ struct draw_peak draw_peak_none(void)
{
    struct draw_peak none = {-INFINITY, INFINITY, DRAW_NONE, 0, 0};
    return none;
}

/* Of peaks[count]; the first warp calls it, and each lane gets the answer. */
static __device__ __forceinline__ struct draw_peak draw_warp_peak(const struct draw_peak *peaks,
                                                                  uint32_t count)
{
    struct draw_peak all = draw_peak_none();
    for (uint32_t i = threadIdx.x; i < count; i += CUDA_WARP)
        draw_peak_add(&all, peaks[i]);
    for (int apart = CUDA_WARP / 2; apart > 0; apart /= 2) {
        struct draw_peak other;
        other.highest = __shfl_xor_sync(0xFFFFFFFFu, all.highest, apart);
        other.lowest = __shfl_xor_sync(0xFFFFFFFFu, all.lowest, apart);
        other.token = __shfl_xor_sync(0xFFFFFFFFu, all.token, apart);
        other.finite = __shfl_xor_sync(0xFFFFFFFFu, all.finite, apart);
        other.bad = __shfl_xor_sync(0xFFFFFFFFu, all.bad, apart);
        draw_peak_add(&all, other);
    }
    return all;
}

/* --- Weights --- */

/* A row whose highest logit is known. */
struct draw_row {
    const float *logits;
    struct draw draw;
    struct draw_peak peak;
    uint32_t vocab;
    double per_unit; /* buckets in a unit of logit */
};

/* Products and sums that are not contracted, so that weights have the bits of sampler_row.c. */
static __device__ __forceinline__ double draw_times(double a, double b)
{
#ifdef __CUDA_ARCH__
    return __dmul_rn(a, b);
#else
    return a * b;
#endif
}

static __device__ __forceinline__ double draw_plus(double a, double b)
{
#ifdef __CUDA_ARCH__
    return __dadd_rn(a, b);
#else
    return a + b;
#endif
}

/* exp(x) for -709 <= x <= 0: exp_of of sampler_row.c, step by step. */
static __device__ __forceinline__ double draw_exp(double x)
{
    const double log2_e = 1.4426950408889634, ln2_high = 0x1.62e42fee00000p-1;
    const double ln2_low = 1.90821492927058770002e-10, round = 0x1.8p52;
    const double series[] = {
        1.0 / 479001600.0, 1.0 / 39916800.0, 1.0 / 3628800.0, 1.0 / 362880.0, 1.0 / 40320.0,
        1.0 / 5040.0,      1.0 / 720.0,      1.0 / 120.0,     1.0 / 24.0,     1.0 / 6.0,
        1.0 / 2.0,         1.0,              1.0,
    };
    double shifted = draw_plus(draw_times(x, log2_e), round);
    double n = shifted - round;
    double r = draw_plus(draw_plus(x, -draw_times(n, ln2_high)), -draw_times(n, ln2_low));
    double sum = 1.0 / 6227020800.0;
#pragma unroll
    for (int i = 0; i < 13; i++)
        sum = draw_plus(draw_times(sum, r), series[i]);
    uint64_t bits = (uint64_t)((int)n + 1023) << 52; /* n is -47 at least, here */
    double scale;
    memcpy(&scale, &bits, sizeof scale);
    return draw_times(sum, scale);
}

static __device__ __forceinline__ double draw_weight(const struct draw_row *row, float value)
{
    double x = ((double)value - (double)row->peak.highest) / (double)row->draw.temperature;
    return x > -DRAW_EXPONENT_RANGE ? draw_exp(x) : 0;
}

/* To the nearest; 0 and the token does not exist. */
static __device__ __forceinline__ draw_mass draw_mass_of(double weight)
{
    return (draw_mass)(weight * DRAW_MASS_ONE + 0.5);
}

/* Never lower for a lower value. */
static __device__ __forceinline__ uint32_t draw_bucket(const struct draw_row *row, float value)
{
    double step = ((double)row->peak.highest - (double)value) * row->per_unit;
    return (uint32_t)(step < DRAW_BUCKETS - 1 ? step : DRAW_BUCKETS - 1);
}

/* The best token and nothing else? */
static __device__ __forceinline__ bool draw_is_greedy(const struct draw_row *row)
{
    return row->draw.temperature == 0 || row->draw.top_k == 1 || row->peak.bad ||
           row->peak.finite == 0;
}

/* Does top-k leave anything out? */
static __device__ __forceinline__ bool draw_is_limited(const struct draw_row *row)
{
    return row->draw.top_k > 0 && row->draw.top_k < row->peak.finite;
}

/* Are tokens walked best first, and not by their ids? */
static __device__ __forceinline__ bool draw_is_ordered(const struct draw_row *row)
{
    return draw_is_limited(row) || row->draw.top_p < 1;
}

/* Every thread of the block calls it; `peak` is in shared memory. */
static __device__ __forceinline__ struct draw_row draw_row_of(const float *logits,
                                                              const struct draw *draws,
                                                              const struct draw_cut *cut,
                                                              uint32_t at, struct draw_peak *peak)
{
    struct draw_row row;
    row.logits = logits + (size_t)at * cut->vocab;
    row.vocab = cut->vocab;
    row.draw = draws[at];
    if (threadIdx.x < CUDA_WARP) {
        const struct draw_peak all = draw_warp_peak(draw_scratch_of(cut, at).peaks, cut->parts);
        if (threadIdx.x == 0)
            *peak = all;
    }
    __syncthreads();
    row.peak = *peak;
    double range = (double)row.peak.highest - (double)row.peak.lowest;
    range = fmin(range, DRAW_EXPONENT_RANGE * (double)row.draw.temperature);
    row.per_unit = range > 0 ? DRAW_BUCKETS / range : 0;
    return row;
}

#endif
