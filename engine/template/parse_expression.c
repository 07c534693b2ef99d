/* Expressions, by descent through the ranks of operators. Where Jinja's grammar is not Python's,
 * it is Jinja's that counts: ** binds to the left and less than a sign, ~ binds tighter than +,
 * filters and tests bind tighter than any operator but not tighter than a sign, and `not` of a
 * test stands behind `is`. */
#include <string.h>

#include "engine/template/checks.h"
#include "engine/template/filters.h"
#include "engine/template/parser.h"
#include "engine/template/writer.h"

#define NAMED_MAX 100u /* of one call: each is looked for among the others */

static struct node *parse_primary(struct parser *parser);
static struct node *parse_or(struct parser *parser);
static struct node *parse_unary(struct parser *parser, bool filters);

static bool at_operator(struct parser *parser, const char *text)
{
    return parser_at(parser, TOKEN_OPERATOR, text);
}

static bool skip_operator(struct parser *parser, const char *text)
{
    return parser_skip(parser, TOKEN_OPERATOR, text);
}

static struct node *pair_node(struct parser *parser, enum node_kind kind, struct node *left,
                              struct node *right)
{
    struct node *node = parser_node(parser, kind);
    node->left = left;
    node->right = right;
    return node;
}

struct rank {
    const char *text;
    enum node_operator operation;
};

/* Takes one of `ranks` (ended by a NULL) if it comes next. */
static bool take(struct parser *parser, const struct rank *ranks, enum node_operator *operation)
{
    for (; ranks->text; ranks++) {
        if (skip_operator(parser, ranks->text)) {
            *operation = ranks->operation;
            return true;
        }
    }
    return false;
}

static struct node *parse_power(struct parser *parser)
{
    struct node *left = parse_unary(parser, true);
    while (skip_operator(parser, "**")) {
        left = pair_node(parser, NODE_BINARY, left, parse_unary(parser, true));
        left->operation = OPERATOR_POWER;
    }
    return left;
}

static struct node *parse_product(struct parser *parser)
{
    static const struct rank ranks[] = {{"*", OPERATOR_MULTIPLY},
                                        {"/", OPERATOR_DIVIDE},
                                        {"//", OPERATOR_FLOOR_DIVIDE},
                                        {"%", OPERATOR_REMAINDER},
                                        {NULL, 0}};
    struct node *left = parse_power(parser);
    enum node_operator operation;
    while (take(parser, ranks, &operation)) {
        left = pair_node(parser, NODE_BINARY, left, parse_power(parser));
        left->operation = operation;
    }
    return left;
}

static struct node *parse_concat(struct parser *parser)
{
    struct node *first = parse_product(parser);
    if (!at_operator(parser, "~"))
        return first;
    struct node *node = parser_node(parser, NODE_CONCAT);
    struct node_list items = {NULL, 0, 0};
    node_list_add(parser->run, &items, first);
    while (skip_operator(parser, "~"))
        node_list_add(parser->run, &items, parse_product(parser));
    node->items = items.nodes;
    node->count = items.count;
    return node;
}

static struct node *parse_sum(struct parser *parser)
{
    static const struct rank ranks[] = {
        {"+", OPERATOR_ADD}, {"-", OPERATOR_SUBTRACT}, {NULL, 0}};
    struct node *left = parse_concat(parser);
    enum node_operator operation;
    while (take(parser, ranks, &operation)) {
        left = pair_node(parser, NODE_BINARY, left, parse_concat(parser));
        left->operation = operation;
    }
    return left;
}

static bool take_comparison(struct parser *parser, enum node_operator *operation)
{
    static const struct rank ranks[] = {
        {"==", OPERATOR_EQUAL},      {"!=", OPERATOR_NOT_EQUAL}, {"<", OPERATOR_LESS},
        {"<=", OPERATOR_LESS_EQUAL}, {">", OPERATOR_GREATER},    {">=", OPERATOR_GREATER_EQUAL},
        {NULL, 0}};
    if (take(parser, ranks, operation))
        return true;
    if (parser_skip(parser, TOKEN_NAME, "in")) {
        *operation = OPERATOR_IN;
        return true;
    }
    if (!parser_at(parser, TOKEN_NAME, "not") || parser->tokens[1].kind != TOKEN_NAME ||
        !text_is(parser->tokens[1].text, "in"))
        return false;
    parser_next(parser);
    parser_next(parser);
    *operation = OPERATOR_NOT_IN;
    return true;
}

