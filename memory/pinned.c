/* Anonymous memory of the host. Transparent huge pages are asked for, never required: a slot of
 * several MiB then takes a few TLB entries instead of a thousand. Locking is tried, never required:
 * a low RLIMIT_MEMLOCK (8 MiB by default) must not keep the server from starting. */
#include "memory/pinned.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "memory/base/bytes.h"

#define PINNED_HUGE_BYTES ((size_t)2 << 20)

enum status pinned_open(struct pinned *pinned, size_t bytes, const char *what, struct error *error)
{
    char text[32];
    *pinned = (struct pinned){0};
    if (bytes == 0)
        return STATUS_OK;
    size_t align = bytes >= PINNED_HUGE_BYTES ? PINNED_HUGE_BYTES : 0;
    void *map = MAP_FAILED;
    errno = ENOMEM;
    if (bytes <= SIZE_MAX - align)
        map = mmap(NULL, bytes + align, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED)
        return error_set(error, STATUS_NO_MEMORY, "cannot take %zu bytes (%s) for the %s: %s",
                         bytes, bytes_format(bytes, text, sizeof text), what, strerror(errno));
    uintptr_t base = align ? bytes_align_up((uintptr_t)map, align) : (uintptr_t)map;
    *pinned = (struct pinned){
        .base = (uint8_t *)base, .bytes = bytes, .map = map, .map_bytes = bytes + align};
    if (align)
        madvise(pinned->base, bytes, MADV_HUGEPAGE); /* a wish */
    return STATUS_OK;
}

bool pinned_lock(struct pinned *pinned)
{
    pinned->locked = mlock(pinned->base, pinned->bytes) == 0;
    return pinned->locked;
}

void pinned_close(struct pinned *pinned)
{
    if (pinned->map)
        munmap(pinned->map, pinned->map_bytes);
    *pinned = (struct pinned){0};
}
