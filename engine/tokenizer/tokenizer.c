/* The front door: opening from a folder, memory or pieces, encoding, and the small questions.
 *
 * Encoding walks the stages in the order of struct tokenizer: raw added tokens split the text; each
 * stretch between them is normalised, split by the normalised added tokens, cut into words, and
 * each word is merged. All scratch is local to the call, so that a const tokenizer serves any
 * number of threads. Text that grows in normalisation is bounded by TEXT_GROWTH. */
#include "engine/tokenizer/tokenizer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "engine/tokenizer/tokenizer_parts.h"

#define ENCODE_BYTES_MAX ((size_t)1 << 30)
#define TEXT_GROWTH 64 /* times what came in, and as many KiB more */
#define FILE_BYTES_MAX ((size_t)1 << 30)

void token_list_reset(struct token_list *list)
{
    free(list->ids);
    *list = (struct token_list){0};
}

void tokenizer_close(struct tokenizer *tokenizer)
{
    if (!tokenizer)
        return;
    bpe_close(&tokenizer->bpe);
    pretokenizer_close(&tokenizer->pretokenizer);
    normalizer_close(&tokenizer->normalizer);
    added_tokens_close(&tokenizer->added_raw);
    added_tokens_close(&tokenizer->added_normalized);
    decoder_close(&tokenizer->decoder);
    vocab_close(&tokenizer->vocab);
    token_list_reset(&tokenizer->before);
    token_list_reset(&tokenizer->after);
    free(tokenizer->chat_template);
    free(tokenizer->notice);
    free(tokenizer);
}

enum status tokenizer_set_chat_template(struct tokenizer *tokenizer, const char *text,
                                        size_t bytes)
{
    char *copy = strndup(text, bytes);
    if (!copy)
        return STATUS_NO_MEMORY;
    free(tokenizer->chat_template);
    tokenizer->chat_template = copy;
    return STATUS_OK;
}

static struct tokenizer *tokenizer_new(void)
{
    struct tokenizer *tokenizer = calloc(1, sizeof *tokenizer);
    if (tokenizer)
        tokenizer->bos = tokenizer->eos = TOKEN_NONE;
    return tokenizer;
}

static enum status open_named(struct tokenizer **out, const char *name, const char *json,
                              size_t json_bytes, const char *config_name, const char *config,
                              size_t config_bytes, struct error *error)
{
    struct tokenizer *tokenizer = tokenizer_new();
    *out = NULL;
    if (!tokenizer)
        return error_set(error, STATUS_NO_MEMORY, "%s: out of memory", name);
    enum status status = tokenizer_json_read(tokenizer, name, json, json_bytes, error);
    if (status == STATUS_OK && config)
        status = tokenizer_config_read(tokenizer, config_name, config, config_bytes, error);
    if (status != STATUS_OK) {
        tokenizer_close(tokenizer);
        return status;
    }
    *out = tokenizer;
    return STATUS_OK;
}

enum status tokenizer_open_memory(struct tokenizer **out, const char *name, const char *json,
                                  size_t json_bytes, const char *config, size_t config_bytes,
                                  struct error *error)
{
    return open_named(out, name, json, json_bytes, "tokenizer_config.json", config, config_bytes,
                      error);
}

enum status tokenizer_open_pieces(struct tokenizer **out, const char *name,
                                  const struct tokenizer_pieces *pieces, struct error *error)
{
    struct tokenizer *tokenizer = tokenizer_new();
    *out = NULL;
    if (!tokenizer)
        return error_set(error, STATUS_NO_MEMORY, "%s: out of memory", name);
    enum status status = tokenizer_pieces_read(tokenizer, name, pieces, error);
    if (status != STATUS_OK) {
        tokenizer_close(tokenizer);
        return status;
    }
    *out = tokenizer;
    return STATUS_OK;
}

struct file {
    char *path;
    char *data; /* NULL: not there */
    size_t bytes;
};

static void file_close(struct file *file)
{
    free(file->path);
    free(file->data);
}

/* Reads folder/name whole. A missing file is OK and leaves data NULL. */
static enum status file_read(struct file *file, const char *folder, const char *name,
                             struct error *error)
{
    struct stat info;
    enum status status = STATUS_IO;
    if (asprintf(&file->path, "%s/%s", folder, name) < 0) {
        file->path = NULL;
        return error_set(error, STATUS_NO_MEMORY, "%s: out of memory", name);
    }
    FILE *stream = fopen(file->path, "rb");
    if (!stream && (errno == ENOENT || errno == ENOTDIR))
        return STATUS_OK;
    if (!stream || fstat(fileno(stream), &info) != 0) {
        error_set(error, status, "%s: %s", file->path, strerror(errno));
    } else if (!S_ISREG(info.st_mode) || (size_t)info.st_size > FILE_BYTES_MAX) {
        status = error_set(error, STATUS_INVALID, "%s: not a file of at most %zu MiB", file->path,
                           FILE_BYTES_MAX >> 20);
    } else if (!(file->data = malloc((size_t)info.st_size + 1))) {
        status = error_set(error, STATUS_NO_MEMORY, "%s: out of memory", file->path);
    } else if (fread(file->data, 1, (size_t)info.st_size, stream) != (size_t)info.st_size) {
        error_set(error, status, "%s: ends early", file->path);
    } else {
        file->bytes = (size_t)info.st_size;
        file->data[file->bytes] = '\0';
        status = STATUS_OK;
    }
    if (stream)
        fclose(stream);
    return status;
}

