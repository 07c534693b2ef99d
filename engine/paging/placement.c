/* See placement.h. Two machines that take different times for the same job: the least maximum is
 * NP-hard in general, but its linear relaxation is not. There, jobs ordered by device time / host
 * time are cut at one place. That cut, then single moves and exchanges while they help, leaves less
 * than one page's time on the table; few jobs are enumerated in Gray code order instead. */
#include "engine/paging/placement.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "memory/base/check.h"

enum {
    BUCKETS = 48,        /* half octaves: up to 2^24 tokens, the last takes what is more */
    SAMPLES = 5,         /* of which the median counts: three move it, two cannot */
    EXACT_MAX = 10,      /* choices that are enumerated */
    SWAP_MAX = 32,       /* choices among which exchanges are looked for */
    IMPROVE_MAX = 16,    /* moves or exchanges per split of up to SWAP_MAX choices */
    IMPROVE_MANY = 2,    /* of more: one page among so many matters little */
    OLD_SPLITS = 512,
    REGRET_SHARE = 64,   /* 1/64 of the predicted time is saved up for trying */
    CREDIT_LAYERS = 8,   /* at most so many layers' time is saved up */
    TRY_GAP = 4,         /* splits from one try to the next, lest free tries take over */
    BLIND_FACTOR = 4,    /* a try may cost so many layers where only the prior warns of it */
};
static const double ERROR_BOUND = 0.3;
static const double ERROR_GAIN = 1.0 / 64; /* of the running mean error */
static const double LATER_MAX_NS = 1e15;

struct entry {
    double sample_ns[SAMPLES];
    double sample_tokens[SAMPLES];
    double median_ns, tokens; /* of the median sample: a pair that was really seen */
    uint64_t measured_at; /* splits */
    uint8_t count, next;
    int8_t streak;        /* measurements in a row off on one side, its sign the side */
    bool due;
};

/* All entries of one cost, class and phase. */
struct table {
    uint64_t measured;    /* bit b: entry b was */
    struct entry entry[BUCKETS];
};

/* A want that can run at either place. */
struct job {
    uint32_t want;
    uint64_t device_ns, host_ns;
    int64_t later_ns; /* saved later if it is fetched */
};

struct key {
    uint32_t value, job;
};

struct placement {
    enum placement_mode mode;
    uint32_t classes;
    struct placement_prior prior;
    uint64_t *page_bytes;    /* [classes] */
    double *flops_per_token; /* [classes] */
    struct table *tables;  /* [classes][phases][costs] */
    uint32_t wants_max;
    struct job *jobs;      /* [wants_max] */
    bool *at_host;         /* [wants_max] by job */
    struct key *order;     /* [wants_max] jobs by device / host time */
    struct key *scratch;   /* [wants_max] */
    double credit_ns;
    uint64_t splits, tried_at;
    struct placement_figures figures;
};

const char *placement_mode_name(enum placement_mode mode)
{
    static const char *const names[] = {"auto", "device", "host"};
    CHECK((unsigned)mode < sizeof names / sizeof names[0]);
    return names[mode];
}

