/* What deciding about pages costs the engine thread per run of a layer, as one JSON object on
 * stdout.
 *
 * Three shapes of model, an imaginary token stream each (experts are skewed in popularity, stay for
 * some tokens and keep company by topic), a ring of a quarter of the pages. Timed per run of a
 * layer: "run" is policy_run, "victims" the choice of a page to evict for each miss of that run,
 * "lookahead" telling the policy what the routers ahead say, and sorting it in. Without prefetch
 * only eviction learns; with it all predictors of experts do. Nothing is copied: a page is resident
 * at once.
 *
 * The slow clock runs, as it does in every engine. It costs a run nothing until the tick of its
 * layer closes, and medians never see that. So the tokens are whole ticks of decoding, after
 * WARM_TICKS that are told in runs of many experts to be quick, and the mean is printed beside.
 * "step" is policy_run for all layers of a token, its median and the longest, in processor time: on
 * a shared machine the longest by the clock is somebody else's. "step_ticks_most": the ticks that
 * closed in the step that closed most of them.
 *
 * Some more tokens, a tenth, come before what is timed. Medians, so that a slow second of a shared
 * machine is seen in none of them; the 90th percentile is printed beside. "bytes" is what the
 * allocator handed out to policy_open: all state of all predictors, with the planner, eviction and
 * the slow clock. The bound of a run with everything is 50 us at 512 experts: RING.md, section 5.
 *
 * Usage: bench_policy [tokens, default 400, rounded up to ticks] [only this case: 0, 1, 2]
 *                     [prefetch: 0 without, 1 with] */
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/paging/policy.h"
#include "memory/base/check.h"
#include "memory/base/clock.h"

enum { TOP_K_MAX = 16, TOPICS = 6, TOPIC_TOKENS = 60, AHEAD = 2, TOKENS_MAX = 100000 };
enum { WARM_TICKS = 40 };

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
    uint32_t runs, steps;
    double *run_ns, *victims_ns, *lookahead_ns, *all_ns; /* [runs] */
    double *step_ns;          /* [steps] of all layers, processor time */
    uint64_t step_ticks_most; /* closed in one step */
    uint64_t step_cpu_ns;     /* of the step at hand */
};

static uint32_t draw(struct stream *s, uint32_t limit)
{
    s->random ^= s->random << 13; /* xorshift64 (Marsaglia 2003) */
    s->random ^= s->random >> 7;
    s->random ^= s->random << 17;
    return (uint32_t)((s->random >> 32) * limit >> 32);
}

