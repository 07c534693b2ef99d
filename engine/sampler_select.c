/* Two ways to the same order. The heap holds the best so far with the worst of them on top: a block
 * of the row in which nothing beats that one is passed over, and soon nearly all are. It costs one
 * read of the row and k (log k) (log n / k) more, so it is for small k.
 *
 * The buckets cut the range of values into equal steps. A first pass counts what falls into each
 * (and weighs it, for top-p), which tells the last bucket that is needed; a second one drops the
 * tokens up to there into their places; then each bucket, small enough for the nearest cache, is
 * sorted by itself. A bucket receives its tokens by ascending id, so a stable sort by value is all
 * it needs, and one of equal values is in order as it lies. The bucket is a monotonous function of
 * the value, so the order is exact however coarse the step is; only the speed of strange rows (a
 * lone value far from all others) falls back to that of a heap sort.
 *
 * That the selected weights reach `wanted` needs no second look: the bucket masses and the sum in
 * order add the same n positive numbers, so each is within n * 2^-53 of the exact sum, relative,
 * and the cut is made a little beyond both errors. */
#include "engine/sampler_select.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "memory/base/check.h"

static bool comes_before(struct sampler_candidate a, struct sampler_candidate b)
{
    return a.value > b.value || (a.value == b.value && a.token < b.token);
}

/* --- A heap with the worst on top --- */

static void sift_down(struct sampler_candidate *heap, uint32_t count, uint32_t at)
{
    struct sampler_candidate moving = heap[at];
    for (;;) {
        uint64_t child = 2 * (uint64_t)at + 1;
        if (child >= count)
            break;
        if (child + 1 < count && comes_before(heap[child], heap[child + 1]))
            child++;
        if (!comes_before(moving, heap[child]))
            break;
        heap[at] = heap[child];
        at = (uint32_t)child;
    }
    heap[at] = moving;
}

static void make_heap(struct sampler_candidate *heap, uint32_t count)
{
    for (uint32_t i = count / 2; i > 0; i--)
        sift_down(heap, count, i - 1);
}

/* Leaves the best first. */
static void sort_heap(struct sampler_candidate *heap, uint32_t count)
{
    for (; count > 1; count--) {
        struct sampler_candidate worst = heap[0];
        heap[0] = heap[count - 1];
        heap[count - 1] = worst;
        sift_down(heap, count - 1, 0);
    }
}

static bool any_above(const float *restrict values, float threshold)
{
    int32_t above[16] = {0}, any = 0;
    for (int i = 0; i < SAMPLER_BLOCK; i += 16)
        for (int j = 0; j < 16; j++)
            above[j] |= values[i + j] > threshold;
    for (int j = 0; j < 16; j++)
        any |= above[j];
    return any != 0;
}

static void replace_worst(struct sampler_candidate *heap, uint32_t most, const float *values,
                          uint32_t begin, uint32_t end)
{
    for (uint32_t i = begin; i < end; i++)
        if (values[i] > heap[0].value) { /* an equal one has a higher id than all in the heap */
            heap[0] = (struct sampler_candidate){values[i], i};
            sift_down(heap, most, 0);
        }
}

static uint32_t select_by_heap(const float *values, uint32_t count, uint32_t most,
                               struct sampler_candidate *out)
{
    uint32_t kept = 0, i = 0;
    for (; i < count && kept < most; i++)
        if (values[i] >= -FLT_MAX)
            out[kept++] = (struct sampler_candidate){values[i], i};
    make_heap(out, kept);
    for (; i < count; i += SAMPLER_BLOCK) {
        if (count - i < SAMPLER_BLOCK) {
            replace_worst(out, kept, values, i, count);
            break;
        }
        if (any_above(values + i, out[0].value))
            replace_worst(out, kept, values, i, i + SAMPLER_BLOCK);
    }
    sort_heap(out, kept);
    return kept;
}

/* --- Buckets --- */

#define BUCKETS 4096
#define NO_BUCKET BUCKETS /* of a token that cannot be drawn */
#define RUN 8          /* tokens sorted by insertion before runs of them are merged */
#define MERGE_MAX 1024 /* tokens of a bucket that are merged; more, in strange rows, make a heap */

