/* Statements. Names follow Jinja's rules: what a loop, a macro or a caught block sets is gone
 * behind it, an `if` has no names of its own, a macro sees the names of where it was defined. A
 * loop's `else` runs when its body never came to its end, so also when the first round breaks. */
#include "engine/template/render.h"

#include "engine/template/functions.h"
#include "engine/template/value_text.h"

static void assign(struct render *r, struct scope *scope, const struct node *target,
                   struct value v);

static void assign_items(struct render *r, struct scope *scope, const struct node *target,
                         struct value v)
{
    value_need_defined(r->run, v);
    const struct list *items = value_items(r->run, v);
    if (items->count != target->count)
        run_fail(r->run, STATUS_INVALID, "%zu values for %u names", items->count, target->count);
    for (uint32_t i = 0; i < target->count; i++)
        assign(r, scope, target->items[i], items->items[i]);
}

static void assign_member(struct render *r, struct scope *scope, const struct node *target,
                          struct value v)
{
    const struct value *bound = scope_get(scope, target->symbol);
    struct value owner = bound ? *bound : r->globals[target->symbol];
    value_need_defined(r->run, owner);
    if (owner.kind != VALUE_NAMESPACE)
        run_fail(r->run, STATUS_INVALID, "attributes of %s cannot be set, only of a namespace",
                 value_kind_name(owner));
    dict_set(r->run, owner.dict, value_text(target->name), v);
}

static void assign(struct render *r, struct scope *scope, const struct node *target,
                   struct value v)
{
    if (target->kind == NODE_NAME)
        scope_set(r->run, scope, target->symbol, v);
    else if (target->kind == NODE_MEMBER)
        assign_member(r, scope, target, v);
    else
        assign_items(r, scope, target, v);
}

/* What a loop passes over: those for which its condition holds. */
static const struct list *loop_items(struct render *r, struct scope *scope, const struct node *node)
{
    const struct list *all = value_items(r->run, evaluate(r, scope, node->left));
    if (!node->condition)
        return all;
    struct list *chosen = list_new(r->run, 0);
    struct scope *inner = scope_new(r->run, scope);
    for (size_t i = 0; i < all->count; i++) {
        inner->count = 0;
        assign(r, inner, node->target, all->items[i]);
        if (value_truth(evaluate(r, inner, node->condition)))
            list_append(r->run, chosen, all->items[i]);
    }
    return chosen;
}

static enum flow render_for(struct render *r, struct scope *scope, const struct node *node,
                            struct writer *out)
{
    struct scope *inner = scope_new(r->run, scope);
    struct loop *loop = run_alloc(r->run, 1, sizeof *loop);
    bool completed = false;
    *loop = (struct loop){.items = loop_items(r, scope, node), .index = 0};
    for (; loop->index < loop->items->count; loop->index++) {
        inner->count = 0; /* each round begins without the names of the last */
        scope_set(r->run, inner, r->program->loop,
                  (struct value){.kind = VALUE_LOOP, .loop = loop});
        assign(r, inner, node->target, loop->items->items[loop->index]);
        enum flow flow = render_statement(r, inner, node->body, out);
        if (flow == FLOW_BREAK)
            break;
        completed = completed || flow == FLOW_ON;
    }
    if (!completed && node->right)
        return render_statement(r, scope_new(r->run, scope), node->right, out);
    return FLOW_ON;
}

static enum flow render_if(struct render *r, struct scope *scope, const struct node *node,
                           struct writer *out)
{
    for (uint32_t i = 0; i + 1 < node->count; i += 2) {
        if (value_truth(evaluate(r, scope, node->items[i])))
            return render_statement(r, scope, node->items[i + 1], out);
    }
    return node->right ? render_statement(r, scope, node->right, out) : FLOW_ON;
}

