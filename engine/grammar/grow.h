/* Arrays that grow by doubling. Every array of this folder that grows does it here, so that a bound
 * and a failed allocation look the same everywhere. */
#ifndef MOERING_ENGINE_GRAMMAR_GROW_H
#define MOERING_ENGINE_GRAMMAR_GROW_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Room for `need` items in `items` of *capacity; never more than `most`. Returns the array, which
 * may have moved, or NULL with the old one untouched. */
static inline void *grow_items(void *items, uint32_t *capacity, uint64_t need, size_t item_bytes,
                               uint32_t most)
{
    if (need <= *capacity && items)
        return items;
    if (need > most)
        return NULL;
    uint64_t wanted = *capacity ? 2 * (uint64_t)*capacity : 16;
    wanted = wanted < need ? need : wanted;
    wanted = wanted > most ? most : wanted;
    void *grown = realloc(items, wanted * item_bytes);
    if (grown)
        *capacity = (uint32_t)wanted;
    return grown;
}

/* The same for an array, its count and its capacity in fields of those names; false without room.
 */
#define GROW(owner, field, count, capacity, more, most)                                            \
    __extension__({                                                                                \
        void *grow_to =                                                                            \
            grow_items((owner)->field, &(owner)->capacity, (uint64_t)(owner)->count + (more),      \
                       sizeof *(owner)->field, (most));                                            \
        if (grow_to)                                                                               \
            (owner)->field = grow_to;                                                              \
        grow_to != NULL;                                                                           \
    })

#ifdef __cplusplus
}
#endif
#endif