static struct node *parse_compare(struct parser *parser)
{
    struct node *first = parse_sum(parser);
    struct node_list items = {NULL, 0, 0};
    struct node *node = NULL;
    enum node_operator operation;
    uint32_t room = 0;
    while (take_comparison(parser, &operation)) {
        if (!node) {
            node = parser_node(parser, NODE_COMPARE);
            node_list_add(parser->run, &items, first);
        }
        if (items.count > room) {
            room = 2 * items.count;
            enum node_operator *operators = run_alloc(parser->run, room, sizeof *operators);
            if (items.count > 1)
                memcpy(operators, node->operators, (items.count - 1) * sizeof *operators);
            node->operators = operators;
        }
        node->operators[items.count - 1] = operation;
        node_list_add(parser->run, &items, parse_sum(parser));
    }
    if (!node)
        return first;
    node->items = items.nodes;
    node->count = items.count;
    return node;
}

static struct node *parse_not(struct parser *parser)
{
    if (!parser_skip(parser, TOKEN_NAME, "not"))
        return parse_compare(parser);
    run_enter(parser->run);
    struct node *node = parser_node(parser, NODE_NOT);
    node->left = parse_not(parser);
    run_leave(parser->run);
    return node;
}

static struct node *parse_and(struct parser *parser)
{
    struct node *left = parse_not(parser);
    while (parser_skip(parser, TOKEN_NAME, "and"))
        left = pair_node(parser, NODE_AND, left, parse_not(parser));
    return left;
}

static struct node *parse_or(struct parser *parser)
{
    struct node *left = parse_and(parser);
    while (parser_skip(parser, TOKEN_NAME, "or"))
        left = pair_node(parser, NODE_OR, left, parse_and(parser));
    return left;
}

struct node *parse_expression(struct parser *parser)
{
    const struct node *missing = parser->missing;
    run_enter(parser->run);
    struct node *left = parse_or(parser);
    while (parser_skip(parser, TOKEN_NAME, "if")) {
        struct node *node = pair_node(parser, NODE_CHOICE, left, NULL);
        node->condition = parse_or(parser);
        if (parser_skip(parser, TOKEN_NAME, "else"))
            node->right = parse_expression(parser);
        left = node;
        parser->missing = missing; /* guarded by the condition */
    }
    run_leave(parser->run);
    return left;
}

/* What cannot begin one more item of a tuple without brackets. */
static bool at_tuple_end(struct parser *parser, bool is_target)
{
    const struct token *token = parser_peek(parser);
    return token->kind == TOKEN_PRINT_END || token->kind == TOKEN_TAG_END ||
           at_operator(parser, ")") || (is_target && parser_at(parser, TOKEN_NAME, "in"));
}

enum tuple_of { OF_EXPRESSIONS, OF_PLAIN_EXPRESSIONS, OF_TARGETS };

static struct node *parse_items(struct parser *parser, enum tuple_of of, bool empty_allowed)
{
    struct node_list items = {NULL, 0, 0};
    bool is_tuple = false;
    while (!at_tuple_end(parser, of == OF_TARGETS)) {
        struct node *item = of == OF_EXPRESSIONS         ? parse_expression(parser)
                            : of == OF_PLAIN_EXPRESSIONS ? parse_or(parser)
                                                         : parse_primary(parser);
        node_list_add(parser->run, &items, item);
        if (!skip_operator(parser, ","))
            break;
        is_tuple = true;
    }
    if (!is_tuple && items.count)
        return items.nodes[0];
    if (!is_tuple && !empty_allowed)
        parser_unexpected(parser, "an expression");
    struct node *node = parser_node(parser, NODE_TUPLE);
    node->items = items.nodes;
    node->count = items.count;
    return node;
}

