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
    copies->journeys = config->device_tier->slots + (config->host ? config->host->slots : 0);
    copies->journey = calloc(copies->journeys + 1u, sizeof *copies->journey);
    if (!copies->journey)
        return error_set(error, STATUS_NO_MEMORY, "no memory for the journeys of %u slots",
                         copies->journeys);
    return STATUS_OK;
}

void copy_close(struct copies *copies)
{
    struct io_done done;
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
    *copies = (struct copies){0};
}

/* --- Lists through the journeys ------------------------------------------------------------- */

static void list_push(struct copies *copies, struct copy_list *list, uint32_t at)
{
    struct copy_journey *journey = &copies->journey[at];
    journey->next = COPY_NOBODY;
    journey->previous = list->tail;
    if (list->tail == COPY_NOBODY)
        list->head = at;
    else
        copies->journey[list->tail].next = at;
    list->tail = at;
    list->count++;
}

static void list_remove(struct copies *copies, struct copy_list *list, uint32_t at)
{
    struct copy_journey *journey = &copies->journey[at];
    if (journey->previous == COPY_NOBODY)
        list->head = journey->next;
    else
        copies->journey[journey->previous].next = journey->next;
    if (journey->next == COPY_NOBODY)
        list->tail = journey->previous;
    else
        copies->journey[journey->next].previous = journey->previous;
    list->count--;
}

/* The queue a journey waits in, NULL if it waits in none. */
static struct copy_list *queue_of(struct copies *copies, const struct copy_journey *journey)
{
    if (journey->stage == COPY_READ_QUEUED)
        return &copies->reads[journey->urgency];
    if (journey->stage == COPY_QUEUED)
        return &copies->copies[journey->urgency];
    return NULL;
}

/* --- Names of journeys ---------------------------------------------------------------------- */

static enum memory_tier tier_of(const struct copies *copies, uint32_t at)
{
    return at < copies->tier[MEMORY_DEVICE]->slots ? MEMORY_DEVICE : MEMORY_HOST;
}

static uint32_t slot_of(const struct copies *copies, uint32_t at)
{
    uint32_t device_slots = copies->tier[MEMORY_DEVICE]->slots;
    return at < device_slots ? at : at - device_slots;
}

static page_id page_of(const struct copies *copies, uint32_t at)
{
    return copies->tier[tier_of(copies, at)]->slot[slot_of(copies, at)].page;
}

/* The journey of a page into a tier; the page is LOADING there. */
static uint32_t journey_of(const struct copies *copies, enum memory_tier tier, page_id page)
{
    uint32_t slot = tier_slot(copies->tier[tier], page);
    CHECK(slot != TIER_NONE);
    return tier == MEMORY_DEVICE ? slot : copies->tier[MEMORY_DEVICE]->slots + slot;
}

static struct transfer handle_of(const struct copies *copies, uint32_t at)
{
    const struct tier *tier = copies->tier[tier_of(copies, at)];
    return (struct transfer){.index = at,
                             .generation = tier_generation(tier, slot_of(copies, at))};
}

