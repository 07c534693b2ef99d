/* Expressions. One small function for each kind of node; operands come left to right. */
#include "engine/template/arguments.h"
#include "engine/template/arithmetic.h"
#include "engine/template/checks.h"
#include "engine/template/filters.h"
#include "engine/template/functions.h"
#include "engine/template/methods.h"
#include "engine/template/render.h"
#include "engine/template/subscript.h"
#include "engine/template/value_text.h"

static struct value name_value(struct render *r, const struct scope *scope, uint32_t symbol)
{
    const struct value *bound = scope_get(scope, symbol);
    return bound ? *bound : r->globals[symbol];
}

static struct value sequence(struct render *r, struct scope *scope, const struct node *node)
{
    struct list *list = list_new(r->run, node->count);
    for (uint32_t i = 0; i < node->count; i++)
        list_append(r->run, list, evaluate(r, scope, node->items[i]));
    return value_list(node->kind == NODE_LIST ? VALUE_LIST : VALUE_TUPLE, list);
}

static struct value mapping(struct render *r, struct scope *scope, const struct node *node)
{
    struct dict *dict = dict_new(r->run, node->count / 2);
    for (uint32_t i = 0; i + 1 < node->count; i += 2) {
        struct value key = evaluate(r, scope, node->items[i]);
        dict_set(r->run, dict, key, evaluate(r, scope, node->items[i + 1]));
    }
    return value_dict(dict);
}

static struct value slice(struct render *r, struct scope *scope, const struct node *node)
{
    struct value v = evaluate(r, scope, node->left), bounds[3];
    for (int i = 0; i < 3; i++)
        bounds[i] = node->items[i] ? evaluate(r, scope, node->items[i]) : value_none();
    r->run->line = node->line;
    return subscript_slice(r->run, v, bounds[0], bounds[1], bounds[2]);
}

static struct value item(struct render *r, struct scope *scope, const struct node *node)
{
    struct value v = evaluate(r, scope, node->left);
    struct value key = evaluate(r, scope, node->right);
    r->run->line = node->line;
    return subscript_item(r->run, v, key);
}

static struct arguments evaluate_arguments(struct render *r, struct scope *scope,
                                           const struct node_arguments *nodes)
{
    if (!nodes)
        return (struct arguments){NULL, NULL, 0, 0};
    struct value *positional = run_alloc(r->run, nodes->positional_count, sizeof *positional);
    struct named_value *named = run_alloc(r->run, nodes->named_count, sizeof *named);
    for (uint32_t i = 0; i < nodes->positional_count; i++)
        positional[i] = evaluate(r, scope, nodes->positional[i]);
    for (uint32_t i = 0; i < nodes->named_count; i++) {
        named[i].name = nodes->named[i].name;
        named[i].value = evaluate(r, scope, nodes->named[i].node);
    }
    return (struct arguments){positional, named, nodes->positional_count, nodes->named_count};
}

static bool is_parameter(const struct render *r, const struct node *macro, struct text name)
{
    for (uint32_t i = 0; i < macro->count; i++) {
        if (text_equal(r->program->symbols.names[macro->parameters[i]], name))
            return true;
    }
    return false;
}

/* The argument for parameter `i`; absent: none was given. */
static struct value argument_for(struct render *r, const struct macro *macro, uint32_t i,
                                 const struct arguments *arguments)
{
    struct text name = r->program->symbols.names[macro->definition->parameters[i]];
    struct value found = {.kind = VALUE_ABSENT};
    if (i < arguments->positional_count)
        found = arguments->positional[i];
    for (size_t n = 0; n < arguments->named_count; n++) {
        if (!text_equal(arguments->named[n].name, name))
            continue;
        if (value_given(found))
            run_fail(r->run, STATUS_INVALID, "the macro '%.*s' is given '%.*s' twice",
                     (int)macro->name.size, macro->name.bytes, (int)name.size, name.bytes);
        found = arguments->named[n].value;
    }
    return found;
}

static struct value call_macro(struct render *r, const struct macro *macro,
                               const struct arguments *arguments)
{
    const struct node *definition = macro->definition;
    struct scope *scope = scope_new(r->run, macro->scope);
    int size = (int)(macro->name.size < 60 ? macro->name.size : 60);
    if (arguments->positional_count > definition->count)
        run_fail(r->run, STATUS_INVALID, "the macro '%.*s' takes not more than %u arguments", size,
                 macro->name.bytes, definition->count);
    for (size_t n = 0; n < arguments->named_count; n++) {
        struct text name = arguments->named[n].name;
        if (!is_parameter(r, definition, name))
            run_fail(r->run, STATUS_INVALID, "the macro '%.*s' has no parameter '%.*s'", size,
                     macro->name.bytes, (int)(name.size < 60 ? name.size : 60), name.bytes);
    }
    for (uint32_t i = 0; i < definition->count; i++) {
        uint32_t symbol = definition->parameters[i];
        struct value v = argument_for(r, macro, i, arguments);
        if (!value_given(v) && definition->items[i])
            v = evaluate(r, scope, definition->items[i]);
        else if (!value_given(v))
            v = value_undefined(r->program->symbols.names[symbol]);
        scope_set(r->run, scope, symbol, v);
    }
    struct writer out;
    writer_init(&out, r->run);
    render_statement(r, scope, definition->body, &out);
    return value_text(writer_view(&out));
}

