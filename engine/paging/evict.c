#include "engine/paging/evict.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "memory/base/check.h"

enum {
    CLASS_MIXED = 255,     /* a layer whose pages differ in size class */
    LFU_PERIOD_ROUNDS = 16 /* rounds between two ageings */
};
#define LFU_BETA 0.8       /* factor of an ageing */
#define LFU_SCALE_MAX 1e100

/* One tier: who is there, and the lowest page of each layer as far as it is known. */
struct shelf {
    uint8_t *resident;  /* [pages] */
    uint32_t *count;    /* [layers] resident pages */
    page_id *lowest;    /* [layers] PAGE_NONE: not known */
};

struct evict {
    uint32_t layers, experts;
    enum evict_kind kind;
    const struct use_value *value;
    const struct history *history;
    uint32_t now;             /* the layer that runs */
    uint64_t clock;           /* layer runs so far */
    uint64_t *runs;           /* [layers] */
    uint64_t *used_run;       /* [pages] runs[layer] when it was last used or brought; 0: never */
    uint64_t *used_clock;     /* [pages] */
    double *uses; /* [pages] LFU, scaled up by 1 / beta at each ageing instead of all down */
    double use_weight;
    uint64_t random;
    const float **forecast;   /* [layers] lent by evict_forecast */
    const float **expected;   /* [layers] lent by evict_expect */
    float *fade;              /* [layers + 1] gamma^(d / layers) */
    uint8_t *page_class;      /* [pages]; NULL: one class */
    uint8_t *layer_class;     /* [layers] */
    struct shelf shelf[MEMORY_TIERS];
};

const char *evict_kind_name(enum evict_kind kind)
{
    static const char *const names[EVICT_KINDS] = {"learned", "round", "lru", "lfu", "forecast",
                                                  "random"};
    return names[kind];
}

static enum status shelf_open(struct shelf *s, uint32_t layers, uint64_t pages)
{
    s->resident = calloc(pages, 1);
    s->count = calloc(layers, sizeof *s->count);
    s->lowest = malloc(layers * sizeof *s->lowest);
    if (!s->resident || !s->count || !s->lowest)
        return STATUS_NO_MEMORY;
    for (uint32_t l = 0; l < layers; l++)
        s->lowest[l] = PAGE_NONE;
    return STATUS_OK;
}

static enum status copy_classes(struct evict *e, const uint8_t *page_class)
{
    uint64_t pages = (uint64_t)e->layers * e->experts;
    e->layer_class = calloc(e->layers, 1);
    if (!e->layer_class)
        return STATUS_NO_MEMORY;
    if (!page_class)
        return STATUS_OK;
    e->page_class = malloc(pages);
    if (!e->page_class)
        return STATUS_NO_MEMORY;
    memcpy(e->page_class, page_class, pages);
    for (uint32_t l = 0; l < e->layers; l++) {
        const uint8_t *class = page_class + (uint64_t)l * e->experts;
        e->layer_class[l] = class[0];
        for (uint32_t i = 1; i < e->experts; i++)
            if (class[i] != class[0])
                e->layer_class[l] = CLASS_MIXED;
    }
    return STATUS_OK;
}

enum status evict_open(struct evict **out, const struct evict_config *config, struct error *error)
{
    uint64_t pages = (uint64_t)config->layers * config->experts;
    struct evict *e = calloc(1, sizeof *e);
    if (!e)
        goto fail;
    CHECK(config->kind != EVICT_LEARNED || (config->value && config->history));
    e->layers = config->layers;
    e->experts = config->experts;
    e->kind = config->kind;
    e->value = config->value;
    e->history = config->history;
    e->use_weight = 1.0;
    e->random = (config->seed * 2 + 1) * 0x9E3779B97F4A7C15u; /* odd, so never 0; spread out */
    e->runs = calloc(e->layers, sizeof *e->runs);
    e->used_run = calloc(pages, sizeof *e->used_run);
    e->used_clock = calloc(pages, sizeof *e->used_clock);
    e->uses = calloc(pages, sizeof *e->uses);
    e->expected = calloc(e->layers, sizeof *e->expected);
    e->forecast = calloc(e->layers, sizeof *e->forecast);
    e->fade = calloc(e->layers + 1, sizeof *e->fade);
    if (!e->runs || !e->used_run || !e->used_clock || !e->uses || !e->expected || !e->forecast ||
        !e->fade || copy_classes(e, config->page_class) != STATUS_OK)
        goto fail;
    for (int t = 0; t < MEMORY_TIERS; t++)
        if (shelf_open(&e->shelf[t], e->layers, pages) != STATUS_OK)
            goto fail;
    evict_resized(e);
    *out = e;
    return STATUS_OK;
fail:
    evict_close(e);
    return error_set(error, STATUS_NO_MEMORY, "no memory for the use counts of %u x %u experts",
                     config->layers, config->experts);
}

