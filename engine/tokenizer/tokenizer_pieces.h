/* What the two readers of pieces share: where they read from and how they complain. For
 * tokenizer_pieces.c, pieces_gpt2.c and pieces_llama.c. */
#ifndef MOERING_ENGINE_TOKENIZER_TOKENIZER_PIECES_H
#define MOERING_ENGINE_TOKENIZER_TOKENIZER_PIECES_H

#include "engine/tokenizer/tokenizer_parts.h"

#ifdef __cplusplus
extern "C" {
#endif

struct pieces_reading {
    struct tokenizer *tokenizer; /* being filled */
    const struct tokenizer_pieces *pieces;
    const char *file;
    struct error *error;
};

/* Fills the error with "file: tokenizer.ggml.SENTENCE" and returns `status`. */
enum status pieces_error(const struct pieces_reading *reading, enum status status,
                         const char *format, ...) __attribute__((format(printf, 3, 4)));

/* The piece's type, undefined taken for normal. */
enum tokenizer_piece_type pieces_type(const struct tokenizer_pieces *pieces, uint32_t id);

/* Each builds the stages of its model around a complete vocabulary: normaliser, pre-tokeniser,
 * merges and decoder. INVALID, UNSUPPORTED, NO_MEMORY. */
enum status pieces_gpt2_read(const struct pieces_reading *reading);
enum status pieces_llama_read(const struct pieces_reading *reading);

#ifdef __cplusplus
}
#endif
#endif
