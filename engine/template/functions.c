/* Functions. A range is made in full, so its length is bounded as in Jinja's sandbox. */
#include "engine/template/functions.h"

#include <string.h>
#include <time.h>

#include "engine/template/value_text.h"

#define RANGE_MAX 100000

static struct value range(struct run *run, const struct arguments *arguments)
{
    static const char *const parameters[] = {"start", "stop", "step", NULL};
    struct value bound[3];
    arguments_bind(run, "range()", arguments, parameters, 1, bound);
    int64_t stop = argument_integer(run, "range()", bound[value_given(bound[1])], 0);
    int64_t start = value_given(bound[1]) ? argument_integer(run, "range()", bound[0], 0) : 0;
    int64_t step = argument_integer(run, "range()", bound[2], 1);
    if (step == 0)
        run_fail(run, STATUS_INVALID, "range() with step 0");
    struct list *list = list_new(run, 0);
    list->bounds[0] = start;
    list->bounds[1] = stop;
    list->bounds[2] = step;
    for (int64_t i = start; step > 0 ? i < stop : i > stop;) {
        if (list->count == RANGE_MAX)
            run_fail(run, STATUS_INVALID, "range() of more than %d numbers", RANGE_MAX);
        list_append(run, list, value_integer(i));
        if (__builtin_add_overflow(i, step, &i))
            break;
    }
    return value_list(VALUE_RANGE, list);
}

/* dict(other), dict([(key, value), ...]), dict(key=value, ...). */
static struct dict *new_dict(struct run *run, const char *what, const struct arguments *arguments)
{
    struct dict *dict = dict_new(run, arguments->named_count);
    if (arguments->positional_count > 1)
        run_fail(run, STATUS_INVALID, "%s takes at most 1 positional argument", what);
    if (arguments->positional_count) {
        struct value from = arguments->positional[0];
        if (from.kind == VALUE_DICT) {
            for (size_t i = 0; i < from.dict->count; i++)
                dict_set(run, dict, from.dict->pairs[i].key, from.dict->pairs[i].value);
        } else {
            const struct list *list = value_items(run, from);
            for (size_t i = 0; i < list->count; i++) {
                const struct list *pair = value_items(run, list->items[i]);
                if (pair->count != 2)
                    run_fail(run, STATUS_INVALID, "%s needs pairs of key and value", what);
                dict_set(run, dict, pair->items[0], pair->items[1]);
            }
        }
    }
    for (size_t i = 0; i < arguments->named_count; i++)
        dict_set(run, dict, value_text(arguments->named[i].name), arguments->named[i].value);
    return dict;
}

static struct value make_dict(struct run *run, const struct arguments *arguments)
{
    return value_dict(new_dict(run, "dict()", arguments));
}

static struct value make_namespace(struct run *run, const struct arguments *arguments)
{
    struct value v = value_dict(new_dict(run, "namespace()", arguments));
    v.kind = VALUE_NAMESPACE;
    return v;
}

static struct value raise_exception(struct run *run, const struct arguments *arguments)
{
    static const char *const parameters[] = {"message", NULL};
    struct value message;
    arguments_bind(run, "raise_exception()", arguments, parameters, 1, &message);
    struct text text = value_to_text(run, message);
    size_t size = text.size < 300 ? text.size : 300;
    while (size > 0 && size < text.size && ((unsigned char)text.bytes[size] & 0xC0) == 0x80)
        size--;
    run_fail(run, STATUS_INVALID, "%.*s", (int)size, text.bytes);
}

static struct value strftime_now(struct run *run, const struct arguments *arguments)
{
    static const char *const parameters[] = {"format", NULL};
    struct value v;
    char format[128], shown[512];
    struct tm when;
    arguments_bind(run, "strftime_now()", arguments, parameters, 1, &v);
    struct text text = argument_text(run, "strftime_now()", v);
    if (text.size >= sizeof format - 1 || (text.size && memchr(text.bytes, 0, text.size)))
        run_fail(run, STATUS_INVALID, "strftime_now(): a format of more than %zu bytes",
                 sizeof format - 2);
    memcpy(format, text.bytes, text.size);
    memcpy(format + text.size, "$", 2); /* so that an empty result can be told from a failure */
    time_t seconds = (time_t)run->now_s;
    gmtime_r(&seconds, &when);
    size_t size = strftime(shown, sizeof shown, format, &when);
    if (!size)
        run_fail(run, STATUS_INVALID, "strftime_now(): the result is longer than %zu bytes",
                 sizeof shown);
    struct writer w;
    writer_init(&w, run);
    writer_bytes(&w, shown, size - 1);
    return value_text(writer_view(&w));
}

const struct function *function_find(struct text name)
{
    static const struct function table[] = {
        {"range", range},
        {"dict", make_dict},
        {"namespace", make_namespace},
        {"raise_exception", raise_exception},
        {"strftime_now", strftime_now},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        if (text_is(name, table[i].name))
            return &table[i];
    }
    return NULL;
}
