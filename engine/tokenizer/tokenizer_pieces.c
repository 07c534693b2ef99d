/* Opens a tokenizer from the arrays of a GGUF file: the vocabulary, the added tokens, the ids
 * around a text here; what differs between the models in pieces_gpt2.c and pieces_llama.c.
 *
 * The arrays come from anywhere, so all that the stages rely on is checked here once: texts are
 * UTF-8 and different from each other, types are known, ids lie inside. The result is the same
 * struct tokenizer that a tokenizer.json gives, encoded and decoded by the same stages.
 *
 * Control pieces become special added tokens and so can be written out in a text only with
 * parse_special; user-defined ones are added tokens that are always recognised. Both are found in
 * the text as given, the longest first from the left. */
#include "engine/tokenizer/tokenizer_pieces.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PIECES_MAX (1u << 29)

enum status pieces_error(const struct pieces_reading *reading, enum status status,
                         const char *format, ...)
{
    char sentence[224];
    va_list args;
    va_start(args, format);
    vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
    return error_set(reading->error, status, "%s: tokenizer.ggml.%s", reading->file, sentence);
}

enum tokenizer_piece_type pieces_type(const struct tokenizer_pieces *pieces, uint32_t id)
{
    int32_t type = pieces->types ? pieces->types[id] : TOKENIZER_PIECE_NORMAL;
    return type == TOKENIZER_PIECE_UNDEFINED ? TOKENIZER_PIECE_NORMAL
                                             : (enum tokenizer_piece_type)type;
}

static bool is(const struct tokenizer_string *string, const char *text)
{
    return string->data && string->bytes == strlen(text) &&
           memcmp(string->data, text, string->bytes) == 0;
}

static uint32_t vocab_flags(enum tokenizer_piece_type type)
{
    switch (type) {
    case TOKENIZER_PIECE_CONTROL:
    case TOKENIZER_PIECE_UNKNOWN:
        return VOCAB_ADDED | VOCAB_SPECIAL;
    case TOKENIZER_PIECE_USER_DEFINED:
    case TOKENIZER_PIECE_UNUSED:
        return VOCAB_ADDED;
    default:
        return VOCAB_MODEL;
    }
}

/* Looks at every piece once: adds up sizes for the vocabulary, and refuses all that can be wrong
 * with one alone. */
static enum status measure(const struct pieces_reading *reading, uint32_t *entries, size_t *bytes)
{
    const struct tokenizer_pieces *pieces = reading->pieces;
    if (!pieces->tokens || pieces->token_count == 0)
        return pieces_error(reading, STATUS_INVALID, "tokens is missing or empty");
    if (pieces->token_count >= PIECES_MAX || pieces->merge_count >= PIECES_MAX)
        return pieces_error(reading, STATUS_INVALID, "tokens or merges has 2^29 elements or more");
    for (uint32_t id = 0; id < pieces->token_count; id++) {
        const struct tokenizer_string *token = &pieces->tokens[id];
        if (pieces->types && (pieces->types[id] < TOKENIZER_PIECE_UNDEFINED ||
                              pieces->types[id] > TOKENIZER_PIECE_BYTE))
            return pieces_error(reading, STATUS_INVALID, "token_type[%u] is %d, not 0 to 6", id,
                                pieces->types[id]);
        if (token->bytes == 0)
            continue;
        if (text_valid_bytes(token->data, token->bytes) != token->bytes)
            return pieces_error(reading, STATUS_INVALID, "tokens[%u] is not UTF-8", id);
        (*entries)++;
        *bytes += token->bytes + 1;
    }
    return STATUS_OK;
}

static enum status read_token(const struct pieces_reading *reading, uint32_t id)
{
    struct tokenizer *tokenizer = reading->tokenizer;
    const struct tokenizer_string *token = &reading->pieces->tokens[id];
    enum tokenizer_piece_type type = pieces_type(reading->pieces, id);
    uint32_t flags = vocab_flags(type);
    enum status status = vocab_add(&tokenizer->vocab, id, token->data, token->bytes, flags);
    if (status == STATUS_INVALID)
        return pieces_error(reading, status, "tokens[%u] is \"%.64s\", which is tokens[%u] already",
                            id, vocab_text(&tokenizer->vocab,
                                           &tokenizer->vocab.entries[vocab_find(
                                               &tokenizer->vocab, token->data, token->bytes)]),
                            vocab_find(&tokenizer->vocab, token->data, token->bytes));
    if (status != STATUS_OK || !(flags & VOCAB_ADDED) || type == TOKENIZER_PIECE_UNUSED)
        return status;
    struct added_token added = {.id = id, .special = flags & VOCAB_SPECIAL};
    return added_tokens_add(&tokenizer->added_raw, &added, token->data, token->bytes);
}

/* An empty text names nothing: its id is a hole. */
static enum status read_tokens(const struct pieces_reading *reading)
{
    uint32_t entries = 0;
    size_t bytes = 0;
    enum status status = measure(reading, &entries, &bytes);
    if (status == STATUS_OK)
        status = vocab_open(&reading->tokenizer->vocab, reading->pieces->token_count, entries,
                            2 * bytes);
    for (uint32_t id = 0; id < reading->pieces->token_count && status == STATUS_OK; id++)
        if (reading->pieces->tokens[id].bytes)
            status = read_token(reading, id);
    added_tokens_build(&reading->tokenizer->added_raw);
    return status;
}

