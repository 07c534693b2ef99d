/* Typed, ranged reads of settings. Owns the parsed file; immutable after parse, so any thread may
 * read. Defaults are nobody's business here: a missing key is reported as missing, because the
 * defaults of the libraries that write these files differ from the released checkpoints. */
#include "engine/load/config_json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/load/json_text.h"

struct config_json {
    char *file;
    json_t *root;
};

/* Takes `root`, whatever the outcome. */
static enum status from_json(struct config_json **out, const char *file, json_t *root,
                             struct error *error)
{
    struct config_json *config = calloc(1, sizeof *config);
    char *name = strdup(file);
    if (!config || !name) {
        free(config);
        free(name);
        json_decref(root);
        return error_set(error, STATUS_NO_MEMORY, "%s: no memory", file);
    }
    config->file = name;
    config->root = root;
    *out = config;
    return STATUS_OK;
}

enum status config_json_parse(struct config_json **out, const char *file, const char *text,
                              size_t bytes, struct error *error)
{
    json_t *root;
    *out = NULL;
    enum status status = json_text_parse(&root, file, text, bytes, error);
    return status == STATUS_OK ? from_json(out, file, root, error) : status;
}

enum status config_json_read(struct config_json **out, const char *path, struct error *error)
{
    json_t *root;
    *out = NULL;
    enum status status = json_text_read(&root, path, CONFIG_JSON_BYTES_MAX, error);
    return status == STATUS_OK ? from_json(out, path, root, error) : status;
}

void config_json_close(struct config_json *config)
{
    if (!config)
        return;
    free(config->file);
    json_decref(config->root);
    free(config);
}

/* The value at the path; NULL with OK: absent or null. INVALID: a step of the path leads through
 * something that is there but is no object. */
static enum status find(const struct config_json *config, const char *key, const json_t **value,
                        struct error *error)
{
    const json_t *at = config->root;
    const char *step = key;
    *value = NULL;
    for (;;) {
        size_t bytes = strcspn(step, ".");
        at = json_object_getn(at, step, bytes);
        if (!at || json_is_null(at))
            return STATUS_OK;
        if (step[bytes] == '\0')
            break;
        if (!json_is_object(at))
            return error_set(error, STATUS_INVALID, "%s: \"%.*s\" must be an object, not %s",
                             config->file, (int)(step + bytes - key), key, json_text_type(at));
        step += bytes + 1;
    }
    *value = at;
    return STATUS_OK;
}

/* OK only with a value. */
static enum status find_value(const struct config_json *config, const char *key, bool need,
                              const json_t **value, struct error *error)
{
    enum status status = find(config, key, value, error);
    if (status != STATUS_OK || *value)
        return status;
    if (need)
        return error_set(error, STATUS_INVALID, "%s: \"%s\" is missing", config->file, key);
    return STATUS_NOT_FOUND;
}

static enum status wrong_type(const struct config_json *config, const char *key,
                              const json_t *value, const char *wanted, struct error *error)
{
    char shown[JSON_TEXT_SHOWN_BYTES];
    return error_set(error, STATUS_INVALID, "%s: \"%s\" is %s, must be %s", config->file, key,
                     json_text_show(value, shown), wanted);
}

static enum status read_u32(const struct config_json *config, const char *key, const json_t *value,
                            uint32_t min, uint32_t max, uint32_t *out, struct error *error)
{
    if (!json_is_integer(value))
        return wrong_type(config, key, value, "an integer", error);
    json_int_t n = json_integer_value(value);
    if (n < (json_int_t)min || n > (json_int_t)max)
        return error_set(error, STATUS_INVALID, "%s: \"%s\" is %lld, must be within [%u, %u]",
                         config->file, key, (long long)n, min, max);
    *out = (uint32_t)n;
    return STATUS_OK;
}

bool config_json_has(const struct config_json *config, const char *key)
{
    const json_t *value;
    return find(config, key, &value, NULL) == STATUS_OK && value;
}

enum status config_json_u32(const struct config_json *config, const char *key, bool need,
                            uint32_t min, uint32_t max, uint32_t *out, struct error *error)
{
    const json_t *value;
    enum status status = find_value(config, key, need, &value, error);
    return status == STATUS_OK ? read_u32(config, key, value, min, max, out, error) : status;
}

enum status config_json_f64(const struct config_json *config, const char *key, bool need,
                            double min, double max, double *out, struct error *error)
{
    const json_t *value;
    enum status status = find_value(config, key, need, &value, error);
    if (status != STATUS_OK)
        return status;
    if (!json_is_number(value))
        return wrong_type(config, key, value, "a number", error);
    double n = json_number_value(value);
    if (!isfinite(n) || n < min || n > max)
        return error_set(error, STATUS_INVALID, "%s: \"%s\" is %g, must be within [%g, %g]",
                         config->file, key, n, min, max);
    *out = n;
    return STATUS_OK;
}

enum status config_json_bool(const struct config_json *config, const char *key, bool need,
                             bool *out, struct error *error)
{
    const json_t *value;
    enum status status = find_value(config, key, need, &value, error);
    if (status != STATUS_OK)
        return status;
    if (!json_is_boolean(value))
        return wrong_type(config, key, value, "true or false", error);
    *out = json_is_true(value);
    return STATUS_OK;
}

enum status config_json_string(const struct config_json *config, const char *key, bool need,
                               const char **out, struct error *error)
{
    const json_t *value;
    enum status status = find_value(config, key, need, &value, error);
    if (status != STATUS_OK)
        return status;
    if (!json_is_string(value) || strlen(json_string_value(value)) != json_string_length(value))
        return wrong_type(config, key, value, "a string without NUL", error);
    *out = json_string_value(value);
    return STATUS_OK;
}

enum status config_json_u32_list(const struct config_json *config, const char *key, uint32_t *out,
                                 uint32_t max, uint32_t *count, struct error *error)
{
    const json_t *value;
    *count = 0;
    enum status status = find_value(config, key, false, &value, error);
    if (status == STATUS_NOT_FOUND)
        return STATUS_OK;
    if (status != STATUS_OK)
        return status;
    if (json_is_integer(value) && max > 0) {
        status = read_u32(config, key, value, 0, UINT32_MAX, out, error);
        *count = status == STATUS_OK ? 1 : 0;
        return status;
    }
    if (!json_is_array(value))
        return wrong_type(config, key, value, "an integer or a list of integers", error);
    size_t n = json_array_size(value);
    if (n > max)
        return error_set(error, STATUS_INVALID, "%s: \"%s\" has %zu values, at most %u are read",
                         config->file, key, n, max);
    for (size_t i = 0; i < n; i++) {
        status = read_u32(config, key, json_array_get(value, i), 0, UINT32_MAX, &out[i], error);
        if (status != STATUS_OK)
            return status;
    }
    *count = (uint32_t)n;
    return STATUS_OK;
}
