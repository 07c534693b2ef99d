/* From the hidden states of a step to tokens: logits of the rows that are wanted, drawn from on the
 * device where it can (a number each comes over) and by sampler.h here where it cannot (biases,
 * penalties, log-probabilities, ids that are banned or masked). And from them to what the model
 * says of tokens that are known already. Engine thread. */
#ifndef MOERING_ENGINE_STEP_SAMPLER_H
#define MOERING_ENGINE_STEP_SAMPLER_H

#include "engine/engine.h"
#include "engine/model/transformer.h"

#ifdef __cplusplus
extern "C" {
#endif

struct step_sampler {
    struct transformer *transformer; /* borrowed */
    uint32_t items_max, vocab;
    float *logits;                   /* [items_max][vocab] of the items, or of rows being scored */
    struct sampler_candidate *candidates; /* [vocab] */
    struct draw *draws;              /* [items_max] what the device draws by, */
    uint32_t *drawn_item, *drawn;    /* for which items, and what it drew; of `rows` */
    uint32_t *rows;                  /* [items_max] of one call of the transformer */
    uint32_t *row_of;                /* [items_max] of an item; of `rows` too */
};

enum status step_sampler_open(struct step_sampler *s, struct transformer *transformer,
                              uint32_t items_max, uint32_t vocab, struct error *error);
void step_sampler_close(struct step_sampler *s); /* accepts a zeroed one */

/* All positions of one item, whose rows begin at first_row, to item->logits. */
void step_sampler_logits(struct step_sampler *s, const struct step_item *item, uint32_t first_row);
/* What one item, whose rows begin at first_row, asked to have scored, to item->scored. INTERNAL:
 * the model's logits are no numbers. */
enum status step_sampler_score(struct step_sampler *s, const struct step_item *item,
                               uint32_t first_row, struct error *error);
/* One draw for every item that has caught up, wants a token and has not failed: its token, or why
 * there is none. */
void step_sampler_draw(struct step_sampler *s, const struct step_item *items, uint32_t count,
                       struct step_output *outputs, struct error *error);

#ifdef __cplusplus
}
#endif
#endif
