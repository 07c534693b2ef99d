/* Reads tokenizer.json: the vocabulary, the merges and the added tokens here, the stages around
 * them in pipeline_json.c.
 *
 * A file may come from anywhere, so everything in it is checked once, here, and the rest of the
 * folder may trust it: ids lie in the table, merges name entries that exist, texts are UTF-8 (the
 * JSON parser sees to that). Memory stays proportional to the file: an id far beyond the number of
 * entries is refused, because entries are kept in an array by id. */
#include <stdlib.h>
#include <string.h>

#include "engine/tokenizer/pipeline_json.h"
#include "engine/tokenizer/tokenizer_parts.h"

#define ID_END_MAX ((uint32_t)INT32_MAX)
#define HOLES_PER_ENTRY 16 /* at most, beyond the first 65,536 ids */
#define HOLES_FREE 65536

struct vocab_size {
    uint32_t id_end;
    uint32_t entries;
    size_t text_bytes;
};

static enum status check_id_end(const struct json_field *field, const struct vocab_size *size)
{
    if (size->id_end > HOLES_FREE + (uint64_t)HOLES_PER_ENTRY * size->entries)
        return json_field_error(field, STATUS_INVALID,
                                "has the id %u, far beyond its %u entries", size->id_end - 1,
                                size->entries);
    return STATUS_OK;
}

static void count_entry(struct vocab_size *size, uint32_t id, size_t bytes)
{
    size->id_end = id >= size->id_end ? id + 1 : size->id_end;
    size->entries++;
    size->text_bytes += bytes + 1;
}

/* How large the vocabulary becomes; checks the kind of every field that read_* will use again. */
static enum status measure(const struct json_field *vocab, const struct json_field *added,
                           struct vocab_size *size)
{
    const char *key;
    json_t *value;
    uint32_t id = 0;
    enum status status = json_field_object(vocab);
    if (status != STATUS_OK)
        return status;
    json_object_foreach(vocab->value, key, value) {
        struct json_field field = {.parent = vocab, .name = key, .value = value,
                                   .error = vocab->error};
        status = json_field_uint(&field, ID_END_MAX, &id);
        if (status != STATUS_OK)
            return status;
        count_entry(size, id, strlen(key));
    }
    if (json_field_absent(added))
        return check_id_end(vocab, size);
    status = json_field_array(added);
    for (size_t i = 0; status == STATUS_OK && i < json_array_size(added->value); i++) {
        const char *content;
        size_t bytes = 0;
        struct json_field token = json_field_at(added, i);
        struct json_field id_field = json_field_get(&token, "id");
        struct json_field content_field = json_field_get(&token, "content");
        status = json_field_object(&token);
        if (status == STATUS_OK)
            status = json_field_uint(&id_field, ID_END_MAX, &id);
        if (status == STATUS_OK)
            status = json_field_string(&content_field, &content, &bytes);
        if (status == STATUS_OK)
            count_entry(size, id, bytes);
    }
    return status == STATUS_OK ? check_id_end(vocab, size) : status;
}

static enum status read_vocab(struct vocab *vocab, const struct json_field *field)
{
    const char *key;
    json_t *value;
    json_object_foreach(field->value, key, value) {
        uint32_t id = (uint32_t)json_integer_value(value);
        enum status status = vocab_add(vocab, id, key, strlen(key), VOCAB_MODEL);
        if (status == STATUS_INVALID)
            return json_field_error(field, status, "gives the id %u to \"%.64s\" and to \"%.64s\"",
                                    id, vocab_text(vocab, &vocab->entries[id]), key);
        if (status != STATUS_OK)
            return status;
    }
    return STATUS_OK;
}

