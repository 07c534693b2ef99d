/* The reference that everybody knows: plain LRU over the requests one by one, as if no page of a
 * layer were known to be wanted until it is asked for. The engine's own `--policy lru`
 * (paging/evict.h) does better where the ring holds about one token's experts, because hits of a
 * layer are held before its misses push out anything. O(1) a request. */
#ifndef MOERING_ENGINE_REPLAY_LRU_H
#define MOERING_ENGINE_REPLAY_LRU_H

#include <stdint.h>

#include "memory/base/status.h"
#include "memory/page.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Hits of requested[count], each below `pages`, in a ring of `slots` >= 1, cold start.
 * NO_MEMORY. */
enum status lru_hits(const page_id *requested, uint32_t count, uint32_t pages, uint32_t slots,
                     uint64_t *hits, struct error *error);

#ifdef __cplusplus
}
#endif
#endif
