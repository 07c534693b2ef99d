/* Qwen1.5-MoE and Qwen2-MoE: biases on q, k and v and none on o, no q/k norms; routing A (softmax
 * over all experts, top-k, weights as they are) unless norm_topk_prob; beside the routed experts
 * one that every token passes through, weighted by the sigmoid of a gate of its own. */
#include "engine/model/arch.h"

static bool failed(enum status status)
{
    return status != STATUS_OK && status != STATUS_NOT_FOUND;
}

/* Published files say nothing of the bias: it is there. Newer ones have qkv_bias, a GGUF file is
 * asked for the tensors themselves. */
static enum status read_bias(const struct checkpoint *c, struct hparams *out, struct error *error)
{
    enum status status = STATUS_OK;
    if (!checkpoint_has(c, "attention_bias")) {
        out->attention_bias = true;
        status = checkpoint_bool(c, "qkv_bias", false, &out->attention_bias, error);
    }
    if (!checkpoint_has(c, "attention_output_bias"))
        out->output_bias = false;
    return status;
}

static enum status read(const struct checkpoint *c, struct hparams *out, struct error *error)
{
    bool normalise = false;
    bool renamed = !checkpoint_has(c, "num_experts") && checkpoint_has(c, "num_local_experts");
    enum status status = hparams_read_experts(c, renamed ? "num_local_experts" : "num_experts",
                                              "moe_intermediate_size", out, error);
    if (status == STATUS_OK)
        status = checkpoint_u32(c, "shared_expert_intermediate_size", true, 1, 1 << 20,
                                &out->shared_width, error);
    if (status == STATUS_OK)
        status = checkpoint_bool(c, "norm_topk_prob", false, &normalise, error);
    if (!failed(status))
        status = hparams_refuse_dense_layers(c, error);
    if (!failed(status))
        status = hparams_refuse_windows(c, error);
    if (!failed(status))
        status = read_bias(c, out, error);
    if (failed(status))
        return status;
    out->router.kind = normalise ? ROUTER_SOFTMAX_NORM : ROUTER_SOFTMAX;
    out->qk_norm = QK_NORM_NONE;
    return STATUS_OK;
}

const struct arch arch_qwen2_moe = {
    .name = "qwen2_moe",
    .names = &arch_names_mlp,
    .read = read,
};
