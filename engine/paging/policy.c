#include "engine/paging/policy.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/predict/expert_mixture.h"
#include "engine/predict/history.h"
#include "engine/predict/lookahead.h"
#include "engine/predict/previous.h"
#include "engine/predict/transition.h"
#include "engine/predict/weight_rows.h"
#include "memory/base/check.h"

#define WASTE_SHARE 0.09f
#define PREVIOUS_BYTES (16ull << 20)
#define TRANSITION_BYTES (64ull << 20)
#define CHANCE_LEAST 1e-4f
enum {
    AHEAD = 2,
    FORECAST_TICKS = 10,
    /* Of one page, for the budget. */
    EVICT_PAGE_BYTES = 27,
    LOADS_PAGE_BYTES = 909, /* predict/loads.h, without the LSTM */
    GUESS_PAGE_BYTES =
        30, /* rows of the planner, of the mixture's three members, ranks told ahead */
};

struct policy {
    struct policy_config config; /* its page_class is not ours */
    uint32_t layers, experts, ahead;
    uint32_t present;
    bool idle;                   /* everything fits */
    bool unasked;                /* predictors know more than eviction and planner were told */
    bool learns;                 /* somebody asks for use values or hazards */
    enum evict_kind evict_kind;
    struct history history;
    struct use_value *value;
    struct evict *evict;
    struct prefetch *prefetch;   /* NULL: off */
    enum foresight foresight;    /* as asked for */
    struct predictor *predictor[FORESIGHT_KINDS]; /* NULL: not in use */
    struct expert_mixture mixture;
    struct loads *loads;         /* NULL: no slow clock */
    float *chance;               /* [layers][experts] of use in one run, by forecast; with loads */
    float *routed;               /* [layers] tokens x k in one decode run, moving average */
};

const char *foresight_name(enum foresight kind)
{
    static const char *const names[FORESIGHT_KINDS] = {"auto", "transition", "previous",
                                                       "lookahead"};
    return names[kind];
}

static bool wants(const struct policy *p, enum foresight kind)
{
    return p->foresight == kind || p->foresight == FORESIGHT_AUTO;
}

/* The predictors of experts serve prefetching alone: without it none is made. */
static enum status open_foresight(struct policy *p, const struct policy_config *c,
                                  struct error *error)
{
    struct predictor *members[FORESIGHT_KINDS];
    uint32_t count = 0;
    enum status status = STATUS_OK;
    struct prefetch_config prefetch = {
        .layers = c->layers, .experts = c->experts, .slots = c->slots, .ahead = p->ahead,
        .mode = c->prefetch, .waste_share = c->waste_share > 0 ? c->waste_share : WASTE_SHARE};
    if (c->prefetch == PREFETCH_OFF || c->everything_fits || c->layers < 2)
        return STATUS_OK;
    status = prefetch_open(&p->prefetch, &prefetch, error);
    if (status == STATUS_OK && wants(p, FORESIGHT_PREVIOUS))
        status = previous_open(&p->predictor[FORESIGHT_PREVIOUS], &p->history, PREVIOUS_BYTES,
                               error);
    if (status == STATUS_OK && wants(p, FORESIGHT_LOOKAHEAD))
        status = lookahead_open(&p->predictor[FORESIGHT_LOOKAHEAD], c->layers, c->experts, error);
    if (status == STATUS_OK && wants(p, FORESIGHT_TRANSITION))
        status = transition_open(&p->predictor[FORESIGHT_TRANSITION], &p->history, p->ahead,
                                 TRANSITION_BYTES, error);
    if (status != STATUS_OK)
        return status;
    /* The cheapest first: ties and beginnings go to it. */
    static const enum foresight by_cost[] = {FORESIGHT_PREVIOUS, FORESIGHT_TRANSITION,
                                             FORESIGHT_LOOKAHEAD};
    for (size_t i = 0; i < sizeof by_cost / sizeof by_cost[0]; i++)
        if (p->predictor[by_cost[i]])
            members[count++] = p->predictor[by_cost[i]];
    return expert_mixture_open(&p->mixture, members, count, c->layers, c->experts, error);
}

