/* Filters about the order and the members of sequences and mappings. */
#include <string.h>

#include "engine/template/filters.h"
#include "engine/template/letter_case.h"
#include "engine/template/sort.h"
#include "engine/template/subscript.h"
#include "engine/template/text_edit.h"

static struct value first(struct run *run, struct value input, const struct arguments *arguments)
{
    arguments_none(run, "first", arguments);
    if (input.kind == VALUE_TEXT && input.text.size)
        return value_text(text_of(input.text.bytes, utf8_width(input.text, 0)));
    if (input.kind == VALUE_ITERATOR && input.list->next < input.list->count)
        return input.list->items[input.list->next++];
    const struct list *items = value_items(run, input);
    return items->count ? items->items[0] : value_undefined(text_of("the first item", 14));
}

static struct value last(struct run *run, struct value input, const struct arguments *arguments)
{
    arguments_none(run, "last", arguments);
    if (input.kind == VALUE_ITERATOR)
        run_fail(run, STATUS_INVALID, "an iterator has no last item");
    const struct list *items = value_items(run, input);
    return items->count ? items->items[items->count - 1]
                        : value_undefined(text_of("the last item", 13));
}

static struct list *copy(struct run *run, const struct list *items)
{
    struct list *list = list_new(run, items->count);
    for (size_t i = 0; i < items->count; i++)
        list_append(run, list, items->items[i]);
    return list;
}

static struct value to_list(struct run *run, struct value input, const struct arguments *arguments)
{
    arguments_none(run, "list", arguments);
    return value_list(VALUE_LIST, copy(run, value_items(run, input)));
}

static struct list *pairs_of(struct run *run, const struct dict *dict)
{
    struct list *list = list_new(run, dict->count);
    for (size_t i = 0; i < dict->count; i++) {
        struct list *pair = list_new(run, 2);
        list_append(run, pair, dict->pairs[i].key);
        list_append(run, pair, dict->pairs[i].value);
        list_append(run, list, value_list(VALUE_TUPLE, pair));
    }
    return list;
}

static struct value items(struct run *run, struct value input, const struct arguments *arguments)
{
    arguments_none(run, "items", arguments);
    if (input.kind == VALUE_UNDEFINED)
        return value_list(VALUE_ITERATOR, list_new(run, 0));
    if (input.kind != VALUE_DICT)
        run_fail(run, STATUS_INVALID, "items: %s is not a mapping", value_kind_name(input));
    return value_list(VALUE_ITERATOR, pairs_of(run, input.dict));
}

static struct value folded(struct run *run, struct value v)
{
    if (v.kind != VALUE_TEXT)
        return v;
    return value_text(letter_case_lower(run, v.text));
}

static int in_order(struct run *run, const struct value *a, const struct value *b, void *context)
{
    return value_order(run, *a, *b);
}

static struct list *sorted(struct run *run, const struct list *items, const struct value *keys,
                           bool reverse)
{
    uint32_t *order = run_alloc(run, items->count, sizeof *order);
    struct list *list = list_new(run, items->count);
    sort_order(run, keys, items->count, reverse, in_order, NULL, order);
    for (size_t i = 0; i < items->count; i++)
        list_append(run, list, items->items[order[i]]);
    return list;
}

static struct value dictsort(struct run *run, struct value input, const struct arguments *arguments)
{
    static const char *const parameters[] = {"case_sensitive", "by", "reverse", NULL};
    struct value bound[3];
    arguments_bind(run, "dictsort", arguments, parameters, 0, bound);
    value_need_defined(run, input);
    if (input.kind != VALUE_DICT)
        run_fail(run, STATUS_INVALID, "dictsort: %s is not a mapping", value_kind_name(input));
    struct text by = value_given(bound[1]) ? argument_text(run, "dictsort", bound[1])
                                           : text_of("key", 3);
    if (!text_is(by, "key") && !text_is(by, "value"))
        run_fail(run, STATUS_INVALID, "dictsort: by is key or value");
    const struct list *pairs = pairs_of(run, input.dict);
    struct value *keys = run_alloc(run, pairs->count, sizeof *keys);
    for (size_t i = 0; i < pairs->count; i++) {
        keys[i] = pairs->items[i].list->items[text_is(by, "value")];
        if (!argument_truth(bound[0], false))
            keys[i] = folded(run, keys[i]);
    }
    return value_list(VALUE_LIST, sorted(run, pairs, keys, argument_truth(bound[2], false)));
}