static bool is_loading(const struct copies *copies, enum memory_tier tier, page_id page)
{
    return copies->tier[tier] && tier_where(copies->tier[tier], page) == SLOT_LOADING;
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
        page_id page = page_of(copies, at);
        list_remove(copies, queue_of(copies, journey), at);
        journey->stage = COPY_READING;
        copies->reading++;
        struct io_request request = {
            .tag = at,
            .page = page,
            .demand = journey->urgency == URGENCY_DEMAND,
            .store = copies->store,
            .slot = tier_bytes(copies->tier[tier_of(copies, at)], page),
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
        page_id page = page_of(copies, at);
        uint64_t bytes = store_page(copies->store, page)->slot_bytes;
        uint64_t ticket = copies->device->ops->copy(
            copies->device, tier_bytes(copies->tier[MEMORY_DEVICE], page),
            tier_bytes(copies->tier[MEMORY_HOST], page), bytes);
        if (ticket == 0)
            return; /* the device's own queue is full: again when one of its copies has ended */
        list_remove(copies, queue_of(copies, journey), at);
        list_push(copies, &copies->copying, at);
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
    struct copy_list *queue = queue_of(copies, journey);
    if (queue)
        list_push(copies, queue, at);
    if (asked)
        copies->fetches[urgency]++;
    return at;
}

/* From prefetch to demand: to the end of the demand queue where the journey still waits in one; a
 * read under way stops giving way. */
static void raise(struct copies *copies, uint32_t at)
{
    struct copy_journey *journey = &copies->journey[at];
    if (journey->urgency == URGENCY_DEMAND)
        return;
    struct copy_list *queue = queue_of(copies, journey);
    if (queue)
        list_remove(copies, queue, at);
    journey->urgency = URGENCY_DEMAND;
    if (queue)
        list_push(copies, queue_of(copies, journey), at);
    if (journey->stage == COPY_READING)
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
        *transfer = handle_of(copies, at);
    start(copies);
    return STATUS_OK;
}

/* --- Cancelling ----------------------------------------------------------------------------- */

/* Frees the slot of a journey that waits. */
static void take_back(struct copies *copies, uint32_t at)
{
    struct copy_journey *journey = &copies->journey[at];
    struct tier *tier = copies->tier[tier_of(copies, at)];
    page_id page = page_of(copies, at);
    struct copy_list *queue = queue_of(copies, journey);
    if (queue)
        list_remove(copies, queue, at);
    if (journey->stage == COPY_QUEUED)
        tier_unpin(copies->tier[MEMORY_HOST], page);
    *journey = (struct copy_journey){0};
    tier_fail(tier, page);
}

enum status copy_cancel(struct copies *copies, struct transfer transfer)
{
    if (transfer.index >= copies->journeys)
        return STATUS_NOT_FOUND;
    uint32_t at = transfer.index;
    struct copy_journey *journey = &copies->journey[at];
    if (journey->stage == COPY_NONE || !journey->asked ||
        handle_of(copies, at).generation != transfer.generation)
        return STATUS_NOT_FOUND;
    if (journey->stage == COPY_READING || journey->stage == COPY_COPYING || journey->bytes > 0)
        return STATUS_FULL; /* bytes: its read is over, and is told of by an event */

    page_id page = page_of(copies, at);
    if (journey->stage == COPY_WAITING) {
        uint32_t host_at = journey_of(copies, MEMORY_HOST, page);
        if (!copies->journey[host_at].asked) { /* this journey's own read */
            if (copies->journey[host_at].stage == COPY_READING)
                return STATUS_FULL;
            take_back(copies, host_at);
        }
        take_back(copies, at);
    } else if (tier_of(copies, at) == MEMORY_HOST && is_loading(copies, MEMORY_DEVICE, page)) {
        journey->asked = false; /* goes on as the host stage of the device's journey */
    } else {
        take_back(copies, at);
    }
    copies->cancelled++;
    return STATUS_OK;
}

/* --- Ends ----------------------------------------------------------------------------------- */

/* Puts a journey to rest and, where the caller asked for it, notes its event. Its slot still names
 * the page. */
static void end(struct copies *copies, uint32_t at, enum status status)
{
    struct copy_journey *journey = &copies->journey[at];
    if (journey->asked) {
        CHECK(copies->pending_count < 2);
        copies->pending[copies->pending_count++] = (struct memory_event){
            .page = page_of(copies, at),
            .tier = tier_of(copies, at),
            .status = status,
            .urgency = (enum urgency)journey->urgency,
            .bytes = journey->bytes,
            .transfer = handle_of(copies, at),
        };
        if (status)
            copies->failures++;
        else
            copies->completed++;
    }
    struct tier *tier = copies->tier[tier_of(copies, at)];
    page_id page = page_of(copies, at);
    *journey = (struct copy_journey){0};
    if (status)
        tier_fail(tier, page);
    else
        tier_land(tier, page);
}

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
    CHECK(at < copies->journeys && copies->journey[at].stage == COPY_READING);
    struct copy_journey *journey = &copies->journey[at];
    page_id page = page_of(copies, at);
    copies->reading--;
    copies->storage_bytes += done->bytes;
    copies->storage_reads += done->reads;

    uint32_t device_at = COPY_NOBODY; /* the journey that waits for this one */
    if (tier_of(copies, at) == MEMORY_HOST && is_loading(copies, MEMORY_DEVICE, page))
        device_at = journey_of(copies, MEMORY_DEVICE, page);
    /* The bytes are told once: by the journey that asked for the read. */
    copies->journey[journey->asked ? at : device_at].bytes += done->bytes;

    if (done->cause)
        describe_failure(copies, page, done);
    end(copies, at, done->cause ? STATUS_IO : STATUS_OK);
    if (device_at == COPY_NOBODY)
        return;
    if (done->cause) {
        end(copies, device_at, STATUS_IO);
        return;
    }
    tier_pin(copies->tier[MEMORY_HOST], page);
    copies->journey[device_at].stage = COPY_QUEUED;
    list_push(copies, queue_of(copies, &copies->journey[device_at]), device_at);
}

static void end_copy(struct copies *copies)
{
    uint32_t at = copies->copying.head;
    list_remove(copies, &copies->copying, at);
    tier_unpin(copies->tier[MEMORY_HOST], page_of(copies, at));
    end(copies, at, STATUS_OK);
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
    if (copies->reading == 0 || !copies->io->ops->poll(copies->io, &done, wait_ns))
        return false;
    end_read(copies, &done);
    return true;
}

/* Moves noted events out; one end at a time is taken in only after all were. */
static uint32_t deliver(struct copies *copies, struct memory_event *events, uint32_t max)
{
    uint32_t n = copies->pending_count < max ? copies->pending_count : max;
    memcpy(events, copies->pending, n * sizeof *events);
    copies->pending_count -= n;
    memmove(copies->pending, copies->pending + n, copies->pending_count * sizeof *events);
    return n;
}

