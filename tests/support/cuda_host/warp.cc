/* See warp.h. A result may be written over the deposit it came from, so shuffles read from a copy.
 */
#include "tests/support/cuda_host/warp.h"

#include <string.h>

#include "tests/support/cuda_host/wmma.h"

namespace cuda_host {

namespace {

void shuffle(struct warp_deposit *deposits, uint32_t mask)
{
    uint64_t brought[32];
    for (unsigned lane = 0; lane < 32; lane++)
        brought[lane] = mask >> lane & 1 ? deposits[lane].value : ~(uint64_t)0; /* undefined */
    for (unsigned lane = 0; lane < 32; lane++)
        if (mask >> lane & 1)
            deposits[lane].value = brought[deposits[lane].source & 31];
}

void match_any(struct warp_deposit *deposits, uint32_t mask)
{
    uint64_t brought[32] = {};
    for (unsigned lane = 0; lane < 32; lane++)
        brought[lane] = deposits[lane].value;
    for (unsigned lane = 0; lane < 32; lane++) {
        uint32_t equal = 0;
        for (unsigned other = 0; other < 32; other++)
            equal |= (uint32_t)(brought[other] == brought[lane]) << other;
        if (mask >> lane & 1)
            deposits[lane].value = equal & mask;
    }
}

uint64_t combine(enum cuda_host_meeting meeting, uint64_t a, uint64_t b)
{
    uint32_t ua = (uint32_t)a, ub = (uint32_t)b;
    switch (meeting) {
    case CUDA_HOST_ADD:
        return ua + ub;
    case CUDA_HOST_MIN_UNSIGNED:
        return ua < ub ? ua : ub;
    case CUDA_HOST_MAX_UNSIGNED:
        return ua > ub ? ua : ub;
    case CUDA_HOST_MIN_SIGNED:
        return (int32_t)ua < (int32_t)ub ? ua : ub;
    case CUDA_HOST_MAX_SIGNED:
        return (int32_t)ua > (int32_t)ub ? ua : ub;
    case CUDA_HOST_AND:
        return ua & ub;
    case CUDA_HOST_XOR:
        return ua ^ ub;
    default: /* CUDA_HOST_OR */
        return ua | ub;
    }
}

void reduce(struct warp_deposit *deposits, uint32_t mask, enum cuda_host_meeting meeting)
{
    uint64_t sum = deposits[__builtin_ctz(mask)].value;
    for (uint32_t rest = mask & (mask - 1); rest; rest &= rest - 1)
        sum = combine(meeting, sum, deposits[__builtin_ctz(rest)].value);
    for (uint32_t rest = mask; rest; rest &= rest - 1)
        deposits[__builtin_ctz(rest)].value = sum;
}

void ballot(struct warp_deposit *deposits, uint32_t mask)
{
    uint64_t votes = 0;
    for (uint32_t rest = mask; rest; rest &= rest - 1)
        votes |= (deposits[__builtin_ctz(rest)].value & 1) << __builtin_ctz(rest);
    for (uint32_t rest = mask; rest; rest &= rest - 1)
        deposits[__builtin_ctz(rest)].value = votes;
}

} // namespace

void warp_init(struct warp *w, uint32_t exists, uint32_t order)
{
    w->exists = exists;
    w->ready = 0;
    w->exited = w->met = w->at_barrier = w->passed = 0;
    w->order = order;
    memset(w->fibres, 0, sizeof w->fibres);
}

bool warp_complete(struct warp *w, uint32_t mask, enum cuda_host_meeting meeting)
{
    for (uint32_t rest = mask; rest; rest &= rest - 1) {
        const struct warp_deposit *d = &w->deposits[__builtin_ctz(rest)];
        if (d->mask != mask || d->meeting != meeting)
            return false;
    }
    switch (meeting) {
    case CUDA_HOST_SYNC:
        break;
    case CUDA_HOST_SHUFFLE:
        shuffle(w->deposits, mask);
        break;
    case CUDA_HOST_BALLOT:
        ballot(w->deposits, mask);
        break;
    case CUDA_HOST_MATCH_ANY:
        match_any(w->deposits, mask);
        break;
    case CUDA_HOST_MMA:
        wmma_complete(w->deposits);
        break;
    default:
        reduce(w->deposits, mask, meeting);
    }
    return true;
}

bool warp_waits_for(const struct warp *w, uint32_t lanes)
{
    for (uint32_t rest = w->met; rest; rest &= rest - 1)
        if (w->deposits[__builtin_ctz(rest)].mask & lanes)
            return true;
    return false;
}

const char *warp_meeting_name(enum cuda_host_meeting meeting)
{
    switch (meeting) {
    case CUDA_HOST_SYNC:
        return "__syncwarp";
    case CUDA_HOST_SHUFFLE:
        return "a shuffle";
    case CUDA_HOST_BALLOT:
        return "a vote";
    case CUDA_HOST_MATCH_ANY:
        return "a match";
    case CUDA_HOST_MMA:
        return "mma_sync";
    default:
        return "a reduction";
    }
}

} // namespace cuda_host
