/* See expert_pager.h. The state of a wanted expert only moves forward:
 *
 *     WAITING (no slot yet) -> LOADING -> READY (pinned, not yet given) -> GIVEN -> DONE
 *
 * A page that is on its way already when it is asked for (a prefetch, or a read that an abort left
 * behind) is joined at once and never WAITING, so that it cannot land and be thrown out unused.
 * Progress: while something is WAITING there is a page given out, a read under way, or a page that
 * can be evicted; pager_next relies on it and CHECKs it. */
#include "engine/paging/expert_pager.h"

#include <stdlib.h>

#include "engine/paging/evict.h"
#include "engine/paging/prefetch.h"
#include "memory/base/check.h"
#include "memory/base/clock.h"

enum {
    EVENTS_PER_POLL = 32,
    MISS_SHARE = 4,               /* of the ring; see start_demand */
    MISS_LEAST = 2,               /* slots: one to read into while the other is computed */
    PREFETCH_AHEAD = 2,           /* layers */
    PREFETCH_PER_REQUEST = 32,
    WAIT_NS = 100 * 1000 * 1000,  /* one wait in poll; a bound for lost wake-ups, not a deadline */
};

enum want_state { WANT_WAITING, WANT_LOADING, WANT_READY, WANT_GIVEN, WANT_DONE };

struct want {
    page_id page;
    enum want_state state;
    bool missed;         /* was not READY when asked for */
    bool joined;         /* LOADING by a read that began before it was asked for */
    const uint8_t *slot; /* while pinned */
    uint64_t bytes;
};

struct expert_pager {
    struct memory *memory;
    struct evict *evict;
    struct prefetch *prefetch; /* NULL: off */
    uint32_t layers, experts;
    struct want *wants;        /* [experts] of the request at hand */
    uint32_t want_count;
    uint32_t undone;           /* wants not DONE */
    uint32_t *want_of;         /* [experts] of the layer at hand: index + 1 into wants, 0: none */
    uint32_t layer;
    bool *guessed;             /* [pages] came or comes by prefetch, not used yet */
    struct pager_counters counters;
};

enum status pager_open(struct expert_pager **out, const struct pager_config *config,
                       struct error *error)
{
    enum status status = STATUS_NO_MEMORY;
    struct expert_pager *p = calloc(1, sizeof *p);
    if (!p)
        goto fail;
    p->memory = config->memory;
    p->layers = config->layers;
    p->experts = config->experts;
    p->wants = calloc(p->experts, sizeof *p->wants);
    p->want_of = calloc(p->experts, sizeof *p->want_of);
    p->guessed = calloc((size_t)p->layers * p->experts, sizeof *p->guessed);
    if (!p->wants || !p->want_of || !p->guessed)
        goto fail;
    status = evict_open(&p->evict, p->layers, p->experts, error);
    if (status == STATUS_OK && config->prefetch && p->layers > 1)
        status = prefetch_open(&p->prefetch, p->layers, p->experts, PREFETCH_AHEAD, error);
    if (status != STATUS_OK)
        goto fail;
    *out = p;
    return STATUS_OK;
fail:
    pager_close(p);
    return error_set(error, status, "no memory for the expert pager");
}

void pager_close(struct expert_pager *pager)
{
    if (!pager)
        return;
    evict_close(pager->evict);
    prefetch_close(pager->prefetch);
    free(pager->wants);
    free(pager->want_of);
    free(pager->guessed);
    free(pager);
}

/* Takes a page out of the device tier or the host tier. */
static void drop(struct expert_pager *p, enum memory_tier tier, page_id page)
{
    if (tier == MEMORY_DEVICE && p->guessed[page]) {
        p->guessed[page] = false;
        p->counters.prefetch_wasted++;
    }
    memory_evict(p->memory, tier, page);
}

/* Misses of the request at hand that are on their way or wait to be computed. */
static uint32_t misses_held(const struct expert_pager *p)
{
    uint32_t held = 0;
    for (uint32_t i = 0; i < p->want_count; i++)
        held += p->wants[i].missed && (p->wants[i].state == WANT_LOADING ||
                                       p->wants[i].state == WANT_READY);
    return held;
}

/* Starts the fetch of a wanted page, making room as needed; false: no room can be had now.
 *
 * A layer that wants more than there are slots would wash through the whole ring and leave nothing
 * for the layers after it. So misses may push out pages that other layers used in their last round
 * only up to a share of the ring at a time; the rest of them pass through the slots of those already
 * computed. */