enum status placement_open(struct placement **out, const struct placement_config *c,
                           uint32_t wants_max, struct error *error)
{
    const struct placement_prior *r = &c->prior;
    CHECK(c->classes > 0 && wants_max > 0);
    CHECK(r->link_bytes_per_s > 0 && r->read_bytes_per_s > 0 && r->device_bytes_per_s > 0 &&
          r->device_flops > 0 && r->host_bytes_per_s > 0 && r->host_flops > 0);
    for (uint32_t i = 0; i < c->classes; i++)
        CHECK(c->page_bytes[i] > 0 && c->flops_per_token[i] > 0);
    struct placement *p = calloc(1, sizeof *p);
    if (!p)
        goto fail;
    p->mode = c->mode;
    p->classes = c->classes;
    p->prior = c->prior;
    p->wants_max = wants_max;
    p->page_bytes = calloc(c->classes, sizeof *p->page_bytes);
    p->flops_per_token = calloc(c->classes, sizeof *p->flops_per_token);
    p->tables = calloc((size_t)c->classes * PLACEMENT_PHASES * PLACEMENT_COSTS, sizeof *p->tables);
    p->jobs = calloc(wants_max, sizeof *p->jobs);
    p->at_host = calloc(wants_max, sizeof *p->at_host);
    p->order = calloc(wants_max, sizeof *p->order);
    p->scratch = calloc(wants_max, sizeof *p->scratch);
    if (!p->page_bytes || !p->flops_per_token || !p->tables || !p->jobs || !p->at_host ||
        !p->order || !p->scratch)
        goto fail;
    memcpy(p->page_bytes, c->page_bytes, c->classes * sizeof *p->page_bytes);
    memcpy(p->flops_per_token, c->flops_per_token, c->classes * sizeof *p->flops_per_token);
    *out = p;
    return STATUS_OK;
fail:
    placement_close(p);
    return error_set(error, STATUS_NO_MEMORY, "no memory for the cost dictionary of %u page sizes",
                     c->classes);
}

void placement_close(struct placement *placement)
{
    if (!placement)
        return;
    free(placement->page_bytes);
    free(placement->flops_per_token);
    free(placement->tables);
    free(placement->jobs);
    free(placement->at_host);
    free(placement->order);
    free(placement->scratch);
    free(placement);
}

/* ---- the dictionary ---- */

static struct table *table_of(const struct placement *p, enum placement_cost cost,
                              uint32_t size_class, enum placement_phase phase)
{
    return &p->tables[((size_t)size_class * PLACEMENT_PHASES + phase) * PLACEMENT_COSTS + cost];
}

static bool by_tokens(enum placement_cost cost)
{
    return cost == PLACEMENT_RUN_DEVICE || cost == PLACEMENT_RUN_HOST;
}

/* 1, 1.5, 2, 3, 4, 6, ...: the two highest bits. */
static uint32_t bucket_of(enum placement_cost cost, uint32_t tokens)
{
    if (!by_tokens(cost))
        return 0;
    uint32_t high = 31 - (uint32_t)__builtin_clz(tokens);
    uint32_t bucket = 2 * high + (high > 0 ? tokens >> (high - 1) & 1 : 0);
    return bucket < BUCKETS ? bucket : BUCKETS - 1;
}

static double prior_ns(const struct placement *p, enum placement_cost cost, uint32_t size_class,
                       double tokens)
{
    const struct placement_prior *r = &p->prior;
    double bytes = (double)p->page_bytes[size_class];
    double flops = tokens * p->flops_per_token[size_class], seconds = 0;
    switch (cost) {
    case PLACEMENT_FETCH:
        seconds = bytes / r->link_bytes_per_s;
        break;
    case PLACEMENT_READ:
        seconds = bytes / r->read_bytes_per_s;
        break;
    case PLACEMENT_RUN_DEVICE:
        seconds = fmax(bytes / r->device_bytes_per_s, flops / r->device_flops);
        break;
    default:
        seconds = fmax(bytes / r->host_bytes_per_s, flops / r->host_flops);
        break;
    }
    return seconds * 1e9;
}

static double predict(const struct placement *p, enum placement_cost cost, uint32_t size_class,
                      enum placement_phase phase, uint32_t tokens)
{
    const struct table *t = table_of(p, cost, size_class, phase);
    if (!t->measured)
        return prior_ns(p, cost, size_class, tokens);
    if (!by_tokens(cost))
        return t->entry[0].median_ns;
    uint32_t b = bucket_of(cost, tokens);
    uint64_t below = t->measured & ((UINT64_C(1) << b) - 1), above = t->measured >> b >> 1;
    const struct entry *low = below ? &t->entry[63 - __builtin_clzll(below)] : NULL;
    const struct entry *high = above ? &t->entry[b + 1 + __builtin_ctzll(above)] : NULL;
    if (t->measured >> b & 1) { /* the entry of this very bucket is one of the two */
        if (t->entry[b].tokens <= tokens)
            low = &t->entry[b];
        else
            high = &t->entry[b];
    }
    if (low && high)
        return low->median_ns + (high->median_ns - low->median_ns) * (tokens - low->tokens) /
                                    (high->tokens - low->tokens);
    const struct entry *near = low ? low : high;
    return near->median_ns * prior_ns(p, cost, size_class, tokens) /
           prior_ns(p, cost, size_class, near->tokens);
}

