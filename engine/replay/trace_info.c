/* See trace_info.h for what is measured. Predictability goes layer by layer, so that one table of
 * experts x experts is enough. Reuse and recall are averages, so a long trace is thinned out evenly
 * where all of it would take many seconds: what is left still gives three digits. */
#include "engine/replay/trace_info.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { PREDICT_EXPERTS_MAX = 4096 };       /* a table of 64 MiB */
#define PREDICT_WORK 4000000000.0          /* additions, all layers together */
#define REUSE_WORK 400000000.0             /* pairs of ids, each lag */

struct measure {
    const struct trace *t;
    struct trace_info *info;
    uint32_t *experts;   /* [top_k] of the present token */
    uint32_t *others;    /* [top_k] */
    uint64_t *stamp;     /* [layers][experts] last window that used the page */
    uint64_t *sorted;    /* [experts] */
    float *table;        /* [experts][experts] transitions of one layer; NULL: too many */
    float *score;        /* [experts] */
    uint64_t *popular;   /* [experts] uses in the training half */
    uint32_t *guess;     /* [2 top_k] */
};

static double ratio(double a, double b)
{
    return b > 0 ? a / b : NAN;
}

/* ---- loads and skew ---- */

static void count_uses(struct measure *m)
{
    const struct trace *t = m->t;
    for (uint64_t token = 0; token < t->tokens; token++)
        for (uint32_t l = 0; l < t->layers; l++) {
            uint32_t n = trace_experts(t, token, l, m->experts);
            for (uint32_t i = 0; i < n; i++)
                m->info->counts[(size_t)l * t->experts + m->experts[i]]++;
            m->info->uses += n;
        }
    for (uint32_t r = 0; r < t->request_count; r++)
        m->info->prefill_tokens += t->requests[r].prefill;
}

static int descending(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? 1 : x > y ? -1 : 0;
}

static struct layer_skew skew_of(struct measure *m, const uint64_t *counts)
{
    uint32_t n = m->t->experts, top = (n + 9) / 10;
    double sum = 0, busiest = 0, entropy = 0, weighted = 0;
    memcpy(m->sorted, counts, n * sizeof *counts);
    qsort(m->sorted, n, sizeof *m->sorted, descending);
    for (uint32_t i = 0; i < n; i++) {
        sum += (double)m->sorted[i];
        busiest += i < top ? (double)m->sorted[i] : 0;
        weighted += (double)(n - i) * (double)m->sorted[i]; /* rank from the least used, 1.. */
    }
    for (uint32_t i = 0; i < n && m->sorted[i]; i++)
        entropy -= (double)m->sorted[i] / sum * log((double)m->sorted[i] / sum);
    if (sum <= 0)
        return (struct layer_skew){NAN, NAN, NAN};
    return (struct layer_skew){
        .top_share = busiest / sum,
        .entropy = n > 1 ? entropy / log(n) : NAN,
        .gini = 2 * weighted / (n * sum) - (n + 1.0) / n,
    };
}

static void measure_skew(struct measure *m)
{
    struct trace_info *info = m->info;
    uint32_t used = 0;
    for (uint32_t l = 0; l < info->layers; l++) {
        info->skew[l] = skew_of(m, info->counts + (size_t)l * info->experts);
        if (isnan(info->skew[l].top_share))
            continue;
        info->mean.top_share += info->skew[l].top_share;
        info->mean.entropy += info->skew[l].entropy;
        info->mean.gini += info->skew[l].gini;
        used++;
    }
    info->mean.top_share = ratio(info->mean.top_share, used);
    info->mean.entropy = ratio(info->mean.entropy, used);
    info->mean.gini = ratio(info->mean.gini, used);
}

/* ---- reuse and working set ---- */

static uint32_t overlap(const uint32_t *a, uint32_t a_count, const uint32_t *b, uint32_t b_count)
{
    uint32_t both = 0;
    for (uint32_t i = 0; i < a_count; i++)
        for (uint32_t j = 0; j < b_count; j++)
            both += a[i] == b[j];
    return both;
}

