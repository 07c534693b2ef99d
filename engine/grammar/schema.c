/* Reading a schema, from the outside in: references, combinations, fixed values, then types.
 *
 * A reference becomes a rule, once for each target, so recursive schemas end here. Whatever stands
 * beside a reference or a combination is merged into it first (schema_merge.c). oneOf is read as
 * anyOf: that just one alternative matches is not something a grammar can demand. */
#include "engine/grammar/schema.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/grammar/grow.h"
#include "engine/grammar/schema_parts.h"

#define REFERENCES_MAX 4096u

size_t schema_enter(struct schema *s, const char *key)
{
    size_t mark = s->path_bytes, room = sizeof s->path - mark;
    int written = snprintf(s->path + mark, room, ".%.100s", key);
    s->path_bytes += (size_t)written < room ? (size_t)written : room - 1;
    return mark;
}

size_t schema_enter_index(struct schema *s, size_t index)
{
    size_t mark = s->path_bytes, room = sizeof s->path - mark;
    int written = snprintf(s->path + mark, room, "[%zu]", index);
    s->path_bytes += (size_t)written < room ? (size_t)written : room - 1;
    return mark;
}

void schema_leave(struct schema *s, size_t mark)
{
    s->path_bytes = mark;
    s->path[mark] = 0;
}

enum status schema_refuse(struct schema *s, enum status status, const char *keyword,
                          const char *what)
{
    return error_set(s->error, status, "%s%s%.100s: %s", s->path, keyword ? "." : "",
                     keyword ? keyword : "", what);
}

static enum status check_keywords(struct schema *s, const json_t *schema)
{
    const char *key;
    json_t *value;
    json_object_foreach(
        (json_t *)schema, key,
        value) if (!schema_is_known(key)) return schema_refuse(s, STATUS_UNSUPPORTED, key,
                                                               "this keyword is not supported");
    return STATUS_OK;
}

/* One step of a JSON pointer: the text up to the next slash, ~1 and ~0 undone. */
static bool take_step(const char **at, char *step, size_t room)
{
    size_t count = 0;
    const char *c = *at + 1;
    for (; *c && *c != '/'; c++) {
        char plain = *c;
        if (*c == '~' && (c[1] == '0' || c[1] == '1'))
            plain = *++c == '0' ? '~' : '/';
        if (count + 1 >= room)
            return false;
        step[count++] = plain;
    }
    step[count] = 0;
    *at = c;
    return true;
}

/* The schema that a reference names; NULL: there is none. */
static const json_t *resolve(const struct schema *s, const char *reference)
{
    const json_t *found = s->root;
    const char *at = reference + 1;
    char step[256];
    if (reference[0] != '#')
        return NULL;
    while (found && *at) {
        if (*at != '/' || !take_step(&at, step, sizeof step))
            return NULL;
        found = json_is_array(found) ? json_array_get(found, strtoul(step, NULL, 10))
                                     : json_object_get(found, step);
    }
    return found;
}

static enum status read_reference(struct schema *s, const json_t *target, uint32_t *out)
{
    uint32_t body = RULES_NOTHING;
    for (uint32_t i = 0; i < s->reference_count; i++) {
        if (s->references[i].target == target) {
            *out = rules_reference(s->rules, s->references[i].rule);
            return STATUS_OK;
        }
    }
    if (!GROW(s, references, reference_count, reference_capacity, 1, REFERENCES_MAX))
        return schema_refuse(s, STATUS_NO_MEMORY, "$ref", "too many references");
    uint32_t rule = rules_add(s->rules, s->path, strlen(s->path));
    s->references[s->reference_count++] = (struct schema_reference){target, rule};
    enum status status = schema_any(s, target, &body);
    rules_define(s->rules, rule, body);
    *out = rules_reference(s->rules, rule);
    return status;
}

static enum status read_ref(struct schema *s, const json_t *schema, uint32_t *out)
{
    const json_t *reference = json_object_get(schema, "$ref");
    const json_t *target =
        json_is_string(reference) ? resolve(s, json_string_value(reference)) : NULL;
    enum status status = STATUS_NO_MEMORY;
    if (!target)
        return schema_refuse(s, json_is_string(reference) ? STATUS_UNSUPPORTED : STATUS_INVALID,
                             "$ref",
                             "names nothing in this schema (#, #/$defs/..., "
                             "#/definitions/...)");
    const json_t *rest = schema_without(s, schema, "$ref");
    if (rest && !schema_has_constraints(rest))
        return read_reference(s, target, out);
    const json_t *merged = rest ? schema_merge(s, target, rest, &status) : NULL;
    return merged ? schema_any(s, merged, out) : schema_refuse(s, status, "$ref", "no memory");
}

