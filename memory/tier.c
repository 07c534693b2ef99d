/* Rings, the table that finds a page in them, and the extents that their bytes lie in.
 *
 * A ring could have a slot for each page of its class and never more, so tables are made for that
 * many at once and a resize moves nothing: it takes or gives back extents behind the last slot.
 * What goes back to the device or the host is whole extents; a ring that shrinks into the middle of
 * one keeps it, and grows into it again first.
 *
 * Fences: a slot of the device tier may be FREE while the device's processor still reads what lay
 * in it. Its fence is handed to whatever writes into it next and is forgotten when a page lands
 * there, because that page's copy has waited for it. An extent goes back after the fences of its
 * slots.
 *
 * Every change goes ring first, table second, so that both agree after each function. One thread,
 * the engine's. Invariant (tier_check): page -> slot and slot -> page are inverse to each other;
 * extents lie end to end over the slots, and no slot is present without its bytes. */
#include "memory/tier.h"

#include <inttypes.h>
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

/* --- Memory ---------------------------------------------------------------------------------- */

static void poison(const struct tier *tier, uint32_t slot, uint64_t bytes);

static const char *name_of(const struct tier *tier)
{
    return tier->place.on_device ? "device tier" : "host tier";
}

/* Another extent of at most `slots` slots behind the last of this class. */
static enum status add_extent(struct tier *tier, uint32_t size_class, uint32_t slots,
                              struct error *error)
{
    struct tier_extents *extents = &tier->extents[size_class];
    if (extents->count == extents->room) {
        uint32_t room = extents->room ? extents->room * 2 : 16;
        struct extent *larger = reallocarray(extents->at, room, sizeof *larger);
        if (!larger)
            return error_set(error, STATUS_NO_MEMORY, "no memory for a table of %u extents", room);
        extents->at = larger;
        extents->room = room;
    }
    uint64_t slot_bytes = store_class_slot_bytes(tier->store, size_class);
    if (slots > extent_slots(slot_bytes))
        slots = extent_slots(slot_bytes);
    struct extent *extent = &extents->at[extents->count];
    enum status status = extent_open(extent, &tier->place, slots * slot_bytes, error);
    if (status)
        return status;
    extent->first = extents->slots;
    extent->slots = slots;
    extents->count++;
    extents->slots += slots;
    uint8_t **bytes = tier->bytes + tier->first[size_class] + extent->first;
    for (uint32_t i = 0; i < slots; i++)
        bytes[i] = extent->base + i * slot_bytes;
    return STATUS_OK;
}

/* Gives back the extents of a class that begin at slot `slots` or later. */
static void drop_extents(struct tier *tier, uint32_t size_class, uint32_t slots)
{
    struct tier_extents *extents = &tier->extents[size_class];
    struct device *device = tier->place.device;
    while (extents->count > 0 && extents->at[extents->count - 1].first >= slots) {
        struct extent *last = &extents->at[--extents->count];
        uint32_t slot = tier->first[size_class] + last->first;
        for (uint32_t i = slot; i < slot + last->slots; i++) {
            if (tier->fence[i])
                device->ops->reached(device, tier->fence[i], true);
            tier->fence[i] = 0;
            tier->bytes[i] = NULL;
        }
        extents->slots = last->first;
        extent_close(last, &tier->place);
    }
}

static uint64_t bytes_of(const struct store *store, const struct tier_slots *slots)
{
    uint64_t bytes = 0;
    for (uint32_t c = 0; c < store_classes(store); c++)
        bytes += slots->of_class[c] * store_class_slot_bytes(store, c);
    return bytes;
}

enum status tier_reserve(struct tier *tier, const struct tier_slots *slots, struct error *error)
{
    char text[32];
    enum status status = STATUS_OK;
    for (uint32_t c = 0; c < tier->classes && status == STATUS_OK; c++) {
        CHECK_MSG(slots->of_class[c] <= tier->ring[c].capacity, "class %u has %u pages, not %u", c,
                  tier->ring[c].capacity, slots->of_class[c]);
        while (tier->extents[c].slots < slots->of_class[c] && status == STATUS_OK)
            status = add_extent(tier, c, slots->of_class[c] - tier->extents[c].slots, error);
    }
    if (status == STATUS_OK) {
        extent_tell(&tier->place);
        return STATUS_OK;
    }
    uint64_t bytes = bytes_of(tier->store, slots);
    for (uint32_t c = 0; c < tier->classes; c++)
        drop_extents(tier, c, tier->ring[c].slots);
    error_prefix(error, "the %s of %" PRIu64 " bytes (%s) does not fit", name_of(tier), bytes,
                 bytes_format(bytes, text, sizeof text));
    return status;
}

