/* See expert_pager.h; other numbers of slots are pager_resize.c's affair, figures
 * pager_figures.c's. The state of a wanted expert only moves forward:
 *
 *     WAITING (no slot yet) -> LOADING -> READY (pinned, not yet given) -> GIVEN -> DONE
 *     AT_HOST (pinned there) ------------------------------------------> GIVEN -> DONE
 *
 * A page that is on its way already when it is asked for (a prefetch, or a read that an abort left
 * behind) is joined at once and never WAITING, so that it cannot land and be thrown out unused.
 * Progress: while something is WAITING there is a page given out or AT_HOST, a read under way, or a
 * page that can be evicted; pager_next relies on it and CHECKs it. */
#include <stdlib.h>
#include <string.h>

#include "engine/paging/pager_state.h"
#include "memory/base/check.h"
#include "memory/base/clock.h"

enum {
    EVENTS_PER_POLL = 32,
    MISS_SHARE = 4,               /* of the ring; see may_take_live */
    MISS_LEAST = 2,               /* slots: one to read into while the other is computed */
    WAIT_NS = 100 * 1000 * 1000,  /* one wait in poll; a bound for lost wake-ups, not a deadline */
};

static enum status open_policy(struct expert_pager *p, const struct pager_config *c,
                               struct error *error)
{
    const struct store *store = memory_store(c->memory);
    struct pager_room room = pager_room_of(c->memory);
    uint32_t pages = c->layers * c->experts;
    uint8_t *page_class = malloc(pages);
    uint32_t *layer_class = malloc(c->layers * sizeof *layer_class);
    enum status status = STATUS_NO_MEMORY;
    if (!page_class || !layer_class)
        goto done;
    for (uint32_t i = 0; i < pages; i++)
        page_class[i] = (uint8_t)store_page(store, i)->size_class;
    for (uint32_t l = 0; l < c->layers; l++)
        layer_class[l] = page_class[(size_t)l * c->experts];
    struct policy_config policy = {.layers = c->layers, .experts = c->experts, .top_k = c->top_k,
                                   .slots = room.slots, .everything_fits = room.everything_fits,
                                   .page_class = page_class, .evict = c->evict,
                                   .foresight = c->foresight, .prefetch = c->prefetch,
                                   .slow_clock = c->slow_clock, .seed = 1};
    memcpy(policy.lstm, c->lstm, sizeof policy.lstm);
    status = policy_open(&p->policy, &policy, error);
    struct stream_config stream = {.layers = c->layers, .experts = c->experts, .top_k = c->top_k,
                                   .stream_layers = c->stream_layers, .always = c->stream_always,
                                   .classes = store_classes(store), .class_slots = room.class_slots,
                                   .layer_class = layer_class,
                                   .reserved_percent = STREAM_RESERVED_PERCENT};
    if (status == STATUS_OK && c->stream_layers != STREAM_OFF)
        status = stream_open(&p->stream, &stream, error);
done:
    free(page_class);
    free(layer_class);
    return status;
}

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
    p->fence = calloc(p->layers, sizeof *p->fence);
    p->asked = calloc(p->layers, sizeof *p->asked);
    p->evictions = calloc((size_t)p->layers * MEMORY_TIERS, sizeof *p->evictions);
    if (!p->wants || !p->want_of || !p->fence || !p->asked || !p->evictions)
        goto fail;
    status = open_policy(p, config, error);
    if (status == STATUS_OK)
        status = expert_map_open(&p->map, p->layers, p->experts, error);
    if (status != STATUS_OK)
        goto fail;
    mover_init(&p->mover, &(struct mover_config){
        .memory = p->memory, .policy = p->policy, .stream = p->stream, .map = p->map,
        .layers = p->layers, .experts = p->experts, .fence = p->fence,
        .evictions = p->evictions});
    p->host_compute = config->host_compute && memory_has_host(p->memory);
    p->place_config = (struct pager_place_config){
        .memory = p->memory, .policy = p->policy, .mover = &p->mover, .layers = p->layers,
        .experts = p->experts, .mode = config->placement, .prior = config->prior,
        .flops_per_token = config->flops_per_token};
    status = pager_choose_place(p, error);
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
    pager_place_close(pager->own_place);
    policy_close(pager->policy);
    stream_close(pager->stream);
    expert_map_close(pager->map);
    free(pager->asked);
    free(pager->evictions);
    free(pager->fence);
    free(pager->wants);
    free(pager->want_of);
    free(pager);
}