uint64_t placement_predict(const struct placement *p, enum placement_cost cost, uint32_t size_class,
                           enum placement_phase phase, uint32_t tokens)
{
    CHECK(cost < PLACEMENT_COSTS && size_class < p->classes && phase < PLACEMENT_PHASES);
    CHECK(tokens > 0);
    return (uint64_t)llround(predict(p, cost, size_class, phase, tokens));
}

/* The lower of the two in the middle where the count is even. */
static void entry_settle(struct entry *e)
{
    uint8_t sorted[SAMPLES];
    for (uint8_t i = 0; i < e->count; i++) {
        uint8_t at = i;
        for (; at > 0 && e->sample_ns[sorted[at - 1]] > e->sample_ns[i]; at--)
            sorted[at] = sorted[at - 1];
        sorted[at] = i;
    }
    uint8_t middle = sorted[(e->count - 1) / 2];
    e->median_ns = e->sample_ns[middle];
    e->tokens = e->sample_tokens[middle];
}

static void entry_add(struct entry *e, double ns, uint32_t tokens)
{
    e->sample_ns[e->next] = ns;
    e->sample_tokens[e->next] = tokens;
    e->next = (uint8_t)((e->next + 1) % SAMPLES);
    if (e->count < SAMPLES)
        e->count++;
    entry_settle(e);
}

/* The machine changed: only the newest sample is kept, and whoever leans on the other entries of
 * the table should look again. */
static void distrust(struct table *t, struct entry *e)
{
    uint32_t newest = (e->next + SAMPLES - 1u) % SAMPLES;
    for (uint64_t left = t->measured; left; left &= left - 1)
        t->entry[__builtin_ctzll(left)].due = true;
    e->sample_ns[0] = e->sample_ns[newest];
    e->sample_tokens[0] = e->sample_tokens[newest];
    e->count = e->next = 1;
    e->streak = 0;
}

void placement_measured(struct placement *p, enum placement_cost cost, uint32_t size_class,
                        enum placement_phase phase, uint32_t tokens, uint64_t ns)
{
    CHECK(cost < PLACEMENT_COSTS && size_class < p->classes && phase < PLACEMENT_PHASES);
    CHECK(tokens > 0);
    struct table *t = table_of(p, cost, size_class, phase);
    uint32_t bucket = bucket_of(cost, tokens);
    struct entry *e = &t->entry[bucket];
    double time = ns > 0 ? (double)ns : 1;
    if (e->count > 0) {
        double expected = predict(p, cost, size_class, phase, tokens);
        double error = time / expected - 1;
        p->figures.error += ERROR_GAIN * (fmin(fabs(error), 1) - p->figures.error);
        if (fabs(error) <= ERROR_BOUND)
            e->streak = 0;
        else if (e->streak == 0 || (error > 0) != (e->streak > 0))
            e->streak = error > 0 ? 1 : -1;
        else
            distrust(t, e);
    }
    entry_add(e, time, tokens);
    e->measured_at = p->splits;
    e->due = false;
    t->measured |= UINT64_C(1) << bucket;
}

void placement_figures(const struct placement *placement, struct placement_figures *out)
{
    *out = placement->figures;
}

/* ---- the split ---- */

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static uint64_t layer_ns(const struct placement_sums *sums)
{
    return larger(sums->device_ns, sums->host_ns);
}