void tier_set_slots(struct tier *tier, const struct tier_slots *slots)
{
    for (uint32_t c = 0; c < tier->classes; c++) {
        uint32_t before = tier->ring[c].slots;
        CHECK(slots->of_class[c] <= tier->extents[c].slots);
        ring_resize(&tier->ring[c], slots->of_class[c]);
        drop_extents(tier, c, slots->of_class[c]);
        for (uint32_t i = before; i < slots->of_class[c]; i++)
            poison(tier, tier->first[c] + i, store_class_slot_bytes(tier->store, c));
    }
    checked(tier);
}

enum status tier_open(struct tier *tier, const struct store *store, const struct tier_slots *slots,
                      const struct extent_place *place, struct error *error)
{
    *tier = (struct tier){.store = store, .place = *place, .classes = store_classes(store)};
    tier->capacity = store_pages(store);
    size_t room = (size_t)tier->capacity + 1; /* a model may have no pages */
    tier->slot = calloc(room, sizeof *tier->slot);
    tier->bytes = calloc(room, sizeof *tier->bytes);
    tier->fence = calloc(room, sizeof *tier->fence);
    tier->slot_of = malloc(room * sizeof *tier->slot_of);
    enum status status = STATUS_OK;
    if (!tier->slot || !tier->bytes || !tier->fence || !tier->slot_of) {
        status = error_set(error, STATUS_NO_MEMORY, "no memory for the table of %u slots",
                           tier->capacity);
        goto fail;
    }
    for (uint32_t c = 0, first = 0; c < tier->classes; c++) {
        tier->first[c] = first;
        ring_init(&tier->ring[c], tier->slot + first, store_class_pages(store, c));
        first += store_class_pages(store, c);
    }
    for (uint32_t page = 0; page < store_pages(store); page++)
        tier->slot_of[page] = TIER_NONE;
    status = tier_reserve(tier, slots, error);
    if (status)
        goto fail;
    tier_set_slots(tier, slots);
    return STATUS_OK;
fail:
    tier_close(tier);
    return status;
}

void tier_close(struct tier *tier)
{
    for (uint32_t c = 0; c < tier->classes; c++) {
        if (tier->bytes && tier->fence)
            drop_extents(tier, c, 0);
        free(tier->extents[c].at);
    }
    free(tier->slot);
    free(tier->bytes);
    free(tier->fence);
    free(tier->slot_of);
    *tier = (struct tier){0};
}

/* --- Where things are ------------------------------------------------------------------------ */

static struct ring *ring_of(struct tier *tier, page_id page)
{
    return &tier->ring[store_page(tier->store, page)->size_class];
}

/* The number of the slot of a page that is there. */
static uint32_t taken_slot(const struct tier *tier, page_id page)
{
    uint32_t slot = tier_slot(tier, page);
    CHECK_MSG(slot != TIER_NONE, "page %u is FREE", page);
    return slot;
}

/* The same as its place in the ring of its class. */
static uint32_t place_of(const struct tier *tier, page_id page)
{
    return taken_slot(tier, page) - tier->first[store_page(tier->store, page)->size_class];
}

static uint64_t slot_bytes_of(const struct tier *tier, page_id page)
{
    return store_class_slot_bytes(tier->store, store_page(tier->store, page)->size_class);
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
    return tier->bytes[taken_slot(tier, page)];
}

uint64_t tier_fence(const struct tier *tier, page_id page)
{
    return tier->fence[taken_slot(tier, page)];
}

