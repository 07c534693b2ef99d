/* Logits to a token: biases, penalties, temperature, top-k, top-p, min-p, a seeded draw,
 * log-probabilities.
 *
 * Pure: no clock, no threads; its randomness is the sequence's own, so the same seed, prompt and
 * parameters give the same tokens whoever else is in the batch. Order of the steps, as the servers
 * our clients come from do it: biases of single tokens, repetition, presence and frequency
 * penalties, what may not be drawn taken out, then temperature 0 = argmax (ties to the lowest id),
 * else temperature, top-k, top-p, min-p, draw. What is reported as a log-probability is the model's
 * own opinion, before any of this. */
#ifndef MOERING_ENGINE_SAMPLER_H
#define MOERING_ENGINE_SAMPLER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "memory/base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

#define SAMPLER_TOP_LOGPROBS_MAX 20

#define SAMPLER_BIAS_MAX 1024
/* Added to the logit of one token. At 100 it is drawn whenever it may be drawn, at -100 never, for
 * all models whose logits differ by less. */
struct sampler_bias {
    uint32_t token;
    float bias; /* [-100, 100] */
};

struct sampler_params {
    float temperature;        /* >= 0; 0: greedy */
    uint32_t top_k;           /* 0: all */
    float top_p;              /* (0, 1]; 1: off */
    float min_p;              /* [0, 1]; 0: off: keeps p >= min_p * p_max */
    float repetition_penalty; /* > 0; 1: off; tokens in prompt or output: l > 0 ? l / r : l * r */
    float presence_penalty;   /* [-2, 2]: subtracted from tokens in the output */
    float frequency_penalty;  /* [-2, 2]: times their count in the output */
    uint64_t seed;            /* of every draw; without has_seed the engine puts one here */
    bool has_seed;            /* the client chose it */
    uint32_t top_logprobs;    /* 0 .. SAMPLER_TOP_LOGPROBS_MAX alternatives reported */
    bool logprobs;            /* implied by top_logprobs > 0 */
    const struct sampler_bias *bias; /* [bias_count] copied at open; of one token they add up */
    uint32_t bias_count;      /* 0 .. SAMPLER_BIAS_MAX */
};

void sampler_params_init(struct sampler_params *params); /* temperature 1, everything else off */
/* INVALID: the first value out of its range; the error names the field and the range. */
enum status sampler_params_check(const struct sampler_params *params, struct error *error);

struct sampled_logprob {
    uint32_t token;
    float logprob; /* of the model's own distribution: before penalties and temperature */
};

struct sampled {
    uint32_t token;
    float logprob; /* 0 unless logprobs were asked for */
    uint32_t top_count;
    struct sampled_logprob top[SAMPLER_TOP_LOGPROBS_MAX]; /* descending, ties by id, none of -inf */
};

/* The number in [0, 1), a multiple of 2^-53, that decides draw number `draw` (from 0) under `seed`:
 * a pure function, so a sequence that is preempted and recomputed draws the same. */
double sampler_uniform(uint64_t seed, uint64_t draw);

/* The state of one sequence: its random stream and its counts of tokens. */
struct sampler;
/* `vocab` (at least 1) sizes the counts, allocated only if a penalty needs them. INVALID as
 * sampler_params_check, or a bias for a token outside the vocabulary; NO_MEMORY. */
enum status sampler_open(struct sampler **out, const struct sampler_params *params, uint32_t vocab,
                         struct error *error);
void sampler_close(struct sampler *sampler); /* accepts NULL */
/* Tells it the tokens that are in the prompt or were sampled; each once, in order; all < vocab. */
void sampler_observe(struct sampler *sampler, const uint32_t *tokens, uint32_t count, bool output);
struct sampler_candidate {
    float value;
    uint32_t token;
};
/* What may be drawn this time; zeros: everything. */
struct sampler_rule {
    const uint32_t *banned;   /* [banned_count] ids that may not (end tokens before min_tokens) */
    uint32_t banned_count;
    const uint32_t *allowed; /* bit t % 32 of word t / 32 is set where token t may; NULL: all may */
};
/* Draws from logits[vocab], which it may overwrite. `rule` NULL: everything may be drawn. `scratch`
 * belongs to the caller: vocab entries. A logit of -inf is a token that cannot be drawn. INTERNAL:
 * nothing is left to draw, or a NaN or +inf among the logits. */
enum status sampler_sample(struct sampler *sampler, float *logits, const struct sampler_rule *rule,
                           struct sampler_candidate *scratch, struct sampled *out,
                           struct error *error);
/* What the model says of a token that is known already: its log-probability among logits[vocab],
 * which stay as they are, and the alternatives that top_logprobs asks for. Nothing is drawn and
 * nothing of the sampler changes. INTERNAL: a NaN or +inf among the logits, or all of them -inf. */
enum status sampler_score(const struct sampler *sampler, const float *logits, uint32_t token,
                          struct sampled *out, struct error *error);
/* True: the next token needs nothing but the logits and *out (backend.h: a device can draw it), and
 * its draw, if there is one, counts as made, as by sampler_sample. False: a bias, a penalty or log-
 * probabilities were asked for, and nothing has changed. The answer is the same for the sampler's
 * whole life. Of a sampler_rule it knows nothing. */
struct draw;
bool sampler_draw(struct sampler *sampler, struct draw *out);

#ifdef __cplusplus
}
#endif
#endif
