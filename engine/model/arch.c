#include "engine/model/arch.h"

#include <string.h>

const struct arch_names arch_names_mlp = {
    .router = "mlp.gate.weight",
    .gate = "mlp.experts.%u.gate_proj.weight",
    .up = "mlp.experts.%u.up_proj.weight",
    .down = "mlp.experts.%u.down_proj.weight",
    .fused_gate_up = "mlp.experts.gate_up_proj",
    .fused_down = "mlp.experts.down_proj",
};

enum status arch_find(const struct checkpoint *checkpoint, const struct arch **out,
                      struct error *error)
{
    static const struct arch *const known[] = {&arch_qwen3_moe, &arch_qwen2_moe, &arch_olmoe,
                                               &arch_mixtral, &arch_granitemoe};
    const char *type = NULL;
    char shown[CHECKPOINT_KEY_BYTES];
    enum status status = checkpoint_string(checkpoint, "model_type", true, &type, error);
    if (status != STATUS_OK)
        return status;
    for (unsigned i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp(known[i]->name, type) == 0) {
            *out = known[i];
            return STATUS_OK;
        }
    return error_set(error, STATUS_UNSUPPORTED,
                     "%s: %s \"%s\" is not supported "
                     "(qwen3_moe, qwen2_moe, olmoe, mixtral and granitemoe are)",
                     checkpoint_path(checkpoint),
                     checkpoint_key_shown(checkpoint, "model_type", shown), type);
}
