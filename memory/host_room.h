/* How many bytes of host memory this process may still take, and what says so. */
#ifndef MOERING_MEMORY_HOST_ROOM_H
#define MOERING_MEMORY_HOST_ROOM_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct host_room {
    uint64_t bytes; /* 0: cannot tell */
    char why[224];  /* "limited by cgroup /a: memory.max 4.0 GiB, 1.5 GiB of it in use" */
};

/* The smaller of MemAvailable and the room of every memory cgroup (v1, v2) that holds this process,
 * read below `root` ("" for the real machine, a scratch folder in tests). Page cache counts as
 * room: the kernel drops it before it swaps or kills. */
void host_room_look(const char *root, struct host_room *out);

#ifdef __cplusplus
}
#endif
#endif
