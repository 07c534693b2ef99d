/* The rules of JSON. Everything recursive goes through one rule, `value`. */
#include "engine/grammar/json_rules.h"

#include <stdlib.h>
#include <string.h>

#include "engine/grammar/json_string.h"

#define NAME_CHARACTERS_MAX 128u /* of a name, that other names are told apart by */
#define VALUE_DEPTH_MAX 64u

static uint32_t sequence(struct json_rules *json, uint32_t a, uint32_t b)
{
    const uint32_t items[] = {a, b};
    return rules_sequence(json->rules, items, 2);
}

static uint32_t range(struct json_rules *json, char first, char last)
{
    struct characters set = {0};
    characters_add(&set, (uint8_t)first, (uint8_t)last);
    uint32_t expression = rules_class(json->rules, &set);
    characters_reset(&set);
    return expression;
}

static void define_space(struct json_rules *json)
{
    struct rules *rules = json->rules;
    const uint32_t indents[] = {
        rules_repeat(rules, rules_text(rules, " "), 0, JSON_RULES_INDENT),
        rules_repeat(rules, rules_text(rules, "\t"), 1, JSON_RULES_INDENT / 2),
    };
    const uint32_t ways[] = {
        rules_text(rules, ""),
        rules_text(rules, " "),
        sequence(json, rules_text(rules, "\n"), rules_choice(rules, indents, 2)),
    };
    json->space = rules_add(rules, "white space", 11);
    rules_define(rules, json->space, rules_choice(rules, ways, 3));
}

void json_rules_open(struct json_rules *json, struct rules *rules)
{
    *json = (struct json_rules){.rules = rules};
    define_space(json);
    uint32_t space = rules_reference(rules, json->space);
    const uint32_t spaced_colon[] = {rules_text(rules, ":"), rules_text(rules, ": ")};
    json->colon = rules_choice(rules, spaced_colon, 2);
    json->open_object = sequence(json, rules_text(rules, "{"), space);
    json->close_object = sequence(json, space, rules_text(rules, "}"));
    json->open_array = sequence(json, rules_text(rules, "["), space);
    json->close_array = sequence(json, space, rules_text(rules, "]"));
    json->comma = sequence(json, rules_text(rules, ","), space);
    json->value = rules_add(rules, "value", 5);
    const uint32_t kinds[] = {
        json_rules_any_object(json), json_rules_any_array(json),
        json_rules_any_number(json), json_rules_any_boolean(json),
        rules_text(rules, "null"),   json_rules_string(json, 0, RULES_ENDLESS),
    };
    rules_define(rules, json->value, rules_choice(rules, kinds, 6));
}

void json_rules_brackets(const struct json_rules *json, bool object, struct rules_list *list)
{
    list->open = object ? json->open_object : json->open_array;
    list->close = object ? json->close_object : json->close_array;
    list->separator = json->comma;
    list->empty = rules_text(json->rules, object ? "{}" : "[]");
}

uint32_t json_rules_any(struct json_rules *json)
{
    return rules_reference(json->rules, json->value);
}

uint32_t json_rules_string(struct json_rules *json, uint32_t min, uint32_t max)
{
    return sequence(json, rules_text(json->rules, "\""), rules_json_string(json->rules, min, max));
}

uint32_t json_rules_member(struct json_rules *json, uint32_t name, uint32_t value)
{
    const uint32_t items[] = {name, json->colon, value};
    return rules_sequence(json->rules, items, 3);
}

uint32_t json_rules_any_object(struct json_rules *json)
{
    struct rules_list list = {.max = RULES_ENDLESS};
    json_rules_brackets(json, true, &list);
    list.more =
        json_rules_member(json, json_rules_string(json, 0, RULES_ENDLESS), json_rules_any(json));
    return rules_members(json->rules, &list);
}

uint32_t json_rules_any_array(struct json_rules *json)
{
    struct rules_list list = {.max = RULES_ENDLESS};
    json_rules_brackets(json, false, &list);
    list.more = json_rules_any(json);
    return rules_elements(json->rules, &list);
}

uint32_t json_rules_any_boolean(struct json_rules *json)
{
    const uint32_t items[] = {rules_text(json->rules, "true"), rules_text(json->rules, "false")};
    return rules_choice(json->rules, items, 2);
}

/* 0, or up to 18 digits of which the first is not 0. */
static uint32_t whole_part(struct json_rules *json)
{
    const uint32_t items[] = {
        rules_text(json->rules, "0"),
        sequence(json, range(json, '1', '9'),
                 rules_repeat(json->rules, range(json, '0', '9'), 0, 17)),
    };
    return rules_choice(json->rules, items, 2);
}

uint32_t json_rules_any_integer(struct json_rules *json)
{
    return sequence(json, rules_optional(json->rules, rules_text(json->rules, "-")),
                    whole_part(json));
}

uint32_t json_rules_any_number(struct json_rules *json)
{
    struct rules *rules = json->rules;
    uint32_t digit = range(json, '0', '9');
    const uint32_t letters[] = {rules_text(rules, "e"), rules_text(rules, "E")};
    const uint32_t signs[] = {rules_text(rules, ""), rules_text(rules, "+"),
                              rules_text(rules, "-")};
    const uint32_t exponent[] = {rules_choice(rules, letters, 2), rules_choice(rules, signs, 3),
                                 rules_repeat(rules, digit, 1, 2)};
    const uint32_t fraction =
        sequence(json, rules_text(rules, "."), rules_repeat(rules, digit, 1, 17));
    const uint32_t items[] = {json_rules_any_integer(json), rules_optional(rules, fraction),
                              rules_optional(rules, rules_sequence(rules, exponent, 3))};
    return rules_sequence(rules, items, 3);
}