/* A layer that wants more than there are slots would wash through the whole ring and leave nothing
 * for the layers after it. So its misses on their way or waiting to be computed may push out pages
 * that other layers used in their last runs only up to a share of the ring; the rest of them pass
 * through the slots of those already computed. */
static bool may_take_live(const struct expert_pager *p, page_id page)
{
    uint32_t size_class = store_page(memory_store(p->memory), page)->size_class;
    uint32_t share = memory_slots(p->memory, MEMORY_DEVICE, size_class) / MISS_SHARE, held = 0;
    for (uint32_t i = 0; i < p->want_count; i++)
        held += p->wants[i].missed && (p->wants[i].state == WANT_LOADING ||
                                       p->wants[i].state == WANT_READY);
    return held < (share > MISS_LEAST ? share : MISS_LEAST);
}

static bool start_demand(struct expert_pager *p, page_id page)
{
    return mover_demand(&p->mover, page, !may_take_live(p, page));
}

static void pin(struct expert_pager *p, struct want *want)
{
    want->slot = memory_pin(p->memory, want->page);
    want->state = WANT_READY;
}

static struct want *first_in(const struct expert_pager *p, enum want_state state)
{
    for (uint32_t i = 0; i < p->want_count; i++)
        if (p->wants[i].state == state)
            return &p->wants[i];
    return NULL;
}

/* A stall is time spent here while a page is missing: waiting for it, or, where IO is synchronous,
 * reading it. Returns when it began, 0 if nothing is missing. */
static bool missing(const struct expert_pager *p)
{
    return first_in(p, WANT_WAITING) || first_in(p, WANT_LOADING);
}

static uint64_t stall_begin(const struct expert_pager *p)
{
    return missing(p) ? clock_now_ns() : 0;
}

