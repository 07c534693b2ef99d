/* Attention where each row stands alone: decode, and every prompt that must not depend on its
 * company.
 *
 * A row reads 2 * keys * kv_heads * head_dim values and computes little with them, so bytes bound
 * it, and one row must occupy the whole machine. Its keys are therefore cut at multiples of
 * PART_KEYS. One block of threads takes one part of one kv head with up to eight of the query heads
 * that read it: keys and values come from memory once for all of these. It leaves the values
 * weighted by exp(score - top), the top score and the sum of the weights; a second kernel joins the
 * parts of a row in order. A part of 128 keys of 128 F16 values is 64 KiB, against which the
 * (head_dim + 2) floats per query head that it leaves are little, and 1000 keys of 8 kv heads
 * already give 64 blocks. The grid is sized by the longest context; blocks beyond a row's position
 * return at once, so a captured launch serves all positions.
 *
 * Within a part: a warp scores a KV block of 16 tokens at a time, eight lanes to a key, each with
 * four keys of 16-byte pieces under way; values are summed by as many groups of threads as a row of
 * values leaves room for. All sums have an order fixed by the head's length, the row's position and
 * the window. Rows beyond the room of the scratch go through it in passes. */
#include "engine/backend/cuda/attention.cuh"

namespace {

constexpr uint32_t PART_KEYS = 128;
constexpr uint32_t PART_BLOCKS = PART_KEYS / KV_BLOCK_TOKENS;
constexpr uint32_t PARTS_AT_ONCE = 4096; /* rows x parts of a pass, but for a single longer row */
constexpr uint32_t BLOCKS_PLENTY = 2048; /* some waves of all multiprocessors */
constexpr uint32_t THREADS = 128;
constexpr uint32_t KEY_LANES = 8;                        /* lanes that share a key */
constexpr uint32_t WARP_KEYS = CUDA_WARP / KEY_LANES;    /* keys side by side in a warp */
constexpr uint32_t KEYS_EACH = KV_BLOCK_TOKENS / WARP_KEYS; /* keys of a lane */
constexpr uint32_t VALUES_EACH = 4;                      /* values under way per thread */
constexpr uint32_t JOIN_THREADS = 256;

struct attention_pass {
    struct cuda_attention_args args;
    uint32_t first;   /* row */
    uint32_t parts;   /* places for them per (row, head) */
    uint32_t chunks;  /* of the query heads of a kv head */
    uint32_t padded;  /* head_dim rounded up to a multiple of 8 */
    float *sums;      /* [row - first][head][part][padded]: values weighted by exp(score - top) */
    float *tops;      /* [row - first][head][part][2]: top score, sum of the weights */
};

/* One part of one row's keys for some query heads of one kv head. */
struct attention_part {
    const uint32_t *blocks; /* table of the sequence, from the part's first key on */
    uint32_t low, high;     /* keys attended to, from the part's first key on */
    uint32_t kv_head;
    uint32_t head, heads;   /* query heads */
    size_t place;           /* of (row, first head, part); the next head's is `parts` further */
};

/* Values 8c .. 8c + 7 of a row, zeros past its end. */
template <enum dtype D, bool ALIGNED>
__device__ __forceinline__ void load_piece(const void *row, uint32_t c, uint32_t dim, float out[8])
{
    if constexpr (ALIGNED) {
        cuda_format<D>::load8(row, 8 * c, out);
    } else {
        for (uint32_t j = 0; j < 8; j++)
            out[j] = 8 * c + j < dim ? cuda_format<D>::load(row, 8 * c + j) : 0.0f;
    }
}

__device__ __forceinline__ void zero_piece(float out[8])
{
    for (uint32_t j = 0; j < 8; j++)
        out[j] = 0.0f;
}

__device__ __forceinline__ void read_piece(const float *shared, float out[8])
{
    float4 a = reinterpret_cast<const float4 *>(shared)[0];
    float4 b = reinterpret_cast<const float4 *>(shared)[1];
    out[0] = a.x, out[1] = a.y, out[2] = a.z, out[3] = a.w;
    out[4] = b.x, out[5] = b.y, out[6] = b.z, out[7] = b.w;
}

/* Where key or value `key` of the part lies. */
template <enum dtype D>
__device__ __forceinline__ const void *key_row(const struct kv_layer &kv, const void *data,
                                               const struct attention_part &part, uint32_t key)
{
    size_t at = cuda_kv_block(kv, part.blocks[key / KV_BLOCK_TOKENS], part.kv_head) +
                (size_t)(key % KV_BLOCK_TOKENS) * kv.head_dim;
    return static_cast<const typename cuda_format<D>::element *>(data) + at;
}

/* Sums each of G values over eight neighbouring lanes; a lane gets that of head
 * lane % 8 / (8 / G). While there are several, half of them are handed over at each step, so that
 * eight sums cost seven shuffles. Lanes are added 4, 2 and 1 apart for every G. */
template <uint32_t G> __device__ __forceinline__ float sum_of_lanes(float values[G], uint32_t lane)
{
    uint32_t held = G;
#pragma unroll
    for (uint32_t apart = KEY_LANES / 2; apart > 0; apart /= 2) {
        if (held == 1) {
            values[0] += __shfl_xor_sync(0xFFFFFFFFu, values[0], apart);
            continue;
        }
        held /= 2;
        bool upper = (lane & apart) != 0;
#pragma unroll
        for (uint32_t i = 0; i < held; i++) {
            float give = upper ? values[i] : values[i + held];
            float keep = upper ? values[i + held] : values[i];
            values[i] = keep + __shfl_xor_sync(0xFFFFFFFFu, give, apart);
        }
    }
    return values[0];
}

/* q[G][padded] of the block in shared memory, zeros where there is no head or value. */
template <uint32_t G>
__device__ void load_q(const struct attention_pass &pass, const struct attention_part &part,
                       uint32_t row, float *q)
{
    uint32_t dim = pass.args.kv.head_dim;
    const float *from = pass.args.q + ((size_t)row * pass.args.heads + part.head) * dim;
    for (uint32_t i = threadIdx.x; i < G * pass.padded; i += THREADS) {
        uint32_t g = i / pass.padded, d = i % pass.padded;
        q[i] = g < part.heads && d < dim ? from[(size_t)g * dim + d] : 0.0f;
    }
}

/* scores[key][G] = q . key * scale, for the keys attended to. */
template <enum dtype D, uint32_t G, bool ALIGNED>
__device__ void score_keys(const struct attention_pass &pass, const struct attention_part &part,
                           const float *q, float *scores)
{
    const struct kv_layer &kv = pass.args.kv;
    uint32_t warp = threadIdx.x / CUDA_WARP, lane = threadIdx.x % CUDA_WARP;
    uint32_t pieces = pass.padded / 8, head = lane % KEY_LANES / (KEY_LANES / G);
    for (uint32_t b = warp; b < PART_BLOCKS; b += THREADS / CUDA_WARP) {
        uint32_t first = b * KV_BLOCK_TOKENS;
        if (first >= part.high || first + KV_BLOCK_TOKENS <= part.low)
            continue;
        float dots[KEYS_EACH][G] = {};
        for (uint32_t c = lane % KEY_LANES; c < pieces; c += KEY_LANES) {
            float k[KEYS_EACH][8];
#pragma unroll
            for (uint32_t i = 0; i < KEYS_EACH; i++) {
                uint32_t key = first + i * WARP_KEYS + lane / KEY_LANES;
                if (key >= part.low && key < part.high)
                    load_piece<D, ALIGNED>(key_row<D>(kv, kv.keys, part, key), c, kv.head_dim,
                                           k[i]);
                else
                    zero_piece(k[i]);
            }
#pragma unroll
            for (uint32_t g = 0; g < G; g++) {
                float x[8];
                read_piece(q + g * pass.padded + 8 * c, x);
#pragma unroll
                for (uint32_t i = 0; i < KEYS_EACH; i++)
                    for (uint32_t j = 0; j < 8; j++)
                        dots[i][g] = fmaf(x[j], k[i][j], dots[i][g]);
            }
        }
#pragma unroll
        for (uint32_t i = 0; i < KEYS_EACH; i++) {
            uint32_t key = first + i * WARP_KEYS + lane / KEY_LANES;
            float score = sum_of_lanes<G>(dots[i], lane);
            if (lane % (KEY_LANES / G) == 0)
                scores[key * G + head] = score * pass.args.scale;
        }
    }
}

/* scores become exp(score - top); a warp for each head. */
template <uint32_t G>
__device__ void weigh_keys(const struct attention_pass &pass, const struct attention_part &part,
                           float *scores)
{
    uint32_t lane = threadIdx.x % CUDA_WARP;
    for (uint32_t g = threadIdx.x / CUDA_WARP; g < part.heads; g += THREADS / CUDA_WARP) {
        float top = -INFINITY, sum = 0.0f;
        for (uint32_t key = part.low + lane; key < part.high; key += CUDA_WARP)
            top = fmaxf(top, scores[key * G + g]);
        top = cuda_warp_max(top);
        for (uint32_t key = part.low + lane; key < part.high; key += CUDA_WARP) {
            float weight = expf(scores[key * G + g] - top);
            scores[key * G + g] = weight;
            sum += weight;
        }
        sum = cuda_warp_sum(sum);
        if (lane == 0) {
            float *to = pass.tops + (part.place + (size_t)g * pass.parts) * 2;
            to[0] = top;
            to[1] = sum;
        }
    }
}

/* sums[group][G][padded]: each group of padded / 8 threads adds up every groups-th value. */
template <enum dtype D, uint32_t G, bool ALIGNED>
__device__ void sum_values(const struct attention_pass &pass, const struct attention_part &part,
                           const float *weights, float sums[G][8], uint32_t groups)
{
    const struct kv_layer &kv = pass.args.kv;
    uint32_t pieces = pass.padded / 8, group = threadIdx.x / pieces, c = threadIdx.x % pieces;
    if (group >= groups)
        return;
    for (uint32_t from = part.low + group; from < part.high; from += VALUES_EACH * groups) {
        float v[VALUES_EACH][8];
#pragma unroll
        for (uint32_t i = 0; i < VALUES_EACH; i++) {
            uint32_t key = from + i * groups;
            if (key < part.high)
                load_piece<D, ALIGNED>(key_row<D>(kv, kv.values, part, key), c, kv.head_dim, v[i]);
            else
                zero_piece(v[i]);
        }
#pragma unroll
        for (uint32_t i = 0; i < VALUES_EACH; i++) {
            uint32_t key = from + i * groups;
            if (key >= part.high)
                break;
#pragma unroll
            for (uint32_t g = 0; g < G; g++) {
                float weight = weights[key * G + g];
                for (uint32_t j = 0; j < 8; j++)
                    sums[g][j] = fmaf(weight, v[i][j], sums[g][j]);
            }
        }
    }
}

/* Adds up what the groups hold, in order, and leaves it in pass.sums. */
template <uint32_t G>
__device__ void leave_sums(const struct attention_pass &pass, const struct attention_part &part,
                           const float sums[G][8], float *shared, uint32_t groups)
{
    uint32_t pieces = pass.padded / 8, group = threadIdx.x / pieces, c = threadIdx.x % pieces;
    uint32_t width = G * pass.padded;
    if (group < groups) {
        for (uint32_t g = 0; g < G; g++) {
            float *to = shared + (size_t)group * width + g * pass.padded + 8 * c;
            const float *s = sums[g];
            reinterpret_cast<float4 *>(to)[0] = make_float4(s[0], s[1], s[2], s[3]);
            reinterpret_cast<float4 *>(to)[1] = make_float4(s[4], s[5], s[6], s[7]);
        }
    }
    __syncthreads();
    for (uint32_t i = threadIdx.x; i < part.heads * pass.padded; i += THREADS) {
        float sum = 0.0f;
        for (uint32_t k = 0; k < groups; k++)
            sum += shared[(size_t)k * width + i];
        uint32_t g = i / pass.padded, d = i % pass.padded;
        pass.sums[(part.place + (size_t)g * pass.parts) * pass.padded + d] = sum;
    }
}

/* One part, by all threads of a block. */
template <enum dtype D, uint32_t G, bool ALIGNED>
__device__ __forceinline__ void attend_part(const struct attention_pass &pass,
                                            const struct attention_part &part, uint32_t row,
                                            float *shared)
{
    float *q = shared, *scores = shared + G * pass.padded;
    load_q<G>(pass, part, row, q);
    __syncthreads();
    score_keys<D, G, ALIGNED>(pass, part, q, scores);
    __syncthreads();
    weigh_keys<G>(pass, part, scores);
    __syncthreads();
    uint32_t groups = THREADS / (pass.padded / 8);
    float sums[G][8] = {};
    sum_values<D, G, ALIGNED>(pass, part, scores, sums, groups);
    __syncthreads(); /* q and scores are done with: the sums take their place */
    leave_sums<G>(pass, part, sums, shared, groups);
    __syncthreads();
}

/* Block (x, kv head and chunk of its query heads, row): parts x, x + gridDim.x and so on. */
template <enum dtype D, uint32_t G, bool ALIGNED>
__global__ void __launch_bounds__(THREADS, 4) attend_parts(struct attention_pass pass)
{
    CUDA_DYNAMIC_SHARED(float, shared);
    const struct cuda_attention_args &args = pass.args;
    uint32_t row = pass.first + blockIdx.z, end = args.at.positions[row] + 1;
    uint32_t begin = cuda_first_key(end, args.window);
    uint32_t share = args.heads / args.kv.kv_heads, skip = blockIdx.y % pass.chunks * G;
    const uint32_t *table = args.at.tables + (size_t)args.at.table_of[row] * args.at.table_stride;
    struct attention_part part;
    part.kv_head = blockIdx.y / pass.chunks;
    part.head = part.kv_head * share + skip;
    part.heads = share - skip < G ? share - skip : G;
    for (uint32_t i = blockIdx.x; i < pass.parts; i += gridDim.x) {
        uint32_t first = (begin / PART_KEYS + i) * PART_KEYS;
        if (first >= end)
            return;
        part.blocks = table + first / KV_BLOCK_TOKENS;
        part.low = begin > first ? begin - first : 0;
        part.high = end - first < PART_KEYS ? end - first : PART_KEYS;
        part.place = ((size_t)blockIdx.z * args.heads + part.head) * pass.parts + i;
        attend_part<D, G, ALIGNED>(pass, part, row, shared);
    }
}

template <uint32_t G> size_t part_shared_bytes(uint32_t padded)
{
    size_t before = G * (padded + PART_KEYS), sums = THREADS / (padded / 8) * G * padded;
    return (before > sums ? before : sums) * sizeof(float);
}

/* The top score of a row's parts and the sum of weights that belongs to it, for all threads. */
__device__ float top_of_parts(const float *tops, uint32_t parts, float *shared)
{
    float top = -INFINITY;
    for (uint32_t p = threadIdx.x; p < parts; p += JOIN_THREADS)
        top = fmaxf(top, tops[2 * p]);
    top = cuda_warp_max(top);
    if (threadIdx.x % CUDA_WARP == 0)
        shared[threadIdx.x / CUDA_WARP] = top;
    __syncthreads();
    for (uint32_t w = 0; w < JOIN_THREADS / CUDA_WARP; w++)
        top = fmaxf(top, shared[w]);
    __syncthreads();
    return top;
}

__device__ float sum_of_block(float value, float *shared)
{
    value = cuda_warp_sum(value);
    if (threadIdx.x % CUDA_WARP == 0)
        shared[threadIdx.x / CUDA_WARP] = value;
    __syncthreads();
    float sum = 0.0f;
    for (uint32_t w = 0; w < JOIN_THREADS / CUDA_WARP; w++)
        sum += shared[w];
    __syncthreads();
    return sum;
}

/* Block (head, row): the parts of a row by groups of threads, each thread with four values; then
 * the groups in order. */
__global__ void __launch_bounds__(JOIN_THREADS) join_parts(struct attention_pass pass)
{
    __shared__ float weights[JOIN_THREADS], of_warps[JOIN_THREADS / CUDA_WARP];
    __shared__ float4 of_groups[JOIN_THREADS];
    const struct cuda_attention_args &args = pass.args;
    uint32_t row = pass.first + blockIdx.y, end = args.at.positions[row] + 1;
    uint32_t begin = cuda_first_key(end, args.window);
    uint32_t parts = (end - 1) / PART_KEYS - begin / PART_KEYS + 1;
    size_t place = ((size_t)blockIdx.y * args.heads + blockIdx.x) * pass.parts;
    const float *tops = pass.tops + place * 2;
    const float4 *sums = reinterpret_cast<const float4 *>(pass.sums + place * pass.padded);
    uint32_t pieces = pass.padded / 4, groups = JOIN_THREADS / pieces;
    uint32_t group = threadIdx.x / pieces, c = threadIdx.x % pieces;

    float top = top_of_parts(tops, parts, of_warps), total = 0.0f;
    float4 sum = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    for (uint32_t from = 0; from < parts; from += JOIN_THREADS) {
        uint32_t count = parts - from < JOIN_THREADS ? parts - from : JOIN_THREADS;
        if (threadIdx.x < count) {
            uint32_t p = from + threadIdx.x;
            weights[threadIdx.x] = expf(tops[2 * p] - top);
            total = fmaf(weights[threadIdx.x], tops[2 * p + 1], total);
        }
        __syncthreads();
        if (group < groups) {
#pragma unroll 4
            for (uint32_t p = group; p < count; p += groups) {
                float4 s = sums[(size_t)(from + p) * pieces + c];
                float w = weights[p];
                sum.x = fmaf(w, s.x, sum.x), sum.y = fmaf(w, s.y, sum.y);
                sum.z = fmaf(w, s.z, sum.z), sum.w = fmaf(w, s.w, sum.w);
            }
        }
        __syncthreads();
    }
    total = sum_of_block(total, of_warps);
    of_groups[threadIdx.x] = sum;
    __syncthreads();
    const float *grouped = reinterpret_cast<const float *>(of_groups);
    if (threadIdx.x < args.kv.head_dim) {
        float value = 0.0f;
        for (uint32_t k = 0; k < groups; k++)
            value += grouped[k * pass.padded + threadIdx.x];
        size_t at = ((size_t)row * args.heads + blockIdx.x) * args.kv.head_dim + threadIdx.x;
        args.out[at] = value * (1.0f / total);
    }
}

uint32_t parts_of(uint32_t keys)
{
    return keys / PART_KEYS + (keys % PART_KEYS != 0);
}

/* Parts that a window of keys touches at most, wherever it lies. */
uint32_t parts_in(uint32_t context_max, uint32_t window)
{
    uint64_t all = parts_of(context_max);
    uint64_t touched = ((uint64_t)window + PART_KEYS - 2) / PART_KEYS + 1;
    return (uint32_t)(window > 0 && touched < all ? touched : all);
}

template <enum dtype D, uint32_t G>
void attend_heads(cudaStream_t stream, struct attention_pass pass, dim3 grid)
{
    void (*kernel)(struct attention_pass) = cuda_attention_aligned(&pass.args.kv)
                                                ? attend_parts<D, G, true>
                                                : attend_parts<D, G, false>;
    cuda_launch(stream, kernel, grid, dim3(THREADS), part_shared_bytes<G>(pass.padded), pass);
}

/* Many rows occupy the machine by themselves: their blocks take several parts each, so that few are
 * launched in vain where the context may be long and is short. */
template <enum dtype D>
void attend_rows(cudaStream_t stream, struct attention_pass pass, uint32_t rows)
{
    uint32_t share = pass.args.heads / pass.args.kv.kv_heads;
    uint32_t held = share > 4 ? 8 : share > 2 ? 4 : share;
    pass.chunks = (share + held - 1) / held;
    uint32_t y = pass.args.kv.kv_heads * pass.chunks, x = BLOCKS_PLENTY / (y * rows);
    dim3 grid(x < 1 ? 1 : x < pass.parts ? x : pass.parts, y, rows);
    switch (held) {
    case 1:
        attend_heads<D, 1>(stream, pass, grid);
        break;
    case 2:
        attend_heads<D, 2>(stream, pass, grid);
        break;
    case 4:
        attend_heads<D, 4>(stream, pass, grid);
        break;
    default:
        attend_heads<D, 8>(stream, pass, grid);
    }
}

uint32_t padded_dim(uint32_t head_dim)
{
    return (head_dim + 7) / 8 * 8;
}

} // namespace