void evict_resized(struct evict *e)
{
    float gamma = e->value ? use_value_gamma_of(e->value) : 1.0f;
    for (uint32_t d = 0; d <= e->layers; d++)
        e->fade[d] = powf(gamma, (float)d / (float)e->layers);
}

void evict_close(struct evict *e)
{
    if (!e)
        return;
    for (int t = 0; t < MEMORY_TIERS; t++) {
        free(e->shelf[t].resident);
        free(e->shelf[t].count);
        free(e->shelf[t].lowest);
    }
    free(e->runs);
    free(e->used_run);
    free(e->used_clock);
    free(e->uses);
    free(e->expected);
    free(e->forecast);
    free(e->fade);
    free(e->page_class);
    free(e->layer_class);
    free(e);
}

/* ---- what is told ---- */

static void forget_lowest(struct evict *e, uint32_t layer)
{
    for (int t = 0; t < MEMORY_TIERS; t++)
        e->shelf[t].lowest[layer] = PAGE_NONE;
}

static void age_uses(struct evict *e)
{
    if (e->clock % ((uint64_t)LFU_PERIOD_ROUNDS * e->layers) != 0)
        return;
    e->use_weight /= LFU_BETA;
    for (uint32_t l = 0; l < e->layers; l++) /* newcomers are spared by the present weight */
        forget_lowest(e, l);
    if (e->use_weight < LFU_SCALE_MAX)
        return;
    uint64_t pages = (uint64_t)e->layers * e->experts;
    for (uint64_t p = 0; p < pages; p++)
        e->uses[p] /= e->use_weight;
    e->use_weight = 1.0;
}

void evict_run(struct evict *e, const struct layer_run *run)
{
    CHECK(run->layer < e->layers);
    e->now = run->layer;
    e->clock++;
    e->runs[run->layer]++;
    e->expected[run->layer] = NULL;
    age_uses(e);
    for (uint32_t i = 0; i < run->count; i++) {
        page_id page = run->layer * e->experts + run->experts[i];
        e->used_run[page] = e->runs[run->layer];
        e->used_clock[page] = e->clock;
        e->uses[page] += e->use_weight;
    }
    forget_lowest(e, run->layer);
}

void evict_expect(struct evict *e, uint32_t layer, const float *probability)
{
    if (e->kind != EVICT_LEARNED || (!probability && !e->expected[layer]))
        return;
    e->expected[layer] = probability;
    forget_lowest(e, layer);
}

void evict_forecast(struct evict *e, uint32_t layer, const float *chance)
{
    if (!chance && !e->forecast[layer])
        return;
    e->forecast[layer] = chance;
    forget_lowest(e, layer);
}

void evict_resident(struct evict *e, enum memory_tier tier, page_id page, bool resident)
{
    struct shelf *s = &e->shelf[tier];
    uint32_t layer = page / e->experts;
    if (s->resident[page] == resident)
        return;
    s->resident[page] = resident;
    s->count[layer] += resident ? 1 : -1u;
    if (resident) {
        /* A page that was brought counts as wanted in its layer's last run, so that a guess is not
         * thrown out before its layer had its chance. That moves its rank in both tiers. */
        e->used_run[page] = e->runs[layer];
        e->used_clock[page] = e->clock;
        forget_lowest(e, layer);
    } else if (s->lowest[layer] == page) {
        s->lowest[layer] = PAGE_NONE;
    }
}

/* ---- ranks ---- */

/* Layers until this one runs again, 1 .. layers. */
static inline uint32_t layers_until(const struct evict *e, uint32_t layer)
{
    return layer > e->now ? layer - e->now : layer + e->layers - e->now;
}