/* What comes before it is asked for: only while nothing is asked for in vain. */
static void go_ahead(struct expert_pager *p)
{
    if (missing(p))
        return;
    mover_stream(&p->mover);
    mover_guess(&p->mover);
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

static uint64_t moved(uint64_t mean, uint64_t value)
{
    return mean ? mean + value / 8 - mean / 8 : value;
}

/* A page has arrived that the request waited for: the time since the one before it, or since the
 * request, is what a page takes. */
static void measure_page(struct expert_pager *p)
{
    uint64_t now = clock_now_ns();
    p->counters.page_ns = moved(p->counters.page_ns, now - p->waiting_since_ns + 1);
    p->waiting_since_ns = now;
}

/* The want that this event is about; NULL: none that waits for it. */
static struct want *want_for(const struct expert_pager *p, const struct memory_event *event)
{
    bool ours =
        event->tier == MEMORY_DEVICE && event->page / p->experts == p->layer && p->undone > 0;
    uint32_t index = ours ? p->want_of[event->page % p->experts] : 0;
    struct want *want = index ? &p->wants[index - 1] : NULL;
    return want && want->state == WANT_LOADING ? want : NULL;
}

/* A page that was waited for is not there after all. It was taken away by memory_resize, or its
 * read failed in a time gone by: once more in earnest. Else the request has failed, and its first
 * failure is what is told. */
static enum status not_there(struct expert_pager *p, struct want *want,
                             const struct memory_event *event, struct error *error)
{
    bool again = want->joined || event->status == STATUS_OK || event->status == STATUS_CANCELLED;
    want->state = WANT_WAITING;
    want->joined = false;
    if (again)
        return STATUS_OK;
    if (p->failed < p->want_count)
        return event->status;
    p->failed = (uint32_t)(want - p->wants);
    return error_set(error, event->status, "layer %u expert %u: %s", p->layer,
                     event->page % p->experts, memory_error(p->memory));
}

/* What a page's arrival, or its failure to arrive, means for the request at hand. What counts is
 * where the page is now: since the event was noted it may have left, or be on its way anew. */
static enum status take_event(struct expert_pager *p, const struct memory_event *event,
                              struct error *error)
{
    mover_event(&p->mover, event);
    struct want *want = want_for(p, event);
    if (!want)
        return STATUS_OK; /* a guess that failed is asked for again in earnest */
    enum slot_state state = memory_where(p->memory, MEMORY_DEVICE, want->page);
    if (state == SLOT_LOADING)
        return STATUS_OK;
    if (state == SLOT_FREE)
        return not_there(p, want, event, error);
    pin(p, want);
    if (p->place)
        pager_place_arrived(p->place, (uint32_t)(want - p->wants), want->joined);
    else
        measure_page(p);
    want->bytes = event->bytes;
    p->counters.miss_bytes += event->bytes;
    return STATUS_OK;
}

static void measure_arrivals(struct expert_pager *p, bool waited)
{
    bool idle = !first_in(p, WANT_LOADING);
    uint64_t page_ns = pager_place_settled(p->place, clock_now_ns(), waited, idle);
    if (page_ns)
        p->counters.page_ns = moved(p->counters.page_ns, page_ns);
}

enum status pager_settle(struct expert_pager *p, uint64_t wait_ns, struct error *error)
{
    bool waits = wait_ns > 0;
    struct memory_event events[EVENTS_PER_POLL];
    enum status worst = STATUS_OK;
    uint32_t n;
    /* To the last, so that no event outlives the slot it tells of: a failure ends a poll early. */
    do {
        n = memory_poll(p->memory, wait_ns, events, EVENTS_PER_POLL);
        for (uint32_t i = 0; i < n; i++) {
            enum status status = take_event(p, &events[i], error);
            if (status != STATUS_OK)
                worst = status;
        }
        wait_ns = 0;
    } while (n > 0);
    if (p->place)
        measure_arrivals(p, waits);
    if (worst == STATUS_OK)
        start_waiting(p);
    return worst;
}

static void join(struct expert_pager *p, struct want *want)
{
    if (!start_demand(p, want->page))
        return;
    want->state = WANT_LOADING;
    want->joined = true;
}

/* A page on its way that need not be joined at once: it may be computed where it lies. */
static bool may_stay(const struct expert_pager *p, page_id page)
{
    return p->place && !p->streams && memory_where(p->memory, MEMORY_HOST, page) == SLOT_READY;
}

static void count_asked(struct expert_pager *p, page_id page, bool hit)
{
    struct pager_asked *asked = &p->asked[p->layer];
    *(hit ? &p->counters.hits : &p->counters.misses) += 1;
    *(hit ? &asked->hits : &asked->misses) += 1;
    if (hit || !memory_has_host(p->memory))
        return;
    bool there = memory_where(p->memory, MEMORY_HOST, page) == SLOT_READY;
    *(there ? &asked->host_hits : &asked->host_misses) += 1;
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
    if (state == SLOT_READY) {
        pin(p, want);
    } else if (state == SLOT_LOADING && !may_stay(p, page)) {
        join(p, want);
    }
    count_asked(p, page, state == SLOT_READY);
    return state == SLOT_READY;
}

/* Misses that are better computed where they lie are pinned there, before any room is made. */
static void place(struct expert_pager *p, const struct layer_run *run)
{
    pager_place_begin(p->place, run, p->streams);
    for (uint32_t i = 0; i < p->want_count; i++)
        pager_place_add(p->place, p->wants[i].page);
    pager_place_split(p->place, p->asked_ns);
    for (uint32_t i = 0; i < p->want_count; i++) {
        struct want *want = &p->wants[i];
        if (pager_place_at_host(p->place, i)) {
            want->slot = memory_pin_host(p->memory, want->page);
            want->state = WANT_AT_HOST;
            want->at_host = true;
        }
        if (want->state == WANT_WAITING &&
            memory_where(p->memory, MEMORY_DEVICE, want->page) == SLOT_LOADING)
            join(p, want);
    }
}

/* The layer has been computed. */
static void finish_layer(struct expert_pager *p)
{
    if (p->stream)
        stream_layer_computed(p->stream, p->layer);
    pager_settle(p, 0, NULL);
    go_ahead(p);
}

/* Between two requests lie one layer's computing and its stalls. */
static void measure_layer(struct expert_pager *p, uint64_t now, bool prefill)
{
    uint64_t stalled = p->counters.stall_ns - p->asked_stall_ns;
    if (p->asked_ns && now - p->asked_ns > stalled)
        p->counters.layer_ns = moved(p->counters.layer_ns, now - p->asked_ns - stalled);
    if (p->asked_ns && !prefill)
        policy_spent(p->policy, (double)(now - p->asked_ns));
    p->asked_ns = p->waiting_since_ns = now;
    p->asked_stall_ns = p->counters.stall_ns;
    policy_measured(p->policy, (double)p->counters.page_ns, (double)p->counters.layer_ns);
}

void pager_begin_step(struct expert_pager *p, uint32_t rows, uint32_t next_rows)
{
    uint64_t now = clock_now_ns();
    p->asked_ns = 0; /* between steps lies more than a layer */
    p->streams = false;
    if (!p->stream)
        return;
    struct stream_step step = {.rows = rows, .next_rows = next_rows};
    p->spent = (struct stream_spent){.ns = now, .stall_ns = p->counters.stall_ns};
    p->begin_arrived = p->mover.arrived;
    p->streams = stream_begin_step(p->stream, &step);
}

void pager_end_step(struct expert_pager *p)
{
    if (!p->stream)
        return;
    struct stream_spent *spent = &p->spent;
    spent->ns = clock_now_ns() - spent->ns;
    spent->stall_ns = p->counters.stall_ns - spent->stall_ns;
    spent->copied_pages = p->mover.arrived - p->begin_arrived;
    spent->copy_ns = spent->copied_pages * p->counters.page_ns;
    stream_end_step(p->stream, spent);
}

static void begin_layer(struct expert_pager *p, const struct layer_run *run)
{
    CHECK(p->undone == 0 && run->count <= p->experts && run->layer < p->layers);
    p->want_count = 0;
    pager_settle(p, 0, NULL); /* what landed since the last request is a hit now */
    uint64_t now = clock_now_ns();
    measure_layer(p, now, run->prefill);
    expert_map_run(p->map, run, now);
    policy_run(p->policy, run);
    p->layer = run->layer;
    p->spent.distinct += run->count;
}

void pager_request(struct expert_pager *p, const struct layer_run *run, bool *hit)
{
    begin_layer(p, run);
    p->want_count = p->undone = p->failed = run->count;
    for (uint32_t i = 0; i < run->count; i++)
        hit[i] = want(p, i, run->experts[i]);
    mover_drop_late(&p->mover); /* those of this layer that are wanted were joined above */
    if (p->place)
        place(p, run);
    uint64_t begin = stall_begin(p);
    start_waiting(p);
    stall_end(p, begin);
    if (run->count == 0)
        finish_layer(p);
}

uint32_t pager_looks_ahead(const struct expert_pager *p)
{
    return policy_looks_ahead(p->policy);
}

void pager_lookahead(struct expert_pager *p, uint32_t distance, const float *score)
{
    policy_lookahead(p->policy, distance, score);
}

/* The device is kept busy first: it works on while the host computes. */
static struct want *first_ready(const struct expert_pager *p)
{
    struct want *want = first_in(p, WANT_READY);
    return want || !p->place ? want : first_in(p, WANT_AT_HOST);
}

static uint32_t count_in(const struct expert_pager *p, enum want_state state)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < p->want_count; i++)
        count += p->wants[i].state == state;
    return count;
}

