/* A recursive descent over the text; its depth is bounded. That a rule ends where the next begins
 * is seen by looking ahead for a name and ::= */
#include "engine/grammar/gbnf.h"

#include <string.h>

#define DEPTH_MAX 200u
#define TIMES_MAX (1u << 20)
#define RULES_MAX 4096u /* names are looked up one by one */

struct gbnf {
    struct rules *rules;
    const char *text;
    size_t bytes, at;
    uint32_t depth;
    struct error *error;
};

static enum status invalid(struct gbnf *g, const char *what)
{
    unsigned line = 1;
    for (size_t i = 0; i < g->at && i < g->bytes; i++)
        line += g->text[i] == '\n';
    return error_set(g->error, STATUS_INVALID, "grammar, line %u: %s", line, what);
}

static char peek(const struct gbnf *g)
{
    return g->at < g->bytes ? g->text[g->at] : '\0';
}

static void skip_space(struct gbnf *g)
{
    while (g->at < g->bytes) {
        char c = g->text[g->at];
        if (c == '#')
            while (g->at < g->bytes && g->text[g->at] != '\n')
                g->at++;
        else if (c == ' ' || c == '\t' || c == '\r' || c == '\n')
            g->at++;
        else
            return;
    }
}

static size_t name_bytes(const struct gbnf *g)
{
    size_t end = g->at;
    for (; end < g->bytes; end++) {
        char c = g->text[end];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              c == '-' || c == '_'))
            break;
    }
    return end - g->at;
}

/* Whether a rule begins here: a name and ::= */
static bool is_at_rule(const struct gbnf *g)
{
    struct gbnf ahead = *g;
    size_t name = name_bytes(g);
    ahead.at += name;
    while (peek(&ahead) == ' ' || peek(&ahead) == '\t')
        ahead.at++;
    return name && ahead.bytes - ahead.at >= 3 && memcmp(ahead.text + ahead.at, "::=", 3) == 0;
}

/* The rule of this name, which may be new. */
static enum status find_rule(struct gbnf *g, const char *name, size_t bytes, uint32_t *out)
{
    for (uint32_t i = 0; i < g->rules->rule_count; i++) {
        const char *other = g->rules->rules[i].name;
        if (strlen(other) == bytes && memcmp(other, name, bytes) == 0) {
            *out = i;
            return STATUS_OK;
        }
    }
    if (g->rules->rule_count >= RULES_MAX)
        return error_set(g->error, STATUS_NO_MEMORY, "grammar: more than %u rules", RULES_MAX);
    *out = rules_add(g->rules, name, bytes);
    return STATUS_OK;
}

static enum status read_hex(struct gbnf *g, unsigned count, uint32_t *out)
{
    *out = 0;
    for (; count > 0; count--, g->at++) {
        char c = peek(g), lower = (char)(c | 0x20);
        bool letter = lower >= 'a' && lower <= 'f';
        if (!letter && !(c >= '0' && c <= '9'))
            return invalid(g, "an escape lacks hexadecimal digits");
        *out = *out * 16 + (uint32_t)(letter ? lower - 'a' + 10 : c - '0');
    }
    return STATUS_OK;
}

/* One character of a literal or a class, perhaps escaped. */
static enum status read_character(struct gbnf *g, uint32_t *out)
{
    static const char letters[] = "nrt\\\"[]^-/", values[] = "\n\r\t\\\"[]^-/";
    if (peek(g) != '\\') {
        if (!characters_read(g->text, g->bytes, &g->at, out))
            return invalid(g, g->at < g->bytes ? "not UTF-8" : "a literal or class is not closed");
        return STATUS_OK;
    }
    g->at++;
    char c = peek(g);
    const char *found = c ? strchr(letters, c) : NULL;
    unsigned digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    enum status status = STATUS_OK;
    g->at += g->at < g->bytes;
    if (found)
        *out = (uint8_t)values[found - letters];
    else if (digits)
        status = read_hex(g, digits, out);
    else
        return invalid(g, "an escape that is not known");
    if (status == STATUS_OK && (*out > CHARACTER_MAX || (*out >= 0xD800 && *out <= 0xDFFF)))
        return invalid(g, "an escape that is no character");
    return status;
}

