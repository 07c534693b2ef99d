/* Python's operators: / is always real, // and % round down, a bool is 0 or 1, texts and lists
 * add and multiply. A text from `safe` escapes what is added to it (MarkupSafe's rule, which
 * templates of the wild run into). */
#include "engine/template/arithmetic.h"

#include <math.h>
#include <string.h>

#include "engine/template/value_text.h"

static const char *operator_name(enum node_operator operation)
{
    static const char *const names[] = {"+", "-", "*", "/", "//", "%", "**"};
    return names[operation];
}

static __attribute__((noreturn)) void refuse(struct run *run, enum node_operator operation,
                                             struct value a, struct value b)
{
    value_need_defined(run, a);
    value_need_defined(run, b);
    run_fail(run, STATUS_INVALID, "'%s' between %s and %s", operator_name(operation),
             value_kind_name(a), value_kind_name(b));
}

static __attribute__((noreturn)) void too_large(struct run *run)
{
    run_fail(run, STATUS_INVALID, "an integer larger than 63 bits");
}

static __attribute__((noreturn)) void by_zero(struct run *run)
{
    run_fail(run, STATUS_INVALID, "division by zero");
}

static int64_t floor_divide(struct run *run, int64_t a, int64_t b)
{
    if (b == 0)
        by_zero(run);
    if (a == INT64_MIN && b == -1)
        too_large(run);
    return a / b - ((a % b != 0) && ((a < 0) != (b < 0)));
}

static int64_t remainder_of(struct run *run, int64_t a, int64_t b)
{
    if (b == 0)
        by_zero(run);
    if (b == -1)
        return 0;
    int64_t rest = a % b;
    return rest + (rest != 0 && ((rest < 0) != (b < 0)) ? b : 0);
}

static struct value whole_power(struct run *run, int64_t a, int64_t b)
{
    int64_t result = 1;
    if (b < 0) {
        if (a == 0)
            by_zero(run);
        return value_real(pow((double)a, (double)b));
    }
    if (a == 0 || a == 1 || a == -1)
        return value_integer(b == 0 ? 1 : a == -1 && b % 2 == 0 ? 1 : a);
    for (; b > 0; b--) {
        if (__builtin_mul_overflow(result, a, &result))
            too_large(run);
    }
    return value_integer(result);
}

static struct value whole(struct run *run, enum node_operator operation, int64_t a, int64_t b)
{
    int64_t result = 0;
    bool over = false;
    switch (operation) {
    case OPERATOR_ADD: over = __builtin_add_overflow(a, b, &result); break;
    case OPERATOR_SUBTRACT: over = __builtin_sub_overflow(a, b, &result); break;
    case OPERATOR_MULTIPLY: over = __builtin_mul_overflow(a, b, &result); break;
    case OPERATOR_DIVIDE:
        if (b == 0)
            by_zero(run);
        return value_real((double)((long double)a / (long double)b));
    case OPERATOR_FLOOR_DIVIDE: result = floor_divide(run, a, b); break;
    case OPERATOR_REMAINDER: result = remainder_of(run, a, b); break;
    default: return whole_power(run, a, b);
    }
    if (over)
        too_large(run);
    return value_integer(result);
}

static double real_remainder(double a, double b)
{
    double rest = fmod(a, b);
    if (rest == 0)
        return copysign(0, b);
    return (rest < 0) != (b < 0) ? rest + b : rest;
}

static struct value real(struct run *run, enum node_operator operation, double a, double b)
{
    bool divides = operation == OPERATOR_DIVIDE || operation == OPERATOR_FLOOR_DIVIDE ||
                   operation == OPERATOR_REMAINDER;
    if ((divides && b == 0) || (operation == OPERATOR_POWER && a == 0 && b < 0))
        by_zero(run);
    switch (operation) {
    case OPERATOR_ADD: return value_real(a + b);
    case OPERATOR_SUBTRACT: return value_real(a - b);
    case OPERATOR_MULTIPLY: return value_real(a * b);
    case OPERATOR_DIVIDE: return value_real(a / b);
    case OPERATOR_FLOOR_DIVIDE: /* of the exact remainder, so that it agrees with % */
        return value_real(round((a - real_remainder(a, b)) / b));
    case OPERATOR_REMAINDER: return value_real(real_remainder(a, b));
    default: break;
    }
    if (a < 0 && b != floor(b) && !isinf(b))
        run_fail(run, STATUS_INVALID, "a power that is a complex number");
    double power = pow(a, b);
    if (isinf(power) && !isinf(a) && !isinf(b))
        run_fail(run, STATUS_INVALID, "a power too large for a float");
    return value_real(power);
}

