#include "engine/paging/prefetch.h"

#include <stdlib.h>
#include <string.h>

#include "memory/base/check.h"

#define BUDGET_MAX 32.0       /* pages of waste that may be saved up */
#define THRESHOLD_LEAST 0.3f
#define THRESHOLD_MOST 0.98f
#define PROFIT_STEP 0.01
#define PROFIT_LEAST 0.05     /* pages of stall per page copied */
#define RATIO_MOST 0.99       /* of time with to time without */
enum {
    PICKS_MAX = 64,
    GUESS_SHARE = 4,          /* of the slots */
    OUTCOMES_LEAST = 100,     /* before the profit is believed */
    TRIAL_WARM_ROUNDS = 64,   /* of learning before a comparison by time */
    TRIAL_BLOCK_ROUNDS = 32,
    TRIAL_SETTLE_ROUNDS = 2,  /* of a block, not counted */
    TRIAL_PAIRS = 7,          /* of blocks */
    TRIAL_HOLD_ROUNDS = 4096, /* that a comparison in its favour is believed */
    OFF_ROUNDS = 256,         /* how long it stays off; doubles with each failure up to 16 times */
    OFF_DOUBLINGS = 4,
};

enum page_flag {
    RESIDENT = 1,
    ISSUED = 2,     /* queued or on its way */
    GUESSED = 4,    /* came, or comes, by prefetch and has not been used */
    PASSED = 8,     /* guessed, and its layer ran without it */
    DISPLACED = 16, /* was evicted for a guess; its layer has not run since */
};

/* The comparison by time: blocks alternate, on first. */
struct trial {
    bool running;
    uint64_t due;         /* the run at which the next begins */
    uint64_t block_end;   /* the run at which the present block ends */
    uint32_t block;       /* 0 .. 2 x TRIAL_PAIRS - 1; even: on */
    double ns;            /* of the present block */
    uint64_t told;        /* runs in it */
    double mean_on;       /* ns per run of the block before an odd one */
    double ratio[TRIAL_PAIRS];
    double newest;        /* median of the last trial */
};

struct prefetch {
    uint32_t layers, experts, ahead, guesses_max;
    enum prefetch_mode mode;
    double waste_share;
    uint8_t *flag;        /* [pages] of enum page_flag */
    uint8_t *chance;      /* [pages] p at issue, in 1/255 */
    float *row;           /* [layers][experts] */
    uint64_t *expected;   /* [layers] the run in which its row was filled; 0: not valid */
    uint32_t present;
    uint64_t runs;
    uint32_t guesses;     /* pages that are GUESSED */
    double copy_in_layers; /* time of a copy / time of a layer */
    double budget;
    float threshold;
    struct trial trial;
    bool off;
    uint64_t off_until;
    uint32_t failures, outcomes;
    double profit;
    struct prefetch_count *count; /* [layers] */
    struct prefetch_pick pick[PICKS_MAX]; /* of the present run, worst first */
    float score[PICKS_MAX];
    uint32_t picks;
    bool picked;          /* they have been collected */
};

enum status prefetch_open(struct prefetch **out, const struct prefetch_config *c,
                          struct error *error)
{
    uint64_t pages = (uint64_t)c->layers * c->experts;
    struct prefetch *p = calloc(1, sizeof *p);
    if (!p)
        goto fail;
    *p = (struct prefetch){
        .layers = c->layers,
        .experts = c->experts,
        .ahead = c->ahead < c->layers ? c->ahead : c->layers - 1,
        .guesses_max = c->slots / GUESS_SHARE,
        .mode = c->mode,
        .waste_share = c->waste_share,
        .copy_in_layers = 1.0,
        .budget = BUDGET_MAX / 4,
        .threshold = THRESHOLD_MOST,
        .trial = {.due = (uint64_t)TRIAL_WARM_ROUNDS * c->layers},
    };
    p->flag = calloc(pages, 1);
    p->chance = calloc(pages, 1);
    p->row = calloc(pages, sizeof *p->row);
    p->expected = calloc(c->layers, sizeof *p->expected);
    p->count = calloc(c->layers, sizeof *p->count);
    if (!p->flag || !p->chance || !p->row || !p->expected || !p->count)
        goto fail;
    *out = p;
    return STATUS_OK;
fail:
    prefetch_close(p);
    return error_set(error, STATUS_NO_MEMORY,
                     "no memory for the prefetch planner of %u x %u experts", c->layers,
                     c->experts);
}

