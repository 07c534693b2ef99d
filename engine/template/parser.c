/* Statements. A parser by descent, one function for each tag; what a tag may hold is Jinja's
 * grammar. Tags that no chat template uses (inheritance, imports, call blocks ...) are refused by
 * name. */
#include "engine/template/parser.h"

#include <stdio.h>
#include <string.h>

static struct node *parse_body(struct parser *parser, const char *const *ends);

const struct token *parser_peek(struct parser *parser)
{
    parser->run->line = parser->tokens->line;
    return parser->tokens;
}

const struct token *parser_next(struct parser *parser)
{
    const struct token *token = parser_peek(parser);
    if (token->kind != TOKEN_END)
        parser->tokens++;
    return token;
}

bool parser_at(struct parser *parser, enum token_kind kind, const char *text)
{
    const struct token *token = parser_peek(parser);
    return token->kind == kind && (!text || text_is(token->text, text));
}

bool parser_skip(struct parser *parser, enum token_kind kind, const char *text)
{
    bool there = parser_at(parser, kind, text);
    if (there)
        parser_next(parser);
    return there;
}

static const char *kind_name(enum token_kind kind)
{
    static const char *const names[] = {
        [TOKEN_END] = "the end of the template", [TOKEN_DATA] = "text",
        [TOKEN_PRINT_BEGIN] = "'{{'",            [TOKEN_PRINT_END] = "'}}'",
        [TOKEN_TAG_BEGIN] = "'{%'",              [TOKEN_TAG_END] = "'%}'",
        [TOKEN_NAME] = "a name",                 [TOKEN_TEXT] = "a string",
        [TOKEN_INTEGER] = "a number",            [TOKEN_REAL] = "a number",
        [TOKEN_OPERATOR] = "an operator",
    };
    return names[kind];
}

void parser_unexpected(struct parser *parser, const char *wanted)
{
    const struct token *token = parser_peek(parser);
    bool shown = token->kind == TOKEN_NAME || token->kind == TOKEN_OPERATOR;
    struct text got =
        shown ? token->text : text_of(kind_name(token->kind), strlen(kind_name(token->kind)));
    int size = (int)(got.size < 60 ? got.size : 60);
    run_fail(parser->run, STATUS_INVALID,
             shown ? "expected %s, not '%.*s'" : "expected %s, not %.*s", wanted, size, got.bytes);
}

void parser_expect(struct parser *parser, enum token_kind kind, const char *text)
{
    char quoted[24];
    if (parser_skip(parser, kind, text))
        return;
    if (!text)
        parser_unexpected(parser, kind_name(kind));
    snprintf(quoted, sizeof quoted, "'%s'", text);
    parser_unexpected(parser, quoted);
}

struct text parser_name(struct parser *parser)
{
    struct text name = parser_peek(parser)->text;
    parser_expect(parser, TOKEN_NAME, NULL);
    return name;
}

struct node *parser_node(struct parser *parser, enum node_kind kind)
{
    struct node *node = run_alloc(parser->run, 1, sizeof *node);
    memset(node, 0, sizeof *node);
    node->kind = kind;
    node->line = parser->run->line;
    return node;
}

void node_list_add(struct run *run, struct node_list *list, struct node *node)
{
    if (list->count == list->room) {
        uint32_t room = list->room ? 2 * list->room : 4;
        struct node **nodes = run_alloc(run, room, sizeof *nodes);
        if (list->count)
            memcpy(nodes, list->nodes, list->count * sizeof *nodes);
        list->nodes = nodes;
        list->room = room;
    }
    list->nodes[list->count++] = node;
}

/* The body behind a tag up to one of `ends`, whose name is returned in *end and passed. Only what
 * stands directly in an `if` is `soft`. */
static struct node *parse_block(struct parser *parser, const char *const *ends, bool soft,
                                const char **end)
{
    bool outer = parser->soft;
    parser->soft = soft;
    parser_skip(parser, TOKEN_OPERATOR, ":");
    parser_expect(parser, TOKEN_TAG_END, NULL);
    struct node *body = parse_body(parser, ends);
    parser->soft = outer;
    if (parser_at(parser, TOKEN_END, NULL)) {
        const char *wanted = ends[0];
        while (*ends)
            wanted = *ends++;
        run_fail(parser->run, STATUS_INVALID, "the template ends before '%s'", wanted);
    }
    for (; *ends; ends++) {
        if (parser_skip(parser, TOKEN_NAME, *ends)) {
            *end = *ends;
            break;
        }
    }
    return body;
}

