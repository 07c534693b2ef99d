#include "engine/predict/lstm.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/predict/lstm_file.h"
#include "memory/base/check.h"

struct lstm {
    struct predictor base;
    struct lstm_net *owned;     /* read from a file; NULL if the caller lent one */
    const struct lstm_net *net; /* NULL: no weights */
    struct lstm_averages averages;
    float *share;       /* [outputs] newest of each layer */
    bool *ticked;       /* [layers] since the last step */
    uint32_t tick_count; /* of those */
    float *logs;        /* [LSTM_AVERAGES][outputs] */
    float *input;       /* [inputs] */
    float *gates;       /* [4 x units] */
    float *h[2], *c[2]; /* [units]; [now] is valid */
    float *other;       /* [experts] the second of two horizons */
    uint32_t now;
};

static void step(struct lstm *lstm)
{
    const struct lstm_net *net = lstm->net;
    uint32_t next = lstm->now ^ 1;
    lstm_averages_push(&lstm->averages, net, lstm->share, lstm->logs, lstm->input);
    lstm_cell(net->inputs, net->sizes.units, net->w_in, net->w_rec, net->bias, lstm->input,
              lstm->h[lstm->now], lstm->c[lstm->now], lstm->gates, lstm->h[next], lstm->c[next]);
    lstm->now = next;
    memset(lstm->ticked, 0, net->sizes.layers * sizeof *lstm->ticked);
    lstm->tick_count = 0;
}

static void lstm_tick(struct predictor *predictor, uint32_t layer, const float *share)
{
    struct lstm *lstm = (struct lstm *)predictor;
    if (!lstm->net)
        return;
    const struct lstm_sizes *sizes = &lstm->net->sizes;
    CHECK(layer < sizes->layers);
    if (lstm->ticked[layer])
        step(lstm);
    memcpy(lstm->share + (size_t)layer * sizes->experts, share, sizes->experts * sizeof *share);
    lstm->ticked[layer] = true;
    if (++lstm->tick_count == sizes->layers)
        step(lstm);
}

static bool lstm_loads(struct predictor *predictor, uint32_t layer, uint32_t horizon, float *share)
{
    struct lstm *lstm = (struct lstm *)predictor;
    if (!lstm->net || lstm->averages.ticks == 0)
        return false;
    const struct lstm_sizes *sizes = &lstm->net->sizes;
    uint32_t above = 0;
    CHECK(layer < sizes->layers && horizon >= 1);
    /* A layer that is ahead of the others is answered as of the step, one tick further back. */
    if (lstm->ticked[layer] && horizon < sizes->horizons[sizes->horizon_count - 1])
        horizon++;
    while (above < sizes->horizon_count && sizes->horizons[above] < horizon)
        above++;
    if (above == sizes->horizon_count)
        return false;
    const float *h = lstm->h[lstm->now];
    lstm_net_output(lstm->net, lstm->logs, h, layer, above, share);
    if (sizes->horizons[above] == horizon || above == 0)
        return true;
    float low = logf((float)sizes->horizons[above - 1]), high = logf((float)sizes->horizons[above]);
    float weight = (logf((float)horizon) - low) / (high - low);
    lstm_net_output(lstm->net, lstm->logs, h, layer, above - 1, lstm->other);
    for (uint32_t e = 0; e < sizes->experts; e++)
        share[e] = weight * share[e] + (1 - weight) * lstm->other[e];
    return true;
}

static void lstm_close(struct predictor *predictor)
{
    struct lstm *lstm = (struct lstm *)predictor;
    lstm_net_close(lstm->owned);
    lstm_averages_close(&lstm->averages);
    free(lstm->share);
    free(lstm->ticked);
    free(lstm->logs);
    free(lstm->input);
    free(lstm->gates);
    for (uint32_t i = 0; i < 2; i++) {
        free(lstm->h[i]);
        free(lstm->c[i]);
    }
    free(lstm->other);
    free(lstm);
}

static const struct predictor_ops lstm_ops = {
    .name = "lstm",
    .tick = lstm_tick,
    .loads = lstm_loads,
    .close = lstm_close,
};

static enum status take_weights(struct lstm *lstm, const struct lstm_config *config,
                                struct error *error)
{
    lstm->net = config->net;
    if (!lstm->net) {
        enum status status = lstm_file_read(&lstm->owned, config->weights_path, error);
        if (status != STATUS_OK)
            return status;
        lstm->net = lstm->owned;
    }
    const struct lstm_sizes *sizes = &lstm->net->sizes;
    if (sizes->layers == config->layers && sizes->experts == config->experts)
        return STATUS_OK;
    return error_set(error, STATUS_INVALID,
                     "%s: layers x experts is %u x %u; the model has %u x %u",
                     config->weights_path ? config->weights_path : "load forecast", sizes->layers,
                     sizes->experts, config->layers, config->experts);
}

static enum status take_room(struct lstm *lstm, struct error *error)
{
    const struct lstm_net *net = lstm->net;
    const size_t units = net->sizes.units;
    enum status status = lstm_averages_open(&lstm->averages, net, error);
    if (status != STATUS_OK)
        return status;
    bool complete = (lstm->share = calloc(net->outputs, sizeof *lstm->share)) &&
                    (lstm->ticked = calloc(net->sizes.layers, sizeof *lstm->ticked)) &&
                    (lstm->logs = calloc((size_t)LSTM_AVERAGES * net->outputs,
                                         sizeof *lstm->logs)) &&
                    (lstm->input = calloc(net->inputs, sizeof *lstm->input)) &&
                    (lstm->gates = calloc(4 * units, sizeof *lstm->gates)) &&
                    (lstm->other = calloc(net->sizes.experts, sizeof *lstm->other));
    for (uint32_t i = 0; complete && i < 2; i++)
        complete = (lstm->h[i] = calloc(units, sizeof **lstm->h)) &&
                   (lstm->c[i] = calloc(units, sizeof **lstm->c));
    if (!complete)
        return error_set(error, STATUS_NO_MEMORY, "no memory for the state of %u x %u loads",
                         net->sizes.layers, net->sizes.experts);
    for (uint32_t i = 0; i < net->outputs; i++)
        lstm->share[i] = 1 / (float)net->sizes.experts; /* of layers that have not ticked yet */
    return STATUS_OK;
}

size_t lstm_bytes(const struct lstm_sizes *sizes)
{
    size_t outputs = (size_t)sizes->layers * sizes->experts;
    size_t inputs = outputs < LSTM_INPUTS_MAX ? outputs : LSTM_INPUTS_MAX;
    /* share; the averages beside the newest share; their logarithms */
    size_t per_output = 1 + (LSTM_AVERAGES - 1) + LSTM_AVERAGES;
    size_t floats = per_output * outputs + inputs + 8 * (size_t)sizes->units + sizes->experts;
    return sizeof(struct lstm) + floats * sizeof(float) + sizes->layers * sizeof(bool);
}

enum status lstm_open(struct predictor **out, const struct lstm_config *config,
                      struct error *error)
{
    struct lstm *lstm = calloc(1, sizeof *lstm);
    enum status status = STATUS_OK;
    *out = NULL;
    if (!lstm)
        return error_set(error, STATUS_NO_MEMORY, "no memory for a load forecast");
    lstm->base.ops = &lstm_ops;
    if (config->net || config->weights_path) {
        status = take_weights(lstm, config, error);
        if (status == STATUS_OK)
            status = take_room(lstm, error);
    }
    if (status != STATUS_OK) {
        lstm_close(&lstm->base);
        return status;
    }
    *out = &lstm->base;
    return STATUS_OK;
}