/* allOf: all of them and what stands beside them, as one schema. */
static enum status read_all(struct schema *s, const json_t *schema, uint32_t *out)
{
    const json_t *parts = json_object_get(schema, "allOf"), *part;
    const json_t *merged = schema_without(s, schema, "allOf");
    enum status status = STATUS_NO_MEMORY;
    size_t i;
    if (!json_is_array(parts) || json_array_size(parts) == 0)
        return schema_refuse(s, STATUS_INVALID, "allOf", "must be a list of schemas");
    json_array_foreach(parts, i, part) if (merged) merged = schema_merge(s, merged, part, &status);
    return merged ? schema_any(s, merged, out) : schema_refuse(s, status, "allOf", "no memory");
}

static enum status read_alternatives(struct schema *s, const json_t *schema, const char *keyword,
                                     uint32_t *out)
{
    const json_t *parts = json_object_get(schema, keyword), *part;
    const json_t *rest = schema_without(s, schema, keyword);
    bool nullable = json_is_true(json_object_get(rest, "nullable"));
    struct rules_items items = {0};
    enum status status = STATUS_OK;
    size_t i;
    rest = rest ? schema_without(s, rest, "nullable") : NULL; /* one alternative more, below */
    if (!json_is_array(parts) || json_array_size(parts) == 0)
        return schema_refuse(s, STATUS_INVALID, keyword, "must be a list of schemas");
    if (!rest)
        return schema_refuse(s, STATUS_NO_MEMORY, keyword, "no memory");
    size_t mark = schema_enter(s, keyword);
    json_array_foreach(parts, i, part)
    {
        uint32_t item = RULES_NOTHING;
        size_t inner = schema_enter_index(s, i);
        if (schema_has_constraints(rest))
            part = schema_merge(s, part, rest, &status);
        if (status == STATUS_OK)
            status = schema_any(s, part, &item);
        schema_leave(s, inner);
        if (status != STATUS_OK)
            break;
        rules_items_add(&items, s->rules, item);
    }
    schema_leave(s, mark);
    if (nullable)
        rules_items_add(&items, s->rules, rules_text(s->rules, "null"));
    if (s->rules->status == STATUS_OK)
        *out = rules_choice(s->rules, items.items, items.count);
    rules_items_reset(&items);
    return status;
}

static bool has_type(const json_t *value, const char *type)
{
    if (strcmp(type, "number") == 0)
        return json_is_number(value);
    if (strcmp(type, "integer") == 0)
        return json_is_integer(value);
    return (strcmp(type, "string") == 0 && json_is_string(value)) ||
           (strcmp(type, "boolean") == 0 && json_is_boolean(value)) ||
           (strcmp(type, "null") == 0 && json_is_null(value)) ||
           (strcmp(type, "array") == 0 && json_is_array(value)) ||
           (strcmp(type, "object") == 0 && json_is_object(value));
}

static bool is_of_types(const json_t *value, const json_t *types, bool nullable)
{
    const json_t *type;
    size_t i;
    if (!types || (nullable && json_is_null(value)))
        return true;
    if (json_is_string(types))
        return has_type(value, json_string_value(types));
    json_array_foreach(types, i, type) if (json_is_string(type) &&
                                           has_type(value, json_string_value(type))) return true;
    return false;
}

/* enum and const: those values that the types allow, too. */
static enum status read_fixed(struct schema *s, const json_t *schema, uint32_t *out)
{
    const json_t *only = json_object_get(schema, "const"), *types = json_object_get(schema, "type");
    const json_t *values = json_object_get(schema, "enum"), *value;
    bool nullable = json_is_true(json_object_get(schema, "nullable"));
    struct rules_items items = {0};
    const char *key;
    json_t *other;
    size_t i;
    json_object_foreach((json_t *)schema, key,
                        other) if (!schema_is_annotation(key) && strcmp(key, "enum") != 0 &&
                                   strcmp(key, "const") != 0 && strcmp(key, "type") != 0 &&
                                   strcmp(key, "nullable") !=
                                       0) return schema_refuse(s, STATUS_UNSUPPORTED, key,
                                                               "beside enum or const");
    if (values && !json_is_array(values))
        return schema_refuse(s, STATUS_INVALID, "enum", "must be a list of values");
    if (only && is_of_types(only, types, nullable) && !values)
        rules_items_add(&items, s->rules, json_rules_value(&s->json, only));
    json_array_foreach(values, i, value) if (is_of_types(value, types, nullable) &&
                                             (!only || json_equal(value, only)))
        rules_items_add(&items, s->rules, json_rules_value(&s->json, value));
    enum status status = items.count || s->rules->status != STATUS_OK
                             ? STATUS_OK
                             : schema_refuse(s, STATUS_INVALID, only ? "const" : "enum",
                                             "holds no value that its type allows");
    if (s->rules->status == STATUS_OK)
        *out = rules_choice(s->rules, items.items, items.count);
    rules_items_reset(&items);
    return status;
}

static enum status read_type(struct schema *s, const json_t *schema, const char *type,
                             uint32_t *out)
{
    if (strcmp(type, "string") == 0)
        return schema_string(s, schema, out);
    if (strcmp(type, "array") == 0)
        return schema_array(s, schema, out);
    if (strcmp(type, "object") == 0)
        return schema_object(s, schema, out);
    if (strcmp(type, "integer") == 0 || strcmp(type, "number") == 0)
        return schema_number(s, schema, type[0] == 'i', out);
    if (strcmp(type, "boolean") == 0)
        *out = json_rules_any_boolean(&s->json);
    else if (strcmp(type, "null") == 0)
        *out = rules_text(s->rules, "null");
    else
        return schema_refuse(s, STATUS_INVALID, "type", "is no type of JSON");
    return STATUS_OK;
}

