/* A bump allocator over a list of chunks, newest first. A piece that does not fit the newest chunk
 * opens another, at least as large as the piece; what is left of the old one is given up, which
 * costs at most a chunk per large piece and keeps alloc at a handful of instructions.
 *
 * The limit counts pieces and their padding, not chunks: whether a message fits its budget must
 * depend on the message, not on where chunks happened to end. */
#include "memory/base/arena.h"

#include <stdalign.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "memory/base/check.h"

struct arena_chunk {
    struct arena_chunk *older;
    size_t bytes; /* of data */
    size_t used;
    alignas(max_align_t) uint8_t data[];
};

#define ARENA_ALIGN_MAX 4096

void arena_init(struct arena *arena, size_t chunk_bytes, size_t bytes_max)
{
    *arena = (struct arena){.chunk_bytes = chunk_bytes ? chunk_bytes : 4096,
                            .bytes_max = bytes_max};
}

/* Bytes to skip in `chunk` so that its next piece is aligned. */
static size_t padding(const struct arena_chunk *chunk, size_t align)
{
    uintptr_t next = (uintptr_t)(chunk->data + chunk->used);
    return (size_t)(-next & (align - 1));
}

static bool fits(const struct arena_chunk *chunk, size_t bytes, size_t align)
{
    size_t left = chunk->bytes - chunk->used, skip = padding(chunk, align);
    return skip <= left && bytes <= left - skip;
}

/* Room for the piece wherever malloc puts the chunk. */
static struct arena_chunk *chunk_open(const struct arena *arena, size_t bytes, size_t align)
{
    size_t slack = align > alignof(max_align_t) ? align : 0;
    if (bytes > SIZE_MAX - slack - sizeof(struct arena_chunk))
        return NULL;
    size_t data_bytes = bytes + slack > arena->chunk_bytes ? bytes + slack : arena->chunk_bytes;
    if (data_bytes > SIZE_MAX - sizeof(struct arena_chunk))
        return NULL;
    struct arena_chunk *chunk = malloc(sizeof *chunk + data_bytes);
    if (chunk) {
        chunk->older = NULL;
        chunk->bytes = data_bytes;
        chunk->used = 0;
    }
    return chunk;
}

void *arena_alloc(struct arena *arena, size_t bytes, size_t align)
{
    CHECK(align > 0 && (align & (align - 1)) == 0 && align <= ARENA_ALIGN_MAX);
    struct arena_chunk *chunk = arena->newest;
    bool opened = !chunk || !fits(chunk, bytes, align);
    if (opened && arena->bytes_max && bytes > arena->bytes_max - arena->used)
        return NULL; /* before malloc is asked for something absurd */
    if (opened)
        chunk = chunk_open(arena, bytes, align);
    if (!chunk)
        return NULL;
    size_t skip = padding(chunk, align);
    if (arena->bytes_max && skip + bytes > arena->bytes_max - arena->used) {
        if (opened)
            free(chunk);
        return NULL;
    }
    if (opened) {
        chunk->older = arena->newest;
        arena->newest = chunk;
    }
    uint8_t *piece = chunk->data + chunk->used + skip;
    chunk->used += skip + bytes;
    arena->used += skip + bytes;
    return piece;
}

void *arena_alloc_items(struct arena *arena, size_t count, size_t item_bytes, size_t align)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, item_bytes, &bytes))
        return NULL;
    void *items = arena_alloc(arena, bytes, align);
    return items ? memset(items, 0, bytes) : NULL;
}

static void free_older(struct arena_chunk *chunk)
{
    while (chunk) {
        struct arena_chunk *older = chunk->older;
        free(chunk);
        chunk = older;
    }
}

void arena_reset(struct arena *arena)
{
    if (arena->newest) {
        free_older(arena->newest->older);
        arena->newest->older = NULL;
        arena->newest->used = 0;
    }
    arena->used = 0;
}

void arena_close(struct arena *arena)
{
    if (!arena)
        return;
    free_older(arena->newest);
    arena->newest = NULL;
    arena->used = 0;
}
