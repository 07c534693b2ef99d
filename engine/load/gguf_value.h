/* Typed reads of a GGUF file's metadata.
 *
 * Integers may be written in any width and sign the format has (writers differ), as long as the
 * value fits; floats in both widths. Nothing is converted between the kinds: an integer is no
 * float, a string no number. */
#ifndef MOERING_ENGINE_LOAD_GGUF_VALUE_H
#define MOERING_ENGINE_LOAD_GGUF_VALUE_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/load/gguf.h"

#ifdef __cplusplus
extern "C" {
#endif

/* NOT_FOUND: absent (`error` stays empty); INVALID: of another type, not finite, outside [min,
 * max], or absent though `need`. *out is written only with OK. Errors name the file, the key and
 * the value. */
enum status gguf_value_u32(const struct gguf *gguf, const char *key, bool need, uint32_t min,
                           uint32_t max, uint32_t *out, struct error *error);
/* One number, or an array (one for each layer) of equal ones: which of the two, writers differ.
 * UNSUPPORTED: an array of different numbers. */
enum status gguf_value_u32_uniform(const struct gguf *gguf, const char *key, bool need,
                                   uint32_t min, uint32_t max, uint32_t *out, struct error *error);
enum status gguf_value_f64(const struct gguf *gguf, const char *key, bool need, double min,
                           double max, double *out, struct error *error);
enum status gguf_value_bool(const struct gguf *gguf, const char *key, bool need, bool *out,
                            struct error *error);
/* Owned by the gguf; any bytes, not terminated. */
enum status gguf_value_string(const struct gguf *gguf, const char *key, bool need,
                              struct gguf_string *out, struct error *error);

/* Arrays, owned by the gguf. The integers of an i32 array may be written signed or unsigned. */
enum status gguf_value_strings(const struct gguf *gguf, const char *key, bool need,
                               const struct gguf_string **out, uint64_t *count,
                               struct error *error);
enum status gguf_value_f32_array(const struct gguf *gguf, const char *key, bool need,
                                 const float **out, uint64_t *count, struct error *error);
enum status gguf_value_i32_array(const struct gguf *gguf, const char *key, bool need,
                                 const int32_t **out, uint64_t *count, struct error *error);

/* A value as errors show it: "7", "1e-05", "true", "\"abc\"", "an array of 3"; cut to the room
 * there is, printable ASCII. Returns `out`. */
#define GGUF_VALUE_SHOWN_BYTES 64
const char *gguf_value_show(const struct gguf_value *value, char out[GGUF_VALUE_SHOWN_BYTES]);

#ifdef __cplusplus
}
#endif
#endif