static void measure_reuse(struct measure *m)
{
    const struct trace *t = m->t;
    struct trace_info *info = m->info;
    double work = (double)t->tokens * t->layers * t->top_k * t->top_k;
    uint64_t stride = (uint64_t)(work / REUSE_WORK) + 1;
    for (uint32_t lag = 0; lag < TRACE_INFO_LAGS; lag++) {
        uint64_t back = 1u << lag, again = 0, before = 0;
        for (uint32_t r = 0; r < t->request_count; r++)
            for (uint64_t i = back; i < t->requests[r].tokens; i += stride)
                for (uint32_t l = 0; l < t->layers; l++) {
                    uint64_t token = t->requests[r].first + i;
                    uint32_t n = trace_experts(t, token, l, m->experts);
                    uint32_t o = trace_experts(t, token - back, l, m->others);
                    again += overlap(m->experts, n, m->others, o);
                    before += o;
                }
        info->reuse[lag] = ratio((double)again, (double)before);
    }
    double squares = 0;
    for (size_t i = 0; i < (size_t)info->layers * info->experts; i++)
        squares += (double)info->counts[i] * (double)info->counts[i];
    info->reuse_by_chance = ratio(squares, (double)info->tokens * (double)info->uses);
}

/* Windows lie within requests, one behind the other; a shorter rest is left out. */
static void measure_working_set(struct measure *m)
{
    const struct trace *t = m->t;
    uint64_t windows = 0, pages = 0;
    for (uint32_t r = 0; r < t->request_count; r++)
        for (uint64_t i = 0; i + TRACE_INFO_WINDOW <= t->requests[r].tokens;
             i += TRACE_INFO_WINDOW) {
            windows++;
            for (uint64_t j = i; j < i + TRACE_INFO_WINDOW; j++)
                for (uint32_t l = 0; l < t->layers; l++) {
                    uint32_t n = trace_experts(t, t->requests[r].first + j, l, m->experts);
                    for (uint32_t e = 0; e < n; e++) {
                        uint64_t *stamp = &m->stamp[(size_t)l * t->experts + m->experts[e]];
                        pages += *stamp != windows;
                        *stamp = windows;
                    }
                }
        }
    m->info->pages_per_token = ratio((double)m->info->uses, (double)m->info->tokens);
    m->info->pages_per_window = ratio((double)pages, (double)windows);
}

static void count_steps(struct measure *m)
{
    const struct trace *t = m->t;
    if (!t->step || !t->tokens)
        return;
    uint32_t most = 0;
    for (uint64_t i = 0; i < t->tokens; i++)
        most = trace_step(t, i) > most ? trace_step(t, i) : most;
    m->info->steps = most + (uint64_t)1;
}

/* ---- predictability ---- */

/* The first token of the test half. */
static uint64_t half_of(const struct trace *t)
{
    if (t->request_count <= 1)
        return t->tokens / 2;
    return t->requests[t->request_count / 2].first;
}

/* table[i][j] = P(j of layer l + 1 | i of layer l) over the tokens before `end`. */
static void train(struct measure *m, uint32_t layer, uint64_t end)
{
    const struct trace *t = m->t;
    memset(m->table, 0, (size_t)t->experts * t->experts * sizeof *m->table);
    memset(m->popular, 0, t->experts * sizeof *m->popular);
    memset(m->sorted, 0, t->experts * sizeof *m->sorted); /* uses in `layer` */
    for (uint64_t token = 0; token < end; token++) {
        uint32_t n = trace_experts(t, token, layer, m->experts);
        uint32_t o = trace_experts(t, token, layer + 1, m->others);
        for (uint32_t i = 0; i < n; i++) {
            float *row = m->table + (size_t)m->experts[i] * t->experts;
            m->sorted[m->experts[i]]++;
            for (uint32_t j = 0; j < o; j++)
                row[m->others[j]] += 1;
        }
        for (uint32_t j = 0; j < o; j++)
            m->popular[m->others[j]]++;
    }
    for (uint32_t i = 0; i < t->experts; i++)
        for (uint32_t j = 0; m->sorted[i] && j < t->experts; j++)
            m->table[(size_t)i * t->experts + j] /= (float)m->sorted[i];
}

/* The `want` experts of the highest scores, best first; equal ones in order of number. */
static uint32_t best(const float *score, uint32_t experts, uint32_t want, uint32_t *out)
{
    uint32_t count = 0;
    for (uint32_t e = 0; e < experts; e++) {
        if (count == want && score[e] <= score[out[count - 1]])
            continue;
        uint32_t at = count < want ? count++ : count - 1;
        for (; at > 0 && score[e] > score[out[at - 1]]; at--)
            out[at] = out[at - 1];
        out[at] = e;
    }
    return count;
}

struct recall {
    uint64_t in_k, in_2k, wanted;
};

static void score_guess(const struct measure *m, uint32_t guessed, uint32_t wanted,
                        struct recall *recall)
{
    uint32_t k = m->t->top_k < guessed ? m->t->top_k : guessed;
    recall->in_k += overlap(m->guess, k, m->others, wanted);
    recall->in_2k += overlap(m->guess, guessed, m->others, wanted);
    recall->wanted += wanted;
}