/* What a split is judged by: its time now, less what it saves later. */
static int64_t cost(const struct placement_sums *sums)
{
    return (int64_t)layer_ns(sums) - sums->later_ns;
}

static void flip(struct placement *p, struct placement_sums *sums, uint32_t job)
{
    const struct job *j = &p->jobs[job];
    if (p->at_host[job]) {
        sums->host_ns -= j->host_ns;
        sums->device_ns += j->device_ns;
        sums->later_ns += j->later_ns;
    } else {
        sums->device_ns -= j->device_ns;
        sums->host_ns += j->host_ns;
        sums->later_ns -= j->later_ns;
    }
    p->at_host[job] = !p->at_host[job];
}

/* All splits, each one flip from the one before. Begins with every job on the device. */
static void split_exactly(struct placement *p, struct placement_sums *sums, uint32_t jobs)
{
    uint32_t best = 0, code = 0;
    int64_t least = cost(sums);
    for (uint32_t i = 1; i < UINT32_C(1) << jobs; i++) {
        uint32_t job = (uint32_t)__builtin_ctz(i);
        flip(p, sums, job);
        code ^= UINT32_C(1) << job;
        if (cost(sums) < least) {
            least = cost(sums);
            best = code;
        }
    }
    for (uint32_t job = 0; job < jobs; job++)
        if ((code ^ best) >> job & 1)
            flip(p, sums, job);
}

/* Time on the device, less what that saves later, for each ns on the host. */
static double ratio_of(const struct job *j)
{
    double device_ns = (double)j->device_ns - (double)j->later_ns;
    return fmax(device_ns, 0) / (double)j->host_ns;
}

/* Jobs by that ratio, least first: the bits of a positive float sort as the float does. A stable
 * radix sort, so that equals keep their order; qsort would allocate. */
static void order_jobs(struct placement *p, uint32_t jobs)
{
    struct key *from = p->order, *to = p->scratch;
    for (uint32_t i = 0; i < jobs; i++) {
        float ratio = (float)ratio_of(&p->jobs[i]);
        from[i].job = i;
        memcpy(&from[i].value, &ratio, sizeof ratio);
    }
    for (uint32_t shift = 0; shift < 32; shift += 8) {
        uint32_t place[256] = {0}, sum = 0;
        for (uint32_t i = 0; i < jobs; i++)
            place[from[i].value >> shift & 255]++;
        for (uint32_t b = 0; b < 256; b++) {
            uint32_t size = place[b];
            place[b] = sum;
            sum += size;
        }
        for (uint32_t i = 0; i < jobs; i++)
            to[place[from[i].value >> shift & 255]++] = from[i];
        struct key *swap = from;
        from = to;
        to = swap;
    }
}

/* Moves jobs to the host, those that gain least from the link first, while that helps. */
static void cut(struct placement *p, struct placement_sums *sums, uint32_t jobs)
{
    for (uint32_t i = jobs; i-- > 0;) {
        uint32_t job = p->order[i].job;
        int64_t before = cost(sums);
        flip(p, sums, job);
        if (cost(sums) > before) {
            flip(p, sums, job);
            return;
        }
    }
}

/* The single move that helps most. False: none helps. */
static bool move_one(struct placement *p, struct placement_sums *sums, uint32_t jobs)
{
    int64_t least = cost(sums);
    uint32_t best = UINT32_MAX;
    for (uint32_t i = 0; i < jobs; i++) {
        const struct job *j = &p->jobs[i];
        bool home = p->at_host[i];
        uint64_t host = home ? sums->host_ns - j->host_ns : sums->host_ns + j->host_ns;
        uint64_t device = home ? sums->device_ns + j->device_ns : sums->device_ns - j->device_ns;
        int64_t later_ns = sums->later_ns + (home ? j->later_ns : -j->later_ns);
        if ((int64_t)larger(host, device) - later_ns < least) {
            least = (int64_t)larger(host, device) - later_ns;
            best = i;
        }
    }
    if (best == UINT32_MAX)
        return false;
    flip(p, sums, best);
    return true;
}

