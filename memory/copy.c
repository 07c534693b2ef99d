/* How a page travels.
 *
 *   device journey, host tier:  [WAITING on the host journey] -> QUEUED -> COPYING -> READY
 *   host journey, or a device journey without host tier:  READ_QUEUED -> READING -> READY
 *
 * A fetch into the device of a page that is in neither tier starts two journeys. The host one is
 * not `asked` for, so it ends without an event, unless the caller fetches the page into the host
 * tier meanwhile. From its landing until the end of the copy the host slot is pinned, so the source
 * of a copy cannot be evicted under it.
 *
 * Order: a free place goes to the oldest demand; only when no demand waits, and only while fewer
 * places are taken than half of them, rounded down (where the depth is 1: while nothing is under
 * way), to the oldest prefetch. Half: a prefetch read that has begun makes room on the storage by
 * pausing (io.h), but it keeps its place, and demands that come then need more than one between
 * them. Starting happens in fetch and poll, taking in ends in poll only, so the state of a page
 * never changes behind the caller's back. One thread, the engine's; nothing is allocated after
 * copy_open. Invariant: copy_check. */
#include "memory/copy.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "memory/base/check.h"
#include "memory/base/clock.h"
#include "memory/journey.h"

/* While reads and copies are both under way, their two sources of ends are looked at in turn. */
#define COPY_SLICE_NS 100000

enum status copy_open(struct copies *copies, const struct copy_config *config, struct error *error)
{
    static const struct copy_list empty = {.head = COPY_NOBODY, .tail = COPY_NOBODY};
    CHECK(config->io_depth > 0 && config->prefetch_queue_max > 0);
    *copies = (struct copies){
        .store = config->store,
        .tier = {[MEMORY_HOST] = config->host, [MEMORY_DEVICE] = config->device_tier},
        .io = config->io,
        .device = config->device,
        .io_depth = config->io_depth,
        .prefetch_queue_max = config->prefetch_queue_max,
        .reads = {empty, empty},
        .copies = {empty, empty},
        .copying = empty,
        .ticket_seen = 0,
    };
    uint64_t journeys =
        (uint64_t)config->device_tier->capacity + (config->host ? config->host->capacity : 0);
    if (journeys < COPY_NOBODY) {
        copies->journeys = (uint32_t)journeys;
        copies->journey = calloc((size_t)journeys + 1, sizeof *copies->journey);
        copies->aside = calloc(config->io_depth, sizeof *copies->aside);
        copies->pending = calloc(COPY_EVENTS, sizeof *copies->pending);
        copies->pending_room = COPY_EVENTS;
    }
    if (!copies->journey || !copies->aside || !copies->pending) {
        copy_close(copies);
        return error_set(error, STATUS_NO_MEMORY, "no memory for the journeys of %llu slots",
                         (unsigned long long)journeys);
    }
    return STATUS_OK;
}

void copy_close(struct copies *copies)
{
    struct io_done done;
    copies->reading -= copies->aside_count;
    while (copies->reading > 0)
        if (copies->io->ops->poll(copies->io, &done, UINT64_MAX))
            copies->reading--;
    if (copies->copying.count > 0) {
        uint64_t last = copies->journey[copies->copying.tail].ticket;
        while (copies->ticket_seen < last)
            copies->ticket_seen =
                copies->device->ops->poll(copies->device, copies->ticket_seen, UINT64_MAX);
    }
    free(copies->journey);
    free(copies->aside);
    free(copies->pending);
    *copies = (struct copies){0};
}

/* --- Starting ------------------------------------------------------------------------------- */

/* Who gets the next free place of `depth` when `busy` are taken: COPY_NOBODY, or the journey. */
static uint32_t next_in_line(const struct copy_list queue[2], uint32_t busy, uint32_t depth)
{
    if (busy >= depth)
        return COPY_NOBODY;
    if (queue[URGENCY_DEMAND].count > 0)
        return queue[URGENCY_DEMAND].head;
    uint32_t prefetch_depth = depth > 1 ? depth / 2 : 1;
    return busy < prefetch_depth ? queue[URGENCY_PREFETCH].head : COPY_NOBODY;
}

