/* A recursive descent over the pattern; its depth is bounded. Inside JSON strings a class of
 * characters becomes those that are written as they are and, one by one, those that must be
 * escaped. */
#include "engine/grammar/regex.h"

#include <string.h>

#include "engine/grammar/json_string.h"
#include "engine/grammar/regex_class.h"

#define DEPTH_MAX 200u
#define TIMES_MAX (1u << 20)

struct regex {
    struct regex_text text;
    struct rules *rules;
    enum regex_use use;
    uint32_t depth;
};

static enum status read_choice(struct regex *r, uint32_t *out);

static uint32_t text_class(struct regex *r, struct characters *set)
{
    struct rules_items items = {0};
    if (r->use == REGEX_WHOLE_TEXT)
        return rules_class(r->rules, set);
    for (uint32_t c = 0; c < 0x80; c++) {
        uint8_t written[6];
        if (!json_string_is_escaped(c) || !characters_has(set, c))
            continue;
        characters_remove(set, c, c);
        unsigned bytes = json_string_write(c, written);
        rules_items_add(&items, r->rules, rules_literal(r->rules, written, bytes));
    }
    rules_items_add(&items, r->rules, rules_class(r->rules, set));
    uint32_t class = items.count ? rules_choice(r->rules, items.items, items.count) : RULES_NOTHING;
    rules_items_reset(&items);
    return class;
}

/* Reads {m}, {m,} or {m,n}; *is_one false: a brace that stands for itself. */
static enum status read_times(struct regex *r, uint32_t *min, uint32_t *max, bool *is_one)
{
    uint64_t numbers[2] = {0, 0};
    unsigned digits[2] = {0, 0}, which = 0;
    size_t ahead = 1;
    for (;; ahead++) {
        char c = regex_peek(&r->text, ahead);
        if (c >= '0' && c <= '9') {
            numbers[which] = numbers[which] > TIMES_MAX ? numbers[which]
                                                        : numbers[which] * 10 + (uint64_t)(c - '0');
            digits[which]++;
        } else if (c == ',' && which == 0) {
            which = 1;
        } else {
            *is_one = c == '}' && digits[0];
            break;
        }
    }
    if (!*is_one)
        return STATUS_OK;
    r->text.at += ahead + 1;
    if (numbers[0] > TIMES_MAX || numbers[1] > TIMES_MAX)
        return error_set(r->text.error, STATUS_NO_MEMORY,
                         "regular expression: more than %u repetitions at byte %zu", TIMES_MAX,
                         r->text.at);
    *min = (uint32_t)numbers[0];
    *max = which == 0 ? *min : digits[1] ? (uint32_t)numbers[1] : RULES_ENDLESS;
    return *min > *max ? regex_invalid(&r->text, "a repetition of more than its most") : STATUS_OK;
}

static enum status read_quantifier(struct regex *r, uint32_t *item)
{
    char c = regex_peek(&r->text, 0);
    uint32_t min = c == '+', max = c == '?' ? 1 : RULES_ENDLESS;
    bool is_one = c && strchr("*+?", c);
    if (is_one) {
        r->text.at++;
    } else if (c == '{') {
        enum status status = read_times(r, &min, &max, &is_one);
        if (status != STATUS_OK)
            return status;
    }
    if (!is_one)
        return STATUS_OK;
    *item = rules_repeat(r->rules, *item, min, max);
    if (regex_peek(&r->text, 0) == '?')
        r->text.at++; /* lazy: the same texts */
    c = regex_peek(&r->text, 0);
    struct regex ahead = *r; /* braces are another quantifier only if they hold numbers */
    bool again = c && strchr("*+?", c);
    if (c == '{' && read_times(&ahead, &min, &max, &again) != STATUS_OK)
        again = true;
    return again ? regex_invalid(&r->text, "a quantifier of a quantifier") : STATUS_OK;
}

static enum status read_group(struct regex *r, uint32_t *out)
{
    struct regex_text *t = &r->text;
    if (regex_peek(t, 0) == '?') {
        char kind = regex_peek(t, 1), next = regex_peek(t, 2);
        if (kind == '=' || kind == '!' || (kind == '<' && (next == '=' || next == '!')))
            return regex_unsupported(t, "look-around");
        if (kind != ':' && kind != '<')
            return regex_invalid(t, "a kind of group that is not known");
        t->at += 2;
        while (kind == '<' && t->at < t->bytes && t->pattern[t->at++] != '>')
            ;
    }
    if (r->depth >= DEPTH_MAX)
        return error_set(t->error, STATUS_UNSUPPORTED,
                         "regular expression: groups nested deeper than %u", DEPTH_MAX);
    r->depth++;
    enum status status = read_choice(r, out);
    r->depth--;
    if (status != STATUS_OK)
        return status;
    if (regex_peek(t, 0) != ')')
        return regex_invalid(t, "a group is not closed");
    t->at++;
    return STATUS_OK;
}

