#include "engine/replay/belady.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "memory/base/check.h"

#define NEVER UINT32_MAX
#define LEVELS_MAX 6 /* 64^6 > 2^32 */

struct belady {
    uint32_t pages, requests_max;
    uint32_t *first;              /* [pages] first use in the window; NEVER: none */
    uint32_t *next;               /* [requests_max] next use of the page asked for here */
    uint32_t levels;
    uint64_t *level[LEVELS_MAX];  /* level[0]: a bit per request; above: a bit per word below */
    uint32_t words[LEVELS_MAX];
    struct belady_window window;  /* of the last run, for belady_again */
};

static uint32_t words_of(uint32_t bits)
{
    return bits / 64 + (bits % 64 != 0);
}

uint64_t belady_bytes(uint32_t pages, uint32_t requests_max)
{
    uint64_t bytes = sizeof(struct belady) + 4 * ((uint64_t)pages + requests_max);
    for (uint32_t words = words_of(requests_max); words; words = words > 1 ? words_of(words) : 0)
        bytes += 8 * (uint64_t)words;
    return bytes;
}

enum status belady_open(struct belady **out, uint32_t pages, uint32_t requests_max,
                        struct error *error)
{
    CHECK(pages >= 1 && requests_max < UINT32_MAX);
    struct belady *b = calloc(1, sizeof *b);
    if (!b)
        goto fail;
    b->pages = pages;
    b->requests_max = requests_max;
    b->first = malloc(sizeof *b->first * pages);
    b->next = malloc(sizeof *b->next * ((size_t)requests_max + 1));
    if (!b->first || !b->next)
        goto fail;
    uint32_t bits = requests_max ? requests_max : 1;
    do {
        bits = words_of(bits);
        b->words[b->levels] = bits;
        b->level[b->levels] = malloc(sizeof(uint64_t) * bits);
        if (!b->level[b->levels++])
            goto fail;
    } while (bits > 1);
    *out = b;
    return STATUS_OK;
fail:
    belady_close(b);
    return error_set(error, STATUS_NO_MEMORY, "no memory for Belady's rule over %u requests",
                     requests_max);
}

void belady_close(struct belady *b)
{
    if (!b)
        return;
    for (uint32_t i = 0; i < b->levels; i++)
        free(b->level[i]);
    free(b->first);
    free(b->next);
    free(b);
}

/* ---- the set of positions ---- */

static bool has(const struct belady *b, uint32_t at)
{
    return b->level[0][at / 64] >> (at % 64) & 1;
}

static void insert(struct belady *b, uint32_t at)
{
    for (uint32_t l = 0; l < b->levels; l++, at /= 64) {
        uint64_t *word = &b->level[l][at / 64];
        bool known = *word != 0; /* the levels above know of it */
        *word |= (uint64_t)1 << (at % 64);
        if (known)
            return;
    }
}

static void take_out(struct belady *b, uint32_t at)
{
    for (uint32_t l = 0; l < b->levels; l++, at /= 64) {
        uint64_t *word = &b->level[l][at / 64];
        *word &= ~((uint64_t)1 << (at % 64));
        if (*word)
            return;
    }
}

/* The set is not empty. */
static uint32_t largest(const struct belady *b)
{
    uint32_t at = 0;
    for (uint32_t l = b->levels; l-- > 0;)
        at = at * 64 + (63u - (uint32_t)__builtin_clzll(b->level[l][at]));
    return at;
}

/* ---- the rule ---- */

static void find_next_uses(struct belady *b)
{
    const struct belady_window *w = &b->window;
    memset(b->first, 0xff, sizeof *b->first * b->pages);
    for (uint32_t i = w->requests; i-- > 0;) {
        page_id page = w->pages[i];
        DCHECK(page < b->pages);
        b->next[i] = b->first[page];
        b->first[page] = i;
    }
}

struct ring {
    uint32_t held; /* slots in use */
    uint32_t dead; /* of them, by pages that are never asked for again */
};

static void evict(struct belady *b, struct ring *ring)
{
    if (ring->dead)
        ring->dead--;
    else
        take_out(b, largest(b));
}

static void hold(struct belady *b, struct ring *ring, uint32_t next)
{
    if (next == NEVER)
        ring->dead++;
    else
        insert(b, next);
}

static void start(struct belady *b, struct ring *ring)
{
    for (uint32_t l = 0; l < b->levels; l++)
        memset(b->level[l], 0, sizeof(uint64_t) * b->words[l]);
    *ring = (struct ring){0};
    for (page_id page = 0; b->window.resident && page < b->pages; page++) {
        if (!b->window.resident[page])
            continue;
        hold(b, ring, b->first[page]);
        if (ring->held == b->window.slots)
            evict(b, ring);
        else
            ring->held++;
    }
}

static void serve(struct belady *b, struct belady_result *out)
{
    const struct belady_window *w = &b->window;
    struct ring ring;
    uint64_t hits = 0;
    uint32_t group = 0;
    start(b, &ring);
    for (uint32_t i = 0; i < w->requests; i++) {
        bool hit = has(b, i);
        if (hit) {
            hits++;
            take_out(b, i);
        } else if (ring.held == w->slots) {
            evict(b, &ring);
        } else {
            ring.held++;
        }
        hold(b, &ring, b->next[i]);
        if (w->group_misses) {
            while (i >= w->group_start[group + 1])
                group++;
            w->group_misses[group] += !hit;
        }
    }
    out->requests = w->requests;
    out->hits = hits;
}

static uint64_t count_compulsory(const struct belady *b)
{
    uint64_t count = 0;
    for (page_id page = 0; page < b->pages; page++)
        count += b->first[page] != NEVER && !(b->window.resident && b->window.resident[page]);
    return count;
}

void belady_run(struct belady *b, const struct belady_window *window, struct belady_result *out)
{
    CHECK(window->requests <= b->requests_max);
    b->window = *window;
    find_next_uses(b);
    belady_again(b, window->slots, out);
}

void belady_again(struct belady *b, uint32_t slots, struct belady_result *out)
{
    struct belady_window *w = &b->window;
    CHECK(slots >= 1);
    CHECK(!w->group_misses ||
          (w->groups && w->group_start[0] == 0 && w->group_start[w->groups] == w->requests));
    w->slots = slots;
    if (w->group_misses)
        memset(w->group_misses, 0, sizeof *w->group_misses * w->groups);
    serve(b, out);
    out->compulsory = count_compulsory(b);
}
