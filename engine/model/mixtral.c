/* Mixtral: grouped-query attention without q/k norms; routing C (top-k of the logits, softmax over
 * these); in the files w1 is gate, w3 is up and w2 is down. */
#include "engine/model/arch.h"

static enum status read(const struct checkpoint *c, struct hparams *out, struct error *error)
{
    enum status status =
        hparams_read_experts(c, "num_local_experts", "intermediate_size", out, error);
    if (status == STATUS_OK)
        status = checkpoint_u32(c, "sliding_window", false, 1, UINT32_MAX, &out->window, error);
    if (status != STATUS_OK && status != STATUS_NOT_FOUND)
        return status;
    out->router.kind = ROUTER_TOPK_SOFTMAX;
    out->qk_norm = QK_NORM_NONE;
    return STATUS_OK;
}

static const struct arch_names names = {
    .router = "block_sparse_moe.gate.weight",
    .gate = "block_sparse_moe.experts.%u.w1.weight",
    .up = "block_sparse_moe.experts.%u.w3.weight",
    .down = "block_sparse_moe.experts.%u.w2.weight",
    .fused_gate_up = "block_sparse_moe.experts.gate_up_proj",
    .fused_down = "block_sparse_moe.experts.down_proj",
};

const struct arch arch_mixtral = {
    .name = "mixtral",
    .names = &names,
    .read = read,
};
