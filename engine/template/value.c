/* Making values. What they mean (truth, equality, order, membership) is in value_compare.c. */
#include "engine/template/value.h"

#include <string.h>

struct value value_none(void)
{
    return (struct value){.kind = VALUE_NONE};
}

struct value value_bool(bool truth)
{
    return (struct value){.kind = VALUE_BOOL, .truth = truth};
}

struct value value_integer(int64_t integer)
{
    return (struct value){.kind = VALUE_INTEGER, .integer = integer};
}

struct value value_real(double real)
{
    return (struct value){.kind = VALUE_REAL, .real = real};
}

struct value value_text(struct text text)
{
    return (struct value){.kind = VALUE_TEXT, .text = text};
}

struct value value_string(const char *string)
{
    return value_text(text_of(string, strlen(string)));
}

struct value value_undefined(struct text name)
{
    return (struct value){.kind = VALUE_UNDEFINED, .text = name};
}

struct value value_list(enum value_kind kind, struct list *list)
{
    return (struct value){.kind = kind, .list = list};
}

struct value value_dict(struct dict *dict)
{
    return (struct value){.kind = VALUE_DICT, .dict = dict};
}

struct list *list_new(struct run *run, size_t room)
{
    struct list *list = run_alloc(run, 1, sizeof *list);
    memset(list, 0, sizeof *list);
    list->items = run_alloc(run, room, sizeof *list->items);
    list->room = room;
    return list;
}

void list_append(struct run *run, struct list *list, struct value item)
{
    if (list->count == list->room) {
        size_t room = list->room ? 2 * list->room : 4;
        struct value *items = run_alloc(run, room, sizeof *items);
        if (list->count)
            memcpy(items, list->items, list->count * sizeof *items);
        list->items = items;
        list->room = room;
    }
    run_charge(run, 1);
    list->items[list->count++] = item;
}

struct dict *dict_new(struct run *run, size_t room)
{
    struct dict *dict = run_alloc(run, 1, sizeof *dict);
    *dict = (struct dict){.pairs = run_alloc(run, room, sizeof *dict->pairs), .room = room};
    return dict;
}

static void dict_append(struct run *run, struct dict *dict, struct value key, struct value value)
{
    if (dict->count == dict->room) {
        size_t room = dict->room ? 2 * dict->room : 4;
        struct pair *pairs = run_alloc(run, room, sizeof *pairs);
        if (dict->count)
            memcpy(pairs, dict->pairs, dict->count * sizeof *pairs);
        dict->pairs = pairs;
        dict->room = room;
    }
    dict->pairs[dict->count++] = (struct pair){key, value};
}

bool value_is_hashable(struct run *run, struct value key)
{
    bool yes = true;
    if (key.kind == VALUE_TUPLE) {
        run_enter(run);
        for (size_t i = 0; yes && i < key.list->count; i++)
            yes = value_is_hashable(run, key.list->items[i]);
        run_leave(run);
        return yes;
    }
    return key.kind != VALUE_LIST && key.kind != VALUE_DICT && key.kind != VALUE_VIEW;
}

struct value *dict_get_text(struct run *run, const struct dict *dict, struct text key)
{
    for (size_t i = 0; i < dict->count; i++) {
        struct value *have = &dict->pairs[i].key;
        if (have->kind == VALUE_TEXT && text_equal(have->text, key)) {
            run_charge(run, 1 + i / 8);
            return &dict->pairs[i].value;
        }
    }
    run_charge(run, 1 + dict->count / 8);
    return NULL;
}

struct value *dict_get(struct run *run, const struct dict *dict, struct value key)
{
    if (key.kind == VALUE_TEXT)
        return dict_get_text(run, dict, key.text);
    if (!value_is_hashable(run, key))
        return NULL;
    for (size_t i = 0; i < dict->count; i++) {
        run_charge(run, 1);
        if (value_equal(run, dict->pairs[i].key, key))
            return &dict->pairs[i].value;
    }
    return NULL;
}

void dict_set(struct run *run, struct dict *dict, struct value key, struct value value)
{
    if (!value_is_hashable(run, key))
        run_fail(run, STATUS_INVALID, "%s cannot be a key", value_kind_name(key));
    struct value *there = dict_get(run, dict, key);
    if (there)
        *there = value;
    else
        dict_append(run, dict, key, value);
}

static struct value of_array(struct run *run, const json_t *json)
{
    struct list *list = list_new(run, json_array_size(json));
    for (size_t i = 0; i < json_array_size(json); i++)
        list_append(run, list, value_of_json(run, json_array_get(json, i)));
    return value_list(VALUE_LIST, list);
}

static struct value of_object(struct run *run, const json_t *json)
{
    struct dict *dict = dict_new(run, json_object_size(json));
    const char *name;
    json_t *member;
    json_object_foreach((json_t *)json, name, member) { /* the iteration changes nothing */
        size_t bytes = json_object_iter_key_len(json_object_key_to_iter(name));
        run_charge(run, 1);
        dict_append(run, dict, value_text(text_of(name, bytes)), value_of_json(run, member));
    }
    return value_dict(dict);
}

struct value value_of_json(struct run *run, const json_t *json)
{
    struct value value = value_none();
    run_enter(run);
    switch (json_typeof(json)) {
    case JSON_OBJECT: value = of_object(run, json); break;
    case JSON_ARRAY: value = of_array(run, json); break;
    case JSON_STRING:
        value = value_text(text_of(json_string_value(json), json_string_length(json)));
        break;
    case JSON_INTEGER: value = value_integer(json_integer_value(json)); break;
    case JSON_REAL: value = value_real(json_real_value(json)); break;
    case JSON_TRUE: value = value_bool(true); break;
    case JSON_FALSE: value = value_bool(false); break;
    case JSON_NULL: break;
    }
    run_leave(run);
    return value;
}

int64_t value_whole(struct value v)
{
    return v.kind == VALUE_BOOL ? v.truth : v.integer;
}

double value_number(struct value v)
{
    return v.kind == VALUE_REAL ? v.real : (double)value_whole(v);
}

const char *value_kind_name(struct value v)
{
    static const char *const names[] = {
        [VALUE_ABSENT] = "nothing",     [VALUE_UNDEFINED] = "an undefined value",
        [VALUE_NONE] = "none",          [VALUE_BOOL] = "a boolean",
        [VALUE_INTEGER] = "an integer", [VALUE_REAL] = "a float",
        [VALUE_TEXT] = "a string",      [VALUE_LIST] = "a list",
        [VALUE_TUPLE] = "a tuple",      [VALUE_RANGE] = "a range",
        [VALUE_VIEW] = "a view of a mapping", [VALUE_ITERATOR] = "an iterator",
        [VALUE_DICT] = "a mapping",     [VALUE_NAMESPACE] = "a namespace",
        [VALUE_LOOP] = "a loop",        [VALUE_MACRO] = "a macro",
        [VALUE_METHOD] = "a method",    [VALUE_FUNCTION] = "a function",
    };
    return names[v.kind];
}

void value_need_defined(struct run *run, struct value v)
{
    if (v.kind == VALUE_UNDEFINED)
        run_fail(run, STATUS_INVALID, "'%.*s' is undefined",
                 (int)(v.text.size < 100 ? v.text.size : 100), v.text.bytes);
}
