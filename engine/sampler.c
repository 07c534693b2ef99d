/* Turns one row of logits into one token. Owns a sequence's random stream and token counts; knows
 * nothing of batches, requests or stop conditions. Called by the engine thread.
 *
 * Reproducible on any machine: the n-th draw is a pure function of the seed and n (splitmix64, a
 * counter-based generator: state that could be lost in a preemption does not exist), candidates are
 * walked in an order that depends on values and ids alone, and exp is our own polynomial, since the
 * C library picks one by instruction set and these differ in the last bit. Sums are doubles.
 *
 * Cost: a plain draw is two passes over the vocabulary. Top-k and top-p do not sort it: a heap is
 * built in linear time and only the kept tokens are popped, in descending order. Values stay the
 * penalised logits throughout (the order is the same at every temperature, and dividing first would
 * round neighbours into ties); a weight is exp((value - max) / temperature), so the best one is 1.
 *
 * Tokens of equal value: the lower id comes first, everywhere. */
#include "engine/sampler.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "memory/base/check.h"

struct sampler {
    struct sampler_params params;
    uint32_t vocab;
    uint64_t draws;

    /* Only with a penalty: each distinct token once, and how often it is in the output. */
    uint32_t *seen; /* [seen_count] of [vocab] */
    uint32_t seen_count;
    uint32_t *counts; /* [vocab]: NEVER_SEEN, or occurrences in the output */
};

#define NEVER_SEEN UINT32_MAX

void sampler_params_init(struct sampler_params *params)
{
    *params = (struct sampler_params){
        .temperature = 1.0f,
        .top_p = 1.0f,
        .repetition_penalty = 1.0f,
    };
}

enum status sampler_params_check(const struct sampler_params *params, struct error *error)
{
    const struct {
        const char *name;
        float value;
        bool good; /* written so that NaN is bad */
        const char *range;
    } fields[] = {
        {"temperature", params->temperature,
         params->temperature >= 0 && params->temperature <= FLT_MAX, "finite and at least 0"},
        {"top_p", params->top_p, params->top_p > 0 && params->top_p <= 1, "in (0, 1]"},
        {"min_p", params->min_p, params->min_p >= 0 && params->min_p <= 1, "in [0, 1]"},
        {"repetition_penalty", params->repetition_penalty,
         params->repetition_penalty > 0 && params->repetition_penalty <= FLT_MAX,
         "finite and greater than 0"},
        {"presence_penalty", params->presence_penalty,
         params->presence_penalty >= -2 && params->presence_penalty <= 2, "in [-2, 2]"},
        {"frequency_penalty", params->frequency_penalty,
         params->frequency_penalty >= -2 && params->frequency_penalty <= 2, "in [-2, 2]"},
    };
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
        if (!fields[i].good)
            return error_set(error, STATUS_INVALID, "\"%s\" is %g, must be %s", fields[i].name,
                             (double)fields[i].value, fields[i].range);
    if (params->top_logprobs > SAMPLER_TOP_LOGPROBS_MAX)
        return error_set(error, STATUS_INVALID, "\"top_logprobs\" is %u, must be in [0, %d]",
                         params->top_logprobs, SAMPLER_TOP_LOGPROBS_MAX);
    return STATUS_OK;
}

/* --- Randomness --- */

