/* The front door: puts store, tiers, copies, IO and device together and takes them apart again.
 * Decides nothing; what it adds to the parts is ownership, the contract checks of memory.h and the
 * whole-structure check after each mutation in debug builds. One thread, the engine's. */
#include "memory/memory.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "memory/base/bytes.h"
#include "memory/base/check.h"
#include "memory/copy.h"
#include "memory/device.h"
#include "memory/io_open.h"
#include "memory/tier.h"
#include "memory/touch.h"

struct memory {
    struct store *store;
    struct device *device;
    struct io *custom_io; /* NULL: `io` reads */
    struct io_opened io;
    struct touch *touch; /* NULL: nothing is being touched */
    bool has_host;
    struct tier tier[MEMORY_TIERS]; /* HOST is zeroed without a host tier */
    struct copies copies;
    uint32_t host_pins; /* the caller's; the others there are sources of copies */
};

static void checked(const struct memory *memory)
{
#ifdef MOERING_DEBUG_CHECKS
    memory_check(memory);
#else
    (void)memory;
#endif
}

static bool any_slots(const struct store *store, const struct tier_slots *slots)
{
    for (uint32_t c = 0; c < store_classes(store); c++)
        if (slots->of_class[c] > 0)
            return true;
    return false;
}

static enum status check_slots(const struct store *store, const struct memory_config *config,
                               bool has_host, struct error *error)
{
    static const char *const names[] = {"host", "device"};
    for (uint32_t c = 0; c < store_classes(store); c++)
        for (int tier = has_host ? MEMORY_HOST : MEMORY_DEVICE; tier < MEMORY_TIERS; tier++)
            if (config->slots[tier].of_class[c] == 0)
                return error_set(error, STATUS_INVALID,
                                 "the %s tier has no slot for the %u pages of %" PRIu64 " bytes",
                                 names[tier], store_class_pages(store, c),
                                 store_class_slot_bytes(store, c));
    if (!has_host && !config->device->ops->host_visible)
        return error_set(error, STATUS_INVALID,
                         "the %s device cannot be read into from storage: it needs a host tier",
                         config->device->ops->name);
    return STATUS_OK;
}

/* A class has no use for more slots than it has pages. */
static enum status open_tier(struct memory *memory, enum memory_tier tier,
                             const struct memory_config *config, struct error *error)
{
    struct tier_slots slots = config->slots[tier];
    for (uint32_t c = 0; c < store_classes(memory->store); c++)
        if (slots.of_class[c] > store_class_pages(memory->store, c))
            slots.of_class[c] = store_class_pages(memory->store, c);
    struct extent_place place = {.device = memory->device,
                                 .on_device = tier == MEMORY_DEVICE,
                                 .lock = tier == MEMORY_HOST && config->lock_host};
    return tier_open(&memory->tier[tier], memory->store, &slots, &place, error);
}

static struct io_choice choice_of(const struct store *store, const struct memory_config *config)
{
    return (struct io_choice){
        .store = store,
        .kind = config->io,
        .direct = config->direct,
        .threads = config->io_threads,
        .depth = config->io_depth,
        .queue_depth = config->io_queue_depth,
    };
}

uint64_t memory_staging_bytes(const struct store *store, const struct memory_config *config)
{
    struct io_choice choice = choice_of(store, config);
    return config->custom_io ? 0 : io_open_staging_bytes(&choice);
}

static enum status open_io(struct memory *memory, const struct memory_config *config,
                           struct error *error)
{
    struct io_choice choice = choice_of(memory->store, config);
    if (!config->custom_io)
        return io_open(&memory->io, &choice, error);
    memory->custom_io = config->custom_io;
    struct memory_reading *told = &memory->io.told;
    told->queue_depth = config->io_threads ? config->io_threads : IO_OPEN_THREADS;
    told->depth = io_open_depth(config->io_depth, told->queue_depth);
    snprintf(told->name, sizeof told->name, "%s", memory->custom_io->ops->name);
    return STATUS_OK;
}