static enum status open_slow_clock(struct policy *p, const struct loads_config *loads,
                                   struct error *error)
{
    p->chance = calloc((size_t)p->layers * p->experts, sizeof *p->chance);
    p->routed = calloc(p->layers, sizeof *p->routed);
    if (!p->chance || !p->routed)
        return STATUS_NO_MEMORY;
    return loads_open(&p->loads, loads, error);
}

static uint32_t layers_ahead(const struct policy_config *c)
{
    uint32_t ahead = c->ahead ? c->ahead : AHEAD, most = c->layers > 1 ? c->layers - 1 : 1;
    return ahead < most ? ahead : most;
}

uint64_t policy_bytes(const struct policy_config *c)
{
    uint64_t pages = (uint64_t)c->layers * c->experts;
    struct use_value_config value = {.layers = c->layers, .experts = c->experts};
    uint64_t bytes = pages * EVICT_PAGE_BYTES;
    if (c->slow_clock)
        bytes += pages * LOAD_PHASES * LOADS_PAGE_BYTES;
    if (c->everything_fits)
        return bytes;
    bytes += history_bytes(c->layers, c->experts) + use_value_bytes(&value);
    if (c->prefetch == PREFETCH_OFF)
        return bytes;
    return bytes + pages * GUESS_PAGE_BYTES +
           pages * sizeof(float) *
               weight_rows_fit(c->layers, c->experts, c->experts, PREVIOUS_BYTES) +
           transition_bytes(c->layers, c->experts, layers_ahead(c), TRANSITION_BYTES);
}

enum status policy_open(struct policy **out, const struct policy_config *c, struct error *error)
{
    enum status status = STATUS_NO_MEMORY;
    struct policy *p = calloc(1, sizeof *p);
    if (!p)
        goto fail;
    p->config = *c;
    p->layers = c->layers;
    p->experts = c->experts;
    p->foresight = c->foresight;
    p->idle = c->everything_fits;
    p->evict_kind = c->evict;
    p->learns = c->evict == EVICT_LEARNED || c->prefetch != PREFETCH_OFF;
    p->ahead = layers_ahead(c);
    CHECK(p->ahead <= POLICY_AHEAD_MAX);
    uint32_t pages = c->layers * c->experts;
    struct use_value_config value = {.layers = c->layers, .experts = c->experts,
                                     .gamma = use_value_gamma(c->slots, pages)};
    status = history_open(&p->history, c->layers, c->experts, c->top_k, error);
    if (status == STATUS_OK)
        status = use_value_open(&p->value, &value, &p->history, error);
    struct evict_config evict = {.layers = c->layers,
                                 .experts = c->experts,
                                 .kind = c->evict,
                                 .page_class = c->page_class,
                                 .value = p->value,
                                 .history = &p->history,
                                 .seed = c->seed};
    if (status == STATUS_OK)
        status = evict_open(&p->evict, &evict, error);
    if (status == STATUS_OK)
        status = open_foresight(p, c, error);
    struct loads_config loads = {.layers = c->layers, .experts = c->experts, .top_k = c->top_k};
    memcpy(loads.lstm, c->lstm, sizeof loads.lstm);
    if (status == STATUS_OK && c->slow_clock)
        status = open_slow_clock(p, &loads, error);
    if (status != STATUS_OK)
        goto fail;
    *out = p;
    return STATUS_OK;
fail:
    policy_close(p);
    return error_set(error, status, "no memory for the paging policy of %u x %u experts", c->layers,
                     c->experts);
}

static void close_foresight(struct policy *p)
{
    expert_mixture_close(&p->mixture);
    memset(&p->mixture, 0, sizeof p->mixture);
    for (int k = 0; k < FORESIGHT_KINDS; k++) {
        predictor_close(p->predictor[k]);
        p->predictor[k] = NULL;
    }
    prefetch_close(p->prefetch);
    p->prefetch = NULL;
}

