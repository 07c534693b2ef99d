/* The architectures we serve, one const table entry and one file each. They share the pre-norm
 * decoder (transformer.c) and differ in what this table says: names, routing, q/k norms. */
#ifndef MOERING_ENGINE_MODEL_ARCH_H
#define MOERING_ENGINE_MODEL_ARCH_H

#include "engine/model/hparams.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Tensor names after "model.layers.N."; experts after that: ".E." is replaced by the number. Beside
 * these every architecture has GGUF's stacked spelling (expert_parts.h). */
struct arch_names {
    const char *router;             /* "mlp.gate.weight" */
    const char *gate, *up, *down;   /* "mlp.experts.%u.gate_proj.weight" */
    const char *fused_gate_up;      /* "mlp.experts.gate_up_proj": [E][2f][h], gate first */
    const char *fused_down;         /* "mlp.experts.down_proj": [E][h][f] */
    bool fused_at_home;             /* folders have them fused: what is missing is one of those */
};

struct arch {
    const char *name;               /* "qwen3_moe": model_type of config.json */
    const struct arch_names *names;
    /* Fills what hparams_read left open: experts, routing, q/k norm, window. */
    enum status (*read)(const struct checkpoint *checkpoint, struct hparams *hparams,
                        struct error *error);
};

/* The spelling that most families share. */
extern const struct arch_names arch_names_mlp;

extern const struct arch arch_qwen3_moe, arch_qwen2_moe, arch_olmoe, arch_mixtral, arch_granitemoe;

/* By model_type. UNSUPPORTED: names the type and those we know. */
enum status arch_find(const struct checkpoint *checkpoint, const struct arch **out,
                      struct error *error);

#ifdef __cplusplus
}
#endif
#endif
