/* Binding of arguments, in Python's way. */
#include "engine/template/arguments.h"

#include <string.h>

static size_t count_of(const char *const *parameters)
{
    size_t count = 0;
    while (parameters[count])
        count++;
    return count;
}

void arguments_bind(struct run *run, const char *what, const struct arguments *arguments,
                    const char *const *parameters, size_t required, struct value *bound)
{
    size_t count = count_of(parameters);
    if (arguments->positional_count > count)
        run_fail(run, STATUS_INVALID, "%s takes at most %zu arguments, not %zu", what, count,
                 arguments->positional_count);
    for (size_t i = 0; i < count; i++)
        bound[i] = i < arguments->positional_count ? arguments->positional[i]
                                                   : (struct value){.kind = VALUE_ABSENT};
    for (size_t n = 0; n < arguments->named_count; n++) {
        struct text name = arguments->named[n].name;
        size_t i = 0;
        while (i < count && !text_is(name, parameters[i]))
            i++;
        if (i == count || value_given(bound[i]))
            run_fail(run, STATUS_INVALID, "%s %s argument '%.*s'", what,
                     i == count ? "has no" : "is given twice the",
                     (int)(name.size < 60 ? name.size : 60), name.bytes);
        bound[i] = arguments->named[n].value;
    }
    for (size_t i = 0; i < required; i++) {
        if (!value_given(bound[i]))
            run_fail(run, STATUS_INVALID, "%s lacks the argument '%s'", what, parameters[i]);
    }
}

void arguments_none(struct run *run, const char *what, const struct arguments *arguments)
{
    static const char *const none[] = {NULL};
    arguments_bind(run, what, arguments, none, 0, NULL);
}

int64_t argument_integer(struct run *run, const char *what, struct value v, int64_t fallback)
{
    if (!value_given(v))
        return fallback;
    value_need_defined(run, v);
    if (!value_is_whole(v))
        run_fail(run, STATUS_INVALID, "%s needs an integer, not %s", what, value_kind_name(v));
    return value_whole(v);
}

struct text argument_text(struct run *run, const char *what, struct value v)
{
    value_need_defined(run, v);
    if (v.kind != VALUE_TEXT)
        run_fail(run, STATUS_INVALID, "%s needs a string, not %s", what, value_kind_name(v));
    return v.text;
}

bool argument_truth(struct value v, bool fallback)
{
    return value_given(v) ? value_truth(v) : fallback;
}