static void test(struct measure *m, uint32_t layer, uint64_t begin, uint64_t stride,
                 struct recall *table, struct recall *popular)
{
    const struct trace *t = m->t;
    uint32_t want = 2 * t->top_k < t->experts ? 2 * t->top_k : t->experts;
    for (uint64_t token = begin; token < t->tokens; token += stride) {
        uint32_t n = trace_experts(t, token, layer, m->experts);
        uint32_t o = trace_experts(t, token, layer + 1, m->others);
        memset(m->score, 0, t->experts * sizeof *m->score);
        for (uint32_t i = 0; i < n; i++) {
            const float *row = m->table + (size_t)m->experts[i] * t->experts;
            for (uint32_t j = 0; j < t->experts; j++)
                m->score[j] += row[j];
        }
        score_guess(m, best(m->score, t->experts, want, m->guess), o, table);
    }
    for (uint32_t j = 0; j < t->experts; j++)
        m->score[j] = (float)m->popular[j];
    uint32_t guessed = best(m->score, t->experts, want, m->guess);
    for (uint64_t token = begin; token < t->tokens; token += stride)
        score_guess(m, guessed, trace_experts(t, token, layer + 1, m->others), popular);
}

static void measure_predictability(struct measure *m)
{
    const struct trace *t = m->t;
    struct trace_info *info = m->info;
    struct recall table = {0}, popular = {0};
    uint64_t begin = half_of(t), tested = t->tokens - begin;
    double work = (double)tested * t->layers * (t->top_k + 1.0) * t->experts;
    uint64_t stride = (uint64_t)(work / PREDICT_WORK) + 1;
    for (uint32_t l = 0; m->table && begin && l + 1 < t->layers; l++) {
        train(m, l, begin);
        test(m, l, begin, stride, &table, &popular);
    }
    info->tested_tokens = table.wanted ? (tested + stride - 1) / stride : 0;
    info->next_in_k = ratio((double)table.in_k, (double)table.wanted);
    info->next_in_2k = ratio((double)table.in_2k, (double)table.wanted);
    info->popular_in_k = ratio((double)popular.in_k, (double)popular.wanted);
    info->popular_in_2k = ratio((double)popular.in_2k, (double)popular.wanted);
}

/* ---- all of it ---- */

static bool reserve(struct measure *m)
{
    const struct trace *t = m->t;
    size_t pages = (size_t)t->layers * t->experts, e = t->experts;
    m->info->counts = calloc(pages, sizeof *m->info->counts);
    m->info->skew = calloc(t->layers, sizeof *m->info->skew);
    m->experts = calloc(t->top_k, sizeof *m->experts);
    m->others = calloc(t->top_k, sizeof *m->others);
    m->stamp = calloc(pages, sizeof *m->stamp);
    m->sorted = calloc(e, sizeof *m->sorted);
    m->score = calloc(e, sizeof *m->score);
    m->popular = calloc(e, sizeof *m->popular);
    m->guess = calloc(2 * (size_t)t->top_k, sizeof *m->guess);
    bool table = e <= PREDICT_EXPERTS_MAX;
    if (table)
        m->table = calloc(e * e, sizeof *m->table);
    return m->info->counts && m->info->skew && m->experts && m->others && m->stamp && m->sorted &&
           m->score && m->popular && m->guess && (m->table || !table);
}

enum status trace_info_open(struct trace_info **out, const struct trace *trace, struct error *error)
{
    struct measure m = {.t = trace, .info = calloc(1, sizeof *m.info)};
    bool room = false;
    *out = NULL;
    if (m.info) {
        m.info->layers = trace->layers;
        m.info->experts = trace->experts;
        m.info->tokens = trace->tokens;
        room = reserve(&m);
    }
    if (room) {
        count_uses(&m);
        measure_skew(&m);
        measure_reuse(&m);
        measure_working_set(&m);
        count_steps(&m);
        measure_predictability(&m);
        *out = m.info;
    } else {
        trace_info_close(m.info);
    }
    void *const owned[] = {m.experts, m.others, m.stamp, m.sorted, m.table,
                           m.score, m.popular, m.guess};
    for (unsigned i = 0; i < sizeof owned / sizeof owned[0]; i++)
        free(owned[i]);
    return room ? STATUS_OK
                : error_set(error, STATUS_NO_MEMORY, "%s: no memory to measure it", trace->path);
}

void trace_info_close(struct trace_info *info)
{
    if (!info)
        return;
    free(info->counts);
    free(info->skew);
    free(info);
}