static struct node *parse_block_until(struct parser *parser, const char *word)
{
    const char *ends[] = {word, NULL}, *end;
    return parse_block(parser, ends, false, &end);
}

static struct node *parse_for(struct parser *parser)
{
    static const char *const ends[] = {"else", "endfor", NULL};
    struct node *node = parser_node(parser, NODE_FOR);
    const char *end = NULL;
    node->target = parse_target(parser, false);
    parser_expect(parser, TOKEN_NAME, "in");
    node->left = parse_tuple(parser, false);
    if (parser_skip(parser, TOKEN_NAME, "if"))
        node->condition = parse_expression(parser);
    if (parser_at(parser, TOKEN_NAME, "recursive"))
        run_fail(parser->run, STATUS_UNSUPPORTED, "recursive loops");
    parser->loops++;
    node->body = parse_block(parser, ends, false, &end);
    parser->loops--;
    if (strcmp(end, "else") == 0)
        node->right = parse_block_until(parser, "endfor");
    return node;
}

static struct node *parse_if(struct parser *parser)
{
    static const char *const ends[] = {"elif", "else", "endif", NULL};
    struct node *node = parser_node(parser, NODE_IF);
    struct node_list items = {NULL, 0, 0};
    const char *end = NULL;
    bool outer = parser->soft;
    parser->soft = true;
    do {
        node_list_add(parser->run, &items, parse_tuple(parser, false));
        node_list_add(parser->run, &items, parse_block(parser, ends, true, &end));
    } while (strcmp(end, "elif") == 0);
    if (strcmp(end, "else") == 0)
        node->right = parse_block(parser, ends + 2, true, &end);
    parser->soft = outer;
    node->items = items.nodes;
    node->count = items.count;
    return node;
}

static struct node *parse_set(struct parser *parser)
{
    struct node *node = parser_node(parser, NODE_SET);
    node->target = parse_target(parser, true);
    if (parser_skip(parser, TOKEN_OPERATOR, "=")) {
        node->left = parse_tuple(parser, true);
        return node;
    }
    node->kind = NODE_SET_BLOCK;
    node->left = parse_filters(parser, NULL, false);
    node->body = parse_block_until(parser, "endset");
    return node;
}

static struct node *parse_macro(struct parser *parser)
{
    struct node *node = parser_node(parser, NODE_MACRO);
    struct node_list defaults = {NULL, 0, 0}, names = {NULL, 0, 0};
    node->symbol = symbols_number(parser->run, &parser->symbols, parser_name(parser));
    parser_expect(parser, TOKEN_OPERATOR, "(");
    while (!parser_at(parser, TOKEN_OPERATOR, ")")) {
        if (names.count)
            parser_expect(parser, TOKEN_OPERATOR, ",");
        struct node *name = parser_node(parser, NODE_NAME);
        name->symbol = symbols_number(parser->run, &parser->symbols, parser_name(parser));
        node_list_add(parser->run, &names, name);
        struct node *fallback = NULL;
        if (parser_skip(parser, TOKEN_OPERATOR, "="))
            fallback = parse_expression(parser);
        else if (defaults.count && defaults.nodes[defaults.count - 1])
            run_fail(parser->run, STATUS_INVALID, "a parameter without default behind one with");
        node_list_add(parser->run, &defaults, fallback);
    }
    parser_expect(parser, TOKEN_OPERATOR, ")");
    node->count = names.count;
    node->items = defaults.nodes;
    node->parameters = run_alloc(parser->run, names.count, sizeof *node->parameters);
    for (uint32_t i = 0; i < names.count; i++)
        node->parameters[i] = names.nodes[i]->symbol;
    uint32_t loops = parser->loops;
    parser->loops = 0;
    node->body = parse_block_until(parser, "endmacro");
    parser->loops = loops;
    return node;
}

static struct node *parse_generation(struct parser *parser)
{
    struct node *node = parser_node(parser, NODE_SCOPE);
    uint32_t loops = parser->loops;
    parser->loops = 0;
    node->body = parse_block_until(parser, "endgeneration");
    parser->loops = loops;
    return node;
}

