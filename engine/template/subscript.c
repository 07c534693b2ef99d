/* Attributes, items and slices. What is not there is undefined, never a failure: templates ask
 * before they look. */
#include "engine/template/subscript.h"

#include <string.h>

#include "engine/template/methods.h"
#include "engine/template/scope.h"
#include "engine/template/writer.h"

static struct value loop_attribute(const struct loop *loop, struct text name)
{
    size_t index = loop->index, count = loop->items->count;
    const struct {
        const char *name;
        int64_t value;
    } numbers[] = {
        {"index", (int64_t)index + 1},
        {"index0", (int64_t)index},
        {"revindex", (int64_t)(count - index)},
        {"revindex0", (int64_t)(count - index) - 1},
        {"length", (int64_t)count},
        {"depth", 1},
        {"depth0", 0},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        if (text_is(name, numbers[i].name))
            return value_integer(numbers[i].value);
    }
    if (text_is(name, "first"))
        return value_bool(index == 0);
    if (text_is(name, "last"))
        return value_bool(index + 1 >= count);
    if (text_is(name, "previtem") && index > 0)
        return loop->items->items[index - 1];
    if (text_is(name, "nextitem") && index + 1 < count)
        return loop->items->items[index + 1];
    return value_undefined(name);
}

struct value subscript_attribute(struct run *run, struct value v, struct text name)
{
    struct value method;
    value_need_defined(run, v);
    if (method_of(run, v, name, &method))
        return method;
    if (v.kind == VALUE_DICT || v.kind == VALUE_NAMESPACE) {
        struct value *there = dict_get_text(run, v.dict, name);
        if (there)
            return *there;
    }
    if (v.kind == VALUE_LOOP)
        return loop_attribute(v.loop, name);
    return value_undefined(name);
}

static bool has_positions(struct value v)
{
    return v.kind == VALUE_LIST || v.kind == VALUE_TUPLE || v.kind == VALUE_RANGE;
}

/* The index-th character, counted from the end if negative. */
static struct value character(struct run *run, struct value v, int64_t index)
{
    run_charge_bytes(run, v.text.size);
    int64_t count = (int64_t)utf8_count(v.text);
    if (index < -count || index >= count)
        return value_undefined(text_of("the character", 13));
    size_t at = utf8_offset(v.text, (size_t)(index < 0 ? index + count : index));
    struct value one = value_text(text_of(v.text.bytes + at, utf8_width(v.text, at)));
    one.markup = v.markup;
    return one;
}

struct value subscript_item(struct run *run, struct value v, struct value key)
{
    value_need_defined(run, v);
    if (v.kind == VALUE_DICT) {
        struct value *there = dict_get(run, v.dict, key);
        if (there)
            return *there;
    }
    if (value_is_whole(key) && v.kind == VALUE_TEXT)
        return character(run, v, value_whole(key));
    if (value_is_whole(key) && has_positions(v)) {
        int64_t index = value_whole(key), count = (int64_t)v.list->count;
        if (index >= -count && index < count)
            return v.list->items[index < 0 ? index + count : index];
    }
    if (key.kind != VALUE_TEXT)
        return value_undefined(text_of("the item", 8));
    if (v.kind == VALUE_DICT) {
        struct value method;
        return method_of(run, v, key.text, &method) ? method : value_undefined(key.text);
    }
    return subscript_attribute(run, v, key.text);
}

/* Python's slice.indices for a sequence of `count` items. */
struct bounds {
    int64_t begin, end, step;
};

static int64_t clamp(int64_t index, int64_t count, int64_t step)
{
    if (index < 0)
        index = index < -count ? -1 : index + count;
    if (index < 0)
        return step < 0 ? -1 : 0;
    if (index >= count)
        return step < 0 ? count - 1 : count;
    return index;
}

static bool slice_bound(struct run *run, struct value v, int64_t *bound)
{
    if (!value_given(v) || v.kind == VALUE_NONE)
        return false;
    value_need_defined(run, v);
    if (!value_is_whole(v))
        run_fail(run, STATUS_INVALID, "a slice needs integers, not %s", value_kind_name(v));
    *bound = value_whole(v);
    return true;
}

