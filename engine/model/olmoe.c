/* OLMoE: multi-head attention with RMSNorms over all of q and all of k before the heads are split;
 * routing A (softmax over all experts, top-k, weights as they are) unless norm_topk_prob. */
#include "engine/model/arch.h"

static enum status read(const struct checkpoint *c, struct hparams *out, struct error *error)
{
    bool normalise = false;
    enum status status = hparams_read_experts(c, "num_experts", "intermediate_size", out, error);
    if (status == STATUS_OK)
        status = checkpoint_bool(c, "norm_topk_prob", true, &normalise, error);
    if (status != STATUS_OK)
        return status;
    if (checkpoint_has(c, "clip_qkv"))
        return error_set(error, STATUS_UNSUPPORTED,
                         "%s: config.json: clip_qkv is not supported (null is)",
                         checkpoint_path(c));
    out->router.kind = normalise ? ROUTER_SOFTMAX_NORM : ROUTER_SOFTMAX;
    out->qk_norm = QK_NORM_WHOLE;
    return STATUS_OK;
}

const struct arch arch_olmoe = {
    .name = "olmoe",
    .names = &arch_names_mlp,
    .read = read,
};
