#include "engine/model/hparams.h"

#include <math.h>
#include <string.h>

#include "memory/base/check.h"

#define TRY(call)                                                                                  \
    do {                                                                                           \
        enum status try_status = (call);                                                           \
        if (try_status != STATUS_OK)                                                               \
            return try_status;                                                                     \
    } while (0)

/* A key that may be absent keeps what `out` holds. */
#define TRY_OPTIONAL(call)                                                                         \
    do {                                                                                           \
        enum status try_status = (call);                                                           \
        if (try_status != STATUS_OK && try_status != STATUS_NOT_FOUND)                             \
            return try_status;                                                                     \
    } while (0)

enum { SIZE_MAX_SANE = 1 << 20, VOCAB_MAX_SANE = 1 << 24 };

/* rope_theta stands alone in older files and inside rope_parameters in newer ones. */
static enum status read_rope(const struct checkpoint *c, struct hparams *out, struct error *error)
{
    static const char *const scalings[] = {"rope_scaling", "rope_parameters"};
    char shown[CHECKPOINT_KEY_BYTES];
    for (int i = 0; i < 2; i++) {
        const char *type = NULL;
        char key[64];
        static const char *const spellings[] = {"rope_type", "type"};
        for (int s = 0; s < 2 && !type; s++) {
            strcpy(key, scalings[i]);
            strcat(strcat(key, "."), spellings[s]);
            TRY_OPTIONAL(checkpoint_string(c, key, false, &type, error));
        }
        if (!type && i == 0 && checkpoint_has(c, scalings[i]))
            return error_set(error, STATUS_UNSUPPORTED,
                             "%s: %s without a rope_type is not supported", checkpoint_path(c),
                             checkpoint_key_shown(c, scalings[i], shown));
        if (type && strcmp(type, "default") != 0)
            return error_set(error, STATUS_UNSUPPORTED, "%s: %s \"%s\" is not supported",
                             checkpoint_path(c), checkpoint_key_shown(c, key, shown), type);
    }
    const char *key = checkpoint_has(c, "rope_parameters.rope_theta") ? "rope_parameters.rope_theta"
                                                                      : "rope_theta";
    return checkpoint_f64(c, key, true, 1, 1e12, &out->rope_theta, error);
}

static enum status refuse_unless(const struct checkpoint *c, const char *key, const char *want,
                                 struct error *error)
{
    char shown[CHECKPOINT_KEY_BYTES];
    const char *value = NULL;
    TRY(checkpoint_string(c, key, true, &value, error));
    if (strcmp(value, want) != 0)
        return error_set(error, STATUS_UNSUPPORTED,
                         "%s: %s \"%s\" is not supported (only \"%s\" is)", checkpoint_path(c),
                         checkpoint_key_shown(c, key, shown), value, want);
    return STATUS_OK;
}

static enum status read_heads(const struct checkpoint *c, struct hparams *out, struct error *error)
{
    char shown[CHECKPOINT_KEY_BYTES], other[CHECKPOINT_KEY_BYTES];
    TRY(checkpoint_u32(c, "num_attention_heads", true, 1, 4096, &out->heads, error));
    out->kv_heads = out->heads;
    TRY_OPTIONAL(checkpoint_u32(c, "num_key_value_heads", false, 1, out->heads, &out->kv_heads,
                                error));
    if (out->heads % out->kv_heads != 0)
        return error_set(error, STATUS_INVALID, "%s: %s %u is not a multiple of %s %u",
                         checkpoint_path(c), checkpoint_key_shown(c, "num_attention_heads", shown),
                         out->heads, checkpoint_key_shown(c, "num_key_value_heads", other),
                         out->kv_heads);
    out->head_dim = out->hidden / out->heads;
    TRY_OPTIONAL(checkpoint_u32(c, "head_dim", false, 2, 1024, &out->head_dim, error));
    if (out->head_dim < 2 || out->head_dim % 2 != 0)
        return error_set(error, STATUS_INVALID, "%s: %s %u must be even and at least 2",
                         checkpoint_path(c), checkpoint_key_shown(c, "head_dim", shown),
                         out->head_dim);
    return STATUS_OK;
}

