/* The keywords of the subset, and the small values that stand behind some of them. */
#include <math.h>
#include <string.h>

#include "engine/grammar/automaton.h"
#include "engine/grammar/schema_parts.h"

static bool is_among(const char *keyword, const char *const *words)
{
    while (*words && strcmp(*words, keyword) != 0)
        words++;
    return *words != NULL;
}

bool schema_is_annotation(const char *keyword)
{
    static const char *const words[] = {
        "title", "description", "default",    "examples", "example",   "$schema", "$id", "$comment",
        "$defs", "definitions", "deprecated", "readOnly", "writeOnly", "$anchor", NULL};
    return is_among(keyword, words);
}

bool schema_is_known(const char *keyword)
{
    static const char *const words[] = {"type",
                                        "properties",
                                        "required",
                                        "additionalProperties",
                                        "items",
                                        "minItems",
                                        "maxItems",
                                        "prefixItems",
                                        "enum",
                                        "const",
                                        "anyOf",
                                        "oneOf",
                                        "allOf",
                                        "$ref",
                                        "minLength",
                                        "maxLength",
                                        "pattern",
                                        "format",
                                        "minimum",
                                        "maximum",
                                        "nullable",
                                        "exclusiveMinimum",
                                        "exclusiveMaximum",
                                        NULL};
    return is_among(keyword, words) || schema_is_annotation(keyword);
}

bool schema_has_constraints(const json_t *schema)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)schema, key, value) if (!schema_is_annotation(key)) return true;
    return false;
}

enum status schema_count(struct schema *s, const json_t *schema, const char *keyword, uint32_t *out)
{
    const json_t *value = json_object_get(schema, keyword);
    if (!value)
        return STATUS_OK;
    double number = json_is_number(value) ? json_number_value(value) : -1;
    if (number < 0 || number != floor(number))
        return schema_refuse(s, STATUS_INVALID, keyword, "must be a whole number from 0 on");
    if (number > AUTOMATON_STRING_MAX - 1)
        return schema_refuse(s, STATUS_UNSUPPORTED, keyword, "is more than 67108863");
    *out = (uint32_t)number;
    return STATUS_OK;
}