uint32_t pager_at_host(const struct expert_pager *p)
{
    return p->place ? count_in(p, WANT_AT_HOST) : 0;
}

uint32_t pager_ready(const struct expert_pager *p)
{
    return count_in(p, WANT_READY);
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
    if (!missing(p) && !first_ready(p))
        return STATUS_NOT_FOUND;
    uint64_t begin = stall_begin(p);
    enum status status = pager_settle(p, 0, error);
    struct want *want = first_ready(p);
    while (status == STATUS_OK && !want) {
        CHECK_MSG(under_way(p), "every slot is given out: release before asking for the next");
        status = pager_settle(p, WAIT_NS, error);
        want = first_ready(p);
    }
    stall_end(p, begin);
    if (status != STATUS_OK) {
        *out = (struct pager_expert){.index = p->failed};
        return status;
    }
    go_ahead(p); /* after the wait: the link is idle from the last arrival on */
    want->state = WANT_GIVEN;
    if (p->place)
        pager_place_gave(p->place);
    *out = (struct pager_expert){
        .index = (uint32_t)(want - p->wants),
        .at_host = want->at_host,
        .slot = want->slot,
        .page = store_page(memory_store(p->memory), want->page),
        .bytes = want->bytes,
    };
    return STATUS_OK;
}

static void finish(struct expert_pager *p, struct want *want)
{
    if (want->at_host)
        memory_unpin_host(p->memory, want->page);
    else if (want->state == WANT_READY || want->state == WANT_GIVEN)
        memory_unpin(p->memory, want->page);
    want->state = WANT_DONE;
    p->want_of[want->page % p->experts] = 0;
    p->undone--;
}

