/* Emptying the slots that a tier is about to lose.
 *
 * A journey that needs such a slot cannot be finished: into the slot, because it goes, or out of
 * it, because the source goes. What waits is taken back at once. What storage or the device has
 * begun to write cannot be stopped, so it is waited for; ends of other reads that come meanwhile
 * are set aside for the next poll, so that this changes nothing for journeys that stay. A copy out
 * of a host slot that goes is the exception: once waited for, it has simply ended well.
 *
 * Nothing here fails half-way: the room for all events is taken first. A failed read of a journey
 * that is ended here is told as CANCELLED too: who still wants the page fetches it again, and is
 * told then. */
#include <stdlib.h>

#include "memory/base/check.h"
#include "memory/journey.h"

/* Room for the events of `journeys` more journeys, and of the copies under way. */
static enum status reserve_events(struct copies *copies, uint32_t journeys, struct error *error)
{
    uint64_t room = (uint64_t)copies->pending_count + (uint64_t)journeys * COPY_EVENTS +
                    COPY_DEVICE_DEPTH + COPY_EVENTS;
    if (room <= copies->pending_room)
        return STATUS_OK;
    struct memory_event *larger =
        room <= UINT32_MAX ? reallocarray(copies->pending, room, sizeof *larger) : NULL;
    if (!larger)
        return error_set(error, STATUS_NO_MEMORY, "no memory for the events of %u pages", journeys);
    copies->pending = larger;
    copies->pending_room = (uint32_t)room;
    return STATUS_OK;
}

/* Waits for the read of this journey, whose slot nobody writes into afterwards. */
static struct io_done wait_for_read(struct copies *copies, uint32_t at)
{
    for (uint32_t i = 0; i < copies->aside_count; i++)
        if (copies->aside[i].tag == at) {
            struct io_done done = copies->aside[i];
            copies->aside[i] = copies->aside[--copies->aside_count];
            return done;
        }
    for (;;) {
        struct io_done done;
        if (!copies->io->ops->poll(copies->io, &done, UINT64_MAX))
            continue;
        if (done.tag == at)
            return done;
        copies->aside[copies->aside_count++] = done;
    }
}

static void wait_for_copy(struct copies *copies, uint32_t at)
{
    uint64_t ticket = copies->journey[at].ticket;
    while (copies->ticket_seen < ticket)
        copies->ticket_seen =
            copies->device->ops->poll(copies->device, copies->ticket_seen, UINT64_MAX);
    journey_remove(copies, &copies->copying, at);
    tier_unpin(copies->tier[MEMORY_HOST], journey_page(copies, at));
}

/* A journey whose own slot goes, or whose page's host journey has just been cancelled. */
static void cancel_waiting(struct copies *copies, uint32_t at)
{
    journey_leave_queue(copies, at);
    journey_end(copies, at, STATUS_CANCELLED);
}

/* The read into a slot that goes, or that nothing but a device slot that goes waited for. */
static void clear_reading(struct copies *copies, uint32_t at, bool slot_goes)
{
    struct io_done done = wait_for_read(copies, at);
    uint32_t device_at = journey_count_read(copies, &done);
    if (slot_goes)
        journey_end(copies, at, STATUS_CANCELLED);
    else
        journey_end(copies, at, done.cause ? STATUS_IO : STATUS_OK); /* not asked for: no event */
    if (device_at != COPY_NOBODY)
        journey_end(copies, device_at, STATUS_CANCELLED);
}

/* The page waits for its host stage, which is taken back with it unless the caller wants that. */
static void clear_waiting(struct copies *copies, uint32_t at)
{
    uint32_t host_at = journey_of(copies, MEMORY_HOST, journey_page(copies, at));
    const struct copy_journey *host = &copies->journey[host_at];
    if (host->asked) {
        cancel_waiting(copies, at);
    } else if (host->stage == COPY_READING) {
        clear_reading(copies, host_at, false);
    } else {
        cancel_waiting(copies, host_at);
        cancel_waiting(copies, at);
    }
}

/* The journey into a slot that goes. */
static void clear_journey(struct copies *copies, uint32_t at)
{
    page_id page = journey_page(copies, at);
    bool on_host = journey_tier(copies, at) == MEMORY_HOST;
    switch ((enum copy_stage)copies->journey[at].stage) {
    case COPY_READ_QUEUED:
        cancel_waiting(copies, at);
        if (on_host && journey_loading(copies, MEMORY_DEVICE, page))
            cancel_waiting(copies, journey_of(copies, MEMORY_DEVICE, page));
        return;
    case COPY_READING:
        clear_reading(copies, at, true);
        return;
    case COPY_WAITING:
        clear_waiting(copies, at);
        return;
    case COPY_QUEUED:
        cancel_waiting(copies, at);
        return;
    case COPY_COPYING:
        wait_for_copy(copies, at);
        journey_end(copies, at, STATUS_CANCELLED);
        return;
    case COPY_NONE:
        CHECK(false);
    }
}

/* The page in a host slot that goes may be on its way to the device. */
static void clear_source(struct copies *copies, page_id page)
{
    if (!journey_loading(copies, MEMORY_DEVICE, page))
        return;
    uint32_t at = journey_of(copies, MEMORY_DEVICE, page);
    if (copies->journey[at].stage == COPY_COPYING) {
        wait_for_copy(copies, at);
        journey_end(copies, at, STATUS_OK);
    } else {
        cancel_waiting(copies, at);
    }
}

/* An event that says READY and was not delivered: it is not, any more. */
static void revoke(struct copies *copies, enum memory_tier tier, page_id page)
{
    for (uint32_t i = copies->delivered; i < copies->pending_count; i++) {
        struct memory_event *event = &copies->pending[i];
        if (event->tier == tier && event->page == page && event->status == STATUS_OK) {
            event->status = STATUS_CANCELLED;
            copies->completed--;
            copies->cancelled++;
        }
    }
}

enum status copy_clear(struct copies *copies, enum memory_tier kind,
                       const struct tier_slots *slots, uint64_t fence, struct error *error)
{
    struct tier *tier = copies->tier[kind];
    uint32_t pages = 0;
    for (uint32_t c = 0; c < tier->classes; c++)
        for (uint32_t i = slots->of_class[c]; i < tier->ring[c].slots; i++)
            pages += tier->ring[c].slot[i].state != SLOT_FREE;
    enum status status = reserve_events(copies, pages, error);
    for (uint32_t c = 0; c < tier->classes && status == STATUS_OK; c++)
        for (uint32_t i = slots->of_class[c]; i < tier->ring[c].slots; i++) {
            const struct slot *slot = &tier->ring[c].slot[i];
            page_id page = slot->page;
            if (slot->state == SLOT_LOADING)
                clear_journey(copies, journey_of(copies, kind, page));
            else if (slot->state == SLOT_READY && kind == MEMORY_HOST)
                clear_source(copies, page);
            if (slot->state != SLOT_READY)
                continue;
            revoke(copies, kind, page);
            tier_evict(tier, page, kind == MEMORY_DEVICE ? fence : 0);
        }
    return status;
}
