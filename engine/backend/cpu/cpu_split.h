/* How work is cut among threads: into parts that grow smaller, so that each thread first gets a
 * long stretch and the last ones to be handed out even out what is left, whoever was late or slow.
 *
 * Costs are sixteenths of a nanosecond of one thread, roughly: the time in which it reads one byte
 * of weights from memory. Where work is cut never affects results. Pure; any thread. */
#ifndef MOERING_ENGINE_BACKEND_CPU_CPU_SPLIT_H
#define MOERING_ENGINE_BACKEND_CPU_CPU_SPLIT_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A stretch 0 .. units in parts whose borders are multiples of `align`. Parts are numbered in the
 * order in which cpu_threads_run hands them out: the highest first, and that one begins at 0. */
struct cpu_split {
    uint64_t units;
    uint32_t align;
    uint32_t wide;   /* parts of a level: one for each thread that is worth waking */
    uint32_t levels; /* each covers half of what the one before has left; the last all of it */
    uint32_t parts;
};
struct cpu_split cpu_split_make(uint32_t threads, uint64_t units, uint32_t align, uint64_t cost);
uint64_t cpu_split_begin(const struct cpu_split *s, uint32_t part);
uint64_t cpu_split_end(const struct cpu_split *s, uint32_t part);

/* What a multiplication costs where weights come from cache, over 3: see above. */
static inline uint64_t cpu_cost_f32(uint64_t multiplications)
{
    return multiplications / 3;
}

#ifdef __cplusplus
}
#endif
#endif
