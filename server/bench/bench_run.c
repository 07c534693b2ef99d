/* Prompts are computed sequence by sequence in steps as large as the engine takes; generation
 * steps hold all sequences with one token each and sample the next at temperature 1, with the head
 * and the sampler that a server pays for. (Random weights sampled greedily fall into loops, which
 * choose the same experts for ever.) Only what is measured counts: the depth is filled before the
 * clock starts. */
#include "server/bench/bench_run.h"

#include <stdlib.h>
#include <string.h>

#include "memory/base/clock.h"

struct seats {
    struct sequence **sequences; /* [count] */
    struct step_item *items;
    struct step_output *outputs;
    uint32_t *prompt;
    uint32_t count;
};

static void seats_close(struct seats *s, struct engine *engine)
{
    for (uint32_t i = 0; s->sequences && i < s->count; i++)
        engine_sequence_close(engine, s->sequences[i]);
    free(s->sequences);
    free(s->items);
    free(s->outputs);
    free(s->prompt);
}

static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9u;
    x = (x ^ x >> 27) * 0x94D049BB133111EBu;
    return x ^ x >> 31;
}

/* Sequences with `depth` tokens to fill in and, behind them, the prompt or the first token of the
 * generation. */
static enum status seats_open(struct seats *s, const struct bench_run *run,
                              const struct bench_test *test, struct error *error)
{
    uint32_t known = test->depth + (test->prompt ? test->prompt : 1);
    uint32_t vocab = engine_info(run->engine)->vocab;
    uint64_t blocks = 0;
    s->count = test->sequences;
    s->sequences = calloc(s->count, sizeof *s->sequences);
    s->items = calloc(s->count, sizeof *s->items);
    s->outputs = calloc(s->count, sizeof *s->outputs);
    s->prompt = malloc(known * sizeof *s->prompt);
    if (!s->sequences || !s->items || !s->outputs || !s->prompt)
        return error_set(error, STATUS_NO_MEMORY, "out of memory");
    for (uint32_t i = 0; i < s->count; i++) {
        struct sampler_params sampling;
        uint64_t seed = mix(run->runs * 0x9E3779B97F4A7C15u + i + 1);
        for (uint32_t t = 0; t < known; t++)
            s->prompt[t] = (uint32_t)(mix(seed + t) % vocab);
        sampler_params_init(&sampling);
        sampling.has_seed = true;
        sampling.seed = seed;
        enum status status = engine_sequence_open(run->engine, s->prompt, known, &sampling,
                                                  &s->sequences[i], error);
        if (status != STATUS_OK)
            return status;
        blocks += engine_kv_blocks_needed(s->sequences[i], known + test->gen);
        s->items[i] = (struct step_item){.sequence = s->sequences[i], .tokens = 1};
    }
    uint32_t free_blocks = engine_kv_blocks_free(run->engine);
    if (blocks > free_blocks)
        return error_set(error, STATUS_FULL,
                         "the KV cache has %u blocks, this test needs %llu: --kv-cache-bytes",
                         free_blocks, (unsigned long long)blocks);
    return STATUS_OK;
}

/* Computes `tokens` more of each sequence, one after the other. `totals` NULL: not measured. */
static enum status compute_known(struct bench_run *run, struct seats *s, uint32_t tokens,
                                 struct bench_totals *totals, struct error *error)
{
    uint32_t most = engine_info(run->engine)->max_batch_tokens;
    enum status status = STATUS_OK;
    for (uint32_t i = 0; i < s->count; i++)
        for (uint32_t done = 0; done < tokens && status == STATUS_OK;) {
            struct step_item item = s->items[i];
            uint64_t from = sequence_computed(item.sequence);
            item.tokens = tokens - done < most ? tokens - done : most;
            status = engine_step(run->engine, &item, 1, s->outputs, error);
            done += item.tokens;
            if (totals && status == STATUS_OK) {
                uint64_t rows = item.tokens;
                totals->steps++;
                totals->rows += rows;
                totals->sampled += s->outputs[0].sampled;
                totals->attended += rows * from + rows * (rows + 1) / 2;
            }
        }
    return status;
}

static enum status generate(struct bench_run *run, struct seats *s, uint32_t tokens,
                            struct bench_totals *totals, struct error *error)
{
    enum status status = STATUS_OK;
    for (uint32_t n = 0; n < tokens && status == STATUS_OK; n++) {
        uint64_t before = totals->attended;
        for (uint32_t i = 0; i < s->count; i++)
            totals->attended += sequence_computed(s->sequences[i]) + 1;
        totals->attended_alone += totals->attended - before;
        status = engine_step(run->engine, s->items, s->count, s->outputs, error);
        totals->steps++;
        totals->rows += s->count;
        totals->sampled += s->count;
    }
    return status;
}

static void add_paging(struct bench_totals *totals, const struct engine_stats *before,
                       const struct engine_stats *after)
{
    const struct expert_usage *a = &before->experts, *b = &after->experts;
    struct expert_usage more = {b->hits - a->hits, b->misses - a->misses, b->bytes - a->bytes,
                                b->stall_ns - a->stall_ns};
    expert_usage_add(&totals->usage, &more);
    totals->storage_bytes += after->storage_bytes - before->storage_bytes;
    totals->regret = after->regret;
}

enum status bench_run_once(struct bench_run *run, const struct bench_test *test, uint64_t *ns,
                           struct bench_totals *totals, struct error *error)
{
    struct seats seats = {0};
    struct engine_stats before, after;
    run->runs++;
    if (run->route)
        bench_route_turn(run->route, test->sequences);
    enum status status = seats_open(&seats, run, test, error);
    if (status == STATUS_OK)
        status = compute_known(run, &seats, test->depth, NULL, error);
    engine_stats_read(run->engine, &before, NULL);
    uint64_t begin = clock_now_ns();
    if (status == STATUS_OK)
        status = compute_known(run, &seats, test->prompt, totals, error);
    if (status == STATUS_OK)
        status = generate(run, &seats, test->gen, totals, error);
    *ns = clock_now_ns() - begin;
    engine_stats_read(run->engine, &after, NULL);
    if (status == STATUS_OK)
        add_paging(totals, &before, &after);
    seats_close(&seats, run->engine);
    return status;
}
