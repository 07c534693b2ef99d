#include "engine/predict/lstm_train.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "memory/base/check.h"

/* Adam's usual constants. */
#define BETA1 0.9f
#define BETA2 0.999f
#define EPSILON 1e-8f
#define GRADIENT_NORM_MAX 1.0
#define SKIP_RATE_RATIO 20 /* a few hundred numbers, each seen by every expert of a layer */

/* Which targets count: those of ticks in [from, to). */
struct targets {
    uint32_t from, to;
};

/* What a window remembers of its forward pass, and the arrays of the optimiser. */
struct trainer {
    const struct lstm_net *net;
    const struct lstm_series *series;
    uint32_t unroll;
    struct lstm_averages averages;
    float *logs;      /* [unroll][LSTM_AVERAGES][outputs] */
    float *input;     /* [unroll][inputs] */
    float *gates;     /* [unroll][4 x units] */
    float *h, *c;     /* [unroll + 1][units]; row 0 is the state the window began with */
    float *forecast;  /* [unroll][horizons][outputs], then its difference to what happened */
    float *gradient;  /* [weights] */
    float *mean;      /* [weights] Adam's first moment */
    float *square;    /* [weights] and second */
    float *best;      /* [weights] */
    float *dh, *dc;   /* [units] */
    float *dgates;    /* [4 x units] */
    uint64_t updates, steps; /* in all; since the moments were zero */
};

static float *room(bool *complete, size_t count)
{
    float *array = *complete ? calloc(count, sizeof *array) : NULL;
    *complete = array != NULL;
    return array;
}

static void trainer_close(struct trainer *t)
{
    lstm_averages_close(&t->averages);
    free(t->logs);
    free(t->input);
    free(t->gates);
    free(t->h);
    free(t->c);
    free(t->forecast);
    free(t->gradient);
    free(t->mean);
    free(t->square);
    free(t->best);
    free(t->dh);
    free(t->dc);
    free(t->dgates);
}

static enum status trainer_open(struct trainer *t, const struct lstm_net *net,
                                const struct lstm_series *series, uint32_t unroll,
                                struct error *error)
{
    const size_t units = net->sizes.units, n = unroll;
    *t = (struct trainer){.net = net, .series = series, .unroll = unroll};
    bool complete = lstm_averages_open(&t->averages, net, error) == STATUS_OK;
    t->logs = room(&complete, n * LSTM_AVERAGES * net->outputs);
    t->input = room(&complete, n * net->inputs);
    t->gates = room(&complete, n * 4 * units);
    t->h = room(&complete, (n + 1) * units);
    t->c = room(&complete, (n + 1) * units);
    t->forecast = room(&complete, n * net->sizes.horizon_count * net->outputs);
    t->gradient = room(&complete, net->count);
    t->mean = room(&complete, net->count);
    t->square = room(&complete, net->count);
    t->best = room(&complete, net->count);
    t->dh = room(&complete, units);
    t->dc = room(&complete, units);
    t->dgates = room(&complete, 4 * units);
    if (complete)
        return STATUS_OK;
    trainer_close(t);
    return error_set(error, STATUS_NO_MEMORY, "no memory to train the load forecast of %u x %u",
                     net->sizes.layers, net->sizes.experts);
}

/* ---- one window ---- */

/* The tick that horizon number `h` forecasts from tick `at`; false: not one that counts. */
static bool target_of(const struct trainer *t, struct targets targets, uint32_t at, uint32_t h,
                      uint32_t *tick)
{
    uint64_t target = (uint64_t)at + t->net->sizes.horizons[h];
    *tick = (uint32_t)target;
    return target >= targets.from && target < targets.to;
}

/* experts x KL(actual || forecast) of one layer. forecast becomes experts x (forecast - actual),
 * the derivative of this by the logits. */
static double score(const float *actual, float *forecast, uint32_t experts)
{
    double loss = 0;
    for (uint32_t e = 0; e < experts; e++) {
        if (actual[e] > 0) {
            double expected = forecast[e] > 1e-12f ? forecast[e] : 1e-12;
            loss += actual[e] * (log(actual[e]) - log(expected));
        }
        forecast[e] = (float)experts * (forecast[e] - actual[e]);
    }
    return experts * loss;
}

