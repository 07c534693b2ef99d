/* Random numbers that are the same for the same seed on every machine: xoshiro256** (Blackman and
 * Vigna, 2018) seeded through splitmix64, and the distributions that arrivals and data sets need.
 * Pure. */
#ifndef MOERING_CLIENTS_BENCH_RNG_H
#define MOERING_CLIENTS_BENCH_RNG_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct rng {
    uint64_t state[4];
};

void rng_init(struct rng *rng, uint64_t seed);
uint64_t rng_next(struct rng *rng);
/* 0 .. limit - 1, each equally likely; limit > 0. */
uint64_t rng_below(struct rng *rng, uint64_t limit);
/* In (0, 1): neither end is ever returned. */
double rng_uniform(struct rng *rng);
/* Mean 0, variance 1 (Box and Muller). */
double rng_normal(struct rng *rng);
/* Mean shape x scale; both > 0 (Marsaglia and Tsang 2000, with their boost for shapes below 1). */
double rng_gamma(struct rng *rng, double shape, double scale);

#ifdef __cplusplus
}
#endif
#endif