/* Rounds until a page is used, negative so that the furthest is the lowest: as many as it has sat
 * out (transient), or as its chance of use in each lets expect (stable). */
static double rank_by_rounds(const struct evict *e, page_id page)
{
    uint32_t layer = page / e->experts;
    const float *chance = e->forecast[layer];
    if (e->kind == EVICT_FORECAST && chance)
        return -(1.0 / chance[page % e->experts] - 1.0);
    return -(double)(e->runs[layer] - e->used_run[page]);
}

/* The order inside a layer; lower leaves sooner. The same for all pages of a layer between its
 * runs. */
static double rank_in_layer(const struct evict *e, enum memory_tier tier, page_id page)
{
    uint32_t layer = page / e->experts, expert = page % e->experts;
    switch (e->kind) {
    case EVICT_LEARNED: {
        if (tier == MEMORY_HOST)
            return e->forecast[layer] ? e->forecast[layer][expert] : e->history->slow[page];
        float value = use_value_layer(e->value, layer)[expert];
        float soon = e->expected[layer] ? e->expected[layer][expert] : 0.0f;
        return value > soon ? value : soon;
    }
    case EVICT_ROUND:
    case EVICT_FORECAST:
        return rank_by_rounds(e, page);
    case EVICT_LRU:
        return (double)e->used_clock[page];
    case EVICT_LFU:
        return e->uses[page] + (e->runs[layer] <= e->used_run[page] + 1 ? e->use_weight : 0.0);
    default:
        return 0; /* RANDOM has no ranks, see random_victim */
    }
}

/* Makes ranks of different layers comparable. */
static double rank_across(const struct evict *e, enum memory_tier tier, uint32_t layer, double rank)
{
    uint32_t until = layers_until(e, layer);
    if (e->kind == EVICT_LEARNED)
        return tier == MEMORY_HOST ? rank : rank * e->fade[until];
    if (e->kind == EVICT_ROUND || e->kind == EVICT_FORECAST)
        return rank * e->layers - until;
    return rank;
}

float evict_worth(const struct evict *e, page_id page)
{
    uint32_t layer = page / e->experts;
    if (e->kind == EVICT_LEARNED)
        return (float)rank_across(e, MEMORY_DEVICE, layer,
                                  rank_in_layer(e, MEMORY_DEVICE, page));
    return e->runs[layer] > e->used_run[page] + 1 ? 0.0f : 1.0f;
}

bool evict_live(const struct evict *e, page_id page)
{
    uint32_t layer = page / e->experts;
    return layer != e->now && e->used_run[page] == e->runs[layer];
}

/* scan_layer for the rule that runs by default, without a look at the rule for each page. */
static page_id scan_values(const struct evict *e, uint32_t layer, evict_allowed_fn *allowed,
                           void *arg)
{
    const uint8_t *resident = e->shelf[MEMORY_DEVICE].resident + (size_t)layer * e->experts;
    const float *value = use_value_layer(e->value, layer), *soon = e->expected[layer];
    page_id first = layer * e->experts, best = PAGE_NONE;
    float best_rank = 2.0f; /* above any */
    for (uint32_t i = 0; i < e->experts; i++) {
        float rank = soon && soon[i] > value[i] ? soon[i] : value[i];
        if (resident[i] && rank < best_rank &&
            (!allowed || allowed(arg, MEMORY_DEVICE, first + i))) {
            best = first + i;
            best_rank = rank;
        }
    }
    return best;
}

/* The lowest page of a layer that may leave. */
static page_id scan_layer(const struct evict *e, enum memory_tier tier, uint32_t layer,
                          uint32_t size_class, evict_allowed_fn *allowed, void *arg)
{
    if (e->kind == EVICT_LEARNED && tier == MEMORY_DEVICE && e->layer_class[layer] != CLASS_MIXED)
        return scan_values(e, layer, allowed, arg);
    const uint8_t *resident = e->shelf[tier].resident + (size_t)layer * e->experts;
    page_id first = layer * e->experts, best = PAGE_NONE;
    double best_rank = 0;
    for (uint32_t i = 0; i < e->experts; i++) {
        if (!resident[i] || (e->page_class && e->page_class[first + i] != size_class))
            continue;
        double rank = rank_in_layer(e, tier, first + i);
        if ((best == PAGE_NONE || rank < best_rank) &&
            (!allowed || allowed(arg, tier, first + i))) {
            best = first + i;
            best_rank = rank;
        }
    }
    return best;
}

