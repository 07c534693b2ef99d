/* Typed reads from one JSON file of settings (config.json, generation_config.json).
 *
 * Keys are paths with dots ("rope_parameters.rope_theta" reaches into objects). An integer must be
 * written as one: 128.0 is refused, so that no rounding decides a size. Null is the same as absent,
 * as the libraries that write these files mean it. */
#ifndef MOERING_ENGINE_LOAD_CONFIG_JSON_H
#define MOERING_ENGINE_LOAD_CONFIG_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "memory/base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

#define CONFIG_JSON_BYTES_MAX ((uint64_t)16 << 20)

struct config_json;

/* `file`: the name used in errors, copied. INVALID: malformed, NaN or Infinity, a key used twice,
 * or not an object; the error names the line and the key. NO_MEMORY. */
enum status config_json_parse(struct config_json **out, const char *file, const char *text,
                              size_t bytes, struct error *error);
/* The same from a file. Also NOT_FOUND, IO. */
enum status config_json_read(struct config_json **out, const char *path, struct error *error);
void config_json_close(struct config_json *config); /* accepts NULL */

/* True if the key exists and is not null. */
bool config_json_has(const struct config_json *config, const char *key);

/* NOT_FOUND: absent or null (`error` stays empty); INVALID: of another type, not finite, outside
 * [min, max], or absent though `need`. *out is written only with OK. */
enum status config_json_u32(const struct config_json *config, const char *key, bool need,
                            uint32_t min, uint32_t max, uint32_t *out, struct error *error);
enum status config_json_f64(const struct config_json *config, const char *key, bool need,
                            double min, double max, double *out, struct error *error);
enum status config_json_bool(const struct config_json *config, const char *key, bool need,
                             bool *out, struct error *error);
/* Owned by the config. A string that holds a NUL is INVALID. */
enum status config_json_string(const struct config_json *config, const char *key, bool need,
                               const char **out, struct error *error);
/* An integer or a list of at most `max`. OK with *count 0: absent, null or an empty list. */
enum status config_json_u32_list(const struct config_json *config, const char *key, uint32_t *out,
                                 uint32_t max, uint32_t *count, struct error *error);

#ifdef __cplusplus
}
#endif
#endif
