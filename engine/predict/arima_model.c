#include "engine/predict/arima_model.h"

#include <math.h>
#include <string.h>

#include "memory/base/check.h"

enum { UNKNOWNS_MAX = ARIMA_LONG_MAX }; /* 2 ARIMA_ORDER_MAX are fewer */

/* Normal equations: gram * solution = moment. Only the lower half of gram is used. */
struct equations {
    uint32_t n;
    double gram[UNKNOWNS_MAX][UNKNOWNS_MAX];
    double moment[UNKNOWNS_MAX];
};

uint32_t arima_model_difference(double *x, uint32_t n, uint32_t d)
{
    for (; d > 0 && n > 0; d--, n--)
        for (uint32_t t = 0; t + 1 < n; t++)
            x[t] = x[t + 1] - x[t];
    return n;
}

/* Cholesky, in place; the solution replaces the moment. False: singular to working precision. */
static bool equations_solve(struct equations *eq)
{
    uint32_t n = eq->n;
    for (uint32_t i = 0; i < n; i++) {
        double *row = eq->gram[i], scale = row[i];
        for (uint32_t j = 0; j <= i; j++) {
            const double *other = eq->gram[j];
            double sum = row[j];
            for (uint32_t k = 0; k < j; k++)
                sum -= row[k] * other[k];
            if (j < i)
                row[j] = sum / other[j];
            else if (sum > 1e-10 * scale && sum > 0.0)
                row[i] = sqrt(sum);
            else
                return false; /* NaN comes here as well */
        }
        for (uint32_t k = 0; k < i; k++)
            eq->moment[i] -= row[k] * eq->moment[k];
        eq->moment[i] /= row[i];
    }
    for (uint32_t i = n; i-- > 0;) {
        for (uint32_t k = i + 1; k < n; k++)
            eq->moment[i] -= eq->gram[k][i] * eq->moment[k];
        eq->moment[i] /= eq->gram[i][i];
    }
    return true;
}

/* y[t] on y[t-1] .. y[t-lags] for t in [lags, n). The product of lags i+1 and j+1 sums the same
 * terms as that of i and j, one point earlier: each diagonal costs one sum and two corrections a
 * step. */
static void long_equations(struct equations *eq, const double *y, uint32_t n, uint32_t lags)
{
    eq->n = lags;
    for (uint32_t k = 0; k < lags; k++) { /* products of lag 1 and lag k + 1, of lag 0 and k + 1 */
        double first = 0.0, moment = 0.0;
        for (uint32_t t = lags; t < n; t++) {
            first += y[t - 1] * y[t - 1 - k];
            moment += y[t] * y[t - 1 - k];
        }
        eq->gram[k][0] = first;
        eq->moment[k] = moment;
    }
    for (uint32_t i = 1; i < lags; i++)
        for (uint32_t j = 1; j <= i; j++)
            eq->gram[i][j] = eq->gram[i - 1][j - 1] + y[lags - 1 - i] * y[lags - 1 - j] -
                             y[n - 1 - i] * y[n - 1 - j];
}

/* y[t] on y[t-1] .. y[t-p] and residual[t-1] .. residual[t-q] for t in [from, n). */
static void short_equations(struct equations *eq, const struct arima_model *model, const double *y,
                            const double *residual, uint32_t from, uint32_t n)
{
    uint32_t p = model->p, unknowns = model->p + model->q;
    eq->n = unknowns;
    for (uint32_t i = 0; i < unknowns; i++) {
        memset(eq->gram[i], 0, unknowns * sizeof eq->gram[i][0]);
        eq->moment[i] = 0.0;
    }
    for (uint32_t t = from; t < n; t++) {
        double lag[2 * ARIMA_ORDER_MAX];
        for (uint32_t i = 0; i < unknowns; i++)
            lag[i] = i < p ? y[t - 1 - i] : residual[t - 1 - (i - p)];
        for (uint32_t i = 0; i < unknowns; i++) {
            for (uint32_t j = 0; j <= i; j++)
                eq->gram[i][j] += lag[i] * lag[j];
            eq->moment[i] += lag[i] * y[t];
        }
    }
}

bool arima_model_roots_outside(const double *a, uint32_t n)
{
    double now[ARIMA_ORDER_MAX], next[ARIMA_ORDER_MAX];
    CHECK(n <= ARIMA_ORDER_MAX);
    memcpy(now, a, n * sizeof *now);
    for (uint32_t m = n; m > 0; m--) {
        double reflection = now[m - 1];
        if (!(fabs(reflection) < 0.9995)) /* NaN is not outside */
            return false;
        for (uint32_t i = 0; i + 1 < m; i++)
            next[i] = (now[i] + reflection * now[m - 2 - i]) / (1.0 - reflection * reflection);
        memcpy(now, next, (m - 1) * sizeof *now);
    }
    return true;
}

static double mean_of(const double *y, uint32_t n)
{
    double sum = 0.0;
    for (uint32_t t = 0; t < n; t++)
        sum += y[t];
    return sum / n;
}

