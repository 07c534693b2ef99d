/* Turns one row of logits into one token. Owns a sequence's random stream and token counts; knows
 * nothing of batches, requests or stop conditions. Called by the engine thread.
 *
 * Reproducible on any machine: the n-th draw is a pure function of the seed and n (splitmix64, a
 * counter-based generator: state that could be lost in a preemption does not exist), tokens are
 * walked in an order that depends on values and ids alone, and weights and their sums have the same
 * bits everywhere (sampler_row.h).
 *
 * Cost: one pass finds the highest logit and anything that is no number; biases, penalties, bans
 * and masks are written into the row. Greedy is done then. A draw from everything weighs the row
 * once and walks a small part of it again; top-k and top-p first select what they need
 * (sampler_select.h). Values stay the penalised logits throughout (the order is the same at every
 * temperature, and dividing first would round neighbours into ties); a weight is
 * exp((value - max) / temperature), so the best one is 1 and -inf is 0.
 *
 * Tokens of equal value: the lower id comes first, everywhere. */
#include "engine/sampler.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/backend/backend.h"
#include "engine/sampler_row.h"
#include "engine/sampler_select.h"
#include "memory/base/check.h"

/* A token of the prompt or the output, and the model's own logit of it while the row holds the
 * penalised one. */
struct seen {
    uint32_t token;
    float logit;
};

/* A token whose logit is shifted, and the model's own logit of it while the row holds the other. */
struct biased {
    uint32_t token;
    float bias, logit;
};

struct sampler {
    struct sampler_params params; /* `bias` NULL: ours are below */
    uint32_t vocab;
    uint64_t draws;
    struct biased *biased; /* [params.bias_count] */

    /* Only with a penalty: each distinct token once, and how often it is in the output. */
    struct seen *seen; /* [seen_count] of [vocab] */
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
    if (params->bias_count > SAMPLER_BIAS_MAX)
        return error_set(error, STATUS_INVALID, "\"logit_bias\" has %u tokens, may have %d",
                         params->bias_count, SAMPLER_BIAS_MAX);
    for (uint32_t i = 0; i < params->bias_count; i++)
        if (!(params->bias[i].bias >= -100 && params->bias[i].bias <= 100))
            return error_set(error, STATUS_INVALID,
                             "\"logit_bias\" of token %u is %g, must be in [-100, 100]",
                             params->bias[i].token, (double)params->bias[i].bias);
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

/* --- The sequence's state --- */

static bool has_penalty(const struct sampler_params *params)
{
    return params->repetition_penalty != 1 || params->presence_penalty != 0 ||
           params->frequency_penalty != 0;
}

static enum status open_biases(struct sampler *sampler, const struct sampler_params *params,
                               struct error *error)
{
    sampler->params.bias = NULL;
    if (params->bias_count == 0)
        return STATUS_OK;
    sampler->biased = malloc(params->bias_count * sizeof *sampler->biased);
    if (!sampler->biased)
        return STATUS_NO_MEMORY;
    for (uint32_t i = 0; i < params->bias_count; i++) {
        if (params->bias[i].token >= sampler->vocab)
            return error_set(error, STATUS_INVALID,
                             "\"logit_bias\": token %u is outside the vocabulary of %u",
                             params->bias[i].token, sampler->vocab);
        sampler->biased[i] =
            (struct biased){.token = params->bias[i].token, .bias = params->bias[i].bias};
    }
    return STATUS_OK;
}

enum status sampler_open(struct sampler **out, const struct sampler_params *params, uint32_t vocab,
                         struct error *error)
{
    CHECK(vocab > 0);
    *out = NULL;
    enum status status = sampler_params_check(params, error);
    if (status != STATUS_OK)
        return status;
    status = STATUS_NO_MEMORY;
    struct sampler *sampler = calloc(1, sizeof *sampler);
    if (!sampler)
        goto fail;
    sampler->params = *params;
    sampler->vocab = vocab;
    status = open_biases(sampler, params, error);
    if (status != STATUS_OK)
        goto fail;
    status = STATUS_NO_MEMORY;
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
    return error_set(error, status, "no memory for the token counts of a sequence");
}

void sampler_close(struct sampler *sampler)
{
    if (!sampler)
        return;
    free(sampler->biased);
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
            sampler->seen[sampler->seen_count++].token = tokens[i];
            *occurrences = 0;
        }
        *occurrences += output;
    }
}