/* Below max - 40 * temperature lies less than 2^32 * e^-40 of the weight, a 10^-8th: no top_p below
 * 1 (at most 1 - 2^-24) reaches there. Finer buckets are better than ones never used. */
#define EXPONENT_RANGE 40.0

/* 48 KiB, on the stack of the caller: the engine thread's is megabytes. */
struct buckets {
    double high, per_unit;      /* bucket = (high - value) * per_unit, the last one at most */
    uint32_t ends[BUCKETS + 1]; /* first counts, then where the next token of each goes */
    double masses[BUCKETS + 1];
};

static void buckets_init(struct buckets *b, double high, double range)
{
    b->high = high;
    b->per_unit = range > 0 ? BUCKETS / range : 0;
    memset(b->ends, 0, sizeof b->ends);
    memset(b->masses, 0, sizeof b->masses);
}

static void locate_block(const struct buckets *b, const float *restrict values,
                         int32_t *restrict at)
{
    const double high = b->high, per_unit = b->per_unit;
    double steps[SAMPLER_BLOCK];
    for (int j = 0; j < SAMPLER_BLOCK; j++) {
        double step = (high - (double)values[j]) * per_unit;
        steps[j] = step < BUCKETS - 1 ? step : BUCKETS - 1;
    }
    for (int j = 0; j < SAMPLER_BLOCK; j++)
        at[j] = (int32_t)steps[j];
    for (int j = 0; j < SAMPLER_BLOCK; j++)
        at[j] = values[j] >= -FLT_MAX ? at[j] : NO_BUCKET;
}

/* at[SAMPLER_BLOCK]: the buckets of values[count], count up to SAMPLER_BLOCK. */
static void locate(const struct buckets *b, const float *values, uint32_t count, int32_t *at)
{
    float padded[SAMPLER_BLOCK];
    if (count < SAMPLER_BLOCK) {
        for (int j = 0; j < SAMPLER_BLOCK; j++)
            padded[j] = -INFINITY;
        memcpy(padded, values, count * sizeof *values);
        values = padded;
    }
    locate_block(b, values, at);
}

static uint32_t block_size(uint32_t count, uint32_t begin)
{
    return count - begin < SAMPLER_BLOCK ? count - begin : SAMPLER_BLOCK;
}

static void count_tokens(struct buckets *b, const float *values, uint32_t count)
{
    int32_t at[SAMPLER_BLOCK];
    for (uint32_t i = 0; i < count; i += SAMPLER_BLOCK) {
        locate(b, values + i, block_size(count, i), at);
        for (int j = 0; j < SAMPLER_BLOCK; j++)
            b->ends[at[j]]++;
    }
}

/* Returns the weight of all, summed in the order of ids. */
static double count_and_weigh_tokens(struct buckets *b, const float *values, uint32_t count,
                                     struct sampler_scale scale)
{
    int32_t at[SAMPLER_BLOCK];
    double weights[SAMPLER_BLOCK], total = 0;
    for (uint32_t i = 0; i < count; i += SAMPLER_BLOCK) {
        uint32_t n = block_size(count, i);
        locate(b, values + i, n, at);
        sampler_row_weights(weights, values + i, n, scale);
        for (int j = 0; j < SAMPLER_BLOCK; j++) {
            b->ends[at[j]]++;
            b->masses[at[j]] += weights[j];
            total += weights[j];
        }
    }
    return total;
}

static void insertion_sort(struct sampler_candidate *at, uint32_t count)
{
    for (uint32_t sorted = 1; sorted < count; sorted++) {
        struct sampler_candidate moving = at[sorted];
        uint32_t to = sorted;
        for (; to > 0 && comes_before(moving, at[to - 1]); to--)
            at[to] = at[to - 1];
        at[to] = moving;
    }
}

/* Merges from[0, middle) and from[middle, count); of equal values those of the first part come
 * first, so the ids of a bucket stay in order. */
static void merge(const struct sampler_candidate *from, uint32_t middle, uint32_t count,
                  struct sampler_candidate *to)
{
    uint32_t left = 0, right = middle;
    while (left < middle && right < count) {
        bool take_right = from[right].value > from[left].value; /* a coin toss: no branch on it */
        *to++ = from[take_right ? right : left];
        right += take_right;
        left += !take_right;
    }
    memcpy(to, from + left, (middle - left) * sizeof *to);
    memcpy(to + (middle - left), from + right, (count - right) * sizeof *to);
}

