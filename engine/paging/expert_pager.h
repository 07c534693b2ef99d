/* (layer, expert) -> pinned bytes: the only caller of memory/ in the engine.
 *
 * One layer at a time asks for its distinct experts. Hits are pinned at once, so that nothing
 * throws them out; misses start together, as many as slots can be had for, and the rest as slots
 * come free: a ring of one slot works, only slower. The caller computes experts in the order in
 * which they become ready and gives each back before the next wave needs its slot.
 *
 *     request(layer, experts) ; while next(&e) == OK: compute e, release(e)
 *
 * What comes before it is asked for is decided by policy.h (guesses for the next layers) and stream.h
 * (whole layers, for large batches) and queued behind demand. Engine thread. */
#ifndef MOERING_ENGINE_PAGING_EXPERT_PAGER_H
#define MOERING_ENGINE_PAGING_EXPERT_PAGER_H

#include <stdbool.h>

#include "engine/paging/policy.h"
#include "engine/paging/stream.h"
#include "memory/memory.h"

#ifdef __cplusplus
extern "C" {
#endif

struct expert_pager;

struct pager_config {
    struct memory *memory; /* borrowed; its pages are numbered layer * experts + expert */
    uint32_t layers, experts, top_k;
    enum evict_kind evict;
    enum foresight foresight;
    enum prefetch_mode prefetch;
    bool slow_clock;         /* loads, states and forecasts by ticks */
    struct predictor *lstm[LOAD_PHASES]; /* as policy_config; borrowed */
    uint32_t stream_layers;  /* STREAM_OFF, STREAM_AUTO or a number of layer slots */
    bool stream_always;      /* every step streams: for tests and comparisons */
};

struct pager_counters {
    uint64_t hits, misses;   /* of request, each distinct expert once */
    uint64_t stall_ns;       /* spent in the pager while a page was missing: waiting, or reading it */
    uint64_t miss_bytes;     /* read from storage for pages that a request waited for */
    struct policy_counters policy;
    struct stream_figures stream; /* zeros: off */
    uint64_t page_ns, layer_ns;   /* measured: a page's way into the device tier while a layer waited for
                                     it, and a layer's time without waiting; 0: not yet */
};

/* One expert of the layer at hand, ready to compute. */
struct pager_expert {
    uint32_t index;          /* in the list given to request */
    const uint8_t *slot;     /* parts at page->part[i].slot_offset */
    const struct page *page;
    uint64_t bytes;          /* read from storage for it; 0 for a hit */
};

enum status pager_open(struct expert_pager **out, const struct pager_config *config,
                       struct error *error);
void pager_close(struct expert_pager *pager); /* accepts NULL */

/* A step of `rows` tokens begins; `next_rows`: of the step after it, 0 where none is known to come. */
void pager_begin_step(struct expert_pager *pager, uint32_t rows, uint32_t next_rows);
/* All its layers have run. A step that failed is not ended. */
void pager_end_step(struct expert_pager *pager);

/* Asks for the distinct experts of a layer; hit[i] tells which were READY. The previous request must be
 * finished or aborted. */
void pager_request(struct expert_pager *pager, const struct layer_run *run, bool *hit);
/* How many layers ahead it is worth telling what their routers say of the present hidden state; 0: not
 * at all. Then, after pager_request: policy.h has the contract. */
uint32_t pager_looks_ahead(const struct expert_pager *pager);
void pager_lookahead(struct expert_pager *pager, uint32_t distance, const float *score);
/* The next ready expert, waiting for one if need be; while every slot of its size is given out, one
 * must be released first (CHECKed). NOT_FOUND: all have been given. IO: a page could not be read
 * (the error says why) and out->index tells whose, out's other fields nothing; the request is still
 * open, call pager_abort. */
enum status pager_next(struct expert_pager *pager, struct pager_expert *out, struct error *error);
/* Computed: its slot may be reused. */
void pager_release(struct expert_pager *pager, uint32_t index);
/* The slow clock; NULL without one. Read only. */
const struct loads *pager_loads(const struct expert_pager *pager);
/* Gives up the request at hand and unpins what it holds. Reads under way end by themselves. */
void pager_abort(struct expert_pager *pager);

#ifdef __cplusplus /* a struct and a function of one name: C++ warns, and means well */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"
#endif
void pager_counters(const struct expert_pager *pager, struct pager_counters *out);
#ifdef __cplusplus
#pragma GCC diagnostic pop
#endif

#ifdef __cplusplus
}
#endif
#endif
