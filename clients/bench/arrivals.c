#include "clients/bench/arrivals.h"

#include <math.h>

#include "clients/bench/rng.h"

double arrivals_rate(const struct arrivals *a, uint32_t i, uint32_t count)
{
    double progress = count > 1 ? (double)i / (count - 1) : 0;
    switch (a->ramp) {
    case ARRIVALS_LINEAR: return a->start_rate + (a->end_rate - a->start_rate) * progress;
    case ARRIVALS_EXPONENTIAL: return a->start_rate * pow(a->end_rate / a->start_rate, progress);
    case ARRIVALS_STEADY: break;
    }
    return a->rate;
}

static double gap_s(struct rng *rng, double rate, double burstiness)
{
    if (isinf(rate))
        return 0;
    if (isinf(burstiness))
        return 1 / rate;
    return rng_gamma(rng, burstiness, 1 / (rate * burstiness));
}

void arrivals_decide(const struct arrivals *a, uint32_t count, uint64_t *send_ns)
{
    double drawn = 0, wanted = 0, at = 0;
    /* Two passes over the same numbers: the first only adds the gaps up. */
    struct rng rng;
    rng_init(&rng, a->seed);
    struct rng again = rng;
    for (uint32_t i = 0; i < count; i++) {
        double rate = arrivals_rate(a, i, count);
        drawn += gap_s(&rng, rate, a->burstiness);
        wanted += 1 / rate;
    }
    double scale = drawn > 0 ? wanted / drawn : 0;
    for (uint32_t i = 0; i < count; i++) {
        at += gap_s(&again, arrivals_rate(a, i, count), a->burstiness);
        send_ns[i] = (uint64_t)llround(at * scale * 1e9);
    }
}
