/* Journeys of pages between storage, host memory and the device: which are wanted, which are under
 * way, which have ended. The front door (memory.c) owns one and passes everything through.
 *
 * A journey lives exactly as long as its slot is LOADING, so it is kept beside the slot: no pool
 * that could run out, and the slot's generation is the transfer's. */
#ifndef MOERING_MEMORY_COPY_H
#define MOERING_MEMORY_COPY_H

#include <stdbool.h>
#include <stdint.h>

#include "memory/device.h"
#include "memory/io.h"
#include "memory/memory.h"
#include "memory/tier.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Copies into the device that may be under way at once. Copies end in order, so each prefetched one
 * delays a demand copy behind it: two hide the launch of the next, more would only add delay. */
#define COPY_DEVICE_DEPTH 2

enum copy_stage {
    COPY_NONE,        /* the slot is not LOADING */
    COPY_READ_QUEUED, /* waits for its turn to be read from storage */
    COPY_READING,
    COPY_WAITING,     /* device: its page is on its way into the host tier */
    COPY_QUEUED,      /* device: its page is READY and pinned in the host tier; for its turn */
    COPY_COPYING,
};

#define COPY_NOBODY UINT32_MAX
/* The most events that one end makes: the host tier's and the device's. */
#define COPY_EVENTS 2

/* Indexed by slot, present or not: the device's slots first, then the host's. */
struct copy_journey {
    uint8_t stage;   /* enum copy_stage */
    uint8_t urgency; /* enum urgency */
    bool asked;      /* the caller wants its event; false: a host stage of a device journey only */
    uint32_t next, previous; /* in the list it waits in */
    uint64_t ticket; /* COPYING */
    uint64_t bytes;  /* read from storage on its behalf */
};

struct copy_list {
    uint32_t head, tail, count;
};

struct copies {
    const struct store *store;
    struct tier *tier[MEMORY_TIERS]; /* HOST is NULL without a host tier */
    struct io *io;
    struct device *device;
    uint32_t io_depth, prefetch_queue_max;

    struct copy_journey *journey;
    uint32_t journeys;
    struct copy_list reads[2];    /* READ_QUEUED, by urgency */
    struct copy_list copies[2];   /* QUEUED, by urgency */
    struct copy_list copying;     /* COPYING, in the order of their tickets */
    uint32_t reading;             /* READING */
    uint64_t ticket_seen;         /* newest that the device has reported */

    struct memory_event *pending; /* noted, not delivered: from `delivered` to pending_count */
    uint32_t pending_count, delivered;
    uint32_t pending_room; /* COPY_EVENTS, more after copy_clear */
    struct io_done *aside; /* io_depth; ends of reads that copy_clear took in while it waited */
    uint32_t aside_count;  /* these are still counted as reading */

    uint64_t storage_bytes, storage_rounding_bytes, storage_reads, device_bytes;
    uint64_t fetches[2], completed, failures, cancelled;
    struct error error;
};

struct copy_config {
    const struct store *store;
    struct tier *host; /* NULL: none */
    struct tier *device_tier;
    struct io *io;
    struct device *device;
    uint32_t io_depth, prefetch_queue_max; /* > 0 */
};

/* Everything in the config is lent. NO_MEMORY. */
enum status copy_open(struct copies *copies, const struct copy_config *config, struct error *error);
/* Waits for what is under way; drops what waits. Accepts a zeroed one. */
void copy_close(struct copies *copies);

/* The contracts are memory_fetch's, memory_cancel's and memory_poll's. */
enum status copy_fetch(struct copies *copies, enum memory_tier tier, page_id page,
                       enum urgency urgency, struct transfer *transfer, enum memory_tier *lacking);
enum status copy_cancel(struct copies *copies, struct transfer transfer);
uint32_t copy_poll(struct copies *copies, uint64_t wait_ns, struct memory_event *events,
                   uint32_t max);

/* Empties every slot of a tier that it has no more once it has these numbers of slots: journeys
 * that need such a slot end as CANCELLED (those that wait at once, those that are under way when
 * storage or the device is done with the slot), READY pages are evicted after the fence. NO_MEMORY:
 * for the events; nothing has changed. */
enum status copy_clear(struct copies *copies, enum memory_tier tier,
                       const struct tier_slots *slots, uint64_t fence, struct error *error);

/* The pins in the host tier that are sources of copies; O(pages). */
uint32_t copy_sources(const struct copies *copies);
/* CHECKs every invariant of journeys and queues, not of the tiers; O(pages). In copy_check.c. */
void copy_check(const struct copies *copies);

#ifdef __cplusplus
}
#endif
#endif