void pager_layer_fence(struct expert_pager *p, uint32_t layer, uint64_t fence)
{
    CHECK(layer < p->layers);
    mover_fence(&p->mover, layer, fence);
}

void pager_release(struct expert_pager *p, uint32_t index, uint64_t fence)
{
    CHECK(index < p->want_count && p->wants[index].state == WANT_GIVEN);
    mover_fence(&p->mover, p->layer, fence);
    finish(p, &p->wants[index]);
    uint64_t begin = stall_begin(p);
    start_waiting(p);
    stall_end(p, begin);
    if (p->undone == 0)
        finish_layer(p);
}

void pager_ran(struct expert_pager *p, const struct layer_run *run)
{
    begin_layer(p, run);
    p->counters.hits += run->count;
    p->asked[run->layer].hits += run->count;
    mover_drop_late(&p->mover);
    finish_layer(p);
}

/* ---- what computing takes ---- */

void pager_measured(struct expert_pager *p, uint32_t index, uint64_t ns)
{
    CHECK(index < p->want_count && p->wants[index].state == WANT_GIVEN && p->wants[index].at_host);
    pager_place_ran_at_host(p->place, index, ns);
    p->counters.host_ns += ns;
}

bool pager_samples(const struct expert_pager *p)
{
    return p->place && pager_place_samples(p->place);
}

void pager_sampled(struct expert_pager *p, const uint32_t *index, uint32_t count, uint64_t ns)
{
    CHECK(p->place && count > 0);
    pager_place_ran_on_device(p->place, index, count, ns);
}

void pager_abort(struct expert_pager *p)
{
    for (uint32_t i = 0; i < p->want_count; i++)
        if (p->wants[i].state != WANT_DONE)
            finish(p, &p->wants[i]);
    p->want_count = 0;
}

const struct page *pager_page(const struct expert_pager *pager, uint32_t layer, uint32_t expert)
{
    return store_page(memory_store(pager->memory), layer * pager->experts + expert);
}