void prefetch_resized(struct prefetch *p, uint32_t slots)
{
    p->guesses_max = slots / GUESS_SHARE;
}

void prefetch_close(struct prefetch *p)
{
    if (!p)
        return;
    free(p->flag);
    free(p->chance);
    free(p->row);
    free(p->expected);
    free(p->count);
    free(p);
}

bool prefetch_active(const struct prefetch *p)
{
    return p->mode != PREFETCH_OFF && !p->off && !(p->trial.running && p->trial.block % 2);
}

void prefetch_measured(struct prefetch *p, double page_ns, double layer_ns)
{
    if (page_ns > 0 && layer_ns > 0)
        p->copy_in_layers = page_ns / layer_ns;
}

/* ---- outcomes ---- */

static void give(struct prefetch *p, double pages)
{
    p->budget += pages;
    if (p->budget > BUDGET_MAX)
        p->budget = BUDGET_MAX;
}

/* Off for a while, longer with each failure. */
static void turn_off(struct prefetch *p)
{
    p->off = true;
    p->off_until = p->runs + ((uint64_t)OFF_ROUNDS << p->failures) * p->layers;
    p->failures += p->failures < OFF_DOUBLINGS;
    p->trial.running = false;
}

/* An outcome in pages of stall saved. */
static void settle(struct prefetch *p, double saved)
{
    if (p->off) /* of a guess made before: judged already, one failure is not to count twice */
        return;
    double step = 1.0 / (p->outcomes + 1.0);
    p->outcomes++;
    p->profit += (step > PROFIT_STEP ? step : PROFIT_STEP) * (saved - p->profit);
    if (p->mode != PREFETCH_AUTO || p->outcomes < OUTCOMES_LEAST)
        return;
    if (p->profit >= PROFIT_LEAST) {
        if (p->trial.newest == 0) /* otherwise time has the last word */
            p->failures = 0;
        return;
    }
    turn_off(p);
}

