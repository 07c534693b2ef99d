/* Numbers between bounds, as digits.
 *
 * A range of whole numbers of one length is cut where its ends part: the digits that they share,
 * then the lower end's remainder upwards, the digits between with anything behind them, and the
 * upper end's remainder downwards. Numbers with a fraction lie between whole bounds: a whole part
 * below the upper bound may have any fraction. They have no exponent. What has no bound is bounded
 * by 18 digits. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "engine/grammar/schema_parts.h"

#define WHOLE_MAX 999999999999999999 /* 18 digits */

static uint32_t digits(struct schema *s, char first, char last, uint32_t min, uint32_t max)
{
    struct characters set = {0};
    characters_add(&set, (uint8_t)first, (uint8_t)last);
    uint32_t one = rules_class(s->rules, &set);
    characters_reset(&set);
    return rules_repeat(s->rules, one, min, max);
}

static uint32_t pair(struct schema *s, uint32_t a, uint32_t b)
{
    const uint32_t items[] = {a, b};
    return rules_sequence(s->rules, items, 2);
}

static bool is_all(const char *text, char digit)
{
    return strspn(text, (const char[]){digit, 0}) == strlen(text);
}

/* Numbers written with as many digits as both ends, and between them. */
static uint32_t same_length(struct schema *s, const char *low, const char *high)
{
    static const char zeros[] = "000000000000000000", nines[] = "999999999999999999";
    uint32_t rest = (uint32_t)strlen(low);
    struct rules_items items = {0};
    char first = *low, last = *high;
    if (rest == 0)
        return rules_text(s->rules, "");
    if (is_all(low, '0') && is_all(high, '9'))
        return digits(s, '0', '9', rest, rest);
    rest--;
    if (first == last)
        return pair(s, rules_literal(s->rules, low, 1), same_length(s, low + 1, high + 1));
    if (!is_all(low + 1, '0'))
        rules_items_add(&items, s->rules,
                        pair(s, rules_literal(s->rules, &first, 1),
                             same_length(s, low + 1, nines + sizeof nines - 1 - rest)));
    if (!is_all(high + 1, '9'))
        rules_items_add(&items, s->rules,
                        pair(s, rules_literal(s->rules, &last, 1),
                             same_length(s, zeros + sizeof zeros - 1 - rest, high + 1)));
    first = (char)(first + !is_all(low + 1, '0'));
    last = (char)(last - !is_all(high + 1, '9'));
    if (first <= last)
        rules_items_add(&items, s->rules,
                        pair(s, digits(s, first, last, 1, 1), digits(s, '0', '9', rest, rest)));
    uint32_t expression = s->rules->status == STATUS_OK
                              ? rules_choice(s->rules, items.items, items.count)
                              : RULES_NOTHING;
    rules_items_reset(&items);
    return expression;
}

/* Whole numbers from low to high, both at least 0. */
static uint32_t whole_between(struct schema *s, int64_t low, int64_t high)
{
    struct rules_items items = {0};
    for (int64_t from = low; from <= high;) {
        char a[24], b[24];
        int64_t to = 9; /* the greatest of as many digits */
        while (to < from)
            to = to * 10 + 9;
        to = to < high ? to : high;
        snprintf(a, sizeof a, "%lld", (long long)from);
        snprintf(b, sizeof b, "%lld", (long long)to);
        rules_items_add(&items, s->rules, same_length(s, a, b));
        from = to + 1;
    }
    uint32_t expression = s->rules->status == STATUS_OK
                              ? rules_choice(s->rules, items.items, items.count)
                              : RULES_NOTHING;
    rules_items_reset(&items);
    return expression;
}

/* A range of values without their sign. */
struct magnitude {
    int64_t low, high;
    bool above_low, below_high; /* the end itself is left out */
};