/* Of the slow clock in decoding, routed: as loads.h has them if nobody says otherwise. */
static uint32_t tick_tokens(const struct shape *shape)
{
    uint32_t wide = LOADS_TICK_TOKENS_PER_EXPERT * shape->experts;
    return wide > LOADS_DECODE_TICK_TOKENS ? wide : LOADS_DECODE_TICK_TOKENS;
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

static uint64_t processor_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Ticks of the slow clock, in runs that the predictors of experts learn little from. */
static void warm_ticks(struct bench *b)
{
    enum { WIDE = 33 };
    uint32_t experts[WIDE], tokens[WIDE], count = b->shape.experts < WIDE ? b->shape.experts : WIDE;
    uint64_t runs = (uint64_t)WARM_TICKS * tick_tokens(&b->shape) / count;
    for (uint64_t i = 0; i < runs; i++)
        for (uint32_t layer = 0; layer < b->shape.layers; layer++) {
            uint32_t first = draw(&b->stream, b->shape.experts);
            for (uint32_t e = 0; e < count; e++) {
                experts[e] = (first + e) % b->shape.experts;
                tokens[e] = 1;
            }
            policy_run(b->policy,
                       &(struct layer_run){.layer = layer, .rows = count / b->shape.top_k,
                                           .count = count, .experts = experts,
                                           .tokens = tokens});
        }
}

static void one_run(struct bench *b, uint32_t layer, uint32_t topic, float *score)
{
    uint32_t experts[TOP_K_MAX], tokens[TOP_K_MAX];
    next_experts(&b->stream, layer, topic, experts);
    for (uint32_t i = 0; i < b->shape.top_k; i++)
        tokens[i] = 1;
    struct layer_run run = {.layer = layer, .rows = 1, .count = b->shape.top_k, .experts = experts,
                            .tokens = tokens};
    uint64_t cpu = processor_ns(), begin = clock_now_ns();
    policy_run(b->policy, &run);
    uint64_t run_ns = clock_now_ns() - begin;
    b->step_cpu_ns += processor_ns() - cpu;
    uint64_t victims_ns = bring_misses(b, layer, experts);
    uint64_t lookahead_ns = tell_scores(b, score);
    b->run_ns[b->runs] = (double)run_ns;
    b->victims_ns[b->runs] = (double)victims_ns;
    b->lookahead_ns[b->runs] = (double)lookahead_ns;
    b->all_ns[b->runs++] = (double)(run_ns + victims_ns + lookahead_ns);
}

static void one_step(struct bench *b, uint32_t token, float *score)
{
    const struct loads *loads = policy_loads(b->policy);
    uint64_t ticks = loads_ticks(loads, LOAD_DECODE);
    b->step_cpu_ns = 0;
    for (uint32_t layer = 0; layer < b->shape.layers; layer++)
        one_run(b, layer, token / TOPIC_TOKENS % TOPICS, score);
    ticks = loads_ticks(loads, LOAD_DECODE) - ticks;
    if (ticks > b->step_ticks_most)
        b->step_ticks_most = ticks;
    b->step_ns[b->steps++] = (double)b->step_cpu_ns;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double quantile(double *values, uint32_t count, double q)
{
    qsort(values, count, sizeof *values, compare);
    return values[(uint32_t)((count - 1) * q)];
}

static double mean(const double *values, uint32_t count)
{
    double sum = 0;
    for (uint32_t i = 0; i < count; i++)
        sum += values[i];
    return sum / count;
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
           "\"all_p90_ns\": %.0f,\n",
           quantile(b->run_ns, b->runs, 0.5), quantile(b->victims_ns, b->runs, 0.5),
           quantile(b->lookahead_ns, b->runs, 0.5), quantile(b->all_ns, b->runs, 0.5),
           quantile(b->all_ns, b->runs, 0.9));
    printf("     \"all_mean_ns\": %.0f, \"step_ns\": %.0f, \"step_longest_ns\": %.0f, "
           "\"step_ticks_most\": %" PRIu64 "}",
           mean(b->all_ns, b->runs), quantile(b->step_ns, b->steps, 0.5),
           quantile(b->step_ns, b->steps, 1), b->step_ticks_most);
}

static void measure(const struct shape *shape, bool prefetch, uint32_t tokens)
{
    uint32_t pages = shape->layers * shape->experts, before_timed = tokens / 10;
    /* Whole ticks: each closes for each layer as often as it does in the long run. */
    uint32_t tick = (tick_tokens(shape) + shape->top_k - 1) / shape->top_k;
    tokens = (tokens + tick - 1) / tick * tick;
    uint64_t runs = (uint64_t)(before_timed + tokens) * shape->layers;
    struct bench b = {.shape = *shape, .slots = pages / 4};
    struct policy_config config = {
        .layers = shape->layers, .experts = shape->experts, .top_k = shape->top_k,
        .slots = b.slots, .evict = EVICT_LEARNED, .foresight = FORESIGHT_AUTO,
        .prefetch = prefetch ? PREFETCH_ON : PREFETCH_OFF, .ahead = AHEAD,
        .slow_clock = true, .seed = 1};
    struct error error = {0};
    uint64_t before = allocated();
    CHECK_MSG(policy_open(&b.policy, &config, &error) == STATUS_OK, "%s", error.text);
    uint64_t bytes = allocated() - before;
    b.stream = (struct stream){.shape = *shape, .random = 88172645463325252u};
    b.stream.last = reserve((uint64_t)shape->layers * shape->top_k, sizeof *b.stream.last);
    b.resident = reserve(pages, 1);
    float *score = reserve(shape->experts, sizeof *score);
    double **rows[] = {&b.run_ns, &b.victims_ns, &b.lookahead_ns, &b.all_ns, &b.step_ns};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        *rows[i] = reserve(runs, sizeof **rows[i]);
    warm_ticks(&b);
    for (uint32_t token = 0; token < before_timed; token++)
        one_step(&b, token, score);
    b.runs = b.steps = 0;
    b.misses = b.step_ticks_most = 0;
    for (uint32_t token = 0; token < tokens; token++)
        one_step(&b, before_timed + token, score);
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
