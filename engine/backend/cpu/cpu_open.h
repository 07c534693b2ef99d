/* Opening the CPU backend: the part of cpu/ that the rest of the engine sees, through backend.h. */
#ifndef MOERING_ENGINE_BACKEND_CPU_CPU_OPEN_H
#define MOERING_ENGINE_BACKEND_CPU_CPU_OPEN_H

#include <stdbool.h>
#include <stdint.h>

#include "memory/base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

struct backend;

/* A machine has those of its architecture only; of them the last it can run is the best. */
enum cpu_isa {
    CPU_SCALAR,
    CPU_AVX2,
    CPU_AVX512,
    CPU_NEON,
    CPU_ISA_COUNT,
    CPU_BEST = CPU_ISA_COUNT
};

struct cpu_backend_config {
    uint32_t threads;          /* 0: as many as the process may use */
    enum cpu_isa isa;          /* CPU_BEST: the best this machine has */
    uint32_t expert_width_max; /* largest f; sizes scratch */
    uint32_t context_max;      /* longest sequence: a position beyond it is a caller's bug */
    uint32_t rows_max;         /* rows in one call at most */
    uint32_t cols_max;         /* longest row of any matrix: sizes the scratch for quantised rows */
    uint32_t experts_max;      /* in one call of `experts`; 0: 1 */
    bool exact;                /* multiply block formats with f32 activations, not with 8 bits */
};

/* UNSUPPORTED: this machine lacks the instruction set; NO_MEMORY. */
enum status cpu_backend_open(struct backend **out, const struct cpu_backend_config *config,
                             struct error *error);
/* What open allocates for such a configuration, threads' stacks aside; for the budget. */
uint64_t cpu_backend_bytes(const struct cpu_backend_config *config);
const char *cpu_isa_name(enum cpu_isa isa); /* "scalar", "avx2", "avx512", "neon" */
bool cpu_isa_parse(const char *name, enum cpu_isa *out); /* also "auto" */
enum cpu_isa cpu_backend_isa(const struct backend *b);
uint32_t cpu_backend_threads(const struct backend *b);

#ifdef __cplusplus
}
#endif
#endif
