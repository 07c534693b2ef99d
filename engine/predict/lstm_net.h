/* The network of the LSTM load predictor: its sizes, its weights, one step forward.
 *
 *   share[layers x experts] ─► log averages ─┬─► fold ─► LSTM cell ─► head ─┐
 *                                            └──────── skip ────────────────┴─► softmax per layer
 *
 * A forecast is a correction of what averages already say. The logits of a horizon are a weighted
 * sum of the logarithms of five running averages of each share (half-lives 0 to 256 ticks; the
 * weights are per layer and horizon, not per expert: the "skip", after the autoregressive highway
 * of LSTNet, arXiv 1703.07015) plus a linear head over the cell's output, which starts at zero. So
 * an untrained or badly trained head costs little, and the head has no bias per expert, which
 * would only remember the loads of the run it was trained on.
 *
 * Cost. Input = all shares of all layers up to LSTM_INPUTS_MAX; a wider vector is folded onto that
 * many inputs by signed addition (feature hashing, arXiv 0902.2206), which keeps the step at
 * 4 units x (inputs + units) multiply-adds whatever the model: 65,536 for 6 x 32 experts and 64
 * units, 278,528 for 60 x 512. Weights are f32: 0.4 MiB and (three horizons) 23.6 MiB, nearly all
 * of it the head, which is read only for the layer and horizon asked for: experts x units. At
 * 60 x 512 a tick of all layers takes 1.8 ms, nearly all of it 154,000 logarithms, and a question
 * 17 us.
 *
 * What it is worth was measured on the training log of the built-in model (1,680 ticks, the last
 * fifth of them to judge): the weighted averages take the held-out loss from 0.656 to 0.471, the
 * cell and its head from there to 0.468. On loads with a rhythm that averages cannot follow the
 * cell is worth more than a factor of twenty (tests/engine/predict/lstm_train_test.cc).
 *
 * Pure. Any thread, one at a time. */
#ifndef MOERING_ENGINE_PREDICT_LSTM_NET_H
#define MOERING_ENGINE_PREDICT_LSTM_NET_H

#include <stddef.h>
#include <stdint.h>

#include "memory/base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

#define LSTM_LAYERS_MAX 1024u
#define LSTM_EXPERTS_MAX 4096u
#define LSTM_OUTPUTS_MAX 65536u /* layers x experts */
#define LSTM_UNITS_MAX 256u
#define LSTM_INPUTS_MAX 1024u
#define LSTM_HORIZONS_MAX 8u
#define LSTM_HORIZON_MAX 100000u
#define LSTM_AVERAGES 5u

struct lstm_sizes {
    uint32_t layers, experts, units;
    uint32_t horizon_count;
    uint32_t horizons[LSTM_HORIZONS_MAX]; /* ticks ahead, ascending; unused ones 0 */
};

struct lstm_net {
    struct lstm_sizes sizes;
    uint32_t inputs, outputs; /* outputs = layers x experts */
    size_t count;             /* of weights, all in one allocation: */
    float *w_in;              /* [inputs][4 x units]; gates in the order i, f, g, o */
    float *w_rec;             /* [units][4 x units] */
    float *bias;              /* [4 x units] */
    float *skip;              /* [horizons][layers][LSTM_AVERAGES] */
    float *head;              /* [horizons][outputs][units] */
};

/* INVALID: a size outside its limits or horizons not ascending; the sentence names the field. */
enum status lstm_sizes_check(const struct lstm_sizes *sizes, struct error *error);
/* Weights a network of these (checked) sizes has. */
size_t lstm_sizes_weights(const struct lstm_sizes *sizes);

/* A network that forecasts the mean of its averages, its cell drawn from `seed`: the start of
 * training. INVALID as lstm_sizes_check; NO_MEMORY. */
enum status lstm_net_open(struct lstm_net **out, const struct lstm_sizes *sizes, uint64_t seed,
                          struct error *error);
void lstm_net_close(struct lstm_net *net); /* accepts NULL */
/* All weights: `count` values from w_in on. */
static inline float *lstm_net_weights(const struct lstm_net *net)
{
    return net->w_in;
}

/* ---- what is remembered of a run besides the cell ---- */

struct lstm_averages {
    uint32_t outputs;
    uint64_t ticks;
    float *mean; /* [LSTM_AVERAGES - 1][outputs] */
};

enum status lstm_averages_open(struct lstm_averages *averages, const struct lstm_net *net,
                               struct error *error);
void lstm_averages_reset(struct lstm_averages *averages);
void lstm_averages_close(struct lstm_averages *averages);
/* One tick of all layers: share[outputs] -> logs[LSTM_AVERAGES][outputs], the logarithm of the
 * newest share and of each average over the uniform share, and input[inputs] of the cell. */
void lstm_averages_push(struct lstm_averages *averages, const struct lstm_net *net,
                        const float *share, float *logs, float *input);

/* ---- forward ---- */

/* h1, c1 from x, h0, c0 (distinct arrays); gates[4 x units] after their activations. The common
 * cell: c = f c0 + i g, h = o tanh(c). Weights as in lstm_net. */
void lstm_cell(uint32_t inputs, uint32_t units, const float *w_in, const float *w_rec,
               const float *bias, const float *x, const float *h0, const float *c0, float *gates,
               float *h1, float *c1);

/* share[experts]: what the network expects of `layer` at horizons[horizon]. */
void lstm_net_output(const struct lstm_net *net, const float *logs, const float *h, uint32_t layer,
                     uint32_t horizon, float *share);

/* ---- the two loops everything is made of ---- */

float lstm_dot(const float *a, const float *b, size_t count);
void lstm_axpy(float *y, float a, const float *x, size_t count); /* y += a x */

#ifdef __cplusplus
}
#endif
#endif
