/* moering-bench: options, data set, runs, and what is written of them. Exit codes: 0, 1 if anything
 * failed, 2 for wrong usage. */
#ifndef MOERING_CLIENTS_BENCH_BENCH_H
#define MOERING_CLIENTS_BENCH_BENCH_H

#ifdef __cplusplus
extern "C" {
#endif

/* The whole program. */
int bench_main(int argc, char **argv);

#ifdef __cplusplus
}
#endif
#endif
