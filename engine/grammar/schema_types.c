/* Strings, arrays and objects.
 *
 * Members stand in the order of "properties", then names that are only required, then others. Where
 * a schema has properties and does not speak of additional ones there are none, and where it has
 * prefixItems and not items nothing follows them: narrower than the specification, and what writers
 * of such schemas mean; every text is still valid. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/grammar/regex.h"
#include "engine/grammar/schema_parts.h"

#define PROPERTIES_MAX 900u /* each that may come next is a thread: below THREADS_MAX */
#define MINUTES "[0-5][0-9]"
#define DATE                                                                                       \
    "[0-9]{4}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|"       \
    "02-(0[1-9]|1[0-9]|2[0-8]))"
#define TIME                                                                                       \
    "([01][0-9]|2[0-3]):" MINUTES ":" MINUTES "(\\.[0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):" MINUTES \
    ")"
#define OCTET "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
#define ATOM "[A-Za-z0-9_%+-]{1,64}"
#define LABEL "[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"

/* RFC 3339 (29 February is left out: whether there is one depends on the year), 4122, 791, and of
 * RFC 5322 the addresses that everybody accepts. */
static const char *format_pattern(const char *format)
{
    static const char *const table[][2] = {
        {"date", "^" DATE "$"},
        {"time", "^" TIME "$"},
        {"date-time", "^" DATE "T" TIME "$"},
        {"uuid", "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"},
        {"ipv4", "^" OCTET "(\\." OCTET "){3}$"},
        {"email", "^" ATOM "(\\." ATOM "){0,3}@(" LABEL "\\.){1,4}[A-Za-z]{2,24}$"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if (strcmp(table[i][0], format) == 0)
            return table[i][1];
    return NULL;
}

static enum status patterned_string(struct schema *s, const char *keyword, const char *pattern,
                                    size_t bytes, uint32_t *out)
{
    uint32_t items[2] = {rules_text(s->rules, "\""), RULES_NOTHING};
    enum status status =
        regex_read(s->rules, pattern, bytes, REGEX_JSON_SEARCH, &items[1], s->error);
    if (status != STATUS_OK)
        error_prefix(s->error, "%s.%s", s->path, keyword);
    *out = rules_sequence(s->rules, items, 2);
    return status;
}

enum status schema_string(struct schema *s, const json_t *schema, uint32_t *out)
{
    const json_t *pattern = json_object_get(schema, "pattern");
    const json_t *format = json_object_get(schema, "format");
    uint32_t min = 0, max = RULES_ENDLESS;
    enum status status = schema_count(s, schema, "minLength", &min);
    if (status == STATUS_OK)
        status = schema_count(s, schema, "maxLength", &max);
    if (status != STATUS_OK)
        return status;
    bool limited = min > 0 || max != RULES_ENDLESS;
    if (pattern && (format || limited))
        return schema_refuse(s, STATUS_UNSUPPORTED, "pattern", "beside format or a length");
    if (format && limited)
        return schema_refuse(s, STATUS_UNSUPPORTED, "format", "beside a length");
    if ((pattern && !json_is_string(pattern)) || (format && !json_is_string(format)))
        return schema_refuse(s, STATUS_INVALID, pattern ? "pattern" : "format", "must be a text");
    if (pattern)
        return patterned_string(s, "pattern", json_string_value(pattern),
                                json_string_length(pattern), out);
    if (format) {
        const char *known = format_pattern(json_string_value(format));
        return known ? patterned_string(s, "format", known, strlen(known), out)
                     : schema_refuse(s, STATUS_UNSUPPORTED, "format",
                                     "only date, time, date-time, uuid, ipv4 and email are known");
    }
    if (min > max)
        return schema_refuse(s, STATUS_INVALID, "minLength", "is more than maxLength");
    *out = json_rules_string(&s->json, min, max);
    return STATUS_OK;
}

/* A sub-schema under a keyword, as a rule of its own if it may be laid out more than once. */
static enum status read_below(struct schema *s, const char *keyword, const json_t *schema,
                              bool rule, uint32_t *out)
{
    size_t mark = schema_enter(s, keyword);
    enum status status = schema_any(s, schema, out);
    if (status == STATUS_OK && rule) {
        uint32_t number = rules_add(s->rules, s->path, strlen(s->path));
        rules_define(s->rules, number, *out);
        *out = rules_reference(s->rules, number);
    }
    schema_leave(s, mark);
    return status;
}

enum status schema_array(struct schema *s, const json_t *schema, uint32_t *out)
{
    const json_t *items = json_object_get(schema, "items"), *item;
    const json_t *prefix = json_object_get(schema, "prefixItems");
    struct rules_items fixed = {0};
    struct rules_list list = {.max = RULES_ENDLESS};
    size_t i;
    enum status status = schema_count(s, schema, "minItems", &list.min);
    if (status == STATUS_OK)
        status = schema_count(s, schema, "maxItems", &list.max);
    if (status != STATUS_OK)
        return status;
    if (list.min > list.max)
        return schema_refuse(s, STATUS_INVALID, "minItems", "is more than maxItems");
    if (json_is_array(items))
        return schema_refuse(s, STATUS_UNSUPPORTED, "items", "a list of schemas (use prefixItems)");
    if (prefix && !json_is_array(prefix))
        return schema_refuse(s, STATUS_INVALID, "prefixItems", "must be a list of schemas");
    size_t mark = schema_enter(s, "prefixItems");
    json_array_foreach(prefix, i, item)
    {
        uint32_t one = RULES_NOTHING;
        size_t inner = schema_enter_index(s, i);
        status = schema_any(s, item, &one);
        schema_leave(s, inner);
        if (status != STATUS_OK)
            break;
        rules_items_add(&fixed, s->rules, one);
    }
    schema_leave(s, mark);
    if (status == STATUS_OK && items)
        status = read_below(s, "items", items, true, &list.more);
    else if (!prefix || list.min > fixed.count)
        list.more = json_rules_any(&s->json);
    json_rules_brackets(&s->json, false, &list);
    list.items = fixed.items;
    list.count = fixed.count < list.max ? fixed.count : list.max;
    if (status == STATUS_OK && s->rules->status == STATUS_OK)
        *out = rules_elements(s->rules, &list);
    rules_items_reset(&fixed);
    return status;
}

/* The members of an object while they are collected. */
struct members {
    struct rules_items items;
    const char **names; /* borrowed of the schema */
    bool *optional;
};

static void add_member(struct schema *s, struct members *m, const char *name, bool optional,
                       uint32_t value)
{
    uint32_t at = m->items.count;
    uint32_t quoted = json_rules_quoted(&s->json, name, strlen(name));
    rules_items_add(&m->items, s->rules, json_rules_member(&s->json, quoted, value));
    if (s->rules->status == STATUS_OK) {
        m->names[at] = name;
        m->optional[at] = optional;
    }
}

static bool is_required(const json_t *required, const char *name)
{
    const json_t *other;
    size_t i;
    json_array_foreach(required, i,
                       other) if (json_is_string(other) &&
                                  strcmp(json_string_value(other), name) == 0) return true;
    return false;
}

static enum status read_members(struct schema *s, const json_t *schema, struct members *m,
                                uint32_t additional)
{
    const json_t *properties = json_object_get(schema, "properties");
    const json_t *required = json_object_get(schema, "required"), *name;
    const char *key;
    json_t *value;
    size_t i;
    size_t mark = schema_enter(s, "properties");
    json_object_foreach((json_t *)properties, key, value)
    {
        uint32_t expression = RULES_NOTHING;
        enum status status = read_below(s, key, value, false, &expression);
        if (status != STATUS_OK)
            return status;
        add_member(s, m, key, !is_required(required, key), expression);
    }
    schema_leave(s, mark);
    json_array_foreach(required, i, name)
    {
        if (!json_is_string(name))
            return schema_refuse(s, STATUS_INVALID, "required", "must be a list of names");
        bool known = json_object_get(properties, json_string_value(name)) != NULL;
        for (size_t j = 0; j < i; j++)
            known |= json_equal(name, json_array_get(required, j));
        if (!known && additional == RULES_NOTHING)
            return schema_refuse(s, STATUS_INVALID, "required",
                                 "names a property that additionalProperties forbids");
        if (!known)
            add_member(s, m, json_string_value(name), false, additional);
    }
    return STATUS_OK;
}

enum status schema_object(struct schema *s, const json_t *schema, uint32_t *out)
{
    const json_t *properties = json_object_get(schema, "properties");
    const json_t *required = json_object_get(schema, "required");
    const json_t *more = json_object_get(schema, "additionalProperties");
    size_t room = json_object_size(properties) + json_array_size(required) + 1;
    struct members m = {.names = calloc(room, sizeof *m.names),
                        .optional = calloc(room, sizeof *m.optional)};
    struct rules_list list = {.more = RULES_NOTHING};
    uint32_t additional = json_rules_any(&s->json);
    enum status status = STATUS_OK;
    if (!m.names || !m.optional)
        status = schema_refuse(s, STATUS_NO_MEMORY, NULL, "no memory");
    else if (properties && !json_is_object(properties))
        status = schema_refuse(s, STATUS_INVALID, "properties", "must be an object of schemas");
    else if (required && !json_is_array(required))
        status = schema_refuse(s, STATUS_INVALID, "required", "must be a list of names");
    else if (room > PROPERTIES_MAX)
        status = schema_refuse(s, STATUS_NO_MEMORY, "properties", "more than 900 names");
    else if (more)
        status = read_below(s, "additionalProperties", more, true, &additional);
    if (json_is_false(more))
        additional = RULES_NOTHING;
    if (status == STATUS_OK)
        status = read_members(s, schema, &m, additional);
    if (status == STATUS_OK && s->rules->status == STATUS_OK) {
        json_rules_brackets(&s->json, true, &list);
        if (more ? additional != RULES_NOTHING : properties == NULL)
            list.more = json_rules_member(
                &s->json, json_rules_other_name(&s->json, m.names, m.items.count), additional);
        list.items = m.items.items;
        list.optional = m.optional;
        list.count = m.items.count;
        *out = rules_members(s->rules, &list);
    }
    rules_items_reset(&m.items);
    free(m.names);
    free(m.optional);
    return status;
}