static void start_reads(struct copies *copies)
{
    uint32_t at;
    while ((at = next_in_line(copies->reads, copies->reading, copies->io_depth)) != COPY_NOBODY) {
        struct copy_journey *journey = &copies->journey[at];
        page_id page = journey_page(copies, at);
        journey_remove(copies, journey_queue(copies, journey), at);
        journey->stage = COPY_READING;
        copies->reading++;
        struct io_request request = {
            .tag = at,
            .page = page,
            .demand = journey->urgency == URGENCY_DEMAND,
            .store = copies->store,
            .slot = tier_bytes(copies->tier[journey_tier(copies, at)], page),
        };
        copies->io->ops->submit(copies->io, &request);
    }
}

static void start_copies(struct copies *copies)
{
    uint32_t at;
    while ((at = next_in_line(copies->copies, copies->copying.count, COPY_DEVICE_DEPTH)) !=
           COPY_NOBODY) {
        struct copy_journey *journey = &copies->journey[at];
        page_id page = journey_page(copies, at);
        uint64_t bytes = store_page(copies->store, page)->slot_bytes;
        struct tier *to = copies->tier[MEMORY_DEVICE];
        uint64_t ticket = copies->device->ops->copy(
            copies->device, tier_bytes(to, page), tier_bytes(copies->tier[MEMORY_HOST], page),
            bytes, tier_fence(to, page));
        if (ticket == 0)
            return; /* the device's own queue is full: again when one of its copies has ended */
        journey_remove(copies, journey_queue(copies, journey), at);
        journey_push(copies, &copies->copying, at);
        journey->stage = COPY_COPYING;
        journey->ticket = ticket;
        copies->device_bytes += bytes;
    }
}

static void start(struct copies *copies)
{
    start_copies(copies);
    start_reads(copies);
}

/* --- Fetching ------------------------------------------------------------------------------- */

/* Claims a slot and puts the new journey into `stage`. */
static uint32_t begin(struct copies *copies, enum memory_tier tier, page_id page,
                      enum urgency urgency, enum copy_stage stage, bool asked)
{
    tier_claim(copies->tier[tier], page);
    uint32_t at = journey_of(copies, tier, page);
    struct copy_journey *journey = &copies->journey[at];
    CHECK(journey->stage == COPY_NONE);
    *journey = (struct copy_journey){
        .stage = (uint8_t)stage, .urgency = (uint8_t)urgency, .asked = asked};
    struct copy_list *queue = journey_queue(copies, journey);
    if (queue)
        journey_push(copies, queue, at);
    if (asked)
        copies->fetches[urgency]++;
    return at;
}

/* Has the read of this journey ended while copy_clear waited for another? */
static bool is_aside(const struct copies *copies, uint32_t at)
{
    for (uint32_t i = 0; i < copies->aside_count; i++)
        if (copies->aside[i].tag == at)
            return true;
    return false;
}

/* From prefetch to demand: to the end of the demand queue where the journey still waits in one; a
 * read under way stops giving way. */
static void raise(struct copies *copies, uint32_t at)
{
    struct copy_journey *journey = &copies->journey[at];
    if (journey->urgency == URGENCY_DEMAND)
        return;
    struct copy_list *queue = journey_queue(copies, journey);
    if (queue)
        journey_remove(copies, queue, at);
    journey->urgency = URGENCY_DEMAND;
    if (queue)
        journey_push(copies, journey_queue(copies, journey), at);
    if (journey->stage == COPY_READING && !is_aside(copies, at))
        copies->io->ops->raise(copies->io, at);
}

/* The journeys that a fetch of a FREE page needs; there is room for all of them. */
static uint32_t begin_all(struct copies *copies, enum memory_tier tier, page_id page,
                          enum urgency urgency)
{
    struct tier *host = copies->tier[MEMORY_HOST];
    if (tier == MEMORY_HOST || !host)
        return begin(copies, tier, page, urgency, COPY_READ_QUEUED, true);
    switch (tier_where(host, page)) {
    case SLOT_READY:
        tier_pin(host, page);
        return begin(copies, tier, page, urgency, COPY_QUEUED, true);
    case SLOT_FREE:
        begin(copies, MEMORY_HOST, page, urgency, COPY_READ_QUEUED, false);
        break;
    default:
        if (urgency == URGENCY_DEMAND)
            raise(copies, journey_of(copies, MEMORY_HOST, page));
    }
    return begin(copies, tier, page, urgency, COPY_WAITING, true);
}