static enum status open_copies(struct memory *memory, const struct memory_config *config,
                               struct error *error)
{
    struct copy_config copy = {
        .store = memory->store,
        .host = memory->has_host ? &memory->tier[MEMORY_HOST] : NULL,
        .device_tier = &memory->tier[MEMORY_DEVICE],
        .device = memory->device,
        .io = memory->custom_io ? memory->custom_io : memory->io.io,
        .io_depth = memory->io.told.depth,
        .prefetch_queue_max = config->prefetch_queue ? config->prefetch_queue : 64,
    };
    return copy_open(&memory->copies, &copy, error);
}

/* Less is touched by its first reads as quickly. */
#define TOUCH_BYTES_LEAST (256 * BYTES_MIB)

/* Starts to touch the slots that are ordinary memory. Only a help: no memory for it, no
 * touching. */
static void touch_slots(struct memory *memory)
{
    uint32_t count = 0;
    uint64_t bytes = 0;
    struct touch_stretch *stretches = NULL;
    for (int t = 0; t < MEMORY_TIERS; t++) {
        const struct tier *tier = &memory->tier[t];
        if (t == MEMORY_DEVICE && !memory->device->ops->host_visible)
            continue;
        for (uint32_t c = 0; c < tier->classes; c++) {
            const struct tier_extents *extents = &tier->extents[c];
            struct touch_stretch *more =
                reallocarray(stretches, (size_t)count + extents->count + 1, sizeof *stretches);
            if (!more)
                goto done;
            stretches = more;
            for (uint32_t i = 0; i < extents->count; i++) {
                const struct extent *extent = &extents->at[i];
                stretches[count++] = (struct touch_stretch){extent->base, extent->bytes};
                bytes += extent->bytes;
            }
        }
    }
    if (bytes >= TOUCH_BYTES_LEAST)
        touch_start(&memory->touch, stretches, count, NULL);
done:
    free(stretches);
}

/* What memory_open makes; extents go back to the device before it is closed. */
static void close_parts(struct memory *memory)
{
    touch_stop(memory->touch);
    copy_close(&memory->copies); /* waits, so before what it writes into goes */
    io_close(memory->custom_io);
    io_opened_close(&memory->io);
    tier_close(&memory->tier[MEMORY_DEVICE]);
    tier_close(&memory->tier[MEMORY_HOST]);
}

enum status memory_open(struct memory **out, struct store *store,
                        const struct memory_config *config, struct error *error)
{
    CHECK(store && config->device);
    *out = NULL;
    struct memory *memory = calloc(1, sizeof *memory);
    if (!memory)
        return error_set(error, STATUS_NO_MEMORY, "no memory for the tiers");
    memory->store = store;
    memory->device = config->device;
    memory->has_host = any_slots(store, &config->slots[MEMORY_HOST]);
    enum status status = check_slots(store, config, memory->has_host, error);
    if (status == STATUS_OK && memory->has_host)
        status = open_tier(memory, MEMORY_HOST, config, error);
    if (status == STATUS_OK)
        status = open_tier(memory, MEMORY_DEVICE, config, error);
    if (status == STATUS_OK)
        status = open_io(memory, config, error);
    if (status == STATUS_OK)
        status = open_copies(memory, config, error);
    if (status)
        goto fail;
    touch_slots(memory);
    checked(memory);
    *out = memory;
    return STATUS_OK;
fail:
    memory->custom_io = NULL;
    close_parts(memory); /* what was lent stays the caller's */
    free(memory);
    return status;
}

void memory_close(struct memory *memory)
{
    if (!memory)
        return;
    close_parts(memory);
    device_close(memory->device);
    store_close(memory->store);
    free(memory);
}

/* NULL: there is no such tier. */
static struct tier *tier_at(struct memory *memory, enum memory_tier tier)
{
    CHECK(tier == MEMORY_HOST || tier == MEMORY_DEVICE);
    return tier == MEMORY_HOST && !memory->has_host ? NULL : &memory->tier[tier];
}

