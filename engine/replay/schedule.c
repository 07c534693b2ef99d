#include "engine/replay/schedule.h"

#include <stdlib.h>
#include <string.h>

#include "memory/base/check.h"

/* ---- shuffling ---- */

/* splitmix64 (Steele, Lea, Flood 2014): one multiplication chain, any seed is a good one. */
static uint64_t draw(uint64_t *state)
{
    uint64_t x = *state += 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

/* Fisher and Yates. The remainder favours small numbers by less than 2^-32. */
static void permute(uint32_t *deal, uint32_t count, uint64_t *state)
{
    for (uint32_t i = 0; i < count; i++) {
        uint32_t j = (uint32_t)(draw(state) % (i + 1u));
        deal[i] = deal[j];
        deal[j] = i;
    }
}

static enum status open_deals(struct schedule *s, const struct schedule_config *config)
{
    uint64_t state = config->seed;
    if (config->shuffle == SHUFFLE_NONE)
        return STATUS_OK;
    uint32_t tokens = (uint32_t)s->trace->tokens;
    s->deals = config->shuffle == SHUFFLE_LAYERS ? s->layers : 1;
    s->deal = malloc(sizeof *s->deal * ((size_t)s->deals * tokens + 1));
    if (!s->deal)
        return STATUS_NO_MEMORY;
    for (uint32_t i = 0; i < s->deals; i++)
        permute(s->deal + (size_t)i * tokens, tokens, &state);
    return STATUS_OK;
}

/* ---- which tokens share a step ---- */

static enum status add_step(struct schedule *s, uint64_t prompt_rows, struct error *error)
{
    uint64_t rows = s->tokens - s->step_start[s->steps];
    if (rows > SCHEDULE_ROWS_MAX)
        return error_set(error, STATUS_UNSUPPORTED, "%s: a step of %llu rows; at most %d are read",
                         s->trace->path, (unsigned long long)rows, SCHEDULE_ROWS_MAX);
    if (rows > s->rows_max)
        s->rows_max = (uint32_t)rows;
    s->prefill[s->steps++] = 2 * prompt_rows > rows;
    s->step_start[s->steps] = (uint32_t)s->tokens;
    return STATUS_OK;
}

struct lane {
    const struct trace_request *request; /* NULL: nothing left for it */
    uint64_t done;                       /* of its tokens */
};

static void take_next_request(const struct trace *trace, uint32_t *next, struct lane *lane)
{
    while (*next < trace->request_count && !trace->requests[*next].tokens)
        (*next)++;
    *lane = (struct lane){0};
    if (*next < trace->request_count)
        lane->request = &trace->requests[(*next)++];
}

/* The lane's rows of one step; returns how many are of its prompt. */
static uint64_t take_rows(struct schedule *s, struct lane *lane, uint32_t chunk, uint64_t limit)
{
    const struct trace_request *q = lane->request;
    uint64_t prompt = q->prefill > lane->done ? q->prefill - lane->done : 0;
    uint64_t rows = prompt ? prompt : 1;
    if (rows > chunk)
        rows = chunk;
    if (rows > limit - s->tokens)
        rows = limit - s->tokens;
    for (uint64_t i = 0; i < rows; i++)
        s->token[s->tokens++] = (uint32_t)(q->first + lane->done++);
    return prompt ? rows : 0;
}

static enum status lay_out_lanes(struct schedule *s, const struct schedule_config *config,
                                 uint64_t limit, struct error *error)
{
    uint32_t chunk = config->chunk ? config->chunk : SCHEDULE_CHUNK, next = 0;
    struct lane *lanes = calloc(config->batch, sizeof *lanes);
    enum status status = lanes ? STATUS_OK : STATUS_NO_MEMORY;
    for (uint32_t i = 0; lanes && i < config->batch; i++)
        take_next_request(s->trace, &next, &lanes[i]);
    while (status == STATUS_OK && s->tokens < limit) {
        uint64_t prompt_rows = 0;
        for (uint32_t i = 0; i < config->batch && s->tokens < limit; i++) {
            struct lane *lane = &lanes[i];
            if (!lane->request)
                continue;
            prompt_rows += take_rows(s, lane, chunk, limit);
            if (lane->done == lane->request->tokens)
                take_next_request(s->trace, &next, lane);
        }
        status = add_step(s, prompt_rows, error);
    }
    free(lanes);
    return status;
}

struct stepped {
    uint32_t step, token;
    bool prompt;
};

static int by_step(const void *a, const void *b)
{
    const struct stepped *x = a, *y = b;
    if (x->step != y->step)
        return x->step < y->step ? -1 : 1;
    return x->token < y->token ? -1 : x->token > y->token;
}

static enum status lay_out_recorded(struct schedule *s, uint64_t limit, struct error *error)
{
    const struct trace *t = s->trace;
    enum status status = STATUS_OK;
    if (!t->step)
        return error_set(error, STATUS_UNSUPPORTED,
                         "--batch trace: %s has no column 'step'; give a number", t->path);
    struct stepped *list = malloc(sizeof *list * (t->tokens + 1));
    if (!list)
        return STATUS_NO_MEMORY;
    for (uint32_t q = 0; q < t->request_count; q++)
        for (uint64_t i = 0; i < t->requests[q].tokens; i++) {
            uint64_t token = t->requests[q].first + i;
            list[token] = (struct stepped){trace_step(t, token), (uint32_t)token,
                                           i < t->requests[q].prefill};
        }
    qsort(list, t->tokens, sizeof *list, by_step);
    uint64_t prompt_rows = 0;
    for (uint64_t i = 0; i < limit && status == STATUS_OK; i++) {
        s->token[s->tokens++] = list[i].token;
        prompt_rows += list[i].prompt;
        if (i + 1 == limit || list[i + 1].step != list[i].step) {
            status = add_step(s, prompt_rows, error);
            prompt_rows = 0;
        }
    }
    free(list);
    return status;
}

/* ---- what each run asks for ---- */

static void add_single(struct schedule *s, uint32_t token, uint32_t layer, uint32_t *experts)
{
    uint32_t count = trace_experts(s->trace, schedule_source(s, token, layer), layer, experts);
    for (uint32_t i = 0; i < count; i++) {
        if (s->rows_of)
            s->rows_of[s->requests] = 1;
        s->pages[s->requests++] = layer * s->experts + experts[i];
    }
}

static void add_batch(struct schedule *s, const uint32_t *tokens, uint32_t rows, uint32_t layer,
                      uint32_t *experts, uint16_t *chosen)
{
    memset(chosen, 0, sizeof *chosen * s->experts);
    for (uint32_t r = 0; r < rows; r++) {
        uint64_t source = schedule_source(s, tokens[r], layer);
        uint32_t count = trace_experts(s->trace, source, layer, experts);
        for (uint32_t i = 0; i < count; i++)
            chosen[experts[i]]++;
    }
    for (uint32_t e = 0; e < s->experts; e++) {
        if (!chosen[e])
            continue;
        s->rows_of[s->requests] = chosen[e];
        s->pages[s->requests++] = layer * s->experts + e;
    }
}

/* Both of `experts` [top_k] and `chosen` [experts] are scratch. */
static void add_runs(struct schedule *s, uint32_t *experts, uint16_t *chosen)
{
    uint64_t run = 0;
    for (uint32_t step = 0; step < s->steps; step++) {
        const uint32_t *tokens = s->token + s->step_start[step];
        uint32_t rows = s->step_start[step + 1] - s->step_start[step];
        for (uint32_t layer = 0; layer < s->layers; layer++) {
            uint32_t before = s->requests;
            if (rows == 1)
                add_single(s, tokens[0], layer, experts);
            else
                add_batch(s, tokens, rows, layer, experts, chosen);
            if (s->requests - before > s->distinct_max)
                s->distinct_max = s->requests - before;
            s->run_start[++run] = s->requests;
        }
    }
}

/* The most requests that the runs can make. */
static uint64_t count_most(const struct schedule *s)
{
    uint64_t most = 0;
    for (uint32_t step = 0; step < s->steps; step++) {
        uint64_t rows = s->step_start[step + 1] - s->step_start[step];
        uint64_t chosen = rows * s->trace->top_k;
        most += s->layers * (chosen < s->experts ? chosen : s->experts);
    }
    return most;
}

static enum status lay_out_runs(struct schedule *s, struct error *error)
{
    uint64_t most = count_most(s), runs = (uint64_t)s->steps * s->layers;
    if (most >= UINT32_MAX || runs >= UINT32_MAX)
        return error_set(error, STATUS_UNSUPPORTED,
                         "%s: up to %llu requests for pages are more than a replay counts; limit "
                         "its tokens", s->trace->path, (unsigned long long)most);
    uint32_t *experts = malloc(sizeof *experts * s->trace->top_k);
    uint16_t *chosen = malloc(sizeof *chosen * s->experts);
    s->run_start = malloc(sizeof *s->run_start * (runs + 1));
    s->pages = malloc(sizeof *s->pages * (most + 1));
    s->rows_of = s->rows_max > 1 ? malloc(sizeof *s->rows_of * (most + 1)) : NULL;
    enum status status = STATUS_NO_MEMORY;
    if (experts && chosen && s->run_start && s->pages && (s->rows_of || s->rows_max <= 1)) {
        s->run_start[0] = 0;
        add_runs(s, experts, chosen);
        status = STATUS_OK;
    }
    free(experts);
    free(chosen);
    return status;
}

enum status schedule_open(struct schedule **out, const struct trace *trace,
                          const struct schedule_config *config, struct error *error)
{
    CHECK(config->batch <= SCHEDULE_ROWS_MAX);
    enum status status = STATUS_NO_MEMORY;
    struct schedule *s = calloc(1, sizeof *s);
    uint64_t limit = trace->tokens;
    if (config->tokens_max && config->tokens_max < limit)
        limit = config->tokens_max;
    if (!s)
        goto fail;
    s->trace = trace;
    s->layers = trace->layers;
    s->experts = trace->experts;
    if (trace->tokens >= UINT32_MAX || (uint64_t)s->layers * s->experts >= PAGE_NONE) {
        status = error_set(error, STATUS_UNSUPPORTED,
                           "%s: %llu tokens of %u x %u experts are more than a replay counts",
                           trace->path, (unsigned long long)trace->tokens, s->layers, s->experts);
        goto fail;
    }
    s->token = malloc(sizeof *s->token * (limit + 1));
    s->step_start = calloc(limit + 1, sizeof *s->step_start);
    s->prefill = malloc(limit + 1);
    if (!s->token || !s->step_start || !s->prefill)
        goto fail;
    status = open_deals(s, config);
    if (status == STATUS_OK)
        status = config->batch == SCHEDULE_BATCH_TRACE ? lay_out_recorded(s, limit, error)
                                                       : lay_out_lanes(s, config, limit, error);
    if (status == STATUS_OK)
        status = lay_out_runs(s, error);
    if (status != STATUS_OK)
        goto fail;
    *out = s;
    return STATUS_OK;
fail:
    schedule_close(s);
    return error_set(error, status, "%s: no memory to lay out its runs", trace->path);
}

void schedule_close(struct schedule *s)
{
    if (!s)
        return;
    free(s->run_start);
    free(s->pages);
    free(s->rows_of);
    free(s->step_start);
    free(s->token);
    free(s->prefill);
    free(s->deal);
    free(s);
}
