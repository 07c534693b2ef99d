/* Sets of characters: ranges collected in any order, then sorted and joined. */
#include "engine/grammar/characters.h"

#include <stdlib.h>
#include <utf8proc.h>

#include "engine/grammar/grow.h"

#define SURROGATE_FIRST 0xD800u
#define SURROGATE_LAST 0xDFFFu

void characters_reset(struct characters *set)
{
    free(set->ranges);
    *set = (struct characters){0};
}

void characters_add(struct characters *set, uint32_t first, uint32_t last)
{
    if (first > last)
        return;
    if (set->failed || !GROW(set, ranges, count, capacity, 1, CHARACTERS_RANGES_MAX)) {
        set->failed = true;
        return;
    }
    set->ranges[set->count++] = (struct character_range){first, last};
}

void characters_add_set(struct characters *set, const struct characters *other)
{
    set->failed |= other->failed;
    for (uint32_t i = 0; i < other->count; i++)
        characters_add(set, other->ranges[i].first, other->ranges[i].last);
}

static int compare_ranges(const void *a, const void *b)
{
    const struct character_range *x = a, *y = b;
    return (x->first > y->first) - (x->first < y->first);
}

static void sort_and_join(struct characters *set)
{
    if (set->count == 0)
        return;
    qsort(set->ranges, set->count, sizeof *set->ranges, compare_ranges);
    uint32_t kept = 0;
    for (uint32_t i = 1; i < set->count; i++) {
        struct character_range *last = &set->ranges[kept];
        if (set->ranges[i].first <= last->last + 1)
            last->last = set->ranges[i].last > last->last ? set->ranges[i].last : last->last;
        else
            set->ranges[++kept] = set->ranges[i];
    }
    set->count = kept + 1;
}

void characters_remove(struct characters *set, uint32_t first, uint32_t last)
{
    uint32_t kept = 0, count = set->count;
    struct character_range cut = {1, 0}; /* at most one range is cut in two */
    for (uint32_t i = 0; i < count; i++) {
        struct character_range range = set->ranges[i];
        if (range.last < first || range.first > last) {
            set->ranges[kept++] = range;
        } else if (range.first < first) {
            if (range.last > last)
                cut = (struct character_range){last + 1, range.last};
            range.last = first - 1;
            set->ranges[kept++] = range;
        } else if (range.last > last) {
            range.first = last + 1;
            set->ranges[kept++] = range;
        }
    }
    set->count = kept;
    characters_add(set, cut.first, cut.last);
    sort_and_join(set);
}

void characters_normalize(struct characters *set)
{
    sort_and_join(set);
    characters_remove(set, SURROGATE_FIRST, SURROGATE_LAST);
}

void characters_invert(struct characters *set)
{
    struct characters inverted = {.failed = set->failed};
    uint32_t next = 0;
    characters_normalize(set);
    for (uint32_t i = 0; i < set->count; i++) {
        if (set->ranges[i].first > next)
            characters_add(&inverted, next, set->ranges[i].first - 1);
        next = set->ranges[i].last + 1;
    }
    if (next <= CHARACTER_MAX)
        characters_add(&inverted, next, CHARACTER_MAX);
    characters_normalize(&inverted);
    inverted.failed |= set->failed;
    characters_reset(set);
    *set = inverted;
}

bool characters_has(const struct characters *set, uint32_t character)
{
    uint32_t low = 0, high = set->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (set->ranges[middle].last < character)
            low = middle + 1;
        else
            high = middle;
    }
    return low < set->count && set->ranges[low].first <= character;
}

bool characters_read(const char *text, size_t bytes, size_t *at, uint32_t *out)
{
    utf8proc_int32_t character;
    size_t left = bytes - *at;
    utf8proc_ssize_t used = utf8proc_iterate((const utf8proc_uint8_t *)text + *at,
                                             left < 4 ? (utf8proc_ssize_t)left : 4, &character);
    if (left == 0 || used <= 0)
        return false;
    *at += (size_t)used;
    *out = (uint32_t)character;
    return true;
}

unsigned characters_write(uint32_t character, uint8_t out[4])
{
    return (unsigned)utf8proc_encode_char((utf8proc_int32_t)character, out);
}
