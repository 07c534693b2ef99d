/* The life of a slot: room for one page in a tier.
 *
 *             claim                 land
 *     FREE ----------> LOADING ------------> READY      pins only here
 *      ^                  |                    |
 *      |     fail         |      release       |
 *      +------------------+--------------------+        release only with no pins
 *
 * The table below is the whole truth; ring.c changes states through it and nowhere else. */
#ifndef MOERING_MEMORY_SLOT_H
#define MOERING_MEMORY_SLOT_H

#include <stdbool.h>
#include <stdint.h>

#include "memory/page.h"

#ifdef __cplusplus
extern "C" {
#endif

enum slot_state { SLOT_FREE, SLOT_LOADING, SLOT_READY, SLOT_STATES };
enum slot_change { SLOT_CLAIM, SLOT_LAND, SLOT_FAIL, SLOT_RELEASE, SLOT_CHANGES };

struct slot {
    page_id page;        /* PAGE_NONE iff FREE */
    uint32_t generation; /* goes up by one per claim and at no other time */
    uint32_t pins;       /* > 0 only while READY */
    uint32_t next_free;  /* the free list; meaningless otherwise */
    uint8_t state;       /* enum slot_state */
};

static inline const char *slot_state_name(enum slot_state state)
{
    return state == SLOT_FREE ? "FREE" : state == SLOT_LOADING ? "LOADING" : "READY";
}

/* The state after `change`, or SLOT_STATES where the change is illegal in `state`. */
static inline enum slot_state slot_next(enum slot_state state, enum slot_change change)
{
    static const uint8_t next[SLOT_STATES][SLOT_CHANGES] = {
        /*                 CLAIM         LAND         FAIL         RELEASE */
        /* FREE    */ {SLOT_LOADING, SLOT_STATES, SLOT_STATES, SLOT_STATES},
        /* LOADING */ {SLOT_STATES, SLOT_READY, SLOT_FREE, SLOT_STATES},
        /* READY   */ {SLOT_STATES, SLOT_STATES, SLOT_STATES, SLOT_FREE},
    };
    return (enum slot_state)next[state][change];
}

#ifdef __cplusplus
}
#endif
#endif