/* Without "type" the keywords that only one type has say which is meant; NULL: they say nothing. */
static const char *implied_type(const json_t *schema)
{
    static const char *const table[][2] = {{"properties", "object"},
                                           {"required", "object"},
                                           {"additionalProperties", "object"},
                                           {"items", "array"},
                                           {"prefixItems", "array"},
                                           {"minItems", "array"},
                                           {"maxItems", "array"},
                                           {"pattern", "string"},
                                           {"format", "string"},
                                           {"minLength", "string"},
                                           {"maxLength", "string"},
                                           {"minimum", "number"},
                                           {"maximum", "number"},
                                           {"exclusiveMinimum", "number"},
                                           {"exclusiveMaximum", "number"}};
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if (json_object_get(schema, table[i][0]))
            return table[i][1];
    return NULL;
}

static enum status read_types(struct schema *s, const json_t *schema, uint32_t *out)
{
    const json_t *types = json_object_get(schema, "type"), *type;
    const char *implied = types ? NULL : implied_type(schema);
    struct rules_items items = {0};
    enum status status = STATUS_OK;
    uint32_t item = RULES_NOTHING;
    size_t i;
    if (!types && !implied) {
        *out = json_rules_any(&s->json);
        return STATUS_OK;
    }
    if (types && !json_is_string(types) && (!json_is_array(types) || !json_array_size(types)))
        return schema_refuse(s, STATUS_INVALID, "type", "must be a name or a list of names");
    if (json_is_array(types)) {
        json_array_foreach(types, i, type)
        {
            status = json_is_string(type) ? read_type(s, schema, json_string_value(type), &item)
                                          : schema_refuse(s, STATUS_INVALID, "type",
                                                          "holds something else than names");
            if (status != STATUS_OK)
                break;
            rules_items_add(&items, s->rules, item);
        }
    } else {
        status = read_type(s, schema, types ? json_string_value(types) : implied, &item);
        rules_items_add(&items, s->rules, item);
    }
    if (json_is_true(json_object_get(schema, "nullable")))
        rules_items_add(&items, s->rules, rules_text(s->rules, "null"));
    if (s->rules->status == STATUS_OK)
        *out = rules_choice(s->rules, items.items, items.count);
    rules_items_reset(&items);
    return status;
}

static enum status read_object(struct schema *s, const json_t *schema, uint32_t *out)
{
    bool any = json_object_get(schema, "anyOf"), one = json_object_get(schema, "oneOf");
    enum status status = check_keywords(s, schema);
    if (status != STATUS_OK)
        return status;
    if (json_object_get(schema, "$ref"))
        return read_ref(s, schema, out);
    if (json_object_get(schema, "allOf"))
        return read_all(s, schema, out);
    if (any && one)
        return schema_refuse(s, STATUS_UNSUPPORTED, "oneOf", "beside anyOf");
    if (any || one)
        return read_alternatives(s, schema, any ? "anyOf" : "oneOf", out);
    if (json_object_get(schema, "enum") || json_object_get(schema, "const"))
        return read_fixed(s, schema, out);
    return read_types(s, schema, out);
}

enum status schema_any(struct schema *s, const json_t *schema, uint32_t *out)
{
    *out = RULES_NOTHING;
    if (json_is_boolean(schema)) {
        *out = json_is_true(schema) ? json_rules_any(&s->json) : RULES_NOTHING;
        return STATUS_OK;
    }
    if (!json_is_object(schema))
        return schema_refuse(s, STATUS_INVALID, NULL, "a schema must be an object, true or false");
    if (s->depth >= SCHEMA_DEPTH_MAX)
        return schema_refuse(s, STATUS_UNSUPPORTED, NULL, "schemas are nested deeper than 64");
    if (s->visits++ >= SCHEMA_VISITS_MAX)
        return schema_refuse(s, STATUS_NO_MEMORY, NULL, "more than 20000 schemas within schemas");
    s->depth++;
    enum status status = read_object(s, schema, out);
    s->depth--;
    return status;
}

enum status schema_read(struct rules *rules, const json_t *schema, uint32_t *root,
                        struct error *error)
{
    struct schema s = {
        .rules = rules, .root = schema, .error = error, .path = "$", .path_bytes = 1};
    uint32_t expression = RULES_NOTHING;
    enum status status;
    json_rules_open(&s.json, rules);
    s.made = json_array();
    if (s.made)
        status = read_reference(&s, schema, &expression);
    else
        status = error_set(error, STATUS_NO_MEMORY, "no memory to read a schema");
    *root = rules_add(rules, "$", 1);
    rules_define(rules, *root, expression);
    json_decref(s.made);
    free(s.references);
    return status;
}