/* Ticks [first, first + ticks) from the state in row 0. The sum of the losses; *count of them. */
static double forward(struct trainer *t, uint32_t first, uint32_t ticks, struct targets targets,
                      uint64_t *count)
{
    const struct lstm_net *net = t->net;
    const uint32_t units = net->sizes.units, experts = net->sizes.experts;
    double loss = 0;
    for (uint32_t i = 0; i < ticks; i++) {
        const float *share = t->series->share + (size_t)(first + i) * net->outputs;
        float *logs = t->logs + (size_t)i * LSTM_AVERAGES * net->outputs;
        float *input = t->input + (size_t)i * net->inputs;
        float *h = t->h + (size_t)i * units, *c = t->c + (size_t)i * units;
        lstm_averages_push(&t->averages, net, share, logs, input);
        lstm_cell(net->inputs, units, net->w_in, net->w_rec, net->bias, input, h, c,
                  t->gates + (size_t)i * 4 * units, h + units, c + units);
        for (uint32_t k = 0; k < net->sizes.horizon_count; k++) {
            uint32_t target;
            if (!target_of(t, targets, first + i, k, &target))
                continue;
            const float *actual = t->series->share + (size_t)target * net->outputs;
            float *forecast =
                t->forecast + ((size_t)i * net->sizes.horizon_count + k) * net->outputs;
            for (uint32_t layer = 0; layer < net->sizes.layers; layer++) {
                size_t at = (size_t)layer * experts;
                lstm_net_output(net, logs, h + units, layer, k, forecast + at);
                loss += score(actual + at, forecast + at, experts);
            }
            *count += net->sizes.layers;
        }
    }
    return loss;
}

/* The gradient of one tick's forecasts by head, skip and (added to dh) the cell's output. */
static void backward_output(struct trainer *t, float *gradient, uint32_t i, uint32_t k, float scale)
{
    const struct lstm_net *net = t->net;
    const uint32_t units = net->sizes.units, experts = net->sizes.experts;
    const float *h = t->h + (size_t)(i + 1) * units;
    const float *d = t->forecast + ((size_t)i * net->sizes.horizon_count + k) * net->outputs;
    const size_t head_at = (size_t)(net->head - net->w_in) + (size_t)k * net->outputs * units;
    float *skip = gradient + (net->skip - net->w_in) +
                  (size_t)k * net->sizes.layers * LSTM_AVERAGES;
    for (uint32_t o = 0; o < net->outputs; o++) {
        size_t row = head_at + (size_t)o * units;
        lstm_axpy(t->dh, scale * d[o], lstm_net_weights(net) + row, units);
        lstm_axpy(gradient + row, scale * d[o], h, units);
    }
    for (uint32_t layer = 0; layer < net->sizes.layers; layer++)
        for (uint32_t a = 0; a < LSTM_AVERAGES; a++) {
            size_t at = (size_t)layer * experts;
            const float *logs = t->logs + ((size_t)i * LSTM_AVERAGES + a) * net->outputs + at;
            skip[layer * LSTM_AVERAGES + a] += scale * lstm_dot(d + at, logs, experts);
        }
}

/* dh, dc of tick i + 1 become those of tick i; adds to the gradient of the cell's weights. */
static void backward_cell(struct trainer *t, float *gradient, uint32_t i)
{
    const struct lstm_net *net = t->net;
    const uint32_t units = net->sizes.units;
    const size_t rows = 4 * (size_t)units;
    const float *gates = t->gates + (size_t)i * rows, *input = t->input + (size_t)i * net->inputs;
    const float *h0 = t->h + (size_t)i * units, *c0 = t->c + (size_t)i * units;
    const float *c1 = c0 + units;
    for (uint32_t u = 0; u < units; u++) {
        float in = gates[u], forget = gates[units + u], g = gates[2 * units + u];
        float out = gates[3 * units + u], squashed = tanhf(c1[u]);
        float dc = t->dc[u] + t->dh[u] * out * (1 - squashed * squashed);
        t->dgates[u] = dc * g * in * (1 - in);
        t->dgates[units + u] = dc * c0[u] * forget * (1 - forget);
        t->dgates[2 * units + u] = dc * in * (1 - g * g);
        t->dgates[3 * units + u] = t->dh[u] * squashed * out * (1 - out);
        t->dc[u] = dc * forget;
    }
    float *w_rec = gradient + (net->w_rec - net->w_in);
    for (uint32_t x = 0; x < net->inputs; x++)
        lstm_axpy(gradient + x * rows, input[x], t->dgates, rows);
    for (uint32_t u = 0; u < units; u++) {
        lstm_axpy(w_rec + u * rows, h0[u], t->dgates, rows);
        t->dh[u] = lstm_dot(net->w_rec + u * rows, t->dgates, rows);
    }
    lstm_axpy(gradient + (net->bias - net->w_in), 1, t->dgates, rows);
}

