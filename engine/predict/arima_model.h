/* One ARIMA(p,d,q) series: fit, filter, forecast. Pure functions over plain arrays.
 *
 *     y = (1 - B)^d x - mean
 *     (1 - phi_1 B - ... - phi_p B^p) y = (1 + theta_1 B + ... + theta_q B^q) e
 *
 * The mean is that of the fitted points when d = 0 (without it every forecast would sink to zero)
 * and 0 otherwise.
 *
 * Fitted by two least-squares passes (Hannan and Rissanen 1982): a long autoregression gives
 * residuals, then y is regressed on its own lags and those of the residuals. Least squares and not
 * maximum likelihood: its cost is known beforehand, there is nothing to iterate and nothing to
 * start from. With m points and a long autoregression of L = m / 8 (at most ARIMA_LONG_MAX) lags a
 * fit takes about 2 m L + L^3 / 6 + m (p + q)^2 / 2 multiplications, 15,000 for (5,1,5) on 160
 * points: the products of the first pass are one recursion along its diagonals.
 *
 * A fit is refused when its equations are singular (a constant series) or when it is not stationary
 * and invertible, which the step-down recursion of Levinson and Durbin decides without roots.
 *
 * The residuals that a forecast starts from come from a run over the fitted points that begins with
 * those of the first pass. Beginning with 0 would leave an error as large as the series itself,
 * which a zero near the circle hardly forgets. */
#ifndef MOERING_ENGINE_PREDICT_ARIMA_MODEL_H
#define MOERING_ENGINE_PREDICT_ARIMA_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { ARIMA_ORDER_MAX = 8, ARIMA_DIFFERENCES_MAX = 2, ARIMA_LONG_MAX = 32 };

struct arima_model {
    uint32_t p, d, q; /* p, q <= ARIMA_ORDER_MAX, p + q >= 1, d <= ARIMA_DIFFERENCES_MAX */
    double phi[ARIMA_ORDER_MAX], theta[ARIMA_ORDER_MAX];
    double mean;
};

/* What a forecast starts from. */
struct arima_tail {
    double level[ARIMA_DIFFERENCES_MAX]; /* newest value of x, of (1 - B) x; the first d are used */
    double y[ARIMA_ORDER_MAX];           /* newest first, the first p are used */
    double e[ARIMA_ORDER_MAX];           /* residuals, newest first, the first q are used */
};

/* Turns x[n], oldest first, into its d-th differences in place; returns how many there are. */
uint32_t arima_model_difference(double *x, uint32_t n, uint32_t d);

/* Given p, d, q, fits phi, theta and mean to y[n], differenced and oldest first; y is centred on
 * the mean in place. residual[n] is scratch. Leaves the y and e of the tail after the last point,
 * but not its levels. False: too few points, singular, not stationary, not invertible, or worse
 * than forecasting 0; model and tail are then unusable. */
bool arima_model_fit(struct arima_model *model, double *y, uint32_t n, double *residual,
                     struct arima_tail *tail);

/* Are all roots of 1 - a_1 z - ... - a_n z^n outside the unit circle, by a little? n <= 8. */
bool arima_model_roots_outside(const double *a, uint32_t n);

/* The residual of one more point y, given the tail before it; shifts both into the tail. */
double arima_model_residual(const struct arima_model *model, struct arima_tail *tail, double y);

/* The tail after x[n], oldest first, n > d, with earlier differences and residuals 0.
 * scratch[n]. */
void arima_model_tail(const struct arima_model *model, const double *x, uint32_t n,
                      double *scratch, struct arima_tail *tail);

/* x, `horizon` >= 1 points after the tail, with future residuals 0. Not clipped. Stops early when
 * every further difference would be below 1e-10. */
double arima_model_forecast(const struct arima_model *model, const struct arima_tail *tail,
                            uint32_t horizon);

#ifdef __cplusplus
}
#endif
#endif
