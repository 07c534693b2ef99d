/* Qwen3-MoE: grouped-query attention with an RMSNorm on each head of q and k; routing B (softmax
 * over all experts, top-k, divided by their sum) unless norm_topk_prob says otherwise. */
#include "engine/model/arch.h"

static enum status read(const struct checkpoint *c, struct hparams *out, struct error *error)
{
    bool normalise = false, windowed = false;
    uint32_t sparse_step = 1, dense_layer[HPARAMS_LAYERS_MAX], dense_layers = 0;
    /* Newer files spell it the second way. */
    bool renamed = !checkpoint_has(c, "num_experts") && checkpoint_has(c, "num_local_experts");
    enum status status = hparams_read_experts(c, renamed ? "num_local_experts" : "num_experts",
                                              "moe_intermediate_size", out, error);
    if (status == STATUS_OK)
        status = checkpoint_bool(c, "norm_topk_prob", true, &normalise, error);
    if (status == STATUS_OK)
        status = checkpoint_u32(c, "decoder_sparse_step", false, 0, 1 << 20, &sparse_step, error);
    if (status == STATUS_OK || status == STATUS_NOT_FOUND)
        status = checkpoint_bool(c, "use_sliding_window", false, &windowed, error);
    if (status == STATUS_OK || status == STATUS_NOT_FOUND)
        status = checkpoint_u32_list(c, "mlp_only_layers", dense_layer, HPARAMS_LAYERS_MAX,
                                     &dense_layers, error);
    if (status != STATUS_OK && status != STATUS_NOT_FOUND)
        return status;
    if (sparse_step != 1 || dense_layers > 0)
        return error_set(
            error, STATUS_UNSUPPORTED,
            "%s: config.json: dense layers between expert layers (decoder_sparse_step, "
            "mlp_only_layers) are not supported",
            checkpoint_path(c));
    if (windowed)
        return error_set(error, STATUS_UNSUPPORTED,
                         "%s: config.json: use_sliding_window is not supported for this model_type",
                         checkpoint_path(c));
    out->router.kind = normalise ? ROUTER_SOFTMAX_NORM : ROUTER_SOFTMAX;
    out->qk_norm = QK_NORM_HEAD;
    return STATUS_OK;
}

const struct arch arch_qwen3_moe = {
    .name = "qwen3_moe",
    .names = &arch_names_mlp,
    .read = read,
};
