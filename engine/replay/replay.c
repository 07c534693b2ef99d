#include "engine/replay/replay.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/replay/belady.h"
#include "engine/replay/lru.h"
#include "engine/replay/recorded_lookahead.h"
#include "engine/replay/virtual_link.h"
#include "memory/base/check.h"

/* Of a page. */
enum {
    RESIDENT = 1,
    WANTED = 2,  /* by the present run: may not leave */
    GUESSED = 4, /* came by prefetch and was not asked for since */
};

/* Prefetches issued for the next run of one layer, to be judged by it. */
struct guesses {
    uint32_t count;
    struct prefetch_pick *pick; /* [experts] */
};

struct replay {
    const struct schedule *schedule;
    uint32_t slots, free_slots; /* a prefetch in the queue holds its slot */
    struct policy *policy;
    struct virtual_link link;
    double layer_ns, now_ns;
    double spent_ns;  /* of the run before */
    uint8_t *state;             /* [pages] */
    uint32_t *experts, *rows;   /* [distinct_max] the present run, as the policy sees it */
    page_id *late;              /* [distinct_max] misses that wait for pages to be computed */
    bool prefetch;
    struct guesses *guesses;    /* [layers]; with prefetch only */
    struct prefetch_pick *picks;
    struct recorded_lookahead *lookahead; /* NULL: none */
    struct replay_result *out;
};

static bool may_leave(void *arg, enum memory_tier tier, page_id page)
{
    const struct replay *r = arg;
    (void)tier;
    return !(r->state[page] & WANTED);
}

static void evict(struct replay *r, page_id page)
{
    CHECK_MSG(r->state[page] & RESIDENT, "page %u is not there to be evicted", page);
    r->out->prefetch_wasted += (r->state[page] & GUESSED) != 0;
    r->state[page] &= (uint8_t)~(RESIDENT | GUESSED);
    r->free_slots++;
    policy_resident(r->policy, MEMORY_DEVICE, page, false);
}

/* ---- demand ---- */

/* False: every slot is taken by what this run still has to compute. */
static bool make_room(struct replay *r)
{
    if (r->free_slots)
        return true;
    page_id victim = policy_victim(r->policy, MEMORY_DEVICE, 0, may_leave, r);
    if (victim == PAGE_NONE)
        return false;
    evict(r, victim);
    return true;
}

static void settle(struct replay *r, page_id page)
{
    r->state[page] |= RESIDENT;
    policy_resident(r->policy, MEMORY_DEVICE, page, true);
}

/* The time that the miss adds to the stall; < 0: there is no room for it yet. */
static double fetch(struct replay *r, page_id page)
{
    uint32_t at = r->link.queued ? virtual_link_find(&r->link, page) : VIRTUAL_LINK_QUEUE;
    double ns = r->link.page_ns;
    if (at < VIRTUAL_LINK_QUEUE) {
        ns = virtual_link_take(&r->link, at);
        r->out->joined_pages++;
        r->out->prefetch_used++;
    } else {
        if (!make_room(r))
            return -1;
        r->free_slots--;
        r->out->demand_pages++;
    }
    settle(r, page);
    return ns;
}

/* All pages of the run, in order; returns the stall. */
static double compute_pages(struct replay *r, const page_id *pages, uint32_t count)
{
    double stall_ns = 0;
    uint32_t late = 0, hits = 0;
    for (uint32_t i = 0; i < count; i++)
        r->state[pages[i]] |= WANTED;
    for (uint32_t i = 0; i < count; i++) {
        page_id page = pages[i];
        uint8_t state = r->state[page];
        if (state & RESIDENT) {
            hits++;
            r->out->prefetch_used += (state & GUESSED) != 0;
            r->state[page] = RESIDENT;
            continue;
        }
        double ns = fetch(r, page);
        if (ns < 0)
            r->late[late++] = page;
        else
            stall_ns += ns;
        r->state[page] &= (uint8_t)~WANTED;
    }
    for (uint32_t i = 0; i < late; i++) {
        double ns = fetch(r, r->late[i]);
        CHECK_MSG(ns >= 0, "no page may leave although all were computed");
        stall_ns += ns;
    }
    r->out->hits += hits;
    virtual_link_demand(&r->link, stall_ns);
    return stall_ns;
}

/* ---- prefetch ---- */

