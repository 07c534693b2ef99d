#include "engine/predict/lstm_net.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* In ticks; the first average is the newest share itself. */
static const float half_life_ticks[LSTM_AVERAGES] = {0, 4, 16, 64, 256};

/* Shares below a 16th of the uniform one count as that: the logarithm of a zero would drown the
 * rest. Logarithms of shares are about +-0.2; the cell's weights start as for inputs of about 1. */
#define SHARE_FLOOR (1.0f / 16)
#define INPUT_SCALE 4.0f

/* Four lanes at any address; plain C of the compiler's vector types, no instruction set named. */
typedef float lanes4 __attribute__((vector_size(16), aligned(4), may_alias));

float lstm_dot(const float *a, const float *b, size_t count)
{
    lanes4 s = {0}, t = {0};
    size_t i = 0;
    for (; i + 8 <= count; i += 8) {
        s += *(const lanes4 *)(a + i) * *(const lanes4 *)(b + i);
        t += *(const lanes4 *)(a + i + 4) * *(const lanes4 *)(b + i + 4);
    }
    s += t;
    float sum = (s[0] + s[2]) + (s[1] + s[3]);
    for (; i < count; i++)
        sum += a[i] * b[i];
    return sum;
}

void lstm_axpy(float *y, float a, const float *x, size_t count)
{
    size_t i = 0;
    for (; i + 4 <= count; i += 4)
        *(lanes4 *)(y + i) += a * *(const lanes4 *)(x + i);
    for (; i < count; i++)
        y[i] += a * x[i];
}

/* ---- sizes ---- */

static enum status check_range(const char *name, uint32_t value, uint32_t max, struct error *error)
{
    if (value >= 1 && value <= max)
        return STATUS_OK;
    return error_set(error, STATUS_INVALID, "%s is %u; it must be from 1 to %u", name, value, max);
}

enum status lstm_sizes_check(const struct lstm_sizes *sizes, struct error *error)
{
    enum status status = check_range("layers", sizes->layers, LSTM_LAYERS_MAX, error);
    if (status == STATUS_OK)
        status = check_range("experts", sizes->experts, LSTM_EXPERTS_MAX, error);
    if (status == STATUS_OK)
        status = check_range("units", sizes->units, LSTM_UNITS_MAX, error);
    if (status == STATUS_OK)
        status = check_range("horizon_count", sizes->horizon_count, LSTM_HORIZONS_MAX, error);
    if (status != STATUS_OK)
        return status;
    if (sizes->layers * sizes->experts > LSTM_OUTPUTS_MAX)
        return error_set(error, STATUS_INVALID, "layers x experts is %u; at most %u are forecast",
                         sizes->layers * sizes->experts, LSTM_OUTPUTS_MAX);
    for (uint32_t i = 0; i < LSTM_HORIZONS_MAX; i++) {
        uint32_t at = sizes->horizons[i], least = i ? sizes->horizons[i - 1] + 1 : 1;
        if (i >= sizes->horizon_count ? at != 0 : at < least || at > LSTM_HORIZON_MAX)
            return error_set(error, STATUS_INVALID,
                             "horizons[%u] is %u; %u of them must ascend from 1 to %u, the rest be "
                             "0", i, at, sizes->horizon_count, LSTM_HORIZON_MAX);
    }
    return STATUS_OK;
}

static uint32_t input_count(const struct lstm_sizes *sizes)
{
    uint32_t outputs = sizes->layers * sizes->experts;
    return outputs < LSTM_INPUTS_MAX ? outputs : LSTM_INPUTS_MAX;
}

size_t lstm_sizes_weights(const struct lstm_sizes *sizes)
{
    size_t units = sizes->units, outputs = (size_t)sizes->layers * sizes->experts;
    return (input_count(sizes) + units + 1) * 4 * units +
           sizes->horizon_count * (sizes->layers * (size_t)LSTM_AVERAGES + outputs * units);
}

/* ---- weights ---- */

static float uniform(uint64_t *state) /* in (-1, 1); xorshift64* */
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return (float)((*state * 0x2545F4914F6CDD1Du) >> 40) / (float)(1 << 23) - 1.0f;
}

static void draw(struct lstm_net *net, uint64_t seed)
{
    uint64_t state = seed * 0x9E3779B97F4A7C15u + 0xD1B54A32D192ED03u;
    size_t units = net->sizes.units, skips = net->sizes.horizon_count * (size_t)net->sizes.layers;
    state += !state; /* zero is the one state the generator never leaves */
    for (size_t i = 0; i < net->inputs * 4 * units; i++)
        net->w_in[i] = uniform(&state) / sqrtf((float)net->inputs);
    for (size_t i = 0; i < units * 4 * units; i++)
        net->w_rec[i] = uniform(&state) / sqrtf((float)units);
    for (size_t i = 0; i < units; i++)
        net->bias[units + i] = 1.0f; /* remember at first: the usual start of the forget gate */
    for (size_t i = 0; i < skips * LSTM_AVERAGES; i++)
        net->skip[i] = 1.0f / LSTM_AVERAGES;
}

