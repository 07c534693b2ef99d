/* Hugging Face's settings by key, derived once from a GGUF file's metadata and the shapes of its
 * tensors: the table in gguf_view.h. What would make a model compute something else than we do is
 * refused here, by the name of the file's own key. Immutable after open. */
#ifndef MOERING_ENGINE_LOAD_GGUF_SETTINGS_H
#define MOERING_ENGINE_LOAD_GGUF_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/load/gguf_arch.h"
#include "engine/load/gguf_split.h"

#ifdef __cplusplus
extern "C" {
#endif

struct gguf_settings;

/* Of the model in `split`, which outlives *out; *arch: which it is, of static life. INVALID: a key
 * is missing, malformed or contradicts another; UNSUPPORTED: another architecture, or something of
 * it that is not computed; NO_MEMORY. */
enum status gguf_settings_open(struct gguf_settings **out, const struct gguf_split *split,
                               const struct gguf_arch **arch, struct error *error);
void gguf_settings_close(struct gguf_settings *settings); /* accepts NULL */

/* As the functions of checkpoint.h; NULL of own_key: nothing in the file stands for `key`. */
enum status gguf_settings_u32(const struct gguf_settings *settings, const char *key, bool need,
                              uint32_t min, uint32_t max, uint32_t *out, struct error *error);
enum status gguf_settings_f64(const struct gguf_settings *settings, const char *key, bool need,
                              double min, double max, double *out, struct error *error);
enum status gguf_settings_bool(const struct gguf_settings *settings, const char *key, bool need,
                               bool *out, struct error *error);
enum status gguf_settings_string(const struct gguf_settings *settings, const char *key, bool need,
                                 const char **out, struct error *error);
enum status gguf_settings_u32_list(const struct gguf_settings *settings, const char *key,
                                   uint32_t *out, uint32_t max, uint32_t *count,
                                   struct error *error);
bool gguf_settings_has(const struct gguf_settings *settings, const char *key);
const char *gguf_settings_own_key(const struct gguf_settings *settings, const char *key);

#ifdef __cplusplus
}
#endif
#endif