/* A fetch of a page that is on its way already. */
static uint32_t join(struct copies *copies, enum memory_tier tier, page_id page,
                     enum urgency urgency)
{
    uint32_t at = journey_of(copies, tier, page);
    struct copy_journey *journey = &copies->journey[at];
    if (!journey->asked) { /* a host stage that the caller wants for itself now */
        journey->asked = true;
        copies->fetches[urgency]++;
    }
    if (urgency == URGENCY_DEMAND) {
        raise(copies, at);
        if (journey->stage == COPY_WAITING)
            raise(copies, journey_of(copies, MEMORY_HOST, page));
    }
    return at;
}

/* What a fetch of a FREE page lacks. OK, or FULL and *lacking. */
static enum status find_room(const struct copies *copies, enum memory_tier tier, page_id page,
                             enum urgency urgency, enum memory_tier *lacking)
{
    const struct tier *host = copies->tier[MEMORY_HOST];
    bool through_host = tier == MEMORY_DEVICE && host && tier_where(host, page) == SLOT_FREE;
    uint32_t waiting =
        copies->reads[URGENCY_PREFETCH].count + copies->copies[URGENCY_PREFETCH].count;
    if (urgency == URGENCY_PREFETCH && waiting >= copies->prefetch_queue_max)
        *lacking = MEMORY_TIERS; /* first: nobody should evict for a fetch that cannot be queued */
    else if (!tier_has_room(copies->tier[tier], page))
        *lacking = tier;
    else if (through_host && !tier_has_room(host, page))
        *lacking = MEMORY_HOST;
    else
        return STATUS_OK;
    return STATUS_FULL;
}

enum status copy_fetch(struct copies *copies, enum memory_tier tier, page_id page,
                       enum urgency urgency, struct transfer *transfer, enum memory_tier *lacking)
{
    CHECK(tier < MEMORY_TIERS && copies->tier[tier]);
    enum slot_state state = tier_where(copies->tier[tier], page);
    CHECK_MSG(state != SLOT_READY, "page %u is READY already", page);
    enum memory_tier unused;
    uint32_t at;
    if (state == SLOT_LOADING) {
        at = join(copies, tier, page, urgency);
    } else {
        enum status status = find_room(copies, tier, page, urgency, lacking ? lacking : &unused);
        if (status)
            return status;
        at = begin_all(copies, tier, page, urgency);
    }
    if (transfer)
        *transfer = journey_handle(copies, at);
    start(copies);
    return STATUS_OK;
}

/* --- Cancelling ----------------------------------------------------------------------------- */

/* Frees the slot of a journey that waits, without an event. */
static void take_back(struct copies *copies, uint32_t at)
{
    struct tier *tier = copies->tier[journey_tier(copies, at)];
    page_id page = journey_page(copies, at);
    journey_leave_queue(copies, at);
    copies->journey[at] = (struct copy_journey){0};
    tier_fail(tier, page);
}

enum status copy_cancel(struct copies *copies, struct transfer transfer)
{
    if (transfer.index >= copies->journeys)
        return STATUS_NOT_FOUND;
    uint32_t at = transfer.index;
    struct copy_journey *journey = &copies->journey[at];
    if (journey->stage == COPY_NONE || !journey->asked ||
        journey_handle(copies, at).generation != transfer.generation)
        return STATUS_NOT_FOUND;
    if (journey->stage == COPY_READING || journey->stage == COPY_COPYING || journey->bytes > 0)
        return STATUS_FULL; /* bytes: its read is over, and is told of by an event */

    page_id page = journey_page(copies, at);
    if (journey->stage == COPY_WAITING) {
        uint32_t host_at = journey_of(copies, MEMORY_HOST, page);
        if (!copies->journey[host_at].asked) { /* this journey's own read */
            if (copies->journey[host_at].stage == COPY_READING)
                return STATUS_FULL;
            take_back(copies, host_at);
        }
        take_back(copies, at);
    } else if (journey_tier(copies, at) == MEMORY_HOST &&
               journey_loading(copies, MEMORY_DEVICE, page)) {
        journey->asked = false; /* goes on as the host stage of the device's journey */
    } else {
        take_back(copies, at);
    }
    copies->cancelled++;
    return STATUS_OK;
}

/* --- Ends ----------------------------------------------------------------------------------- */