/* The newer place of the chat template, which wins over the configuration's. */
static enum status take_template(struct tokenizer *tokenizer, struct file *file,
                                 struct error *error)
{
    if (strlen(file->data) != file->bytes ||
        text_valid_bytes(file->data, file->bytes) != file->bytes)
        return error_set(error, STATUS_INVALID, "%s: not UTF-8 text", file->path);
    free(tokenizer->chat_template);
    tokenizer->chat_template = file->data;
    file->data = NULL;
    return STATUS_OK;
}

enum status tokenizer_open(struct tokenizer **out, const char *folder, struct error *error)
{
    enum { JSON, CONFIG, SPECIAL_MAP, TEMPLATE, FILES };
    static const char *const names[FILES] = {"tokenizer.json", "tokenizer_config.json",
                                             "special_tokens_map.json", "chat_template.jinja"};
    struct file files[FILES] = {{0}};
    enum status status = STATUS_OK;
    *out = NULL;
    for (unsigned i = 0; i < FILES && status == STATUS_OK; i++)
        status = file_read(&files[i], folder, names[i], error);
    if (status == STATUS_OK && !files[JSON].data)
        status = error_set(error, STATUS_NOT_FOUND, "%s: no such file", files[JSON].path);
    if (status == STATUS_OK)
        status = open_named(out, files[JSON].path, files[JSON].data, files[JSON].bytes,
                            files[CONFIG].path, files[CONFIG].data, files[CONFIG].bytes, error);
    if (status == STATUS_OK && files[SPECIAL_MAP].data)
        status = tokenizer_special_map_read(*out, files[SPECIAL_MAP].path, files[SPECIAL_MAP].data,
                                            files[SPECIAL_MAP].bytes, error);
    if (status == STATUS_OK && files[TEMPLATE].data)
        status = take_template(*out, &files[TEMPLATE], error);
    if (status != STATUS_OK) {
        tokenizer_close(*out);
        *out = NULL;
    }
    for (unsigned i = 0; i < FILES; i++)
        file_close(&files[i]);
    return status;
}

/* Everything one encode call needs besides the tokenizer. */
struct encode {
    const struct tokenizer *tokenizer;
    bool parse_special;
    struct token_list *out;
    struct error *error;
    struct text stretch; /* between two raw added tokens, normalised */
    struct text words;   /* between two normalised ones, cut */
    struct added_segments raw, normalized;
    struct pattern_scratch patterns;
    struct normalize_scratch normalize;
    struct pretokenize_scratch pretokenize;
    struct bpe_scratch bpe;
};

static void encode_reset(struct encode *encode)
{
    text_reset(&encode->stretch);
    text_reset(&encode->words);
    added_segments_reset(&encode->raw);
    added_segments_reset(&encode->normalized);
    pattern_scratch_reset(&encode->patterns);
    normalize_scratch_reset(&encode->normalize);
    pretokenize_scratch_reset(&encode->pretokenize);
    bpe_scratch_reset(&encode->bpe);
}

/* Normalised text that holds no added token: cut and merge. */
static enum status encode_words(struct encode *encode, const char *text, size_t bytes, bool first)
{
    struct text *words = &encode->words;
    words->bytes = 0;
    enum status status = text_append(words, text, bytes);
    if (status == STATUS_OK)
        status = pretokenizer_run(&encode->tokenizer->pretokenizer, &encode->pretokenize,
                                  &encode->patterns, words, first, encode->error);
    for (uint32_t i = 0; i < words->spans.count && status == STATUS_OK; i++) {
        const struct span *span = &words->spans.at[i];
        size_t word_bytes = span->end - span->begin;
        status = word_bytes >= INT32_MAX
                     ? STATUS_FULL
                     : bpe_encode(&encode->tokenizer->bpe, &encode->bpe, words->data + span->begin,
                                  word_bytes, encode->out);
    }
    return status;
}

