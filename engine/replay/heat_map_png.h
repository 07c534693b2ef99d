/* A table of counts as a PNG picture: one row per layer, one column per expert, dark where an
 * expert is rarely used. Shades are square roots of the counts over the largest, so that an expert
 * with a hundredth of the uses of the busiest is still seen (a tenth of full light). */
#ifndef MOERING_ENGINE_REPLAY_HEAT_MAP_PNG_H
#define MOERING_ENGINE_REPLAY_HEAT_MAP_PNG_H

#include <stdint.h>

#include "memory/base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* counts[rows][columns]; both at least 1. Replaces `path`. INVALID: more pixels than a picture may
 * have; NO_MEMORY; IO. */
enum status heat_map_png_write(const char *path, const uint64_t *counts, uint32_t rows,
                               uint32_t columns, struct error *error);

#ifdef __cplusplus
}
#endif
#endif
