/* map, select, reject, selectattr, rejectattr. They work at once and give an iterator, where
 * Jinja works as the items are asked for: templates can tell only by when a failure happens. An
 * undefined or empty input is passed over before the arguments are looked at, as there. */
#include "engine/template/checks.h"
#include "engine/template/filters.h"
#include "engine/template/subscript.h"
#include "engine/template/value_text.h"

static struct arguments without_first(const struct arguments *arguments, size_t count)
{
    struct arguments rest = *arguments;
    rest.positional += count;
    rest.positional_count -= count;
    return rest;
}

static __attribute__((noreturn)) void unknown(struct run *run, const char *what, struct text name)
{
    run_fail(run, STATUS_UNSUPPORTED, "the %s '%.*s'", what,
             (int)(name.size < 60 ? name.size : 60), name.bytes);
}

static struct value map_attribute(struct run *run, const struct list *items,
                                  const struct arguments *arguments)
{
    static const char *const parameters[] = {"attribute", "default", NULL};
    struct value bound[2];
    struct list *result = list_new(run, items->count);
    arguments_bind(run, "map", arguments, parameters, 1, bound);
    bool fallback = value_given(bound[1]) && bound[1].kind != VALUE_NONE;
    for (size_t i = 0; i < items->count; i++) {
        struct value v = subscript_path(run, items->items[i], bound[0]);
        list_append(run, result, fallback && v.kind == VALUE_UNDEFINED ? bound[1] : v);
    }
    return value_list(VALUE_ITERATOR, result);
}

static struct value map(struct run *run, struct value input, const struct arguments *arguments)
{
    if (!value_truth(input))
        return value_list(VALUE_ITERATOR, list_new(run, 0));
    const struct list *items = value_items(run, input);
    if (!arguments->positional_count)
        return map_attribute(run, items, arguments);
    struct text name = argument_text(run, "map", arguments->positional[0]);
    const struct filter *filter = filter_find(name);
    if (!filter)
        unknown(run, "filter", name);
    struct arguments rest = without_first(arguments, 1);
    struct list *result = list_new(run, items->count);
    run_enter(run);
    for (size_t i = 0; i < items->count; i++)
        list_append(run, result, filter->apply(run, items->items[i], &rest));
    run_leave(run);
    return value_list(VALUE_ITERATOR, result);
}

/* The items for which the test (or their truth) is `wanted`; of_attribute: the test looks at an
 * attribute, which the first argument names. */
static struct value choose(struct run *run, const char *what, struct value input,
                           const struct arguments *arguments, bool of_attribute, bool wanted)
{
    struct list *result = list_new(run, 0);
    if (!value_truth(input))
        return value_list(VALUE_ITERATOR, result);
    const struct list *items = value_items(run, input);
    const struct check *check = NULL;
    struct arguments rest = *arguments;
    struct value attribute = value_none();
    if (of_attribute) {
        if (!rest.positional_count)
            run_fail(run, STATUS_INVALID, "%s lacks the name of an attribute", what);
        attribute = rest.positional[0];
        rest = without_first(&rest, 1);
    }
    if (rest.positional_count) {
        struct text name = argument_text(run, what, rest.positional[0]);
        check = check_find(name);
        if (!check)
            unknown(run, "test", name);
        rest = without_first(&rest, 1);
    }
    for (size_t i = 0; i < items->count; i++) {
        struct value v = items->items[i];
        run_charge(run, 1);
        if (of_attribute)
            v = subscript_path(run, v, attribute);
        if ((check ? check_holds(run, check, v, &rest) : value_truth(v)) == wanted)
            list_append(run, result, items->items[i]);
    }
    return value_list(VALUE_ITERATOR, result);
}

static struct value select_items(struct run *run, struct value input,
                                 const struct arguments *arguments)
{
    return choose(run, "select", input, arguments, false, true);
}

static struct value reject_items(struct run *run, struct value input,
                                 const struct arguments *arguments)
{
    return choose(run, "reject", input, arguments, false, false);
}

static struct value selectattr(struct run *run, struct value input,
                               const struct arguments *arguments)
{
    return choose(run, "selectattr", input, arguments, true, true);
}

static struct value rejectattr(struct run *run, struct value input,
                               const struct arguments *arguments)
{
    return choose(run, "rejectattr", input, arguments, true, false);
}

const struct filter *filters_of_selection(void)
{
    static const struct filter table[] = {
        {"map", map},
        {"select", select_items},
        {"reject", reject_items},
        {"selectattr", selectattr},
        {"rejectattr", rejectattr},
        {NULL, NULL},
    };
    return table;
}