static enum status read_literal(struct gbnf *g, uint32_t *out)
{
    struct rules_items items = {0};
    enum status status = STATUS_OK;
    g->at++; /* the quote */
    while (status == STATUS_OK && peek(g) != '"') {
        uint32_t character = 0;
        uint8_t written[4];
        status = read_character(g, &character);
        if (status == STATUS_OK)
            rules_items_add(&items, g->rules,
                            rules_literal(g->rules, written, characters_write(character, written)));
    }
    g->at++;
    if (status == STATUS_OK) {
        /* The pieces lie one behind the other: together they are one literal. */
        uint32_t bytes = 0;
        for (uint32_t i = 0; i < items.count; i++)
            bytes += g->rules->expressions[items.items[i]].b;
        *out = items.count == 0 ? rules_text(g->rules, "") : items.items[0];
        if (items.count > 1 && g->rules->status == STATUS_OK)
            g->rules->expressions[*out].b = bytes;
    }
    rules_items_reset(&items);
    return status;
}

static enum status read_class(struct gbnf *g, uint32_t *out)
{
    struct characters set = {0};
    enum status status = STATUS_OK;
    g->at++; /* the bracket */
    bool inverted = peek(g) == '^';
    g->at += inverted;
    while (status == STATUS_OK && peek(g) != ']') {
        uint32_t first = 0, last;
        status = read_character(g, &first);
        last = first;
        if (status == STATUS_OK && peek(g) == '-' && g->at + 1 < g->bytes &&
            g->text[g->at + 1] != ']') {
            g->at++;
            status = read_character(g, &last);
        }
        if (status == STATUS_OK && first > last)
            status = invalid(g, "a range of a class ends before it begins");
        characters_add(&set, first, last);
    }
    g->at++;
    if (inverted)
        characters_invert(&set);
    else
        characters_normalize(&set);
    *out = rules_class(g->rules, &set);
    characters_reset(&set);
    return status;
}

static enum status read_number(struct gbnf *g, uint32_t *out, bool *is_there)
{
    uint32_t value = 0;
    *is_there = false;
    for (char c; (c = peek(g)) >= '0' && c <= '9'; g->at++) {
        *is_there = true;
        value = value * 10 + (uint32_t)(c - '0');
        if (value > TIMES_MAX)
            return error_set(g->error, STATUS_NO_MEMORY, "grammar: more than %u repetitions",
                             TIMES_MAX);
    }
    *out = value;
    skip_space(g);
    return STATUS_OK;
}

/* {m}, {m,}, {m,n} or {,n}; the brace has been read. */
static enum status read_times(struct gbnf *g, uint32_t *min, uint32_t *max)
{
    bool has_min, has_max;
    skip_space(g);
    enum status status = read_number(g, min, &has_min);
    *max = *min;
    if (status == STATUS_OK && peek(g) == ',') {
        g->at++;
        skip_space(g);
        status = read_number(g, max, &has_max);
        *max = has_max ? *max : RULES_ENDLESS;
        has_min |= has_max;
    }
    if (status != STATUS_OK)
        return status;
    if (!has_min || peek(g) != '}' || *min > *max)
        return invalid(g, "a repetition in braces is malformed");
    g->at++;
    return STATUS_OK;
}

static enum status read_choice(struct gbnf *g, uint32_t *out);

