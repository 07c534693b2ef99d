/* The invariants of journeys: each is in the list of its stage and in no other, stands beside a
 * slot that is LOADING, and has what it waits for. Runs after each mutation in debug builds. */
#include "memory/base/check.h"
#include "memory/journey.h"

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
    enum memory_tier kind = journey_tier(copies, at);
    const struct slot *slot = &copies->tier[kind]->slot[journey_slot(copies, at)];
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
        CHECK(kind == MEMORY_HOST && journey_loading(copies, MEMORY_DEVICE, slot->page));
}

uint32_t copy_sources(const struct copies *copies)
{
    const struct tier *host = copies->tier[MEMORY_HOST];
    uint32_t sources = 0;
    for (uint32_t i = 0; host && i < host->capacity; i++)
        sources += host->slot[i].state == SLOT_READY &&
                   journey_loading(copies, MEMORY_DEVICE, host->slot[i].page);
    return sources;
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
    CHECK(copies->delivered <= copies->pending_count);
    CHECK(copies->pending_count <= copies->pending_room);
    CHECK(copies->aside_count <= copies->reading);
}