/* The entry of an added token: one of the model's under the same id, or a new one in a hole. */
static enum status enter_added(struct vocab *vocab, const struct json_field *field, uint32_t id,
                               const char *content, size_t bytes, bool special)
{
    uint32_t flags = VOCAB_ADDED | (special ? VOCAB_SPECIAL : 0);
    uint32_t known = vocab_find(vocab, content, bytes);
    if (known != TOKEN_NONE && vocab->entries[known].flags & VOCAB_ADDED)
        return json_field_error(field, STATUS_INVALID, "adds \"%.64s\" a second time", content);
    if (known == id) {
        vocab->entries[id].flags |= flags;
        return STATUS_OK;
    }
    if (known != TOKEN_NONE)
        return json_field_error(field, STATUS_INVALID,
                                "has the id %u for \"%.64s\", which is %u in the vocabulary", id,
                                content, known);
    enum status status = vocab_add(vocab, id, content, bytes, flags);
    if (status == STATUS_INVALID)
        return json_field_error(field, status, "has the id %u, which is \"%.64s\" already", id,
                                vocab_text(vocab, &vocab->entries[id]));
    return status;
}

/* A token that is looked for in normalised text is looked for, and decodes, in its own normalised
 * form. */
static enum status add_normalized(struct tokenizer *tokenizer, const struct json_field *field,
                                  const struct added_token *token, const char *content,
                                  size_t bytes)
{
    struct text text = {0};
    struct normalize_scratch scratch = {0};
    struct pattern_scratch patterns = {0};
    text.bytes_max = 64 * bytes + 4096;
    enum status status = text_append(&text, content, bytes);
    if (status == STATUS_OK)
        status = normalizer_run(&tokenizer->normalizer, &scratch, &patterns, &text, NULL);
    if (status == STATUS_OK && text.bytes) {
        status = added_tokens_add(&tokenizer->added_normalized, token, text.data, text.bytes);
        if (status == STATUS_OK)
            status = vocab_set_piece(&tokenizer->vocab, token->id, text.data, text.bytes);
    } else if (status == STATUS_INVALID || status == STATUS_FULL) {
        status = json_field_error(field, STATUS_INVALID, "cannot be normalised");
    }
    text_reset(&text);
    normalize_scratch_reset(&scratch);
    pattern_scratch_reset(&patterns);
    return status;
}

static enum status read_added_token(struct tokenizer *tokenizer, const struct json_field *field)
{
    static const char *const names[] = {"single_word", "lstrip", "rstrip", "special", "normalized"};
    bool flags[5] = {false};
    const char *content;
    size_t bytes;
    struct json_field id_field = json_field_get(field, "id");
    struct json_field content_field = json_field_get(field, "content");
    enum status status = STATUS_OK;
    for (unsigned i = 0; i < 5 && status == STATUS_OK; i++) {
        struct json_field flag = json_field_get(field, names[i]);
        if (i == 4)
            flags[4] = !flags[3]; /* the default of "normalized" */
        status = json_field_bool(&flag, &flags[i]);
    }
    struct added_token token = {
        .single_word = flags[0], .lstrip = flags[1], .rstrip = flags[2], .special = flags[3]};
    if (status == STATUS_OK)
        status = json_field_uint(&id_field, ID_END_MAX, &token.id);
    if (status == STATUS_OK)
        status = json_field_string(&content_field, &content, &bytes);
    if (status != STATUS_OK || bytes == 0) /* the reference ignores empty ones, too */
        return status;
    status = enter_added(&tokenizer->vocab, field, token.id, content, bytes, token.special);
    if (status != STATUS_OK)
        return status;
    if (flags[4])
        return add_normalized(tokenizer, field, &token, content, bytes);
    return added_tokens_add(&tokenizer->added_raw, &token, content, bytes);
}

static enum status read_added(struct tokenizer *tokenizer, const struct json_field *field)
{
    enum status status = STATUS_OK;
    if (!json_field_absent(field))
        for (size_t i = 0; i < json_array_size(field->value) && status == STATUS_OK; i++) {
            struct json_field token = json_field_at(field, i);
            status = read_added_token(tokenizer, &token);
        }
    added_tokens_build(&tokenizer->added_raw);
    added_tokens_build(&tokenizer->added_normalized);
    return status;
}

struct merge_pair {
    const char *text[2];
    size_t bytes[2];
};

