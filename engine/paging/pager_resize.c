/* A pager and the number of slots it works with: read off at open, and again between two steps when
 * memory_resize has changed it. Pages left then without the pager's doing, and journeys ended, so
 * everybody who keeps books is told the whole state anew instead of each difference: it is
 * O(pages), and a resize is rare. What was learned stays. See expert_pager.h. */
#include "engine/paging/pager_state.h"
#include "memory/base/check.h"

struct pager_room pager_room_of(const struct memory *memory)
{
    const struct store *store = memory_store(memory);
    struct pager_room room = {.everything_fits = true};
    for (uint32_t c = 0; c < store_classes(store); c++) {
        room.slots += room.class_slots[c] = memory_slots(memory, MEMORY_DEVICE, c);
        room.everything_fits &= room.class_slots[c] >= store_class_pages(store, c);
    }
    return room;
}

enum status pager_choose_place(struct expert_pager *p, struct error *error)
{
    enum placement_mode mode = p->place_config.mode;
    bool in_vain = !p->host_compute || mode == PLACEMENT_DEVICE ||
                   (mode == PLACEMENT_AUTO && pager_room_of(p->memory).everything_fits);
    enum status status = STATUS_OK;
    if (!in_vain && !p->own_place)
        status = pager_place_open(&p->own_place, &p->place_config, error);
    p->place = in_vain ? NULL : p->own_place;
    return status;
}

void pager_tell_residency(struct expert_pager *p)
{
    for (int tier = 0; tier < MEMORY_TIERS; tier++)
        for (page_id page = 0; page < p->layers * p->experts; page++) {
            enum slot_state state = memory_where(p->memory, (enum memory_tier)tier, page);
            if (state != SLOT_LOADING)
                mover_resident(&p->mover, (enum memory_tier)tier, page, state == SLOT_READY);
        }
}

enum status pager_resized(struct expert_pager *p, struct error *error)
{
    struct pager_room room = pager_room_of(p->memory);
    CHECK(p->undone == 0);
    pager_settle(p, 0, NULL); /* first: policy and mover forget the guesses that were cancelled */
    enum status status = policy_resized(p->policy, room.slots, room.everything_fits, error);
    mover_resized(&p->mover);
    if (p->stream)
        stream_resized(p->stream, room.class_slots);
    pager_tell_residency(p);
    enum status placed = pager_choose_place(p, status == STATUS_OK ? error : NULL);
    if (p->own_place)
        pager_place_resized(p->own_place);
    return status == STATUS_OK ? placed : status;
}