static uint32_t between(struct schema *s, struct magnitude m, bool whole)
{
    struct rules *rules = s->rules;
    int64_t low = m.low + m.above_low, high = m.high - m.below_high;
    if (whole)
        return whole_between(s, low, high);
    uint32_t point = rules_text(rules, ".");
    uint32_t fraction = rules_optional(rules, pair(s, point, digits(s, '0', '9', 1, 17)));
    const uint32_t above_zero[] = {point, digits(s, '0', '0', 0, 8), digits(s, '1', '9', 1, 1),
                                   digits(s, '0', '9', 0, 8)};
    uint32_t choices[3] = {pair(s, whole_between(s, low, m.high - 1), fraction), RULES_NOTHING,
                           RULES_NOTHING};
    if (m.above_low && m.low < m.high)
        choices[1] = pair(s, whole_between(s, m.low, m.low), rules_sequence(rules, above_zero, 4));
    if (!m.below_high && low <= m.high)
        choices[2] = whole_between(s, m.high, m.high);
    return rules_choice(rules, choices, 3);
}

struct bounds {
    int64_t low, high;
    bool above_low, below_high;
    bool bounded;
};

/* A bound as a whole number: that of integers is moved to the next one that they can have. */
static enum status read_bound(struct schema *s, const json_t *schema, const char *keyword,
                              bool whole, bool upper, bool exclusive, struct bounds *bounds)
{
    const json_t *value = json_object_get(schema, keyword);
    int64_t number;
    if (!value)
        return STATUS_OK;
    if (!json_is_number(value))
        return schema_refuse(s, STATUS_INVALID, keyword, "must be a number");
    double real = json_number_value(value), limit = (double)WHOLE_MAX;
    if (!whole && real != floor(real))
        return schema_refuse(s, STATUS_UNSUPPORTED, keyword,
                             "of numbers that are not integers only whole bounds are supported");
    if (real != floor(real)) {
        real = upper ? floor(real) : ceil(real);
        exclusive = false;
    }
    real = real > limit ? limit : real < -limit ? -limit : real;
    number = json_is_integer(value) ? (int64_t)json_integer_value(value) : (int64_t)real;
    number = number > WHOLE_MAX ? WHOLE_MAX : number < -WHOLE_MAX ? -WHOLE_MAX : number;
    bounds->bounded = true;
    if (upper && (number < bounds->high || (number == bounds->high && exclusive))) {
        bounds->high = number;
        bounds->below_high = exclusive;
    } else if (!upper && (number > bounds->low || (number == bounds->low && exclusive))) {
        bounds->low = number;
        bounds->above_low = exclusive;
    }
    return STATUS_OK;
}

enum status schema_number(struct schema *s, const json_t *schema, bool whole, uint32_t *out)
{
    struct bounds b = {.low = -WHOLE_MAX, .high = WHOLE_MAX};
    enum status status = read_bound(s, schema, "minimum", whole, false, false, &b);
    if (status == STATUS_OK)
        status = read_bound(s, schema, "exclusiveMinimum", whole, false, true, &b);
    if (status == STATUS_OK)
        status = read_bound(s, schema, "maximum", whole, true, false, &b);
    if (status == STATUS_OK)
        status = read_bound(s, schema, "exclusiveMaximum", whole, true, true, &b);
    if (status != STATUS_OK)
        return status;
    if (!b.bounded) {
        *out = whole ? json_rules_any_integer(&s->json) : json_rules_any_number(&s->json);
        return STATUS_OK;
    }
    bool open = b.above_low || b.below_high;
    if (b.low > b.high || (b.low == b.high && open) ||
        (whole && b.low + b.above_low > b.high - b.below_high))
        return schema_refuse(s, STATUS_INVALID, "minimum", "no number lies between the bounds");
    uint32_t choices[2] = {RULES_NOTHING, RULES_NOTHING};
    if (b.high >= 0)
        choices[0] = between(s,
                             (struct magnitude){b.low > 0 ? b.low : 0, b.high,
                                                b.low >= 0 && b.above_low, b.below_high},
                             whole);
    if (b.low < 0)
        choices[1] = pair(s, rules_text(s->rules, "-"),
                          between(s,
                                  (struct magnitude){b.high < 0 ? -b.high : 0, -b.low,
                                                     b.high >= 0 || b.below_high, b.above_low},
                                  whole));
    *out = rules_choice(s->rules, choices, 2);
    return STATUS_OK;
}