/* Takes a prefetch that has not begun out of the queue, and gives its slot back. */
static void cancel(struct replay *r, uint32_t at)
{
    page_id page = r->link.page[at];
    virtual_link_take(&r->link, at);
    policy_prefetch_dropped(r->policy, page);
    r->free_slots++;
    r->out->prefetch_pages--;
    r->out->prefetch_cancelled++;
}

/* Before the policy hears of the run: a prefetch of its pages that has not begun is not one any
 * more, the page is demand like any other. */
static void cancel_overtaken(struct replay *r, const page_id *pages, uint32_t count)
{
    for (uint32_t at = r->link.queued; at-- > 0;)
        for (uint32_t i = 0; i < count && !virtual_link_begun(&r->link, at); i++)
            if (pages[i] == r->link.page[at]) {
                cancel(r, at);
                break;
            }
}

static void cancel_late(struct replay *r)
{
    for (uint32_t at = r->link.queued; at-- > 0;)
        if (!virtual_link_begun(&r->link, at) &&
            policy_prefetch_late(r->policy, r->link.page[at]))
            cancel(r, at);
}

/* The layer runs: who was right about it? */
static void judge(struct replay *r, uint32_t layer, const page_id *pages, uint32_t count)
{
    struct guesses *g = &r->guesses[layer];
    for (uint32_t i = 0; i < g->count; i++) {
        const struct prefetch_pick *pick = &g->pick[i];
        struct replay_distance *d = &r->out->distance[pick->distance];
        bool used = false;
        for (uint32_t j = 0; j < count && !used; j++)
            used = pages[j] == pick->page;
        double p = pick->probability;
        p = p < 1e-6 ? 1e-6 : p > 1 - 1e-6 ? 1 - 1e-6 : p;
        d->picks++;
        d->used += used;
        d->probability_sum += p;
        d->log_loss_sum -= log(used ? p : 1 - p);
    }
    g->count = 0;
}

static void remember(struct replay *r, const struct prefetch_pick *pick)
{
    struct guesses *g = &r->guesses[pick->page / r->schedule->experts];
    for (uint32_t i = 0; i < g->count; i++)
        if (g->pick[i].page == pick->page)
            return; /* cancelled, or evicted again, and guessed once more: the first counts */
    if (pick->distance <= POLICY_AHEAD_MAX)
        g->pick[g->count++] = *pick;
}

/* Queues the next prefetch. One slot at least stays for demand. False: nothing is worth it. */
static bool plan(struct replay *r)
{
    struct prefetch_pick pick;
    while (r->link.queued + 1 < r->slots && policy_prefetch_next(r->policy, &pick)) {
        CHECK(!(r->state[pick.page] & RESIDENT) &&
              virtual_link_find(&r->link, pick.page) == VIRTUAL_LINK_QUEUE);
        page_id victim = PAGE_NONE;
        if (!r->free_slots) {
            victim = policy_prefetch_victim(r->policy, &pick, MEMORY_DEVICE, 0, may_leave,
                                                    r);
            if (victim == PAGE_NONE)
                continue;
            evict(r, victim);
        }
        r->free_slots--;
        policy_prefetch_issued(r->policy, &pick, victim);
        virtual_link_queue(&r->link, pick.page);
        r->out->prefetch_pages++;
        remember(r, &pick);
        return true;
    }
    return false;
}

/* The layer computes, its pages may not leave, and the link has nothing else to do. */
static void prefetch(struct replay *r, const page_id *pages, uint32_t count)
{
    double idle_ns = r->layer_ns;
    bool more = true;
    for (uint32_t i = 0; i < count; i++)
        r->state[pages[i]] |= WANTED;
    while (idle_ns > 0) {
        while (more && r->link.queued < VIRTUAL_LINK_QUEUE)
            more = plan(r);
        page_id arrived = virtual_link_idle(&r->link, &idle_ns);
        if (arrived == PAGE_NONE)
            break;
        r->state[arrived] |= GUESSED;
        settle(r, arrived);
    }
    for (uint32_t i = 0; i < count; i++)
        r->state[pages[i]] &= (uint8_t)~WANTED;
}

static void look_ahead(struct replay *r, uint32_t step, uint32_t layer)
{
    for (uint32_t d = 1; d <= POLICY_AHEAD_MAX; d++) {
        const float *score = recorded_lookahead_ask(r->lookahead, step, layer, d);
        if (score)
            policy_lookahead(r->policy, d, score);
    }
}