static uint64_t mix(uint64_t z) /* the finaliser of splitmix64 */
{
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

double sampler_uniform(uint64_t seed, uint64_t draw)
{
    const uint64_t gamma = 0x9E3779B97F4A7C15u;
    uint64_t stream = mix(seed + gamma); /* neighbouring seeds begin far apart */
    return (double)(mix(stream + (draw + 1) * gamma) >> 11) * 0x1p-53;
}

/* exp for x <= 0, within 1e-15 relative; 0 below -708. Only IEEE additions and products: the same
 * bits on every machine. x = n ln 2 + r with |r| <= ln 2 / 2, then the series of r. */
static double exp_of(double x)
{
    static const double inverse_factorial[] = {
        1.0 / 6227020800.0, 1.0 / 479001600.0, 1.0 / 39916800.0, 1.0 / 3628800.0, 1.0 / 362880.0,
        1.0 / 40320.0,      1.0 / 5040.0,      1.0 / 720.0,      1.0 / 120.0,     1.0 / 24.0,
        1.0 / 6.0,          1.0 / 2.0,         1.0,              1.0,
    };
    const double log2_e = 1.4426950408889634, ln2_high = 0x1.62e42fee00000p-1;
    const double ln2_low = 1.90821492927058770002e-10, round = 0x1.8p52;
    if (!(x > -708.0))
        return 0;
    double n = (x * log2_e + round) - round; /* to the nearest integer */
    double r = (x - n * ln2_high) - n * ln2_low;
    double sum = inverse_factorial[0];
    for (size_t i = 1; i < sizeof inverse_factorial / sizeof inverse_factorial[0]; i++)
        sum = sum * r + inverse_factorial[i];
    uint64_t bits = (uint64_t)(1023 + (int64_t)n) << 52;
    double scale;
    memcpy(&scale, &bits, sizeof scale);
    return sum * scale;
}

/* --- The sequence's state --- */

static bool has_penalty(const struct sampler_params *params)
{
    return params->repetition_penalty != 1 || params->presence_penalty != 0 ||
           params->frequency_penalty != 0;
}

enum status sampler_open(struct sampler **out, const struct sampler_params *params, uint32_t vocab,
                         struct error *error)
{
    CHECK(vocab > 0);
    *out = NULL;
    enum status status = sampler_params_check(params, error);
    if (status != STATUS_OK)
        return status;
    struct sampler *sampler = calloc(1, sizeof *sampler);
    if (!sampler)
        goto fail;
    sampler->params = *params;
    sampler->vocab = vocab;
    if (has_penalty(params)) {
        sampler->seen = malloc(vocab * sizeof *sampler->seen);
        sampler->counts = malloc(vocab * sizeof *sampler->counts);
        if (!sampler->seen || !sampler->counts)
            goto fail;
        memset(sampler->counts, 0xff, vocab * sizeof *sampler->counts); /* NEVER_SEEN */
    }
    *out = sampler;
    return STATUS_OK;
fail:
    sampler_close(sampler);
    return error_set(error, STATUS_NO_MEMORY, "no memory for the token counts of a sequence");
}

void sampler_close(struct sampler *sampler)
{
    if (!sampler)
        return;
    free(sampler->seen);
    free(sampler->counts);
    free(sampler);
}

void sampler_observe(struct sampler *sampler, const uint32_t *tokens, uint32_t count, bool output)
{
    if (!sampler->counts)
        return;
    for (uint32_t i = 0; i < count; i++) {
        CHECK(tokens[i] < sampler->vocab);
        uint32_t *occurrences = &sampler->counts[tokens[i]];
        if (*occurrences == NEVER_SEEN) {
            sampler->seen[sampler->seen_count++] = tokens[i];
            *occurrences = 0;
        }
        *occurrences += output;
    }
}

/* --- Candidates --- */

static float penalise(const struct sampler_params *params, float logit, uint32_t occurrences)
{
    float r = params->repetition_penalty;
    logit = logit > 0 ? logit / r : logit * r;
    if (occurrences > 0)
        logit -= params->presence_penalty;
    logit -= params->frequency_penalty * (float)occurrences;
    return fminf(fmaxf(logit, -FLT_MAX), FLT_MAX); /* an extreme r must not make an infinity */
}

/* candidates[0, *count): every token that may be drawn, with its penalised logit, by id. */
static enum status gather(const struct sampler *sampler, const float *logits,
                          const uint32_t *banned, uint32_t banned_count,
                          struct sampler_candidate *candidates, uint32_t *count,
                          struct error *error)
{
    uint32_t vocab = sampler->vocab, kept = 0;
    for (uint32_t i = 0; i < vocab; i++) {
        if (!(logits[i] <= FLT_MAX))
            return error_set(error, STATUS_INTERNAL, "the model's logit of token %u is %g", i,
                             (double)logits[i]);
        candidates[i] = (struct sampler_candidate){logits[i], i};
    }
    for (uint32_t i = 0; i < sampler->seen_count; i++) {
        uint32_t token = sampler->seen[i];
        if (logits[token] >= -FLT_MAX)
            candidates[token].value =
                penalise(&sampler->params, logits[token], sampler->counts[token]);
    }
    for (uint32_t i = 0; i < banned_count; i++)
        if (banned[i] < vocab)
            candidates[banned[i]].value = -INFINITY;
    for (uint32_t i = 0; i < vocab; i++)
        if (candidates[i].value >= -FLT_MAX)
            candidates[kept++] = candidates[i];
    *count = kept;
    if (kept == 0)
        return error_set(error, STATUS_INTERNAL,
                         "no token is left to draw: every logit is -inf or banned");
    return STATUS_OK;
}

static bool comes_before(struct sampler_candidate a, struct sampler_candidate b)
{
    return a.value > b.value || (a.value == b.value && a.token < b.token);
}

static void sift_down(struct sampler_candidate *heap, uint32_t count, uint32_t at)
{
    struct sampler_candidate moving = heap[at];
    for (;;) {
        uint64_t child = 2 * (uint64_t)at + 1;
        if (child >= count)
            break;
        if (child + 1 < count && comes_before(heap[child + 1], heap[child]))
            child++;
        if (!comes_before(heap[child], moving))
            break;
        heap[at] = heap[child];
        at = (uint32_t)child;
    }
    heap[at] = moving;
}

static void make_heap(struct sampler_candidate *heap, uint32_t count)
{
    for (uint32_t i = count / 2; i > 0; i--)
        sift_down(heap, count, i - 1);
}

/* Moves the best of heap[0, count) to heap[count - 1]. */
static void pop_best(struct sampler_candidate *heap, uint32_t count)
{
    struct sampler_candidate best = heap[0];
    heap[0] = heap[count - 1];
    heap[count - 1] = best;
    sift_down(heap, count - 1, 0);
}

static uint32_t find_best(const struct sampler_candidate *candidates, uint32_t count)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < count; i++)
        if (comes_before(candidates[i], candidates[best]))
            best = i;
    return best;
}

