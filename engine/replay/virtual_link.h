/* The link that pages travel over, on a virtual clock that the caller moves.
 *
 * One page takes page_ns = page bytes / link rate; copies follow each other, none overlap. Demand
 * is what compute stands still for, so the clock runs with it: the caller adds its time at once.
 * Prefetches wait in a queue of two and are copied only in the time that the caller says is idle (a
 * layer computes and no demand is queued). Copies go in chunks, so a demand that comes while a
 * prefetch is on its way does not wait for it: the prefetch keeps what it has and goes on in the
 * next idle time. A prefetch that is asked for meanwhile is taken out, and its rest is demand. */
#ifndef MOERING_ENGINE_REPLAY_VIRTUAL_LINK_H
#define MOERING_ENGINE_REPLAY_VIRTUAL_LINK_H

#include <stdbool.h>
#include <stdint.h>

#include "memory/page.h"

#ifdef __cplusplus
extern "C" {
#endif

#define VIRTUAL_LINK_QUEUE 2

struct virtual_link {
    double page_ns;                           /* > 0 */
    double busy_ns;                           /* time spent copying so far */
    uint32_t queued;
    page_id page[VIRTUAL_LINK_QUEUE];         /* prefetches, oldest first */
    double rest_ns[VIRTUAL_LINK_QUEUE];       /* what is left of each; page_ns: not begun */
};

void virtual_link_init(struct virtual_link *link, double page_ns);

/* A prefetch joins the queue, which must have room (CHECKed). */
void virtual_link_queue(struct virtual_link *link, page_id page);
/* The place of a page in the queue; VIRTUAL_LINK_QUEUE: it is not there. */
uint32_t virtual_link_find(const struct virtual_link *link, page_id page);
static inline bool virtual_link_begun(const struct virtual_link *link, uint32_t at)
{
    return link->rest_ns[at] < link->page_ns;
}
/* Takes a prefetch out and returns what is left of it; the time already spent stays spent. */
double virtual_link_take(struct virtual_link *link, uint32_t at);

/* Demand for so long. */
static inline void virtual_link_demand(struct virtual_link *link, double ns)
{
    link->busy_ns += ns;
}
/* Copies prefetches for up to *idle_ns, which is lowered by what was used, until one has arrived.
 * PAGE_NONE: the time is over or nothing is queued. */
page_id virtual_link_idle(struct virtual_link *link, double *idle_ns);

#ifdef __cplusplus
}
#endif
#endif
