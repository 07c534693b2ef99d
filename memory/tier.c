/* Rings plus the table that finds a page in them.
 *
 * Owns the slot headers and the page table; the bytes are lent (a device's arena, pinned memory).
 * Every change goes ring first, table second, so that both agree after each function. One thread,
 * the engine's. Invariant (tier_check): page -> slot and slot -> page are inverse to each other. */
#include "memory/tier.h"

#include <stdlib.h>
#include <string.h>

#include "memory/base/bytes.h"
#include "memory/base/check.h"

static void checked(const struct tier *tier)
{
#ifdef MOERING_DEBUG_CHECKS
    tier_check(tier);
#else
    (void)tier;
#endif
}

bool tier_arena_bytes(const struct store *store, const struct tier_slots *slots, uint64_t *bytes)
{
    *bytes = 0;
    for (uint32_t c = 0; c < store_classes(store); c++) {
        uint64_t of_class;
        if (!bytes_mul(store_class_slot_bytes(store, c), slots->of_class[c], &of_class) ||
            !bytes_add(*bytes, of_class, bytes))
            return false;
    }
    return *bytes <= SIZE_MAX;
}

enum status tier_open(struct tier *tier, const struct store *store, const struct tier_slots *slots,
                      struct device *device, uint8_t *arena, struct error *error)
{
    *tier = (struct tier){.store = store, .device = device, .classes = store_classes(store)};
    uint64_t count = 0;
    for (uint32_t c = 0; c < tier->classes; c++)
        count += slots->of_class[c];
    if (count < TIER_NONE) {
        tier->slots = (uint32_t)count;
        tier->slot = calloc(count ? count : 1, sizeof *tier->slot);
        tier->slot_of = malloc(((size_t)store_pages(store) + 1) * sizeof *tier->slot_of);
    }
    if (!tier->slot || !tier->slot_of) {
        tier_close(tier);
        return error_set(error, STATUS_NO_MEMORY, "no memory for the table of %llu slots",
                         (unsigned long long)count);
    }
    uint32_t first = 0;
    for (uint32_t c = 0; c < tier->classes; c++) {
        uint32_t of_class = slots->of_class[c];
        uint64_t slot_bytes = store_class_slot_bytes(store, c);
        tier->first[c] = first;
        ring_init(&tier->ring[c], tier->slot + first, of_class, arena, slot_bytes);
        if (of_class) /* an empty tier's arena may be NULL */
            arena += of_class * slot_bytes;
        first += of_class;
    }
    for (uint32_t page = 0; page < store_pages(store); page++)
        tier->slot_of[page] = TIER_NONE;
    checked(tier);
    return STATUS_OK;
}

void tier_close(struct tier *tier)
{
    free(tier->slot);
    free(tier->slot_of);
    *tier = (struct tier){0};
}

static struct ring *ring_of(struct tier *tier, page_id page)
{
    return &tier->ring[store_page(tier->store, page)->size_class];
}

/* The place of a page that is there in the ring of its class. */
static uint32_t place_of(const struct tier *tier, page_id page)
{
    uint32_t slot = tier_slot(tier, page);
    CHECK_MSG(slot != TIER_NONE, "page %u is FREE", page);
    return slot - tier->first[store_page(tier->store, page)->size_class];
}

uint32_t tier_slot(const struct tier *tier, page_id page)
{
    CHECK(page < store_pages(tier->store));
    return tier->slot_of[page];
}

enum slot_state tier_where(const struct tier *tier, page_id page)
{
    uint32_t slot = tier_slot(tier, page);
    return slot == TIER_NONE ? SLOT_FREE : (enum slot_state)tier->slot[slot].state;
}

uint8_t *tier_bytes(const struct tier *tier, page_id page)
{
    const struct ring *ring = &tier->ring[store_page(tier->store, page)->size_class];
    return ring_bytes(ring, place_of(tier, page));
}

uint32_t tier_generation(const struct tier *tier, uint32_t slot)
{
    CHECK(slot < tier->slots);
    return tier->slot[slot].generation;
}

uint32_t tier_pins(const struct tier *tier, page_id page)
{
    uint32_t slot = tier_slot(tier, page);
    return slot == TIER_NONE ? 0 : tier->slot[slot].pins;
}

bool tier_has_room(const struct tier *tier, page_id page)
{
    return tier->ring[store_page(tier->store, page)->size_class].count[SLOT_FREE] > 0;
}

/* --- Poison: what nobody may read ------------------------------------------------------------ */

