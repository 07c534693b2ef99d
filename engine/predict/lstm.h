/* Load forecasts by a small LSTM: `loads` of predictor.h answered by a network (lstm_net.h) that
 * was trained beforehand on recorded loads (lstm_train.h) and read from a file (lstm_file.h).
 *
 * Nothing is learned here: a tick costs one step of the cell, a question one layer of the head,
 * and the weights stay as they are. Without weights every question is answered with "cannot say".
 * The network sees all layers at once, but ticks come layer by layer: it steps when every layer
 * has ticked, or when one comes round again before the others did, which then keep the shares of
 * their tick before. So a layer that has ticked when others have not yet, as all but the last have
 * at the moment of their tick, is forecast from the tick before, one tick further: train 2 ticks
 * ahead beside 1 where the next tick matters. */
#ifndef MOERING_ENGINE_PREDICT_LSTM_H
#define MOERING_ENGINE_PREDICT_LSTM_H

#include "engine/predict/lstm_net.h"
#include "engine/predict/predictor.h"

#ifdef __cplusplus
extern "C" {
#endif

struct lstm_config {
    uint32_t layers, experts;
    const char *weights_path;   /* NULL: none, `loads` is always false */
    const struct lstm_net *net; /* used instead of reading the file if not NULL, several may share
                                   one; outlives the predictor. A path beside it names it in
                                   errors */
};

/* What lstm_open takes for a network of these (checked) sizes, without its weights. */
size_t lstm_bytes(const struct lstm_sizes *sizes);

/* INVALID: sizes outside the limits of lstm_net.h, a broken file, or weights made for other sizes;
 * NOT_FOUND, IO: the file; NO_MEMORY.
 * Horizons: those trained, and between two of them a mix by the logarithm of the distance; beyond
 * the longest `loads` is false. */
enum status lstm_open(struct predictor **out, const struct lstm_config *config,
                      struct error *error);

#ifdef __cplusplus
}
#endif
#endif
