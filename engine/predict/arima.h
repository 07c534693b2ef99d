/* ARIMA(p,d,q) for every expert of every layer, (5,1,5) unless told otherwise (arXiv 2404.16914),
 * fitted while the loads come in. arima_model.h has the mathematics.
 *
 * A series is fitted on the newest ticks of its ring. Fitting all of them at every tick would cost
 * milliseconds for coefficients that hardly move, so a tick of a layer refits the next few of its
 * experts in turn. In between, every series keeps its newest q residuals. Cost of one tick of E
 * experts: E (p + q) multiplications for the residuals plus `refits` fits of some 15,000, about 20
 * microseconds each (README.md has the measured times). A forecast h ticks ahead takes E h (p + q),
 * fewer where the differences die out.
 *
 * A series whose fit is refused, or whose turn has not come, is forecast by the window average of
 * that series. Forecasts are clipped to [0, 1] and the layer is brought back to sum 1.
 *
 * Bytes per layer and expert: 2 ticks + 4 (p + 2 q + 1) + 1, 385 as it comes (of the middle term,
 * experts are rounded up to 16). Pure, nothing allocated after open. */
#ifndef MOERING_ENGINE_PREDICT_ARIMA_H
#define MOERING_ENGINE_PREDICT_ARIMA_H

#include <stddef.h>

#include "engine/predict/predictor.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    ARIMA_TICKS_MIN = 60, /* before so many it cannot say */
    ARIMA_TICKS = 160,
    ARIMA_REFITS = 4
};

struct arima_orders {
    uint32_t p, d, q; /* p, q <= 8, d <= 2, p + q >= 1 */
};

struct arima_config {
    uint32_t layers, experts;
    struct arima_orders orders; /* all 0: 5, 1, 5 */
    uint32_t ticks;  /* the newest that a fit uses, ARIMA_TICKS_MIN to 1,024; 0: ARIMA_TICKS */
    uint32_t window; /* of the fallback, at most `ticks`; 0: the smaller of 100 and `ticks` */
    uint32_t refits; /* series fitted per tick of a layer; 0: ARIMA_REFITS */
};

struct arima_series {
    uint32_t fitted, failed, waiting; /* experts of a layer; they sum to all of them */
};

/* Closed by predictor_close. INVALID names the field, NO_MEMORY. */
enum status arima_open(struct predictor **out, const struct arima_config *config,
                       struct error *error);
/* Both: of a predictor that arima_open made. */
size_t arima_bytes(const struct predictor *predictor);
void arima_count(const struct predictor *predictor, uint32_t layer, struct arima_series *out);

#ifdef __cplusplus
}
#endif
#endif