/* The exchange of two jobs that helps most. False: none helps. */
static bool exchange(struct placement *p, struct placement_sums *sums, uint32_t jobs)
{
    int64_t least = cost(sums);
    uint32_t best_host = UINT32_MAX, best_device = 0;
    for (uint32_t h = 0; h < jobs; h++) {
        for (uint32_t d = 0; p->at_host[h] && d < jobs; d++) {
            if (p->at_host[d])
                continue;
            uint64_t host = sums->host_ns - p->jobs[h].host_ns + p->jobs[d].host_ns;
            uint64_t device = sums->device_ns + p->jobs[h].device_ns - p->jobs[d].device_ns;
            int64_t later_ns = sums->later_ns + p->jobs[h].later_ns - p->jobs[d].later_ns;
            if ((int64_t)larger(host, device) - later_ns < least) {
                least = (int64_t)larger(host, device) - later_ns;
                best_host = h;
                best_device = d;
            }
        }
    }
    if (best_host == UINT32_MAX)
        return false;
    flip(p, sums, best_host);
    flip(p, sums, best_device);
    return true;
}

static void split_jobs(struct placement *p, struct placement_sums *sums, uint32_t jobs)
{
    if (jobs <= EXACT_MAX) {
        split_exactly(p, sums, jobs);
        return;
    }
    order_jobs(p, jobs);
    cut(p, sums, jobs);
    uint32_t most = jobs <= SWAP_MAX ? IMPROVE_MAX : IMPROVE_MANY;
    for (uint32_t i = 0; i < most; i++)
        if (!move_one(p, sums, jobs) && (jobs > SWAP_MAX || !exchange(p, sums, jobs)))
            return;
}

/* ---- trying ---- */

enum need { NEED_NONE, NEED_LOOK, NEED_FIRST };

static enum need entry_need(const struct placement *p, enum placement_cost cost,
                            enum placement_phase phase, const struct placement_want *want)
{
    const struct table *t = table_of(p, cost, want->size_class, phase);
    const struct entry *e = &t->entry[bucket_of(cost, want->tokens)];
    if (e->count == 0)
        return t->measured ? NEED_LOOK : NEED_FIRST;
    return e->due || p->splits - e->measured_at > OLD_SPLITS ? NEED_LOOK : NEED_NONE;
}

/* What a measurement of this want on the other side would be good for. */
static enum need need_of(const struct placement *p, enum placement_phase phase,
                         const struct placement_want *want, bool at_host)
{
    if (!at_host)
        return entry_need(p, PLACEMENT_RUN_HOST, phase, want);
    enum need fetch = entry_need(p, PLACEMENT_FETCH, phase, want);
    enum need run = entry_need(p, PLACEMENT_RUN_DEVICE, phase, want);
    return fetch > run ? fetch : run;
}

/* The job on one side that is nearest to the line; UINT32_MAX: that side is empty. */
static uint32_t at_the_line(const struct placement *p, uint32_t jobs, bool at_host)
{
    uint32_t best = UINT32_MAX;
    double best_ratio = 0;
    for (uint32_t i = 0; i < jobs; i++) {
        if (p->at_host[i] != at_host)
            continue;
        double ratio = ratio_of(&p->jobs[i]);
        if (best == UINT32_MAX || (at_host ? ratio < best_ratio : ratio > best_ratio)) {
            best = i;
            best_ratio = ratio;
        }
    }
    return best;
}

