/* Building of rules: appending to flat arrays. A failure is sticky, and what comes of it is an
 * expression that matches nothing. */
#include "engine/grammar/rules.h"

#include <stdlib.h>
#include <string.h>

#include "engine/grammar/grow.h"
#include "memory/base/check.h"

static uint32_t fail(struct rules *rules)
{
    rules->status = STATUS_NO_MEMORY;
    return RULES_NOTHING;
}

static uint32_t add_expression(struct rules *rules, enum expression_kind kind, uint32_t a,
                               uint32_t b, uint32_t c)
{
    if (rules->status != STATUS_OK ||
        !GROW(rules, expressions, expression_count, expression_capacity, 1, RULES_EXPRESSIONS_MAX))
        return fail(rules);
    rules->expressions[rules->expression_count] = (struct expression){kind, a, b, c};
    return rules->expression_count++;
}

void rules_open(struct rules *rules)
{
    *rules = (struct rules){0};
    add_expression(rules, EXPRESSION_NOTHING, 0, 0, 0);
}

void rules_close(struct rules *rules)
{
    if (!rules)
        return;
    for (uint32_t i = 0; i < rules->rule_count; i++)
        free(rules->rules[i].name);
    free(rules->rules);
    free(rules->expressions);
    free(rules->children);
    free(rules->bytes);
    free(rules->ranges);
    *rules = (struct rules){0};
}

uint32_t rules_literal(struct rules *rules, const void *bytes, size_t count)
{
    if (rules->status != STATUS_OK || count > RULES_BYTES_MAX ||
        !GROW(rules, bytes, byte_count, byte_capacity, count, RULES_BYTES_MAX))
        return fail(rules);
    uint32_t at = rules->byte_count;
    if (count)
        memcpy(rules->bytes + at, bytes, count);
    rules->byte_count += (uint32_t)count;
    return add_expression(rules, EXPRESSION_LITERAL, at, (uint32_t)count, 0);
}

uint32_t rules_text(struct rules *rules, const char *text)
{
    return rules_literal(rules, text, strlen(text));
}

uint32_t rules_class(struct rules *rules, const struct characters *set)
{
    if (set->failed || rules->status != STATUS_OK ||
        !GROW(rules, ranges, range_count, range_capacity, set->count, RULES_EXPRESSIONS_MAX))
        return fail(rules);
    if (set->count == 0)
        return RULES_NOTHING;
    uint32_t at = rules->range_count;
    memcpy(rules->ranges + at, set->ranges, set->count * sizeof *set->ranges);
    rules->range_count += set->count;
    return add_expression(rules, EXPRESSION_CLASS, at, set->count, 0);
}

/* Appends numbers to `children`; false without room. */
static bool add_children(struct rules *rules, const uint32_t *items, uint32_t count)
{
    if (rules->status != STATUS_OK ||
        !GROW(rules, children, child_count, child_capacity, count, 4 * RULES_EXPRESSIONS_MAX)) {
        fail(rules);
        return false;
    }
    if (count)
        memcpy(rules->children + rules->child_count, items, count * sizeof *items);
    rules->child_count += count;
    return true;
}

static uint32_t add_group(struct rules *rules, enum expression_kind kind, const uint32_t *items,
                          uint32_t count)
{
    uint32_t at = rules->child_count;
    if (count == 1)
        return items[0];
    if (!add_children(rules, items, count))
        return RULES_NOTHING;
    return add_expression(rules, kind, at, count, 0);
}

uint32_t rules_sequence(struct rules *rules, const uint32_t *items, uint32_t count)
{
    return add_group(rules, EXPRESSION_SEQUENCE, items, count);
}

uint32_t rules_choice(struct rules *rules, const uint32_t *items, uint32_t count)
{
    return add_group(rules, EXPRESSION_CHOICE, items, count);
}

uint32_t rules_repeat(struct rules *rules, uint32_t item, uint32_t min, uint32_t max)
{
    CHECK(min <= max);
    return add_expression(rules, EXPRESSION_REPEAT, item, min, max);
}

uint32_t rules_optional(struct rules *rules, uint32_t item)
{
    return rules_repeat(rules, item, 0, 1);
}

uint32_t rules_reference(struct rules *rules, uint32_t rule)
{
    return add_expression(rules, EXPRESSION_REFERENCE, rule, 0, 0);
}

uint32_t rules_json_string(struct rules *rules, uint32_t min, uint32_t max)
{
    CHECK(min <= max);
    return add_expression(rules, EXPRESSION_JSON_STRING, 0, min, max);
}

uint32_t rules_members(struct rules *rules, const struct rules_list *list)
{
    uint32_t at = rules->child_count;
    const uint32_t head[] = {list->open, list->separator, list->close, list->empty, list->more};
    add_children(rules, head, 5);
    for (uint32_t i = 0; i < list->count; i++) {
        const uint32_t pair[] = {list->items[i], list->optional[i]};
        add_children(rules, pair, 2);
    }
    return add_expression(rules, EXPRESSION_MEMBERS, at, list->count, 0);
}

uint32_t rules_elements(struct rules *rules, const struct rules_list *list)
{
    uint32_t at = rules->child_count;
    const uint32_t head[] = {list->open, list->separator, list->close, list->empty,
                             list->more, list->min,       list->max};
    add_children(rules, head, 7);
    add_children(rules, list->items, list->count);
    return add_expression(rules, EXPRESSION_ELEMENTS, at, list->count, 0);
}

void rules_items_add(struct rules_items *items, struct rules *rules, uint32_t expression)
{
    if (rules->status != STATUS_OK ||
        !GROW(items, items, count, capacity, 1, RULES_EXPRESSIONS_MAX))
        fail(rules);
    else
        items->items[items->count++] = expression;
}

void rules_items_reset(struct rules_items *items)
{
    free(items->items);
    *items = (struct rules_items){0};
}

uint32_t rules_add(struct rules *rules, const char *name, size_t bytes)
{
    if (rules->status != STATUS_OK ||
        !GROW(rules, rules, rule_count, rule_capacity, 1, RULES_COUNT_MAX))
        return fail(rules);
    char *copy = malloc(bytes + 1);
    if (!copy)
        return fail(rules);
    memcpy(copy, name, bytes);
    copy[bytes] = 0;
    rules->rules[rules->rule_count] = (struct rules_rule){.name = copy};
    return rules->rule_count++;
}

void rules_define(struct rules *rules, uint32_t rule, uint32_t expression)
{
    if (rules->status != STATUS_OK)
        return;
    CHECK(rule < rules->rule_count);
    rules->rules[rule].expression = expression;
    rules->rules[rule].defined = true;
}
