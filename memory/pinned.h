/* Host memory for slots: page-aligned, zeroed, in huge pages where the system gives them, locked
 * against swapping when asked. */
#ifndef MOERING_MEMORY_PINNED_H
#define MOERING_MEMORY_PINNED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "memory/base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

struct pinned {
    uint8_t *base; /* multiple of 4096, of 2 MiB if there is that much */
    size_t bytes;  /* as asked */
    void *map;
    size_t map_bytes;
    bool locked;
};

/* 0 bytes give a base of NULL. NO_MEMORY: the error names the bytes and `what`. */
enum status pinned_open(struct pinned *pinned, size_t bytes, const char *what, struct error *error);
/* Keeps it from being swapped. False: the system refuses (errno); it can be used all the same. */
bool pinned_lock(struct pinned *pinned);
/* Accepts a zeroed one. */
void pinned_close(struct pinned *pinned);

#ifdef __cplusplus
}
#endif
#endif
