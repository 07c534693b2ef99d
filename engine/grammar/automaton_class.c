/* A set of characters as nodes over the bytes of UTF-8.
 *
 * A range of characters is cut until, written as bytes, it is a fixed beginning, one byte that
 * varies, and bytes that may be anything from 80 to BF; the cuts are those where the number of
 * bytes changes and where a part below the varying byte is not full. Ranges in order then give byte
 * ranges in order, and those that begin alike share a node: the result is deterministic. Nodes that
 * say the same are shared, so that a class of many ranges has few. */
#include <stdlib.h>

#include "engine/grammar/automaton.h"
#include "engine/grammar/grow.h"
#include "memory/base/check.h"

#define SEQUENCES_MAX 4096u /* of bytes, that one class is cut into */
#define SHARED_MAX 32u      /* how many earlier nodes are looked at for one that says the same */

struct byte_range {
    uint8_t first, last;
};

struct byte_sequence {
    struct byte_range bytes[4];
    unsigned count;
};

struct class_cut {
    struct byte_sequence *sequences;
    uint32_t count, capacity;
};

static bool add_sequence(struct class_cut *cut, uint32_t first, uint32_t last)
{
    uint8_t low[4], high[4];
    if (!GROW(cut, sequences, count, capacity, 1, SEQUENCES_MAX))
        return false;
    struct byte_sequence *sequence = &cut->sequences[cut->count++];
    sequence->count = characters_write(first, low);
    CHECK(characters_write(last, high) == sequence->count);
    for (unsigned i = 0; i < sequence->count; i++)
        sequence->bytes[i] = (struct byte_range){low[i], high[i]};
    return true;
}

/* Where the range must be cut: the last character of its first part; `last` if it need not be. */
static uint32_t first_part(uint32_t first, uint32_t last)
{
    static const uint32_t by_length[] = {0x7F, 0x7FF, 0xFFFF};
    for (unsigned i = 0; i < 3; i++)
        if (first <= by_length[i] && last > by_length[i])
            return first_part(first, by_length[i]);
    if (last <= 0x7F)
        return last;
    for (unsigned i = 1; i < 4; i++) {
        uint32_t below = (1u << 6 * i) - 1;
        if ((first & ~below) == (last & ~below))
            continue;
        if (first & below)
            return first_part(first, first | below);
        if ((last & below) != below)
            return first_part(first, (last & ~below) - 1);
    }
    return last;
}

static bool add_range(struct class_cut *cut, uint32_t first, uint32_t last)
{
    for (;;) {
        uint32_t end = first_part(first, last);
        if (!add_sequence(cut, first, end))
            return false;
        if (end == last)
            return true;
        first = end + 1;
    }
}

static bool same_edges(const struct automaton *automaton, uint32_t node,
                       const struct automaton_edge *edges, uint32_t count)
{
    const struct automaton_node *n = &automaton->nodes[node];
    if (n->kind != AUTOMATON_EDGES || n->b != count)
        return false;
    for (uint32_t i = 0; i < count; i++) {
        const struct automaton_edge *e = &automaton->edges[n->a + i];
        if (e->first != edges[i].first || e->last != edges[i].last || e->to != edges[i].to)
            return false;
    }
    return true;
}

/* A node for sequences[from .. to), of which the bytes before `at` are alike; `oldest` is the first
 * node that belongs to this class. */
static uint32_t build(struct automaton *automaton, const struct class_cut *cut, uint32_t from,
                      uint32_t to, unsigned at, uint32_t next, uint32_t oldest)
{
    struct automaton_edge edges[256];
    uint32_t count = 0;
    while (from < to) {
        const struct byte_sequence *sequence = &cut->sequences[from];
        struct byte_range byte = sequence->bytes[at];
        uint32_t end = from + 1, target = next;
        while (end < to && cut->sequences[end].bytes[at].first == byte.first &&
               cut->sequences[end].bytes[at].last == byte.last)
            end++;
        if (at + 1 < sequence->count)
            target = build(automaton, cut, from, end, at + 1, next, oldest);
        if (target == UINT32_MAX)
            return UINT32_MAX;
        struct automaton_edge *last = count ? &edges[count - 1] : NULL;
        if (last && last->to == target && last->last + 1 == byte.first)
            last->last = byte.last;
        else
            edges[count++] = (struct automaton_edge){target, byte.first, byte.last};
        from = end;
    }
    for (uint32_t i = automaton->node_count, tries = 0; i > oldest && tries < SHARED_MAX; tries++)
        if (same_edges(automaton, --i, edges, count))
            return i;
    return automaton_add_edges(automaton, edges, count);
}

uint32_t automaton_class(struct automaton *automaton, const struct character_range *ranges,
                         uint32_t count, uint32_t next)
{
    struct class_cut cut = {0};
    uint32_t node = UINT32_MAX, i = 0;
    while (i < count && add_range(&cut, ranges[i].first, ranges[i].last))
        i++;
    if (i == count)
        node = build(automaton, &cut, 0, cut.count, 0, next, automaton->node_count);
    free(cut.sequences);
    return node;
}