/* "a b" or ["a", "b"]. */
static enum status split_merge(const struct json_field *field, struct merge_pair *pair)
{
    if (json_is_array(field->value) && json_array_size(field->value) == 2) {
        for (unsigned i = 0; i < 2; i++) {
            struct json_field half = json_field_at(field, i);
            enum status status = json_field_string(&half, &pair->text[i], &pair->bytes[i]);
            if (status != STATUS_OK)
                return status;
        }
        return STATUS_OK;
    }
    const char *text = json_string_value(field->value);
    const char *space = text ? strchr(text, ' ') : NULL;
    if (!space || strchr(space + 1, ' '))
        return json_field_error(field, STATUS_INVALID, "is not a pair of pieces");
    pair->text[0] = text;
    pair->bytes[0] = (size_t)(space - text);
    pair->text[1] = space + 1;
    pair->bytes[1] = json_string_length(field->value) - pair->bytes[0] - 1;
    return STATUS_OK;
}

static enum status read_merge(struct tokenizer *tokenizer, const struct json_field *field,
                              uint32_t rank, struct text *joined)
{
    struct merge_pair pair;
    uint32_t ids[2];
    enum status status = split_merge(field, &pair);
    joined->bytes = 0;
    for (unsigned i = 0; i < 2 && status == STATUS_OK; i++) {
        ids[i] = vocab_find_model(&tokenizer->vocab, pair.text[i], pair.bytes[i]);
        if (ids[i] == TOKEN_NONE)
            return json_field_error(field, STATUS_INVALID,
                                    "merges \"%.*s\", which is not in the vocabulary",
                                    (int)(pair.bytes[i] < 64 ? pair.bytes[i] : 64), pair.text[i]);
        status = text_append(joined, pair.text[i], pair.bytes[i]);
    }
    if (status != STATUS_OK)
        return status;
    uint32_t id = vocab_find_model(&tokenizer->vocab, joined->data, joined->bytes);
    if (id == TOKEN_NONE)
        return json_field_error(field, STATUS_INVALID,
                                "makes \"%.*s\", which is not in the vocabulary",
                                (int)(joined->bytes < 64 ? joined->bytes : 64), joined->data);
    bpe_add_merge(&tokenizer->bpe, ids[0], ids[1], rank, id);
    return STATUS_OK;
}

static enum status read_merges(struct tokenizer *tokenizer, const struct json_field *field)
{
    struct text joined = {0};
    uint32_t rank = 0;
    enum status status = json_field_array(field);
    size_t count = json_array_size(field->value);
    if (status == STATUS_OK && count >= (1u << 29))
        status = json_field_error(field, STATUS_INVALID, "has %zu elements", count);
    if (status == STATUS_OK)
        status = bpe_open(&tokenizer->bpe, &tokenizer->vocab, (uint32_t)count);
    if (status == STATUS_OK)
        status = text_reserve(&joined, 64);
    for (size_t i = 0; i < count && status == STATUS_OK; i++) {
        struct json_field merge = json_field_at(field, i);
        const char *text = json_string_value(merge.value);
        if (text && strncmp(text, "#version", 8) == 0)
            continue; /* the head line of a merges.txt */
        status = read_merge(tokenizer, &merge, rank++, &joined);
    }
    text_reset(&joined);
    return status;
}

/* Options of the model that change how merging works and are not built. */
static enum status refuse_options(const struct json_field *model)
{
    static const char *const affixes[] = {"continuing_subword_prefix", "end_of_word_suffix"};
    struct json_field dropout = json_field_get(model, "dropout");
    if (!json_field_absent(&dropout) && json_number_value(dropout.value) != 0)
        return json_field_error(&dropout, STATUS_UNSUPPORTED, "is not supported");
    if (!json_field_absent(&dropout) && !json_is_number(dropout.value))
        return json_field_error(&dropout, STATUS_INVALID, "is not a number");
    for (unsigned i = 0; i < 2; i++) {
        struct json_field affix = json_field_get(model, affixes[i]);
        const char *text;
        size_t bytes = 0;
        if (json_field_absent(&affix))
            continue;
        enum status status = json_field_string(&affix, &text, &bytes);
        if (status != STATUS_OK)
            return status;
        if (bytes)
            return json_field_error(&affix, STATUS_UNSUPPORTED, "\"%.64s\" is not supported", text);
    }
    return STATUS_OK;
}