enum status hparams_read(const struct checkpoint *c, struct hparams *out, struct error *error)
{
    double eps = 0;
    memset(out, 0, sizeof *out);
    TRY(checkpoint_u32(c, "num_hidden_layers", true, 1, HPARAMS_LAYERS_MAX, &out->layers, error));
    TRY(checkpoint_u32(c, "hidden_size", true, 1, SIZE_MAX_SANE, &out->hidden, error));
    TRY(checkpoint_u32(c, "vocab_size", true, 1, VOCAB_MAX_SANE, &out->vocab, error));
    TRY(checkpoint_u32(c, "max_position_embeddings", true, 1, 1u << 24, &out->context, error));
    TRY(checkpoint_f64(c, "rms_norm_eps", true, 1e-12, 1, &eps, error));
    out->norm_eps = (float)eps;
    TRY(read_heads(c, out, error));
    TRY(read_rope(c, out, error));
    TRY(refuse_unless(c, "hidden_act", "silu", error));
    TRY_OPTIONAL(checkpoint_bool(c, "tie_word_embeddings", false, &out->tied_head, error));
    TRY_OPTIONAL(checkpoint_bool(c, "attention_bias", false, &out->attention_bias, error));
    out->output_bias = out->attention_bias;
    TRY_OPTIONAL(checkpoint_bool(c, "attention_output_bias", false, &out->output_bias, error));
    TRY_OPTIONAL(checkpoint_bool(c, "rope_interleaved", false, &out->rope_interleaved, error));
    out->embedding_scale = out->residual_scale = out->logits_scale = 1.0f;
    out->attention_scale = 1.0f / sqrtf((float)out->head_dim);
    return STATUS_OK;
}

enum status hparams_refuse_dense_layers(const struct checkpoint *c, struct error *error)
{
    uint32_t sparse_step = 1, dense_layer[HPARAMS_LAYERS_MAX], dense_layers = 0;
    TRY_OPTIONAL(checkpoint_u32(c, "decoder_sparse_step", false, 0, 1 << 20, &sparse_step, error));
    TRY_OPTIONAL(checkpoint_u32_list(c, "mlp_only_layers", dense_layer, HPARAMS_LAYERS_MAX,
                                     &dense_layers, error));
    if (sparse_step != 1 || dense_layers > 0)
        return error_set(
            error, STATUS_UNSUPPORTED,
            "%s: config.json: dense layers between expert layers (decoder_sparse_step, "
            "mlp_only_layers) are not supported",
            checkpoint_path(c));
    return STATUS_OK;
}

enum status hparams_refuse_windows(const struct checkpoint *c, struct error *error)
{
    char shown[CHECKPOINT_KEY_BYTES];
    bool windowed = false;
    TRY_OPTIONAL(checkpoint_bool(c, "use_sliding_window", false, &windowed, error));
    if (windowed)
        return error_set(error, STATUS_UNSUPPORTED, "%s: %s is not supported for this model_type",
                         checkpoint_path(c), checkpoint_key_shown(c, "use_sliding_window", shown));
    return STATUS_OK;
}

enum status hparams_read_experts(const struct checkpoint *c, const char *experts_key,
                                 const char *width_key, struct hparams *out, struct error *error)
{
    TRY(checkpoint_u32(c, experts_key, true, 1, 1 << 14, &out->experts, error));
    TRY(checkpoint_u32(c, width_key, true, 1, SIZE_MAX_SANE, &out->expert_width, error));
    out->router.experts = out->experts;
    return checkpoint_u32(c, "num_experts_per_tok", true, 1, out->experts, &out->router.top_k,
                          error);
}