static struct value call(struct render *r, struct scope *scope, const struct node *node)
{
    struct value callee = evaluate(r, scope, node->left);
    struct arguments arguments = evaluate_arguments(r, scope, node->arguments);
    r->run->line = node->line;
    run_charge(r->run, 2);
    switch (callee.kind) {
    case VALUE_MACRO: return call_macro(r, callee.macro, &arguments);
    case VALUE_METHOD: return method_call(r->run, callee.method, &arguments);
    case VALUE_FUNCTION: return callee.function->call(r->run, &arguments);
    default:
        value_need_defined(r->run, callee);
        run_fail(r->run, STATUS_INVALID, "%s cannot be called", value_kind_name(callee));
    }
}

static struct value filter(struct render *r, struct scope *scope, const struct node *node)
{
    struct value input = evaluate(r, scope, node->left);
    struct arguments arguments = evaluate_arguments(r, scope, node->arguments);
    r->run->line = node->line;
    return node->filter->apply(r->run, input, &arguments);
}

static struct value test(struct render *r, struct scope *scope, const struct node *node)
{
    struct value v = evaluate(r, scope, node->left);
    struct arguments arguments = evaluate_arguments(r, scope, node->arguments);
    r->run->line = node->line;
    return value_bool(check_holds(r->run, node->test, v, &arguments));
}

static __attribute__((noreturn)) void unknown(struct render *r, struct scope *scope,
                                              const struct node *node)
{
    evaluate(r, scope, node->left); /* whose failure would come first */
    r->run->line = node->line;
    run_fail(r->run, STATUS_UNSUPPORTED, "the %s '%.*s'",
             node->kind == NODE_NO_FILTER ? "filter" : "test",
             (int)(node->name.size < 60 ? node->name.size : 60), node->name.bytes);
}

static struct value binary(struct render *r, struct scope *scope, const struct node *node)
{
    struct value a = evaluate(r, scope, node->left), b = evaluate(r, scope, node->right);
    r->run->line = node->line;
    return arithmetic_apply(r->run, node->operation, a, b);
}

static struct value concat(struct render *r, struct scope *scope, const struct node *node)
{
    struct writer w;
    writer_init(&w, r->run);
    for (uint32_t i = 0; i < node->count; i++)
        value_write(&w, evaluate(r, scope, node->items[i]));
    return value_text(writer_view(&w));
}

/* a < b < c is a < b and b < c, each evaluated once and only as far as needed. */
static struct value compare(struct render *r, struct scope *scope, const struct node *node)
{
    struct value left = evaluate(r, scope, node->items[0]);
    for (uint32_t i = 1; i < node->count; i++) {
        struct value right = evaluate(r, scope, node->items[i]);
        r->run->line = node->line;
        if (!arithmetic_compare(r->run, node->operators[i - 1], left, right))
            return value_bool(false);
        left = right;
    }
    return value_bool(true);
}

static struct value choice(struct render *r, struct scope *scope, const struct node *node)
{
    if (value_truth(evaluate(r, scope, node->condition)))
        return evaluate(r, scope, node->left);
    if (node->right)
        return evaluate(r, scope, node->right);
    return value_undefined(text_of("the other branch of an inline if", 32));
}

static struct value logic(struct render *r, struct scope *scope, const struct node *node)
{
    struct value left = evaluate(r, scope, node->left);
    if (value_truth(left) == (node->kind == NODE_OR))
        return left;
    return evaluate(r, scope, node->right);
}

static struct value dispatch(struct render *r, struct scope *scope, const struct node *node)
{
    switch (node->kind) {
    case NODE_CONSTANT: return node->constant;
    case NODE_NAME: return name_value(r, scope, node->symbol);
    case NODE_LIST:
    case NODE_TUPLE: return sequence(r, scope, node);
    case NODE_DICT: return mapping(r, scope, node);
    case NODE_ATTRIBUTE:
        return subscript_attribute(r->run, evaluate(r, scope, node->left), node->name);
    case NODE_ITEM: return item(r, scope, node);
    case NODE_SLICE: return slice(r, scope, node);
    case NODE_CALL: return call(r, scope, node);
    case NODE_FILTER: return filter(r, scope, node);
    case NODE_TEST: return test(r, scope, node);
    case NODE_NOT: return value_bool(!value_truth(evaluate(r, scope, node->left)));
    case NODE_NEGATE: return arithmetic_negate(r->run, evaluate(r, scope, node->left));
    case NODE_POSITIVE: return arithmetic_positive(r->run, evaluate(r, scope, node->left));
    case NODE_AND:
    case NODE_OR: return logic(r, scope, node);
    case NODE_BINARY: return binary(r, scope, node);
    case NODE_CONCAT: return concat(r, scope, node);
    case NODE_COMPARE: return compare(r, scope, node);
    case NODE_CHOICE: return choice(r, scope, node);
    case NODE_NO_FILTER:
    case NODE_NO_TEST: unknown(r, scope, node);
    case NODE_CAPTURED: return value_text(r->captured);
    default: run_fail(r->run, STATUS_INTERNAL, "a statement among expressions");
    }
}

struct value evaluate(struct render *r, struct scope *scope, const struct node *node)
{
    run_enter(r->run);
    run_charge(r->run, 1);
    r->run->line = node->line;
    struct value v = dispatch(r, scope, node);
    run_leave(r->run);
    return v;
}
