/* A hash table with linear probing; it never forgets. */
#include "engine/template/symbols.h"

#include <string.h>

static uint32_t hash_of(struct text name)
{
    uint32_t hash = 2166136261u; /* FNV-1a */
    for (size_t i = 0; i < name.size; i++)
        hash = (hash ^ (unsigned char)name.bytes[i]) * 16777619u;
    return hash;
}

/* The slot that holds `name` or that it would take; the table always has free ones. */
static uint32_t *slot_of(const struct symbols *symbols, struct text name)
{
    uint32_t mask = 2 * symbols->room - 1, at = hash_of(name) & mask;
    while (symbols->slots[at] && !text_equal(symbols->names[symbols->slots[at] - 1], name))
        at = (at + 1) & mask;
    return &symbols->slots[at];
}

static void grow(struct run *run, struct symbols *symbols)
{
    uint32_t room = symbols->room ? 2 * symbols->room : 32;
    struct text *names = run_alloc(run, room, sizeof *names);
    if (symbols->count)
        memcpy(names, symbols->names, symbols->count * sizeof *names);
    symbols->names = names;
    symbols->slots = run_alloc(run, 2 * (size_t)room, sizeof *symbols->slots);
    symbols->room = room;
    memset(symbols->slots, 0, 2 * (size_t)room * sizeof *symbols->slots);
    for (uint32_t i = 0; i < symbols->count; i++)
        *slot_of(symbols, names[i]) = i + 1;
}

uint32_t symbols_number(struct run *run, struct symbols *symbols, struct text name)
{
    if (symbols->count == symbols->room)
        grow(run, symbols);
    uint32_t *slot = slot_of(symbols, name);
    if (!*slot) {
        symbols->names[symbols->count] = name;
        *slot = ++symbols->count;
    }
    return *slot - 1;
}
