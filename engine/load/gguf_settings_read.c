/* What the keys of a GGUF file mean in Hugging Face's words. Reads metadata and shapes of one
 * model, fills a list, keeps nothing. Defaults are those that the format's own writers count on
 * when they leave a key out (gguf_view.h says them): a value that belongs to a model is never made
 * up.
 *
 * The keys that change the computation without a tensor of their own (caps, scales, groups) are
 * checked to be neutral. Such a file would load and answer fluently without this, and be wrong. */
#include "engine/load/gguf_settings_store.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "engine/load/gguf_value.h"
#include "memory/base/check.h"

/* One pass over the model: after the first failure every step does nothing. */
struct reading {
    struct gguf_settings *settings;
    const struct gguf_split *split;
    const struct gguf *gguf; /* the first part: it has the metadata */
    const struct gguf_arch *arch;
    struct error *error;
    enum status status;
    char own[GGUF_OWN_KEY_BYTES]; /* key or tensor read last: where the next setting is from */
    uint32_t hidden, heads, head_dim, context, vocab;
};

/* ---- reading: true with a value ---- */

static const char *name_key(struct reading *r, const char *suffix)
{
    snprintf(r->own, sizeof r->own, "%s.%s", r->arch->name, suffix);
    return r->own;
}

/* Fails by itself unless the key was only absent. */
static bool took(struct reading *r, enum status status)
{
    if (status != STATUS_NOT_FOUND)
        r->status = status;
    return status == STATUS_OK;
}

static bool read_u32(struct reading *r, const char *suffix, bool need, uint32_t min, uint32_t *out)
{
    return r->status == STATUS_OK &&
           took(r, gguf_value_u32_uniform(r->gguf, name_key(r, suffix), need, min, UINT32_MAX, out,
                                          r->error));
}

static bool read_f64(struct reading *r, const char *suffix, bool need, double *out)
{
    return r->status == STATUS_OK &&
           took(r, gguf_value_f64(r->gguf, name_key(r, suffix), need, -FLT_MAX, FLT_MAX, out,
                                  r->error));
}

static bool read_bool(struct reading *r, const char *suffix, bool *out)
{
    return r->status == STATUS_OK &&
           took(r, gguf_value_bool(r->gguf, name_key(r, suffix), false, out, r->error));
}

static const struct checkpoint_tensor *find_tensor(const struct reading *r, const char *name)
{
    for (uint32_t p = 0; p < r->split->count; p++) {
        const struct gguf *gguf = r->split->parts[p].gguf;
        for (uint32_t i = 0; i < gguf->tensor_count; i++)
            if (strcmp(gguf->tensors[i].tensor.name, name) == 0)
                return &gguf->tensors[i].tensor;
    }
    return NULL;
}

/* The dimension `from_end` (1: the innermost) of the first of two tensors that there is; 0:
 * neither. */
static uint32_t shape_of(struct reading *r, const char *name, const char *or_name,
                         uint32_t from_end)
{
    const struct checkpoint_tensor *tensor = find_tensor(r, name);
    if (!tensor)
        tensor = find_tensor(r, name = or_name);
    if (!tensor || tensor->dims < from_end)
        return 0;
    snprintf(r->own, sizeof r->own, "%s", name);
    uint64_t n = tensor->dim[tensor->dims - from_end];
    return n > UINT32_MAX ? UINT32_MAX : (uint32_t)n;
}

/* ---- keeping ---- */

static struct gguf_setting *put(struct reading *r, const char *key, enum gguf_setting_type type)
{
    CHECK(r->settings->count < GGUF_SETTINGS_MAX);
    struct gguf_setting *setting = &r->settings->list[r->settings->count++];
    setting->key = key;
    setting->type = type;
    setting->count = 1;
    memcpy(setting->own_key, r->own, sizeof setting->own_key);
    return setting;
}

static void put_u32(struct reading *r, const char *key, uint32_t value)
{
    if (r->status != STATUS_OK)
        return;
    struct gguf_setting *setting = put(r, key, GGUF_SETTING_U32);
    setting->u32[0] = value;
    setting->f64 = value;
}

static void put_f64(struct reading *r, const char *key, double value)
{
    if (r->status == STATUS_OK)
        put(r, key, GGUF_SETTING_F64)->f64 = value;
}

static void put_bool(struct reading *r, const char *key, bool value)
{
    if (r->status == STATUS_OK)
        put(r, key, GGUF_SETTING_BOOL)->boolean = value;
}

static void put_string(struct reading *r, const char *key, const char *value)
{
    if (r->status == STATUS_OK)
        put(r, key, GGUF_SETTING_STRING)->string = value;
}