static void try_other_side(struct placement *p, enum placement_phase phase,
                           const struct placement_want *wants, struct placement_sums *sums,
                           uint32_t jobs)
{
    uint64_t ns = layer_ns(sums);
    int64_t before = cost(sums);
    p->credit_ns = fmin(p->credit_ns + (double)ns / REGRET_SHARE, CREDIT_LAYERS * (double)ns);
    for (uint32_t side = 0; side < 2 && p->splits - p->tried_at >= TRY_GAP; side++) {
        uint32_t job = at_the_line(p, jobs, side == 1);
        if (job == UINT32_MAX)
            continue;
        enum need need = need_of(p, phase, &wants[p->jobs[job].want], side == 1);
        if (need == NEED_NONE)
            continue;
        flip(p, sums, job);
        double excess = (double)(cost(sums) - before);
        double most = (double)ns * (need == NEED_FIRST ? BLIND_FACTOR : 1);
        if (excess <= p->credit_ns && excess <= most) {
            p->credit_ns -= fmax(excess, 0);
            p->tried_at = p->splits;
            p->figures.tried++;
            p->figures.tried_excess_ns += (uint64_t)fmax(excess, 0);
            sums->tried = true;
            return;
        }
        flip(p, sums, job);
    }
}

/* What its copy saves later: each further use a hit that would have been a miss, the cheaper
 * way. */
static int64_t later(const struct placement *p, const struct placement_want *want,
                     uint64_t fetch_ns, double host_ns)
{
    double ns = want->uses * fmin((double)fetch_ns, host_ns);
    return p->mode == PLACEMENT_AUTO ? (int64_t)fmax(fmin(ns, LATER_MAX_NS), -LATER_MAX_NS) : 0;
}

/* Adds what has no choice to the sums, collects what has, all of it on the device. */
static uint32_t collect(struct placement *p, enum placement_phase phase,
                        const struct placement_want *wants, uint32_t count,
                        struct placement_sums *sums)
{
    uint32_t jobs = 0;
    for (uint32_t i = 0; i < count; i++) {
        const struct placement_want *w = &wants[i];
        CHECK(w->size_class < p->classes && w->tokens > 0);
        uint64_t run_ns =
            (uint64_t)predict(p, PLACEMENT_RUN_DEVICE, w->size_class, phase, w->tokens);
        uint64_t fetch_ns = 0;
        if (w->lies != PLACEMENT_ON_DEVICE)
            fetch_ns = (uint64_t)predict(
                p, w->lies == PLACEMENT_ON_HOST ? PLACEMENT_FETCH : PLACEMENT_READ, w->size_class,
                phase, w->tokens);
        sums->device_ns += run_ns + fetch_ns;
        if (w->lies != PLACEMENT_ON_HOST)
            continue;
        double host_ns = predict(p, PLACEMENT_RUN_HOST, w->size_class, phase, w->tokens);
        double excess_ns = fmax(host_ns - (double)run_ns, 0); /* of the host over a hit */
        p->jobs[jobs] = (struct job){i, run_ns + fetch_ns, (uint64_t)host_ns + 1,
                                     later(p, w, fetch_ns, excess_ns)};
        sums->later_ns += p->jobs[jobs].later_ns;
        p->at_host[jobs++] = false;
    }
    return jobs;
}

struct placement_sums placement_split(struct placement *p, enum placement_phase phase,
                                      const struct placement_want *wants, uint32_t count,
                                      enum placement_where *where)
{
    CHECK(count <= p->wants_max && phase < PLACEMENT_PHASES);
    struct placement_sums sums = {0};
    uint32_t jobs = collect(p, phase, wants, count, &sums);
    p->splits++;
    if (p->mode == PLACEMENT_HOST) {
        for (uint32_t job = 0; job < jobs; job++)
            flip(p, &sums, job);
    } else if (p->mode == PLACEMENT_AUTO && jobs > 0) {
        split_jobs(p, &sums, jobs);
        try_other_side(p, phase, wants, &sums, jobs);
    }
    for (uint32_t i = 0; i < count; i++)
        where[i] = PLACEMENT_AT_DEVICE;
    for (uint32_t job = 0; job < jobs; job++) {
        if (p->at_host[job])
            where[p->jobs[job].want] = PLACEMENT_AT_HOST;
        p->figures.at_host += p->at_host[job];
        p->figures.at_device += !p->at_host[job];
    }
    p->figures.predicted_ns += layer_ns(&sums);
    return sums;
}
