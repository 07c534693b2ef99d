/* `moering bench machine`: what bounds a model on this machine. */
#ifndef MOERING_SERVER_BENCH_BENCH_MACHINE_H
#define MOERING_SERVER_BENCH_BENCH_MACHINE_H

#include "server/config/config.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Measures and prints: memory by threads, peaks and kernels by threads, and of config->file (NULL:
 * not) its storage by reads under way. Errors as the measures'. */
enum status bench_machine(const struct config *config, FILE *out, struct error *error);

#ifdef __cplusplus
}
#endif
#endif