static void wake(struct prefetch *p)
{
    if (!p->off || p->runs < p->off_until)
        return;
    p->off = false;
    p->outcomes = 0;
    p->profit = 0;
    p->trial.due = p->runs + (uint64_t)TRIAL_WARM_ROUNDS * p->layers;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void end_trial(struct prefetch *p)
{
    struct trial *t = &p->trial;
    qsort(t->ratio, TRIAL_PAIRS, sizeof *t->ratio, by_size);
    t->newest = t->ratio[TRIAL_PAIRS / 2];
    t->running = false;
    t->due = p->runs + (uint64_t)TRIAL_HOLD_ROUNDS * p->layers;
    if (t->newest > RATIO_MOST)
        turn_off(p);
    else
        p->failures = 0;
}

static void begin_block(struct prefetch *p, uint32_t block)
{
    p->trial.block = block;
    p->trial.block_end = p->runs + (uint64_t)TRIAL_BLOCK_ROUNDS * p->layers;
    p->trial.ns = 0;
    p->trial.told = 0;
}

/* A block is over: remember its mean, and after each second one the pair. Blocks of which too
 * little was told (prompts in between) are run again. */
static void end_block(struct prefetch *p)
{
    struct trial *t = &p->trial;
    if (t->told < (uint64_t)TRIAL_BLOCK_ROUNDS * p->layers / 4) {
        begin_block(p, t->block);
        return;
    }
    double mean = t->ns / (double)t->told;
    if (t->block % 2 == 0)
        t->mean_on = mean;
    else
        t->ratio[t->block / 2] = t->mean_on / mean;
    if (t->block + 1 == 2 * TRIAL_PAIRS)
        end_trial(p);
    else
        begin_block(p, t->block + 1);
}

void prefetch_spent(struct prefetch *p, double ns)
{
    struct trial *t = &p->trial;
    if (p->mode != PREFETCH_AUTO || p->off || ns <= 0)
        return;
    if (!t->running) {
        if (p->runs < t->due)
            return;
        t->running = true;
        begin_block(p, 0);
    }
    uint64_t counted =
        t->block_end - (uint64_t)(TRIAL_BLOCK_ROUNDS - TRIAL_SETTLE_ROUNDS) * p->layers;
    if (p->runs >= counted) {
        t->ns += ns;
        t->told++;
    }
    if (p->runs >= t->block_end)
        end_block(p);
}

static struct prefetch_count *count_of(struct prefetch *p, page_id page)
{
    return &p->count[page / p->experts];
}

static double chance_of(const struct prefetch *p, page_id page)
{
    return p->chance[page] * (1.0 / 255.0);
}

static void used(struct prefetch *p, page_id page)
{
    uint8_t flag = p->flag[page];
    if (!(flag & (RESIDENT | ISSUED))) {
        give(p, p->waste_share);
        if (flag & DISPLACED) {
            give(p, -1.0);
            settle(p, -1.0);
        }
    }
    if (flag & GUESSED) {
        /* Demand would have read it: the copy was none too many after all. */
        give(p, p->waste_share + (flag & PASSED ? 1.0 : 1.0 - chance_of(p, page)));
        settle(p, flag & RESIDENT ? 1.0 : 0.5);
        count_of(p, page)->used++;
        p->guesses--;
    }
    p->flag[page] = flag & (RESIDENT | ISSUED);
}

static void passed(struct prefetch *p, page_id page)
{
    uint8_t *flag = &p->flag[page];
    if ((*flag & (GUESSED | PASSED)) == GUESSED) {
        give(p, -chance_of(p, page));
        settle(p, 0.0);
        *flag |= PASSED;
    }
    *flag &= (uint8_t)~DISPLACED;
}

void prefetch_run(struct prefetch *p, const struct layer_run *run)
{
    page_id first = run->layer * p->experts;
    p->present = run->layer;
    p->runs++;
    p->picked = false;
    p->expected[run->layer] = 0;
    wake(p);
    for (uint32_t i = 0; i < run->count; i++)
        used(p, first + run->experts[i]);
    for (uint32_t e = 0; e < p->experts; e++)
        if (p->flag[first + e] & (GUESSED | DISPLACED))
            passed(p, first + e);
    /* used() has cleared both flags of what was used, so only the rest is seen above. */
    /* Full of budget: anything with some chance. Empty: the surest alone. */
    float spent = (float)(1.0 - p->budget / BUDGET_MAX);
    spent = spent < 1.0f ? spent : 1.0f;
    p->threshold = THRESHOLD_LEAST + (THRESHOLD_MOST - THRESHOLD_LEAST) * spent;
}

void prefetch_resident(struct prefetch *p, page_id page, bool resident)
{
    uint8_t *flag = &p->flag[page];
    if (resident) {
        *flag = (uint8_t)((*flag & ~(ISSUED | DISPLACED)) | RESIDENT);
        return;
    }
    if (*flag & GUESSED) {
        count_of(p, page)->wasted++;
        p->guesses--;
        if (!(*flag & PASSED)) {
            give(p, -chance_of(p, page));
            settle(p, 0.0);
        }
    }
    *flag = 0;
}

/* ---- candidates ---- */

float *prefetch_row(struct prefetch *p, uint32_t layer)
{
    return p->row + (size_t)layer * p->experts;
}

void prefetch_expect(struct prefetch *p, uint32_t distance)
{
    p->expected[(p->present + distance) % p->layers] = p->runs;
    p->picked = false;
}

/* The part of a copy's stall that is hidden if it starts now. */
static float hidden(const struct prefetch *p, uint32_t distance)
{
    double part = distance / p->copy_in_layers;
    return (float)(part < 1.0 ? part : 1.0);
}

/* Keeps the best PICKS_MAX in ascending order of score. */
static void keep_pick(struct prefetch *p, const struct prefetch_pick *pick, float score)
{
    uint32_t at = p->picks;
    if (at == PICKS_MAX) {
        if (score <= p->score[0])
            return;
        memmove(p->pick, p->pick + 1, (PICKS_MAX - 1) * sizeof *p->pick);
        memmove(p->score, p->score + 1, (PICKS_MAX - 1) * sizeof *p->score);
        at--;
    } else {
        p->picks++;
    }
    for (; at > 0 && p->score[at - 1] > score; at--) {
        p->pick[at] = p->pick[at - 1];
        p->score[at] = p->score[at - 1];
    }
    p->pick[at] = *pick;
    p->score[at] = score;
}

static void collect(struct prefetch *p)
{
    p->picks = 0;
    p->picked = true;
    for (uint32_t d = 1; d <= p->ahead; d++) {
        uint32_t layer = (p->present + d) % p->layers;
        const float *row = p->row + (size_t)layer * p->experts;
        const uint8_t *flag = p->flag + (size_t)layer * p->experts;
        if (p->expected[layer] != p->runs)
            continue;
        for (uint32_t e = 0; e < p->experts; e++) {
            if (row[e] < p->threshold || (flag[e] & (RESIDENT | ISSUED)))
                continue;
            struct prefetch_pick pick = {.page = layer * p->experts + e, .distance = d,
                                         .probability = row[e]};
            keep_pick(p, &pick, row[e] * hidden(p, d));
        }
    }
}

bool prefetch_next(struct prefetch *p, struct prefetch_pick *pick)
{
    if (!prefetch_active(p) || p->budget <= 0 || p->guesses >= p->guesses_max)
        return false;
    if (!p->picked)
        collect(p);
    if (p->picks == 0)
        return false;
    *pick = p->pick[--p->picks];
    return true;
}

void prefetch_issued(struct prefetch *p, const struct prefetch_pick *pick, page_id displaced,
                     float displaced_worth)
{
    uint8_t *flag = &p->flag[pick->page];
    CHECK(!(*flag & (RESIDENT | ISSUED | GUESSED)));
    *flag = ISSUED | GUESSED;
    p->chance[pick->page] = (uint8_t)(pick->probability * 255.0f + 0.5f);
    p->guesses++;
    count_of(p, pick->page)->issued++;
    give(p, -(1.0 - chance_of(p, pick->page)));
    if (displaced != PAGE_NONE && displaced_worth > 0)
        p->flag[displaced] |= DISPLACED;
}

bool prefetch_late(const struct prefetch *p, page_id page)
{
    return (p->flag[page] & (ISSUED | PASSED)) == (ISSUED | PASSED);
}

void prefetch_dropped(struct prefetch *p, page_id page)
{
    uint8_t *flag = &p->flag[page];
    if (!(*flag & ISSUED))
        return;
    if (*flag & GUESSED) {
        /* Nothing was copied: what was drawn on the budget comes back. */
        give(p, *flag & PASSED ? 1.0 : 1.0 - chance_of(p, page));
        p->guesses--;
        count_of(p, page)->issued--;
    }
    *flag &= (uint8_t)~(ISSUED | GUESSED | PASSED);
}

void prefetch_count(const struct prefetch *p, uint32_t layer, struct prefetch_count *out)
{
    *out = p->count[layer];
}

void prefetch_figures(const struct prefetch *p, struct prefetch_figures *out)
{
    *out = (struct prefetch_figures){.active = prefetch_active(p), .profit = p->profit,
                                     .time_ratio = p->trial.newest,
                                     .threshold = p->threshold, .budget = p->budget};
    for (uint32_t l = 0; l < p->layers; l++) {
        out->issued += p->count[l].issued;
        out->used += p->count[l].used;
        out->wasted += p->count[l].wasted;
    }
}
