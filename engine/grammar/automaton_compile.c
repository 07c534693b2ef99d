/* Rules to nodes, from the end of each rule to its beginning: an expression is laid out in front of
 * the node that follows it, so nothing needs to be linked afterwards but loops and calls.
 *
 * A rule is laid out where it is used if it does not lead to itself and is small; others are called
 * and laid out once. Repetitions are laid out as often as they say. Both are bounded by the bound
 * on nodes and by a bound on the work, since rules can be nested so that little text means much of
 * either; recursion here is bounded by DEPTH_MAX. */
#include <stdlib.h>
#include <string.h>

#include "engine/grammar/automaton.h"
#include "engine/grammar/grow.h"

#define INLINE_SIZE_MAX 128u /* expressions of a rule that is laid out where it is used */
#define INLINE_DEPTH_MAX 300u
#define DEPTH_MAX 1500u
#define WORK_MAX (1u << 22)
#define SIZE_MAX_COUNTED (1u << 20) /* larger sizes are all alike */
#define NONE UINT32_MAX

enum rule_mark { RULE_UNSEEN, RULE_BEING_MEASURED, RULE_MEASURED };

struct rule_facts {
    uint32_t size; /* expressions, those of rules laid out in it included */
    uint8_t mark;
    bool recursive; /* leads to itself: must be called */
    bool queued;
};

struct compile {
    struct automaton *automaton;
    const struct rules *rules;
    struct rule_facts *facts;
    uint32_t *queue; /* rules that are called, in the order found */
    uint32_t queue_count;
    uint32_t depth, work;
    enum status status;
    struct error *error;
};

static uint32_t refuse(struct compile *c, const char *why)
{
    if (c->status == STATUS_OK)
        c->status = error_set(c->error, STATUS_NO_MEMORY, "the grammar is too large: %s", why);
    return NONE;
}

static uint32_t no_room(struct compile *c)
{
    return refuse(c,
                  "its automaton would have more than 262144 nodes, or there is no memory for it");
}

/* Sizes. */

static uint32_t measure(struct compile *c, uint32_t id);

static uint32_t add_size(uint32_t a, uint32_t b)
{
    return a + b > SIZE_MAX_COUNTED ? SIZE_MAX_COUNTED : a + b;
}

static bool is_laid_out(const struct rule_facts *facts)
{
    return !facts->recursive && facts->size <= INLINE_SIZE_MAX;
}

static uint32_t measure_rule(struct compile *c, uint32_t rule)
{
    struct rule_facts *facts = &c->facts[rule];
    if (facts->mark == RULE_BEING_MEASURED || c->depth >= INLINE_DEPTH_MAX) {
        facts->recursive = true;
    } else if (facts->mark == RULE_UNSEEN) {
        facts->mark = RULE_BEING_MEASURED;
        facts->size = add_size(1, measure(c, c->rules->rules[rule].expression));
        facts->mark = RULE_MEASURED;
    }
    return is_laid_out(facts) && facts->mark == RULE_MEASURED ? facts->size : 1;
}

static uint32_t measure_children(struct compile *c, uint32_t first, uint32_t count, uint32_t step)
{
    uint32_t size = 1;
    for (uint32_t i = 0; i < count; i++)
        size = add_size(size, measure(c, c->rules->children[first + i * step]));
    return size;
}

static uint32_t measure(struct compile *c, uint32_t id)
{
    const struct expression *e = &c->rules->expressions[id];
    uint32_t size = 1;
    if (c->depth >= DEPTH_MAX) /* laying it out will say so */
        return SIZE_MAX_COUNTED;
    c->depth++;
    switch (e->kind) {
    case EXPRESSION_LITERAL:
        size = 1 + (e->b < SIZE_MAX_COUNTED ? e->b : SIZE_MAX_COUNTED - 1);
        break;
    case EXPRESSION_CLASS:
        size = add_size(2, e->b < SIZE_MAX_COUNTED ? e->b : SIZE_MAX_COUNTED - 2);
        break;
    case EXPRESSION_SEQUENCE:
    case EXPRESSION_CHOICE:
        size = measure_children(c, e->a, e->b, 1);
        break;
    case EXPRESSION_REPEAT: {
        uint64_t times = e->c == RULES_ENDLESS ? (uint64_t)e->b + 1 : e->c;
        uint64_t total = times * measure(c, e->a);
        size = total < SIZE_MAX_COUNTED ? 1 + (uint32_t)total : SIZE_MAX_COUNTED;
        break;
    }
    case EXPRESSION_REFERENCE:
        size = measure_rule(c, e->a);
        break;
    case EXPRESSION_MEMBERS:
        size = add_size(measure_children(c, e->a, 5, 1), measure_children(c, e->a + 5, e->b, 2));
        break;
    case EXPRESSION_ELEMENTS:
        size = add_size(measure_children(c, e->a, 5, 1), measure_children(c, e->a + 7, e->b, 1));
        break;
    default:
        break;
    }
    c->depth--;
    return size;
}