/* --- The draw --- */

struct scale {
    double max, temperature;
};

static double weight_of(struct sampler_candidate candidate, struct scale scale)
{
    return exp_of(((double)candidate.value - scale.max) / scale.temperature);
}

static double total_weight(const struct sampler_candidate *candidates, uint32_t count,
                           struct scale scale)
{
    double total = 0;
    for (uint32_t i = 0; i < count; i++)
        total += weight_of(candidates[i], scale);
    return total;
}

/* The tokens a draw may give are from[0], from[step], ... (count of them). */
struct kept {
    const struct sampler_candidate *from;
    uint32_t count;
    int step;
};

/* Top-k, then top-p, then min-p of what is left, best first. The popped candidates gather at the
 * array's end, so they are walked backwards. */
static struct kept keep_best(const struct sampler_params *params,
                             struct sampler_candidate *candidates, uint32_t count,
                             struct scale scale)
{
    bool limited = params->top_k > 0 && params->top_k < count;
    uint32_t most = limited ? params->top_k : count, kept = 0, popped = 0;
    double mass = 0, wanted = INFINITY;
    if (params->top_p < 1 && !limited)
        wanted = params->top_p * total_weight(candidates, count, scale);
    make_heap(candidates, count);
    if (params->top_p < 1 && limited) { /* the mass of the best k is known once they are popped */
        for (; popped < most; popped++)
            pop_best(candidates, count - popped);
        double total = 0;
        for (uint32_t i = 1; i <= most; i++)
            total += weight_of(candidates[count - i], scale);
        wanted = params->top_p * total;
    }
    while (kept < most && mass < wanted) {
        if (kept == popped) {
            pop_best(candidates, count - popped);
            popped++;
        }
        double weight = weight_of(candidates[count - 1 - kept], scale);
        if (weight < params->min_p) /* of a best weight of 1 */
            break;
        mass += weight;
        kept++;
    }
    return (struct kept){&candidates[count - 1], kept, -1};
}

