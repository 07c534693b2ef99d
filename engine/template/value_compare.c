/* What Python says of values: truth, equality, order, membership, length, iteration. An integer
 * and a real compare by their exact values (a double cannot tell 2^53 from 2^53 + 1; long double
 * can, on the machines that have it with 64 bits of fraction). */
#include <string.h>

#include "engine/template/value.h"

bool value_truth(struct value v)
{
    switch (v.kind) {
    case VALUE_ABSENT:
    case VALUE_UNDEFINED:
    case VALUE_NONE: return false;
    case VALUE_BOOL: return v.truth;
    case VALUE_INTEGER: return v.integer != 0;
    case VALUE_REAL: return v.real != 0;
    case VALUE_TEXT: return v.text.size > 0;
    case VALUE_LIST:
    case VALUE_TUPLE:
    case VALUE_RANGE:
    case VALUE_VIEW: return v.list->count > 0;
    case VALUE_DICT: return v.dict->count > 0;
    default: return true;
    }
}

static int number_order(struct value a, struct value b)
{
    if (value_is_whole(a) && value_is_whole(b)) {
        int64_t x = value_whole(a), y = value_whole(b);
        return (x > y) - (x < y);
    }
    long double x = a.kind == VALUE_REAL ? (long double)a.real : (long double)value_whole(a);
    long double y = b.kind == VALUE_REAL ? (long double)b.real : (long double)value_whole(b);
    return (x > y) - (x < y);
}

static bool not_a_number(struct value v)
{
    return v.kind == VALUE_REAL && v.real != v.real;
}

static bool lists_equal(struct run *run, const struct list *a, const struct list *b)
{
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count && i < b->count; i++) {
        if (!value_equal(run, a->items[i], b->items[i]))
            return false;
    }
    return true;
}

static bool dicts_equal(struct run *run, const struct dict *a, const struct dict *b)
{
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++) {
        struct value *other = dict_get(run, b, a->pairs[i].key);
        if (!other || !value_equal(run, a->pairs[i].value, *other))
            return false;
    }
    return true;
}

static bool same_kind_equal(struct run *run, struct value a, struct value b)
{
    switch (a.kind) {
    case VALUE_UNDEFINED:
    case VALUE_NONE: return true;
    case VALUE_TEXT:
        run_charge_bytes(run, a.text.size);
        return text_equal(a.text, b.text);
    case VALUE_LIST:
    case VALUE_TUPLE:
    case VALUE_RANGE: return lists_equal(run, a.list, b.list);
    case VALUE_DICT: return dicts_equal(run, a.dict, b.dict);
    case VALUE_METHOD: return a.method == b.method;
    case VALUE_FUNCTION: return a.function == b.function;
    case VALUE_MACRO: return a.macro == b.macro;
    case VALUE_LOOP: return a.loop == b.loop;
    case VALUE_NAMESPACE: return a.dict == b.dict;
    case VALUE_VIEW:
        if (strcmp(a.list->view, "values") != 0)
            return lists_equal(run, a.list, b.list);
        return a.list == b.list;
    default: return a.list == b.list;
    }
}

bool value_equal(struct run *run, struct value a, struct value b)
{
    if (value_is_number(a) && value_is_number(b))
        return !not_a_number(a) && !not_a_number(b) && number_order(a, b) == 0;
    if (a.kind != b.kind)
        return false;
    run_charge(run, 1);
    run_enter(run);
    bool equal = same_kind_equal(run, a, b);
    run_leave(run);
    return equal;
}

static int list_order(struct run *run, const struct list *a, const struct list *b)
{
    for (size_t i = 0; i < a->count && i < b->count; i++) {
        if (!value_equal(run, a->items[i], b->items[i]))
            return value_order(run, a->items[i], b->items[i]);
    }
    return (a->count > b->count) - (a->count < b->count);
}

int value_order(struct run *run, struct value a, struct value b)
{
    if (value_is_number(a) && value_is_number(b))
        return number_order(a, b);
    value_need_defined(run, a);
    value_need_defined(run, b);
    if (a.kind == VALUE_TEXT && b.kind == VALUE_TEXT) {
        run_charge_bytes(run, a.text.size);
        return text_order(a.text, b.text);
    }
    if (a.kind != b.kind || (a.kind != VALUE_LIST && a.kind != VALUE_TUPLE))
        run_fail(run, STATUS_INVALID, "%s and %s have no order", value_kind_name(a),
                 value_kind_name(b));
    run_enter(run);
    int order = list_order(run, a.list, b.list);
    run_leave(run);
    return order;
}

bool value_contains(struct run *run, struct value container, struct value item)
{
    if (container.kind == VALUE_TEXT) {
        value_need_defined(run, item);
        if (item.kind != VALUE_TEXT)
            run_fail(run, STATUS_INVALID, "'in' a string needs a string, not %s",
                     value_kind_name(item));
        run_charge_bytes(run, container.text.size);
        return text_find(container.text, item.text, 0) != SIZE_MAX;
    }
    if (container.kind == VALUE_DICT) {
        if (!value_is_hashable(run, item))
            run_fail(run, STATUS_INVALID, "%s cannot be a key", value_kind_name(item));
        return dict_get(run, container.dict, item) != NULL;
    }
    const struct list *items = value_items(run, container);
    for (size_t i = 0; i < items->count; i++) {
        run_charge(run, 1);
        if (value_equal(run, items->items[i], item))
            return true;
    }
    return false;
}

int64_t value_length(struct run *run, struct value v)
{
    switch (v.kind) {
    case VALUE_UNDEFINED: return 0;
    case VALUE_TEXT:
        run_charge_bytes(run, v.text.size);
        return (int64_t)utf8_count(v.text);
    case VALUE_LIST:
    case VALUE_TUPLE:
    case VALUE_RANGE:
    case VALUE_VIEW: return (int64_t)v.list->count;
    case VALUE_DICT: return (int64_t)v.dict->count;
    default: return -1;
    }
}

bool value_is_iterable(struct value v)
{
    return v.kind == VALUE_UNDEFINED || v.kind == VALUE_TEXT || value_is_list(v) ||
           v.kind == VALUE_DICT;
}

static struct list *characters(struct run *run, struct text text)
{
    struct list *list = list_new(run, utf8_count(text));
    for (size_t at = 0; at < text.size;) {
        size_t width = utf8_width(text, at);
        list_append(run, list, value_text(text_of(text.bytes + at, width)));
        at += width;
    }
    return list;
}

struct list *value_items(struct run *run, struct value v)
{
    struct list *list;
    switch (v.kind) {
    case VALUE_UNDEFINED: return list_new(run, 0);
    case VALUE_TEXT: return characters(run, v.text);
    case VALUE_LIST:
    case VALUE_TUPLE:
    case VALUE_RANGE:
    case VALUE_VIEW: return v.list;
    case VALUE_ITERATOR:
        list = list_new(run, 0);
        *list = (struct list){.items = v.list->items + v.list->next,
                              .count = v.list->count - v.list->next,
                              .room = v.list->count - v.list->next};
        v.list->next = v.list->count;
        return list;
    case VALUE_DICT:
        list = list_new(run, v.dict->count);
        for (size_t i = 0; i < v.dict->count; i++)
            list_append(run, list, v.dict->pairs[i].key);
        return list;
    default: run_fail(run, STATUS_INVALID, "%s cannot be iterated", value_kind_name(v));
    }
}