const struct store *memory_store(const struct memory *memory)
{
    return memory->store;
}

const struct memory_reading *memory_reads(const struct memory *memory)
{
    return &memory->io.told;
}

bool memory_has_host(const struct memory *memory)
{
    return memory->has_host;
}

uint32_t memory_slots(const struct memory *memory, enum memory_tier tier, uint32_t size_class)
{
    CHECK(tier < MEMORY_TIERS && size_class < store_classes(memory->store));
    return memory->tier[tier].ring[size_class].slots;
}

enum slot_state memory_where(const struct memory *memory, enum memory_tier tier, page_id page)
{
    CHECK(tier < MEMORY_TIERS && page < store_pages(memory->store));
    if (tier == MEMORY_HOST && !memory->has_host)
        return SLOT_FREE;
    return tier_where(&memory->tier[tier], page);
}

enum status memory_fetch(struct memory *memory, enum memory_tier tier, page_id page,
                         enum urgency urgency, struct transfer *transfer, enum memory_tier *lacking)
{
    enum status status =
        copy_fetch(&memory->copies, tier, page, urgency, transfer, lacking);
    checked(memory);
    return status;
}

enum status memory_cancel(struct memory *memory, struct transfer transfer)
{
    enum status status = copy_cancel(&memory->copies, transfer);
    checked(memory);
    return status;
}

uint32_t memory_poll(struct memory *memory, uint64_t wait_ns, struct memory_event *events,
                     uint32_t max)
{
    uint32_t count = copy_poll(&memory->copies, wait_ns, events, max);
    checked(memory);
    return count;
}

const char *memory_error(const struct memory *memory)
{
    return memory->copies.error.text;
}

const uint8_t *memory_pin(struct memory *memory, page_id page)
{
    tier_pin(&memory->tier[MEMORY_DEVICE], page);
    checked(memory);
    return tier_bytes(&memory->tier[MEMORY_DEVICE], page);
}

void memory_unpin(struct memory *memory, page_id page)
{
    tier_unpin(&memory->tier[MEMORY_DEVICE], page);
    checked(memory);
}

uint32_t memory_pins(const struct memory *memory, page_id page)
{
    return tier_pins(&memory->tier[MEMORY_DEVICE], page);
}

/* A page of the host tier is pinned once while it is the source of a copy. */
static uint32_t source_pins(const struct memory *memory, page_id page)
{
    return tier_where(&memory->tier[MEMORY_HOST], page) == SLOT_READY &&
           tier_where(&memory->tier[MEMORY_DEVICE], page) == SLOT_LOADING;
}

const uint8_t *memory_pin_host(struct memory *memory, page_id page)
{
    CHECK(memory->has_host);
    tier_pin(&memory->tier[MEMORY_HOST], page);
    memory->host_pins++;
    checked(memory);
    return tier_bytes(&memory->tier[MEMORY_HOST], page);
}

void memory_unpin_host(struct memory *memory, page_id page)
{
    CHECK(memory->has_host);
    CHECK_MSG(tier_pins(&memory->tier[MEMORY_HOST], page) > source_pins(memory, page),
              "page %u has no pin of the caller's in the host tier", page);
    tier_unpin(&memory->tier[MEMORY_HOST], page);
    memory->host_pins--;
    checked(memory);
}

page_id memory_sweep(struct memory *memory, enum memory_tier tier, uint32_t size_class)
{
    struct tier *swept = tier_at(memory, tier);
    return swept ? tier_sweep(swept, size_class) : PAGE_NONE;
}

bool memory_evictable(const struct memory *memory, enum memory_tier tier, page_id page)
{
    const struct tier *at = tier_at((struct memory *)memory, tier);
    return at && tier_where(at, page) == SLOT_READY && tier_pins(at, page) == 0;
}