/* First pass: residual[t] for t >= the returned number of lags; 0: singular. */
static uint32_t long_residuals(struct equations *eq, const double *y, uint32_t n, uint32_t least,
                               double *residual)
{
    uint32_t lags = n / 8;
    lags = lags > ARIMA_LONG_MAX ? ARIMA_LONG_MAX : lags;
    lags = lags < least ? least : lags;
    long_equations(eq, y, n, lags);
    if (!equations_solve(eq))
        return 0;
    for (uint32_t t = lags; t < n; t++) {
        double e = y[t];
        for (uint32_t k = 0; k < lags; k++)
            e -= eq->moment[k] * y[t - 1 - k];
        residual[t] = e;
    }
    return lags;
}

/* The part of the next y that is known beforehand. */
static double expected(const struct arima_model *model, const double *y, const double *e)
{
    double sum = 0.0;
    for (uint32_t i = 0; i < model->p; i++)
        sum += model->phi[i] * y[i];
    for (uint32_t j = 0; j < model->q; j++)
        sum += model->theta[j] * e[j];
    return sum;
}

static void shift_in(double *values, uint32_t n, double newest)
{
    for (uint32_t i = n; i-- > 1;)
        values[i] = values[i - 1];
    if (n > 0)
        values[0] = newest;
}

double arima_model_residual(const struct arima_model *model, struct arima_tail *tail, double y)
{
    double e = y - expected(model, tail->y, tail->e);
    shift_in(tail->y, model->p, y);
    shift_in(tail->e, model->q, e);
    return e;
}

/* Runs the model over y[from, n), started from the residuals of the first pass. False: it explains
 * less than nothing, which happens when the zeros are so near the circle that errors linger. */
static bool model_explains(const struct arima_model *model, const double *y,
                           const double *residual, uint32_t from, uint32_t n,
                           struct arima_tail *tail)
{
    memset(tail, 0, sizeof *tail);
    for (uint32_t i = 0; i < model->p; i++)
        tail->y[i] = y[from - 1 - i];
    for (uint32_t j = 0; j < model->q; j++)
        tail->e[j] = residual[from - 1 - j];
    double left = 0.0, all = 0.0;
    for (uint32_t t = from; t < n; t++) {
        double e = arima_model_residual(model, tail, y[t]);
        left += e * e;
        all += y[t] * y[t];
    }
    return left < all;
}

bool arima_model_fit(struct arima_model *model, double *y, uint32_t n, double *residual,
                     struct arima_tail *tail)
{
    uint32_t p = model->p, q = model->q, most = p > q ? p : q;
    CHECK(p + q >= 1 && most <= ARIMA_ORDER_MAX && model->d <= ARIMA_DIFFERENCES_MAX);
    if (n < 4 * (p + q) + 2 * most)
        return false;
    model->mean = model->d == 0 ? mean_of(y, n) : 0.0;
    for (uint32_t t = 0; t < n; t++)
        y[t] -= model->mean;
    struct equations eq;
    uint32_t from = p;
    if (q > 0) {
        uint32_t lags = long_residuals(&eq, y, n, most, residual);
        if (lags == 0)
            return false;
        from = lags + most;
    }
    if (n < from + 2 * (p + q))
        return false;
    short_equations(&eq, model, y, residual, from, n);
    if (!equations_solve(&eq))
        return false;
    double mirrored[ARIMA_ORDER_MAX];
    for (uint32_t i = 0; i < p; i++)
        model->phi[i] = eq.moment[i];
    for (uint32_t j = 0; j < q; j++) {
        model->theta[j] = eq.moment[p + j];
        mirrored[j] = -model->theta[j];
    }
    return arima_model_roots_outside(model->phi, p) && arima_model_roots_outside(mirrored, q) &&
           model_explains(model, y, residual, from, n, tail);
}

void arima_model_tail(const struct arima_model *model, const double *x, uint32_t n,
                      double *scratch, struct arima_tail *tail)
{
    CHECK(n > model->d);
    memset(tail, 0, sizeof *tail);
    memcpy(scratch, x, n * sizeof *scratch);
    for (uint32_t d = 0; d < model->d; d++) {
        tail->level[d] = scratch[n - 1];
        n = arima_model_difference(scratch, n, 1);
    }
    for (uint32_t t = 0; t < n; t++)
        arima_model_residual(model, tail, scratch[t] - model->mean);
}

double arima_model_forecast(const struct arima_model *model, const struct arima_tail *tail,
                            uint32_t horizon)
{
    double y[ARIMA_ORDER_MAX], e[ARIMA_ORDER_MAX], next = 0.0;
    double x = tail->level[0], slope = tail->level[1];
    memcpy(y, tail->y, sizeof y);
    memcpy(e, tail->e, sizeof e);
    for (uint32_t step = 0; step < horizon; step++) {
        next = expected(model, y, e);
        shift_in(y, model->p, next);
        shift_in(e, model->q, 0.0);
        slope += next;
        x += model->d == 2 ? slope : next;
        if (step < model->q || model->d == 2)
            continue;
        double left = 0.0; /* stationary: what follows is of the size of the lags, and shrinks */
        for (uint32_t i = 0; i < model->p; i++)
            left += fabs(y[i]);
        if (left < 1e-10) {
            next = 0.0;
            break;
        }
    }
    return model->d == 0 ? model->mean + next : x;
}
