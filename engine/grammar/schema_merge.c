/* Two schemas as one that is under both: for allOf, and for what stands beside $ref, anyOf and
 * oneOf.
 *
 * Limits take the narrower one, types what both allow, lists of required names are joined,
 * properties of the same name become an allOf of their own. What cannot be put into one schema is
 * refused by its keyword. Only the outermost level is copied; whatever is below is shared. Where
 * memory runs out, nothing is made: a schema that lost a keyword would allow what was forbidden. */
#include <string.h>

#include "engine/grammar/schema_parts.h"

static const json_t *own(struct schema *s, json_t *made)
{
    if (!made || json_array_append_new(s->made, made) != 0)
        return NULL;
    return made;
}

/* json_copy leaves out what it has no memory for. The members are shared, so comparing is cheap. */
static json_t *copy_whole(const json_t *value)
{
    json_t *copy = json_copy((json_t *)value);
    if (json_equal(copy, value))
        return copy;
    json_decref(copy);
    return NULL;
}

const json_t *schema_without(struct schema *s, const json_t *schema, const char *keyword)
{
    json_t *copy = copy_whole(schema);
    if (copy)
        json_object_del(copy, keyword);
    return own(s, copy);
}

/* {"allOf": [a, b]} */
static json_t *both(json_t *a, json_t *b)
{
    return json_pack("{s:[O,O]}", "allOf", a, b);
}

static bool types_have(const json_t *types, const char *name)
{
    const json_t *type;
    size_t i;
    if (json_is_string(types))
        return strcmp(json_string_value(types), name) == 0;
    json_array_foreach(types, i, type) if (json_is_string(type) &&
                                           strcmp(json_string_value(type), name) == 0) return true;
    return false;
}

/* The three below: NULL: no memory. */

static json_t *merge_types(const json_t *a, const json_t *b)
{
    static const char *const names[] = {"string", "number", "integer", "boolean",
                                        "null",   "array",  "object"};
    json_t *types = json_array();
    bool whole = types != NULL;
    for (size_t i = 0; whole && i < sizeof names / sizeof names[0]; i++) {
        const char *name = names[i];
        bool is_whole = strcmp(name, "integer") == 0;
        bool in_a = types_have(a, name) || (is_whole && types_have(a, "number"));
        bool in_b = types_have(b, name) || (is_whole && types_have(b, "number"));
        bool covered = is_whole && types_have(a, "number") && types_have(b, "number");
        if (in_a && in_b && !covered)
            whole = json_array_append_new(types, json_string(name)) == 0;
    }
    if (whole)
        return types;
    json_decref(types);
    return NULL;
}

static json_t *merge_required(const json_t *a, const json_t *b)
{
    json_t *names = copy_whole(a), *name, *other;
    bool whole = names != NULL;
    size_t i, j;
    json_array_foreach(b, i, name)
    {
        bool is_new = true;
        json_array_foreach(a, j, other) is_new &= !json_equal(name, other);
        if (is_new && whole)
            whole = json_array_append(names, name) == 0;
    }
    if (whole)
        return names;
    json_decref(names);
    return NULL;
}

static json_t *merge_properties(const json_t *a, const json_t *b)
{
    json_t *merged = copy_whole(a), *value;
    bool whole = merged != NULL;
    const char *key;
    json_object_foreach((json_t *)b, key, value)
    {
        json_t *mine = json_object_get(merged, key);
        if (!whole || (mine && json_equal(mine, value)))
            continue;
        json_t *made = mine ? both(mine, value) : json_incref(value);
        whole = made && json_object_set_new(merged, key, made) == 0;
    }
    if (whole)
        return merged;
    json_decref(merged);
    return NULL;
}

/* The merged value of a keyword that both have differently; NULL: it cannot be done, or *status is
 * NO_MEMORY. */
