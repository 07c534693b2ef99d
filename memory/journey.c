/* What happens to one journey, whoever lets it happen: fetching, polling and cancelling (copy.c) or
 * a tier that changes its size (copy_clear.c). Lists go through the journeys themselves, so nothing
 * is allocated and nothing can run out. One thread, the engine's. Invariant: copy_check. */
#include "memory/journey.h"

#include "memory/base/check.h"

uint32_t journey_of(const struct copies *copies, enum memory_tier tier, page_id page)
{
    uint32_t slot = tier_slot(copies->tier[tier], page);
    CHECK(slot != TIER_NONE);
    return tier == MEMORY_DEVICE ? slot : copies->tier[MEMORY_DEVICE]->capacity + slot;
}

struct transfer journey_handle(const struct copies *copies, uint32_t at)
{
    const struct tier *tier = copies->tier[journey_tier(copies, at)];
    return (struct transfer){.index = at,
                             .generation = tier_generation(tier, journey_slot(copies, at))};
}

void journey_push(struct copies *copies, struct copy_list *list, uint32_t at)
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

void journey_remove(struct copies *copies, struct copy_list *list, uint32_t at)
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

struct copy_list *journey_queue(struct copies *copies, const struct copy_journey *journey)
{
    if (journey->stage == COPY_READ_QUEUED)
        return &copies->reads[journey->urgency];
    if (journey->stage == COPY_QUEUED)
        return &copies->copies[journey->urgency];
    return NULL;
}

void journey_leave_queue(struct copies *copies, uint32_t at)
{
    struct copy_journey *journey = &copies->journey[at];
    struct copy_list *queue = journey_queue(copies, journey);
    if (queue)
        journey_remove(copies, queue, at);
    if (journey->stage == COPY_QUEUED)
        tier_unpin(copies->tier[MEMORY_HOST], journey_page(copies, at));
}

static void note_event(struct copies *copies, uint32_t at, enum status status)
{
    const struct copy_journey *journey = &copies->journey[at];
    CHECK(copies->pending_count < copies->pending_room);
    copies->pending[copies->pending_count++] = (struct memory_event){
        .page = journey_page(copies, at),
        .tier = journey_tier(copies, at),
        .status = status,
        .urgency = (enum urgency)journey->urgency,
        .bytes = journey->bytes,
        .transfer = journey_handle(copies, at),
    };
    if (status == STATUS_OK)
        copies->completed++;
    else if (status == STATUS_CANCELLED)
        copies->cancelled++;
    else
        copies->failures++;
}

void journey_end(struct copies *copies, uint32_t at, enum status status)
{
    struct tier *tier = copies->tier[journey_tier(copies, at)];
    page_id page = journey_page(copies, at);
    if (copies->journey[at].asked)
        note_event(copies, at, status);
    copies->journey[at] = (struct copy_journey){0};
    if (status)
        tier_fail(tier, page);
    else
        tier_land(tier, page);
}

uint32_t journey_count_read(struct copies *copies, const struct io_done *done)
{
    uint32_t at = done->tag;
    CHECK(at < copies->journeys && copies->journey[at].stage == COPY_READING);
    page_id page = journey_page(copies, at);
    copies->reading--;
    copies->storage_bytes += done->bytes;
    copies->storage_rounding_bytes += done->rounding_bytes;
    copies->storage_reads += done->reads;
    uint32_t device_at = COPY_NOBODY;
    if (journey_tier(copies, at) == MEMORY_HOST && journey_loading(copies, MEMORY_DEVICE, page))
        device_at = journey_of(copies, MEMORY_DEVICE, page);
    /* The bytes are told once: by the journey that asked for the read. */
    copies->journey[copies->journey[at].asked ? at : device_at].bytes += done->bytes;
    return device_at;
}