struct node *parse_tuple(struct parser *parser, bool choice)
{
    return parse_items(parser, choice ? OF_EXPRESSIONS : OF_PLAIN_EXPRESSIONS, false);
}

static void check_target(struct parser *parser, const struct node *node)
{
    if (node->kind == NODE_TUPLE) {
        run_enter(parser->run);
        for (uint32_t i = 0; i < node->count; i++)
            check_target(parser, node->items[i]);
        run_leave(parser->run);
    } else if (node->kind != NODE_NAME) {
        run_fail(parser->run, STATUS_INVALID, "nothing can be assigned to this");
    }
}

struct node *parse_target(struct parser *parser, bool member)
{
    const struct token *behind = parser->tokens + (parser_peek(parser)->kind != TOKEN_END);
    if (member && behind->kind == TOKEN_OPERATOR && text_is(behind->text, ".")) {
        struct node *node = parser_node(parser, NODE_MEMBER);
        node->symbol = symbols_number(parser->run, &parser->symbols, parser_name(parser));
        parser_next(parser);
        node->name = parser_name(parser);
        return node;
    }
    struct node *node = parse_items(parser, OF_TARGETS, false);
    check_target(parser, node);
    return node;
}

static void add_named(struct parser *parser, struct node_arguments *arguments, uint32_t *room)
{
    if (arguments->named_count == *room) {
        *room = *room ? 2 * *room : 4;
        struct named_node *named = run_alloc(parser->run, *room, sizeof *named);
        if (arguments->named_count)
            memcpy(named, arguments->named, arguments->named_count * sizeof *named);
        arguments->named = named;
    }
    if (arguments->named_count == NAMED_MAX)
        run_fail(parser->run, STATUS_INVALID, "more than %u named arguments", NAMED_MAX);
    struct named_node *named = &arguments->named[arguments->named_count++];
    named->name = parser_name(parser);
    for (uint32_t i = 0; i + 1 < arguments->named_count; i++) {
        if (text_equal(arguments->named[i].name, named->name))
            run_fail(parser->run, STATUS_INVALID, "an argument is named twice");
    }
    parser_next(parser); /* = */
    named->node = parse_expression(parser);
}

static struct node_arguments *parse_arguments(struct parser *parser)
{
    struct node_arguments *arguments = run_alloc(parser->run, 1, sizeof *arguments);
    struct node_list positional = {NULL, 0, 0};
    uint32_t room = 0;
    memset(arguments, 0, sizeof *arguments);
    parser_expect(parser, TOKEN_OPERATOR, "(");
    while (!at_operator(parser, ")")) {
        const struct token *token = parser_peek(parser);
        if (at_operator(parser, "*") || at_operator(parser, "**"))
            run_fail(parser->run, STATUS_UNSUPPORTED, "arguments taken from a list or mapping");
        if (token->kind == TOKEN_NAME && token[1].kind == TOKEN_OPERATOR &&
            text_is(token[1].text, "=")) {
            add_named(parser, arguments, &room);
        } else if (arguments->named_count) {
            run_fail(parser->run, STATUS_INVALID, "a positional argument behind a named one");
        } else {
            node_list_add(parser->run, &positional, parse_expression(parser));
        }
        if (!skip_operator(parser, ","))
            break;
    }
    parser_expect(parser, TOKEN_OPERATOR, ")");
    arguments->positional = positional.nodes;
    arguments->positional_count = positional.count;
    return arguments;
}

static struct node *parse_call(struct parser *parser, struct node *callee)
{
    static const char *const refused[] = {"cycler", "joiner", "lipsum", "caller", "super"};
    struct node *node = pair_node(parser, NODE_CALL, callee, NULL);
    for (size_t i = 0; callee->kind == NODE_NAME && i < sizeof refused / sizeof *refused; i++) {
        if (text_is(parser->symbols.names[callee->symbol], refused[i]))
            run_fail(parser->run, STATUS_UNSUPPORTED, "the function '%s'", refused[i]);
    }
    node->arguments = parse_arguments(parser);
    return node;
}