/* --- The row --- */

static float penalise(const struct sampler_params *params, float logit, uint32_t occurrences)
{
    float r = params->repetition_penalty;
    logit = logit > 0 ? logit / r : logit * r;
    if (occurrences > 0)
        logit -= params->presence_penalty;
    logit -= params->frequency_penalty * (float)occurrences;
    return fminf(fmaxf(logit, -FLT_MAX), FLT_MAX); /* an extreme r must not make an infinity */
}

/* Takes out of the row what the mask does not allow, a word of ids at a time. */
static void mask(float *logits, uint32_t vocab, const uint32_t *allowed)
{
    for (uint32_t first = 0; first < vocab; first += 32) {
        uint32_t forbidden = ~allowed[first / 32], count = vocab - first < 32 ? vocab - first : 32;
        for (uint32_t i = 0; forbidden && i < count; i++)
            logits[first + i] = forbidden >> i & 1 ? -INFINITY : logits[first + i];
    }
}

/* Writes biases, penalties and the rule into the row. A bias is part of the opinion that is
 * penalised. */
static void edit(struct sampler *sampler, float *logits, const struct sampler_rule *rule)
{
    for (uint32_t i = 0; i < sampler->params.bias_count; i++) {
        struct biased *biased = &sampler->biased[i];
        biased->logit = logits[biased->token];
        logits[biased->token] = biased->logit + biased->bias;
    }
    for (uint32_t i = 0; i < sampler->seen_count; i++) {
        struct seen *seen = &sampler->seen[i];
        seen->logit = logits[seen->token];
        if (seen->logit >= -FLT_MAX)
            logits[seen->token] =
                penalise(&sampler->params, seen->logit, sampler->counts[seen->token]);
    }
    for (uint32_t i = 0; i < rule->banned_count; i++)
        if (rule->banned[i] < sampler->vocab)
            logits[rule->banned[i]] = -INFINITY;
    if (rule->allowed)
        mask(logits, sampler->vocab, rule->allowed);
}

/* The model's own logit of a token, which `edit` may have changed: what the first of its biases
 * saw, else what its penalty saw. */
static float original_logit(const struct sampler *sampler, const float *logits, uint32_t token)
{
    for (uint32_t i = 0; i < sampler->params.bias_count; i++)
        if (sampler->biased[i].token == token)
            return sampler->biased[i].logit;
    if (sampler->counts && sampler->counts[token] != NEVER_SEEN)
        for (uint32_t i = 0; i < sampler->seen_count; i++)
            if (sampler->seen[i].token == token)
                return sampler->seen[i].logit;
    return logits[token];
}

static uint32_t block_size(uint32_t count, uint32_t begin)
{
    return count - begin < SAMPLER_BLOCK ? count - begin : SAMPLER_BLOCK;
}

/* --- A draw from the whole row, in the order of ids --- */

/* The sum before each part is kept, so that the walk to the drawn token begins close to it. */
#define PARTS 256

/* min_p is relative to the best weight, which is 1. */
static void weigh(double *weights, const float *values, uint32_t count, struct sampler_scale scale,
                  double min_p)
{
    sampler_row_weights(weights, values, count, scale);
    if (min_p > 0)
        for (int j = 0; j < SAMPLER_BLOCK; j++)
            weights[j] = weights[j] >= min_p ? weights[j] : 0;
}