static void merge_sort(struct sampler_candidate *at, uint32_t count)
{
    struct sampler_candidate buffer[MERGE_MAX], *from = at, *to = buffer;
    for (uint32_t i = 0; i < count; i += RUN)
        insertion_sort(at + i, count - i < RUN ? count - i : RUN);
    for (uint32_t run = RUN; run < count; run *= 2) {
        for (uint32_t i = 0; i < count; i += 2 * run) {
            uint32_t n = count - i < 2 * run ? count - i : 2 * run;
            merge(from + i, n < run ? n : run, n, to + i);
        }
        struct sampler_candidate *merged = to;
        to = from;
        from = merged;
    }
    if (from != at)
        memcpy(at, from, count * sizeof *at);
}

/* at[0, count) lies by ascending id. */
static void sort_bucket(struct sampler_candidate *at, uint32_t count)
{
    uint32_t sorted = 1;
    while (sorted < count && !(at[sorted].value > at[sorted - 1].value))
        sorted++;
    if (sorted >= count)
        return; /* as where all values are equal */
    if (count <= MERGE_MAX) {
        merge_sort(at, count);
    } else {
        make_heap(at, count);
        sort_heap(at, count);
    }
}

/* Everything in the buckets up to `last`, in order. Returns how much that is. */
static uint32_t spread(struct buckets *b, uint32_t last, const float *values, uint32_t count,
                       struct sampler_candidate *out)
{
    uint32_t before = 0;
    for (uint32_t i = 0; i <= last; i++) {
        uint32_t here = b->ends[i];
        b->ends[i] = before;
        before += here;
    }
    /* A bucket of slack and one float of it: nothing that is wanted lies at or below `lowest`. */
    float lowest = last < BUCKETS - 1 ? (float)(b->high - (last + 2) / b->per_unit) : -INFINITY;
    lowest = nextafterf(lowest, -INFINITY);
    int32_t at[SAMPLER_BLOCK];
    for (uint32_t i = 0; i < count; i += SAMPLER_BLOCK) {
        uint32_t n = block_size(count, i);
        if (n == SAMPLER_BLOCK && !any_above(values + i, lowest))
            continue;
        locate(b, values + i, n, at);
        for (uint32_t j = 0; j < n; j++)
            if ((uint32_t)at[j] <= last)
                out[b->ends[at[j]]++] = (struct sampler_candidate){values[i + j], i + j};
    }
    for (uint32_t i = 0, begin = 0; i <= last; i++) {
        sort_bucket(out + begin, b->ends[i] - begin);
        begin = b->ends[i];
    }
    return before;
}

uint32_t sampler_select_top(const float *values, uint32_t count, uint32_t most,
                            struct sampler_candidate *out)
{
    CHECK(most > 0);
    if (most <= SAMPLER_SELECT_HEAP_MAX)
        return select_by_heap(values, count, most, out);
    struct sampler_peak peak;
    CHECK(sampler_row_peak(values, count, &peak));
    if (peak.value == -INFINITY)
        return 0;
    struct buckets b;
    buckets_init(&b, peak.value, (double)peak.value - (double)sampler_row_lowest(values, count));
    count_tokens(&b, values, count);
    uint32_t last = 0;
    for (uint64_t found = b.ends[0]; found < most && last < BUCKETS - 1; found += b.ends[last])
        last++;
    uint32_t placed = spread(&b, last, values, count, out);
    return placed < most ? placed : most; /* the last bucket may hold more than is wanted */
}

uint32_t sampler_select_mass(const float *values, uint32_t count, struct sampler_scale scale,
                             float top_p, struct sampler_candidate *out, double *wanted)
{
    struct buckets b;
    double range = scale.max - (double)sampler_row_lowest(values, count);
    buckets_init(&b, scale.max, fmin(range, EXPONENT_RANGE * scale.temperature));
    *wanted = top_p * count_and_weigh_tokens(&b, values, count, scale);
    double enough = *wanted * (1 + count * 0x1p-51), mass = b.masses[0];
    uint32_t last = 0;
    for (; mass < enough && last < BUCKETS - 1; mass += b.masses[last])
        last++;
    return spread(&b, last, values, count, out);
}