static void refuse(struct reading *r, const char *why)
{
    char shown[GGUF_VALUE_SHOWN_BYTES];
    const struct gguf_value *value = gguf_find(r->gguf, r->own);
    if (r->status == STATUS_OK)
        r->status = error_set(r->error, STATUS_UNSUPPORTED, "%s: \"%s\" is %s: %s", r->gguf->file,
                              r->own, value ? gguf_value_show(value, shown) : "missing", why);
}

/* ---- neutral or refused ---- */

static void need_neutral(struct reading *r, const char *suffix, double neutral, double or_neutral)
{
    double value;
    if (read_f64(r, suffix, false, &value) && value != neutral && value != or_neutral)
        refuse(r, "not supported for this architecture");
}

static void need_few(struct reading *r, const char *suffix, uint32_t max)
{
    uint32_t value;
    if (read_u32(r, suffix, false, 0, &value) && value > max)
        refuse(r, "not supported for this architecture");
}

static void need_bool(struct reading *r, const char *suffix, bool wanted)
{
    bool value;
    if (read_bool(r, suffix, &value) && value != wanted)
        refuse(r, "not supported for this architecture");
}

static bool read_text(struct reading *r, const char *suffix, struct gguf_string *out)
{
    return r->status == STATUS_OK &&
           took(r, gguf_value_string(r->gguf, name_key(r, suffix), false, out, r->error));
}

static bool is_text(struct gguf_string text, const char *wanted)
{
    return text.bytes == strlen(wanted) && memcmp(text.text, wanted, (size_t)text.bytes) == 0;
}

static void check_neutral(struct reading *r)
{
    static const char *const absent[] = {
        "attention.clamp_kqv", "attention.max_alibi_bias", "attn_logit_softcapping",
        "router_logit_softcapping", "final_logit_softcapping", "swiglu_clamp_exp",
    };
    for (size_t i = 0; i < sizeof absent / sizeof absent[0]; i++)
        need_neutral(r, absent[i], 0, 0);
    if (!r->arch->multipliers) {
        need_neutral(r, "logit_scale", 0, 1);
        need_neutral(r, "embedding_scale", 0, 1);
        need_neutral(r, "residual_scale", 0, 1);
        need_neutral(r, "attention.scale", 0, 0);
    }
    need_bool(r, "attention.causal", true);
    need_bool(r, "use_parallel_residual", false);
    need_few(r, "leading_dense_block_count", 0);
    need_few(r, "interleave_moe_layer_step", 1);
    need_few(r, "moe_every_n_layers", 1);
    need_few(r, "nextn_predict_layers", 0);
    struct gguf_string activation;
    if (read_text(r, "hidden_activation", &activation) && !is_text(activation, "silu"))
        refuse(r, "not supported");
}

/* Without a type the format's readers scale linearly by the factor. */
static void read_rope(struct reading *r)
{
    double theta = 10000;
    struct gguf_string type;
    if (read_text(r, "rope.scaling.type", &type) && !is_text(type, "none") &&
        !is_text(type, "linear")) /* by its factor, below */
        refuse(r, "scaled RoPE is not supported");
    need_neutral(r, "rope.scaling.factor", 0, 1);
    need_neutral(r, "rope.scale_linear", 0, 1);
    need_neutral(r, "rope.scaling.attn_factor", 0, 1);
    if (r->arch->multipliers) /* granite: false means no RoPE at all */
        need_bool(r, "rope.scaling.finetuned", true);
    read_f64(r, "rope.freq_base", false, &theta);
    put_f64(r, "rope_theta", theta);
    snprintf(r->own, sizeof r->own, "general.architecture");
    put_bool(r, "rope_interleaved", r->arch->interleaved);
}

/* ---- what a model is ---- */

static void read_sizes(struct reading *r)
{
    uint32_t layers = 0;
    double eps = 0;
    read_u32(r, "block_count", true, 1, &layers);
    put_u32(r, "num_hidden_layers", layers);
    read_u32(r, "embedding_length", true, 1, &r->hidden);
    put_u32(r, "hidden_size", r->hidden);
    read_u32(r, "context_length", true, 1, &r->context);
    put_u32(r, "max_position_embeddings", r->context);
    read_f64(r, "attention.layer_norm_rms_epsilon", true, &eps);
    put_f64(r, "rms_norm_eps", eps);
    if (r->status != STATUS_OK)
        return;
    r->vocab = shape_of(r, "token_embd.weight", "token_embd.weight", 2);
    if (r->vocab == 0)
        r->status = error_set(r->error, STATUS_INVALID,
                              "%s: tensor \"token_embd.weight\" is missing or no matrix",
                              r->gguf->file);
    put_u32(r, "vocab_size", r->vocab);
}

