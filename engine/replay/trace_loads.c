/* See trace_loads.h. Pure. */
#include "engine/replay/trace_loads.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNTS_MAX ((uint64_t)1 << 27) /* of all ticks together: half a GiB */

struct fold {
    const struct trace *t;
    uint64_t *order;       /* [tokens] step << 32 | token, ascending */
    uint32_t *request;     /* [tokens] */
    uint32_t *experts;     /* [top_k] */
    uint64_t tick_tokens;
};

static int ascending(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static bool prepare(struct fold *f)
{
    const struct trace *t = f->t;
    f->order = malloc((t->tokens + 1) * sizeof *f->order);
    f->request = malloc((t->tokens + 1) * sizeof *f->request);
    f->experts = malloc(t->top_k * sizeof *f->experts);
    if (!f->order || !f->request || !f->experts)
        return false;
    for (uint32_t r = 0; r < t->request_count; r++)
        for (uint64_t i = 0; i < t->requests[r].tokens; i++) {
            uint64_t token = t->requests[r].first + i;
            f->request[token] = r;
            f->order[token] = (t->step ? (uint64_t)trace_step(t, token) << 32 : 0) | token;
        }
    qsort(f->order, t->tokens, sizeof *f->order, ascending);
    uint64_t pages = (uint64_t)t->layers * t->experts;
    f->tick_tokens = (TRACE_LOADS_TICK + t->top_k - 1) / t->top_k;
    if (t->tokens / f->tick_tokens > COUNTS_MAX / pages)
        f->tick_tokens = t->tokens / (COUNTS_MAX / pages) + 1;
    return true;
}

static bool is_prefill(const struct fold *f, uint64_t token)
{
    const struct trace_request *r = &f->t->requests[f->request[token]];
    return token - r->first < r->prefill;
}

static void add_token(const struct fold *f, uint64_t token, uint32_t *tokens, uint32_t *counts)
{
    const struct trace *t = f->t;
    for (uint32_t l = 0; l < t->layers; l++) {
        uint32_t n = trace_experts(t, token, l, f->experts);
        for (uint32_t i = 0; i < n; i++)
            counts[(size_t)l * t->experts + f->experts[i]]++;
        tokens[l] += n;
    }
}

/* Fills the phase; its arrays have room for every whole tick and one that is not. */
static void fill(const struct fold *f, bool prefill, uint64_t *tick, uint32_t *tokens,
                 uint32_t *counts, struct load_log_phase *phase)
{
    const struct trace *t = f->t;
    size_t pages = (size_t)t->layers * t->experts;
    uint64_t number = 0, within = 0;
    for (uint64_t i = 0; i < t->tokens; i++) {
        uint64_t token = f->order[i] & UINT32_MAX;
        if (is_prefill(f, token) != prefill)
            continue;
        uint32_t *tick_tokens = tokens + (size_t)phase->ticks * t->layers;
        uint32_t *tick_counts = counts + phase->ticks * pages;
        add_token(f, token, tick_tokens, tick_counts);
        if (++within < f->tick_tokens)
            continue;
        bool whole = true;
        for (uint32_t l = 0; l < t->layers; l++)
            whole &= tick_tokens[l] > 0;
        if (whole) {
            tick[phase->ticks++] = number;
        } else {
            memset(tick_tokens, 0, t->layers * sizeof *tick_tokens);
            memset(tick_counts, 0, pages * sizeof *tick_counts);
        }
        number++;
        within = 0;
    }
}

/* Adds a phase if it has a whole tick. False: no memory. */
static bool add_phase(const struct fold *f, struct load_log *log, bool prefill)
{
    const struct trace *t = f->t;
    uint64_t ticks = 1;
    for (uint32_t r = 0; r < t->request_count; r++)
        ticks += prefill ? t->requests[r].prefill
                         : t->requests[r].tokens - t->requests[r].prefill;
    ticks = ticks / f->tick_tokens + 1;
    uint64_t *tick = calloc(ticks, sizeof *tick);
    uint32_t *tokens = calloc(ticks * t->layers, sizeof *tokens);
    uint32_t *counts = calloc(ticks * t->layers * t->experts, sizeof *counts);
    struct load_log_phase phase = {.tick = tick, .tokens = tokens, .counts = counts};
    bool room = tick && tokens && counts;
    snprintf(phase.name, sizeof phase.name, "%s", prefill ? "prefill" : "decode");
    if (room)
        fill(f, prefill, tick, tokens, counts, &phase);
    if (phase.ticks) {
        log->phases[log->phase_count++] = phase;
        return true;
    }
    free(tick);
    free(tokens);
    free(counts);
    return room;
}

enum status trace_loads_fold(struct load_log **out, const struct trace *t, struct error *error)
{
    struct fold f = {.t = t};
    *out = NULL;
    if (t->layers > LOAD_LOG_LAYERS_MAX || t->experts > LOAD_LOG_EXPERTS_MAX ||
        t->tokens > UINT32_MAX)
        return error_set(error, STATUS_UNSUPPORTED,
                         "%s: loads are forecast for at most %u layers, %u experts and %u tokens",
                         t->path, LOAD_LOG_LAYERS_MAX, LOAD_LOG_EXPERTS_MAX, UINT32_MAX);
    struct load_log *log = calloc(1, sizeof *log);
    enum status status = STATUS_OK;
    if (!log || !prepare(&f) || !add_phase(&f, log, false) || !add_phase(&f, log, true))
        status = error_set(error, STATUS_NO_MEMORY, "%s: no memory to fold it into ticks", t->path);
    if (status == STATUS_OK && log->phase_count == 0)
        status = error_set(error, STATUS_INVALID,
                           "%s: its %llu tokens do not fill a tick of %llu", t->path,
                           (unsigned long long)t->tokens, (unsigned long long)f.tick_tokens);
    if (status == STATUS_OK) {
        log->layers = t->layers;
        log->experts = t->experts;
        *out = log;
    } else {
        load_log_close(log);
    }
    free(f.order);
    free(f.request);
    free(f.experts);
    return status;
}