static uint32_t draw_from_row(const float *values, uint32_t count, struct sampler_scale scale,
                              double min_p, double uniform)
{
    double weights[SAMPLER_BLOCK], before[PARTS], sum = 0;
    uint32_t blocks = (count - 1) / SAMPLER_BLOCK + 1;
    uint32_t part_size = ((blocks - 1) / PARTS + 1) * SAMPLER_BLOCK, parts = 0;
    for (uint32_t begin = 0; begin < count; begin += SAMPLER_BLOCK) {
        if (begin % part_size == 0)
            before[parts++] = sum;
        weigh(weights, values + begin, block_size(count, begin), scale, min_p);
        for (int j = 0; j < SAMPLER_BLOCK; j++)
            sum += weights[j];
    }
    double target = uniform * sum;
    uint32_t part = parts - 1, last = 0;
    while (before[part] > target)
        part--;
    sum = before[part];
    for (uint32_t begin = part * part_size; begin < count; begin += SAMPLER_BLOCK) {
        uint32_t n = block_size(count, begin);
        weigh(weights, values + begin, n, scale, min_p);
        for (uint32_t j = 0; j < n; j++) {
            last = weights[j] > 0 ? begin + j : last;
            sum += weights[j];
            if (sum > target)
                return last;
        }
    }
    return last; /* uniform < 1 leaves only rounding to get here */
}

/* --- A draw from selected tokens, best first --- */

static void weigh_selected(double *weights, const struct sampler_candidate *selected,
                           uint32_t count, struct sampler_scale scale)
{
    float values[SAMPLER_BLOCK];
    for (uint32_t j = 0; j < count; j++)
        values[j] = selected[j].value;
    sampler_row_weights(weights, values, count, scale);
}

/* How many of the selected are kept: until their mass reaches `wanted` or a weight falls below
 * min_p. *mass becomes the weight of these. */
static uint32_t keep(const struct sampler_candidate *selected, uint32_t count,
                     struct sampler_scale scale, double wanted, double min_p, double *mass)
{
    double weights[SAMPLER_BLOCK];
    *mass = 0;
    for (uint32_t begin = 0; begin < count; begin += SAMPLER_BLOCK) {
        uint32_t n = block_size(count, begin);
        weigh_selected(weights, selected + begin, n, scale);
        for (uint32_t j = 0; j < n; j++) {
            if (!(*mass < wanted) || weights[j] < min_p)
                return begin + j;
            *mass += weights[j];
        }
    }
    return count;
}

static uint32_t draw_from_selected(const struct sampler_candidate *selected, uint32_t count,
                                   struct sampler_scale scale, double target)
{
    double weights[SAMPLER_BLOCK], sum = 0;
    uint32_t last = selected[0].token;
    for (uint32_t begin = 0; begin < count; begin += SAMPLER_BLOCK) {
        uint32_t n = block_size(count, begin);
        weigh_selected(weights, selected + begin, n, scale);
        for (uint32_t j = 0; j < n; j++) {
            last = weights[j] > 0 ? selected[begin + j].token : last;
            sum += weights[j];
            if (sum > target)
                return last;
        }
    }
    return last; /* uniform < 1 leaves only rounding to get here */
}

static uint32_t choose(struct sampler *sampler, const float *logits, struct sampler_peak best,
                       struct sampler_candidate *scratch)
{
    const struct sampler_params *params = &sampler->params;
    if (params->temperature == 0)
        return best.token;
    double uniform = sampler_uniform(params->seed, sampler->draws++);
    if (params->top_k == 1)
        return best.token; /* the draw is counted all the same */
    struct sampler_scale scale = {best.value, params->temperature};
    uint32_t vocab = sampler->vocab, selected = 0;
    double wanted = INFINITY, mass;
    if (params->top_k > 0 && params->top_k < vocab) /* one more shows whether there are more */
        selected = sampler_select_top(logits, vocab, params->top_k + 1, scratch);
    if (selected > params->top_k) {
        selected = params->top_k;
        if (params->top_p < 1) { /* of the mass of the best k */
            keep(scratch, selected, scale, INFINITY, 0, &mass);
            wanted = params->top_p * mass;
        }
    } else if (params->top_p < 1) {
        selected = sampler_select_mass(logits, vocab, scale, params->top_p, scratch, &wanted);
    } else {
        return draw_from_row(logits, vocab, scale, params->min_p, uniform);
    }
    uint32_t kept = keep(scratch, selected, scale, wanted, params->min_p, &mass);
    return draw_from_selected(scratch, kept, scale, uniform * mass);
}