static void read_heads(struct reading *r)
{
    uint32_t kv_heads, same;
    read_u32(r, "attention.head_count", true, 1, &r->heads);
    put_u32(r, "num_attention_heads", r->heads);
    kv_heads = r->heads;
    read_u32(r, "attention.head_count_kv", false, 1, &kv_heads);
    put_u32(r, "num_key_value_heads", kv_heads);
    if (r->status != STATUS_OK)
        return;
    r->head_dim = r->hidden / r->heads;
    read_u32(r, "attention.key_length", false, 1, &r->head_dim);
    put_u32(r, "head_dim", r->head_dim);
    if (read_u32(r, "attention.value_length", false, 1, &same) && same != r->head_dim)
        refuse(r, "keys and values of different lengths are not supported");
    if (read_u32(r, "rope.dimension_count", false, 1, &same) && same != r->head_dim)
        refuse(r, "RoPE on a part of a head is not supported");
}

static void read_routing(struct reading *r)
{
    uint32_t gating = 0;
    bool normalised = r->arch->normalised;
    if (read_bool(r, "expert_weights_norm", &normalised) && r->arch->normalised_only && !normalised)
        refuse(r, "not supported for this architecture");
    snprintf(r->own, sizeof r->own, "%s.expert_weights_norm", r->arch->name);
    put_bool(r, "norm_topk_prob", normalised);
    /* 1: softmax, 3: softmax of the chosen, which normalised weights are in any case. */
    if (read_u32(r, "expert_gating_func", false, 0, &gating) && gating > 1 &&
        !(gating == 3 && normalised))
        refuse(r, "only softmax (1) is supported for this architecture");
    need_neutral(r, "expert_weights_scale", 0, 1);
    need_few(r, "expert_group_count", 1);
}

static void read_experts(struct reading *r)
{
    uint32_t experts = 0, used = 0, width = 0;
    if (!read_u32(r, "expert_count", false, 0, &experts) || experts == 0)
        refuse(r, "a model without experts is not supported");
    put_u32(r, "num_experts", experts);
    put_u32(r, "num_local_experts", experts);
    read_u32(r, "expert_used_count", true, 1, &used);
    put_u32(r, "num_experts_per_tok", used);
    if (r->status != STATUS_OK)
        return;
    if (!read_u32(r, "expert_feed_forward_length", false, 0, &width) || width == 0)
        width = shape_of(r, "blk.0.ffn_down_exps.weight", "blk.0.ffn_down.0.weight", 1);
    if (r->status == STATUS_OK && width == 0)
        r->status = error_set(r->error, STATUS_INVALID,
                              "%s: tensor \"blk.0.ffn_down_exps.weight\" is missing",
                              r->gguf->file);
    put_u32(r, r->arch->width_key, width);
    if (!r->arch->shared_expert) {
        need_few(r, "expert_shared_feed_forward_length", 0);
        need_few(r, "expert_shared_count", 0);
        return;
    }
    width = 0;
    if (!read_u32(r, "expert_shared_feed_forward_length", false, 0, &width) || width == 0)
        width = shape_of(r, "blk.0.ffn_down_shexp.weight", "blk.0.ffn_down_shexp.weight", 1);
    if (width > 0)
        put_u32(r, "shared_expert_intermediate_size", width);
}

static void read_window(struct reading *r)
{
    uint32_t window;
    if (!read_u32(r, "attention.sliding_window", false, 0, &window) || window == 0)
        return;
    if (r->arch->windowed)
        put_u32(r, "sliding_window", window);
    else if (window < r->context)
        refuse(r, "not supported for this architecture");
}

/* Absent or 0 means that the model has no such multiplier. */
static void read_multiplier(struct reading *r, const char *suffix, const char *key, double without)
{
    double value = 0;
    read_f64(r, suffix, false, &value);
    put_f64(r, key, value != 0 ? value : without);
}

static void read_multipliers(struct reading *r)
{
    double scaling = 0;
    if (!r->arch->multipliers || r->status != STATUS_OK)
        return;
    read_multiplier(r, "embedding_scale", "embedding_multiplier", 1);
    read_multiplier(r, "attention.scale", "attention_multiplier", 1 / sqrt((double)r->head_dim));
    read_multiplier(r, "residual_scale", "residual_multiplier", 1);
    if (read_f64(r, "logit_scale", true, &scaling) && scaling == 0)
        refuse(r, "logits cannot be divided by it");
    put_f64(r, "logits_scaling", scaling);
}

