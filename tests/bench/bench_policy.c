/* What deciding about pages costs the engine thread per run of a layer, as one JSON object on stdout.
 *
 * Three shapes of model, an imaginary token stream each (experts are skewed in popularity, stay for
 * some tokens and keep company by topic), a ring of a quarter of the pages. Timed per run of a layer:
 * "run" is policy_run, "victims" the choice of a page to evict for each miss of that run, "lookahead"
 * telling the policy what the routers ahead say, and sorting it in. Without prefetch only eviction
 * learns; with it all predictors of experts do. Nothing is copied: a page is resident at once.
 *
 * The first tenth of the tokens warms up. Medians, so that a slow second of a shared machine is seen in
 * none of them; the 90th percentile is printed beside. "bytes" is what the allocator handed out to
 * policy_open: all state of all predictors, with the planner and eviction. The bound of a run with
 * everything is 50 us at 512 experts: engine/predict/README.md.
 *
 * Usage: bench_policy [tokens, default 400] [only this case: 0, 1, 2] [prefetch: 0 without, 1 with] */
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/paging/policy.h"
#include "memory/base/check.h"
#include "memory/base/clock.h"

enum { TOP_K_MAX = 16, TOPICS = 6, TOPIC_TOKENS = 60, AHEAD = 2, TOKENS_MAX = 100000 };

struct shape {
    uint32_t layers, experts, top_k;
};

static const struct shape shapes[] = {{24, 32, 4}, {48, 128, 8}, {60, 512, 10}};

/* A stream of tokens by seed. */
struct stream {
    struct shape shape;
    uint64_t random;
    uint32_t *last; /* [layers][top_k] */
};

struct bench {
    struct shape shape;
    struct policy *policy;
    struct stream stream;
    uint8_t *resident; /* [pages] */
    uint32_t used, slots;
    uint64_t misses, victims;
    uint32_t runs;
    double *run_ns, *victims_ns, *lookahead_ns, *all_ns; /* [runs] */
};

static uint32_t draw(struct stream *s, uint32_t limit)
{
    s->random ^= s->random << 13; /* xorshift64 (Marsaglia 2003) */
    s->random ^= s->random >> 7;
    s->random ^= s->random << 17;
    return (uint32_t)((s->random >> 32) * limit >> 32);
}

static bool contains(const uint32_t *experts, uint32_t count, uint32_t expert)
{
    for (uint32_t i = 0; i < count; i++)
        if (experts[i] == expert)
            return true;
    return false;
}

/* Low numbers are likelier (the product of two draws), then shifted by layer and topic. */
static uint32_t skewed(struct stream *s, uint32_t layer, uint32_t topic)
{
    uint32_t n = s->shape.experts;
    uint32_t place = (uint32_t)((uint64_t)draw(s, n) * draw(s, n) / n);
    return (place * 5 + layer * 17 + topic * 29) % n;
}

/* The experts of a layer for the next token: each of the last ones stays with 2/5. */
static void next_experts(struct stream *s, uint32_t layer, uint32_t topic, uint32_t *experts)
{
    uint32_t *last = s->last + (size_t)layer * s->shape.top_k, count = 0;
    for (uint32_t i = 0; i < s->shape.top_k; i++)
        if (draw(s, 5) < 2 && !contains(experts, count, last[i]))
            experts[count++] = last[i];
    while (count < s->shape.top_k) {
        uint32_t expert = skewed(s, layer, topic);
        if (!contains(experts, count, expert))
            experts[count++] = expert;
    }
    memcpy(last, experts, s->shape.top_k * sizeof *last);
}

static bool always(void *arg, enum memory_tier tier, page_id page)
{
    return true;
}

static void set_resident(struct bench *b, page_id page, bool resident)
{
    b->resident[page] = resident;
    b->used += resident ? 1 : -1u;
    policy_resident(b->policy, MEMORY_DEVICE, page, resident);
}

/* Brings what the run misses; returns the nanoseconds spent choosing victims. */
static uint64_t bring_misses(struct bench *b, uint32_t layer, const uint32_t *experts)
{
    uint64_t ns = 0;
    for (uint32_t i = 0; i < b->shape.top_k; i++) {
        page_id page = layer * b->shape.experts + experts[i];
        if (b->resident[page])
            continue;
        b->misses++;
        if (b->used == b->slots) {
            uint64_t begin = clock_now_ns();
            page_id victim = policy_victim(b->policy, MEMORY_DEVICE, 0, always, NULL);
            ns += clock_now_ns() - begin;
            b->victims++;
            set_resident(b, victim, false);
        }
        set_resident(b, page, true);
    }
    return ns;
}

/* Imaginary routers ahead: noise. Sorting and counting cost the same whatever they say. */
static uint64_t tell_scores(struct bench *b, float *score)
{
    uint64_t ns = 0;
    for (uint32_t d = 1; d <= policy_looks_ahead(b->policy); d++) {
        for (uint32_t e = 0; e < b->shape.experts; e++)
            score[e] = (float)draw(&b->stream, 1u << 20) - (float)(1u << 19);
        uint64_t begin = clock_now_ns();
        policy_lookahead(b->policy, d, score);
        ns += clock_now_ns() - begin;
    }
    return ns;
}

