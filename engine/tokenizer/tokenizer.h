/* Text <-> token ids of one model, from its Hugging Face tokenizer.json or from the arrays of
 * pieces that a GGUF file holds.
 *
 * Owns the vocabulary, merges, added tokens, normaliser and pre-tokeniser; immutable after open, so
 * any number of threads may encode and decode with one tokenizer at once (each call keeps its own
 * scratch). It refuses kinds of tokenizer it does not know by name instead of guessing: a silently
 * different split still gives fluent text and wrong answers. */
#ifndef MOERING_ENGINE_TOKENIZER_TOKENIZER_H
#define MOERING_ENGINE_TOKENIZER_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "memory/base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

#define TOKEN_NONE UINT32_MAX

struct tokenizer;

/* A growable list of ids. Zero-initialise; token_list_reset frees. */
struct token_list {
    uint32_t *ids;
    uint32_t count;
    uint32_t capacity;
};
void token_list_reset(struct token_list *list);

/* Reads tokenizer.json, and tokenizer_config.json, special_tokens_map.json and chat_template.jinja
 * of the same folder if there. NOT_FOUND: no tokenizer.json; IO: it cannot be read.
 * INVALID: malformed, or inconsistent (an id twice, a merge of unknown pieces, an id beyond 2^31).
 * UNSUPPORTED: a model, normaliser, pre-tokeniser or decoder of a kind not known; the error names
 * the file and the JSON field. */
enum status tokenizer_open(struct tokenizer **out, const char *folder, struct error *error);
/* The same from bytes in memory; `config` (tokenizer_config.json) may be NULL. `name` is used in
 * error sentences. */
enum status tokenizer_open_memory(struct tokenizer **out, const char *name, const char *json,
                                  size_t json_bytes, const char *config, size_t config_bytes,
                                  struct error *error);

/* A string of a file: not NUL-terminated. `data` is NULL where the file says nothing. */
struct tokenizer_string {
    const char *data;
    size_t bytes;
};

/* What a piece is, with the numbers that GGUF gives them. */
enum tokenizer_piece_type {
    TOKENIZER_PIECE_UNDEFINED = 0,    /* taken for normal */
    TOKENIZER_PIECE_NORMAL = 1,       /* merging may produce it */
    TOKENIZER_PIECE_UNKNOWN = 2,      /* special; stands for what has no piece */
    TOKENIZER_PIECE_CONTROL = 3,      /* special: recognised with parse_special alone */
    TOKENIZER_PIECE_USER_DEFINED = 4, /* always recognised, before anything is merged */
    TOKENIZER_PIECE_UNUSED = 5,       /* never produced; decodes to nothing */
    TOKENIZER_PIECE_BYTE = 6,         /* "<0xE2>": one byte of a character that has no piece */
};

enum tokenizer_switch { TOKENIZER_BY_MODEL, TOKENIZER_OFF, TOKENIZER_ON };

/* A tokenizer as arrays, in the terms of GGUF's tokenizer.ggml.* keys. Only read during open. An
 * array that the file lacks is NULL, an id that it lacks TOKEN_NONE, a switch that it lacks
 * BY_MODEL: "llama" begins a text with bos and with a space, "gpt2" does neither, except that some
 * pre-tokenizers bring bos with them (llama-bpe, tekken). */
struct tokenizer_pieces {
    struct tokenizer_string model;         /* .model: "gpt2" (byte-level BPE) or "llama" */
    struct tokenizer_string pre_tokenizer; /* .pre; of "gpt2" only */
    const struct tokenizer_string *tokens; /* [token_count] .tokens */
    const float *scores;                   /* [token_count] .scores; "llama" needs them */
    const int32_t *types;                  /* [token_count] .token_type; "llama" needs them,
                                              of "gpt2" NULL means that all are normal */
    uint32_t token_count;
    uint32_t merge_count;
    const struct tokenizer_string *merges; /* [merge_count] .merges: "left right", best first */
    uint32_t bos, eos, unknown;            /* .bos_token_id, .eos_token_id, .unknown_token_id;
                                              of "llama" 1, 2 and 0 where they are absent */
    enum tokenizer_switch add_bos, add_eos; /* .add_bos_token, .add_eos_token */
    enum tokenizer_switch add_space_prefix; /* .add_space_prefix; of "llama" only */
    struct tokenizer_string chat_template;  /* tokenizer.chat_template */
};