/* ---- the loop ---- */

static void run_layer(struct replay *r, uint32_t step, uint32_t layer)
{
    const struct schedule *s = r->schedule;
    uint32_t run = step * s->layers + layer, first = s->run_start[run];
    const page_id *pages = s->pages + first;
    uint32_t count = s->run_start[run + 1] - first;
    struct layer_run seen = {layer, s->step_start[step + 1] - s->step_start[step], count,
                             r->experts, r->rows, s->prefill[step] != 0};
    for (uint32_t i = 0; i < count; i++)
        r->experts[i] = pages[i] - layer * s->experts;
    if (s->rows_of)
        for (uint32_t i = 0; i < count; i++)
            r->rows[i] = s->rows_of[first + i];
    if (r->prefetch) {
        judge(r, layer, pages, count);
        cancel_overtaken(r, pages, count);
    }
    if (r->spent_ns > 0 && !seen.prefill)
        policy_spent(r->policy, r->spent_ns);
    if (count)
        policy_run(r->policy, &seen);
    if (count && r->lookahead)
        look_ahead(r, step, layer);
    if (r->prefetch)
        cancel_late(r);
    double stall_ns = compute_pages(r, pages, count);
    if (r->prefetch)
        prefetch(r, pages, count);
    r->out->stall_us += stall_ns / 1e3;
    r->spent_ns = stall_ns + r->layer_ns;
    r->now_ns += r->spent_ns;
}

static enum status open_arrays(struct replay *r)
{
    const struct schedule *s = r->schedule;
    size_t most = s->distinct_max ? s->distinct_max : 1;
    r->state = calloc((size_t)s->layers * s->experts, 1);
    r->experts = malloc(sizeof *r->experts * most);
    r->rows = malloc(sizeof *r->rows * most);
    r->late = malloc(sizeof *r->late * most);
    if (!r->state || !r->experts || !r->rows || !r->late)
        return STATUS_NO_MEMORY;
    for (size_t i = 0; i < most; i++)
        r->rows[i] = 1;
    if (!r->prefetch)
        return STATUS_OK;
    r->guesses = calloc(s->layers, sizeof *r->guesses);
    r->picks = malloc(sizeof *r->picks * s->layers * s->experts);
    if (!r->guesses || !r->picks)
        return STATUS_NO_MEMORY;
    for (uint32_t i = 0; i < s->layers; i++)
        r->guesses[i].pick = r->picks + (size_t)i * s->experts;
    return STATUS_OK;
}

static enum status open_policy(struct replay *r, const struct replay_config *c, struct error *error)
{
    const struct schedule *s = r->schedule;
    struct policy_config config = {
        .layers = s->layers, .experts = s->experts,
        .top_k = s->trace ? s->trace->top_k : s->distinct_max,
        .slots = r->slots, .evict = c->evict, .foresight = c->foresight, .prefetch = c->prefetch,
        .slow_clock = c->evict == EVICT_FORECAST, .seed = c->seed};
    enum status status = policy_open(&r->policy, &config, error);
    if (status != STATUS_OK)
        return status;
    policy_measured(r->policy, r->link.page_ns, r->layer_ns);
    bool listens = c->foresight == FORESIGHT_AUTO || c->foresight == FORESIGHT_LOOKAHEAD;
    if (!listens)
        return STATUS_OK;
    return recorded_lookahead_open(&r->lookahead, s, POLICY_AHEAD_MAX, error);
}

static void finish(struct replay *r, const struct replay_config *c)
{
    struct replay_result *out = r->out;
    uint64_t pages = (uint64_t)r->schedule->layers * r->schedule->experts;
    for (uint32_t at = r->link.queued; at-- > 0;) {
        if (virtual_link_begun(&r->link, at))
            out->prefetch_wasted++;
        else
            cancel(r, at);
    }
    for (uint64_t page = 0; page < pages; page++)
        out->prefetch_wasted += (r->state[page] & GUESSED) != 0;
    out->tokens = r->schedule->tokens;
    out->steps = r->schedule->steps;
    out->requests = r->schedule->requests;
    out->demand_bytes = out->demand_pages * c->page_bytes;
    out->prefetch_bytes = out->prefetch_pages * c->page_bytes;
    out->prefetch_wasted_bytes = out->prefetch_wasted * c->page_bytes;
    out->bytes = out->demand_bytes + out->prefetch_bytes;
    out->time_us = r->now_ns / 1e3;
    out->link_busy_us = r->link.busy_ns / 1e3;
    out->page_us = r->link.page_ns / 1e3;
    out->layer_us = r->layer_ns / 1e3;
    policy_counters(r->policy, &out->counters);
}