/* Added tokens are in the file as they stand in text: the decoder's spelling is not theirs. */
static enum status restore_added(const struct pieces_reading *reading)
{
    struct vocab *vocab = &reading->tokenizer->vocab;
    enum status status = STATUS_OK;
    for (uint32_t id = 0; id < vocab->count && status == STATUS_OK; id++) {
        const struct tokenizer_string *token = &reading->pieces->tokens[id];
        if (!(vocab->entries[id].flags & VOCAB_ADDED))
            continue;
        vocab->entries[id].flags &= ~(uint32_t)VOCAB_BYTE;
        status = vocab_set_piece(vocab, id, token->data,
                                 pieces_type(reading->pieces, id) == TOKENIZER_PIECE_UNUSED
                                     ? 0
                                     : token->bytes);
    }
    return status;
}

/* An id that the file gives, or its model's default where such a piece is there. */
static enum status read_id(const struct pieces_reading *reading, const char *key, uint32_t given,
                           uint32_t fallback, uint32_t *out)
{
    const struct vocab *vocab = &reading->tokenizer->vocab;
    *out = TOKEN_NONE;
    if (given != TOKEN_NONE && !vocab_at(vocab, given))
        return pieces_error(reading, STATUS_INVALID, "%s is %u, which no token has", key, given);
    if (given != TOKEN_NONE)
        *out = given;
    else if (fallback != TOKEN_NONE && vocab_at(vocab, fallback) &&
             vocab->entries[fallback].flags & VOCAB_SPECIAL)
        *out = fallback;
    return STATUS_OK;
}

/* Puts `id` around a text if the file, or without its word the model, says so. */
static enum status read_switch(const struct pieces_reading *reading, const char *key,
                               enum tokenizer_switch given, bool by_model, uint32_t id,
                               struct token_list *list)
{
    bool on = given == TOKENIZER_BY_MODEL ? by_model && id != TOKEN_NONE : given == TOKENIZER_ON;
    if (on && id == TOKEN_NONE)
        return pieces_error(reading, STATUS_INVALID,
                            "add_%s_token is true, but %s_token_id is missing", key, key);
    return on ? token_list_push(list, id) : STATUS_OK;
}

static enum status keep_template(const struct pieces_reading *reading)
{
    const struct tokenizer_string *text = &reading->pieces->chat_template;
    if (!text->data)
        return STATUS_OK;
    if (memchr(text->data, '\0', text->bytes))
        return error_set(reading->error, STATUS_INVALID, "%s: tokenizer.chat_template holds a NUL",
                         reading->file);
    reading->tokenizer->chat_template = strndup(text->data, text->bytes);
    return reading->tokenizer->chat_template ? STATUS_OK : STATUS_NO_MEMORY;
}

static enum status read_all(const struct pieces_reading *reading)
{
    struct tokenizer *tokenizer = reading->tokenizer;
    const struct tokenizer_pieces *pieces = reading->pieces;
    bool llama = is(&pieces->model, "llama");
    if (!pieces->model.data)
        return pieces_error(reading, STATUS_INVALID, "model is missing");
    if (!llama && !is(&pieces->model, "gpt2"))
        return pieces_error(reading, STATUS_UNSUPPORTED, "model \"%.*s\" is not supported",
                            (int)(pieces->model.bytes < 64 ? pieces->model.bytes : 64),
                            pieces->model.data);
    enum status status = read_tokens(reading);
    if (status == STATUS_OK)
        status = read_id(reading, "bos_token_id", pieces->bos, llama ? 1 : TOKEN_NONE,
                         &tokenizer->bos);
    if (status == STATUS_OK)
        status = read_id(reading, "eos_token_id", pieces->eos, llama ? 2 : TOKEN_NONE,
                         &tokenizer->eos);
    if (status == STATUS_OK)
        status = llama ? pieces_llama_read(reading) : pieces_gpt2_read(reading);
    if (status == STATUS_OK && llama) /* a byte-level vocabulary knows everything */
        status = read_id(reading, "unknown_token_id", pieces->unknown, 0,
                         &tokenizer->bpe.unknown_id);
    if (status == STATUS_OK)
        status = decoder_set_pieces(&tokenizer->decoder, &tokenizer->vocab);
    if (status == STATUS_OK)
        status = restore_added(reading);
    if (status == STATUS_OK)
        status = read_switch(reading, "bos", pieces->add_bos, tokenizer->bos_by_model,
                             tokenizer->bos, &tokenizer->before);
    if (status == STATUS_OK)
        status = read_switch(reading, "eos", pieces->add_eos, false, tokenizer->eos,
                             &tokenizer->after);
    return status == STATUS_OK ? keep_template(reading) : status;
}

enum status tokenizer_pieces_read(struct tokenizer *tokenizer, const char *file,
                                  const struct tokenizer_pieces *pieces, struct error *error)
{
    struct pieces_reading reading = {
        .tokenizer = tokenizer, .pieces = pieces, .file = file, .error = error};
    enum status status = read_all(&reading);
    if (status == STATUS_FULL)
        status = pieces_error(&reading, STATUS_INVALID, "tokens has one of more than a mebibyte");
    return status == STATUS_NO_MEMORY ? error_set(error, status, "%s: out of memory", file)
                                      : status;
}
