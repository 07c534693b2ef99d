/* Typed reads of metadata. Owns nothing; the parser has checked that each value is as long as its
 * type says, here it is only understood. Any thread. */
#include "engine/load/gguf_value.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* True if it is an integer: its value, clamped to the range of int64. */
static bool integer_at(const struct gguf_value *value, uint64_t i, int64_t *out)
{
    switch (value->type) {
    case GGUF_U8: *out = ((const uint8_t *)value->numbers)[i]; return true;
    case GGUF_I8: *out = ((const int8_t *)value->numbers)[i]; return true;
    case GGUF_U16: *out = ((const uint16_t *)value->numbers)[i]; return true;
    case GGUF_I16: *out = ((const int16_t *)value->numbers)[i]; return true;
    case GGUF_U32: *out = ((const uint32_t *)value->numbers)[i]; return true;
    case GGUF_I32: *out = ((const int32_t *)value->numbers)[i]; return true;
    case GGUF_I64: *out = ((const int64_t *)value->numbers)[i]; return true;
    case GGUF_U64: {
        uint64_t n = ((const uint64_t *)value->numbers)[i];
        *out = n > INT64_MAX ? INT64_MAX : (int64_t)n;
        return true;
    }
    default: return false;
    }
}

static bool float_at(const struct gguf_value *value, double *out)
{
    if (value->type == GGUF_F32)
        *out = *(const float *)value->numbers;
    else if (value->type == GGUF_F64)
        *out = *(const double *)value->numbers;
    else
        return false;
    return true;
}

static void show_string(struct gguf_string string, char *out)
{
    size_t used = 0;
    out[used++] = '"';
    for (uint64_t i = 0; i < string.bytes && used < GGUF_VALUE_SHOWN_BYTES - 6; i++)
        out[used++] = string.text[i] < 0x20 || string.text[i] > 0x7e ? '?' : string.text[i];
    memcpy(out + used, string.bytes > used - 1 ? "...\"" : "\"", string.bytes > used - 1 ? 5 : 2);
}

const char *gguf_value_show(const struct gguf_value *value, char out[GGUF_VALUE_SHOWN_BYTES])
{
    int64_t integer;
    double real;
    if (value->is_array)
        snprintf(out, GGUF_VALUE_SHOWN_BYTES, "an array of %llu", (unsigned long long)value->count);
    else if (integer_at(value, 0, &integer))
        snprintf(out, GGUF_VALUE_SHOWN_BYTES, "%lld", (long long)integer);
    else if (float_at(value, &real))
        snprintf(out, GGUF_VALUE_SHOWN_BYTES, "%g", real);
    else if (value->type == GGUF_BOOL)
        snprintf(out, GGUF_VALUE_SHOWN_BYTES, "%s",
                 *(const uint8_t *)value->numbers ? "true" : "false");
    else
        show_string(value->strings[0], out);
    return out;
}

/* OK only with a value. */
static enum status find(const struct gguf *gguf, const char *key, bool need,
                        const struct gguf_value **value, struct error *error)
{
    *value = gguf_find(gguf, key);
    if (*value)
        return STATUS_OK;
    if (need)
        return error_set(error, STATUS_INVALID, "%s: \"%s\" is missing", gguf->file, key);
    return STATUS_NOT_FOUND;
}

static enum status wrong_type(const struct gguf *gguf, const char *key,
                              const struct gguf_value *value, const char *wanted,
                              struct error *error)
{
    char shown[GGUF_VALUE_SHOWN_BYTES];
    return error_set(error, STATUS_INVALID, "%s: \"%s\" is %s, must be %s", gguf->file, key,
                     gguf_value_show(value, shown), wanted);
}

static enum status check_range(const struct gguf *gguf, const char *key, int64_t n, uint32_t min,
                               uint32_t max, struct error *error)
{
    if (n < (int64_t)min || n > (int64_t)max)
        return error_set(error, STATUS_INVALID, "%s: \"%s\" is %lld, must be within [%u, %u]",
                         gguf->file, key, (long long)n, min, max);
    return STATUS_OK;
}

enum status gguf_value_u32(const struct gguf *gguf, const char *key, bool need, uint32_t min,
                           uint32_t max, uint32_t *out, struct error *error)
{
    const struct gguf_value *value;
    int64_t n;
    enum status status = find(gguf, key, need, &value, error);
    if (status != STATUS_OK)
        return status;
    if (value->is_array || !integer_at(value, 0, &n))
        return wrong_type(gguf, key, value, "an integer", error);
    status = check_range(gguf, key, n, min, max, error);
    if (status == STATUS_OK)
        *out = (uint32_t)n;
    return status;
}

