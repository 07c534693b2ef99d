#include "engine/replay/regret.h"

#include <stdlib.h>
#include <string.h>

#include "engine/replay/belady.h"
#include "memory/base/check.h"

struct regret {
    uint32_t pages, window;
    uint32_t classes, class_slots[STORE_CLASSES_MAX];
    uint8_t *page_class;  /* [pages] NULL: one class */
    uint32_t target;      /* requests after which the window under way is full */
    uint32_t count, hits; /* of the window under way */
    page_id *requests;    /* [window + pages] */
    page_id *of_class;    /* the same, of one class at a time; NULL: one class */
    uint8_t *resident;    /* [pages] when the window began */
    struct belady *belady;
    struct regret_figures figures;
};

static uint32_t window_of(uint32_t asked)
{
    return asked ? asked : REGRET_WINDOW;
}

uint64_t regret_bytes(uint32_t pages, uint32_t window)
{
    uint32_t room = window_of(window) + pages;
    return sizeof(struct regret) + 2 * (uint64_t)pages + 2 * (uint64_t)room * sizeof(page_id) +
           belady_bytes(pages, room);
}

/* One class needs neither a copy of the requests nor of the classes. */
static bool open_classes(struct regret *r, const struct regret_config *c)
{
    r->classes = c->classes;
    memcpy(r->class_slots, c->class_slots, c->classes * sizeof *r->class_slots);
    if (c->classes == 1 || !c->page_class)
        return true;
    r->page_class = malloc(c->pages);
    r->of_class = malloc(((size_t)r->window + c->pages) * sizeof *r->of_class);
    if (!r->page_class || !r->of_class)
        return false;
    memcpy(r->page_class, c->page_class, c->pages);
    return true;
}

enum status regret_open(struct regret **out, const struct regret_config *c, struct error *error)
{
    CHECK(c->pages >= 1 && c->classes >= 1 && c->classes <= STORE_CLASSES_MAX);
    uint32_t window = window_of(c->window);
    uint32_t first = c->first_window ? c->first_window : REGRET_FIRST_WINDOW;
    struct regret *r = calloc(1, sizeof *r);
    if (!r)
        goto fail;
    r->pages = c->pages;
    r->window = window;
    r->target = first < window ? first : window;
    r->requests = malloc(((size_t)window + c->pages) * sizeof *r->requests);
    r->resident = malloc(c->pages);
    if (!r->requests || !r->resident || !open_classes(r, c))
        goto fail;
    if (belady_open(&r->belady, c->pages, window + c->pages, error) != STATUS_OK)
        goto fail;
    *out = r;
    return STATUS_OK;
fail:
    regret_close(r);
    return error_set(error, STATUS_NO_MEMORY, "no memory to compare %u page requests with the best",
                     window);
}

void regret_close(struct regret *r)
{
    if (!r)
        return;
    belady_close(r->belady);
    free(r->page_class);
    free(r->of_class);
    free(r->requests);
    free(r->resident);
    free(r);
}

void regret_begin(struct regret *r, regret_resident_fn *resident, void *arg)
{
    r->count = r->hits = 0;
    for (page_id page = 0; page < r->pages; page++)
        r->resident[page] = resident(arg, page);
}

static void append(struct regret *r, page_id first_page, const uint32_t *experts, uint32_t count,
                   const bool *hit, bool wanted)
{
    for (uint32_t i = 0; i < count; i++)
        if (hit[i] == wanted)
            r->requests[r->count++] = first_page + experts[i];
}

void regret_request(struct regret *r, page_id first_page, const uint32_t *experts, uint32_t count,
                    const bool *hit)
{
    CHECK_MSG(count <= r->window + r->pages - r->count, "regret_turn was left out");
    uint32_t before = r->count;
    append(r, first_page, experts, count, hit, true);
    r->hits += r->count - before;
    append(r, first_page, experts, count, hit, false);
}

bool regret_due(const struct regret *r)
{
    return r->count >= r->target;
}

static uint64_t best_hits(struct regret *r)
{
    struct belady_window window = {.pages = r->requests, .requests = r->count,
                                   .slots = r->class_slots[0], .resident = r->resident};
    struct belady_result result;
    uint64_t hits = 0;
    if (!r->page_class) {
        belady_run(r->belady, &window, &result);
        return result.hits;
    }
    /* Resident pages of other classes are in nobody's way: never asked for, they leave first. */
    for (uint32_t c = 0; c < r->classes; c++) {
        window.pages = r->of_class;
        window.requests = 0;
        for (uint32_t i = 0; i < r->count; i++)
            if (r->page_class[r->requests[i]] == c)
                r->of_class[window.requests++] = r->requests[i];
        if (!window.requests)
            continue;
        window.slots = r->class_slots[c];
        belady_run(r->belady, &window, &result);
        hits += result.hits;
    }
    return hits;
}

void regret_turn(struct regret *r, regret_resident_fn *resident, void *arg)
{
    CHECK(r->count > 0);
    struct regret_figures *f = &r->figures;
    uint64_t best = best_hits(r);
    f->windows++;
    f->requests = r->count;
    f->hit_rate = (double)r->hits / r->count;
    f->oracle_hit_rate = (double)best / r->count;
    f->share = best ? (double)r->hits / (double)best : 1;
    r->target = r->target > r->window / 2 ? r->window : 2 * r->target;
    regret_begin(r, resident, arg);
}

void regret_figures(const struct regret *r, struct regret_figures *out)
{
    *out = r->figures;
    out->next_requests = r->target;
}

void regret_resized(struct regret *r, const uint32_t *class_slots, regret_resident_fn *resident,
                    void *arg)
{
    memcpy(r->class_slots, class_slots, r->classes * sizeof *r->class_slots);
    regret_begin(r, resident, arg);
}