static struct bounds bounds_of(struct run *run, int64_t count, struct value begin,
                               struct value end, struct value step)
{
    struct bounds b = {0, 0, 1};
    int64_t given;
    if (slice_bound(run, step, &b.step) && b.step == 0)
        run_fail(run, STATUS_INVALID, "a slice with step 0");
    if (b.step == INT64_MIN)
        b.step++;
    b.begin = b.step < 0 ? count - 1 : 0;
    b.end = b.step < 0 ? -1 : count;
    if (slice_bound(run, begin, &given))
        b.begin = clamp(given, count, b.step);
    if (slice_bound(run, end, &given))
        b.end = clamp(given, count, b.step);
    return b;
}

/* How many items the bounds pick. */
static int64_t picked(struct bounds b)
{
    if (b.step > 0)
        return b.begin < b.end ? (b.end - b.begin - 1) / b.step + 1 : 0;
    return b.begin > b.end ? (b.begin - b.end - 1) / -b.step + 1 : 0;
}

static struct value slice_text(struct run *run, struct text text, struct bounds b)
{
    run_charge_bytes(run, text.size);
    if (b.step == 1) {
        size_t begin = utf8_offset(text, (size_t)b.begin);
        size_t end = b.end > b.begin ? utf8_offset(text, (size_t)b.end) : begin;
        return value_text(text_of(text.bytes + begin, end - begin));
    }
    const struct list *characters = value_items(run, value_text(text));
    int64_t count = picked(b);
    struct writer w;
    writer_init(&w, run);
    for (int64_t i = 0; i < count; i++)
        writer_text(&w, characters->items[b.begin + i * b.step].text);
    return value_text(writer_view(&w));
}

struct value subscript_slice(struct run *run, struct value v, struct value begin, struct value end,
                             struct value step)
{
    value_need_defined(run, v);
    if (v.kind == VALUE_TEXT) {
        struct bounds b = bounds_of(run, (int64_t)utf8_count(v.text), begin, end, step);
        struct value text = slice_text(run, v.text, b);
        text.markup = v.markup;
        return text;
    }
    if (!has_positions(v))
        run_fail(run, STATUS_INVALID, "%s has no slices", value_kind_name(v));
    struct bounds b = bounds_of(run, (int64_t)v.list->count, begin, end, step);
    int64_t count = picked(b);
    struct list *list = list_new(run, (size_t)count);
    for (int64_t i = 0; i < count; i++)
        list_append(run, list, v.list->items[b.begin + i * b.step]);
    if (v.kind == VALUE_RANGE) {
        list->bounds[2] = v.list->bounds[2] * b.step;
        list->bounds[0] = v.list->bounds[0] + b.begin * v.list->bounds[2];
        list->bounds[1] = v.list->bounds[0] + b.end * v.list->bounds[2];
    }
    return value_list(v.kind, list);
}

static bool all_digits(struct text text, int64_t *number)
{
    *number = 0;
    for (size_t i = 0; i < text.size; i++) {
        if (text.bytes[i] < '0' || text.bytes[i] > '9' || *number > INT64_MAX / 10 - 1)
            return false;
        *number = 10 * *number + (text.bytes[i] - '0');
    }
    return text.size > 0;
}

struct value subscript_path(struct run *run, struct value v, struct value path)
{
    if (path.kind != VALUE_TEXT)
        return subscript_item(run, v, path);
    for (size_t at = 0; at <= path.text.size;) {
        size_t dot = text_find(path.text, text_of(".", 1), at);
        size_t end = dot == SIZE_MAX ? path.text.size : dot;
        struct text part = text_of(path.text.bytes + at, end - at);
        int64_t number;
        bool is_number = all_digits(part, &number);
        run_charge(run, 1);
        v = subscript_item(run, v, is_number ? value_integer(number) : value_text(part));
        at = end + 1;
    }
    return v;
}