static void poison(const struct tier *tier, const struct ring *ring, uint32_t place)
{
#ifdef MOERING_DEBUG_CHECKS
    if (tier->device)
        tier->device->ops->fill(tier->device, ring_bytes(ring, place), TIER_POISON,
                                ring->slot_bytes);
    else
        memset(ring_bytes(ring, place), TIER_POISON, ring->slot_bytes);
#else
    (void)tier, (void)ring, (void)place;
#endif
}

/* Of a slot just claimed. Nobody may have written into it while it was FREE: its poison is whole,
 * except before its first use. Memory out of the host's reach is not looked at. */
static void check_poison(const struct tier *tier, const struct ring *ring, uint32_t place)
{
#ifdef MOERING_DEBUG_CHECKS
    const uint8_t *bytes = ring_bytes(ring, place);
    if (ring->slot[place].generation == 1 || (tier->device && !tier->device->ops->host_visible))
        return;
    CHECK_MSG(bytes[0] == TIER_POISON && memcmp(bytes, bytes + 1, ring->slot_bytes - 1) == 0,
              "slot %u was written to while it was FREE", place);
#else
    (void)tier, (void)ring, (void)place;
#endif
}

/* --- Changes -------------------------------------------------------------------------------- */

uint32_t tier_claim(struct tier *tier, page_id page)
{
    CHECK_MSG(tier_slot(tier, page) == TIER_NONE, "page %u is there already", page);
    struct ring *ring = ring_of(tier, page);
    uint32_t place = ring_claim(ring, page);
    CHECK(place != RING_NONE);
    check_poison(tier, ring, place);
    poison(tier, ring, place);
    uint32_t slot = tier->first[store_page(tier->store, page)->size_class] + place;
    tier->slot_of[page] = slot;
    checked(tier);
    return slot;
}

void tier_land(struct tier *tier, page_id page)
{
    ring_land(ring_of(tier, page), place_of(tier, page));
    tier->ready++;
    tier->ready_bytes += ring_of(tier, page)->slot_bytes;
    checked(tier);
}

void tier_fail(struct tier *tier, page_id page)
{
    struct ring *ring = ring_of(tier, page);
    uint32_t place = place_of(tier, page);
    ring_fail(ring, place);
    poison(tier, ring, place);
    tier->slot_of[page] = TIER_NONE;
    checked(tier);
}

void tier_evict(struct tier *tier, page_id page)
{
    struct ring *ring = ring_of(tier, page);
    uint32_t place = place_of(tier, page);
    ring_release(ring, place);
    poison(tier, ring, place);
    tier->slot_of[page] = TIER_NONE;
    tier->ready--;
    tier->ready_bytes -= ring->slot_bytes;
    tier->evictions++;
    checked(tier);
}

void tier_pin(struct tier *tier, page_id page)
{
    ring_pin(ring_of(tier, page), place_of(tier, page));
    checked(tier);
}

void tier_unpin(struct tier *tier, page_id page)
{
    ring_unpin(ring_of(tier, page), place_of(tier, page));
    checked(tier);
}

page_id tier_sweep(struct tier *tier, uint32_t size_class)
{
    CHECK(size_class < tier->classes);
    uint32_t place = ring_sweep(&tier->ring[size_class]);
    return place == RING_NONE ? PAGE_NONE : tier->ring[size_class].slot[place].page;
}

void tier_check(const struct tier *tier)
{
    uint32_t taken = 0, ready = 0, first = 0;
    uint64_t ready_bytes = 0;
    for (uint32_t c = 0; c < tier->classes; c++) {
        const struct ring *ring = &tier->ring[c];
        ring_check(ring);
        CHECK(tier->first[c] == first && ring->slot == tier->slot + first);
        first += ring->slots;
        taken += ring->slots - ring->count[SLOT_FREE];
        ready += ring->count[SLOT_READY];
        ready_bytes += ring->count[SLOT_READY] * ring->slot_bytes;
    }
    CHECK(first == tier->slots);
    CHECK(ready == tier->ready && ready_bytes == tier->ready_bytes);
    uint32_t found = 0;
    for (page_id page = 0; page < store_pages(tier->store); page++) {
        uint32_t slot = tier->slot_of[page];
        if (slot == TIER_NONE)
            continue;
        found++;
        CHECK(slot < tier->slots && tier->slot[slot].page == page);
        uint32_t c = store_page(tier->store, page)->size_class;
        CHECK(slot >= tier->first[c] && slot - tier->first[c] < tier->ring[c].slots);
    }
    /* Each entry leads to a slot that holds its page, so equal counts make it a bijection. */
    CHECK(found == taken);
}