/* The values of several attributes, "a,b.c", as one list to compare. */
static struct value key_of(struct run *run, struct value item, struct value attribute, bool fold)
{
    struct list *key = list_new(run, 1);
    bool whole = !value_given(attribute) || attribute.kind == VALUE_NONE;
    struct list *paths;
    if (whole || attribute.kind != VALUE_TEXT) {
        paths = list_new(run, 1);
        list_append(run, paths, attribute);
    } else {
        paths = text_edit_split(run, attribute.text, text_of(",", 1), -1);
    }
    for (size_t i = 0; i < paths->count; i++) {
        struct value v = whole ? item : subscript_path(run, item, paths->items[i]);
        list_append(run, key, fold ? folded(run, v) : v);
    }
    return value_list(VALUE_LIST, key);
}

static struct value sort(struct run *run, struct value input, const struct arguments *arguments)
{
    static const char *const parameters[] = {"reverse", "case_sensitive", "attribute", NULL};
    struct value bound[3];
    arguments_bind(run, "sort", arguments, parameters, 0, bound);
    const struct list *list = value_items(run, input);
    struct value *keys = run_alloc(run, list->count, sizeof *keys);
    for (size_t i = 0; i < list->count; i++)
        keys[i] = key_of(run, list->items[i], bound[2], !argument_truth(bound[1], false));
    return value_list(VALUE_LIST, sorted(run, list, keys, argument_truth(bound[0], false)));
}

static struct value unique(struct run *run, struct value input, const struct arguments *arguments)
{
    static const char *const parameters[] = {"case_sensitive", "attribute", NULL};
    struct value bound[2];
    arguments_bind(run, "unique", arguments, parameters, 0, bound);
    bool fold = !argument_truth(bound[0], false);
    bool whole = !value_given(bound[1]) || bound[1].kind == VALUE_NONE;
    const struct list *list = value_items(run, input);
    struct list *result = list_new(run, 0);
    struct dict *seen = dict_new(run, 0);
    for (size_t i = 0; i < list->count; i++) {
        struct value key = whole ? list->items[i] : subscript_path(run, list->items[i], bound[1]);
        size_t before = seen->count;
        dict_set(run, seen, fold ? folded(run, key) : key, value_none());
        if (seen->count > before)
            list_append(run, result, list->items[i]);
    }
    return value_list(VALUE_ITERATOR, result);
}

static struct value reversed(struct run *run, struct value input, const struct arguments *arguments)
{
    arguments_none(run, "reverse", arguments);
    const struct list *list = value_items(run, input);
    if (input.kind == VALUE_TEXT) {
        struct writer w;
        writer_init(&w, run);
        for (size_t i = list->count; i-- > 0;)
            writer_text(&w, list->items[i].text);
        return value_text(writer_view(&w));
    }
    struct list *result = list_new(run, list->count);
    for (size_t i = list->count; i-- > 0;)
        list_append(run, result, list->items[i]);
    bool once = input.kind != VALUE_ITERATOR; /* what cannot be turned becomes a list first */
    return value_list(once ? VALUE_ITERATOR : VALUE_LIST, result);
}

static struct value extreme(struct run *run, const char *what, struct value input,
                            const struct arguments *arguments, int sign)
{
    static const char *const parameters[] = {"case_sensitive", "attribute", NULL};
    struct value bound[2], best_key = value_none();
    arguments_bind(run, what, arguments, parameters, 0, bound);
    bool fold = !argument_truth(bound[0], false);
    bool whole = !value_given(bound[1]) || bound[1].kind == VALUE_NONE;
    const struct list *list = value_items(run, input);
    struct value best = value_undefined(text_of(what, strlen(what)));
    for (size_t i = 0; i < list->count; i++) {
        struct value key = whole ? list->items[i] : subscript_path(run, list->items[i], bound[1]);
        if (fold)
            key = folded(run, key);
        if (i == 0 || sign * value_order(run, key, best_key) > 0) {
            best = list->items[i];
            best_key = key;
        }
    }
    return best;
}

static struct value least(struct run *run, struct value input, const struct arguments *arguments)
{
    return extreme(run, "min", input, arguments, -1);
}

static struct value greatest(struct run *run, struct value input, const struct arguments *arguments)
{
    return extreme(run, "max", input, arguments, 1);
}

const struct filter *filters_of_sequence(void)
{
    static const struct filter table[] = {
        {"first", first}, {"last", last},         {"list", to_list},  {"items", items},
        {"sort", sort},   {"dictsort", dictsort}, {"unique", unique}, {"reverse", reversed},
        {"min", least},   {"max", greatest},      {NULL, NULL},
    };
    return table;
}