enum status policy_resized(struct policy *p, uint32_t slots, bool everything_fits,
                           struct error *error)
{
    enum status status = STATUS_OK;
    p->config.slots = slots;
    p->config.everything_fits = p->idle = everything_fits;
    p->unasked = false;
    use_value_set_gamma(p->value, use_value_gamma(slots, p->layers * p->experts));
    evict_resized(p->evict);
    if (p->prefetch)
        prefetch_resized(p->prefetch, slots);
    else
        status = open_foresight(p, &p->config, error);
    if (status != STATUS_OK)
        close_foresight(p);
    return status;
}

void policy_close(struct policy *p)
{
    if (!p)
        return;
    close_foresight(p);
    loads_close(p->loads);
    free(p->chance);
    free(p->routed);
    evict_close(p->evict);
    use_value_close(p->value);
    history_close(&p->history);
    free(p);
}

/* ---- a layer runs ---- */

static bool foretelling(const struct policy *p)
{
    return p->prefetch && !p->idle && prefetch_active(p->prefetch);
}

/* Asks what the layers ahead will use and tells eviction and the planner: once they want to
 * know. */
static void look_ahead(struct policy *p)
{
    if (!p->unasked)
        return;
    p->unasked = false;
    for (uint32_t d = 1; d <= p->ahead; d++) {
        uint32_t layer = (p->present + d) % p->layers;
        float *row = prefetch_row(p->prefetch, layer);
        if (!expert_mixture_experts(&p->mixture, d, row)) {
            evict_expect(p->evict, layer, NULL);
            continue;
        }
        prefetch_expect(p->prefetch, d);
        evict_expect(p->evict, layer, row);
    }
}

/* A tick of decoding closed: pages of a stable layer are placed by forecast, those of a transient
 * one as they come. */
static void place_by_forecast(struct policy *p, uint32_t layer)
{
    float *chance = p->chance + (size_t)layer * p->experts;
    struct state_figures state;
    loads_state(p->loads, LOAD_DECODE, layer, &state);
    if (!state.stable || !loads_forecast(p->loads, LOAD_DECODE, layer, FORECAST_TICKS, chance)) {
        evict_forecast(p->evict, layer, NULL);
        return;
    }
    for (uint32_t e = 0; e < p->experts; e++) {
        /* Used by none of `routed` independent draws with probability e^(-share x routed). */
        float used = 1.0f - expf(-chance[e] * p->routed[layer]);
        chance[e] = used > CHANCE_LEAST ? used : CHANCE_LEAST;
    }
    evict_forecast(p->evict, layer, chance);
}

static void follow_loads(struct policy *p, const struct layer_run *run)
{
    if (!run->prefill) {
        uint64_t routed = 0;
        for (uint32_t i = 0; i < run->count; i++)
            routed += run->tokens[i];
        float *mean = &p->routed[run->layer];
        *mean += (*mean > 0 ? 0.02f : 1.0f) * ((float)routed - *mean);
    }
    if (loads_observe(p->loads, run) && !run->prefill && !p->idle)
        place_by_forecast(p, run->layer);
}

void policy_run(struct policy *p, const struct layer_run *run)
{
    p->present = run->layer;
    if (p->loads)
        follow_loads(p, run);
    if (p->idle)
        return;
    if (p->learns) {
        use_value_before(p->value, run);
        history_observe(&p->history, run);
        use_value_after(p->value, run);
    }
    evict_run(p->evict, run);
    if (!p->prefetch)
        return;
    prefetch_run(p->prefetch, run);
    if (!foretelling(p))
        return;
    expert_mixture_score(&p->mixture, run, p->history.used);
    for (int k = 0; k < FORESIGHT_KINDS; k++)
        if (p->predictor[k])
            p->predictor[k]->ops->observe(p->predictor[k], run);
    p->unasked = true;
}

void policy_lookahead(struct policy *p, uint32_t distance, const float *score)
{
    struct predictor *lookahead = p->predictor[FORESIGHT_LOOKAHEAD];
    if (!lookahead || distance > LOOKAHEAD_MAX || !foretelling(p))
        return;
    lookahead_tell(lookahead, distance, score);
    p->unasked |= distance <= p->ahead;
}