/* The same, remembered where it can be. */
static page_id lowest_of(struct evict *e, enum memory_tier tier, uint32_t layer,
                         uint32_t size_class, evict_allowed_fn *allowed, void *arg)
{
    struct shelf *s = &e->shelf[tier];
    bool mixed = e->layer_class[layer] == CLASS_MIXED;
    if (s->count[layer] == 0 || (!mixed && e->layer_class[layer] != size_class))
        return PAGE_NONE;
    if (mixed)
        return scan_layer(e, tier, layer, size_class, allowed, arg);
    if (s->lowest[layer] == PAGE_NONE)
        s->lowest[layer] = scan_layer(e, tier, layer, size_class, NULL, NULL);
    if (allowed(arg, tier, s->lowest[layer]))
        return s->lowest[layer];
    return scan_layer(e, tier, layer, size_class, allowed, arg);
}

/* In the host tier: the lowest page of a layer that is in the device tier too. */
static page_id double_of(const struct evict *e, uint32_t layer, uint32_t size_class,
                         evict_allowed_fn *allowed, void *arg)
{
    const uint8_t *host = e->shelf[MEMORY_HOST].resident + (size_t)layer * e->experts;
    const uint8_t *device = e->shelf[MEMORY_DEVICE].resident + (size_t)layer * e->experts;
    page_id first = layer * e->experts, best = PAGE_NONE;
    double best_rank = 0;
    for (uint32_t i = 0; i < e->experts; i++) {
        if (!host[i] || !device[i] || (e->page_class && e->page_class[first + i] != size_class))
            continue;
        double rank = rank_in_layer(e, MEMORY_HOST, first + i);
        if ((best == PAGE_NONE || rank < best_rank) && allowed(arg, MEMORY_HOST, first + i)) {
            best = first + i;
            best_rank = rank;
        }
    }
    return best;
}

static uint32_t draw_below(struct evict *e, uint32_t limit)
{
    e->random ^= e->random << 13; /* xorshift64 (Marsaglia 2003) */
    e->random ^= e->random >> 7;
    e->random ^= e->random << 17;
    return (uint32_t)((e->random >> 32) * limit >> 32);
}

/* Drawn anew each time, from all that may leave: draws kept with the pages would leave the high
 * ones behind, and then the newest page is always the lowest. */
static page_id random_victim(struct evict *e, enum memory_tier tier, uint32_t size_class,
                             bool doubles, evict_allowed_fn *allowed, void *arg)
{
    page_id best = PAGE_NONE, pages = e->layers * e->experts;
    uint32_t seen = 0;
    for (page_id page = 0; page < pages; page++)
        if (e->shelf[tier].resident[page] && (!doubles || e->shelf[MEMORY_DEVICE].resident[page]) &&
            (e->page_class ? e->page_class[page] : 0) == size_class && allowed(arg, tier, page) &&
            draw_below(e, ++seen) == 0)
            best = page;
    return best;
}

static page_id ranked_victim(struct evict *e, enum memory_tier tier, uint32_t size_class,
                             bool doubles, evict_allowed_fn *allowed, void *arg)
{
    page_id best = PAGE_NONE;
    double best_rank = 0;
    for (uint32_t layer = 0; layer < e->layers; layer++) {
        page_id page = doubles ? double_of(e, layer, size_class, allowed, arg)
                               : lowest_of(e, tier, layer, size_class, allowed, arg);
        if (page == PAGE_NONE)
            continue;
        double rank = rank_across(e, tier, layer, rank_in_layer(e, tier, page));
        if (best == PAGE_NONE || rank < best_rank) {
            best = page;
            best_rank = rank;
        }
    }
    return best;
}

page_id evict_victim(struct evict *e, enum memory_tier tier, uint32_t size_class,
                     evict_allowed_fn *allowed, void *arg)
{
    page_id best = PAGE_NONE;
    for (int doubles = tier == MEMORY_HOST; doubles >= 0 && best == PAGE_NONE; doubles--)
        best = (e->kind == EVICT_RANDOM ? random_victim : ranked_victim)(e, tier, size_class,
                                                                         doubles, allowed, arg);
    return best;
}
