/* What a GGUF file says before its weights. Keys of a GGUF source go over as they are, but for
 * those that speak of the file itself; for a folder they are made from the numbers that the model
 * was planned with, so that what was checked is what is written. */
#include "engine/model/convert_header.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/load/gguf_arch.h"
#include "engine/load/model_file.h"
#include "engine/model/arch.h"
#include "engine/model/gguf_tokenizer.h"
#include "memory/base/log.h"

#define TEXT_BYTES_MAX ((uint64_t)256 << 20)
#define QUANTIZATION_VERSION 2
#define EOS_MAX 8

/* Of general.file_type, which other readers print: the format of most matrices. */
static uint32_t file_type(const struct model_plan *plan)
{
    static const struct {
        enum dtype dtype;
        uint32_t number;
    } known[] = {{DTYPE_Q4_K, 15}, {DTYPE_Q4_0, 2}, {DTYPE_Q8_0, 7}, {DTYPE_F16, 1},
                 {DTYPE_BF16, 32}, {DTYPE_Q6_K, 18}, {DTYPE_Q5_K, 17}, {DTYPE_Q4_1, 3},
                 {DTYPE_Q5_0, 8},  {DTYPE_Q5_1, 9},  {DTYPE_Q3_K, 12}, {DTYPE_Q2_K, 10}};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (plan->expert_dtypes >> known[i].dtype & 1)
            return known[i].number;
    return 0;
}

static bool speaks_of_the_file(const struct gguf_value *value)
{
    static const char *const begins[] = {"general.alignment", "general.file_type",
                                         "general.quantization_version", "split.", "moering."};
    for (size_t i = 0; i < sizeof begins / sizeof begins[0]; i++)
        if (strncmp(value->key.text, begins[i], strlen(begins[i])) == 0)
            return true;
    return false;
}

/* ---- of a folder ---- */

struct header {
    struct gguf_writer *writer;
    const char *arch;
};

/* "ARCH.rest" */
static const char *key(const struct header *h, const char *rest, char out[128])
{
    snprintf(out, 128, "%s.%s", h->arch, rest);
    return out;
}

static void put_u32(const struct header *h, const char *rest, uint32_t value)
{
    char name[128];
    gguf_writer_u32(h->writer, key(h, rest, name), value);
}

static void put_f32(const struct header *h, const char *rest, double value)
{
    char name[128];
    gguf_writer_f32(h->writer, key(h, rest, name), (float)value);
}

static void put_numbers(const struct header *h, const struct gguf_arch *arch,
                        const struct hparams *p)
{
    put_u32(h, "block_count", p->layers);
    put_u32(h, "context_length", p->context);
    put_u32(h, "embedding_length", p->hidden);
    put_u32(h, "feed_forward_length", p->expert_width);
    put_u32(h, "attention.head_count", p->heads);
    put_u32(h, "attention.head_count_kv", p->kv_heads);
    put_u32(h, "attention.key_length", p->head_dim);
    put_u32(h, "attention.value_length", p->head_dim);
    put_f32(h, "attention.layer_norm_rms_epsilon", p->norm_eps);
    put_u32(h, "rope.dimension_count", p->head_dim);
    put_f32(h, "rope.freq_base", p->rope_theta);
    put_u32(h, "vocab_size", p->vocab);
    put_u32(h, "expert_count", p->experts);
    put_u32(h, "expert_used_count", p->router.top_k);
    put_u32(h, "expert_feed_forward_length", p->expert_width);
    if (p->shared_width)
        put_u32(h, "expert_shared_feed_forward_length", p->shared_width);
    if (p->window)
        put_u32(h, "attention.sliding_window", p->window);
    if (!arch->normalised_only) {
        char name[128];
        gguf_writer_bool(h->writer, key(h, "expert_weights_norm", name),
                         p->router.kind == ROUTER_SOFTMAX_NORM);
    }
    if (arch->multipliers) {
        put_f32(h, "embedding_scale", p->embedding_scale);
        put_f32(h, "attention.scale", p->attention_scale);
        put_f32(h, "residual_scale", p->residual_scale);
        put_f32(h, "logit_scale", 1 / (double)p->logits_scale); /* readers divide by it */
    }
}