enum status lstm_net_open(struct lstm_net **out, const struct lstm_sizes *sizes, uint64_t seed,
                          struct error *error)
{
    *out = NULL;
    enum status status = lstm_sizes_check(sizes, error);
    if (status != STATUS_OK)
        return status;
    struct lstm_net *net = calloc(1, sizeof *net);
    if (!net)
        goto fail;
    size_t gates = 4 * (size_t)sizes->units;
    net->sizes = *sizes;
    net->inputs = input_count(sizes);
    net->outputs = sizes->layers * sizes->experts;
    net->count = lstm_sizes_weights(sizes);
    net->w_in = calloc(net->count, sizeof *net->w_in);
    if (!net->w_in)
        goto fail;
    net->w_rec = net->w_in + net->inputs * gates;
    net->bias = net->w_rec + sizes->units * gates;
    net->skip = net->bias + gates;
    net->head = net->skip + sizes->horizon_count * (size_t)sizes->layers * LSTM_AVERAGES;
    draw(net, seed);
    *out = net;
    return STATUS_OK;
fail:
    lstm_net_close(net);
    return error_set(error, STATUS_NO_MEMORY, "no memory for the %zu weights of the load forecast",
                     lstm_sizes_weights(sizes));
}

void lstm_net_close(struct lstm_net *net)
{
    if (!net)
        return;
    free(net->w_in);
    free(net);
}

/* ---- averages ---- */

enum status lstm_averages_open(struct lstm_averages *averages, const struct lstm_net *net,
                               struct error *error)
{
    averages->outputs = net->outputs;
    averages->ticks = 0;
    averages->mean = calloc((LSTM_AVERAGES - 1) * (size_t)net->outputs, sizeof *averages->mean);
    if (!averages->mean)
        return error_set(error, STATUS_NO_MEMORY, "no memory for the averages of %u shares",
                         net->outputs);
    return STATUS_OK;
}

void lstm_averages_reset(struct lstm_averages *averages)
{
    averages->ticks = 0;
}

void lstm_averages_close(struct lstm_averages *averages)
{
    free(averages->mean);
    averages->mean = NULL;
}

static float log_over_uniform(float share, float experts)
{
    float relative = share * experts;
    return logf(relative > SHARE_FLOOR ? relative : SHARE_FLOOR);
}

void lstm_averages_push(struct lstm_averages *averages, const struct lstm_net *net,
                        const float *share, float *logs, float *input)
{
    const uint32_t outputs = net->outputs;
    const float experts = (float)net->sizes.experts;
    averages->ticks++;
    for (uint32_t i = 0; i < outputs; i++)
        logs[i] = log_over_uniform(share[i], experts);
    for (uint32_t a = 1; a < LSTM_AVERAGES; a++) {
        /* Until it is full an average is the plain mean of what there is. */
        float gain = 1 - exp2f(-1 / half_life_ticks[a]), fresh = 1 / (float)averages->ticks;
        float *mean = averages->mean + (size_t)(a - 1) * outputs;
        gain = gain > fresh ? gain : fresh;
        for (uint32_t i = 0; i < outputs; i++) {
            mean[i] += gain * (share[i] - mean[i]);
            logs[(size_t)a * outputs + i] = log_over_uniform(mean[i], experts);
        }
    }
    if (net->inputs == outputs) {
        for (uint32_t i = 0; i < outputs; i++)
            input[i] = INPUT_SCALE * logs[i];
        return;
    }
    memset(input, 0, net->inputs * sizeof *input);
    for (uint32_t i = 0; i < outputs; i++) { /* the sign is a bit of a multiplicative hash of i */
        float sign = (i * 0x9E3779B1u) >> 31 ? 1.0f : -1.0f;
        input[i % net->inputs] += sign * INPUT_SCALE * logs[i];
    }
}

/* ---- forward ---- */

static float sigmoid(float x)
{
    return 1 / (1 + expf(-x));
}

void lstm_cell(uint32_t inputs, uint32_t units, const float *w_in, const float *w_rec,
               const float *bias, const float *x, const float *h0, const float *c0, float *gates,
               float *h1, float *c1)
{
    const size_t rows = 4 * (size_t)units;
    memcpy(gates, bias, rows * sizeof *gates);
    for (uint32_t i = 0; i < inputs; i++)
        lstm_axpy(gates, x[i], w_in + i * rows, rows);
    for (uint32_t i = 0; i < units; i++)
        lstm_axpy(gates, h0[i], w_rec + i * rows, rows);
    for (uint32_t u = 0; u < units; u++) {
        float i = gates[u] = sigmoid(gates[u]);
        float f = gates[units + u] = sigmoid(gates[units + u]);
        float g = gates[2 * units + u] = tanhf(gates[2 * units + u]);
        float o = gates[3 * units + u] = sigmoid(gates[3 * units + u]);
        c1[u] = f * c0[u] + i * g;
        h1[u] = o * tanhf(c1[u]);
    }
}

static void softmax(float *x, uint32_t count)
{
    float max = x[0], sum = 0;
    for (uint32_t i = 1; i < count; i++)
        max = x[i] > max ? x[i] : max;
    for (uint32_t i = 0; i < count; i++)
        sum += x[i] = expf(x[i] - max);
    for (uint32_t i = 0; i < count; i++)
        x[i] /= sum;
}

void lstm_net_output(const struct lstm_net *net, const float *logs, const float *h, uint32_t layer,
                     uint32_t horizon, float *share)
{
    const uint32_t experts = net->sizes.experts, units = net->sizes.units;
    const size_t first = (size_t)layer * experts;
    const float *skip = net->skip + ((size_t)horizon * net->sizes.layers + layer) * LSTM_AVERAGES;
    const float *head = net->head + ((size_t)horizon * net->outputs + first) * units;
    for (uint32_t e = 0; e < experts; e++)
        share[e] = lstm_dot(head + (size_t)e * units, h, units);
    for (uint32_t a = 0; a < LSTM_AVERAGES; a++)
        lstm_axpy(share, skip[a], logs + (size_t)a * net->outputs + first, experts);
    softmax(share, experts);
}