static json_t *merge_values(const char *key, json_t *a, json_t *b, enum status *status)
{
    static const char *const greatest[] = {"minimum", "exclusiveMinimum", "minLength", "minItems"};
    static const char *const least[] = {"maximum", "exclusiveMaximum", "maxLength", "maxItems"};
    for (size_t i = 0; i < 4 && json_is_number(a) && json_is_number(b); i++) {
        bool a_is_less = json_number_value(a) < json_number_value(b);
        if (strcmp(key, greatest[i]) == 0)
            return json_incref(a_is_less ? b : a);
        if (strcmp(key, least[i]) == 0)
            return json_incref(a_is_less ? a : b);
    }
    if (schema_is_annotation(key))
        return json_incref(a);
    *status = STATUS_NO_MEMORY; /* what comes now is made */
    if (strcmp(key, "type") == 0)
        return merge_types(a, b);
    if (strcmp(key, "required") == 0 && json_is_array(a) && json_is_array(b))
        return merge_required(a, b);
    if (strcmp(key, "properties") == 0 && json_is_object(a) && json_is_object(b))
        return merge_properties(a, b);
    if (strcmp(key, "items") == 0)
        return both(a, b);
    if (strcmp(key, "allOf") == 0 && json_is_array(a) && json_is_array(b)) {
        json_t *joined = copy_whole(a);
        if (joined && json_array_extend(joined, b) == 0)
            return joined;
        json_decref(joined);
        return NULL;
    }
    *status = STATUS_UNSUPPORTED;
    return NULL;
}

/* "additionalProperties" speaks of names that stand beside it; names from elsewhere would be under
 * it. */
static bool is_closed_to(const json_t *a, const json_t *b)
{
    const json_t *more = json_object_get(a, "additionalProperties");
    const json_t *mine = json_object_get(a, "properties");
    const char *key;
    json_t *value;
    if (!more || json_is_true(more))
        return false;
    json_object_foreach(json_object_get(b, "properties"), key,
                        value) if (!json_object_get(mine, key)) return true;
    return json_object_get(b, "$ref") || json_object_get(b, "allOf");
}

static const json_t *refuse(struct schema *s, enum status *status, enum status why, const char *key,
                            const char *what)
{
    *status = schema_refuse(s, why, key, what);
    return NULL;
}

/* The keywords of b into `merged`. */
static enum status merge_keywords(struct schema *s, json_t *merged, const json_t *b)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)b, key, value)
    {
        enum status status = STATUS_NO_MEMORY;
        json_t *mine = json_object_get(merged, key);
        if (mine && json_equal(mine, value))
            continue;
        json_t *made = mine ? merge_values(key, mine, value, &status) : json_incref(value);
        if (!made && status == STATUS_UNSUPPORTED)
            return schema_refuse(s, status, key,
                                 "schemas that are combined differ in this keyword");
        if (!made || json_object_set_new(merged, key, made) != 0)
            return schema_refuse(s, STATUS_NO_MEMORY, key, "no memory to combine schemas");
    }
    return STATUS_OK;
}

const json_t *schema_merge(struct schema *s, const json_t *a, const json_t *b, enum status *status)
{
    if (json_is_true(a) || json_is_true(b) || json_is_false(a) || json_is_false(b)) {
        *status = STATUS_OK;
        return json_is_true(a) || json_is_false(b) ? b : a;
    }
    if (!json_is_object(a) || !json_is_object(b))
        return refuse(s, status, STATUS_INVALID, NULL, "a schema must be an object, true or false");
    if (is_closed_to(a, b) || is_closed_to(b, a))
        return refuse(
            s, status, STATUS_UNSUPPORTED, "additionalProperties",
            "schemas that are combined have properties that the other one does not allow");
    json_t *merged = copy_whole(a);
    if (!merged)
        return refuse(s, status, STATUS_NO_MEMORY, NULL, "no memory to combine schemas");
    *status = merge_keywords(s, merged, b);
    if (*status != STATUS_OK) {
        json_decref(merged);
        return NULL;
    }
    if (!json_is_true(json_object_get(a, "nullable")) ||
        !json_is_true(json_object_get(b, "nullable")))
        json_object_del(merged, "nullable");
    const json_t *types = json_object_get(merged, "type");
    if (json_is_array(types) && json_array_size(types) == 0) {
        json_decref(merged);
        return refuse(s, status, STATUS_INVALID, "type",
                      "schemas that are combined have no type in common");
    }
    *status = own(s, merged)
                  ? STATUS_OK
                  : schema_refuse(s, STATUS_NO_MEMORY, NULL, "no memory to combine schemas");
    return *status == STATUS_OK ? merged : NULL;
}
