#include "engine/predict/lookahead.h"

#include <stdlib.h>
#include <string.h>

#include "engine/predict/logistic.h"

#define PRIOR 8.0f
#define MEMORY 20000.0f /* a rank forgets what is older */

struct lookahead {
    struct predictor base;
    uint32_t layers, experts, present;
    uint64_t observed;       /* runs so far */
    uint64_t *told;          /* [distances][layers] `observed` + 1 when it was told; 0: never */
    uint16_t *rank; /* [distances][layers][experts] place of each expert in the order told */
    float *uses, *runs;      /* [distances][experts] by rank */
    uint32_t *key;           /* [experts] scratch, as the next two */
    uint16_t *order, *spare;
};

static size_t at(const struct lookahead *l, uint32_t distance, uint32_t layer)
{
    return (size_t)(distance - 1) * l->layers + layer;
}

static void learn(struct lookahead *l, uint32_t distance, const struct layer_run *run)
{
    const uint16_t *rank = l->rank + at(l, distance, run->layer) * l->experts;
    float *uses = l->uses + (size_t)(distance - 1) * l->experts;
    float *runs = l->runs + (size_t)(distance - 1) * l->experts;
    for (uint32_t r = 0; r < l->experts; r++) {
        if (runs[r] > MEMORY) {
            runs[r] *= 0.5f;
            uses[r] *= 0.5f;
        }
        runs[r] += 1.0f;
    }
    for (uint32_t i = 0; i < run->count; i++)
        uses[rank[run->experts[i]]] += 1.0f;
}

static void observe(struct predictor *predictor, const struct layer_run *run)
{
    struct lookahead *l = (struct lookahead *)predictor;
    l->present = run->layer;
    l->observed++;
    for (uint32_t d = 1; d <= LOOKAHEAD_MAX; d++) {
        uint64_t *told = &l->told[at(l, d, run->layer)];
        if (*told && *told + d == l->observed + 1 && !run->prefill) /* else layers were left out */
            learn(l, d, run);
        *told = 0;
    }
}

/* Bits that ascend where the score descends; -0 is 0. */
static uint32_t key_of(float score)
{
    uint32_t bits = (uint32_t)logistic_float_bits(score + 0.0f);
    return bits & 0x80000000u ? bits : ~(bits | 0x80000000u);
}

/* The order of the scores, highest first, ties by number: a radix sort, a byte at a time, since it
 * runs for each layer and distance and a sort by comparing takes ten times as long for 512. */
static void sort_by_score(struct lookahead *l, const float *score)
{
    uint32_t count[4][256] = {{0}}, n = l->experts;
    uint32_t *restrict key = l->key;
    uint16_t *from = l->order, *to = l->spare;
    for (uint32_t e = 0; e < n; e++) {
        key[e] = key_of(score[e]);
        from[e] = (uint16_t)e;
    }
    for (uint32_t e = 0; e < n; e++) {
        count[0][key[e] & 255]++;
        count[1][key[e] >> 8 & 255]++;
        count[2][key[e] >> 16 & 255]++;
        count[3][key[e] >> 24]++;
    }
    for (int byte = 0; byte < 4; byte++) { /* an even number of passes: the last ends in `order` */
        uint32_t *restrict at = count[byte], shift = 8 * (uint32_t)byte, sum = 0;
        for (uint32_t i = 0; i < 256; i++) {
            uint32_t here = at[i];
            at[i] = sum;
            sum += here;
        }
        for (uint32_t i = 0; i < n; i++) {
            uint16_t e = from[i];
            to[at[key[e] >> shift & 255]++] = e;
        }
        uint16_t *sorted = to;
        to = from;
        from = sorted;
    }
}

void lookahead_tell(struct predictor *predictor, uint32_t distance, const float *score)
{
    struct lookahead *l = (struct lookahead *)predictor;
    uint32_t layer = (l->present + distance) % l->layers;
    uint16_t *rank = l->rank + at(l, distance, layer) * l->experts;
    sort_by_score(l, score);
    for (uint32_t r = 0; r < l->experts; r++)
        rank[l->order[r]] = (uint16_t)r;
    l->told[at(l, distance, layer)] = l->observed + 1;
}

static bool experts(struct predictor *predictor, uint32_t distance, float *probability)
{
    struct lookahead *l = (struct lookahead *)predictor;
    if (distance > LOOKAHEAD_MAX)
        return false;
    uint32_t layer = (l->present + distance) % l->layers;
    if (l->told[at(l, distance, layer)] != l->observed + 1)
        return false;
    const uint16_t *rank = l->rank + at(l, distance, layer) * l->experts;
    const float *uses = l->uses + (size_t)(distance - 1) * l->experts;
    const float *runs = l->runs + (size_t)(distance - 1) * l->experts;
    for (uint32_t e = 0; e < l->experts; e++)
        probability[e] = uses[rank[e]] / runs[rank[e]];
    return true;
}

static void close_lookahead(struct predictor *predictor)
{
    struct lookahead *l = (struct lookahead *)predictor;
    free(l->told);
    free(l->rank);
    free(l->uses);
    free(l->runs);
    free(l->key);
    free(l->order);
    free(l->spare);
    free(l);
}

enum status lookahead_open(struct predictor **out, uint32_t layers, uint32_t count,
                           struct error *error)
{
    static const struct predictor_ops ops = {
        .name = "lookahead", .observe = observe, .experts = experts, .close = close_lookahead};
    struct lookahead *l = calloc(1, sizeof *l);
    if (!l)
        return error_set(error, STATUS_NO_MEMORY, "no memory for a predictor");
    *l = (struct lookahead){.base = {&ops}, .layers = layers, .experts = count};
    size_t places = (size_t)LOOKAHEAD_MAX * layers, ranks = (size_t)LOOKAHEAD_MAX * count;
    l->told = calloc(places, sizeof *l->told);
    l->rank = calloc(places * count, sizeof *l->rank);
    l->uses = malloc(ranks * sizeof *l->uses);
    l->runs = malloc(ranks * sizeof *l->runs);
    l->key = malloc(count * sizeof *l->key);
    l->order = malloc(count * sizeof *l->order);
    l->spare = malloc(count * sizeof *l->spare);
    if (!l->told || !l->rank || !l->uses || !l->runs || !l->key || !l->order || !l->spare) {
        close_lookahead(&l->base);
        return error_set(error, STATUS_NO_MEMORY, "no memory for a predictor of %u x %u experts",
                         layers, count);
    }
    for (size_t r = 0; r < ranks;
         r++) { /* before anything is measured: likelier towards the front */
        l->runs[r] = PRIOR;
        l->uses[r] = PRIOR / (2.0f + (float)(r % count));
    }
    *out = &l->base;
    return STATUS_OK;
}