enum status gguf_value_u32_uniform(const struct gguf *gguf, const char *key, bool need,
                                   uint32_t min, uint32_t max, uint32_t *out, struct error *error)
{
    const struct gguf_value *value;
    int64_t first, n;
    enum status status = find(gguf, key, need, &value, error);
    if (status != STATUS_OK)
        return status;
    if (value->count == 0 || !integer_at(value, 0, &first))
        return wrong_type(gguf, key, value, "an integer, or one for each layer", error);
    for (uint64_t i = 1; i < value->count; i++) {
        integer_at(value, i, &n);
        if (n != first)
            return error_set(error, STATUS_UNSUPPORTED,
                             "%s: \"%s\" is %lld for layer 0 and %lld for layer %llu: layers that "
                             "differ are not supported",
                             gguf->file, key, (long long)first, (long long)n,
                             (unsigned long long)i);
    }
    status = check_range(gguf, key, first, min, max, error);
    if (status == STATUS_OK)
        *out = (uint32_t)first;
    return status;
}

enum status gguf_value_f64(const struct gguf *gguf, const char *key, bool need, double min,
                           double max, double *out, struct error *error)
{
    const struct gguf_value *value;
    double n;
    enum status status = find(gguf, key, need, &value, error);
    if (status != STATUS_OK)
        return status;
    if (value->is_array || !float_at(value, &n))
        return wrong_type(gguf, key, value, "a float", error);
    if (!isfinite(n) || n < min || n > max)
        return error_set(error, STATUS_INVALID, "%s: \"%s\" is %g, must be within [%g, %g]",
                         gguf->file, key, n, min, max);
    *out = n;
    return STATUS_OK;
}

enum status gguf_value_bool(const struct gguf *gguf, const char *key, bool need, bool *out,
                            struct error *error)
{
    const struct gguf_value *value;
    enum status status = find(gguf, key, need, &value, error);
    if (status != STATUS_OK)
        return status;
    if (value->is_array || value->type != GGUF_BOOL)
        return wrong_type(gguf, key, value, "true or false", error);
    *out = *(const uint8_t *)value->numbers != 0;
    return STATUS_OK;
}

enum status gguf_value_string(const struct gguf *gguf, const char *key, bool need,
                              struct gguf_string *out, struct error *error)
{
    const struct gguf_value *value;
    enum status status = find(gguf, key, need, &value, error);
    if (status != STATUS_OK)
        return status;
    if (value->is_array || value->type != GGUF_STRING)
        return wrong_type(gguf, key, value, "a string", error);
    *out = value->strings[0];
    return STATUS_OK;
}

/* An array of this type, or of the other one. */
static enum status find_array(const struct gguf *gguf, const char *key, bool need,
                              enum gguf_type type, enum gguf_type or_type, const char *wanted,
                              const struct gguf_value **value, struct error *error)
{
    enum status status = find(gguf, key, need, value, error);
    if (status == STATUS_OK &&
        (!(*value)->is_array || ((*value)->type != type && (*value)->type != or_type)))
        return wrong_type(gguf, key, *value, wanted, error);
    return status;
}

enum status gguf_value_strings(const struct gguf *gguf, const char *key, bool need,
                               const struct gguf_string **out, uint64_t *count, struct error *error)
{
    const struct gguf_value *value;
    enum status status = find_array(gguf, key, need, GGUF_STRING, GGUF_STRING,
                                    "an array of strings", &value, error);
    if (status == STATUS_OK) {
        *out = value->strings;
        *count = value->count;
    }
    return status;
}

enum status gguf_value_f32_array(const struct gguf *gguf, const char *key, bool need,
                                 const float **out, uint64_t *count, struct error *error)
{
    const struct gguf_value *value;
    enum status status = find_array(gguf, key, need, GGUF_F32, GGUF_F32,
                                    "an array of 32-bit floats", &value, error);
    if (status == STATUS_OK) {
        *out = value->numbers;
        *count = value->count;
    }
    return status;
}

enum status gguf_value_i32_array(const struct gguf *gguf, const char *key, bool need,
                                 const int32_t **out, uint64_t *count, struct error *error)
{
    const struct gguf_value *value;
    enum status status = find_array(gguf, key, need, GGUF_I32, GGUF_U32,
                                    "an array of 32-bit integers", &value, error);
    if (status == STATUS_OK) {
        *out = value->numbers;
        *count = value->count;
    }
    return status;
}
