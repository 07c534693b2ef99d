/* Adding up in order by a whole block, until a number of tokens or a mass is reached.
 *
 * Every thread of the block calls these functions, with the same arguments, and gets the answer.
 * Device code; draw.cu says what it is for. */
#ifndef MOERING_ENGINE_BACKEND_CUDA_DRAW_WALK_CUH
#define MOERING_ENGINE_BACKEND_CUDA_DRAW_WALK_CUH

#include "engine/backend/cuda/draw_row.cuh"

#define DRAW_WARPS (DRAW_THREADS / CUDA_WARP)

struct draw_sum {
    draw_mass mass;
    uint32_t count;
};

/* A place in an order and what lies before it; `index` is the count of all if there is none. */
struct draw_at {
    struct draw_sum before;
    uint32_t index;
};

/* In shared memory: what the threads tell each other. */
struct draw_board {
    struct draw_sum warps[DRAW_WARPS];
    struct draw_at found;
};

static __device__ __forceinline__ struct draw_sum draw_sum_of(draw_mass mass, uint32_t count)
{
    struct draw_sum sum = {mass, count};
    return sum;
}

static __device__ __forceinline__ struct draw_sum draw_sum_plus(struct draw_sum a,
                                                                struct draw_sum b)
{
    return draw_sum_of(a.mass + b.mass, a.count + b.count);
}

/* A goal is reached when so many tokens or so much mass are there. */
static __device__ __forceinline__ bool draw_reaches(struct draw_sum sum, struct draw_sum goal)
{
    return sum.count >= goal.count || sum.mass >= goal.mass;
}

static __device__ __forceinline__ struct draw_sum draw_goal_count(uint32_t count)
{
    return draw_sum_of(~(draw_mass)0, count);
}

static __device__ __forceinline__ struct draw_sum draw_goal_mass(draw_mass mass)
{
    return draw_sum_of(mass, UINT32_MAX);
}

/* The sum of the values of the lanes up to this one. */
static __device__ __forceinline__ struct draw_sum draw_warp_scan(struct draw_sum upto)
{
    for (uint32_t apart = 1; apart < CUDA_WARP; apart *= 2) {
        struct draw_sum other;
        other.mass = __shfl_up_sync(0xFFFFFFFFu, upto.mass, apart);
        other.count = __shfl_up_sync(0xFFFFFFFFu, upto.count, apart);
        if (threadIdx.x % CUDA_WARP >= apart)
            upto = draw_sum_plus(upto, other);
    }
    return upto;
}

/* The sum of the values of all threads before this one; *total: of all. */
static __device__ __forceinline__ struct draw_sum draw_block_scan(struct draw_board *board,
                                                                  struct draw_sum own,
                                                                  struct draw_sum *total)
{
    const uint32_t lane = threadIdx.x % CUDA_WARP, warp = threadIdx.x / CUDA_WARP;
    const struct draw_sum upto = draw_warp_scan(own);
    __syncthreads(); /* who still read the sums of the scan before */
    if (lane == CUDA_WARP - 1)
        board->warps[warp] = upto;
    __syncthreads();
    const struct draw_sum here = board->warps[warp];
    const struct draw_sum warps =
        draw_warp_scan(lane < DRAW_WARPS ? board->warps[lane] : draw_sum_of(0, 0));
    total->mass = __shfl_sync(0xFFFFFFFFu, warps.mass, CUDA_WARP - 1);
    total->count = __shfl_sync(0xFFFFFFFFu, warps.count, CUDA_WARP - 1);
    draw_mass mass = __shfl_sync(0xFFFFFFFFu, warps.mass, (int)warp);
    uint32_t count = __shfl_sync(0xFFFFFFFFu, warps.count, (int)warp);
    return draw_sum_of(mass - here.mass + upto.mass - own.mass,
                       count - here.count + upto.count - own.count);
}

/* What one of the threads has put on the board. */
static __device__ __forceinline__ struct draw_at draw_found(struct draw_board *board)
{
    __syncthreads();
    struct draw_at found = board->found;
    __syncthreads();
    return found;
}

/* Adds item(0), item(1), .. item(count - 1) to `before` until the goal is reached, and says where
 * that is. */
template <typename Item>
static __device__ __forceinline__ struct draw_at draw_walk(struct draw_board *board,
                                                           uint32_t count, struct draw_sum before,
                                                           struct draw_sum goal, Item item)
{
    for (uint32_t begin = 0; begin < count; begin += DRAW_THREADS) {
        const uint32_t i = begin + threadIdx.x;
        struct draw_sum own = draw_sum_of(0, 0), total;
        if (i < count)
            own = item(i);
        struct draw_sum ahead = draw_sum_plus(before, draw_block_scan(board, own, &total));
        if (!draw_reaches(ahead, goal) && draw_reaches(draw_sum_plus(ahead, own), goal)) {
            board->found.before = ahead;
            board->found.index = i;
        }
        before = draw_sum_plus(before, total);
        if (draw_reaches(before, goal))
            return draw_found(board);
    }
    struct draw_at beyond = {before, count};
    return beyond;
}

#endif