static enum status read_options(struct tokenizer *tokenizer, const struct json_field *model)
{
    struct bpe *bpe = &tokenizer->bpe;
    const struct {
        const char *name;
        bool *out;
    } flags[] = {{"byte_fallback", &bpe->byte_fallback},
                 {"fuse_unk", &bpe->fuse_unknown},
                 {"ignore_merges", &bpe->ignore_merges}};
    for (unsigned i = 0; i < 3; i++) {
        struct json_field flag = json_field_get(model, flags[i].name);
        enum status status = json_field_bool(&flag, flags[i].out);
        if (status != STATUS_OK)
            return status;
    }
    struct json_field unknown = json_field_get(model, "unk_token");
    const char *text;
    size_t bytes;
    if (json_field_absent(&unknown))
        return STATUS_OK;
    enum status status = json_field_string(&unknown, &text, &bytes);
    if (status != STATUS_OK)
        return status;
    bpe->unknown_id = vocab_find_model(&tokenizer->vocab, text, bytes);
    if (bpe->unknown_id == TOKEN_NONE)
        return json_field_error(&unknown, STATUS_INVALID, "\"%.64s\" is not in the vocabulary",
                                text);
    return STATUS_OK;
}

/* Old files leave the type out; what has merges is BPE. */
static enum status check_model(const struct json_field *model)
{
    struct json_field type = json_field_get(model, "type");
    struct json_field merges = json_field_get(model, "merges");
    const char *text;
    size_t bytes;
    enum status status = json_field_object(model);
    if (status != STATUS_OK || (json_field_absent(&type) && !json_field_absent(&merges)))
        return status;
    status = json_field_string(&type, &text, &bytes);
    if (status == STATUS_OK && strcmp(text, "BPE") != 0)
        return json_field_error(&type, STATUS_UNSUPPORTED, "\"%.64s\" is not supported", text);
    return status;
}

static enum status read_document(struct tokenizer *tokenizer, const struct json_field *document)
{
    struct json_field model = json_field_get(document, "model");
    struct json_field vocab = json_field_get(&model, "vocab");
    struct json_field merges = json_field_get(&model, "merges");
    struct json_field added = json_field_get(document, "added_tokens");
    struct vocab_size size = {0};
    enum status status = check_model(&model);
    if (status == STATUS_OK)
        status = refuse_options(&model);
    if (status == STATUS_OK)
        status = measure(&vocab, &added, &size);
    if (status == STATUS_OK)
        status = vocab_open(&tokenizer->vocab, size.id_end, size.entries, 2 * size.text_bytes);
    if (status == STATUS_OK)
        status = read_vocab(&tokenizer->vocab, &vocab);
    if (status == STATUS_OK)
        status = read_merges(tokenizer, &merges);
    if (status == STATUS_OK)
        status = read_options(tokenizer, &model);
    if (status == STATUS_OK)
        status = pipeline_read_normalizer(&tokenizer->normalizer, document);
    if (status == STATUS_OK)
        status = read_added(tokenizer, &added);
    if (status == STATUS_OK)
        status = pipeline_read_pretokenizer(&tokenizer->pretokenizer, document);
    if (status == STATUS_OK)
        status = pipeline_read_post_processor(tokenizer, document);
    if (status == STATUS_OK)
        status = pipeline_read_decoder(&tokenizer->decoder, document);
    if (status == STATUS_OK)
        status = decoder_set_pieces(&tokenizer->decoder, &tokenizer->vocab);
    if (status == STATUS_FULL)
        status = json_field_error(document, STATUS_INVALID,
                                  "decoder replaces a piece by more than a mebibyte");
    return status;
}

enum status tokenizer_json_read(struct tokenizer *tokenizer, const char *file, const char *json,
                                size_t json_bytes, struct error *error)
{
    struct json_field document;
    enum status status = json_field_parse(&document, file, json, json_bytes, error);
    if (status == STATUS_OK) {
        status = read_document(tokenizer, &document);
        json_decref(document.value);
    }
    return status == STATUS_NO_MEMORY ? error_set(error, status, "%s: out of memory", file)
                                      : status;
}
