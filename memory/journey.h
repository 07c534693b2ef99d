/* One journey of a page: how it is named, the list it waits in, its end. What copy.c, copy_clear.c
 * and copy_check.c share; nobody else includes this. A journey is known by its index in
 * copies->journey (`at`): the device's slots first, then the host's, present or not. */
#ifndef MOERING_MEMORY_JOURNEY_H
#define MOERING_MEMORY_JOURNEY_H

#include "memory/copy.h"

#ifdef __cplusplus
extern "C" {
#endif

static inline enum memory_tier journey_tier(const struct copies *copies, uint32_t at)
{
    return at < copies->tier[MEMORY_DEVICE]->capacity ? MEMORY_DEVICE : MEMORY_HOST;
}

/* The number of its slot in its tier. */
static inline uint32_t journey_slot(const struct copies *copies, uint32_t at)
{
    uint32_t device_slots = copies->tier[MEMORY_DEVICE]->capacity;
    return at < device_slots ? at : at - device_slots;
}

static inline page_id journey_page(const struct copies *copies, uint32_t at)
{
    return copies->tier[journey_tier(copies, at)]->slot[journey_slot(copies, at)].page;
}

/* Is a page on its way into a tier, which may be missing? */
static inline bool journey_loading(const struct copies *copies, enum memory_tier tier, page_id page)
{
    return copies->tier[tier] && tier_where(copies->tier[tier], page) == SLOT_LOADING;
}

/* The journey of a page into a tier; the page is LOADING there. */
uint32_t journey_of(const struct copies *copies, enum memory_tier tier, page_id page);
struct transfer journey_handle(const struct copies *copies, uint32_t at);

/* Puts a journey at the end of a list, and takes it out. */
void journey_push(struct copies *copies, struct copy_list *list, uint32_t at);
void journey_remove(struct copies *copies, struct copy_list *list, uint32_t at);
/* The queue it waits in, NULL if it waits in none. */
struct copy_list *journey_queue(struct copies *copies, const struct copy_journey *journey);

/* Out of its queue, and its source unpinned: nothing of it waits any more. */
void journey_leave_queue(struct copies *copies, uint32_t at);
/* Puts a journey that is in no list to rest: its slot is READY, or FREE where status is not OK.
 * Where the caller asked for it, notes its event. */
void journey_end(struct copies *copies, uint32_t at, enum status status);
/* Counts a read that has ended and gives its bytes to the journey that asked for it. Returns the
 * device journey that waits for the page of this host journey; COPY_NOBODY: none. */
uint32_t journey_count_read(struct copies *copies, const struct io_done *done);

#ifdef __cplusplus
}
#endif
#endif
