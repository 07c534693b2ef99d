/* Slots change state here and only by the table of slot.h.
 *
 * Free slots form a list through the slots themselves (claim is O(1)); the hand is a plain index
 * that goes round in slot order. One thread, the engine's. Invariant (ring_check): each present
 * slot is in one state, counted; the list holds those that are FREE exactly; pins only on READY
 * slots; the slots behind the present ones are FREE. */
#include "memory/ring.h"

#include "memory/base/check.h"

static void checked(const struct ring *ring)
{
#ifdef MOERING_DEBUG_CHECKS
    ring_check(ring);
#else
    (void)ring;
#endif
}

void ring_init(struct ring *ring, struct slot *slot, uint32_t capacity)
{
    *ring = (struct ring){.slot = slot, .capacity = capacity, .free_head = RING_NONE};
    for (uint32_t i = 0; i < capacity; i++)
        slot[i] = (struct slot){.page = PAGE_NONE};
    checked(ring);
}

void ring_resize(struct ring *ring, uint32_t slots)
{
    CHECK(slots <= ring->capacity);
    for (uint32_t i = slots; i < ring->slots; i++)
        CHECK_MSG(ring->slot[i].state == SLOT_FREE, "slot %u of page %u is %s", i,
                  ring->slot[i].page, slot_state_name((enum slot_state)ring->slot[i].state));
    ring->count[SLOT_FREE] = ring->count[SLOT_FREE] + slots - ring->slots;
    ring->slots = slots;
    if (ring->hand >= slots)
        ring->hand = 0;
    ring->free_head = RING_NONE; /* the list anew, the first slot first */
    for (uint32_t i = slots; i-- > 0;)
        if (ring->slot[i].state == SLOT_FREE) {
            ring->slot[i].next_free = ring->free_head;
            ring->free_head = i;
        }
    checked(ring);
}

static struct slot *change(struct ring *ring, uint32_t at, enum slot_change how)
{
    CHECK(at < ring->slots);
    struct slot *slot = &ring->slot[at];
    enum slot_state from = (enum slot_state)slot->state, to = slot_next(from, how);
    CHECK_MSG(to != SLOT_STATES, "slot %u of page %u is %s", at, slot->page, slot_state_name(from));
    slot->state = (uint8_t)to;
    ring->count[from]--;
    ring->count[to]++;
    return slot;
}

static void put_on_free_list(struct ring *ring, uint32_t at)
{
    ring->slot[at].page = PAGE_NONE;
    ring->slot[at].next_free = ring->free_head;
    ring->free_head = at;
}

uint32_t ring_claim(struct ring *ring, page_id page)
{
    uint32_t at = ring->free_head;
    if (at == RING_NONE)
        return RING_NONE;
    struct slot *slot = change(ring, at, SLOT_CLAIM);
    ring->free_head = slot->next_free;
    slot->page = page;
    slot->generation++;
    checked(ring);
    return at;
}

void ring_land(struct ring *ring, uint32_t slot)
{
    change(ring, slot, SLOT_LAND);
    checked(ring);
}

void ring_fail(struct ring *ring, uint32_t slot)
{
    change(ring, slot, SLOT_FAIL);
    put_on_free_list(ring, slot);
    checked(ring);
}

void ring_release(struct ring *ring, uint32_t slot)
{
    struct slot *released = change(ring, slot, SLOT_RELEASE);
    CHECK_MSG(released->pins == 0, "slot %u of page %u has %u pins", slot, released->page,
              released->pins);
    put_on_free_list(ring, slot);
    checked(ring);
}

void ring_pin(struct ring *ring, uint32_t slot)
{
    CHECK(slot < ring->slots && ring->slot[slot].state == SLOT_READY);
    CHECK(ring->slot[slot].pins < UINT32_MAX);
    ring->slot[slot].pins++;
    checked(ring);
}

void ring_unpin(struct ring *ring, uint32_t slot)
{
    CHECK(slot < ring->slots && ring->slot[slot].pins > 0);
    ring->slot[slot].pins--;
    checked(ring);
}

uint32_t ring_sweep(struct ring *ring)
{
    if (ring->count[SLOT_READY] == 0)
        return RING_NONE;
    for (uint32_t steps = 0; steps < ring->slots; steps++) {
        uint32_t at = ring->hand;
        ring->hand = at + 1 < ring->slots ? at + 1 : 0;
        if (ring->slot[at].state == SLOT_READY && ring->slot[at].pins == 0)
            return at;
    }
    return RING_NONE;
}

void ring_check(const struct ring *ring)
{
    uint32_t count[SLOT_STATES] = {0};
    CHECK(ring->slots <= ring->capacity);
    CHECK(ring->hand < ring->slots || (ring->slots == 0 && ring->hand == 0));
    for (uint32_t i = 0; i < ring->capacity; i++) {
        const struct slot *slot = &ring->slot[i];
        CHECK(slot->state < SLOT_STATES);
        CHECK((slot->page == PAGE_NONE) == (slot->state == SLOT_FREE));
        CHECK(slot->pins == 0 || slot->state == SLOT_READY);
        CHECK(slot->generation > 0 || slot->state == SLOT_FREE);
        CHECK(i < ring->slots || slot->state == SLOT_FREE);
        count[slot->state] += i < ring->slots;
    }
    for (int state = 0; state < SLOT_STATES; state++)
        CHECK(count[state] == ring->count[state]);
    /* As many steps as there are FREE slots, all onto FREE slots, then the end: a list with a loop
     * or a slot missing fails one of the three. */
    uint32_t at = ring->free_head;
    for (uint32_t i = 0; i < count[SLOT_FREE]; i++) {
        CHECK(at < ring->slots && ring->slot[at].state == SLOT_FREE);
        at = ring->slot[at].next_free;
    }
    CHECK(at == RING_NONE);
}
