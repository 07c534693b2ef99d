/* How long one row of logits takes to become one token, as one JSON object on stdout.
 *
 * Two rows of the largest vocabulary in use: "peaked", as a trained model gives (a few tokens hold
 * nearly all of the mass, the rest lies far below), and "flat", where top-p keeps most of the
 * vocabulary. The cases are run in turn, round after round, and each reports its median, so that a
 * slow second of a shared machine falls on all of them. The bound of each is one read of the row:
 * "read_ms" sums it and does nothing else.
 *
 * Usage: bench_sampler [rounds, default 25] [vocabulary, default 151936] [only this case] */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/sampler.h"
#include "memory/base/check.h"
#include "memory/base/clock.h"

#define ROUNDS_MAX 1000
#define CASES_MAX 16

struct bench_case {
    const char *name;
    bool flat;
    float temperature, top_p, min_p;
    uint32_t top_k, top_logprobs;
    float repetition_penalty;
    struct sampler *sampler;
    double ms[ROUNDS_MAX];
};

static struct bench_case cases[CASES_MAX] = {
    {"greedy", false, 0, 1, 0, 0, 0, 1},
    {"greedy_logprobs_20", false, 0, 1, 0, 0, 20, 1},
    {"greedy_penalised", false, 0, 1, 0, 0, 0, 1.1f},
    {"temperature", false, 1, 1, 0, 0, 0, 1},
    {"temperature_flat", true, 1, 1, 0, 0, 0, 1},
    {"min_p_0.05", false, 1, 1, 0.05f, 0, 0, 1},
    {"top_k_40", false, 1, 1, 0, 40, 0, 1},
    {"top_k_40_flat", true, 1, 1, 0, 40, 0, 1},
    {"top_k_20_top_p_0.95", false, 0.6f, 0.95f, 0, 20, 0, 1},
    {"top_k_20000_flat", true, 1, 1, 0, 20000, 0, 1},
    {"top_p_0.95", false, 1, 0.95f, 0, 0, 0, 1},
    {"top_p_0.999", false, 1, 0.999f, 0, 0, 0, 1},
    {"top_p_0.95_flat", true, 1, 0.95f, 0, 0, 0, 1},
    {"top_p_0.95_hot", true, 50, 0.95f, 0, 0, 0, 1},
};

/* Sums of twelve uniform numbers are near enough to a normal distribution. */
static void fill(float *row, uint32_t vocab, bool flat)
{
    for (uint32_t i = 0; i < vocab; i++) {
        double noise = -6;
        for (uint32_t j = 0; j < 12; j++)
            noise += sampler_uniform(flat, (uint64_t)i * 12 + j);
        row[i] = (float)(noise * (flat ? 1.0 : 2.5));
    }
    if (!flat)
        for (uint32_t i = 0; i < 30; i++)
            row[(uint64_t)i * 7919 % vocab] = 24.0f - 0.4f * (float)i;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, uint32_t count)
{
    qsort(values, count, sizeof *values, compare);
    return values[count / 2];
}

static void open_case(struct bench_case *c, uint32_t vocab)
{
    struct sampler_params params;
    struct error error = {0};
    sampler_params_init(&params);
    params.temperature = c->temperature;
    params.top_p = c->top_p;
    params.min_p = c->min_p;
    params.top_k = c->top_k;
    params.top_logprobs = c->top_logprobs;
    params.repetition_penalty = c->repetition_penalty;
    params.seed = 1;
    CHECK_MSG(sampler_open(&c->sampler, &params, vocab, &error) == STATUS_OK, "%s", error.text);
    for (uint32_t i = 0; i < 1000; i++) { /* a prompt, for the penalties */
        uint32_t token = i * 131 % vocab;
        sampler_observe(c->sampler, &token, 1, false);
    }
}

static double time_of(struct bench_case *c, const float *row, uint32_t vocab, float *logits,
                      struct sampler_candidate *scratch)
{
    struct sampled out;
    struct error error = {0};
    memcpy(logits, row, vocab * sizeof *logits);
    uint64_t begin = clock_now_ns();
    enum status status = sampler_sample(c->sampler, logits, NULL, scratch, &out, &error);
    uint64_t end = clock_now_ns();
    CHECK_MSG(status == STATUS_OK, "%s", error.text);
    return (double)(end - begin) * 1e-6;
}

static double read_ms(const float *row, uint32_t vocab)
{
    uint64_t begin = clock_now_ns();
    uint64_t sums[4] = {0};
    for (uint32_t i = 0; i + 8 <= vocab; i += 8) {
        uint64_t words[4];
        memcpy(words, row + i, sizeof words);
        for (int j = 0; j < 4; j++)
            sums[j] ^= words[j];
    }
    volatile uint64_t sink = sums[0] ^ sums[1] ^ sums[2] ^ sums[3];
    (void)sink;
    return (double)(clock_now_ns() - begin) * 1e-6;
}

int main(int argc, char **argv)
{
    uint32_t rounds = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 25;
    uint32_t vocab = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 151936;
    const char *only = argc > 3 ? argv[3] : NULL;
    if (rounds == 0 || rounds > ROUNDS_MAX || vocab == 0 || vocab > (1u << 24)) {
        fprintf(stderr, "usage: bench_sampler [rounds 1..%d] [vocabulary 1..2^24] [case]\n",
                ROUNDS_MAX);
        return 2;
    }
    float *rows[2], *logits = malloc(vocab * sizeof *logits);
    struct sampler_candidate *scratch = malloc(vocab * sizeof *scratch);
    for (int flat = 0; flat < 2; flat++) {
        rows[flat] = malloc(vocab * sizeof *rows[flat]);
        CHECK_MSG(rows[flat] && logits && scratch, "no memory for rows of %" PRIu32, vocab);
        fill(rows[flat], vocab, flat);
    }
    for (struct bench_case *c = cases; c->name; c++)
        open_case(c, vocab);
    double reads[ROUNDS_MAX];
    for (uint32_t round = 0; round < rounds; round++) {
        reads[round] = read_ms(rows[0], vocab);
        for (struct bench_case *c = cases; c->name; c++)
            if (!only || strcmp(only, c->name) == 0)
                c->ms[round] = time_of(c, rows[c->flat], vocab, logits, scratch);
    }
    printf("{\"bench\": \"sampler\", \"vocabulary\": %" PRIu32 ", \"rounds\": %" PRIu32
           ",\n  \"read_ms\": %.3f,\n  \"median_ms\": {",
           vocab, rounds, median(reads, rounds));
    const char *separator = "";
    for (struct bench_case *c = cases; c->name; c++) {
        if (!only || strcmp(only, c->name) == 0) {
            printf("%s\n    \"%s\": %.3f", separator, c->name, median(c->ms, rounds));
            separator = ",";
        }
        sampler_close(c->sampler);
    }
    printf("}}\n");
    free(rows[0]);
    free(rows[1]);
    free(logits);
    free(scratch);
    return 0;
}
