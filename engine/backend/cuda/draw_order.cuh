/* The order of values of a row, best first, searched by a whole block without sorting it.
 *
 * Every thread of the block calls these functions, with the same arguments, and gets the answer.
 * Device code; draw.cu says what it is for. */
#ifndef MOERING_ENGINE_BACKEND_CUDA_DRAW_ORDER_CUH
#define MOERING_ENGINE_BACKEND_CUDA_DRAW_ORDER_CUH

#include "engine/backend/cuda/draw_walk.cuh"

#define DRAW_LISTED 4096 /* best tokens that are remembered, so that the row is read once */
#define DRAW_GROUP 512   /* tokens that are compared with each other: a thread for each */
#define DRAW_LOADS 8     /* that a thread has under way when it goes over a row */
#define DRAW_OWN (DRAW_BUCKETS / DRAW_THREADS) /* buckets of a thread */

struct draw_shared {
    struct draw_board board;
    struct draw_peak peak;
    unsigned long long group_keys[DRAW_GROUP];
    draw_mass group_masses[DRAW_GROUP];
    uint32_t group_count;
    uint32_t list[DRAW_LISTED];
    uint32_t list_count;
};

/* Integers that sort best first: by falling value, then by rising id. */
static __device__ __forceinline__ unsigned long long draw_key(const struct draw_row *row,
                                                              float value, uint32_t token)
{
    uint32_t bits = __float_as_uint(value == 0 ? 0.0f : value); /* one zero */
    uint32_t falling = bits & 0x80000000u ? bits : ~bits & 0x7FFFFFFFu;
    return (unsigned long long)falling * row->vocab + token;
}

/* Calls f(token, value, mass) for the tokens of buckets [first, last], each from some thread. */
template <typename F>
static __device__ __forceinline__ void draw_each(const struct draw_row *row, const uint32_t *list,
                                                 uint32_t list_count, uint32_t first, uint32_t last,
                                                 F f)
{
    const uint32_t count = list ? list_count : row->vocab;
    for (uint32_t begin = threadIdx.x; begin < count; begin += DRAW_LOADS * DRAW_THREADS) {
        uint32_t tokens[DRAW_LOADS];
        float values[DRAW_LOADS];
#pragma unroll
        for (uint32_t j = 0; j < DRAW_LOADS; j++) {
            const uint32_t i = begin + j * DRAW_THREADS;
            tokens[j] = i < count ? (list ? list[i] : i) : 0;
            values[j] = i < count ? row->logits[tokens[j]] : -INFINITY;
        }
#pragma unroll
        for (uint32_t j = 0; j < DRAW_LOADS; j++) {
            const uint32_t bucket = draw_bucket(row, values[j]);
            if (bucket < first || bucket > last)
                continue;
            const draw_mass mass = draw_mass_of(draw_weight(row, values[j]));
            if (mass > 0)
                f(tokens[j], values[j], mass);
        }
    }
}

/* The row in its order of values, for searches. */
struct draw_order {
    const struct draw_row *row;
    const uint32_t *counts; /* [DRAW_BUCKETS] */
    struct draw_shared *shared;
    struct draw_sum all, before; /* of all buckets; of those before this thread's own */
    struct draw_sum own[DRAW_OWN];
    uint32_t list_buckets; /* buckets below this one are in the list */
};

/* Some tokens that are neighbours in the order: those of a bucket with keys from low to high. */
struct draw_group {
    const uint32_t *list; /* NULL: they are to be found in the row */
    uint32_t bucket;
    unsigned long long low, high;
    struct draw_sum before;
    uint32_t count;
};

/* Keeps the quarter of the keys of the group in which the goal is reached. */
static __device__ __forceinline__ void draw_group_cut(const struct draw_order *order,
                                                      struct draw_group *group,
                                                      struct draw_sum goal)
{
    const unsigned long long step = (group->high - group->low) / 4 + 1;
    struct draw_sum own[3] = {{0, 0}, {0, 0}, {0, 0}};
    const struct draw_row *row = order->row;
    draw_each(row, group->list, order->shared->list_count, group->bucket, group->bucket,
              [&](uint32_t token, float value, draw_mass mass) {
                  unsigned long long key = draw_key(row, value, token);
                  if (key < group->low || key > group->high)
                      return;
#pragma unroll
                  for (int j = 0; j < 3; j++)
                      if (key - group->low < step * (j + 1))
                          own[j] = draw_sum_plus(own[j], draw_sum_of(mass, 1));
              });
    struct draw_sum skipped = draw_sum_of(0, 0);
    uint32_t upto = group->count;
    int quarter = 0;
#pragma unroll
    for (int j = 0; j < 3; j++) {
        struct draw_sum below;
        draw_block_scan(&order->shared->board, own[j], &below);
        if (quarter < j)
            continue; /* found: but every thread takes part in every scan */
        if (draw_reaches(draw_sum_plus(group->before, below), goal)) {
            upto = below.count;
        } else {
            quarter = j + 1;
            skipped = below;
        }
    }
    group->low += step * quarter;
    if (quarter < 3)
        group->high = group->low + step - 1;
    group->before = draw_sum_plus(group->before, skipped);
    group->count = upto - skipped.count;
}

