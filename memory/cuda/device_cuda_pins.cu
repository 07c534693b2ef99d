/* A sorted table of page-locked stretches, asked at each copy whether its source is one of them: a
 * binary search of some hundred entries, where asking the runtime takes a lock of the driver.
 *
 * Memory is registered in chunks: one call for a hundred GiB holds the driver for tens of seconds
 * and some systems refuse a single registration of that size. One thread, the engine's. */
#include <stdlib.h>
#include <string.h>

#include "memory/base/check.h"
#include "memory/cuda/device_cuda_pins.cuh"
#include "memory/cuda_call.cuh"

#define CHUNK_BYTES ((size_t)1 << 30)

static size_t chunk_at(size_t done, size_t bytes)
{
    return bytes - done < CHUNK_BYTES ? bytes - done : CHUNK_BYTES;
}

static void unregister(const uint8_t *base, size_t bytes)
{
    for (size_t done = 0; done < bytes; done += chunk_at(done, bytes))
        CUDA_CALL(cudaHostUnregister((void *)(base + done)));
}

/* True: all of it is page-locked, for every context of the process. */
static bool register_all(uint8_t *base, size_t bytes)
{
    for (size_t done = 0; done < bytes; done += chunk_at(done, bytes)) {
        cudaError_t error =
            cudaHostRegister(base + done, chunk_at(done, bytes), cudaHostRegisterPortable);
        if (error == cudaSuccess)
            continue;
        CHECK_MSG(error != cudaErrorHostMemoryAlreadyRegistered, "%p is page-locked already",
                  (void *)(base + done));
        (void)cudaGetLastError(); /* a limit of the system, or a device that cannot */
        unregister(base, done);
        return false;
    }
    return true;
}

/* How many begin at `address` or below. */
static uint32_t count_up_to(const struct device_cuda_pins *pins, const uint8_t *address)
{
    uint32_t low = 0, high = pins->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (pins->at[middle].base <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool device_cuda_pins_add(struct device_cuda_pins *pins, void *base, size_t bytes)
{
    if (pins->count == pins->room) {
        uint32_t room = pins->room ? pins->room * 2 : 64;
        void *larger = reallocarray(pins->at, room, sizeof *pins->at);
        if (!larger)
            return false;
        pins->at = (struct device_cuda_pin *)larger;
        pins->room = room;
    }
    if (!register_all((uint8_t *)base, bytes))
        return false;
    uint32_t at = count_up_to(pins, (uint8_t *)base);
    memmove(pins->at + at + 1, pins->at + at, (pins->count - at) * sizeof *pins->at);
    pins->at[at].base = (uint8_t *)base;
    pins->at[at].bytes = bytes;
    pins->count++;
    return true;
}

void device_cuda_pins_remove(struct device_cuda_pins *pins, const void *base)
{
    uint32_t after = count_up_to(pins, (const uint8_t *)base);
    CHECK_MSG(after > 0 && pins->at[after - 1].base == base, "%p is not page-locked", base);
    unregister(pins->at[after - 1].base, pins->at[after - 1].bytes);
    memmove(pins->at + after - 1, pins->at + after, (pins->count - after) * sizeof *pins->at);
    pins->count--;
}

bool device_cuda_pins_hold(const struct device_cuda_pins *pins, const void *from, size_t bytes)
{
    const uint8_t *begin = (const uint8_t *)from;
    uint32_t after = count_up_to(pins, begin);
    if (after == 0)
        return false;
    const struct device_cuda_pin *pin = &pins->at[after - 1];
    size_t offset = (size_t)(begin - pin->base);
    return offset <= pin->bytes && bytes <= pin->bytes - offset;
}

void device_cuda_pins_close(struct device_cuda_pins *pins)
{
    for (uint32_t i = 0; i < pins->count; i++)
        unregister(pins->at[i].base, pins->at[i].bytes);
    free(pins->at);
    pins->at = NULL;
    pins->count = pins->room = 0;
}
