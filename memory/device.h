/* What the device tier needs of a device: memory of its own and asynchronous copies into it, in
 * order. device_host is a device in plain RAM with a bounded arena: the whole engine runs on it
 * without a GPU, and tests make it slow or failing on purpose. */
#ifndef MOERING_MEMORY_DEVICE_H
#define MOERING_MEMORY_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "memory/base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

struct device;

/* What a copy over the link was measured to take, bytes per second; 0: not measured. */
struct device_rates {
    double idle;   /* pinned host memory, nothing else going on */
    double loaded; /* while kernels read device memory as fast as they can */
    double staged; /* from memory that could not be page-locked; 0: never needed */
};

/* The operations of one kind of device; each takes the device it was opened for.
 *
 * A fence marks a place in the work that was given to the device's processor; `reached` tells
 * whether everything before it is done. Numbers rise; 0 is always reached. A device whose processor
 * works while it is called (device_host) has no other fence than 0. */
struct device_ops {
    const char *name; /* "host", "cuda" */
    /* Storage may be read straight into device memory: it is ordinary RAM. */
    bool host_visible;
    /* `bytes` of device memory aligned to 4096; NULL: the device has no room. Freed by release, or
     * at close. */
    void *(*alloc)(struct device *device, size_t bytes);
    /* Nothing may be copying into it; work given to the processor before may still read it. */
    void (*release)(struct device *device, void *memory);
    /* Page-locks host memory that copies will start from; multiples of 4096. False: refused (a
     * limit); copies from it work all the same, staged and slower. */
    bool (*pin)(struct device *device, void *base, size_t bytes);
    void (*unpin)(struct device *device, void *base); /* as given to a pin that said true */
    /* Starts a copy of host memory into device memory once the fence `after` is reached; returns
     * its ticket (> 0, increasing), or 0 if the copy queue is full. Copies end in order. */
    uint64_t (*copy)(struct device *device, void *to, const void *from, size_t bytes,
                     uint64_t after);
    /* Sets device memory to a byte, after the fence, after the copies started before it and before
     * those started later. Only debug builds ask for it (tier.h: TIER_POISON). */
    void (*fill)(struct device *device, void *to, uint8_t byte, size_t bytes, uint64_t after);
    /* The newest ticket whose copy has ended. Waits up to wait_ns for one more than `seen`. */
    uint64_t (*poll)(struct device *device, uint64_t seen, uint64_t wait_ns);
    /* Marks the end of all work given to the processor so far. */
    uint64_t (*fence)(struct device *device);
    /* Is it done? `wait`: not before it is. */
    bool (*reached)(struct device *device, uint64_t fence, bool wait);
    struct device_rates (*rates)(struct device *device);
    void (*close)(struct device *device);
};

struct device {
    const struct device_ops *ops; /* first member of every kind of device */
};

/* arena_bytes: the most that alloc gives in all. `copy_ns_per_mib`: slows copies down for tests and
 * simulations (0: as fast as memcpy, done inside copy()). */
enum status device_host_open(struct device **out, size_t arena_bytes, uint64_t copy_ns_per_mib,
                             struct error *error);
static inline void device_close(struct device *device)
{
    if (device)
        device->ops->close(device);
}

#ifdef __cplusplus
}
#endif
#endif
