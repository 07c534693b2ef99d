/* Reads the stages of tokenizer.json around the model. Each takes the whole document and fills one
 * stage; kinds that are not built are refused by name: UNSUPPORTED with the field. INVALID when
 * malformed, NO_MEMORY. */
#ifndef MOERING_ENGINE_TOKENIZER_PIPELINE_JSON_H
#define MOERING_ENGINE_TOKENIZER_PIPELINE_JSON_H

#include "engine/tokenizer/json_field.h"
#include "engine/tokenizer/tokenizer_parts.h"

#ifdef __cplusplus
extern "C" {
#endif

enum status pipeline_read_normalizer(struct normalizer *normalizer,
                                     const struct json_field *document);
enum status pipeline_read_pretokenizer(struct pretokenizer *pretokenizer,
                                       const struct json_field *document);
/* The vocabulary is complete. */
enum status pipeline_read_post_processor(struct tokenizer *tokenizer,
                                         const struct json_field *document);
enum status pipeline_read_decoder(struct decoder *decoder, const struct json_field *document);

#ifdef __cplusplus
}
#endif
#endif
