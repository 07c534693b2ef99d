/* Weights of the LSTM load predictor as a file. Little-endian, in this order:
 *
 *   magic     8 bytes  "MOELSTM\0"
 *   version   u32      1
 *   layers, experts, units, horizon_count   u32 each
 *   horizons  u32 [8]  ascending, the unused ones 0
 *   weights   u64      their number, which follows from the sizes
 *   checksum  u64      FNV-1a of the weights' bytes, begun with the header before it
 *   f32 [weights]      in the order of struct lstm_net
 *
 * The sizes are checked before anything is allocated, and the file must be exactly as long as they
 * say. Weights that are not finite are refused: they would make every forecast one that is not. */
#ifndef MOERING_ENGINE_PREDICT_LSTM_FILE_H
#define MOERING_ENGINE_PREDICT_LSTM_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "engine/predict/lstm_net.h"

#ifdef __cplusplus
extern "C" {
#endif

#define LSTM_FILE_HEADER_BYTES 76u

/* From bytes; `file` is the name in errors. INVALID: one sentence with the file and the field;
 * UNSUPPORTED: another version; NO_MEMORY. */
enum status lstm_file_parse(struct lstm_net **out, const char *file, const void *bytes,
                            size_t count, struct error *error);
/* The same from a file. Also NOT_FOUND, IO. */
enum status lstm_file_read(struct lstm_net **out, const char *path, struct error *error);
/* The sizes alone, from the header of a file that is as long as they say: what the weights will
 * take is known before they are read. Errors as lstm_file_read, but for the checksum and the
 * weights. */
enum status lstm_file_sizes(struct lstm_sizes *out, const char *path, struct error *error);
/* Whole or not at all: written beside the path and renamed. IO. */
enum status lstm_file_write(const struct lstm_net *net, const char *path, struct error *error);

#ifdef __cplusplus
}
#endif
#endif
