/* Front door of memory/: pages travel between storage, host memory and the device ring.
 *
 * Knows bytes, not experts, and has no policy: what to fetch, when, and what to throw out is
 * decided by the caller (engine/paging). One thread, the engine's, calls everything here; reads run
 * on an IO thread or a copy stream and their ends are taken in by memory_poll.
 *
 *     storage --(io)--> host tier --(device copy)--> device tier          with a host tier
 *     storage --(io)--------------------------------> device tier         without, device_host only
 *
 * A slot is FREE, LOADING or READY; only READY slots are pinned, only unpinned READY slots are
 * evicted, and eviction is a table update because weights are read-only (memory_check verifies). */
#ifndef MOERING_MEMORY_MEMORY_H
#define MOERING_MEMORY_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "memory/base/status.h"
#include "memory/page.h"
#include "memory/slot.h" /* enum slot_state; of a page, FREE means not there */
#include "memory/store.h"

#ifdef __cplusplus
extern "C" {
#endif

struct memory;
struct device; /* memory/device.h */
struct io;     /* memory/io.h */

enum memory_tier { MEMORY_HOST, MEMORY_DEVICE, MEMORY_TIERS };
enum urgency { URGENCY_DEMAND, URGENCY_PREFETCH };
/* How pages are read: through a ring of the kernel's, on a pool of threads, or inside the fetch
 * (for debugging: one order, the same every time). AUTO: the ring where there is one. */
enum io_kind { IO_AUTO, IO_URING, IO_THREAD, IO_SYNC };
/* Past the page cache: AUTO, unless IO_SYNC reads or the file system refuses. OFF is for whoever
 * wants the cache: where nearly the whole file fits into memory that nothing else takes. */
enum direct_reads { DIRECT_AUTO, DIRECT_ON, DIRECT_OFF };

/* How many slots a tier gets in each size class; see memory/budget.h for how flags become this. */
struct tier_slots {
    uint32_t of_class[STORE_CLASSES_MAX];
};

struct memory_config {
    struct tier_slots slots[MEMORY_TIERS]; /* no host slots at all: no host tier; more than a class
                                            * has pages: as many as pages */
    enum io_kind io;
    enum direct_reads direct;
    uint32_t io_threads;     /* for IO_THREAD; 0: 2 */
    uint32_t io_depth;       /* pages being read at once, half of them prefetch at most; 0: 8, or
                              * two for each thread or read call under way where that is more */
    uint32_t io_queue_depth; /* for IO_URING: read calls under way at once; 0: as many as a probe at
                              * open finds to be enough */
    struct device *device;   /* owned by the memory once open succeeds */
    uint32_t prefetch_queue; /* prefetches that may wait for their turn; 0: 64 */
    bool lock_host;          /* mlock the host tier; if refused, one line in the log. With a device
                              * that copies by itself the tier is page-locked for it as well */
    struct io *custom_io;    /* NULL: made after `io`. Owned once open succeeds */
};

/* What became of `io`, `direct` and the depths. */
struct memory_reading {
    char name[32];          /* "uring+direct", "uring", "thread+direct", "thread", "sync", ... */
    char note[320];         /* one sentence: why it is not better. Empty: nothing to tell */
    uint32_t depth;         /* pages being read at once */
    uint32_t queue_depth;   /* read calls at once */
    double probed_rate;     /* of storage, bytes per second; 0: not probed */
    uint64_t staging_bytes; /* memory that reads are staged in */
};

/* One asynchronous journey of a page into a tier. The generation tells a finished one from a newer
 * one in the same place. */
struct transfer {
    uint32_t index;
    uint32_t generation;
};

/* A journey's end, as told by memory_poll. */
struct memory_event {
    page_id page;
    enum memory_tier tier;
    enum status status; /* OK: READY now. The slot is FREE again: IO, see memory_error; CANCELLED,
                         * memory_resize has taken it away */
    enum urgency urgency;
    uint64_t bytes;     /* read from storage for it; all events together: storage_bytes */
    struct transfer transfer;
};

struct memory_counters {
    uint64_t storage_bytes;                /* of pages, read from files */
    uint64_t storage_rounding_bytes;       /* read besides: what direct reads are rounded to, gaps
                                            * between parts read in one go */
    uint64_t storage_reads;                /* read calls */
    uint64_t device_bytes;                 /* copied host -> device tier */
    uint64_t fetches[2];                   /* journeys started, by the urgency they started with */
    uint64_t failures, cancelled;          /* journeys that ended this way */
    uint64_t evictions[MEMORY_TIERS];
    uint32_t ready[MEMORY_TIERS];          /* pages READY now */
    uint64_t ready_bytes[MEMORY_TIERS];    /* of their slots, padding included */
    uint32_t in_flight, queued[2];         /* reads and copies: under way; waiting, by urgency */
};

/* Takes over `store` (sealed) and config->device on success only. INVALID: a size class without a
 * device slot, or without a host slot where there is a host tier; no host tier and a device that
 * storage cannot be read into. NO_MEMORY: a tier does not fit (bytes named). IO: no IO thread could
 * be started. UNSUPPORTED: IO_URING or DIRECT_ON was asked for and the system refuses; the error
 * says why. */
enum status memory_open(struct memory **out, struct store *store,
                        const struct memory_config *config, struct error *error);
/* Waits for reads under way. Accepts NULL. */
void memory_close(struct memory *memory);

const struct store *memory_store(const struct memory *memory);
/* What memory_open takes beside the slots to stage reads in, at the most: a term of the budget. */
uint64_t memory_staging_bytes(const struct store *store, const struct memory_config *config);
/* How it reads. */
const struct memory_reading *memory_reads(const struct memory *memory);
bool memory_has_host(const struct memory *memory);
uint32_t memory_slots(const struct memory *memory, enum memory_tier tier, uint32_t size_class);

/* Where a page stands in a tier. */
enum slot_state memory_where(const struct memory *memory, enum memory_tier tier, page_id page);

/* Starts bringing a page into `tier` (the device tier by way of the host tier where there is one).
 * OK: under way, or raised from prefetch to demand if it was already (then *transfer is that one).
 * Storage serves demand: a prefetch read that has begun pauses while demand reads are under way, at
 * the next chunk (IO_CHUNK_BYTES), and goes on when they have ended or when it is raised.
 * FULL: no FREE slot in tier *lacking for the page's class (evict one there and call again), or,
 * for prefetch, no room in the queue (*lacking = MEMORY_TIERS). Nothing has changed then.
 * The page must not be READY in `tier`. `transfer` and `lacking` may be NULL. */
enum status memory_fetch(struct memory *memory, enum memory_tier tier, page_id page,
                         enum urgency urgency, struct transfer *transfer,
                         enum memory_tier *lacking);
/* Takes back a journey for which nothing has started, neither read nor copy; its slots are FREE
 * again, except a host slot that a journey to the device waits for. FULL: too late, it will end by
 * an event. NOT_FOUND: it has ended already. */
enum status memory_cancel(struct memory *memory, struct transfer transfer);

/* Takes in completed reads and copies, starts queued ones (demand first). Waits up to `wait_ns` for
 * the first end if none is there and something is under way. Returns how many events were written
 * (<= max); more may wait for the next call. The event of a failure is the last that its call
 * writes, so that memory_error is about this one. */
uint32_t memory_poll(struct memory *memory, uint64_t wait_ns, struct memory_event *events,
                     uint32_t max);
/* The sentence of the newest failed read: file, offset, cause. Empty before the first. */
const char *memory_error(const struct memory *memory);

/* Pins a READY page of the device tier and returns the start of its slot (PAGE_PART_ALIGN-aligned,
 * in device memory). Parts lie at store_page(...)->part[i].slot_offset. Pins nest. */
const uint8_t *memory_pin(struct memory *memory, page_id page);
void memory_unpin(struct memory *memory, page_id page);
uint32_t memory_pins(const struct memory *memory, page_id page);
/* The same for the host tier, for who computes on the host: ordinary memory. */
const uint8_t *memory_pin_host(struct memory *memory, page_id page);
void memory_unpin_host(struct memory *memory, page_id page);

/* The next page, by the ring's hand, that could be evicted: READY, no pins, not the source of a
 * copy queued or under way. PAGE_NONE: none. The hand goes round in slot order: who calls until the
 * first answer comes back has seen each such page once, in as many steps as there are slots. */
page_id memory_sweep(struct memory *memory, enum memory_tier tier, uint32_t size_class);
/* May this page be evicted from the tier now: READY, no pins, not the source of a copy? */
bool memory_evictable(const struct memory *memory, enum memory_tier tier, page_id page);
/* READY and unpinned -> FREE. */
void memory_evict(struct memory *memory, enum memory_tier tier, page_id page);
/* The same from the device tier where the device's processor may still read the page: nothing is
 * written into its slot before this fence (device.h) is reached. */
void memory_evict_after(struct memory *memory, page_id page, uint64_t fence);

/* Told, from inside the calls above, of each page that becomes READY in the device tier, with its
 * slot, and of each that leaves it, with NULL. One listener; told of what is there already. */
struct memory_listener {
    void *self;
    void (*moved)(void *self, page_id page, const uint8_t *slot);
};
void memory_listen(struct memory *memory, struct memory_listener listener);

/* Gives a tier other numbers of slots, each class at least 1 and at most its pages (CHECKed). No
 * page of the tier may be pinned. Pages in the slots that go leave; journeys that need such a slot
 * end: what waits is taken back, what is under way is waited for, and memory_poll tells of them as
 * CANCELLED (a copy out of a host slot that goes ends well). `fence`: as memory_evict_after, for
 * all pages that leave. Memory goes back in whole allocations of about 64 MiB; up to one for each
 * class stays for the next growing. NO_MEMORY: the new slots do not fit, bytes named; nothing has
 * changed. */
enum status memory_resize(struct memory *memory, enum memory_tier tier,
                          const struct tier_slots *slots, uint64_t fence, struct error *error);

#ifdef __cplusplus /* a struct and a function of one name: C++ warns, and means well */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"
#endif
void memory_counters(const struct memory *memory, struct memory_counters *out);
#ifdef __cplusplus
#pragma GCC diagnostic pop
#endif
/* CHECKs every invariant of every tier, ring, table and queue. Runs after each mutation in builds
 * with MOERING_DEBUG_CHECKS. */
void memory_check(const struct memory *memory);

#ifdef __cplusplus
}
#endif
#endif