/* After forward over the same ticks. `count` of its losses make the mean. */
static void backward(struct trainer *t, float *gradient, uint32_t first, uint32_t ticks,
                     struct targets targets, uint64_t count)
{
    const struct lstm_net *net = t->net;
    const float scale = 1 / (float)count;
    memset(gradient, 0, net->count * sizeof *gradient);
    memset(t->dh, 0, net->sizes.units * sizeof *t->dh);
    memset(t->dc, 0, net->sizes.units * sizeof *t->dc);
    for (uint32_t i = ticks; i-- > 0;) {
        uint32_t target;
        for (uint32_t k = 0; k < net->sizes.horizon_count; k++)
            if (target_of(t, targets, first + i, k, &target))
                backward_output(t, gradient, i, k, scale);
        backward_cell(t, gradient, i);
    }
}

enum status lstm_train_gradient(const struct lstm_net *net, const struct lstm_series *series,
                                uint32_t ticks, float *gradient, double *loss, struct error *error)
{
    struct targets all = {0, series->ticks};
    struct trainer t;
    uint64_t count = 0;
    CHECK(ticks >= 1 && ticks <= series->ticks);
    enum status status = trainer_open(&t, net, series, ticks, error);
    if (status != STATUS_OK)
        return status;
    *loss = forward(&t, 0, ticks, all, &count);
    memset(gradient, 0, net->count * sizeof *gradient);
    if (count) {
        *loss /= (double)count;
        backward(&t, gradient, 0, ticks, all, count);
    }
    trainer_close(&t);
    return STATUS_OK;
}

/* ---- the optimiser ---- */

/* One round of training: which weights it moves and how fast. */
struct round {
    size_t from, to; /* of all weights in their order */
    float rate, decay;
    struct targets train, judge;
};

static void adam(struct trainer *t, float *weights, const struct round *round)
{
    const struct lstm_net *net = t->net;
    const size_t bias = (size_t)(net->bias - net->w_in), head = (size_t)(net->head - net->w_in);
    double norm = 0;
    for (size_t i = round->from; i < round->to; i++)
        norm += (double)t->gradient[i] * t->gradient[i];
    norm = sqrt(norm);
    const float clip = norm > GRADIENT_NORM_MAX ? (float)(GRADIENT_NORM_MAX / norm) : 1;
    t->steps++;
    t->updates++;
    const float unbias1 = 1 / (1 - powf(BETA1, (float)t->steps));
    const float unbias2 = 1 / (1 - powf(BETA2, (float)t->steps));
    for (size_t i = round->from; i < round->to; i++) {
        float g = clip * t->gradient[i];
        t->mean[i] += (1 - BETA1) * (g - t->mean[i]);
        t->square[i] += (1 - BETA2) * (g * g - t->square[i]);
        float shrink = i < bias || i >= head ? round->decay : 0; /* matrices only */
        float move = unbias1 * t->mean[i] / (sqrtf(unbias2 * t->square[i]) + EPSILON);
        weights[i] -= round->rate * (move + shrink * weights[i]);
    }
}

/* ---- epochs ---- */

static void start_over(struct trainer *t)
{
    lstm_averages_reset(&t->averages);
    memset(t->h, 0, t->net->sizes.units * sizeof *t->h);
    memset(t->c, 0, t->net->sizes.units * sizeof *t->c);
}

/* The state after `ticks` ticks becomes the one that the next window begins with. */
static void carry(struct trainer *t, uint32_t ticks)
{
    const size_t units = t->net->sizes.units;
    memmove(t->h, t->h + ticks * units, units * sizeof *t->h);
    memmove(t->c, t->c + ticks * units, units * sizeof *t->c);
}

/* One pass over the series; with `weights` (of t->net) they are updated after every window. The
 * mean loss of the targets that count. */
