/* What a pager is made of, for the files that are its methods: expert_pager.c serves requests,
 * pager_resize.c follows the numbers of slots, pager_figures.c tells of it. Nobody else includes
 * this. */
#ifndef MOERING_ENGINE_PAGING_PAGER_STATE_H
#define MOERING_ENGINE_PAGING_PAGER_STATE_H

#include "engine/paging/expert_pager.h"
#include "engine/paging/mover.h"
#include "engine/paging/pager_place.h"

#ifdef __cplusplus
extern "C" {
#endif

enum want_state {
    WANT_WAITING, WANT_LOADING, WANT_READY, WANT_AT_HOST, WANT_GIVEN, WANT_DONE
};

struct want {
    page_id page;
    enum want_state state;
    bool missed;         /* was not READY when asked for */
    bool joined;         /* LOADING by a read that began before it was asked for */
    bool at_host;        /* pinned in the host tier, not on the device */
    const uint8_t *slot; /* while pinned */
    uint64_t bytes;
};

/* What a layer's requests met; the rest of expert_tier_usage is known to others. */
struct pager_asked {
    uint64_t hits, misses;           /* of the device tier */
    uint64_t host_hits, host_misses; /* of those misses */
};

struct expert_pager {
    struct memory *memory;
    struct policy *policy;
    struct stream *stream;     /* NULL: off */
    struct pager_place *place; /* NULL: nothing runs on the host; else own_place */
    struct pager_place *own_place; /* NULL: it was never of use */
    struct pager_place_config place_config; /* to open it when it is */
    bool host_compute;         /* somebody would compute what lies on the host */
    struct mover mover;
    struct expert_map *map;
    struct pager_asked *asked; /* [layers] */
    uint64_t *evictions;       /* [layers][MEMORY_TIERS] */
    uint64_t *fence;           /* [layers] of the newest work that may read a page of the layer */
    bool streams;              /* the step at hand loads whole layers */
    uint32_t layers, experts;
    struct want *wants;        /* [experts] of the request at hand */
    uint32_t want_count;
    uint32_t undone;           /* wants not DONE */
    uint32_t failed;           /* the first want whose page could not be read; want_count: none */
    uint32_t *want_of;         /* [experts] of the layer at hand: index + 1 into wants, 0: none */
    uint32_t layer;
    struct pager_counters counters;
    /* Measuring. */
    uint64_t asked_ns;         /* when the request at hand began; 0: nothing to measure from */
    uint64_t asked_stall_ns;   /* counters.stall_ns then */
    uint64_t waiting_since_ns; /* the newest arrival or start of waiting of this request */
    struct stream_spent spent; /* of the step at hand; ns: when it began */
    uint64_t begin_arrived;
};

/* The device tier as it is now. */
struct pager_room {
    uint32_t slots, class_slots[STORE_CLASSES_MAX];
    bool everything_fits; /* every page has a slot */
};

struct pager_room pager_room_of(const struct memory *memory);
/* Sets `place`, by the room there is: opened when host computing is of use for the first time, put
 * aside with what it has learned while it is not. NO_MEMORY: the pager works on without it. */
enum status pager_choose_place(struct expert_pager *pager, struct error *error);
/* Tells everybody who keeps books of it where each page is; one on its way is told of when it
 * comes. */
void pager_tell_residency(struct expert_pager *pager);
/* Takes in arrivals, waiting up to wait_ns for one, and starts what can be started. IO: a page of
 * the request at hand could not be read. */
enum status pager_settle(struct expert_pager *pager, uint64_t wait_ns, struct error *error);

#ifdef __cplusplus
}
#endif
#endif
