/* Which host memory is page-locked for a CUDA device. */
#ifndef MOERING_MEMORY_CUDA_DEVICE_CUDA_PINS_CUH
#define MOERING_MEMORY_CUDA_DEVICE_CUDA_PINS_CUH

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct device_cuda_pin {
    const uint8_t *base;
    size_t bytes;
};

/* By ascending base; they do not overlap. */
struct device_cuda_pins {
    struct device_cuda_pin *at;
    uint32_t count, room;
};

/* False: refused, nothing of it is page-locked. */
bool device_cuda_pins_add(struct device_cuda_pins *pins, void *base, size_t bytes);
/* As given to an add that said true; nothing copies from it any more. */
void device_cuda_pins_remove(struct device_cuda_pins *pins, const void *base);
/* Does one of them hold all of these bytes? */
bool device_cuda_pins_hold(const struct device_cuda_pins *pins, const void *from, size_t bytes);
/* Takes back what is left. Accepts a zeroed one. */
void device_cuda_pins_close(struct device_cuda_pins *pins);

#endif