void memory_evict(struct memory *memory, enum memory_tier tier, page_id page)
{
    struct tier *from = tier_at(memory, tier);
    CHECK(from);
    tier_evict(from, page, 0);
    checked(memory);
}

/* Storage does not wait for fences: what it reads into directly has none. */
static void check_fence(const struct memory *memory, uint64_t fence)
{
    CHECK_MSG(memory->has_host || fence == 0,
              "fence %" PRIu64 " on a device tier that storage is read into", fence);
}

void memory_evict_after(struct memory *memory, page_id page, uint64_t fence)
{
    check_fence(memory, fence);
    tier_evict(&memory->tier[MEMORY_DEVICE], page, fence);
    checked(memory);
}

void memory_listen(struct memory *memory, struct memory_listener listener)
{
    tier_listen(&memory->tier[MEMORY_DEVICE], listener);
}

/* The caller's pins in a tier; O(pages). */
static uint64_t pins_of(const struct memory *memory, enum memory_tier tier)
{
    if (tier == MEMORY_HOST)
        return memory->host_pins;
    uint64_t pins = 0;
    for (uint32_t i = 0; i < memory->tier[tier].capacity; i++)
        pins += memory->tier[tier].slot[i].pins;
    return pins;
}

enum status memory_resize(struct memory *memory, enum memory_tier tier,
                          const struct tier_slots *slots, uint64_t fence, struct error *error)
{
    struct tier *resized = tier_at(memory, tier);
    CHECK(resized && pins_of(memory, tier) == 0);
    check_fence(memory, fence);
    struct tier_slots before = {{0}};
    for (uint32_t c = 0; c < resized->classes; c++) {
        CHECK(slots->of_class[c] > 0); /* tier_reserve knows the most */
        before.of_class[c] = resized->ring[c].slots;
    }
    touch_stop(memory->touch); /* extents may go; what is new is touched by its reads */
    memory->touch = NULL;
    enum status status = tier_reserve(resized, slots, error);
    if (status == STATUS_OK)
        status = copy_clear(&memory->copies, tier, slots, fence, error);
    if (status == STATUS_OK)
        tier_set_slots(resized, slots);
    else
        tier_set_slots(resized, &before); /* gives back what was reserved */
    checked(memory);
    return status;
}

void memory_counters(const struct memory *memory, struct memory_counters *out)
{
    const struct copies *copies = &memory->copies;
    *out = (struct memory_counters){
        .storage_bytes = copies->storage_bytes,
        .storage_rounding_bytes = copies->storage_rounding_bytes,
        .storage_reads = copies->storage_reads,
        .device_bytes = copies->device_bytes,
        .failures = copies->failures,
        .cancelled = copies->cancelled,
        .in_flight = copies->reading + copies->copying.count,
    };
    for (int urgency = 0; urgency < 2; urgency++) {
        out->fetches[urgency] = copies->fetches[urgency];
        out->queued[urgency] = copies->reads[urgency].count + copies->copies[urgency].count;
    }
    for (int tier = 0; tier < MEMORY_TIERS; tier++) {
        out->evictions[tier] = memory->tier[tier].evictions;
        out->ready[tier] = memory->tier[tier].ready;
        out->ready_bytes[tier] = memory->tier[tier].ready_bytes;
    }
}

void memory_check(const struct memory *memory)
{
    if (memory->has_host)
        tier_check(&memory->tier[MEMORY_HOST]);
    tier_check(&memory->tier[MEMORY_DEVICE]);
    copy_check(&memory->copies);
    uint64_t pins = 0;
    for (uint32_t i = 0; i < memory->tier[MEMORY_HOST].capacity; i++) {
        const struct slot *slot = &memory->tier[MEMORY_HOST].slot[i];
        CHECK(slot->state != SLOT_READY || slot->pins >= source_pins(memory, slot->page));
        pins += slot->pins;
    }
    CHECK(pins == (uint64_t)memory->host_pins + copy_sources(&memory->copies));
}
