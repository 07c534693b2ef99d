/* The rows of one step: flat arrays, sized once, filled anew each step by the engine thread.
 *
 * Rows of one item (a sequence's part of the step) are neighbours and in order of position. */
#ifndef MOERING_ENGINE_BATCH_BATCH_H
#define MOERING_ENGINE_BATCH_BATCH_H

#include "engine/backend/backend.h"
#include "engine/paging/usage.h"

#ifdef __cplusplus
extern "C" {
#endif

struct batch {
    uint32_t rows_max, items_max;
    uint32_t rows;
    uint32_t items;
    uint32_t *tokens;           /* [rows] */
    struct row_place *places;   /* [rows] */
    uint32_t *item;             /* [rows] item of each row, ascending */
    struct expert_usage *usage; /* [items] filled by the layers */
    bool *failed;               /* [items] wants a page that could not be read; of the layers too */
};

enum status batch_open(struct batch *batch, uint32_t rows_max, uint32_t items_max,
                       struct error *error);
void batch_close(struct batch *batch);
void batch_reset(struct batch *batch);
/* Adds an item: `count` tokens that follow `position` positions already in its KV blocks. CHECKs
 * room. */
void batch_add(struct batch *batch, const uint32_t *tokens, uint32_t count, uint32_t position,
               const uint32_t *blocks);

#ifdef __cplusplus
}
#endif
#endif