/* The text of a file of the folder under a key; files that are not there are left out. */
static enum status put_text(struct gguf_writer *writer, const char *folder, const char *name,
                            const char *as, struct error *error)
{
    char path[4096];
    struct model_file file = MODEL_FILE_CLOSED;
    struct error why = {0};
    snprintf(path, sizeof path, "%s/%s", folder, name);
    enum status status = model_file_open(&file, path, &why);
    if (status == STATUS_NOT_FOUND)
        return STATUS_OK;
    if (status != STATUS_OK) {
        *error = why;
        return status;
    }
    char *text = file.bytes < TEXT_BYTES_MAX ? malloc(file.bytes + 1) : NULL;
    if (!text)
        status = error_set(error, STATUS_INVALID, "%s: %llu bytes are too many", path,
                           (unsigned long long)file.bytes);
    else
        status = model_file_read(&file, path, 0, file.bytes, text, error);
    if (status == STATUS_OK) {
        text[file.bytes] = '\0';
        if (strlen(text) != file.bytes)
            status = error_set(error, STATUS_INVALID, "%s: holds a NUL", path);
    }
    if (status == STATUS_OK)
        gguf_writer_string(writer, as, text);
    free(text);
    model_file_close(&file);
    return status;
}

static enum status put_tokenizer(struct gguf_writer *writer, const struct checkpoint *from,
                                 struct error *error)
{
    static const char *const ends[] = {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id",
                                       "tokenizer.ggml.eom_token_id"};
    static const char *const files[][2] = {
        {"tokenizer.json", GGUF_TOKENIZER_JSON},
        {"tokenizer_config.json", GGUF_TOKENIZER_CONFIG},
        {"chat_template.jinja", "tokenizer.chat_template"}};
    uint32_t eos[EOS_MAX], count = 0, bos;
    enum status status = checkpoint_u32_list(from, "eos_token_id", eos, EOS_MAX, &count, error);
    if (count > sizeof ends / sizeof ends[0])
        log_warn("%s: of %u end tokens the first %zu are written; GGUF files have no room for more",
                 checkpoint_path(from), count, sizeof ends / sizeof ends[0]);
    for (uint32_t i = 0; i < count && i < sizeof ends / sizeof ends[0] && status == STATUS_OK; i++)
        gguf_writer_u32(writer, ends[i], eos[i]);
    struct error ignored = {0};
    if (checkpoint_u32(from, "bos_token_id", false, 0, UINT32_MAX, &bos, &ignored) == STATUS_OK)
        gguf_writer_u32(writer, "tokenizer.ggml.bos_token_id", bos);
    for (size_t i = 0; i < sizeof files / sizeof files[0] && status == STATUS_OK; i++)
        status = put_text(writer, checkpoint_path(from), files[i][0], files[i][1], error);
    return status;
}

enum status convert_header(struct gguf_writer *writer, const struct checkpoint *from,
                           const struct model_plan *plan, struct error *error)
{
    const struct gguf *gguf = checkpoint_gguf(from);
    const struct gguf_arch *arch = gguf_arch_of_model_type(plan->arch->name);
    gguf_writer_u32(writer, "general.file_type", file_type(plan));
    gguf_writer_u32(writer, "general.quantization_version", QUANTIZATION_VERSION);
    for (uint32_t i = 0; gguf && i < gguf->value_count; i++)
        if (!speaks_of_the_file(&gguf->values[i]))
            gguf_writer_value(writer, &gguf->values[i]);
    if (gguf)
        return STATUS_OK;
    if (!arch)
        return error_set(error, STATUS_UNSUPPORTED, "%s: GGUF files of %s are not known",
                         checkpoint_path(from), plan->arch->name);
    const char *slash = strrchr(checkpoint_path(from), '/');
    gguf_writer_string(writer, "general.architecture", arch->name);
    gguf_writer_string(writer, "general.name", slash && slash[1] ? slash + 1
                                                                 : checkpoint_path(from));
    struct header header = {.writer = writer, .arch = arch->name};
    put_numbers(&header, arch, &plan->hparams);
    return put_tokenizer(writer, from, error);
}

/* ---- rows ---- */

uint32_t convert_head_rows(const struct hparams *h, const char *name)
{
    bool turned = strstr(name, ".self_attn.q_proj.") || strstr(name, ".self_attn.k_proj.");
    return turned ? h->head_dim : 0;
}

void convert_interleave(uint8_t *to, const uint8_t *from, uint32_t rows, uint32_t head_rows,
                        uint64_t row_bytes)
{
    for (uint32_t r = 0; r < rows; r++) {
        uint32_t in_head = r % head_rows;
        uint32_t source = r - in_head + in_head / 2 + in_head % 2 * (head_rows / 2);
        memcpy(to + r * row_bytes, from + source * row_bytes, row_bytes);
    }
}
