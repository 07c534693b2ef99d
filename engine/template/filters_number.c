/* Filters about numbers, lengths and defaults. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/template/arithmetic.h"
#include "engine/template/filters.h"
#include "engine/template/text_edit.h"

static struct value length(struct run *run, struct value input, const struct arguments *arguments)
{
    arguments_none(run, "length", arguments);
    int64_t count = value_length(run, input);
    if (count < 0)
        run_fail(run, STATUS_INVALID, "%s has no length", value_kind_name(input));
    return value_integer(count);
}

static struct value or_default(struct run *run, struct value input,
                               const struct arguments *arguments)
{
    static const char *const parameters[] = {"default_value", "boolean", NULL};
    struct value bound[2];
    arguments_bind(run, "default", arguments, parameters, 0, bound);
    bool replace = input.kind == VALUE_UNDEFINED ||
                   (argument_truth(bound[1], false) && !value_truth(input));
    if (!replace)
        return input;
    return value_given(bound[0]) ? bound[0] : value_text(text_of("", 0));
}

/* int() of a real; false: NaN or infinite. */
static bool truncated(struct run *run, double real, int64_t *out)
{
    if (isnan(real) || isinf(real))
        return false;
    if (real >= 9223372036854775808.0 || real < -9223372036854775808.0)
        run_fail(run, STATUS_INVALID, "an integer larger than 63 bits");
    *out = (int64_t)real;
    return true;
}

static struct value to_integer(struct run *run, struct value input,
                               const struct arguments *arguments)
{
    static const char *const parameters[] = {"default", "base", NULL};
    struct value bound[2];
    int64_t whole;
    double real;
    arguments_bind(run, "int", arguments, parameters, 0, bound);
    value_need_defined(run, input);
    int64_t base = argument_integer(run, "int", bound[1], 10);
    struct value fallback = value_given(bound[0]) ? bound[0] : value_integer(0);
    if (value_is_whole(input))
        return value_integer(value_whole(input));
    if (input.kind == VALUE_REAL) {
        if (isinf(input.real))
            run_fail(run, STATUS_INVALID, "int: infinity has no integer");
        return truncated(run, input.real, &whole) ? value_integer(whole) : fallback;
    }
    if (input.kind != VALUE_TEXT)
        return fallback;
    if (text_edit_integer(run, input.text, base, &whole))
        return value_integer(whole);
    if (!text_edit_real(input.text, &real))
        return fallback;
    if (isinf(real))
        run_fail(run, STATUS_INVALID, "int: infinity has no integer");
    return truncated(run, real, &whole) ? value_integer(whole) : fallback;
}

static struct value to_real(struct run *run, struct value input, const struct arguments *arguments)
{
    static const char *const parameters[] = {"default", NULL};
    struct value fallback;
    double real;
    arguments_bind(run, "float", arguments, parameters, 0, &fallback);
    value_need_defined(run, input);
    if (value_is_number(input))
        return value_real(value_number(input));
    if (input.kind == VALUE_TEXT && text_edit_real(input.text, &real))
        return value_real(real);
    return value_given(fallback) ? fallback : value_real(0);
}

static struct value magnitude(struct run *run, struct value input,
                              const struct arguments *arguments)
{
    arguments_none(run, "abs", arguments);
    value_need_defined(run, input);
    if (!value_is_number(input))
        run_fail(run, STATUS_INVALID, "abs of %s", value_kind_name(input));
    return value_number(input) < 0 ? arithmetic_negate(run, input)
                                   : arithmetic_positive(run, input);
}

/* Half to even, of the exact decimal expansion, as Python rounds. */
static double round_real(double real, int64_t precision)
{
    char digits[400 + 400];
    if (isnan(real) || isinf(real) || precision > 330)
        return real;
    if (precision >= 0) {
        snprintf(digits, sizeof digits, "%.*f", (int)precision, real);
        return strtod(digits, NULL);
    }
    if (precision < -308)
        return copysign(0, real);
    long double unit = powl(10, (long double)-precision);
    return (double)(rintl((long double)real / unit) * unit);
}

static struct value round_whole(struct run *run, int64_t whole, int64_t precision)
{
    int64_t unit = 1;
    if (precision >= 0)
        return value_integer(whole);
    if (precision < -18)
        return value_integer(0);
    for (; precision < 0; precision++)
        unit *= 10;
    int64_t rest = whole % unit, down = whole - rest, half = unit / 2;
    if (rest < 0) {
        rest += unit;
        if (__builtin_sub_overflow(down, unit, &down))
            run_fail(run, STATUS_INVALID, "an integer larger than 63 bits");
    }
    bool up = rest > half || (rest == half && (down / unit) % 2 != 0);
    if (up && __builtin_add_overflow(down, unit, &down))
        run_fail(run, STATUS_INVALID, "an integer larger than 63 bits");
    return value_integer(down);
}

static struct value rounded(struct run *run, struct value input, const struct arguments *arguments)
{
    static const char *const parameters[] = {"precision", "method", NULL};
    struct value bound[2];
    arguments_bind(run, "round", arguments, parameters, 0, bound);
    value_need_defined(run, input);
    int64_t precision = argument_integer(run, "round", bound[0], 0);
    struct text method = value_given(bound[1]) ? argument_text(run, "round", bound[1])
                                               : text_of("common", 6);
    bool up = text_is(method, "ceil"), down = text_is(method, "floor");
    if (!up && !down && !text_is(method, "common"))
        run_fail(run, STATUS_INVALID, "round: the method is common, ceil or floor");
    if (!value_is_number(input))
        run_fail(run, STATUS_INVALID, "round of %s", value_kind_name(input));
    if (up || down) {
        double unit = pow(10, (double)precision), scaled = value_number(input) * unit;
        return value_real((up ? ceil(scaled) : floor(scaled)) / unit);
    }
    if (input.kind == VALUE_REAL)
        return value_real(round_real(input.real, precision));
    return round_whole(run, value_whole(input), precision);
}

const struct filter *filters_of_number(void)
{
    static const struct filter table[] = {
        {"length", length},   {"count", length}, {"default", or_default}, {"d", or_default},
        {"int", to_integer},  {"float", to_real}, {"abs", magnitude},     {"round", rounded},
        {NULL, NULL},
    };
    return table;
}