static bool start_demand(struct expert_pager *p, page_id page)
{
    uint32_t size_class = store_page(memory_store(p->memory), page)->size_class;
    uint32_t share = memory_slots(p->memory, MEMORY_DEVICE, size_class) / MISS_SHARE;
    for (;;) {
        enum memory_tier lacking;
        uint64_t distance;
        enum status status =
            memory_fetch(p->memory, MEMORY_DEVICE, page, URGENCY_DEMAND, NULL, &lacking);
        if (status == STATUS_OK)
            return true;
        CHECK(status == STATUS_FULL && lacking != MEMORY_TIERS);
        page_id victim = evict_choose(p->evict, p->memory, lacking, size_class, &distance);
        if (victim == PAGE_NONE)
            return false;
        bool live = lacking == MEMORY_DEVICE && distance < p->layers;
        if (live && misses_held(p) >= (share > MISS_LEAST ? share : MISS_LEAST))
            return false;
        drop(p, lacking, victim);
    }
}

/* Brings one guessed page if a slot is free or holds something expected later than the guess. */
static bool start_prefetch(struct expert_pager *p, page_id page)
{
    uint32_t size_class = store_page(memory_store(p->memory), page)->size_class;
    uint64_t when = evict_distance(p->evict, page) % p->layers; /* its layer's next run */
    for (;;) {
        enum memory_tier lacking;
        uint64_t distance;
        if (memory_fetch(p->memory, MEMORY_DEVICE, page, URGENCY_PREFETCH, NULL, &lacking) ==
            STATUS_OK)
            return true;
        if (lacking == MEMORY_TIERS)
            return false;
        page_id victim = evict_choose(p->evict, p->memory, lacking, size_class, &distance);
        /* Only pages that sat out a whole round make room for a guess. */
        if (victim == PAGE_NONE || distance <= p->layers + when)
            return false;
        drop(p, lacking, victim);
    }
}

static void issue_prefetches(struct expert_pager *p, uint32_t layer)
{
    page_id pages[PREFETCH_PER_REQUEST];
    uint32_t n = prefetch_candidates(p->prefetch, layer, pages, PREFETCH_PER_REQUEST);
    for (uint32_t i = 0; i < n; i++) {
        if (memory_where(p->memory, MEMORY_DEVICE, pages[i]) != SLOT_FREE)
            continue;
        if (!start_prefetch(p, pages[i]))
            return;
        evict_expect(p->evict, pages[i]);
        p->guessed[pages[i]] = true;
        p->counters.prefetch_issued++;
    }
}

static void pin(struct expert_pager *p, struct want *want)
{
    want->slot = memory_pin(p->memory, want->page);
    want->state = WANT_READY;
}

/* A stall is time spent here while a page is missing: waiting for it, or, where IO is synchronous,
 * reading it. Returns when it began, 0 if nothing is missing. */
static uint64_t stall_begin(const struct expert_pager *p)
{
    for (uint32_t i = 0; i < p->want_count; i++)
        if (p->wants[i].state == WANT_WAITING || p->wants[i].state == WANT_LOADING)
            return clock_now_ns();
    return 0;
}

static void stall_end(struct expert_pager *p, uint64_t begin)
{
    p->counters.stall_ns += begin ? clock_now_ns() - begin : 0;
}

/* False: some still wait for a slot. */
static bool start_waiting(struct expert_pager *p)
{
    for (uint32_t i = 0; i < p->want_count; i++) {
        struct want *want = &p->wants[i];
        if (want->state != WANT_WAITING)
            continue;
        if (!start_demand(p, want->page))
            return false;
        want->state = WANT_LOADING;
    }
    return true;
}

/* What a page's arrival, or its failure to arrive, means for the request at hand. */
static enum status take_event(struct expert_pager *p, const struct memory_event *event,
                              struct error *error)
{
    bool ours = event->page / p->experts == p->layer && p->undone > 0;
    uint32_t index = ours ? p->want_of[event->page % p->experts] : 0;
    struct want *want = index ? &p->wants[index - 1] : NULL;
    if (event->tier != MEMORY_DEVICE || !want || want->state != WANT_LOADING) {
        if (event->status != STATUS_OK && event->tier == MEMORY_DEVICE)
            p->guessed[event->page] = false; /* a guess that failed is asked for again in earnest */
        return STATUS_OK;
    }
    if (event->status != STATUS_OK) {
        want->state = WANT_WAITING;
        if (want->joined) { /* it failed in a time gone by; once more in earnest */
            want->joined = false;
            return STATUS_OK;
        }
        return error_set(error, event->status, "layer %u expert %u: %s", p->layer,
                         event->page % p->experts, memory_error(p->memory));
    }
    pin(p, want);
    want->bytes = event->bytes;
    p->counters.miss_bytes += event->bytes;
    return STATUS_OK;
}

