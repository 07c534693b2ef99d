/* (layer, expert) -> pinned bytes: the only caller of memory/ in the engine.
 *
 * One layer at a time asks for its distinct experts. Hits are pinned at once, so that nothing
 * throws them out; misses start together, as many as slots can be had for, and the rest as slots
 * come free: a ring of one slot works, only slower. The caller computes experts in the order in
 * which they become ready and gives each back before the next wave needs its slot.
 *
 *     request(layer, experts) ; while next(&e) == OK: compute e, release(e, fence)
 *
 * The device may still be computing an expert that is given back: its pages leave their slots only
 * for what is written after that fence (memory/device.h).
 *
 * With a processor beside the device that reads host memory, a miss whose page lies there may be
 * given out as it lies, to be computed on the spot (pager_place.h): it then takes no slot and no
 * copy. Those come while copies of others are under way, so that both work side by side.
 *
 * What comes before it is asked for is decided by policy.h (guesses for the next layers) and
 * stream.h (whole layers, for large batches) and queued behind demand. Engine thread. */
#ifndef MOERING_ENGINE_PAGING_EXPERT_PAGER_H
#define MOERING_ENGINE_PAGING_EXPERT_PAGER_H

#include <stdbool.h>

#include "engine/paging/expert_map.h"
#include "engine/paging/placement.h"
#include "engine/paging/policy.h"
#include "engine/paging/stream.h"
#include "engine/paging/usage.h"
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
    /* Somebody computes experts in host memory, where there is a host tier. Not used in AUTO mode
     * where every page has a slot on the device. */
    bool host_compute;
    enum placement_mode placement; /* with host_compute */
    struct placement_prior prior;  /* all above 0; PLACEMENT_PRIOR where nothing is known */
    double flops_per_token;        /* of one expert: 2 x its parameters; above 0 */
};

struct pager_counters {
    uint64_t hits, misses;   /* of request, each distinct expert once */
    uint64_t stall_ns; /* spent in the pager while a page was missing: waiting, or reading it */
    uint64_t host_ns;        /* spent computing experts where they lie, on the host */
    uint64_t miss_bytes;     /* read from storage for pages that a request waited for */
    struct policy_counters policy;
    struct stream_figures stream; /* zeros: off */
    struct placement_figures placement; /* zeros: nothing runs on the host */
    uint64_t page_ns, layer_ns; /* measured: a page's way into the device tier while a layer waited
                                   for it, and a layer's time without waiting; 0: not yet */
};

/* One expert of the layer at hand, ready to compute. */
struct pager_expert {
    uint32_t index;          /* in the list given to request */
    bool at_host;            /* it lies in host memory, to be computed there; else on the device */
    const uint8_t *slot;     /* parts at page->part[i].slot_offset */
    const struct page *page;
    uint64_t bytes;          /* read from storage for it; 0 for a hit */
};

enum status pager_open(struct expert_pager **out, const struct pager_config *config,
                       struct error *error);
void pager_close(struct expert_pager *pager); /* accepts NULL */
/* A tier has other numbers of slots (memory_resize), between steps: takes what memory has to tell
 * of it, and policy, schedule and placement go on with the new room and what they have learned.
 * NO_MEMORY: the planner of guesses or host computing, which was not needed before, could not be
 * opened; the pager works on without. */
enum status pager_resized(struct expert_pager *pager, struct error *error);

/* A step of `rows` tokens begins; `next_rows`: of the step after it, 0 where none is known to
 * come. */
void pager_begin_step(struct expert_pager *pager, uint32_t rows, uint32_t next_rows);
/* All its layers have run. A step that failed is not ended. */
void pager_end_step(struct expert_pager *pager);

/* Asks for the distinct experts of a layer; hit[i] tells which were READY. The previous request
 * must be finished or aborted. */
void pager_request(struct expert_pager *pager, const struct layer_run *run, bool *hit);
/* How many layers ahead it is worth telling what their routers say of the present hidden state; 0:
 * not at all. Then, after pager_request: policy.h has the contract. */
uint32_t pager_looks_ahead(const struct expert_pager *pager);
void pager_lookahead(struct expert_pager *pager, uint32_t distance, const float *score);
/* How many of the request at hand are to be computed on the host. Known after pager_request. */
uint32_t pager_at_host(const struct expert_pager *pager);
/* How many pager_next would give at once that are on the device, as far as has been noticed. */
uint32_t pager_ready(const struct expert_pager *pager);
/* The next ready expert, on the device if there is one, waiting for one if need be; while every
 * slot of its size is given out, one must be released first (CHECKed). NOT_FOUND: all have been
 * given. IO: a page could not be read (the error says why) and out->index tells whose, out's other
 * fields nothing; the request is still open, call pager_abort. */
enum status pager_next(struct expert_pager *pager, struct pager_expert *out, struct error *error);
/* Computed, or asked of the device: its slot may be reused after `fence`; 0: at once. */
void pager_release(struct expert_pager *pager, uint32_t index, uint64_t fence);
/* Work given to the device up to this fence may read any page of the layer: for layers computed
 * without asking. */
void pager_layer_fence(struct expert_pager *pager, uint32_t layer, uint64_t fence);
/* A layer was computed without asking, with what was resident: all hits. In the order of layers, as
 * pager_request; no request is at hand. */
void pager_ran(struct expert_pager *pager, const struct layer_run *run);

/* ---- what computing takes ---- */

/* This expert of the request at hand was computed on the host. Before pager_release. */
void pager_measured(struct expert_pager *pager, uint32_t index, uint64_t ns);
/* Should the next batch on the device be timed? It costs waiting for the device before and after,
 * in one of some hundred layers. */
bool pager_samples(const struct expert_pager *pager);
/* It was: these experts, given out and not released, took so long together. */
void pager_sampled(struct expert_pager *pager, const uint32_t *index, uint32_t count, uint64_t ns);
/* What the storage says of an expert's page. */
const struct page *pager_page(const struct expert_pager *pager, uint32_t layer, uint32_t expert);
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
/* The part of one layer, by tier. Over all layers hits and misses of the device tier are those of
 * pager_counters. */
void pager_layer_usage(const struct expert_pager *pager, uint32_t layer,
                       struct expert_tier_usage usage[MEMORY_TIERS]);
/* For expert_map_read by any thread while the pager lives; pages that came before it was opened, or
 * on a way to the device tier that ended on the host, are shown once it has met them. */
const struct expert_map *pager_map(const struct expert_pager *pager);

#ifdef __cplusplus
}
#endif
#endif