/* Nodes. */

static uint32_t lay_out(struct compile *c, uint32_t id, uint32_t next);

static uint32_t add_node(struct compile *c, enum automaton_kind kind, uint32_t a, uint32_t b)
{
    if (c->status != STATUS_OK || a == NONE || b == NONE)
        return NONE;
    uint32_t node = automaton_add(c->automaton, kind, a, b);
    return node == NONE ? no_room(c) : node;
}

static uint32_t add_edges(struct compile *c, const struct automaton_edge *edges, uint32_t count)
{
    uint32_t node = automaton_add_edges(c->automaton, edges, count);
    return node == NONE ? no_room(c) : node;
}

static uint32_t lay_out_bytes(struct compile *c, const uint8_t *bytes, uint32_t count,
                              uint32_t next)
{
    while (count-- > 0 && next != NONE) {
        struct automaton_edge edge = {next, bytes[count], bytes[count]};
        next = add_edges(c, &edge, 1);
    }
    return next;
}

struct literal {
    const uint8_t *bytes;
    uint32_t count;
};

static int compare_literals(const void *a, const void *b)
{
    const struct literal *x = a, *y = b;
    uint32_t common = x->count < y->count ? x->count : y->count;
    int order = common ? memcmp(x->bytes, y->bytes, common) : 0;
    return order ? order : (x->count > y->count) - (x->count < y->count);
}

static uint32_t lay_out_literals(struct compile *c, const struct literal *literals, uint32_t count,
                                 uint32_t at, uint32_t next);

/* Sorted, distinct literals whose first `at` bytes are alike and not all of the next are. */
static uint32_t lay_out_fork(struct compile *c, const struct literal *literals, uint32_t count,
                             uint32_t at, uint32_t next)
{
    bool ends = literals[0].count == at;
    uint32_t edge_count = 0;
    struct automaton_edge *edges = malloc(256 * sizeof *edges);
    if (!edges)
        return no_room(c);
    for (uint32_t from = ends; from < count;) {
        uint8_t byte = literals[from].bytes[at];
        uint32_t to = from + 1;
        while (to < count && literals[to].bytes[at] == byte)
            to++;
        uint32_t target = lay_out_literals(c, literals + from, to - from, at + 1, next);
        if (target == NONE) {
            free(edges);
            return NONE;
        }
        edges[edge_count++] = (struct automaton_edge){target, byte, byte};
        from = to;
    }
    uint32_t node = add_edges(c, edges, edge_count);
    free(edges);
    return ends ? add_node(c, AUTOMATON_SPLIT, next, node) : node;
}

/* Sorted, distinct literals whose first `at` bytes are alike: as a tree, so that one thread follows
 * it. */
static uint32_t lay_out_literals(struct compile *c, const struct literal *literals, uint32_t count,
                                 uint32_t at, uint32_t next)
{
    const struct literal *first = &literals[0], *last = &literals[count - 1];
    uint32_t common = at, node = next;
    if (c->depth >= DEPTH_MAX)
        return refuse(c, "too many texts of a choice begin with each other");
    while (common < first->count && first->bytes[common] == last->bytes[common])
        common++;
    if (count > 1) {
        c->depth++;
        node = lay_out_fork(c, literals, count, common, next);
        c->depth--;
    }
    return lay_out_bytes(c, first->bytes + at, common - at, node);
}

static uint32_t lay_out_choice(struct compile *c, const struct expression *e, uint32_t next)
{
    const uint32_t *children = c->rules->children + e->a;
    struct literal *literals = malloc((e->b + 1) * sizeof *literals);
    uint32_t literal_count = 0, kept = 0, node = NONE;
    if (!literals)
        return no_room(c);
    for (uint32_t i = 0; i < e->b && c->status == STATUS_OK; i++) {
        const struct expression *child = &c->rules->expressions[children[i]];
        if (child->kind == EXPRESSION_LITERAL) {
            literals[literal_count++] = (struct literal){c->rules->bytes + child->a, child->b};
        } else if (child->kind != EXPRESSION_NOTHING) {
            uint32_t other = lay_out(c, children[i], next);
            node = node == NONE ? other : add_node(c, AUTOMATON_SPLIT, other, node);
        }
    }
    if (literal_count && c->status == STATUS_OK) {
        qsort(literals, literal_count, sizeof *literals, compare_literals);
        for (uint32_t i = 1; i < literal_count; i++)
            if (compare_literals(&literals[i], &literals[kept]) != 0)
                literals[++kept] = literals[i];
        uint32_t tree = lay_out_literals(c, literals, kept + 1, 0, next);
        node = node == NONE ? tree : add_node(c, AUTOMATON_SPLIT, tree, node);
    }
    free(literals);
    if (c->status != STATUS_OK)
        return NONE;
    return node == NONE ? add_edges(c, NULL, 0) : node;
}

