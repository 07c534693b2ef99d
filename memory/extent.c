/* One allocation and how it is held. What is refused (page-locking, mlock) is counted here and told
 * by extent_tell when all extents of an opening or a resize are there, so that the log has one line
 * with the sum instead of a thousand. One thread, the engine's. */
#include "memory/extent.h"

#include <inttypes.h>

#include "memory/base/bytes.h"
#include "memory/base/log.h"

uint32_t extent_slots(uint64_t slot_bytes)
{
    return slot_bytes < EXTENT_BYTES ? (uint32_t)(EXTENT_BYTES / slot_bytes) : 1;
}

static enum status open_on_host(struct extent *extent, struct extent_place *place, uint64_t bytes,
                                struct error *error)
{
    if (bytes > SIZE_MAX)
        return error_set(error, STATUS_NO_MEMORY, "%" PRIu64 " bytes cannot be addressed", bytes);
    enum status status = pinned_open(&extent->memory, bytes, "host tier", error);
    if (status)
        return status;
    extent->base = extent->memory.base;
    struct device *device = place->device;
    extent->pinned = device->ops->pin(device, extent->base, bytes);
    if (!extent->pinned)
        place->staged_bytes += bytes;
    /* Memory that a device of its own has page-locked cannot be swapped. */
    bool held = extent->pinned && !device->ops->host_visible;
    extent->unlocked = place->lock && !held && !pinned_lock(&extent->memory);
    if (extent->unlocked)
        place->unlocked_bytes += bytes;
    return STATUS_OK;
}

static enum status open_on_device(struct extent *extent, struct extent_place *place, uint64_t bytes,
                                  struct error *error)
{
    char text[32];
    struct device *device = place->device;
    if (bytes <= SIZE_MAX)
        extent->base = device->ops->alloc(device, bytes);
    if (extent->base)
        return STATUS_OK;
    return error_set(error, STATUS_NO_MEMORY,
                     "the %s device has no room for %" PRIu64 " bytes (%s)", device->ops->name,
                     bytes, bytes_format(bytes, text, sizeof text));
}

enum status extent_open(struct extent *extent, struct extent_place *place, uint64_t bytes,
                        struct error *error)
{
    *extent = (struct extent){.bytes = bytes};
    return place->on_device ? open_on_device(extent, place, bytes, error)
                            : open_on_host(extent, place, bytes, error);
}

void extent_close(struct extent *extent, struct extent_place *place)
{
    struct device *device = place->device;
    if (!extent->base)
        return;
    if (place->on_device) {
        device->ops->release(device, extent->base);
    } else {
        if (extent->pinned)
            device->ops->unpin(device, extent->base);
        else
            place->staged_bytes -= extent->bytes;
        if (extent->unlocked)
            place->unlocked_bytes -= extent->bytes;
        pinned_close(&extent->memory);
    }
    *extent = (struct extent){0};
}

void extent_tell(struct extent_place *place)
{
    char text[32];
    if (place->staged_bytes > 0 && !place->told_staged) {
        place->told_staged = true;
        log_warn(
            "memory: %s of the host tier cannot be page-locked for the %s device: copies from "
            "there are staged and slower (raise 'ulimit -l', or the container's memlock limit)",
            bytes_format(place->staged_bytes, text, sizeof text), place->device->ops->name);
    }
    if (place->unlocked_bytes > 0 && !place->told_unlocked) {
        place->told_unlocked = true;
        log_warn("memory: %s of the host tier stay unlocked and may be swapped (raise 'ulimit -l', "
                 "or the container's memlock limit, to lock them)",
                 bytes_format(place->unlocked_bytes, text, sizeof text));
    }
}