static struct kept keep_by_min_p(const struct sampler_params *params,
                                 struct sampler_candidate *candidates, uint32_t count,
                                 struct scale scale)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < count; i++)
        if (weight_of(candidates[i], scale) >= params->min_p)
            candidates[kept++] = candidates[i];
    return (struct kept){candidates, kept, 1};
}

static uint32_t draw(struct kept kept, struct scale scale, double uniform)
{
    double total = 0, sum = 0;
    for (uint32_t i = 0; i < kept.count; i++)
        total += weight_of(kept.from[(int64_t)i * kept.step], scale);
    double target = uniform * total;
    uint32_t last = kept.from[0].token;
    for (uint32_t i = 0; i < kept.count; i++) {
        struct sampler_candidate candidate = kept.from[(int64_t)i * kept.step];
        double weight = weight_of(candidate, scale);
        if (weight == 0)
            continue;
        last = candidate.token;
        sum += weight;
        if (sum > target)
            break;
    }
    return last; /* uniform < 1 leaves only rounding to get here without a break */
}

static uint32_t choose(struct sampler *sampler, struct sampler_candidate *candidates,
                       uint32_t count)
{
    const struct sampler_params *params = &sampler->params;
    struct sampler_candidate best = candidates[find_best(candidates, count)];
    if (params->temperature == 0)
        return best.token;
    double uniform = sampler_uniform(params->seed, sampler->draws++);
    if (params->top_k == 1)
        return best.token; /* the draw is counted all the same */
    struct scale scale = {best.value, params->temperature};
    struct kept kept = {candidates, count, 1};
    if ((params->top_k > 0 && params->top_k < count) || params->top_p < 1)
        kept = keep_best(params, candidates, count, scale);
    else if (params->min_p > 0)
        kept = keep_by_min_p(params, candidates, count, scale);
    return draw(kept, scale, uniform);
}

/* --- Log-probabilities --- */

/* top[0, top_count) holds the best so far, descending; `logprob` is still the logit. */
static void insert_top(struct sampled *out, uint32_t most, uint32_t token, float logit)
{
    if (out->top_count == most && !(logit > out->top[most - 1].logprob))
        return; /* ids ascend, so an equal one that comes later ranks lower */
    uint32_t at = out->top_count < most ? out->top_count++ : most - 1;
    for (; at > 0 && logit > out->top[at - 1].logprob; at--)
        out->top[at] = out->top[at - 1];
    out->top[at] = (struct sampled_logprob){token, logit};
}

/* Of the untouched logits; at least one of them is finite. */
static void report(const struct sampler *sampler, const float *logits, struct sampled *out)
{
    uint32_t most = sampler->params.top_logprobs;
    double max = -INFINITY, total = 0;
    for (uint32_t i = 0; i < sampler->vocab; i++)
        max = logits[i] > max ? logits[i] : max;
    for (uint32_t i = 0; i < sampler->vocab; i++)
        total += exp_of((double)logits[i] - max);
    double log_sum = max + log(total);
    out->logprob = (float)((double)logits[out->token] - log_sum);
    if (most == 0)
        return;
    for (uint32_t i = 0; i < sampler->vocab; i++)
        if (logits[i] >= -FLT_MAX)
            insert_top(out, most, i, logits[i]);
    for (uint32_t i = 0; i < out->top_count; i++)
        out->top[i].logprob = (float)((double)out->top[i].logprob - log_sum);
}

enum status sampler_sample(struct sampler *sampler, float *logits, const uint32_t *banned,
                           uint32_t banned_count, struct sampler_candidate *scratch,
                           struct sampled *out, struct error *error)
{
    uint32_t count;
    memset(out, 0, sizeof *out);
    enum status status = gather(sampler, logits, banned, banned_count, scratch, &count, error);
    if (status != STATUS_OK)
        return status;
    out->token = choose(sampler, scratch, count);
    if (sampler->params.logprobs || sampler->params.top_logprobs > 0)
        report(sampler, logits, out);
    return STATUS_OK;
}