static uint32_t lay_out_repeat(struct compile *c, uint32_t item, uint32_t min, uint32_t max,
                               uint32_t next)
{
    uint32_t node = next;
    if (max == RULES_ENDLESS) {
        node = add_node(c, AUTOMATON_SPLIT, next, next);
        uint32_t body = lay_out(c, item, node);
        if (body == NONE)
            return NONE;
        c->automaton->nodes[node].b = body;
        max = min;
    }
    for (uint32_t i = max; i > 0; i--) {
        uint32_t body = lay_out(c, item, node);
        if (body == NONE)
            return NONE;
        if (body == node) /* an empty text, however often */
            break;
        node = i > min ? add_node(c, AUTOMATON_SPLIT, body, next) : body;
    }
    return node;
}

static uint32_t lay_out_reference(struct compile *c, uint32_t rule, uint32_t next)
{
    const struct rules_rule *r = &c->rules->rules[rule];
    struct rule_facts *facts = &c->facts[rule];
    if (!r->defined) {
        if (c->status == STATUS_OK)
            c->status = error_set(c->error, STATUS_INVALID,
                                  "rule \"%.100s\" is used and not defined", r->name);
        return NONE;
    }
    measure_rule(c, rule);
    if (is_laid_out(facts) && c->depth < INLINE_DEPTH_MAX)
        return lay_out(c, r->expression, next);
    if (!facts->queued) {
        facts->queued = true;
        c->queue[c->queue_count++] = rule;
    }
    return add_node(c, AUTOMATON_CALL, rule, next); /* the rule's number, until it has an entry */
}

static uint32_t lay_out_string(struct compile *c, const struct expression *e, uint32_t next)
{
    struct automaton *a = c->automaton;
    for (uint32_t i = 0; i < a->string_count && i < 64; i++)
        if (a->strings[i].min == e->b && a->strings[i].max == e->c)
            return add_node(c, AUTOMATON_STRING, i, next);
    if (!GROW(a, strings, string_count, string_capacity, 1, AUTOMATON_NODES_MAX))
        return no_room(c);
    a->strings[a->string_count] = (struct automaton_string){e->b, e->c};
    return add_node(c, AUTOMATON_STRING, a->string_count++, next);
}

/* A loop of separator and `more` that may be left to `close`; *body is where `more` begins. */
static uint32_t lay_out_more(struct compile *c, const uint32_t *head, uint32_t close,
                             uint32_t *body)
{
    uint32_t loop = add_node(c, AUTOMATON_SPLIT, close, close);
    *body = lay_out(c, head[4], loop);
    uint32_t separator = lay_out(c, head[1], *body);
    if (separator == NONE)
        return NONE;
    c->automaton->nodes[loop].b = separator;
    return loop;
}

/* In front of item i, `first` is where one of the items from i on begins, up to the first that must
 * be there, and `later` what may stand behind the item before: a separator and `first`, or the end.
 * So each item is laid out once, and behind a separator there is one thread for each item that may
 * come next. */
static uint32_t lay_out_members(struct compile *c, const struct expression *e, uint32_t next)
{
    const uint32_t *head = c->rules->children + e->a, *items = head + 5;
    uint32_t close = lay_out(c, head[2], next), later = close, first = NONE;
    bool may_be_last = true;
    if (head[4] != RULES_NOTHING)
        later = lay_out_more(c, head, close, &first);
    for (uint32_t i = e->b; i-- > 0 && c->status == STATUS_OK;) {
        bool optional = items[2 * i + 1];
        uint32_t item = lay_out(c, items[2 * i], later);
        first = optional && first != NONE ? add_node(c, AUTOMATON_SPLIT, item, first) : item;
        may_be_last &= optional;
        if (i > 0) {
            later = lay_out(c, head[1], first);
            later = may_be_last ? add_node(c, AUTOMATON_SPLIT, close, later) : later;
        }
    }
    if (c->status != STATUS_OK)
        return NONE;
    uint32_t full = first == NONE ? NONE : lay_out(c, head[0], first);
    if (!may_be_last)
        return full;
    uint32_t empty = lay_out(c, head[3], next);
    return full == NONE ? empty : add_node(c, AUTOMATON_SPLIT, full, empty);
}