/* The body's text, through the filters in `left` if there are some. */
static enum flow capture(struct render *r, struct scope *scope, const struct node *node,
                         struct value *caught)
{
    struct scope *inner = scope_new(r->run, scope);
    struct writer w;
    writer_init(&w, r->run);
    enum flow flow = render_statement(r, inner, node->body, &w);
    *caught = value_text(writer_view(&w));
    if (flow == FLOW_ON && node->left) {
        r->captured = caught->text;
        *caught = evaluate(r, inner, node->left);
    }
    return flow;
}

static enum flow render_captured(struct render *r, struct scope *scope, const struct node *node,
                                 struct writer *out)
{
    struct value caught;
    enum flow flow = capture(r, scope, node, &caught);
    if (flow != FLOW_ON)
        return flow; /* what was caught so far is lost, as in Jinja */
    if (node->kind == NODE_SET_BLOCK)
        assign(r, scope, node->target, caught);
    else
        value_write(out, caught);
    return FLOW_ON;
}

static void define_macro(struct render *r, struct scope *scope, const struct node *node)
{
    struct macro *macro = run_alloc(r->run, 1, sizeof *macro);
    *macro = (struct macro){r->program->symbols.names[node->symbol], node, scope};
    struct value v = {.kind = VALUE_MACRO, .macro = macro};
    scope_set(r->run, scope, node->symbol, v);
}

static enum flow render_body(struct render *r, struct scope *scope, const struct node *node,
                             struct writer *out)
{
    enum flow flow = FLOW_ON;
    for (uint32_t i = 0; flow == FLOW_ON && i < node->count; i++)
        flow = render_statement(r, scope, node->items[i], out);
    return flow;
}

static enum flow dispatch(struct render *r, struct scope *scope, const struct node *node,
                          struct writer *out)
{
    switch (node->kind) {
    case NODE_TEXT: writer_text(out, node->constant.text); return FLOW_ON;
    case NODE_PRINT: value_write(out, evaluate(r, scope, node->left)); return FLOW_ON;
    case NODE_IF: return render_if(r, scope, node, out);
    case NODE_FOR: return render_for(r, scope, node, out);
    case NODE_SET: assign(r, scope, node->target, evaluate(r, scope, node->left)); return FLOW_ON;
    case NODE_SET_BLOCK:
    case NODE_FILTER_BLOCK: return render_captured(r, scope, node, out);
    case NODE_MACRO: define_macro(r, scope, node); return FLOW_ON;
    case NODE_SCOPE: return render_statement(r, scope_new(r->run, scope), node->body, out);
    case NODE_DO: evaluate(r, scope, node->left); return FLOW_ON;
    case NODE_BREAK: return FLOW_BREAK;
    case NODE_CONTINUE: return FLOW_CONTINUE;
    case NODE_BODY: return render_body(r, scope, node, out);
    default: run_fail(r->run, STATUS_INTERNAL, "an expression among statements");
    }
}

enum flow render_statement(struct render *r, struct scope *scope, const struct node *node,
                           struct writer *out)
{
    run_enter(r->run);
    run_charge(r->run, 1);
    r->run->line = node->line;
    enum flow flow = dispatch(r, scope, node, out);
    run_leave(r->run);
    return flow;
}

static struct value *new_globals(struct run *run, const struct symbols *symbols,
                                 const json_t *variables)
{
    const struct dict *dict = value_of_json(run, variables).dict;
    struct value *globals = run_alloc(run, symbols->count, sizeof *globals);
    for (uint32_t i = 0; i < symbols->count; i++) {
        struct text name = symbols->names[i];
        const struct value *variable = dict_get_text(run, dict, name);
        const struct function *function = function_find(name);
        globals[i] = value_undefined(name);
        if (variable)
            globals[i] = *variable;
        else if (function)
            globals[i] = (struct value){.kind = VALUE_FUNCTION, .function = function};
    }
    return globals;
}

struct text render_program(struct run *run, const struct program *program, const json_t *variables)
{
    struct render r = {.run = run, .program = program};
    struct writer out;
    writer_init(&out, run);
    r.globals = new_globals(run, &program->symbols, variables);
    render_statement(&r, scope_new(run, NULL), program->body, &out);
    return writer_view(&out);
}