/* begin : end : step, of which `begin` has been read (or is NULL). */
static struct node *parse_slice(struct parser *parser, struct node *left, struct node *begin)
{
    struct node *node = pair_node(parser, NODE_SLICE, left, NULL);
    node->count = 3;
    node->items = run_alloc(parser->run, 3, sizeof *node->items);
    node->items[0] = begin;
    for (int i = 1; i < 3; i++) {
        bool there = skip_operator(parser, ":") && !at_operator(parser, "]") &&
                     !at_operator(parser, ":");
        node->items[i] = there ? parse_expression(parser) : NULL;
    }
    return node;
}

static struct node *parse_subscript(struct parser *parser, struct node *left)
{
    struct node *node;
    if (skip_operator(parser, ".")) {
        const struct token *token = parser_next(parser);
        if (token->kind == TOKEN_NAME) {
            node = pair_node(parser, NODE_ATTRIBUTE, left, NULL);
            node->name = token->text;
            return node;
        }
        if (token->kind != TOKEN_INTEGER)
            run_fail(parser->run, STATUS_INVALID, "expected a name or a number behind '.'");
        node = pair_node(parser, NODE_ITEM, left, parser_node(parser, NODE_CONSTANT));
        node->right->constant = value_integer(token->integer);
        return node;
    }
    parser_expect(parser, TOKEN_OPERATOR, "[");
    struct node *index = at_operator(parser, ":") ? NULL : parse_expression(parser);
    if (at_operator(parser, ":"))
        node = parse_slice(parser, left, index);
    else
        node = pair_node(parser, NODE_ITEM, left, index);
    parser_expect(parser, TOKEN_OPERATOR, "]");
    return node;
}

static struct node *parse_postfix(struct parser *parser, struct node *node)
{
    for (;;) {
        if (at_operator(parser, ".") || at_operator(parser, "["))
            node = parse_subscript(parser, node);
        else if (at_operator(parser, "("))
            node = parse_call(parser, node);
        else
            return node;
    }
}

static void unknown(struct parser *parser, struct node *node, enum node_kind kind, struct text name)
{
    node->kind = kind;
    node->name = name;
    if (!parser->soft && !parser->missing)
        parser->missing = node;
}

struct node *parse_filters(struct parser *parser, struct node *input, bool first)
{
    while (first || skip_operator(parser, "|")) {
        struct text name = parser_name(parser);
        struct node *node = parser_node(parser, NODE_FILTER);
        node->left = input ? input : parser_node(parser, NODE_CAPTURED);
        node->filter = filter_find(name);
        if (!node->filter)
            unknown(parser, node, NODE_NO_FILTER, name);
        if (at_operator(parser, "("))
            node->arguments = parse_arguments(parser);
        input = node;
        first = false;
    }
    return input;
}

/* Whether the next token is the argument of a test that is written without brackets. */
static bool at_bare_argument(struct parser *parser)
{
    const struct token *token = parser_peek(parser);
    if (token->kind == TOKEN_NAME)
        return !text_is(token->text, "else") && !text_is(token->text, "or") &&
               !text_is(token->text, "and");
    return token->kind == TOKEN_TEXT || token->kind == TOKEN_INTEGER ||
           token->kind == TOKEN_REAL || at_operator(parser, "[") || at_operator(parser, "{");
}

static struct node *parse_test(struct parser *parser, struct node *left)
{
    struct node *node = pair_node(parser, NODE_TEST, left, NULL);
    bool negated = parser_skip(parser, TOKEN_NAME, "not");
    struct text name = parser_name(parser);
    node->test = check_find(name);
    if (!node->test)
        unknown(parser, node, NODE_NO_TEST, name);
    if (at_operator(parser, "(")) {
        node->arguments = parse_arguments(parser);
    } else if (at_bare_argument(parser)) {
        if (parser_at(parser, TOKEN_NAME, "is"))
            run_fail(parser->run, STATUS_INVALID, "tests cannot be chained with 'is'");
        node->arguments = run_alloc(parser->run, 1, sizeof *node->arguments);
        struct node_list one = {NULL, 0, 0};
        node_list_add(parser->run, &one, parse_postfix(parser, parse_primary(parser)));
        *node->arguments = (struct node_arguments){.positional = one.nodes, .positional_count = 1};
    }
    return negated ? pair_node(parser, NODE_NOT, node, NULL) : node;
}

