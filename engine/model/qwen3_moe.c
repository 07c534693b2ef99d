/* Qwen3-MoE: grouped-query attention with an RMSNorm on each head of q and k; routing B (softmax
 * over all experts, top-k, divided by their sum) unless norm_topk_prob says otherwise. */
#include "engine/model/arch.h"

static enum status read(const struct checkpoint *c, struct hparams *out, struct error *error)
{
    bool normalise = false;
    /* Newer files spell it the second way. */
    bool renamed = !checkpoint_has(c, "num_experts") && checkpoint_has(c, "num_local_experts");
    enum status status = hparams_read_experts(c, renamed ? "num_local_experts" : "num_experts",
                                              "moe_intermediate_size", out, error);
    if (status == STATUS_OK)
        status = checkpoint_bool(c, "norm_topk_prob", true, &normalise, error);
    if (status == STATUS_OK)
        status = hparams_refuse_dense_layers(c, error);
    if (status == STATUS_OK)
        status = hparams_refuse_windows(c, error);
    if (status != STATUS_OK)
        return status;
    out->router.kind = normalise ? ROUTER_SOFTMAX_NORM : ROUTER_SOFTMAX;
    out->qk_norm = QK_NORM_HEAD;
    return STATUS_OK;
}

const struct arch arch_qwen3_moe = {
    .name = "qwen3_moe",
    .names = &arch_names_mlp,
    .read = read,
};