/* Takes in arrivals, waiting up to wait_ns for one, and starts what can be started. */
static enum status settle(struct expert_pager *p, uint64_t wait_ns, struct error *error)
{
    struct memory_event events[EVENTS_PER_POLL];
    enum status worst = STATUS_OK;
    uint32_t n;
    do { /* to the last, so that no event outlives the slot it tells of */
        n = memory_poll(p->memory, wait_ns, events, EVENTS_PER_POLL);
        for (uint32_t i = 0; i < n; i++) {
            enum status status = take_event(p, &events[i], error);
            if (status != STATUS_OK)
                worst = status;
        }
        wait_ns = 0;
    } while (n == EVENTS_PER_POLL);
    if (worst == STATUS_OK)
        start_waiting(p);
    return worst;
}

/* One more expert of the request at hand, `index`th of it. Returns whether it was READY. */
static bool want(struct expert_pager *p, uint32_t index, uint32_t expert)
{
    page_id page = p->layer * p->experts + expert;
    enum slot_state state = memory_where(p->memory, MEMORY_DEVICE, page);
    struct want *want = &p->wants[index];
    *want = (struct want){.page = page, .state = WANT_WAITING, .missed = state != SLOT_READY};
    CHECK_MSG(p->want_of[expert] == 0, "expert %u of layer %u twice", expert, p->layer);
    p->want_of[expert] = index + 1;
    evict_used(p->evict, page);
    if (state == SLOT_READY) {
        pin(p, want);
    } else if (state == SLOT_LOADING && start_demand(p, page)) {
        want->state = WANT_LOADING;
        want->joined = true;
    }
    *(state == SLOT_READY ? &p->counters.hits : &p->counters.misses) += 1;
    p->counters.prefetch_used += p->guessed[page];
    p->guessed[page] = false;
    return state == SLOT_READY;
}

void pager_request(struct expert_pager *p, uint32_t layer, const uint32_t *experts, uint32_t count,
                   bool *hit)
{
    CHECK(p->undone == 0 && count <= p->experts && layer < p->layers);
    p->want_count = 0;
    settle(p, 0, NULL); /* what landed since the last request is a hit now */
    evict_layer(p->evict, layer);
    p->layer = layer;
    p->want_count = p->undone = count;
    for (uint32_t i = 0; i < count; i++)
        hit[i] = want(p, i, experts[i]);
    uint64_t begin = stall_begin(p);
    bool all_started = start_waiting(p);
    stall_end(p, begin);
    if (!p->prefetch)
        return;
    prefetch_observe(p->prefetch, layer, experts, count);
    if (all_started) /* a guess never takes the slot that a demand waits for */
        issue_prefetches(p, layer);
}

static struct want *first_ready(struct expert_pager *p)
{
    for (uint32_t i = 0; i < p->want_count; i++)
        if (p->wants[i].state == WANT_READY)
            return &p->wants[i];
    return NULL;
}

static bool all_given(const struct expert_pager *p)
{
    for (uint32_t i = 0; i < p->want_count; i++)
        if (p->wants[i].state < WANT_GIVEN)
            return false;
    return true;
}

/* Is there anything that waiting could bring? */
static bool under_way(const struct expert_pager *p)
{
    struct memory_counters now;
    memory_counters(p->memory, &now);
    return now.in_flight + now.queued[URGENCY_DEMAND] + now.queued[URGENCY_PREFETCH] > 0;
}

enum status pager_next(struct expert_pager *p, struct pager_expert *out, struct error *error)
{
    if (all_given(p))
        return STATUS_NOT_FOUND;
    uint64_t begin = stall_begin(p);
    enum status status = settle(p, 0, error);
    struct want *want = first_ready(p);
    while (status == STATUS_OK && !want) {
        CHECK_MSG(under_way(p), "every slot is given out: release before asking for the next");
        status = settle(p, WAIT_NS, error);
        want = first_ready(p);
    }
    stall_end(p, begin);
    if (status != STATUS_OK)
        return status;
    want->state = WANT_GIVEN;
    *out = (struct pager_expert){
        .index = (uint32_t)(want - p->wants),
        .slot = want->slot,
        .page = store_page(memory_store(p->memory), want->page),
        .bytes = want->bytes,
    };
    return STATUS_OK;
}

static void finish(struct expert_pager *p, struct want *want)
{
    if (want->state == WANT_READY || want->state == WANT_GIVEN)
        memory_unpin(p->memory, want->page);
    want->state = WANT_DONE;
    p->want_of[want->page % p->experts] = 0;
    p->undone--;
}

void pager_release(struct expert_pager *p, uint32_t index)
{
    CHECK(index < p->want_count && p->wants[index].state == WANT_GIVEN);
    finish(p, &p->wants[index]);
    uint64_t begin = stall_begin(p);
    start_waiting(p);
    stall_end(p, begin);
}

void pager_abort(struct expert_pager *p)
{
    for (uint32_t i = 0; i < p->want_count; i++)
        if (p->wants[i].state != WANT_DONE)
            finish(p, &p->wants[i]);
    p->want_count = 0;
}

void pager_counters(const struct expert_pager *pager, struct pager_counters *out)
{
    *out = pager->counters;
}
