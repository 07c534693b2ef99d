/* The tokenizer that a GGUF file brings with it: its tokenizer.ggml.* keys as the tokenizer takes
 * them (tokenizer.h: tokenizer_pieces). Knows the keys' names and types, nothing of what they
 * mean. */
#ifndef MOERING_ENGINE_MODEL_GGUF_TOKENIZER_H
#define MOERING_ENGINE_MODEL_GGUF_TOKENIZER_H

#include "engine/load/gguf.h"
#include "engine/tokenizer/tokenizer.h"

#ifdef __cplusplus
extern "C" {
#endif

#define GGUF_TOKENIZER_JSON "tokenizer.huggingface.json"
#define GGUF_TOKENIZER_CONFIG "tokenizer.huggingface.config.json"

/* The tokenizer of a model, whatever its form: of its GGUF file, or of its folder
 * (tokenizer_open). */
enum status gguf_tokenizer_of_model(struct tokenizer **out, const struct checkpoint *checkpoint,
                                    struct error *error);
/* Of a file's own arrays or, if it has none, of the files of Hugging Face that it holds as they are
 * (convert.h writes such). NOT_FOUND: the file has no tokenizer (`error` says so); INVALID: a key
 * of another type, arrays of different lengths; and what tokenizer_open_pieces returns. */
enum status gguf_tokenizer_open(struct tokenizer **out, const struct gguf *gguf,
                                struct error *error);

#ifdef __cplusplus
}
#endif
#endif