static struct value join_texts(struct run *run, struct value a, struct value b)
{
    struct writer w;
    bool markup = a.markup || b.markup;
    writer_init(&w, run);
    for (int i = 0; i < 2; i++) {
        struct value part = i ? b : a;
        if (markup && !part.markup)
            value_write_escaped(&w, part.text);
        else
            writer_text(&w, part.text);
    }
    struct value joined = value_text(writer_view(&w));
    joined.markup = markup;
    return joined;
}

static struct value join_lists(struct run *run, struct value a, struct value b)
{
    struct list *list = list_new(run, a.list->count + b.list->count);
    for (size_t i = 0; i < a.list->count; i++)
        list_append(run, list, a.list->items[i]);
    for (size_t i = 0; i < b.list->count; i++)
        list_append(run, list, b.list->items[i]);
    return value_list(a.kind, list);
}

static struct value repeat(struct run *run, struct value v, int64_t times)
{
    if (v.kind == VALUE_TEXT) {
        struct writer w;
        writer_init(&w, run);
        for (int64_t i = 0; v.text.size && i < times; i++) {
            run_charge(run, 1);
            writer_text(&w, v.text);
        }
        struct value text = value_text(writer_view(&w));
        text.markup = v.markup;
        return text;
    }
    struct list *list = list_new(run, 0);
    for (int64_t i = 0; v.list->count && i < times; i++) {
        for (size_t k = 0; k < v.list->count; k++)
            list_append(run, list, v.list->items[k]);
    }
    return value_list(v.kind, list);
}

static bool repeats(struct value v)
{
    return v.kind == VALUE_TEXT || v.kind == VALUE_LIST || v.kind == VALUE_TUPLE;
}

struct value arithmetic_apply(struct run *run, enum node_operator operation, struct value a,
                              struct value b)
{
    if (value_is_whole(a) && value_is_whole(b))
        return whole(run, operation, value_whole(a), value_whole(b));
    if (value_is_number(a) && value_is_number(b))
        return real(run, operation, value_number(a), value_number(b));
    if (operation == OPERATOR_ADD && a.kind == b.kind) {
        if (a.kind == VALUE_TEXT)
            return join_texts(run, a, b);
        if (a.kind == VALUE_LIST || a.kind == VALUE_TUPLE)
            return join_lists(run, a, b);
    }
    if (operation == OPERATOR_MULTIPLY && repeats(a) && value_is_whole(b))
        return repeat(run, a, value_whole(b));
    if (operation == OPERATOR_MULTIPLY && repeats(b) && value_is_whole(a))
        return repeat(run, b, value_whole(a));
    if (operation == OPERATOR_REMAINDER && a.kind == VALUE_TEXT)
        run_fail(run, STATUS_INVALID, "formatting a string with %% is outside the subset");
    refuse(run, operation, a, b);
}

static bool ordered(struct run *run, enum node_operator operation, struct value a, struct value b)
{
    bool nan = (a.kind == VALUE_REAL && isnan(a.real)) || (b.kind == VALUE_REAL && isnan(b.real));
    int order = value_order(run, a, b);
    if (nan)
        return false;
    switch (operation) {
    case OPERATOR_LESS: return order < 0;
    case OPERATOR_LESS_EQUAL: return order <= 0;
    case OPERATOR_GREATER: return order > 0;
    default: return order >= 0;
    }
}

bool arithmetic_compare(struct run *run, enum node_operator operation, struct value a,
                        struct value b)
{
    switch (operation) {
    case OPERATOR_EQUAL: return value_equal(run, a, b);
    case OPERATOR_NOT_EQUAL: return !value_equal(run, a, b);
    case OPERATOR_IN: return value_contains(run, b, a);
    case OPERATOR_NOT_IN: return !value_contains(run, b, a);
    default: return ordered(run, operation, a, b);
    }
}

struct value arithmetic_negate(struct run *run, struct value v)
{
    value_need_defined(run, v);
    if (v.kind == VALUE_REAL)
        return value_real(-v.real);
    if (!value_is_whole(v))
        run_fail(run, STATUS_INVALID, "'-' before %s", value_kind_name(v));
    if (value_whole(v) == INT64_MIN)
        too_large(run);
    return value_integer(-value_whole(v));
}

struct value arithmetic_positive(struct run *run, struct value v)
{
    value_need_defined(run, v);
    if (!value_is_number(v))
        run_fail(run, STATUS_INVALID, "'+' before %s", value_kind_name(v));
    return v.kind == VALUE_REAL ? v : value_integer(value_whole(v));
}
