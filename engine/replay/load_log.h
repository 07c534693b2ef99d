/* A load log in memory: how many tokens each expert of each layer got, tick by tick.
 *
 * A text file with one JSON object per line and (tick, phase, layer):
 *
 *     {"tick": 0, "phase": "train", "layer": 0, "tokens": 24576, "counts": [812, 790, ...]}
 *
 * `tokens` are routed tokens (a token that chose four experts counts four times), so it is the sum
 * of `counts` and at least 1: a share of nothing is not defined. All lines have the same number of
 * counts. Phases ("prefill", "decode", "train") are told apart by name and have nothing in common
 * but the sizes of the model. Within a phase every tick has a line for every layer, in any order
 * and anywhere in the file; tick numbers may skip. Fields we do not know are passed over. Empty
 * lines too.
 *
 * The whole file is read and checked; it takes at most about eight times its length while doing so.
 * Read-only afterwards: any thread. */
#ifndef MOERING_ENGINE_REPLAY_LOAD_LOG_H
#define MOERING_ENGINE_REPLAY_LOAD_LOG_H

#include <stddef.h>
#include <stdint.h>

#include "memory/base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

#define LOAD_LOG_BYTES_MAX ((uint64_t)1 << 30)
#define LOAD_LOG_LAYERS_MAX 1024u
#define LOAD_LOG_EXPERTS_MAX 4096u
#define LOAD_LOG_PHASES_MAX 8u
#define LOAD_LOG_PHASE_BYTES 32u /* of a name with its NUL */

struct load_log_phase {
    char name[LOAD_LOG_PHASE_BYTES];
    uint32_t ticks;          /* >= 1 */
    const uint64_t *tick;    /* [ticks] their numbers, ascending */
    const uint32_t *tokens;  /* [ticks][layers] >= 1 */
    const uint32_t *counts;  /* [ticks][layers][experts], summing to tokens */
};

struct load_log {
    uint32_t layers, experts;
    uint32_t phase_count;                              /* >= 1 */
    struct load_log_phase phases[LOAD_LOG_PHASES_MAX]; /* in the order of their first lines */
};

/* `file`: its name in errors, which also name the line and the field. INVALID, NO_MEMORY. */
enum status load_log_parse(struct load_log **out, const char *file, const char *text, size_t bytes,
                           struct error *error);
/* The same from a file. Also NOT_FOUND, IO. */
enum status load_log_read(struct load_log **out, const char *path, struct error *error);
void load_log_close(struct load_log *log); /* accepts NULL */

/* The phase of this name, or of all the one with most ticks if it is NULL. NULL: none has it. */
const struct load_log_phase *load_log_find(const struct load_log *log, const char *name);
/* share[ticks][layers][experts] of a phase of this log: counts / tokens. */
void load_log_shares(const struct load_log *log, const struct load_log_phase *phase, float *share);

#ifdef __cplusplus
}
#endif
#endif
