/* When requests are sent. Decided before the run, so that no answer can delay a question (open
 * loop).
 *
 * Gaps are Gamma(shape = burstiness, scale = 1 / (rate x burstiness)): burstiness 1 is a Poisson
 * process, less comes in bursts, more is evener, infinity has equal gaps. They are rescaled so that
 * their sum is what the rates ask for, count / rate: otherwise two seeds would be two loads.
 * Pure. */
#ifndef MOERING_CLIENTS_BENCH_ARRIVALS_H
#define MOERING_CLIENTS_BENCH_ARRIVALS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum arrivals_ramp { ARRIVALS_STEADY, ARRIVALS_LINEAR, ARRIVALS_EXPONENTIAL };

struct arrivals {
    double rate;       /* requests per second, > 0; INFINITY: all at once. Of ARRIVALS_STEADY */
    double burstiness; /* > 0; may be INFINITY */
    enum arrivals_ramp ramp;
    double start_rate, end_rate; /* of the others, at the first and the last request; > 0, finite */
    uint64_t seed;
};

/* The rate that request `i` of `count` comes at. */
double arrivals_rate(const struct arrivals *arrivals, uint32_t i, uint32_t count);
/* send_ns[count]: since the start of the run, ascending. The first comes after a gap, too; the last
 * comes at the sum of 1 / arrivals_rate over all, to the nanosecond. */
void arrivals_decide(const struct arrivals *arrivals, uint32_t count, uint64_t *send_ns);

#ifdef __cplusplus
}
#endif
#endif
