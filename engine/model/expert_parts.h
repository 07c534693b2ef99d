/* Where the three matrices of an expert lie in the files, in whatever form the checkpoint has them:
 *
 *     one by one   names->gate, up, down with the expert's number            [f][h], [f][h], [h][f]
 *     fused        names->fused_gate_up, gate half first; names->fused_down  [E][2f][h], [E][h][f]
 *     stacked      mlp.experts.{gate,up,down}_proj.weight, as GGUF files     [E][f][h], [E][h][f]
 *
 * A layer's form is that of its gate matrices; a fused gate and up may go with a stacked down. An
 * expert is contiguous in each, so it is at most three reads. Pure: asks the checkpoint's table. */
#ifndef MOERING_ENGINE_MODEL_EXPERT_PARTS_H
#define MOERING_ENGINE_MODEL_EXPERT_PARTS_H

#include "engine/model/arch.h"
#include "memory/page.h"

#ifdef __cplusplus
extern "C" {
#endif

enum expert_part { EXPERT_GATE, EXPERT_UP, EXPERT_DOWN, EXPERT_PARTS };

struct expert_parts {
    struct page_part part[EXPERT_PARTS]; /* file, offset, bytes */
    enum dtype dtype[EXPERT_PARTS];      /* in the file */
    uint32_t rows[EXPERT_PARTS], cols[EXPERT_PARTS];
    const char *name;                    /* of the tensor that gate lies in, for sentences */
};

/* NOT_FOUND, UNSUPPORTED, INVALID: as checkpoint_need, or a matrix whose rows are no whole
 * blocks. */
enum status expert_parts_find(const struct checkpoint *checkpoint, const struct arch *arch,
                              const struct hparams *hparams, uint32_t layer, uint32_t expert,
                              struct expert_parts *out, struct error *error);

#ifdef __cplusplus
}
#endif
#endif