/* Text that holds no raw added token. */
static enum status encode_stretch(struct encode *encode, const char *text, size_t bytes, bool first)
{
    const struct tokenizer *tokenizer = encode->tokenizer;
    struct text *stretch = &encode->stretch;
    stretch->bytes = 0;
    encode->normalized.count = 0;
    enum status status = text_append(stretch, text, bytes);
    if (status == STATUS_OK)
        status = normalizer_run(&tokenizer->normalizer, &encode->normalize, &encode->patterns,
                                stretch, encode->error);
    if (status == STATUS_OK)
        status = added_tokens_split(&tokenizer->added_normalized, stretch->data, stretch->bytes,
                                    encode->parse_special, &encode->normalized);
    for (uint32_t i = 0; i < encode->normalized.count && status == STATUS_OK; i++) {
        const struct added_segment *segment = &encode->normalized.at[i];
        status = segment->id != TOKEN_NONE
                     ? token_list_push(encode->out, segment->id)
                     : encode_words(encode, stretch->data + segment->begin,
                                    segment->end - segment->begin, first && segment->begin == 0);
    }
    return status;
}

static enum status encode_text(struct encode *encode, const char *text, size_t bytes)
{
    enum status status = added_tokens_split(&encode->tokenizer->added_raw, text, bytes,
                                            encode->parse_special, &encode->raw);
    for (uint32_t i = 0; i < encode->raw.count && status == STATUS_OK; i++) {
        const struct added_segment *segment = &encode->raw.at[i];
        status = segment->id != TOKEN_NONE
                     ? token_list_push(encode->out, segment->id)
                     : encode_stretch(encode, text + segment->begin, segment->end - segment->begin,
                                      segment->begin == 0);
    }
    return status;
}

static enum status push_all(struct token_list *out, const struct token_list *ids)
{
    enum status status = STATUS_OK;
    for (uint32_t i = 0; i < ids->count && status == STATUS_OK; i++)
        status = token_list_push(out, ids->ids[i]);
    return status;
}

enum status tokenizer_encode(const struct tokenizer *tokenizer, const char *text, size_t bytes,
                             bool add_special, bool parse_special, struct token_list *out,
                             struct error *error)
{
    uint32_t count_before = out->count;
    struct encode encode = {
        .tokenizer = tokenizer, .parse_special = parse_special, .out = out, .error = error};
    enum status status = STATUS_OK;
    if (bytes >= ENCODE_BYTES_MAX)
        return error_set(error, STATUS_INVALID, "the text has %zu bytes, a GiB or more", bytes);
    size_t valid = text_valid_bytes(text, bytes);
    if (valid != bytes)
        return error_set(error, STATUS_INVALID, "the text is not UTF-8 at byte %zu", valid);

    encode.stretch.bytes_max = encode.words.bytes_max = TEXT_GROWTH * (bytes + 1024);
    if (add_special)
        status = push_all(out, &tokenizer->before);
    if (status == STATUS_OK)
        status = encode_text(&encode, text, bytes);
    if (status == STATUS_OK && add_special)
        status = push_all(out, &tokenizer->after);
    encode_reset(&encode);

    if (status != STATUS_OK)
        out->count = count_before;
    if (status == STATUS_FULL)
        status = error_set(error, STATUS_INVALID,
                           "the tokenizer makes the text more than %d times longer", TEXT_GROWTH);
    if (status == STATUS_NO_MEMORY)
        error_set(error, status, "out of memory while tokenizing %zu bytes", bytes);
    return status;
}

uint32_t tokenizer_vocab_size(const struct tokenizer *tokenizer)
{
    return tokenizer->vocab.count;
}

uint32_t tokenizer_token_id(const struct tokenizer *tokenizer, const char *entry)
{
    return vocab_find(&tokenizer->vocab, entry, strlen(entry));
}

const char *tokenizer_entry(const struct tokenizer *tokenizer, uint32_t id)
{
    const struct vocab_entry *entry = vocab_at(&tokenizer->vocab, id);
    return entry ? vocab_text(&tokenizer->vocab, entry) : NULL;
}

const char *tokenizer_piece(const struct tokenizer *tokenizer, uint32_t id, size_t *bytes)
{
    const struct vocab_entry *entry = vocab_at(&tokenizer->vocab, id);
    *bytes = entry ? entry->piece_bytes : 0;
    return entry ? vocab_piece(&tokenizer->vocab, entry) : "";
}

bool tokenizer_is_special(const struct tokenizer *tokenizer, uint32_t id)
{
    const struct vocab_entry *entry = vocab_at(&tokenizer->vocab, id);
    return entry && entry->flags & VOCAB_SPECIAL;
}

uint32_t tokenizer_bos(const struct tokenizer *tokenizer)
{
    return tokenizer->bos;
}

uint32_t tokenizer_eos(const struct tokenizer *tokenizer)
{
    return tokenizer->eos;
}

const char *tokenizer_chat_template(const struct tokenizer *tokenizer)
{
    return tokenizer->chat_template;
}

const char *tokenizer_notice(const struct tokenizer *tokenizer)
{
    return tokenizer->notice;
}