uint32_t policy_looks_ahead(const struct policy *p)
{
    return p->predictor[FORESIGHT_LOOKAHEAD] && foretelling(p) ? p->ahead : 0;
}

void policy_resident(struct policy *p, enum memory_tier tier, page_id page, bool resident)
{
    evict_resident(p->evict, tier, page, resident);
    if (p->prefetch && tier == MEMORY_DEVICE)
        prefetch_resident(p->prefetch, page, resident);
}

page_id policy_victim(struct policy *p, enum memory_tier tier, uint32_t size_class,
                      evict_allowed_fn *allowed, void *arg)
{
    look_ahead(p);
    return evict_victim(p->evict, tier, size_class, allowed, arg);
}

bool policy_live(const struct policy *p, page_id page)
{
    return evict_live(p->evict, page);
}

/* With a worth of w = E[gamma^(N - 1)], N runs until its next use, a page used in the same manner
 * ever after has w / (1 - gamma w) discounted uses; the horizon of gamma is 1 / (1 - gamma)
 * runs. */
double policy_uses(const struct policy *p, page_id page, double rounds)
{
    double worth = evict_worth(p->evict, page);
    if (p->evict_kind != EVICT_LEARNED)
        return worth;
    double gamma = use_value_gamma_of(p->value), far = rounds - 1 / (1 - gamma);
    return worth / (1 - gamma * fmin(worth, 1)) + (far > 0 ? far * p->history.slow[page] : 0);
}

/* ---- prefetch ---- */

void policy_spent(struct policy *p, double ns)
{
    if (p->prefetch)
        prefetch_spent(p->prefetch, ns);
}

void policy_measured(struct policy *p, double page_ns, double layer_ns)
{
    if (p->prefetch)
        prefetch_measured(p->prefetch, page_ns, layer_ns);
}

bool policy_prefetch_next(struct policy *p, struct prefetch_pick *pick)
{
    if (!p->prefetch || p->idle)
        return false;
    look_ahead(p);
    return prefetch_next(p->prefetch, pick);
}

page_id policy_prefetch_victim(struct policy *p, const struct prefetch_pick *pick,
                               enum memory_tier tier, uint32_t size_class,
                               evict_allowed_fn *allowed, void *arg)
{
    page_id victim = evict_victim(p->evict, tier, size_class, allowed, arg);
    if (victim == PAGE_NONE || (tier == MEMORY_DEVICE &&
                                evict_worth(p->evict, victim) >= pick->probability))
        return PAGE_NONE;
    return victim;
}

void policy_prefetch_issued(struct policy *p, const struct prefetch_pick *pick, page_id displaced)
{
    float worth = displaced == PAGE_NONE ? 0.0f : evict_worth(p->evict, displaced);
    prefetch_issued(p->prefetch, pick, displaced, worth);
}

bool policy_prefetch_late(const struct policy *p, page_id page)
{
    return p->prefetch && prefetch_late(p->prefetch, page);
}

void policy_prefetch_dropped(struct policy *p, page_id page)
{
    if (p->prefetch)
        prefetch_dropped(p->prefetch, page);
}

/* ---- figures ---- */

void policy_prefetch_count(const struct policy *p, uint32_t layer, struct prefetch_count *out)
{
    *out = (struct prefetch_count){0};
    if (p->prefetch)
        prefetch_count(p->prefetch, layer, out);
}

const struct loads *policy_loads(const struct policy *p)
{
    return p->loads;
}

void policy_counters(const struct policy *p, struct policy_counters *out)
{
    *out = (struct policy_counters){.foresight = FORESIGHT_AUTO};
    if (!p->prefetch)
        return;
    prefetch_figures(p->prefetch, &out->prefetch);
    for (uint32_t i = 0; i < p->mixture.count; i++)
        for (int k = 0; k < FORESIGHT_KINDS; k++)
            if (p->predictor[k] && p->predictor[k] == p->mixture.member[i]) {
                out->foresight_loss[k] = p->mixture.total[i].loss;
                if (p->mixture.believed == i)
                    out->foresight = (enum foresight)k;
            }
}
