/* The tests of Jinja: what a value is, and how it compares. */
#include "engine/template/checks.h"

#include <math.h>
#include <string.h>

#include "engine/template/arithmetic.h"
#include "engine/template/letter_case.h"
#include "engine/template/value_text.h"

static bool is_defined(struct run *run, struct value v, struct value other)
{
    return v.kind != VALUE_UNDEFINED;
}

static bool is_undefined(struct run *run, struct value v, struct value other)
{
    return v.kind == VALUE_UNDEFINED;
}

static bool is_none(struct run *run, struct value v, struct value other)
{
    return v.kind == VALUE_NONE;
}

static bool is_string(struct run *run, struct value v, struct value other)
{
    return v.kind == VALUE_TEXT;
}

static bool is_number(struct run *run, struct value v, struct value other)
{
    return value_is_number(v);
}

static bool is_integer(struct run *run, struct value v, struct value other)
{
    return v.kind == VALUE_INTEGER;
}

static bool is_real(struct run *run, struct value v, struct value other)
{
    return v.kind == VALUE_REAL;
}

static bool is_boolean(struct run *run, struct value v, struct value other)
{
    return v.kind == VALUE_BOOL;
}

static bool is_true(struct run *run, struct value v, struct value other)
{
    return v.kind == VALUE_BOOL && v.truth;
}

static bool is_false(struct run *run, struct value v, struct value other)
{
    return v.kind == VALUE_BOOL && !v.truth;
}

static bool is_mapping(struct run *run, struct value v, struct value other)
{
    return v.kind == VALUE_DICT;
}

static bool is_iterable(struct run *run, struct value v, struct value other)
{
    return value_is_iterable(v) || v.kind == VALUE_LOOP;
}

/* What has a length and subscripts: Jinja counts mappings in, and strings. */
static bool is_sequence(struct run *run, struct value v, struct value other)
{
    return v.kind == VALUE_TEXT || v.kind == VALUE_DICT || v.kind == VALUE_LIST ||
           v.kind == VALUE_TUPLE || v.kind == VALUE_RANGE || v.kind == VALUE_UNDEFINED;
}

static bool is_callable(struct run *run, struct value v, struct value other)
{
    return v.kind == VALUE_MACRO || v.kind == VALUE_METHOD || v.kind == VALUE_FUNCTION ||
           v.kind == VALUE_LOOP || v.kind == VALUE_UNDEFINED;
}

static bool is_lower(struct run *run, struct value v, struct value other)
{
    return letter_case_is_lower(value_to_text(run, v));
}

static bool is_upper(struct run *run, struct value v, struct value other)
{
    return letter_case_is_upper(value_to_text(run, v));
}

static bool remainder_is(struct run *run, struct value v, struct value divisor, int64_t wanted)
{
    struct value rest = arithmetic_apply(run, OPERATOR_REMAINDER, v, divisor);
    return value_equal(run, rest, value_integer(wanted));
}

static bool is_odd(struct run *run, struct value v, struct value other)
{
    return remainder_is(run, v, value_integer(2), 1);
}

static bool is_even(struct run *run, struct value v, struct value other)
{
    return remainder_is(run, v, value_integer(2), 0);
}

static bool is_divisible(struct run *run, struct value v, struct value other)
{
    return remainder_is(run, v, other, 0);
}

static bool is_same(struct run *run, struct value v, struct value other)
{
    if (v.kind == VALUE_REAL)
        return false; /* two floats are two objects */
    if (v.kind == VALUE_DICT && other.kind == VALUE_DICT)
        return v.dict == other.dict;
    if (value_is_list(v) && v.kind == other.kind)
        return v.list == other.list;
    return v.kind == other.kind && value_equal(run, v, other);
}

static bool is_in(struct run *run, struct value v, struct value other)
{
    return value_contains(run, other, v);
}

static bool is_equal(struct run *run, struct value v, struct value other)
{
    return value_equal(run, v, other);
}

static bool is_not_equal(struct run *run, struct value v, struct value other)
{
    return !value_equal(run, v, other);
}

static bool is_less(struct run *run, struct value v, struct value other)
{
    return arithmetic_compare(run, OPERATOR_LESS, v, other);
}

static bool is_at_most(struct run *run, struct value v, struct value other)
{
    return arithmetic_compare(run, OPERATOR_LESS_EQUAL, v, other);
}

static bool is_greater(struct run *run, struct value v, struct value other)
{
    return arithmetic_compare(run, OPERATOR_GREATER, v, other);
}

static bool is_at_least(struct run *run, struct value v, struct value other)
{
    return arithmetic_compare(run, OPERATOR_GREATER_EQUAL, v, other);
}

const struct check *check_find(struct text name)
{
    static const struct check table[] = {
        {"defined", is_defined, false},   {"undefined", is_undefined, false},
        {"none", is_none, false},         {"string", is_string, false},
        {"number", is_number, false},     {"integer", is_integer, false},
        {"float", is_real, false},        {"boolean", is_boolean, false},
        {"true", is_true, false},         {"false", is_false, false},
        {"mapping", is_mapping, false},   {"iterable", is_iterable, false},
        {"sequence", is_sequence, false}, {"callable", is_callable, false},
        {"lower", is_lower, false},       {"upper", is_upper, false},
        {"odd", is_odd, false},           {"even", is_even, false},
        {"divisibleby", is_divisible, true}, {"sameas", is_same, true},
        {"in", is_in, true},              {"eq", is_equal, true},
        {"equalto", is_equal, true},      {"==", is_equal, true},
        {"ne", is_not_equal, true},       {"!=", is_not_equal, true},
        {"lt", is_less, true},            {"lessthan", is_less, true},
        {"<", is_less, true},             {"le", is_at_most, true},
        {"<=", is_at_most, true},         {"gt", is_greater, true},
        {"greaterthan", is_greater, true}, {">", is_greater, true},
        {"ge", is_at_least, true},        {">=", is_at_least, true},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        if (text_is(name, table[i].name))
            return &table[i];
    }
    return NULL;
}

bool check_holds(struct run *run, const struct check *check, struct value v,
                 const struct arguments *arguments)
{
    static const char *const parameters[] = {"other", NULL};
    struct value other = value_none();
    if (check->binary)
        arguments_bind(run, check->name, arguments, parameters, 1, &other);
    else
        arguments_none(run, check->name, arguments);
    return check->holds(run, v, other);
}
