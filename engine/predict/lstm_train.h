/* Training of the LSTM load predictor (lstm_net.h) on recorded loads: offline, or on a machine that
 * has nothing better to do; never while a step is under way.
 *
 * Backpropagation through time in windows of `unroll` ticks, taken in the order of the log with the
 * cell's state carried from one to the next, Adam (arXiv 1412.6980) with decoupled weight decay
 * (arXiv 1711.05101), gradients clipped to norm 1. The loss is the mean over forecasts of
 * experts x KL(what happened || forecast), about half the mean squared relative error.
 *
 * Two rounds. The first moves the skip weights alone: a few hundred numbers that every expert of a
 * layer teaches. The second moves everything, slowly. Trained in one round, the head (units weights
 * per expert and horizon, a few thousand correlated ticks to learn them from) fits the run it sees
 * before the averages have found their weights: on the log of the built-in model errors were 10 to
 * 60 % higher that way.
 *
 * No forecast is trained on a target after the first `1 - held_out` of the ticks; the rest decides
 * which epoch's weights are kept and when to stop. A log is a few thousand strongly correlated
 * ticks, so stopping early is most of the regularisation.
 *
 * Cost: per tick and epoch about 4 x (4 units x (inputs + units) + horizons x outputs x units)
 * multiply-adds, a quarter of them to judge, and every `unroll` ticks one update of all weights.
 * 6 x 32 experts, 64 units, four horizons: 0.46 M; 1,680 ticks take 0.2 s an epoch. 60 x 512
 * experts and three horizons: 25 M, at a third of the speed, since the weights no longer fit a
 * cache: 2,000 ticks x 40 epochs are half an hour of one core; mul_adds_max bounds it. Memory: the
 * weights four times over and unroll x (horizons + averages) x outputs floats, 110 MiB there; the
 * log itself is the caller's.
 *
 * The same seed, log and configuration give the same weights. Pure: no IO, no clock, no threads. */
#ifndef MOERING_ENGINE_PREDICT_LSTM_TRAIN_H
#define MOERING_ENGINE_PREDICT_LSTM_TRAIN_H

#include <stdint.h>

#include "engine/predict/lstm_net.h"

#ifdef __cplusplus
extern "C" {
#endif

struct lstm_series {
    const float *share; /* [ticks][layers][experts], each layer summing to 1 */
    uint32_t ticks;
};

struct lstm_train_config {
    uint32_t unroll;       /* ticks; 0: 16 */
    uint32_t epochs;       /* of each round, at most; 0: 30 */
    uint32_t patience;     /* epochs without a better held-out loss; 0: 4 */
    float rate;            /* of Adam; 0: 0.0003; the first round takes 20 times that */
    float decay;           /* of the matrices, per update, times the rate; 0: 1 */
    float held_out;        /* share of the ticks in (0, 0.5]; 0: 0.2 */
    uint64_t mul_adds_max; /* stop after the epoch that passes it; 0: no bound */
};

struct lstm_train_result {
    uint32_t epochs, best_epoch; /* 0: the weights at the start were best */
    uint64_t updates, mul_adds;
    double start_loss, skip_loss, best_loss; /* held out: untrained, first round, in the end */
};

/* Trains `net` in place and leaves the best weights seen in it. INVALID: no horizon of the network
 * is trained and judged by this many ticks; NO_MEMORY. A horizon longer than the ticks allow keeps
 * its skip weights; the caller should not ask for it. */
enum status lstm_train(struct lstm_net *net, const struct lstm_series *series,
                       const struct lstm_train_config *config, struct lstm_train_result *result,
                       struct error *error);

/* Loss of one window of `ticks` ticks from the first tick of the series on, targets anywhere in the
 * series, and its gradient[net->count]: what the tests compare with finite differences.
 * NO_MEMORY. */
enum status lstm_train_gradient(const struct lstm_net *net, const struct lstm_series *series,
                                uint32_t ticks, float *gradient, double *loss,
                                struct error *error);

#ifdef __cplusplus
}
#endif
#endif
