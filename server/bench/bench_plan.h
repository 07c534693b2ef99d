/* Which tests `moering bench` runs: the lists of its flags, multiplied out. Pure. */
#ifndef MOERING_SERVER_BENCH_BENCH_PLAN_H
#define MOERING_SERVER_BENCH_BENCH_PLAN_H

#include <stdint.h>

#include "server/config/config.h"

#ifdef __cplusplus
extern "C" {
#endif

#define BENCH_TESTS_MAX 256

/* `prompt` tokens are computed, then `gen` tokens generated, by each of `sequences` sequences at
 * once, all with `depth` tokens before them that are not measured. prompt or gen may be 0. */
struct bench_test {
    uint32_t prompt, gen, depth, sequences;
};

struct bench_plan {
    struct bench_test tests[BENCH_TESTS_MAX];
    uint32_t count;
    uint32_t positions_max; /* of one sequence in any test */
    uint32_t sequences_max;
};

/* In the order of llama-bench: for each depth the prompts, the generations (each with every number
 * of sequences), the pairs. INVALID: a list that is none, nothing to measure, too many tests; the
 * sentence names the flag. */
enum status bench_plan_make(struct bench_plan *plan, const struct config *config,
                            struct error *error);
/* "pp512", "tg128 x16", "pp512+tg128 @ d1024" into `out` (64 bytes do), which is returned. */
const char *bench_test_name(const struct bench_test *test, char *out, size_t out_bytes);

#ifdef __cplusplus
}
#endif
#endif