static void describe_failure(struct copies *copies, page_id number, const struct io_done *done)
{
    const struct page *page = store_page(copies->store, number);
    const struct page_part *part = &page->part[done->part];
    const char *path = store_path(copies->store, part->file);
    char unknown[64];
    copies->error.text[0] = 0;
    if (done->cause == IO_END_OF_FILE)
        error_set(&copies->error, STATUS_IO,
                  "cannot read page %u: '%s' has no bytes at offset %" PRIu64 ", where %" PRIu64
                  " more are wanted: it was truncated after it was opened",
                  number, path, done->offset, part->offset + part->bytes - done->offset);
    else
        error_set(&copies->error, STATUS_IO, "cannot read page %u: '%s' at offset %" PRIu64 ": %s",
                  number, path, done->offset, strerror_r(done->cause, unknown, sizeof unknown));
}

static void end_read(struct copies *copies, const struct io_done *done)
{
    uint32_t at = done->tag;
    uint32_t device_at = journey_count_read(copies, done); /* checks `at` */
    page_id page = journey_page(copies, at);
    if (done->cause)
        describe_failure(copies, page, done);
    journey_end(copies, at, done->cause ? STATUS_IO : STATUS_OK);
    if (device_at == COPY_NOBODY)
        return;
    if (done->cause) {
        journey_end(copies, device_at, STATUS_IO);
        return;
    }
    tier_pin(copies->tier[MEMORY_HOST], page);
    copies->journey[device_at].stage = COPY_QUEUED;
    journey_push(copies, journey_queue(copies, &copies->journey[device_at]), device_at);
}

static void end_copy(struct copies *copies)
{
    uint32_t at = copies->copying.head;
    journey_remove(copies, &copies->copying, at);
    tier_unpin(copies->tier[MEMORY_HOST], journey_page(copies, at));
    journey_end(copies, at, STATUS_OK);
}

/* Takes in one end, waiting up to wait_ns for it. False: none came. */
static bool take_in(struct copies *copies, uint64_t wait_ns)
{
    struct device *device = copies->device;
    bool copying = copies->copying.count > 0;
    if (copying) {
        /* The device's reports are kept, because one report may end several copies. */
        uint64_t first = copies->journey[copies->copying.head].ticket;
        if (copies->ticket_seen < first)
            copies->ticket_seen = device->ops->poll(device, copies->ticket_seen,
                                                    copies->reading ? 0 : wait_ns);
        if (copies->ticket_seen >= first) {
            end_copy(copies);
            return true;
        }
    }
    struct io_done done;
    if (copies->aside_count > 0)
        done = copies->aside[--copies->aside_count];
    else if (copies->reading == 0 || !copies->io->ops->poll(copies->io, &done, wait_ns))
        return false;
    end_read(copies, &done);
    return true;
}

/* Moves noted events out; one end at a time is taken in only after all were. */
static uint32_t deliver(struct copies *copies, struct memory_event *events, uint32_t max)
{
    uint32_t left = copies->pending_count - copies->delivered;
    uint32_t n = left < max ? left : max;
    memcpy(events, copies->pending + copies->delivered, n * sizeof *events);
    copies->delivered += n;
    if (n == left)
        copies->delivered = copies->pending_count = 0;
    return n;
}

/* May more ends be taken in after these events? Not after a failure: the sentence of memory_error
 * is then its own. */
static bool all_well(const struct memory_event *events, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (events[i].status == STATUS_IO)
            return false;
    return true;
}

uint32_t copy_poll(struct copies *copies, uint64_t wait_ns, struct memory_event *events,
                   uint32_t max)
{
    uint64_t begin_ns = wait_ns ? clock_now_ns() : 0, waited_ns = 0;
    uint32_t n = max ? deliver(copies, events, max) : 0;
    bool well = all_well(events, n);
    start(copies);
    while (n < max && well) {
        uint64_t wait = n > 0 ? 0 : wait_ns - waited_ns; /* the first end is waited for, no other */
        if (copies->copying.count > 0 && copies->reading > 0 && wait > COPY_SLICE_NS)
            wait = COPY_SLICE_NS;
        if (take_in(copies, wait)) {
            start(copies);
            uint32_t more = deliver(copies, events + n, max - n);
            well = all_well(events + n, more);
            n += more;
        } else if (n > 0 || wait == 0 || copies->reading + copies->copying.count == 0) {
            break;
        }
        if (n == 0 && wait_ns > 0) {
            uint64_t now = clock_now_ns() - begin_ns;
            waited_ns = now < wait_ns ? now : wait_ns;
        }
    }
    return n;
}