uint32_t tier_generation(const struct tier *tier, uint32_t slot)
{
    CHECK(slot < tier->capacity);
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

/* Of a slot without a page. What still reads it, up to its fence, reads what was there. */
static void poison(const struct tier *tier, uint32_t slot, uint64_t bytes)
{
#ifdef MOERING_DEBUG_CHECKS
    struct device *device = tier->place.device;
    if (tier->place.on_device)
        device->ops->fill(device, tier->bytes[slot], TIER_POISON, bytes, tier->fence[slot]);
    else
        memset(tier->bytes[slot], TIER_POISON, bytes);
#else
    (void)tier, (void)slot, (void)bytes;
#endif
}

/* Of a slot just claimed. Nobody may have written into it while it was FREE: its poison is whole.
 * Memory out of the host's reach is not looked at. */
static void check_poison(const struct tier *tier, uint32_t slot, uint64_t bytes)
{
#ifdef MOERING_DEBUG_CHECKS
    const uint8_t *at = tier->bytes[slot];
    if (tier->place.on_device && !tier->place.device->ops->host_visible)
        return;
    CHECK_MSG(at[0] == TIER_POISON && memcmp(at, at + 1, bytes - 1) == 0,
              "slot %u was written to while it was FREE", slot);
#else
    (void)tier, (void)slot, (void)bytes;
#endif
}

/* --- Changes -------------------------------------------------------------------------------- */

static void tell(const struct tier *tier, page_id page, const uint8_t *bytes)
{
    if (tier->listener.moved)
        tier->listener.moved(tier->listener.self, page, bytes);
}

void tier_listen(struct tier *tier, struct memory_listener listener)
{
    tier->listener = listener;
    for (uint32_t i = 0; i < tier->capacity; i++)
        if (tier->slot[i].state == SLOT_READY)
            tell(tier, tier->slot[i].page, tier->bytes[i]);
}

uint32_t tier_claim(struct tier *tier, page_id page)
{
    CHECK_MSG(tier_slot(tier, page) == TIER_NONE, "page %u is there already", page);
    uint32_t place = ring_claim(ring_of(tier, page), page);
    CHECK(place != RING_NONE);
    uint32_t slot = tier->first[store_page(tier->store, page)->size_class] + place;
    check_poison(tier, slot, slot_bytes_of(tier, page));
    poison(tier, slot, slot_bytes_of(tier, page));
    tier->slot_of[page] = slot;
    checked(tier);
    return slot;
}

void tier_land(struct tier *tier, page_id page)
{
    ring_land(ring_of(tier, page), place_of(tier, page));
    uint32_t slot = tier->slot_of[page];
    tier->fence[slot] = 0;
    tier->ready++;
    tier->ready_bytes += slot_bytes_of(tier, page);
    tell(tier, page, tier->bytes[slot]);
    checked(tier);
}

void tier_fail(struct tier *tier, page_id page)
{
    ring_fail(ring_of(tier, page), place_of(tier, page));
    poison(tier, tier->slot_of[page], slot_bytes_of(tier, page));
    tier->slot_of[page] = TIER_NONE;
    checked(tier);
}

void tier_evict(struct tier *tier, page_id page, uint64_t fence)
{
    ring_release(ring_of(tier, page), place_of(tier, page));
    uint32_t slot = tier->slot_of[page];
    tier->fence[slot] = fence;
    poison(tier, slot, slot_bytes_of(tier, page));
    tier->slot_of[page] = TIER_NONE;
    tier->ready--;
    tier->ready_bytes -= slot_bytes_of(tier, page);
    tier->evictions++;
    tell(tier, page, NULL);
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

/* --- Checking ------------------------------------------------------------------------------- */

/* The extents of a class lie end to end, each slot's bytes where its extent says. There may be more
 * of them than slots: between tier_reserve and tier_set_slots by any number. */
static void check_extents(const struct tier *tier, uint32_t size_class)
{
    const struct tier_extents *extents = &tier->extents[size_class];
    const struct ring *ring = &tier->ring[size_class];
    uint8_t *const *bytes = tier->bytes + tier->first[size_class];
    uint64_t slot_bytes = store_class_slot_bytes(tier->store, size_class);
    uint32_t slots = 0;
    for (uint32_t i = 0; i < extents->count; i++) {
        const struct extent *extent = &extents->at[i];
        CHECK(extent->first == slots && extent->slots > 0);
        CHECK(extent->bytes == extent->slots * slot_bytes);
        for (uint32_t k = 0; k < extent->slots; k++)
            CHECK(bytes[slots + k] == extent->base + k * slot_bytes);
        slots += extent->slots;
    }
    CHECK(slots == extents->slots && slots >= ring->slots && slots <= ring->capacity);
    for (uint32_t i = 0; i < ring->capacity; i++) {
        CHECK(i < slots || !bytes[i]);
        uint64_t fence = tier->fence[tier->first[size_class] + i];
        CHECK(fence == 0 || (tier->place.on_device && i < slots &&
                             ring->slot[i].state != SLOT_READY));
    }
}

void tier_check(const struct tier *tier)
{
    uint32_t taken = 0, ready = 0, first = 0;
    uint64_t ready_bytes = 0;
    for (uint32_t c = 0; c < tier->classes; c++) {
        const struct ring *ring = &tier->ring[c];
        ring_check(ring);
        check_extents(tier, c);
        CHECK(tier->first[c] == first && ring->slot == tier->slot + first);
        first += ring->capacity;
        taken += ring->slots - ring->count[SLOT_FREE];
        ready += ring->count[SLOT_READY];
        ready_bytes += ring->count[SLOT_READY] * store_class_slot_bytes(tier->store, c);
    }
    CHECK(first == tier->capacity);
    CHECK(ready == tier->ready && ready_bytes == tier->ready_bytes);
    uint32_t found = 0;
    for (page_id page = 0; page < store_pages(tier->store); page++) {
        uint32_t slot = tier->slot_of[page];
        if (slot == TIER_NONE)
            continue;
        found++;
        CHECK(slot < tier->capacity && tier->slot[slot].page == page);
        uint32_t c = store_page(tier->store, page)->size_class;
        CHECK(slot >= tier->first[c] && slot - tier->first[c] < tier->ring[c].slots);
    }
    /* Each entry leads to a slot that holds its page, so equal counts make it a bijection. */
    CHECK(found == taken);
}