static double pass(struct trainer *t, struct targets targets, float *weights,
                   const struct round *round)
{
    double loss = 0;
    uint64_t count = 0;
    uint32_t end = targets.to - t->net->sizes.horizons[0];
    start_over(t);
    for (uint32_t first = 0; first < end; first += t->unroll) {
        uint32_t ticks = end - first < t->unroll ? end - first : t->unroll;
        uint64_t scored = 0;
        loss += forward(t, first, ticks, targets, &scored);
        count += scored;
        if (weights && scored) {
            backward(t, t->gradient, first, ticks, targets, scored);
            adam(t, weights, round);
        }
        carry(t, ticks);
    }
    return count ? loss / (double)count : 0;
}

static uint64_t epoch_mul_adds(const struct lstm_net *net, uint32_t ticks, uint32_t unroll)
{
    uint64_t units = net->sizes.units;
    uint64_t tick = 4 * units * (net->inputs + units) +
                    (uint64_t)net->sizes.horizon_count * net->outputs * units;
    /* Forward, twice that backward, and forward once more over the held-out ticks. */
    return ticks * 4 * tick + (ticks / unroll + 1) * (uint64_t)net->count * 8;
}

static struct lstm_train_config with_defaults(const struct lstm_train_config *config)
{
    struct lstm_train_config c = *config;
    c.unroll = c.unroll ? c.unroll : 16;
    c.epochs = c.epochs ? c.epochs : 30;
    c.patience = c.patience ? c.patience : 4;
    c.rate = c.rate > 0 ? c.rate : 3e-4f;
    c.decay = c.decay > 0 ? c.decay : 1.0f;
    c.held_out = c.held_out > 0 ? c.held_out : 0.2f;
    CHECK(c.held_out <= 0.5f);
    return c;
}

static void train_round(struct trainer *t, float *weights, const struct round *round,
                        const struct lstm_train_config *config, struct lstm_train_result *result)
{
    const struct lstm_net *net = t->net;
    uint32_t epochs = 0, best = 0;
    memset(t->mean, 0, net->count * sizeof *t->mean);
    memset(t->square, 0, net->count * sizeof *t->square);
    t->steps = 0;
    while (epochs < config->epochs && epochs - best < config->patience &&
           (!config->mul_adds_max || result->mul_adds < config->mul_adds_max)) {
        pass(t, round->train, weights, round);
        double loss = pass(t, round->judge, NULL, NULL);
        epochs++;
        result->epochs++;
        result->mul_adds += epoch_mul_adds(net, round->judge.to, t->unroll);
        if (loss < result->best_loss) { /* false for a loss that is not a number */
            result->best_loss = loss;
            result->best_epoch = result->epochs;
            best = epochs;
            memcpy(t->best, weights, net->count * sizeof *weights);
        }
    }
    result->updates = t->updates;
    memcpy(weights, t->best, net->count * sizeof *weights);
}

enum status lstm_train(struct lstm_net *net, const struct lstm_series *series,
                       const struct lstm_train_config *config, struct lstm_train_result *result,
                       struct error *error)
{
    struct lstm_train_config c = with_defaults(config);
    uint32_t split = (uint32_t)((float)series->ticks * (1 - c.held_out));
    struct trainer t;
    *result = (struct lstm_train_result){0};
    if (split <= net->sizes.horizons[0] || split >= series->ticks)
        return error_set(error, STATUS_INVALID,
                         "%u ticks are too few to train a forecast %u ticks ahead", series->ticks,
                         net->sizes.horizons[0]);
    enum status status = trainer_open(&t, net, series, c.unroll, error);
    if (status != STATUS_OK)
        return status;
    const size_t skip = (size_t)(net->skip - net->w_in), head = (size_t)(net->head - net->w_in);
    struct round averages = {skip, head, SKIP_RATE_RATIO * c.rate, 0, {0, split},
                             {split, series->ticks}};
    struct round all = averages;
    all.from = 0;
    all.to = net->count;
    all.rate = c.rate;
    all.decay = c.decay;
    result->start_loss = result->best_loss = pass(&t, all.judge, NULL, NULL);
    memcpy(t.best, lstm_net_weights(net), net->count * sizeof *t.best);
    train_round(&t, lstm_net_weights(net), &averages, &c, result);
    result->skip_loss = result->best_loss;
    train_round(&t, lstm_net_weights(net), &all, &c, result);
    trainer_close(&t);
    return STATUS_OK;
}
