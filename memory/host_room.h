/* How many bytes of host memory this process may still take. */
#ifndef MOERING_MEMORY_HOST_ROOM_H
#define MOERING_MEMORY_HOST_ROOM_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The smaller of MemAvailable and the room of every memory cgroup (v1, v2) that holds this process,
 * read below `root` ("" for the real machine, a scratch folder in tests). 0: cannot tell. */
uint64_t host_room_available(const char *root);

#ifdef __cplusplus
}
#endif
#endif