uint32_t json_rules_quoted(struct json_rules *json, const char *text, size_t bytes)
{
    uint8_t *quoted = malloc(bytes * 6 + 2);
    size_t at = 0, count = 0;
    uint32_t character;
    if (!quoted) {
        json->rules->status = STATUS_NO_MEMORY;
        return RULES_NOTHING;
    }
    quoted[count++] = '"';
    while (at < bytes && characters_read(text, bytes, &at, &character))
        count += json_string_write(character, quoted + count);
    quoted[count++] = '"';
    uint32_t expression = rules_literal(json->rules, quoted, count);
    free(quoted);
    return expression;
}

struct name {
    const char *text;
    size_t bytes;
};

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const struct name *)a)->text, ((const struct name *)b)->text);
}

/* The rest of a name that begins as names[0 .. count) do, up to byte `at` of them, and is none of
 * them. */
static uint32_t other_rest(struct json_rules *json, const struct name *names, uint32_t count,
                           size_t at, uint32_t depth)
{
    struct rules *rules = json->rules;
    struct rules_items items = {0};
    struct characters others = {0};
    if (depth == NAME_CHARACTERS_MAX)
        return RULES_NOTHING;
    bool ends = count && names[0].bytes == at; /* sorted: the shortest comes first */
    characters_add(&others, 0x20, CHARACTER_MAX);
    characters_normalize(&others);
    characters_remove(&others, '"', '"');
    characters_remove(&others, '\\', '\\');
    if (!ends)
        rules_items_add(&items, rules, rules_text(rules, "\""));
    for (uint32_t from = ends; from < count;) {
        size_t behind = at;
        uint32_t character, to = from + 1;
        uint8_t written[6];
        if (!characters_read(names[from].text, names[from].bytes, &behind, &character))
            break;
        while (to < count && names[to].bytes >= behind &&
               memcmp(names[to].text + at, names[from].text + at, behind - at) == 0)
            to++;
        uint32_t literal = rules_literal(rules, written, json_string_write(character, written));
        uint32_t rest = other_rest(json, names + from, to - from, behind, depth + 1);
        rules_items_add(&items, rules, sequence(json, literal, rest));
        characters_remove(&others, character, character);
        from = to;
    }
    rules_items_add(
        &items, rules,
        sequence(json, rules_class(rules, &others), rules_json_string(rules, 0, RULES_ENDLESS)));
    uint32_t expression = rules_choice(rules, items.items, items.count);
    if (rules->status != STATUS_OK)
        expression = RULES_NOTHING;
    characters_reset(&others);
    rules_items_reset(&items);
    return expression;
}

uint32_t json_rules_other_name(struct json_rules *json, const char *const *names, uint32_t count)
{
    struct name *sorted = malloc((count + (size_t)1) * sizeof *sorted);
    uint32_t kept = 0;
    if (!sorted) {
        json->rules->status = STATUS_NO_MEMORY;
        return RULES_NOTHING;
    }
    for (uint32_t i = 0; i < count; i++)
        sorted[i] = (struct name){names[i], strlen(names[i])};
    if (count == 0) {
        free(sorted);
        return json_rules_string(json, 0, RULES_ENDLESS);
    }
    qsort(sorted, count, sizeof *sorted, compare_names);
    for (uint32_t i = 1; i < count; i++)
        if (compare_names(&sorted[i], &sorted[kept]) != 0)
            sorted[++kept] = sorted[i];
    uint32_t rest = other_rest(json, sorted, kept + 1, 0, 0);
    free(sorted);
    return sequence(json, rules_text(json->rules, "\""), rest);
}

static uint32_t scalar(struct json_rules *json, const json_t *value)
{
    if (json_is_string(value))
        return json_rules_quoted(json, json_string_value(value), json_string_length(value));
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    if (!text) {
        json->rules->status = STATUS_NO_MEMORY;
        return RULES_NOTHING;
    }
    uint32_t expression = rules_text(json->rules, text);
    free(text);
    return expression;
}

static uint32_t exact(struct json_rules *json, const json_t *value, uint32_t depth)
{
    struct rules *rules = json->rules;
    struct rules_items items = {0};
    struct rules_list list = {.more = RULES_NOTHING};
    const char *key;
    json_t *member;
    size_t i;
    if (!json_is_object(value) && !json_is_array(value))
        return scalar(json, value);
    if (depth == VALUE_DEPTH_MAX) {
        rules->status = STATUS_NO_MEMORY;
        return RULES_NOTHING;
    }
    json_rules_brackets(json, json_is_object(value), &list);
    if (json_is_object(value)) {
        json_object_foreach((json_t *)value, key, member)
            rules_items_add(&items, rules,
                            json_rules_member(json, json_rules_quoted(json, key, strlen(key)),
                                              exact(json, member, depth + 1)));
    } else {
        json_array_foreach(value, i, member)
            rules_items_add(&items, rules, exact(json, member, depth + 1));
    }
    list.items = items.items;
    list.count = list.min = list.max = items.count;
    bool *optional = calloc(items.count + (size_t)1, sizeof *optional);
    list.optional = optional;
    uint32_t expression = RULES_NOTHING;
    if (!optional)
        rules->status = STATUS_NO_MEMORY;
    else if (rules->status == STATUS_OK)
        expression =
            json_is_object(value) ? rules_members(rules, &list) : rules_elements(rules, &list);
    free(optional);
    rules_items_reset(&items);
    return expression;
}

uint32_t json_rules_value(struct json_rules *json, const json_t *value)
{
    return exact(json, value, 0);
}