/* Opens a tokenizer from arrays; `name` (the file) begins error sentences, which then name the key.
 * The caller's arrays may go afterwards. INVALID: inconsistent (a piece twice, an id beyond the
 * pieces, a merge of pieces that are not there, text that is not UTF-8). UNSUPPORTED: a model
 * (unigram "t5", "bert", ...) or a pre-tokenizer that is not known, by its name. NO_MEMORY.
 * A file that does not name its pre-tokenizer gets GPT-2's, see tokenizer_notice. */
enum status tokenizer_open_pieces(struct tokenizer **out, const char *name,
                                  const struct tokenizer_pieces *pieces, struct error *error);
void tokenizer_close(struct tokenizer *tokenizer);

/* A sentence that whoever opened the tokenizer should show its user, or NULL: what the file left
 * open and how it was decided. Owned by the tokenizer. */
const char *tokenizer_notice(const struct tokenizer *tokenizer);

/* Appends the ids of `text` (UTF-8, may hold NUL) to `out`. `add_special` puts the model's own
 * leading and trailing tokens (bos, eos) around as its post-processor says. `parse_special`
 * recognises special tokens written out in the text; without it they are plain text. (Added tokens
 * that are not special, such as the runs of spaces of GPT-NeoX, are always recognised: the model
 * was trained so.) On failure `out` is as before.
 * INVALID: not UTF-8 (the error says at which byte), a GiB or more, or a text that the tokenizer's
 * own patterns cannot cut within their bounds. NO_MEMORY. */
enum status tokenizer_encode(const struct tokenizer *tokenizer, const char *text, size_t bytes,
                             bool add_special, bool parse_special, struct token_list *out,
                             struct error *error);

/* Number of ids: every id is below it (ids may have holes; those decode to nothing). */
uint32_t tokenizer_vocab_size(const struct tokenizer *tokenizer);
/* The id of a vocabulary entry or added token written as in the file; TOKEN_NONE if unknown. */
uint32_t tokenizer_token_id(const struct tokenizer *tokenizer, const char *entry);
/* The entry as written in the file (NUL-terminated, owned by the tokenizer); NULL for a hole. */
const char *tokenizer_entry(const struct tokenizer *tokenizer, uint32_t id);
/* The bytes that `id` stands for in running text: may be part of a UTF-8 character, may be empty.
 * Owned by the tokenizer. Leading-space rules of SentencePiece decoders are the detokenizer's. */
const char *tokenizer_piece(const struct tokenizer *tokenizer, uint32_t id, size_t *bytes);
/* Added tokens flagged special (bos, eos, chat marks): skipped by a detokenizer unless asked. */
bool tokenizer_is_special(const struct tokenizer *tokenizer, uint32_t id);
/* bos/eos by tokenizer_config.json (or the pieces) or TOKEN_NONE. */
uint32_t tokenizer_bos(const struct tokenizer *tokenizer);
uint32_t tokenizer_eos(const struct tokenizer *tokenizer);
/* Takes this template in place of its own; before anybody else sees the tokenizer. NO_MEMORY. */
enum status tokenizer_set_chat_template(struct tokenizer *tokenizer, const char *text,
                                        size_t bytes);
/* The chat template text (Jinja) of chat_template.jinja, of tokenizer_config.json or of the GGUF
 * file, or NULL. Owned by the tokenizer. */
const char *tokenizer_chat_template(const struct tokenizer *tokenizer);

#ifdef __cplusplus
}
#endif
#endif