static uint32_t lay_out_elements(struct compile *c, const struct expression *e, uint32_t next)
{
    const uint32_t *head = c->rules->children + e->a, *items = head + 7;
    uint32_t more = head[4], min = head[5], max = head[6];
    if (more == RULES_NOTHING && max > e->b)
        max = e->b;
    if (min > max)
        return add_edges(c, NULL, 0);
    uint32_t close = lay_out(c, head[2], next), first = NONE, later = close;
    uint32_t laid_out = max != RULES_ENDLESS ? max : e->b > min ? e->b : min;
    if (max == RULES_ENDLESS)
        later = lay_out_more(c, head, close, &first);
    for (uint32_t i = laid_out; i-- > 0 && c->status == STATUS_OK;) {
        first = lay_out(c, i < e->b ? items[i] : more, later);
        later = lay_out(c, head[1], first);
        if (i >= min)
            later = add_node(c, AUTOMATON_SPLIT, close, later);
    }
    if (c->status != STATUS_OK)
        return NONE;
    uint32_t full = first == NONE ? NONE : lay_out(c, head[0], first);
    if (min > 0)
        return full;
    uint32_t empty = lay_out(c, head[3], next);
    return full == NONE ? empty : add_node(c, AUTOMATON_SPLIT, full, empty);
}

static uint32_t lay_out_kind(struct compile *c, const struct expression *e, uint32_t next)
{
    uint32_t node = next;
    switch (e->kind) {
    case EXPRESSION_LITERAL:
        return lay_out_bytes(c, c->rules->bytes + e->a, e->b, next);
    case EXPRESSION_CLASS:
        node = automaton_class(c->automaton, c->rules->ranges + e->a, e->b, next);
        return node == NONE ? no_room(c) : node;
    case EXPRESSION_SEQUENCE:
        for (uint32_t i = e->b; i-- > 0 && node != NONE;)
            node = lay_out(c, c->rules->children[e->a + i], node);
        return node;
    case EXPRESSION_CHOICE:
        return lay_out_choice(c, e, next);
    case EXPRESSION_REPEAT:
        return lay_out_repeat(c, e->a, e->b, e->c, next);
    case EXPRESSION_REFERENCE:
        return lay_out_reference(c, e->a, next);
    case EXPRESSION_JSON_STRING:
        return lay_out_string(c, e, next);
    case EXPRESSION_MEMBERS:
        return lay_out_members(c, e, next);
    case EXPRESSION_ELEMENTS:
        return lay_out_elements(c, e, next);
    default:
        return add_edges(c, NULL, 0);
    }
}

static uint32_t lay_out(struct compile *c, uint32_t id, uint32_t next)
{
    if (c->status != STATUS_OK || next == NONE)
        return NONE;
    if (c->work++ >= WORK_MAX)
        return refuse(c, "its rules and repetitions multiply beyond any use");
    if (c->depth >= DEPTH_MAX)
        return refuse(c, "its rules are nested too deeply");
    c->depth++;
    uint32_t node = lay_out_kind(c, &c->rules->expressions[id], next);
    c->depth--;
    return node;
}

enum status automaton_compile(struct automaton *automaton, const struct rules *rules, uint32_t root,
                              uint32_t *entries, struct error *error)
{
    struct compile c = {.automaton = automaton, .rules = rules, .error = error};
    memset(entries, 0xFF, rules->rule_count * sizeof *entries);
    c.facts = calloc(rules->rule_count, sizeof *c.facts);
    c.queue = malloc(rules->rule_count * sizeof *c.queue);
    if (!c.facts || !c.queue || automaton_add(automaton, AUTOMATON_RETURN, 0, 0) == NONE) {
        no_room(&c);
        goto end;
    }
    c.queue[c.queue_count++] = root;
    c.facts[root].queued = true;
    for (uint32_t i = 0; i < c.queue_count && c.status == STATUS_OK; i++) {
        c.depth = 0;
        c.facts[c.queue[i]].recursive = true; /* it has a place of its own */
        entries[c.queue[i]] = lay_out(&c, rules->rules[c.queue[i]].expression, 0);
    }
    for (uint32_t i = 0; i < automaton->node_count && c.status == STATUS_OK; i++)
        if (automaton->nodes[i].kind == AUTOMATON_CALL)
            automaton->nodes[i].a = entries[automaton->nodes[i].a];
    automaton->root = entries[root];
end:
    free(c.facts);
    free(c.queue);
    return c.status;
}
