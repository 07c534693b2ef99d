/* The bound of every eviction policy: Belady's rule (1966) evicts the page whose next use lies
 * furthest ahead, and no policy that copies pages when they are asked for can miss less often
 * (Mattson et al. 1970). It needs the future, so it runs over recorded requests: a whole trace, or
 * the window that a running server keeps of its own.
 *
 * Only the number of misses is asked for, and that needs no list of pages. A resident page is the
 * *position* at which it will be asked for next, so the ring is a set of positions: request i is a
 * hit if position i is in the set, and the page to evict is the largest member. The set is a tree
 * of 64-bit words over the requests, in which members, removal and the largest take a few words
 * each (near 10 ns a request, whatever the number of slots). Pages never asked for again have no
 * position; they are counted, and leave first.
 *
 * Requests are served one by one in the order given: a page just used may leave for the next one of
 * the same layer. One thread per struct; nothing is allocated after open. */
#ifndef MOERING_ENGINE_REPLAY_BELADY_H
#define MOERING_ENGINE_REPLAY_BELADY_H

#include <stdint.h>

#include "memory/base/status.h"
#include "memory/page.h"

#ifdef __cplusplus
extern "C" {
#endif

struct belady;

struct belady_window {
    const page_id *pages;       /* [requests], each below the `pages` of open */
    uint32_t requests;          /* at most `requests_max` of open */
    uint32_t slots;             /* >= 1 */
    const uint8_t *resident;    /* [pages] 1: there before the first request; NULL: cold start. More
                                   than fit: those used last leave first */
    /* Optional: requests in groups (runs of a layer, steps), to see where misses fall. */
    uint32_t groups;
    const uint32_t *group_start; /* [groups + 1] ascending, the last is `requests` */
    uint32_t *group_misses;      /* [groups] out; NULL: not wanted */
};

struct belady_result {
    uint64_t requests, hits; /* misses are the difference */
    uint64_t compulsory;     /* misses of pages never seen before: no policy avoids them */
};

/* For windows of up to `requests_max` < UINT32_MAX over pages 0 .. pages - 1. NO_MEMORY. */
enum status belady_open(struct belady **out, uint32_t pages, uint32_t requests_max,
                        struct error *error);
void belady_close(struct belady *belady); /* accepts NULL */
/* The window is borrowed until the call returns, or longer for belady_again. */
void belady_run(struct belady *belady, const struct belady_window *window,
                struct belady_result *out);
/* The window of the last belady_run, unchanged since, with another number of slots: the search for
 * next uses is spared. */
void belady_again(struct belady *belady, uint32_t slots, struct belady_result *out);
/* Bytes that belady_open takes: about 4.2 a request and 4 a page. */
uint64_t belady_bytes(uint32_t pages, uint32_t requests_max);

#ifdef __cplusplus
}
#endif
#endif