static struct node *parse_unary(struct parser *parser, bool filters)
{
    struct node *node;
    run_enter(parser->run);
    bool negate = at_operator(parser, "-");
    if (negate || at_operator(parser, "+")) {
        parser_next(parser);
        node = parser_node(parser, negate ? NODE_NEGATE : NODE_POSITIVE);
        node->left = parse_unary(parser, false);
    } else {
        node = parse_primary(parser);
    }
    node = parse_postfix(parser, node);
    while (filters) {
        if (at_operator(parser, "|"))
            node = parse_filters(parser, node, false);
        else if (parser_skip(parser, TOKEN_NAME, "is"))
            node = parse_test(parser, node);
        else if (at_operator(parser, "("))
            node = parse_call(parser, node);
        else
            break;
    }
    run_leave(parser->run);
    return node;
}

/* [a, b] and {a: b} alike; a dict's items alternate. */
static struct node *parse_collection(struct parser *parser, enum node_kind kind, const char *close)
{
    struct node *node = parser_node(parser, kind);
    struct node_list items = {NULL, 0, 0};
    parser_next(parser);
    while (!at_operator(parser, close)) {
        node_list_add(parser->run, &items, parse_expression(parser));
        if (kind == NODE_DICT) {
            parser_expect(parser, TOKEN_OPERATOR, ":");
            node_list_add(parser->run, &items, parse_expression(parser));
        }
        if (!skip_operator(parser, ","))
            break;
    }
    parser_expect(parser, TOKEN_OPERATOR, close);
    node->items = items.nodes;
    node->count = items.count;
    return node;
}

static struct node *parse_name(struct parser *parser, struct text name)
{
    struct node *node = parser_node(parser, NODE_CONSTANT);
    if (text_is(name, "true") || text_is(name, "True"))
        node->constant = value_bool(true);
    else if (text_is(name, "false") || text_is(name, "False"))
        node->constant = value_bool(false);
    else if (text_is(name, "none") || text_is(name, "None"))
        node->constant = value_none();
    else {
        node->kind = NODE_NAME;
        node->symbol = symbols_number(parser->run, &parser->symbols, name);
    }
    return node;
}

static struct text parse_strings(struct parser *parser, struct text first)
{
    struct writer w;
    if (!parser_at(parser, TOKEN_TEXT, NULL))
        return first;
    writer_init(&w, parser->run);
    writer_text(&w, first);
    while (parser_at(parser, TOKEN_TEXT, NULL))
        writer_text(&w, parser_next(parser)->text);
    return writer_view(&w);
}

static struct node *parse_primary(struct parser *parser)
{
    struct node *node;
    if (at_operator(parser, "["))
        return parse_collection(parser, NODE_LIST, "]");
    if (at_operator(parser, "{"))
        return parse_collection(parser, NODE_DICT, "}");
    if (skip_operator(parser, "(")) {
        run_enter(parser->run);
        node = parse_items(parser, OF_EXPRESSIONS, true);
        parser_expect(parser, TOKEN_OPERATOR, ")");
        run_leave(parser->run);
        return node;
    }
    const struct token *token = parser_peek(parser);
    if (token->kind < TOKEN_NAME || token->kind > TOKEN_REAL)
        parser_unexpected(parser, "an expression");
    parser_next(parser);
    if (token->kind == TOKEN_NAME)
        return parse_name(parser, token->text);
    node = parser_node(parser, NODE_CONSTANT);
    if (token->kind == TOKEN_TEXT)
        node->constant = value_text(parse_strings(parser, token->text));
    else if (token->kind == TOKEN_INTEGER)
        node->constant = value_integer(token->integer);
    else
        node->constant = value_real(token->real);
    return node;
}