enum status replay_bounds(const struct schedule *s, struct replay_result *out,
                          struct error *error)
{
    struct belady *belady;
    struct belady_result bound;
    struct belady_window window = {
        .pages = s->pages, .requests = s->requests, .slots = out->slots};
    enum status status = belady_open(&belady, s->layers * s->experts, s->requests, error);
    if (status != STATUS_OK)
        return status;
    belady_run(belady, &window, &bound);
    belady_close(belady);
    out->belady = true;
    out->belady_hits = bound.hits;
    out->compulsory_misses = bound.compulsory;
    return lru_hits(s->pages, s->requests, s->layers * s->experts, out->slots, &out->lru_hits,
                    error);
}

/* Of this thread: what a decision costs does not depend on who else runs on the machine. */
static uint64_t processor_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

enum status replay_run(const struct schedule *s, const struct replay_config *c,
                       struct replay_result *out, struct error *error)
{
    CHECK(c->slots >= 1 && c->page_bytes > 0 && c->link_gbps > 0 && c->step_us > 0);
    uint32_t pages = s->layers * s->experts;
    *out = (struct replay_result){.slots = c->slots < pages ? c->slots : pages};
    struct replay r = {.schedule = s, .slots = out->slots, .free_slots = out->slots, .out = out,
                       .layer_ns = c->step_us * 1e3 / s->layers,
                       .prefetch = c->prefetch != PREFETCH_OFF};
    virtual_link_init(&r.link, (double)c->page_bytes / c->link_gbps);
    enum status status = open_arrays(&r);
    if (status == STATUS_OK)
        status = open_policy(&r, c, error);
    if (status == STATUS_OK) {
        uint64_t start_ns = processor_ns();
        for (uint32_t step = 0; step < s->steps; step++)
            for (uint32_t layer = 0; layer < s->layers; layer++)
                run_layer(&r, step, layer);
        out->decide_ns = processor_ns() - start_ns;
        finish(&r, c);
        if (c->belady)
            status = replay_bounds(s, out, error);
    }
    recorded_lookahead_close(r.lookahead);
    policy_close(r.policy);
    free(r.state);
    free(r.experts);
    free(r.rows);
    free(r.late);
    free(r.guesses);
    free(r.picks);
    return status == STATUS_OK ? status : error_set(error, status, "no memory to replay");
}

/* ---- ratios ---- */

static double ratio(double a, double b)
{
    return b > 0 ? a / b : 0;
}

double replay_hit_rate(const struct replay_result *x)
{
    return ratio((double)x->hits, (double)x->requests);
}

double replay_belady_hit_rate(const struct replay_result *x)
{
    return ratio((double)x->belady_hits, (double)x->requests);
}

double replay_lru_hit_rate(const struct replay_result *x)
{
    return ratio((double)x->lru_hits, (double)x->requests);
}

double replay_belady_share(const struct replay_result *x)
{
    return ratio((double)x->hits, (double)x->belady_hits);
}

double replay_stall_us_per_token(const struct replay_result *x)
{
    return ratio(x->stall_us, (double)x->tokens);
}

double replay_belady_stall_us_per_token(const struct replay_result *x)
{
    return ratio((double)(x->requests - x->belady_hits) * x->page_us, (double)x->tokens);
}

double replay_link_utilisation(const struct replay_result *x)
{
    return ratio(x->link_busy_us, x->time_us);
}

double replay_tokens_per_s(const struct replay_result *x)
{
    return ratio((double)x->tokens * 1e6, x->time_us);
}

double replay_resident_tokens_per_s(const struct replay_result *x)
{
    return ratio((double)x->tokens * 1e6, x->time_us - x->stall_us);
}

double replay_decisions_per_s(const struct replay_result *x)
{
    return ratio((double)x->requests * 1e9, (double)x->decide_ns);
}