bool sampler_draw(struct sampler *sampler, struct draw *out)
{
    const struct sampler_params *params = &sampler->params;
    if (has_penalty(params) || params->bias_count > 0 || params->logprobs ||
        params->top_logprobs > 0)
        return false;
    *out = (struct draw){
        .temperature = params->temperature,
        .top_k = params->top_k,
        .top_p = params->top_p,
        .min_p = params->min_p,
    };
    if (params->temperature > 0)
        out->uniform = sampler_uniform(params->seed, sampler->draws++);
    return true;
}

/* --- Log-probabilities --- */

/* Of the untouched logits, the highest of which is finite. Returns the logarithm of the sum of
 * their exponentials. */
static double report_top(const struct sampler *sampler, const float *logits, float max,
                         struct sampled *out)
{
    struct sampler_scale scale = {max, 1};
    double log_sum = max + log(sampler_row_total(logits, sampler->vocab, scale));
    struct sampler_candidate top[SAMPLER_TOP_LOGPROBS_MAX];
    if (sampler->params.top_logprobs > 0)
        out->top_count =
            sampler_select_top(logits, sampler->vocab, sampler->params.top_logprobs, top);
    for (uint32_t i = 0; i < out->top_count; i++)
        out->top[i] = (struct sampled_logprob){top[i].token, (float)(top[i].value - log_sum)};
    return log_sum;
}

static enum status no_number(const struct sampler_peak *peak, struct error *error)
{
    return error_set(error, STATUS_INTERNAL, "the model's logit of token %u is %g", peak->token,
                     (double)peak->value);
}

enum status sampler_score(const struct sampler *sampler, const float *logits, uint32_t token,
                          struct sampled *out, struct error *error)
{
    struct sampler_peak best;
    CHECK(token < sampler->vocab);
    memset(out, 0, sizeof *out);
    if (!sampler_row_peak(logits, sampler->vocab, &best))
        return no_number(&best, error);
    if (best.value == -INFINITY)
        return error_set(error, STATUS_INTERNAL, "every logit of the model is -inf");
    double log_sum = report_top(sampler, logits, best.value, out);
    out->token = token;
    out->logprob = (float)((double)logits[token] - log_sum);
    return STATUS_OK;
}

enum status sampler_sample(struct sampler *sampler, float *logits, const struct sampler_rule *rule,
                           struct sampler_candidate *scratch, struct sampled *out,
                           struct error *error)
{
    static const struct sampler_rule everything = {0};
    struct sampler_peak best;
    bool reported = sampler->params.logprobs || sampler->params.top_logprobs > 0;
    double log_sum = 0;
    rule = rule ? rule : &everything;
    memset(out, 0, sizeof *out);
    if (!sampler_row_peak(logits, sampler->vocab, &best))
        return no_number(&best, error);
    if (reported && best.value >= -FLT_MAX)
        log_sum = report_top(sampler, logits, best.value, out);
    if (sampler->seen_count > 0 || sampler->params.bias_count > 0 || rule->banned_count > 0 ||
        rule->allowed) {
        edit(sampler, logits, rule);
        sampler_row_peak(logits, sampler->vocab, &best);
    }
    if (best.value == -INFINITY) {
        memset(out, 0, sizeof *out);
        return error_set(error, STATUS_INTERNAL,
                         "no token is left to draw: every logit is -inf or excluded");
    }
    out->token = choose(sampler, logits, best, scratch);
    if (reported)
        out->logprob = (float)((double)original_logit(sampler, logits, out->token) - log_sum);
    return STATUS_OK;
}