/* The token of a group of at most DRAW_GROUP where the goal is reached. */
static __device__ __forceinline__ struct draw_at draw_group_find(const struct draw_order *order,
                                                                 const struct draw_group *group,
                                                                 struct draw_sum goal)
{
    struct draw_shared *shared = order->shared;
    const struct draw_row *row = order->row;
    if (threadIdx.x == 0)
        shared->group_count = 0;
    __syncthreads();
    draw_each(row, group->list, shared->list_count, group->bucket, group->bucket,
              [&](uint32_t token, float value, draw_mass mass) {
                  unsigned long long key = draw_key(row, value, token);
                  if (key < group->low || key > group->high)
                      return;
                  uint32_t at = atomicAdd(&shared->group_count, 1u);
                  shared->group_keys[at] = key;
                  shared->group_masses[at] = mass;
              });
    __syncthreads();
    const uint32_t count = shared->group_count;
    if (threadIdx.x < count) {
        const unsigned long long key = shared->group_keys[threadIdx.x];
        struct draw_sum ahead = group->before;
        for (uint32_t i = 0; i < count; i++)
            if (shared->group_keys[i] < key)
                ahead = draw_sum_plus(ahead, draw_sum_of(shared->group_masses[i], 1));
        struct draw_sum own = draw_sum_of(shared->group_masses[threadIdx.x], 1);
        if (!draw_reaches(ahead, goal) && draw_reaches(draw_sum_plus(ahead, own), goal)) {
            shared->board.found.before = draw_sum_plus(ahead, own);
            shared->board.found.index = (uint32_t)(key % row->vocab);
        }
    }
    return draw_found(&shared->board);
}

static __device__ __forceinline__ struct draw_at draw_find_bucket(const struct draw_order *order,
                                                                  struct draw_sum goal)
{
    struct draw_board *board = &order->shared->board;
    if (!draw_reaches(order->all, goal)) {
        struct draw_at beyond = {order->all, DRAW_BUCKETS};
        return beyond;
    }
    struct draw_sum ahead = order->before;
#pragma unroll
    for (uint32_t j = 0; j < DRAW_OWN; j++) {
        struct draw_sum upto = draw_sum_plus(ahead, order->own[j]);
        if (!draw_reaches(ahead, goal) && draw_reaches(upto, goal)) {
            board->found.before = ahead;
            board->found.index = threadIdx.x * DRAW_OWN + j;
        }
        ahead = upto;
    }
    return draw_found(board);
}

/* The first token in the order with which the goal is reached; `before` includes it. If all do not
 * reach it, `before` is the sum of all. */
static __device__ struct draw_at draw_find(const struct draw_order *order,
                                           struct draw_sum goal)
{
    struct draw_at at = draw_find_bucket(order, goal);
    if (at.index == DRAW_BUCKETS)
        return at;
    const struct draw_row *row = order->row;
    struct draw_group group;
    group.list = at.index < order->list_buckets ? order->shared->list : NULL;
    group.bucket = at.index;
    group.before = at.before;
    group.count = order->counts[at.index];
    /* The values of the bucket, with a bucket of slack on either side. */
    double top = row->peak.highest - (at.index - 1.0) / row->per_unit;
    double bottom = row->peak.highest - (at.index + 2.0) / row->per_unit;
    group.low = draw_key(row, fminf((float)top, row->peak.highest), 0);
    group.high = draw_key(row, fmaxf((float)bottom, row->peak.lowest), row->vocab - 1);
    while (group.count > DRAW_GROUP)
        draw_group_cut(order, &group, goal);
    return draw_group_find(order, &group, goal);
}

/* Puts the best tokens into the list, as whole buckets. */
static __device__ __forceinline__ void draw_list(struct draw_order *order)
{
    struct draw_shared *shared = order->shared;
    order->list_buckets = draw_find_bucket(order, draw_goal_count(DRAW_LISTED + 1)).index;
    if (threadIdx.x == 0)
        shared->list_count = 0;
    __syncthreads();
    if (order->list_buckets > 0)
        draw_each(order->row, NULL, 0, 0, order->list_buckets - 1,
                  [=](uint32_t token, float, draw_mass) {
                      shared->list[atomicAdd(&shared->list_count, 1u)] = token;
                  });
    __syncthreads();
}

static __device__ __forceinline__ struct draw_order
draw_order_of(const struct draw_row *row, const struct draw_scratch *scratch,
              struct draw_shared *shared)
{
    struct draw_order order;
    order.row = row;
    order.counts = scratch->bucket_counts;
    order.shared = shared;
    struct draw_sum sum = draw_sum_of(0, 0);
#pragma unroll
    for (uint32_t j = 0; j < DRAW_OWN; j++) {
        const uint32_t bucket = threadIdx.x * DRAW_OWN + j;
        order.own[j] = draw_sum_of(scratch->bucket_masses[bucket], scratch->bucket_counts[bucket]);
        sum = draw_sum_plus(sum, order.own[j]);
    }
    order.before = draw_block_scan(&shared->board, sum, &order.all);
    draw_list(&order);
    return order;
}

#endif