static struct node *parse_filter_block(struct parser *parser)
{
    struct node *node = parser_node(parser, NODE_FILTER_BLOCK);
    node->left = parse_filters(parser, NULL, true);
    node->body = parse_block_until(parser, "endfilter");
    return node;
}

static struct node *parse_do(struct parser *parser)
{
    struct node *node = parser_node(parser, NODE_DO);
    node->left = parse_tuple(parser, true);
    return node;
}

static struct node *parse_jump(struct parser *parser, enum node_kind kind, const char *word)
{
    if (!parser->loops)
        run_fail(parser->run, STATUS_INVALID, "'%s' outside a loop", word);
    return parser_node(parser, kind);
}

static struct node *parse_break(struct parser *parser)
{
    return parse_jump(parser, NODE_BREAK, "break");
}

static struct node *parse_continue(struct parser *parser)
{
    return parse_jump(parser, NODE_CONTINUE, "continue");
}

static bool refused_tag(struct text name)
{
    static const char *const known[] = {"call",   "block",      "extends", "include", "import",
                                        "from",   "autoescape", "with",    "trans",   "print",
                                        "debug",  "pluralize"};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (text_is(name, known[i]))
            return true;
    }
    return false;
}

/* The tag whose name comes next; what it does not take up to its %} is an error. */
static struct node *parse_statement(struct parser *parser)
{
    static const struct {
        const char *name;
        struct node *(*parse)(struct parser *parser);
    } tags[] = {
        {"for", parse_for},     {"if", parse_if},
        {"set", parse_set},     {"macro", parse_macro},
        {"do", parse_do},       {"generation", parse_generation},
        {"break", parse_break}, {"filter", parse_filter_block},
        {"continue", parse_continue},
    };
    struct text name = parser_name(parser);
    int size = (int)(name.size < 60 ? name.size : 60);
    for (size_t i = 0; i < sizeof tags / sizeof *tags; i++) {
        if (!text_is(name, tags[i].name))
            continue;
        run_enter(parser->run);
        struct node *node = tags[i].parse(parser);
        run_leave(parser->run);
        return node;
    }
    if (refused_tag(name))
        run_fail(parser->run, STATUS_UNSUPPORTED, "the tag '%.*s'", size, name.bytes);
    run_fail(parser->run, STATUS_INVALID, "unexpected tag '%.*s'", size, name.bytes);
}

static bool at_end(struct parser *parser, const char *const *ends)
{
    for (; ends && *ends; ends++) {
        if (parser_at(parser, TOKEN_NAME, *ends))
            return true;
    }
    return false;
}

/* Up to the tag that begins with one of `ends`, whose name is the next token then; or up to the
 * end. */
static struct node *parse_body(struct parser *parser, const char *const *ends)
{
    struct node *body = parser_node(parser, NODE_BODY);
    struct node_list items = {NULL, 0, 0};
    while (!parser_at(parser, TOKEN_END, NULL)) {
        const struct token *token = parser_next(parser);
        struct node *node;
        if (token->kind == TOKEN_DATA) {
            node = parser_node(parser, NODE_TEXT);
            node->constant = value_text(token->text);
        } else if (token->kind == TOKEN_PRINT_BEGIN) {
            node = parser_node(parser, NODE_PRINT);
            node->left = parse_tuple(parser, true);
            parser_expect(parser, TOKEN_PRINT_END, NULL);
        } else {
            if (at_end(parser, ends))
                break;
            node = parse_statement(parser);
            parser_expect(parser, TOKEN_TAG_END, NULL);
        }
        node_list_add(parser->run, &items, node);
    }
    body->items = items.nodes;
    body->count = items.count;
    return body;
}

struct node *parser_read(struct parser *parser, struct run *run, struct text source)
{
    struct token_list tokens = lexer_read(run, source);
    *parser = (struct parser){.run = run, .tokens = tokens.tokens};
    struct node *body = parse_body(parser, NULL);
    const struct node *missing = parser->missing;
    if (missing) {
        run->line = missing->line;
        run_fail(run, STATUS_UNSUPPORTED, "the %s '%.*s'",
                 missing->kind == NODE_NO_FILTER ? "filter" : "test",
                 (int)(missing->name.size < 60 ? missing->name.size : 60), missing->name.bytes);
    }
    return body;
}
