/* GraniteMoE: grouped-query attention without q/k norms, routing C (top-k of the logits, softmax
 * over these), and four numbers: the embedding times embedding_multiplier, q.k times
 * attention_multiplier in the place of 1/sqrt(head_dim), both branches times residual_multiplier
 * before they are added, the logits divided by logits_scaling. Experts are stored fused, gate half
 * first. */
#include "engine/model/arch.h"

static enum status read_multipliers(const struct checkpoint *c, struct hparams *out,
                                    struct error *error)
{
    double divisor = 1;
    const struct {
        const char *key;
        float *field;
    } multipliers[] = {{"embedding_multiplier", &out->embedding_scale},
                       {"attention_multiplier", &out->attention_scale},
                       {"residual_multiplier", &out->residual_scale}};
    enum status status;
    for (unsigned i = 0; i < sizeof multipliers / sizeof multipliers[0]; i++) {
        double value = 1;
        status = checkpoint_f64(c, multipliers[i].key, true, 1e-6, 1e6, &value, error);
        if (status != STATUS_OK)
            return status;
        *multipliers[i].field = (float)value;
    }
    status = checkpoint_f64(c, "logits_scaling", true, 1e-6, 1e6, &divisor, error);
    out->logits_scale = (float)(1 / divisor);
    return status;
}

static enum status read(const struct checkpoint *c, struct hparams *out, struct error *error)
{
    enum status status =
        hparams_read_experts(c, "num_local_experts", "intermediate_size", out, error);
    if (status == STATUS_OK)
        status = read_multipliers(c, out, error);
    if (status != STATUS_OK)
        return status;
    out->router.kind = ROUTER_TOPK_SOFTMAX;
    out->router.weight_scale = out->residual_scale;
    out->qk_norm = QK_NORM_NONE;
    return STATUS_OK;
}

static const struct arch_names names = {
    .router = "block_sparse_moe.router.layer.weight",
    .gate = "mlp.experts.%u.gate_proj.weight", /* of GGUF files with experts one by one */
    .up = "mlp.experts.%u.up_proj.weight",
    .down = "mlp.experts.%u.down_proj.weight",
    .fused_at_home = true,
    .fused_gate_up = "block_sparse_moe.input_linear.weight",
    .fused_down = "block_sparse_moe.output_linear.weight",
};

const struct arch arch_granitemoe = {
    .name = "granitemoe",
    .names = &names,
    .read = read,
};
