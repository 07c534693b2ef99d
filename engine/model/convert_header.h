/* The metadata of a file that convert.c writes, and the order of rows that GGUF files have where it
 * is not that of Hugging Face. For convert.c alone. */
#ifndef MOERING_ENGINE_MODEL_CONVERT_HEADER_H
#define MOERING_ENGINE_MODEL_CONVERT_HEADER_H

#include "engine/load/gguf_writer.h"
#include "engine/model/model.h"

#ifdef __cplusplus
extern "C" {
#endif

#define CONVERT_CRC_KEY "moering.experts.crc32c"

/* All keys but CONVERT_CRC_KEY. IO, INVALID: a tokenizer file of the folder cannot be read. */
enum status convert_header(struct gguf_writer *writer, const struct checkpoint *from,
                           const struct model_plan *plan, struct error *error);

/* Of q's and k's weights and biases: rows of a head; 0: another tensor. */
uint32_t convert_head_rows(const struct hparams *hparams, const char *name);
/* to's row 2i of a head is from's row i, row 2i + 1 its row i + head_rows / 2: what a reader that
 * turns neighbours wants. rows: a multiple of head_rows. */
void convert_interleave(uint8_t *to, const uint8_t *from, uint32_t rows, uint32_t head_rows,
                        uint64_t row_bytes);

#ifdef __cplusplus
}
#endif
#endif
