#include "engine/model/gguf_tokenizer.h"

#include <stdlib.h>

#include "engine/load/gguf_value.h"

#define KEY(name) "tokenizer.ggml." name

struct reader {
    const struct gguf *gguf;
    struct tokenizer_pieces pieces;
    struct tokenizer_string *tokens, *merges; /* ours, until the tokenizer has read them */
    struct error *error;
};

/* Absent is as good as read: what it then is, is the tokenizer's to say. */
static enum status optional(enum status status)
{
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

static enum status read_string(struct reader *r, const char *key, bool need,
                               struct tokenizer_string *out)
{
    struct gguf_string s = {0};
    enum status status = gguf_value_string(r->gguf, key, need, &s, r->error);
    if (status == STATUS_OK)
        *out = (struct tokenizer_string){s.text, (size_t)s.bytes};
    return optional(status);
}

static enum status read_strings(struct reader *r, const char *key, bool need,
                                struct tokenizer_string **out, uint32_t *count)
{
    const struct gguf_string *from = NULL;
    uint64_t n = 0;
    enum status status = gguf_value_strings(r->gguf, key, need, &from, &n, r->error);
    if (status != STATUS_OK)
        return optional(status);
    if (n > UINT32_MAX)
        return error_set(r->error, STATUS_INVALID, "%s: %s: %llu strings are too many",
                         r->gguf->file, key, (unsigned long long)n);
    *out = malloc((n > 0 ? n : 1) * sizeof **out);
    if (!*out)
        return error_set(r->error, STATUS_NO_MEMORY, "%s: no memory for %llu strings of %s",
                         r->gguf->file, (unsigned long long)n, key);
    for (uint64_t i = 0; i < n; i++)
        (*out)[i] = (struct tokenizer_string){from[i].text, (size_t)from[i].bytes};
    *count = (uint32_t)n;
    return STATUS_OK;
}

static enum status read_id(struct reader *r, const char *key, uint32_t *out)
{
    return optional(gguf_value_u32(r->gguf, key, false, 0, UINT32_MAX - 1, out, r->error));
}

static enum status read_switch(struct reader *r, const char *key, enum tokenizer_switch *out)
{
    bool on = false;
    enum status status = gguf_value_bool(r->gguf, key, false, &on, r->error);
    if (status == STATUS_OK)
        *out = on ? TOKENIZER_ON : TOKENIZER_OFF;
    return optional(status);
}

static enum status compare_counts(const struct reader *r, const char *key, uint64_t count)
{
    if (count == r->pieces.token_count)
        return STATUS_OK;
    return error_set(r->error, STATUS_INVALID, "%s: %s has %llu entries, %s has %u", r->gguf->file,
                     key, (unsigned long long)count, KEY("tokens"), r->pieces.token_count);
}

/* One score and one type for each token, where there are any. */
static enum status read_arrays(struct reader *r)
{
    struct tokenizer_pieces *p = &r->pieces;
    uint64_t n = 0;
    enum status status = read_strings(r, KEY("tokens"), true, &r->tokens, &p->token_count);
    if (status != STATUS_OK)
        return status;
    status = gguf_value_f32_array(r->gguf, KEY("scores"), false, &p->scores, &n, r->error);
    if (status == STATUS_OK)
        status = compare_counts(r, KEY("scores"), n);
    if (optional(status) != STATUS_OK)
        return status;
    status = gguf_value_i32_array(r->gguf, KEY("token_type"), false, &p->types, &n, r->error);
    if (status == STATUS_OK)
        status = compare_counts(r, KEY("token_type"), n);
    if (optional(status) != STATUS_OK)
        return status;
    return read_strings(r, KEY("merges"), false, &r->merges, &p->merge_count);
}

static enum status read_pieces(struct reader *r)
{
    struct tokenizer_pieces *p = &r->pieces;
    enum status status = read_string(r, KEY("model"), true, &p->model);
    if (status == STATUS_OK)
        status = read_string(r, KEY("pre"), false, &p->pre_tokenizer);
    if (status == STATUS_OK)
        status = read_arrays(r);
    if (status == STATUS_OK)
        status = read_id(r, KEY("bos_token_id"), &p->bos);
    if (status == STATUS_OK)
        status = read_id(r, KEY("eos_token_id"), &p->eos);
    if (status == STATUS_OK)
        status = read_id(r, KEY("unknown_token_id"), &p->unknown);
    if (status == STATUS_OK)
        status = read_switch(r, KEY("add_bos_token"), &p->add_bos);
    if (status == STATUS_OK)
        status = read_switch(r, KEY("add_eos_token"), &p->add_eos);
    if (status == STATUS_OK)
        status = read_switch(r, KEY("add_space_prefix"), &p->add_space_prefix);
    if (status == STATUS_OK)
        status = read_string(r, "tokenizer.chat_template", false, &p->chat_template);
    p->tokens = r->tokens;
    p->merges = r->merges;
    return status;
}

/* tokenizer.json and its companions, whole. NOT_FOUND: they are not there. */
static enum status open_files(struct tokenizer **out, struct reader *r)
{
    struct tokenizer_string json = {0}, config = {0}, template = {0};
    enum status status = read_string(r, GGUF_TOKENIZER_JSON, false, &json);
    if (status == STATUS_OK && !json.data)
        return error_set(r->error, STATUS_NOT_FOUND, "%s: the file has no tokenizer (%s)",
                         r->gguf->file, KEY("model"));
    if (status == STATUS_OK)
        status = read_string(r, GGUF_TOKENIZER_CONFIG, false, &config);
    if (status == STATUS_OK)
        status = read_string(r, "tokenizer.chat_template", false, &template);
    if (status == STATUS_OK)
        status = tokenizer_open_memory(out, r->gguf->file, json.data, json.bytes, config.data,
                                       config.bytes, r->error);
    if (status == STATUS_OK && template.data &&
        tokenizer_set_chat_template(*out, template.data, template.bytes) != STATUS_OK) {
        tokenizer_close(*out);
        *out = NULL;
        status = error_set(r->error, STATUS_NO_MEMORY, "%s: no memory for its chat template",
                           r->gguf->file);
    }
    return status;
}

enum status gguf_tokenizer_of_model(struct tokenizer **out, const struct checkpoint *checkpoint,
                                    struct error *error)
{
    const struct gguf *gguf = checkpoint_gguf(checkpoint);
    return gguf ? gguf_tokenizer_open(out, gguf, error)
                : tokenizer_open(out, checkpoint_path(checkpoint), error);
}

enum status gguf_tokenizer_open(struct tokenizer **out, const struct gguf *gguf,
                                struct error *error)
{
    struct reader r = {.gguf = gguf, .error = error};
    r.pieces.bos = r.pieces.eos = r.pieces.unknown = TOKEN_NONE;
    *out = NULL;
    if (!gguf_find(gguf, KEY("model")))
        return open_files(out, &r);
    enum status status = read_pieces(&r);
    if (status == STATUS_OK)
        status = tokenizer_open_pieces(out, gguf->file, &r.pieces, error);
    free(r.tokens);
    free(r.merges);
    return status;
}