/* Grows with rows and context, so what suffices for the longest context suffices for a shorter. */
size_t cuda_attention_scratch(uint32_t rows, uint32_t heads, uint32_t head_dim,
                              uint32_t context_max)
{
    size_t parts = parts_of(context_max), room = parts > PARTS_AT_ONCE ? parts : PARTS_AT_ONCE;
    size_t places = rows * parts < room ? rows * parts : room;
    return places * heads * (padded_dim(head_dim) + 2) * sizeof(float);
}

void cuda_attention_rows(cudaStream_t stream, const struct cuda_attention_args *args)
{
    cuda_attention_check(args);
    if (args->rows == 0 || args->heads == 0)
        return;
    CHECK_MSG(reinterpret_cast<uintptr_t>(args->scratch) % 16 == 0,
              "scratch at %p is not aligned to 16 bytes", (void *)args->scratch);
    uint32_t parts = parts_in(args->context_max, args->window);
    CHECK_MSG(parts > 0, "rows to attend with, and a context of none");
    uint32_t at_once = parts < PARTS_AT_ONCE ? PARTS_AT_ONCE / parts : 1;
    if (at_once > args->rows)
        at_once = args->rows;
    struct attention_pass pass = {};
    pass.args = *args;
    pass.parts = parts;
    pass.padded = padded_dim(args->kv.head_dim);
    pass.sums = args->scratch;
    pass.tops = pass.sums + (size_t)at_once * args->heads * parts * pass.padded;
    for (pass.first = 0; pass.first < args->rows; pass.first += at_once) {
        uint32_t rows = args->rows - pass.first < at_once ? args->rows - pass.first : at_once;
        if (args->kv.dtype == DTYPE_F16)
            attend_rows<DTYPE_F16>(stream, pass, rows);
        else
            attend_rows<DTYPE_F32>(stream, pass, rows);
        cuda_launch(stream, join_parts, dim3(args->heads, rows), dim3(JOIN_THREADS), 0, pass);
    }
}
