/* The parts of a piece of work. A level is one part for each thread; levels halve: with two threads
 * parts are 1/4 1/4 1/8 1/8 1/16 1/16 ... of the whole, until a part is no longer worth its claim.
 * So a matrix of a few dozen microseconds is shared to within one of the smallest parts, and a
 * thread claims only a handful of them. */
#include "engine/backend/cpu/cpu_split.h"

#define PART_COST_MIN 16384 /* a microsecond: many times the price of a claim */
#define LEVELS_MAX 6        /* the last parts are 1/32 of an equal share */

struct cpu_split cpu_split_make(uint32_t threads, uint64_t units, uint32_t align, uint64_t cost)
{
    struct cpu_split s = {
        .units = units, .align = align, .wide = 1, .levels = 1, .parts = units > 0};
    uint64_t length = units / align + (units % align != 0);
    uint64_t worth = cost / PART_COST_MIN < length ? cost / PART_COST_MIN : length;
    if (worth < 2 || threads == 1)
        return s;
    s.wide = worth < threads ? (uint32_t)worth : threads;
    while (s.levels < LEVELS_MAX && worth >> s.levels >= s.wide)
        s.levels++;
    s.parts = s.wide * s.levels;
    return s;
}

/* Where the k-th part handed out begins; k = parts: the end. */
static uint64_t cut(const struct cpu_split *s, uint32_t k)
{
    uint32_t level = k / s->wide;
    if (level >= s->levels)
        return s->units;
    uint64_t length = s->units / s->align + (s->units % s->align != 0);
    uint64_t left = length >> level;
    uint64_t span = level + 1 == s->levels ? left : left - (left >> 1);
    uint64_t at = length - left + span * (k % s->wide) / s->wide;
    return at < length ? at * s->align : s->units;
}

uint64_t cpu_split_begin(const struct cpu_split *s, uint32_t part)
{
    return cut(s, s->parts - 1 - part);
}

uint64_t cpu_split_end(const struct cpu_split *s, uint32_t part)
{
    return cut(s, s->parts - part);
}