uint32_t copy_poll(struct copies *copies, uint64_t wait_ns, struct memory_event *events,
                   uint32_t max)
{
    uint64_t begin_ns = wait_ns ? clock_now_ns() : 0, waited_ns = 0;
    uint32_t n = max ? deliver(copies, events, max) : 0;
    start(copies);
    /* A failure is the last event of its poll: the sentence of memory_error is then its own. */
    while (n < max && (n == 0 || events[n - 1].status == STATUS_OK)) {
        uint64_t wait = n > 0 ? 0 : wait_ns - waited_ns; /* the first end is waited for, no other */
        if (copies->copying.count > 0 && copies->reading > 0 && wait > COPY_SLICE_NS)
            wait = COPY_SLICE_NS;
        if (take_in(copies, wait)) {
            start(copies);
            n += deliver(copies, events + n, max - n);
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

/* --- Checking ------------------------------------------------------------------------------- */

static void check_list(const struct copies *copies, const struct copy_list *list,
                       enum copy_stage stage, int urgency)
{
    uint32_t count = 0, previous = COPY_NOBODY;
    uint64_t ticket = 0;
    for (uint32_t at = list->head; at != COPY_NOBODY; at = copies->journey[at].next) {
        const struct copy_journey *journey = &copies->journey[at];
        CHECK(++count <= list->count);
        CHECK(journey->previous == previous && journey->stage == stage);
        CHECK(urgency < 0 || journey->urgency == urgency);
        CHECK(stage != COPY_COPYING || journey->ticket > ticket);
        ticket = journey->ticket;
        previous = at;
    }
    CHECK(count == list->count && list->tail == previous);
}

/* One journey against its slot and the page's place in the other tier. */
static void check_journey(const struct copies *copies, uint32_t at)
{
    const struct copy_journey *journey = &copies->journey[at];
    enum memory_tier kind = tier_of(copies, at);
    const struct slot *slot = &copies->tier[kind]->slot[slot_of(copies, at)];
    CHECK((journey->stage != COPY_NONE) == (slot->state == SLOT_LOADING));
    if (journey->stage == COPY_NONE)
        return;
    const struct tier *host = copies->tier[MEMORY_HOST];
    bool reads = journey->stage == COPY_READ_QUEUED || journey->stage == COPY_READING;
    CHECK(reads == (kind == MEMORY_HOST || !host));
    if (journey->stage == COPY_WAITING) {
        uint32_t host_at = journey_of(copies, MEMORY_HOST, slot->page);
        CHECK(tier_where(host, slot->page) == SLOT_LOADING);
        CHECK(journey->urgency == URGENCY_PREFETCH ||
              copies->journey[host_at].urgency == URGENCY_DEMAND);
    } else if (!reads) {
        CHECK(tier_where(host, slot->page) == SLOT_READY && tier_pins(host, slot->page) > 0);
    }
    if (!journey->asked)
        CHECK(kind == MEMORY_HOST && is_loading(copies, MEMORY_DEVICE, slot->page));
}

/* The host tier's pins are the sources of copies, each pinned once from its landing or the fetch to
 * the end of the copy, and nothing else. */
static void check_sources(const struct copies *copies)
{
    const struct tier *host = copies->tier[MEMORY_HOST];
    for (uint32_t i = 0; host && i < host->slots; i++) {
        page_id page = host->slot[i].page;
        if (host->slot[i].state != SLOT_READY)
            continue;
        bool is_source = is_loading(copies, MEMORY_DEVICE, page);
        CHECK_MSG(host->slot[i].pins == is_source, "page %u has %u pins in the host tier", page,
                  host->slot[i].pins);
    }
}

void copy_check(const struct copies *copies)
{
    uint32_t count[COPY_COPYING + 1] = {0};
    uint64_t asked = 0;
    for (uint32_t at = 0; at < copies->journeys; at++) {
        check_journey(copies, at);
        count[copies->journey[at].stage]++;
        asked += copies->journey[at].asked;
    }
    check_sources(copies);
    for (int urgency = 0; urgency < 2; urgency++) {
        check_list(copies, &copies->reads[urgency], COPY_READ_QUEUED, urgency);
        check_list(copies, &copies->copies[urgency], COPY_QUEUED, urgency);
    }
    check_list(copies, &copies->copying, COPY_COPYING, -1);
    CHECK(count[COPY_READ_QUEUED] == copies->reads[0].count + copies->reads[1].count);
    CHECK(count[COPY_QUEUED] == copies->copies[0].count + copies->copies[1].count);
    CHECK(count[COPY_COPYING] == copies->copying.count);
    CHECK(count[COPY_COPYING] <= COPY_DEVICE_DEPTH);
    CHECK(count[COPY_READING] == copies->reading && copies->reading <= copies->io_depth);
    CHECK(copies->fetches[URGENCY_DEMAND] + copies->fetches[URGENCY_PREFETCH] ==
          asked + copies->completed + copies->failures + copies->cancelled);
    CHECK(copies->pending_count <= 2);
}