static void one_run(struct bench *b, uint32_t layer, uint32_t topic, float *score)
{
    uint32_t experts[TOP_K_MAX], tokens[TOP_K_MAX];
    next_experts(&b->stream, layer, topic, experts);
    for (uint32_t i = 0; i < b->shape.top_k; i++)
        tokens[i] = 1;
    struct layer_run run = {.layer = layer, .rows = 1, .count = b->shape.top_k, .experts = experts,
                            .tokens = tokens};
    uint64_t begin = clock_now_ns();
    policy_run(b->policy, &run);
    uint64_t run_ns = clock_now_ns() - begin;
    uint64_t victims_ns = bring_misses(b, layer, experts);
    uint64_t lookahead_ns = tell_scores(b, score);
    b->run_ns[b->runs] = (double)run_ns;
    b->victims_ns[b->runs] = (double)victims_ns;
    b->lookahead_ns[b->runs] = (double)lookahead_ns;
    b->all_ns[b->runs++] = (double)(run_ns + victims_ns + lookahead_ns);
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Of what came after warming up. */
static double quantile(double *values, uint32_t count, double q)
{
    uint32_t from = count / 10;
    qsort(values + from, count - from, sizeof *values, compare);
    return values[from + (uint32_t)((count - from - 1) * q)];
}

static uint64_t allocated(void)
{
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

static void *reserve(uint64_t count, size_t each)
{
    void *p = calloc(count, each);
    CHECK_MSG(p, "no memory for %" PRIu64 " x %zu bytes", count, each);
    return p;
}

static void print(struct bench *b, bool prefetch, uint64_t bytes)
{
    printf("    {\"layers\": %" PRIu32 ", \"experts\": %" PRIu32 ", \"top_k\": %" PRIu32
           ", \"prefetch\": %s, \"bytes\": %" PRIu64 ", \"misses_per_run\": %.2f,\n",
           b->shape.layers, b->shape.experts, b->shape.top_k, prefetch ? "true" : "false", bytes,
           (double)b->misses / b->runs);
    printf("     \"run_ns\": %.0f, \"victims_ns\": %.0f, \"lookahead_ns\": %.0f, \"all_ns\": %.0f, "
           "\"all_p90_ns\": %.0f}",
           quantile(b->run_ns, b->runs, 0.5), quantile(b->victims_ns, b->runs, 0.5),
           quantile(b->lookahead_ns, b->runs, 0.5), quantile(b->all_ns, b->runs, 0.5),
           quantile(b->all_ns, b->runs, 0.9));
}

static void measure(const struct shape *shape, bool prefetch, uint32_t tokens)
{
    uint32_t pages = shape->layers * shape->experts, runs = tokens * shape->layers;
    struct bench b = {.shape = *shape, .slots = pages / 4};
    struct policy_config config = {
        .layers = shape->layers, .experts = shape->experts, .top_k = shape->top_k,
        .slots = b.slots, .evict = EVICT_LEARNED, .foresight = FORESIGHT_AUTO,
        .prefetch = prefetch ? PREFETCH_ON : PREFETCH_OFF, .ahead = AHEAD, .seed = 1};
    struct error error = {0};
    uint64_t before = allocated();
    CHECK_MSG(policy_open(&b.policy, &config, &error) == STATUS_OK, "%s", error.text);
    uint64_t bytes = allocated() - before;
    b.stream = (struct stream){.shape = *shape, .random = 88172645463325252u};
    b.stream.last = reserve((uint64_t)shape->layers * shape->top_k, sizeof *b.stream.last);
    b.resident = reserve(pages, 1);
    float *score = reserve(shape->experts, sizeof *score);
    double **rows[] = {&b.run_ns, &b.victims_ns, &b.lookahead_ns, &b.all_ns};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        *rows[i] = reserve(runs, sizeof **rows[i]);
    for (uint32_t token = 0; token < tokens; token++)
        for (uint32_t layer = 0; layer < shape->layers; layer++)
            one_run(&b, layer, token / TOPIC_TOKENS % TOPICS, score);
    print(&b, prefetch, bytes);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        free(*rows[i]);
    free(score);
    free(b.resident);
    free(b.stream.last);
    policy_close(b.policy);
}

int main(int argc, char **argv)
{
    uint32_t tokens = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 400;
    const uint32_t cases = sizeof shapes / sizeof shapes[0];
    uint32_t only = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : cases;
    uint32_t mode = argc > 3 ? (uint32_t)strtoul(argv[3], NULL, 10) : 2;
    if (tokens < 10 || tokens > TOKENS_MAX || only > cases || mode > 2) {
        fprintf(stderr, "usage: bench_policy [tokens 10..%d] [case 0..%" PRIu32 "] [mode 0, 1]\n",
                TOKENS_MAX, cases - 1);
        return 2;
    }
    printf("{\"bench\": \"policy\", \"tokens\": %" PRIu32 ", \"bound_ns\": 50000, \"cases\": [\n",
           tokens);
    const char *separator = "";
    for (uint32_t i = 0; i < cases; i++)
        for (uint32_t prefetch = 0; prefetch < 2; prefetch++)
            if ((only == cases || only == i) && (mode == 2 || mode == prefetch)) {
                printf("%s", separator);
                measure(&shapes[i], prefetch, tokens);
                separator = ",\n";
            }
    printf("]}\n");
    return 0;
}
