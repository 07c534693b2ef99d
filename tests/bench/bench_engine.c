/* Tokens per second of the whole engine on one model, by ring size, beside the bound.
 *
 *     bench_engine MODEL [--prompt N] [--decode N] [--rounds N] [--threads N]
 *
 * Ring sizes are interleaved round by round, so that a machine that slows down slows all of them,
 * and medians are printed as JSON, one object per ring. The bound of decode is active bytes / the
 * rate at which this process reads memory, measured in the same run with as many threads: no engine
 * that reads each active weight once per token can be faster while they come from memory. A small
 * model that lies in the processor's caches may beat it; `fits_in_cache` warns of that below 64
 * MiB. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/engine.h"
#include "memory/base/check.h"
#include "memory/base/clock.h"
#include "server/bench/machine_rates.h"

enum { ROUNDS_MAX = 33, PROBE_MIB = 256, CACHE_MIB = 64 };

struct ring_case {
    const char *room;
    struct engine *engine;
    double prefill[ROUNDS_MAX], decode[ROUNDS_MAX]; /* tokens/s */
    struct expert_usage usage;                      /* of all decode steps */
    uint64_t decode_tokens;
};

struct options {
    const char *model;
    uint32_t prompt, decode, rounds, threads;
};

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, uint32_t n)
{
    qsort(values, n, sizeof *values, compare);
    return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

/* Bytes per second that `threads` threads read from memory. */
static double memory_rate(uint32_t threads)
{
    size_t bytes = (size_t)PROBE_MIB << 20;
    void *data = aligned_alloc(64, bytes);
    CHECK(data);
    memset(data, 1, bytes);
    double rate = machine_memory_rate(data, bytes, threads);
    free(data);
    return rate;
}

static void open_ring(const struct options *o, struct ring_case *ring)
{
    struct error error = {0};
    struct engine_config config;
    engine_config_init(&config);
    config.model = o->model;
    config.threads = o->threads;
    config.max_num_seqs = 1;
    config.max_batch_tokens = o->prompt;
    if (room_parse("ring", ring->room, &config.device_experts, &error) != STATUS_OK ||
        engine_open(&ring->engine, &config, &error) != STATUS_OK) {
        fprintf(stderr, "bench_engine: %s\n", error.text);
        exit(1);
    }
}

static void run_round(const struct options *o, struct ring_case *ring, uint32_t round)
{
    struct error error = {0};
    struct sampler_params sampling;
    struct sequence *sequence;
    struct step_output output;
    uint32_t vocab = engine_info(ring->engine)->vocab;
    uint32_t *prompt = malloc(o->prompt * sizeof *prompt);
    for (uint32_t i = 0; i < o->prompt; i++)
        prompt[i] = (i * 2654435761u + round * 40503u) % vocab;
    sampler_params_init(&sampling);
    sampling.seed = round + 1; /* drawn at temperature 1: greedy would fall into a loop */
    sampling.has_seed = true;
    CHECK_MSG(engine_sequence_open(ring->engine, prompt, o->prompt, &sampling, &sequence, &error) ==
                  STATUS_OK, "%s", error.text);
    struct step_item item = {.sequence = sequence, .tokens = o->prompt};
    uint64_t begin = clock_now_ns();
    CHECK_MSG(engine_step(ring->engine, &item, 1, &output, &error) == STATUS_OK, "%s", error.text);
    uint64_t middle = clock_now_ns();
    item.tokens = 1;
    for (uint32_t n = 0; n < o->decode; n++) {
        CHECK_MSG(engine_step(ring->engine, &item, 1, &output, &error) == STATUS_OK, "%s",
                  error.text);
        expert_usage_add(&ring->usage, &output.usage);
    }
    uint64_t end = clock_now_ns();
    ring->prefill[round] = o->prompt * 1e9 / (double)(middle - begin);
    ring->decode[round] = o->decode * 1e9 / (double)(end - middle);
    ring->decode_tokens += o->decode;
    engine_sequence_close(ring->engine, sequence);
    free(prompt);
}

static void print_ring(const struct options *o, struct ring_case *ring, double rate, bool last)
{
    const struct engine_info *info = engine_info(ring->engine);
    uint64_t active = info->token_bytes;
    double asked = (double)(ring->usage.hits + ring->usage.misses);
    double tokens = (double)ring->decode_tokens, decode = median(ring->decode, o->rounds);
    double bound = rate / (double)active;
    printf("  {\"model\": \"%s\", \"isa\": \"%s\", \"threads\": %u, \"device_experts\": \"%s\", "
           "\"slots\": %u, \"pages\": %u,\n"
           "   \"prefill_tokens\": %u, \"prefill_tps\": %.1f, \"decode_tps\": %.1f, "
           "\"hit_rate\": %.4f, \"stall_us_per_token\": %.1f, \"bytes_per_token\": %.0f,\n"
           "   \"active_bytes\": %llu, \"memory_gb_s\": %.2f, \"decode_bound_tps\": %.1f, "
           "\"share_of_bound\": %.3f, \"fits_in_cache\": %s}%s\n",
           info->model_name, info->isa, info->threads, ring->room, info->device_slots, info->pages,
           o->prompt, median(ring->prefill, o->rounds), decode,
           asked > 0 ? (double)ring->usage.hits / asked : 0,
           (double)ring->usage.stall_ns / 1e3 / tokens, (double)ring->usage.bytes / tokens,
           (unsigned long long)active, rate / 1e9, bound, decode / bound,
           info->page_bytes_total < (uint64_t)CACHE_MIB << 20 ? "true" : "false", last ? "" : ",");
}

int main(int argc, char **argv)
{
    struct options o = {.prompt = 128, .decode = 64, .rounds = 7};
    struct ring_case rings[] = {{.room = "100%"}, {.room = "50%"}, {.room = "25%"}, {.room = "6%"}};
    enum { RINGS = sizeof rings / sizeof rings[0] };
    for (int i = 1; i < argc; i++) {
        uint32_t *number = i + 1 >= argc                        ? NULL
                           : strcmp(argv[i], "--prompt") == 0   ? &o.prompt
                           : strcmp(argv[i], "--decode") == 0   ? &o.decode
                           : strcmp(argv[i], "--rounds") == 0   ? &o.rounds
                           : strcmp(argv[i], "--threads") == 0  ? &o.threads
                                                                : NULL;
        if (number)
            *number = (uint32_t)strtoul(argv[++i], NULL, 10);
        else if (argv[i][0] != '-' && !o.model)
            o.model = argv[i];
        else
            o.model = NULL, i = argc;
    }
    if (!o.model || o.prompt == 0 || o.decode == 0 || o.rounds == 0 || o.rounds > ROUNDS_MAX) {
        fprintf(stderr, "usage: bench_engine MODEL [--prompt N] [--decode N] [--rounds 1..%d] "
                        "[--threads N]\n", ROUNDS_MAX);
        return 2;
    }
    for (int r = 0; r < RINGS; r++)
        open_ring(&o, &rings[r]);
    for (uint32_t round = 0; round < o.rounds; round++)
        for (int r = 0; r < RINGS; r++)
            run_round(&o, &rings[r], round);
    double rate = memory_rate(engine_info(rings[0].engine)->threads);
    printf("[\n");
    for (int r = 0; r < RINGS; r++)
        print_ring(&o, &rings[r], rate, r + 1 == RINGS);
    printf("]\n");
    for (int r = 0; r < RINGS; r++)
        engine_close(rings[r].engine);
    return 0;
}
