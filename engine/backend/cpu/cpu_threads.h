/* A fork-join pool: the compute workers of one CPU backend. */
#ifndef MOERING_ENGINE_BACKEND_CPU_CPU_THREADS_H
#define MOERING_ENGINE_BACKEND_CPU_CPU_THREADS_H

#include <stdint.h>

#include "memory/base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

struct cpu_threads;

#define CPU_THREADS_MAX 256

/* `count` threads work, the caller of run() being one of them; 0: as many as the process's CPU
 * affinity allows. More than CPU_THREADS_MAX is taken as that. NO_MEMORY: a thread could not be
 * started. */
enum status cpu_threads_open(struct cpu_threads **out, uint32_t count, struct error *error);
/* Ends and joins the workers. NULL is fine. */
void cpu_threads_close(struct cpu_threads *pool);
uint32_t cpu_threads_count(const struct cpu_threads *pool);
/* How many open() would make of `count`. */
uint32_t cpu_threads_allowed(uint32_t count);

/* Calls work(arg, part, worker) once for each part in 0 .. parts - 1, handed out from the highest
 * number down to whoever is free, and returns when all have returned; their writes are visible
 * then. `worker` < count is a number no two simultaneous calls share, for scratch memory; the
 * caller is worker 0. Parts must not depend on each other. One thread calls run() at a time, and
 * `work` never does. */
void cpu_threads_run(struct cpu_threads *pool,
                     void (*work)(void *arg, uint32_t part, uint32_t worker), void *arg,
                     uint32_t parts);

#ifdef __cplusplus
}
#endif
#endif
