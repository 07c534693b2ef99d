/* Which pages to bring before they are asked for.
 *
 * Interface for predictors to come; today's guess is the plainest that has any truth in it: a layer
 * will want what it wanted last time. Pure: it remembers the last round's experts of each layer and
 * answers with candidates for the layers ahead, nearest first. */
#ifndef MOERING_ENGINE_PAGING_PREFETCH_H
#define MOERING_ENGINE_PAGING_PREFETCH_H

#include <stdint.h>

#include "memory/base/status.h"
#include "memory/page.h"

#ifdef __cplusplus
extern "C" {
#endif

struct prefetch;

/* `ahead`: how many layers after the running one are looked at. */
enum status prefetch_open(struct prefetch **out, uint32_t layers, uint32_t experts, uint32_t ahead,
                          struct error *error);
void prefetch_close(struct prefetch *prefetch); /* accepts NULL */
/* What really happened: the distinct experts that `layer` used in this step. */
void prefetch_observe(struct prefetch *prefetch, uint32_t layer, const uint32_t *experts,
                      uint32_t count);
/* The candidates while `layer` runs, best first; returns how many (<= max). A layer whose last
 * batch touched more than half of its experts (prefill) is not guessed at. */
uint32_t prefetch_candidates(const struct prefetch *prefetch, uint32_t layer, page_id *pages,
                             uint32_t max);

#ifdef __cplusplus
}
#endif
#endif