static enum status read_atom(struct regex *r, uint32_t *out)
{
    struct regex_text *t = &r->text;
    struct characters set = {0};
    enum status status = STATUS_OK;
    uint32_t single;
    char c = regex_peek(t, 0);
    if (c == '(') {
        t->at++;
        return read_group(r, out);
    }
    if (c && strchr("*+?", c))
        return regex_invalid(t, "nothing to repeat");
    if (c == '^' || c == '$')
        return regex_unsupported(t, "an anchor that is not at an end");
    if (c == '[' || c == '\\' || c == '.') {
        t->at++;
        if (c == '.')
            regex_dot(&set);
        else
            status = c == '[' ? regex_class(t, &set) : regex_escape(t, false, &set, &single);
    } else if (characters_read(t->pattern, t->bytes, &t->at, &single)) {
        characters_add(&set, single, single);
    } else {
        status = regex_invalid(t, "not UTF-8");
    }
    characters_normalize(&set);
    if (status == STATUS_OK)
        *out = text_class(r, &set);
    characters_reset(&set);
    return status;
}

static bool is_at_anchor_end(const struct regex *r)
{
    const struct regex_text *t = &r->text;
    char next = regex_peek(t, 1);
    return regex_peek(t, 0) == '$' && r->depth == 0 && (t->at + 1 == t->bytes || next == '|');
}

/* Any text in front of a match, and any behind it with the closing quote. */
static uint32_t any_before(struct regex *r)
{
    struct characters all = {0};
    characters_add(&all, 0, CHARACTER_MAX);
    characters_normalize(&all);
    uint32_t any = rules_repeat(r->rules, text_class(r, &all), 0, RULES_ENDLESS);
    characters_reset(&all);
    return any;
}

/* One alternative. */
static enum status read_sequence(struct regex *r, uint32_t *out)
{
    struct regex_text *t = &r->text;
    struct rules_items items = {0};
    enum status status = STATUS_OK;
    bool outermost = r->depth == 0, open_end = true;
    if (outermost && regex_peek(t, 0) == '^')
        t->at++;
    else if (outermost && r->use == REGEX_JSON_SEARCH)
        rules_items_add(&items, r->rules, any_before(r));
    while (status == STATUS_OK && t->at < t->bytes) {
        char c = t->pattern[t->at];
        uint32_t item = RULES_NOTHING;
        if (c == '|' || (c == ')' && !outermost))
            break;
        if (is_at_anchor_end(r)) {
            t->at++;
            open_end = false;
            break;
        }
        status = c == ')' ? regex_invalid(t, "a group is closed that was not opened")
                          : read_atom(r, &item);
        if (status == STATUS_OK)
            status = read_quantifier(r, &item);
        rules_items_add(&items, r->rules, item);
    }
    if (outermost && r->use == REGEX_JSON_SEARCH)
        rules_items_add(&items, r->rules,
                        open_end ? rules_json_string(r->rules, 0, RULES_ENDLESS)
                                 : rules_text(r->rules, "\""));
    *out = rules_sequence(r->rules, items.items, items.count);
    rules_items_reset(&items);
    return status;
}

static enum status read_choice(struct regex *r, uint32_t *out)
{
    struct rules_items items = {0};
    enum status status;
    do {
        uint32_t item = RULES_NOTHING;
        status = read_sequence(r, &item);
        rules_items_add(&items, r->rules, item);
    } while (status == STATUS_OK && regex_peek(&r->text, 0) == '|' && ++r->text.at);
    if (r->rules->status == STATUS_OK)
        *out = rules_choice(r->rules, items.items, items.count);
    rules_items_reset(&items);
    return status;
}

enum status regex_read(struct rules *rules, const char *pattern, size_t bytes, enum regex_use use,
                       uint32_t *out, struct error *error)
{
    struct regex r = {
        .text = {.pattern = pattern, .bytes = bytes, .error = error}, .rules = rules, .use = use};
    *out = RULES_NOTHING;
    return read_choice(&r, out);
}
