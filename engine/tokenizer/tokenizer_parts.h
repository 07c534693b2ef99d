/* What a tokenizer is made of: for the files of this folder, nobody else.
 *
 * The order of the fields is the order in which a text meets them. */
#ifndef MOERING_ENGINE_TOKENIZER_TOKENIZER_PARTS_H
#define MOERING_ENGINE_TOKENIZER_TOKENIZER_PARTS_H

#include "engine/tokenizer/added_tokens.h"
#include "engine/tokenizer/bpe.h"
#include "engine/tokenizer/decoder.h"
#include "engine/tokenizer/normalize.h"
#include "engine/tokenizer/pretokenize.h"
#include "engine/tokenizer/vocab.h"

#ifdef __cplusplus
extern "C" {
#endif

struct tokenizer {
    struct vocab vocab;
    struct added_tokens added_raw;        /* looked for in the text as given */
    struct normalizer normalizer;
    struct added_tokens added_normalized; /* looked for in the normalised text */
    struct pretokenizer pretokenizer;
    struct bpe bpe;
    struct token_list before, after;      /* the model's own ids around a sequence */
    struct decoder decoder;
    uint32_t bos, eos;                    /* or TOKEN_NONE */
    bool bos_by_model;                    /* pieces: bos begins a text unless the file objects */
    char *chat_template;                  /* or NULL */
    char *notice;                         /* or NULL */
};

/* Fills a tokenizer whose fields are all zero from tokenizer.json; `file` names it in errors.
 * INVALID, UNSUPPORTED, NO_MEMORY; half-built then, for tokenizer_close. */
enum status tokenizer_json_read(struct tokenizer *tokenizer, const char *file, const char *json,
                                size_t json_bytes, struct error *error);
/* Takes bos, eos, add_bos_token, add_eos_token and the chat template from tokenizer_config.json.
 * Same errors. */
enum status tokenizer_config_read(struct tokenizer *tokenizer, const char *file, const char *json,
                                  size_t json_bytes, struct error *error);
/* Takes bos and eos from special_tokens_map.json where the configuration named none. */
enum status tokenizer_special_map_read(struct tokenizer *tokenizer, const char *file,
                                       const char *json, size_t json_bytes, struct error *error);
/* Fills a tokenizer whose fields are all zero from the arrays of a GGUF file. Same errors. */
enum status tokenizer_pieces_read(struct tokenizer *tokenizer, const char *file,
                                  const struct tokenizer_pieces *pieces, struct error *error);

#ifdef __cplusplus
}
#endif
#endif