static enum status read_item(struct gbnf *g, uint32_t *out)
{
    enum status status;
    struct characters all = {0};
    char c = peek(g);
    size_t name = name_bytes(g);
    uint32_t rule = 0;
    if (c == '"')
        return read_literal(g, out);
    if (c == '[')
        return read_class(g, out);
    if (c == '.') {
        g->at++;
        characters_add(&all, 0, CHARACTER_MAX);
        characters_normalize(&all);
        *out = rules_class(g->rules, &all);
        characters_reset(&all);
        return STATUS_OK;
    }
    if (c == '(') {
        if (g->depth >= DEPTH_MAX)
            return invalid(g, "groups are nested deeper than 200");
        g->at++;
        g->depth++;
        status = read_choice(g, out);
        g->depth--;
        if (status == STATUS_OK && peek(g) != ')')
            return invalid(g, "a group is not closed");
        g->at++;
        return status;
    }
    if (!name)
        return invalid(g, "something that is no literal, class, group or name of a rule");
    status = find_rule(g, g->text + g->at, name, &rule);
    g->at += name;
    if (status == STATUS_OK)
        *out = rules_reference(g->rules, rule);
    return status;
}

static enum status read_repeated(struct gbnf *g, uint32_t *out)
{
    enum status status = read_item(g, out);
    skip_space(g);
    for (char c; status == STATUS_OK && (c = peek(g)) && strchr("*+?{", c); skip_space(g)) {
        uint32_t min = c == '+', max = c == '?' ? 1 : RULES_ENDLESS;
        g->at++;
        if (c == '{')
            status = read_times(g, &min, &max);
        if (status == STATUS_OK)
            *out = rules_repeat(g->rules, *out, min, max);
    }
    return status;
}

static enum status read_sequence(struct gbnf *g, uint32_t *out)
{
    struct rules_items items = {0};
    enum status status = STATUS_OK;
    skip_space(g);
    while (status == STATUS_OK && g->at < g->bytes && peek(g) != '|' && peek(g) != ')' &&
           !is_at_rule(g)) {
        uint32_t item = RULES_NOTHING;
        status = read_repeated(g, &item);
        rules_items_add(&items, g->rules, item);
    }
    if (g->rules->status == STATUS_OK)
        *out = items.count ? rules_sequence(g->rules, items.items, items.count)
                           : rules_text(g->rules, "");
    rules_items_reset(&items);
    return status;
}

static enum status read_choice(struct gbnf *g, uint32_t *out)
{
    struct rules_items items = {0};
    enum status status;
    do {
        uint32_t item = RULES_NOTHING;
        status = read_sequence(g, &item);
        rules_items_add(&items, g->rules, item);
    } while (status == STATUS_OK && peek(g) == '|' && ++g->at);
    if (g->rules->status == STATUS_OK)
        *out = rules_choice(g->rules, items.items, items.count);
    rules_items_reset(&items);
    return status;
}

static enum status read_rule(struct gbnf *g)
{
    uint32_t rule = 0, expression = RULES_NOTHING;
    size_t name = name_bytes(g);
    if (!is_at_rule(g))
        return invalid(g, "a name and ::= were expected");
    enum status status = find_rule(g, g->text + g->at, name, &rule);
    if (status != STATUS_OK || g->rules->status != STATUS_OK)
        return status;
    if (g->rules->rules[rule].defined)
        return error_set(g->error, STATUS_INVALID, "grammar: rule \"%.100s\" is defined twice",
                         g->rules->rules[rule].name);
    g->at += name;
    while (peek(g) != ':')
        g->at++;
    g->at += 3;
    status = read_choice(g, &expression);
    if (status == STATUS_OK && peek(g) == ')')
        return invalid(g, "a group is closed that was not opened");
    rules_define(g->rules, rule, expression);
    return status;
}

enum status gbnf_read(struct rules *rules, const char *text, size_t bytes, uint32_t *root,
                      struct error *error)
{
    struct gbnf g = {.rules = rules, .text = text, .bytes = bytes, .error = error};
    enum status status = STATUS_OK;
    skip_space(&g);
    while (status == STATUS_OK && g.at < bytes && rules->status == STATUS_OK)
        status = read_rule(&g);
    if (status != STATUS_OK || rules->status != STATUS_OK)
        return status;
    status = find_rule(&g, "root", 4, root);
    for (uint32_t i = 0; i < rules->rule_count && status == STATUS_OK; i++)
        if (!rules->rules[i].defined)
            status = error_set(error, STATUS_INVALID, "grammar: rule \"%.100s\" is not defined",
                               rules->rules[i].name);
    return status;
}
