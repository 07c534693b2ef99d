/* Memory that is given out piece by piece and taken back all at once. For data whose pieces share
 * one life: a decoded message, a parsed file, the tables of a model. Not safe between threads. */
#ifndef MOERING_MEMORY_BASE_ARENA_H
#define MOERING_MEMORY_BASE_ARENA_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct arena_chunk;

struct arena {
    struct arena_chunk *newest; /* the one pieces come from; older ones hang behind it */
    size_t chunk_bytes;         /* the least that is asked of malloc at a time */
    size_t bytes_max;           /* of pieces, padding included; 0: no limit */
    size_t used;                /* so far, padding included */
};

/* Allocates nothing yet. chunk_bytes = 0: 4096. chunk_bytes = bytes_max makes one block of it. */
void arena_init(struct arena *arena, size_t chunk_bytes, size_t bytes_max);
/* `bytes` of uninitialised memory at a multiple of `align` (a power of two, up to 4096); 0 bytes
 * give a valid pointer. NULL: bytes_max is reached or malloc failed; the arena is as before. */
void *arena_alloc(struct arena *arena, size_t bytes, size_t align);
/* The same, zeroed, for `count` items of `item_bytes`; NULL also when the product overflows. */
void *arena_alloc_items(struct arena *arena, size_t count, size_t item_bytes, size_t align);
/* All pieces are gone; the newest chunk stays for the next round. */
void arena_reset(struct arena *arena);
/* All pieces and chunks are gone; the arena is as after arena_init. Accepts NULL. */
void arena_close(struct arena *arena);

#ifdef __cplusplus
}
#endif
#endif