static void put_presence(struct reading *r, const char *key, const char *tensor, bool wanted)
{
    snprintf(r->own, sizeof r->own, "%s", tensor);
    put_bool(r, key, (find_tensor(r, tensor) != NULL) == wanted);
}

/* ---- tokens ---- */

static void add_id(struct gguf_setting *to, uint32_t id)
{
    for (uint32_t i = 0; i < to->count; i++)
        if (to->u32[i] == id)
            return;
    if (to->count < GGUF_SETTING_LIST_MAX)
        to->u32[to->count++] = id;
}

/* -1, unsigned or not, means none. */
static void read_id(struct reading *r, const char *own_key, struct gguf_setting *to)
{
    uint32_t id;
    const struct gguf_value *value = gguf_find(r->gguf, own_key);
    if (r->status != STATUS_OK || !value ||
        (value->type == GGUF_I32 && !value->is_array && *(const int32_t *)value->numbers == -1))
        return;
    r->status = gguf_value_u32(r->gguf, own_key, true, 0, UINT32_MAX, &id, r->error);
    if (r->status != STATUS_OK || id == UINT32_MAX)
        return;
    if (id >= r->vocab)
        r->status = error_set(r->error, STATUS_INVALID,
                              "%s: \"%s\" is %u, but the vocabulary has %u tokens", r->gguf->file,
                              own_key, id, r->vocab);
    if (to->count == 0)
        snprintf(r->own, sizeof r->own, "%s", own_key);
    add_id(to, id);
}

/* The keys have room for one token of a kind, but families end turns with one and texts with
 * another, and their base models know only the latter: control tokens of these spellings end
 * generation too. */
static void find_ends(struct reading *r, struct gguf_setting *to)
{
    static const char *const ends[] = {"<|endoftext|>", "<|im_end|>", "<|end_of_text|>"};
    enum { CONTROL = 3 };
    const struct gguf_string *tokens;
    const int32_t *types;
    uint64_t count, type_count;
    if (r->status != STATUS_OK ||
        !took(r, gguf_value_strings(r->gguf, "tokenizer.ggml.tokens", false, &tokens, &count,
                                    r->error)) ||
        !took(r, gguf_value_i32_array(r->gguf, "tokenizer.ggml.token_type", false, &types,
                                      &type_count, r->error)))
        return;
    for (uint64_t i = 0; i < count && i < type_count && i < r->vocab; i++)
        for (size_t e = 0; types[i] == CONTROL && e < sizeof ends / sizeof ends[0]; e++)
            if (is_text(tokens[i], ends[e]))
                add_id(to, (uint32_t)i);
}

static void put_ids(struct reading *r, const char *key, const struct gguf_setting *found)
{
    if (r->status != STATUS_OK || found->count == 0)
        return;
    struct gguf_setting *setting = put(r, key, GGUF_SETTING_U32);
    memcpy(setting->u32, found->u32, sizeof found->u32);
    setting->count = found->count;
    setting->f64 = found->u32[0];
}

static void read_tokens(struct reading *r)
{
    struct gguf_setting bos = {.count = 0}, eos = {.count = 0};
    read_id(r, "tokenizer.ggml.bos_token_id", &bos);
    put_ids(r, "bos_token_id", &bos);
    snprintf(r->own, sizeof r->own, "tokenizer.ggml.tokens");
    read_id(r, "tokenizer.ggml.eos_token_id", &eos);
    read_id(r, "tokenizer.ggml.eot_token_id", &eos);
    read_id(r, "tokenizer.ggml.eom_token_id", &eos);
    find_ends(r, &eos);
    put_ids(r, "eos_token_id", &eos);
}

enum status gguf_settings_read(struct gguf_settings *settings, const struct gguf_split *split,
                               const struct gguf_arch *arch, struct error *error)
{
    struct reading r = {.settings = settings, .split = split, .gguf = split->parts[0].gguf,
                        .arch = arch, .error = error, .status = STATUS_OK};
    snprintf(r.own, sizeof r.own, "general.architecture");
    put_string(&r, "model_type", arch->model_type);
    put_string(&r, "hidden_act", "silu");
    read_experts(&r); /* first: a dense model of a known name is told so */
    read_sizes(&r);
    read_heads(&r);
    read_rope(&r);
    read_routing(&r);
    read_window(&r);
    read_multipliers(&r);
    put_presence(&r, "tie_word_embeddings", "output.weight", false);
    put_presence(&r, "attention_bias", "blk.0.attn_q.bias", true);
    put_presence(&r, "attention_output_bias", "blk.0.attn_output.bias", true);
    check_neutral(&r);
    read_tokens(&r);
    return r.status;
}
