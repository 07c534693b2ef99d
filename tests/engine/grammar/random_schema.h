/* Random schemas, random values under them written as JSON, and a validator that shares nothing
 * with the code under test: what it says is what the specification says about the keywords it
 * knows. */
#ifndef MOERING_TESTS_ENGINE_GRAMMAR_RANDOM_SCHEMA_H
#define MOERING_TESTS_ENGINE_GRAMMAR_RANDOM_SCHEMA_H

#include <jansson.h>

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "tests/support/scratch.h"

namespace random_schema
{

using scratch::Random;

inline std::string letters(Random &r, uint32_t most)
{
    static const char *const pieces[] = {"a", "b", "name", "\xC3\xA9", "\xF0\x9F\x98\x80",
                                         " ", "0", "Z",    "x",        "\xE4\xB8\xAD"};
    std::string text;
    for (uint32_t n = r.below(most + 1); n > 0; n--)
        text += pieces[r.below(10)];
    return text;
}

inline json_t *scalar(Random &r)
{
    switch (r.below(5)) {
    case 0:
        return json_integer((int)r.below(2000) - 1000);
    case 1:
        return json_string(letters(r, 4).c_str());
    case 2:
        return json_boolean(r.below(2));
    case 3:
        return json_null();
    default:
        return json_real(((int)r.below(2000) - 1000) / 8.0);
    }
}

inline json_t *schema(Random &r, int depth);

inline json_t *object_schema(Random &r, int depth)
{
    json_t *s = json_pack("{s:s}", "type", "object");
    json_t *properties = json_object(), *required = json_array();
    for (uint32_t i = 0, n = r.below(5); i < n; i++) {
        std::string name = letters(r, 2) + std::to_string(i);
        json_object_set_new(properties, name.c_str(), schema(r, depth - 1));
        if (r.chance(50))
            json_array_append_new(required, json_string(name.c_str()));
    }
    json_object_set_new(s, "properties", properties);
    json_object_set_new(s, "required", required);
    if (r.chance(30))
        json_object_set_new(s, "additionalProperties", schema(r, depth - 1));
    else if (r.chance(50))
        json_object_set_new(s, "additionalProperties", json_false());
    return s;
}

inline json_t *array_schema(Random &r, int depth)
{
    json_t *s = json_pack("{s:s}", "type", "array");
    if (r.chance(30))
        json_object_set_new(s, "prefixItems",
                            json_pack("[o,o]", schema(r, depth - 1), schema(r, depth - 1)));
    if (r.chance(80))
        json_object_set_new(s, "items", schema(r, depth - 1));
    uint32_t min = r.below(3);
    if (r.chance(50))
        json_object_set_new(s, "minItems", json_integer(min));
    if (r.chance(50))
        json_object_set_new(s, "maxItems", json_integer(min + r.below(3)));
    return s;
}

inline json_t *string_schema(Random &r)
{
    json_t *s = json_pack("{s:s}", "type", "string");
    uint32_t min = r.below(4);
    if (r.chance(50))
        json_object_set_new(s, "minLength", json_integer(min));
    if (r.chance(50))
        json_object_set_new(s, "maxLength", json_integer(min + r.below(6)));
    return s;
}

inline json_t *number_schema(Random &r)
{
    json_t *s = json_pack("{s:s}", "type", r.chance(50) ? "integer" : "number");
    int low = (int)r.below(400) - 200;
    if (r.chance(50))
        json_object_set_new(s, r.chance(50) ? "minimum" : "exclusiveMinimum", json_integer(low));
    if (r.chance(50))
        json_object_set_new(s, r.chance(50) ? "maximum" : "exclusiveMaximum",
                            json_integer(low + 2 + (int)r.below(300)));
    return s;
}

inline json_t *schema(Random &r, int depth)
{
    switch (r.below(depth > 0 ? 10 : 6)) {
    case 0:
    case 1:
        return string_schema(r);
    case 2:
    case 3:
        return number_schema(r);
    case 4:
        return json_pack("{s:[o,o,o]}", "enum", scalar(r), scalar(r), scalar(r));
    case 5:
        return json_pack("{s:[s,s]}", "type", "boolean", "null");
    case 6:
        return json_pack("{s:[o,o]}", "anyOf", schema(r, depth - 1), schema(r, depth - 1));
    case 7:
        return array_schema(r, depth);
    case 8:
        return json_pack("{s:s}", "$ref", "#/$defs/tree");
    default:
        return object_schema(r, depth);
    }
}

/* A random schema with a recursive definition that it may use. */
inline json_t *document(Random &r)
{
    json_t *s = schema(r, 3);
    json_object_set_new(s, "$defs",
                        json_pack("{s:{s:s,s:{s:{s:s},s:{s:s,s:{s:s},s:i}},s:[s]}}", "tree", "type",
                                  "object", "properties", "leaf", "type", "boolean", "kids", "type",
                                  "array", "items", "$ref", "#/$defs/tree", "maxItems", 2,
                                  "required", "leaf"));
    return s;
}

inline size_t characters(const json_t *string)
{
    size_t count = 0;
    for (size_t i = 0; i < json_string_length(string); i++)
        count += ((uint8_t)json_string_value(string)[i] & 0xC0) != 0x80;
    return count;
}

inline bool has_type(const json_t *v, const char *type)
{
    return (!strcmp(type, "string") && json_is_string(v)) ||
           (!strcmp(type, "integer") && json_is_integer(v)) ||
           (!strcmp(type, "number") && json_is_number(v)) ||
           (!strcmp(type, "boolean") && json_is_boolean(v)) ||
           (!strcmp(type, "null") && json_is_null(v)) ||
           (!strcmp(type, "array") && json_is_array(v)) ||
           (!strcmp(type, "object") && json_is_object(v));
}

inline bool valid(const json_t *root, const json_t *s, const json_t *v);

inline bool valid_limits(const json_t *s, const json_t *v)
{
    auto limit = [&](const char *key) { return json_number_value(json_object_get(s, key)); };
    auto has = [&](const char *key) { return json_object_get(s, key) != nullptr; };
    if (json_is_number(v)) {
        double n = json_number_value(v);
        if ((has("minimum") && n < limit("minimum")) || (has("maximum") && n > limit("maximum")) ||
            (has("exclusiveMinimum") && n <= limit("exclusiveMinimum")) ||
            (has("exclusiveMaximum") && n >= limit("exclusiveMaximum")))
            return false;
    }
    double size = json_is_string(v)  ? (double)characters(v)
                  : json_is_array(v) ? (double)json_array_size(v)
                                     : 0;
    const char *least = json_is_string(v) ? "minLength" : "minItems";
    const char *most = json_is_string(v) ? "maxLength" : "maxItems";
    if (json_is_string(v) || json_is_array(v))
        return !(has(least) && size < limit(least)) && !(has(most) && size > limit(most));
    return true;
}

inline bool valid_parts(const json_t *root, const json_t *s, const json_t *v)
{
    json_t *properties = json_object_get(s, "properties"), *part;
    json_t *additional = json_object_get(s, "additionalProperties");
    json_t *prefix = json_object_get(s, "prefixItems"), *items = json_object_get(s, "items");
    const char *key;
    size_t i;
    if (json_is_object(v)) {
        json_object_foreach((json_t *)v, key, part)
        {
            json_t *own = json_object_get(properties, key);
            if (own ? !valid(root, own, part) : additional && !valid(root, additional, part))
                return false;
        }
        json_array_foreach(json_object_get(s, "required"), i,
                           part) if (!json_object_get(v, json_string_value(part))) return false;
    }
    if (json_is_array(v)) {
        json_array_foreach(v, i, part)
        {
            json_t *own = i < json_array_size(prefix) ? json_array_get(prefix, i) : items;
            if (own && !valid(root, own, part))
                return false;
        }
    }
    return true;
}

inline bool valid(const json_t *root, const json_t *s, const json_t *v)
{
    json_t *type = json_object_get(s, "type"), *any = json_object_get(s, "anyOf"), *part;
    json_t *values = json_object_get(s, "enum"), *only = json_object_get(s, "const");
    size_t i;
    bool found = false;
    if (json_is_boolean(s))
        return json_is_true(s);
    if (json_object_get(s, "$ref") &&
        !valid(root, json_object_get(json_object_get(root, "$defs"), "tree"), v))
        return false;
    if (json_is_string(type) && !has_type(v, json_string_value(type)))
        return false;
    if (json_is_array(type)) {
        json_array_foreach(type, i, part) found |= has_type(v, json_string_value(part));
        if (!found)
            return false;
    }
    found = !any && !values;
    json_array_foreach(any, i, part) found |= valid(root, part, v);
    json_array_foreach(values, i, part) found |= json_equal(part, v);
    if (!found || (only && !json_equal(only, v)))
        return false;
    return valid_limits(s, v) && valid_parts(root, s, v);
}

/* How a writer writes. */
struct Style {
    bool newline, space;
    std::string indent(int depth) const
    {
        return newline ? "\n" + std::string(2 * (size_t)depth, ' ') : "";
    }
    std::string comma(int depth) const
    {
        return "," + (newline ? indent(depth) : space ? " " : "");
    }
    std::string colon() const { return space ? ": " : ":"; }
};

/* A text of a value under the schema; empty: none was found (deep recursion, contradictions). */
inline std::string text(Random &r, const json_t *root, const json_t *s, const Style &style,
                        int depth);

inline std::string quoted(Random &r, const std::string &value)
{
    json_t *json = json_string(value.c_str());
    char *out = json_dumps(json, JSON_ENCODE_ANY | (r.chance(30) ? JSON_ENSURE_ASCII : 0));
    std::string result = out;
    free(out);
    json_decref(json);
    return result;
}

inline std::string plain(const char *key)
{
    return "\"" + std::string(key) + "\"";
}

inline std::string string_text(Random &r, const json_t *s)
{
    uint32_t min = (uint32_t)json_integer_value(json_object_get(s, "minLength"));
    json_t *most = json_object_get(s, "maxLength");
    uint32_t count = min + r.below(most ? (uint32_t)json_integer_value(most) - min + 1 : 5);
    static const char *const pieces[] = {
        "a", "\"", "\\", "\n", "\x01", "\xC3\xA9", "\xF0\x9F\x98\x80", "{", "/"};
    std::string value;
    while (count-- > 0)
        value += pieces[r.below(9)];
    return quoted(r, value);
}

inline std::string number_text(Random &r, const json_t *s)
{
    json_t *low = json_object_get(s, "minimum"), *high = json_object_get(s, "maximum");
    json_t *above = json_object_get(s, "exclusiveMinimum");
    json_t *below = json_object_get(s, "exclusiveMaximum");
    int64_t first = low ? json_integer_value(low) : above ? json_integer_value(above) + 1 : -999;
    int64_t last = high ? json_integer_value(high) : below ? json_integer_value(below) - 1 : 999;
    if (first > last)
        return "";
    int64_t value = first + (int64_t)(r.next() % (uint64_t)(last - first + 1));
    std::string text = std::to_string(value);
    if (!strcmp(json_string_value(json_object_get(s, "type")), "number") && value > 0 &&
        value < last && r.chance(50))
        text += "." + std::to_string(r.below(1000));
    return text;
}

inline std::string object_text(Random &r, const json_t *root, const json_t *s, const Style &style,
                               int depth)
{
    json_t *required = json_object_get(s, "required"), *part, *name;
    json_t *additional = json_object_get(s, "additionalProperties");
    std::string out;
    const char *key;
    size_t i;
    json_object_foreach(json_object_get(s, "properties"), key, part)
    {
        bool must = false;
        json_array_foreach(required, i, name) must |= !strcmp(json_string_value(name), key);
        std::string value =
            must || (depth < 6 && r.chance(50)) ? text(r, root, part, style, depth + 1) : "";
        if (must && value.empty())
            return "";
        if (!value.empty())
            out += (out.empty() ? style.indent(depth + 1) : style.comma(depth + 1)) + plain(key) +
                   style.colon() + value;
    }
    if (json_is_object(additional) && depth < 6 && r.chance(50)) {
        std::string value = text(r, root, additional, style, depth + 1);
        if (!value.empty())
            out += (out.empty() ? style.indent(depth + 1) : style.comma(depth + 1)) + "\"other\"" +
                   style.colon() + value;
    }
    return out.empty() ? "{}" : "{" + out + style.indent(depth) + "}";
}

inline std::string array_text(Random &r, const json_t *root, const json_t *s, const Style &style,
                              int depth)
{
    json_t *prefix = json_object_get(s, "prefixItems"), *items = json_object_get(s, "items");
    json_t *most = json_object_get(s, "maxItems");
    size_t min = (size_t)json_integer_value(json_object_get(s, "minItems"));
    size_t max = most ? (size_t)json_integer_value(most) : min + 2;
    if (prefix && !items && min <= json_array_size(prefix) && max > json_array_size(prefix))
        max = json_array_size(prefix); /* narrower than the specification: see the README */
    size_t count = depth < 6 ? min + r.below((uint32_t)(max - min + 1)) : min;
    std::string out;
    for (size_t i = 0; i < count; i++) {
        json_t *own = i < json_array_size(prefix) ? json_array_get(prefix, i) : items;
        std::string value = own ? text(r, root, own, style, depth + 1) : "[null,{\"k\":1.5e-3}]";
        if (value.empty())
            return "";
        out += (i ? style.comma(depth + 1) : style.indent(depth + 1)) + value;
    }
    return out.empty() ? "[]" : "[" + out + style.indent(depth) + "]";
}

inline std::string text(Random &r, const json_t *root, const json_t *s, const Style &style,
                        int depth)
{
    json_t *any = json_object_get(s, "anyOf"), *values = json_object_get(s, "enum");
    json_t *type = json_object_get(s, "type");
    if (depth > 12)
        return "";
    if (json_object_get(s, "$ref"))
        return text(r, root, json_object_get(json_object_get(root, "$defs"), "tree"), style, depth);
    if (any)
        return text(r, root, json_array_get(any, r.below(2)), style, depth);
    if (values) {
        char *out = json_dumps(json_array_get(values, r.below(3)), JSON_ENCODE_ANY);
        std::string result = out;
        free(out);
        return result;
    }
    std::string name =
        json_is_array(type) ? (r.chance(50) ? "boolean" : "null") : json_string_value(type);
    if (name == "string")
        return string_text(r, s);
    if (name == "integer" || name == "number")
        return number_text(r, s);
    if (name == "object")
        return object_text(r, root, s, style, depth);
    if (name == "array")
        return array_text(r, root, s, style, depth);
    return name == "null" ? "null" : r.chance(50) ? "true" : "false";
}

} // namespace random_schema

#endif
