/* What makes an automaton safe to run: no dead ends, no left recursion. Both in time linear in its
 * size.
 *
 * Alive: RETURN is; edges, splits and strings are if they lead to something alive; a call if both
 * its rule and its way back are. Found backwards from RETURN, and what is not alive is cut off.
 * Then each node that still can be reached has a way to the end, so a set of threads that is not
 * empty never is in vain.
 *
 * Left recursion: a rule that calls itself before it has taken a byte would push without end. Over
 * the steps that take no byte (split, call, and past a call of a rule that may be empty) the
 * strongly connected components are found as Tarjan does; a call within one is left recursion,
 * other loops only say the same again. */
#include <stdlib.h>
#include <string.h>

#include "engine/grammar/automaton.h"

struct reverse {
    uint32_t *offsets; /* [nodes + 1] */
    uint32_t *sources;
};

static uint32_t target_count(const struct automaton_node *n)
{
    return n->kind == AUTOMATON_RETURN   ? 0
           : n->kind == AUTOMATON_EDGES  ? n->b
           : n->kind == AUTOMATON_STRING ? 1
                                         : 2;
}

static uint32_t target(const struct automaton *a, const struct automaton_node *n, uint32_t i)
{
    if (n->kind == AUTOMATON_EDGES)
        return a->edges[n->a + i].to;
    return n->kind == AUTOMATON_STRING || i == 1 ? n->b : n->a;
}

static bool reverse_open(struct reverse *reverse, const struct automaton *a)
{
    uint64_t total = 0;
    reverse->offsets = calloc((size_t)a->node_count + 2, sizeof *reverse->offsets);
    if (!reverse->offsets)
        return false;
    uint32_t *starts = reverse->offsets + 1; /* shifted by one, they end up as ends while filled */
    for (uint32_t n = 0; n < a->node_count; n++)
        for (uint32_t i = 0; i < target_count(&a->nodes[n]); i++, total++)
            starts[target(a, &a->nodes[n], i)]++;
    reverse->sources = malloc((total + 1) * sizeof *reverse->sources);
    if (!reverse->sources)
        return false;
    uint32_t sum = 0;
    for (uint32_t n = 0; n <= a->node_count; n++) {
        uint32_t count = starts[n];
        starts[n] = sum;
        sum += n < a->node_count ? count : 0;
    }
    for (uint32_t n = 0; n < a->node_count; n++)
        for (uint32_t i = 0; i < target_count(&a->nodes[n]); i++)
            reverse->sources[starts[target(a, &a->nodes[n], i)]++] = n;
    return true;
}

static void reverse_close(struct reverse *reverse)
{
    free(reverse->offsets);
    free(reverse->sources);
}

/* Spreads from RETURN against the arrows. `by_bytes`: also through nodes that take a byte (alive),
 * or only through those that take none (may be empty). */
static void spread(const struct automaton *a, const struct reverse *reverse, bool by_bytes,
                   bool *marked, uint32_t *queue)
{
    uint32_t count = 1;
    queue[0] = 0;
    marked[0] = true;
    while (count > 0) {
        uint32_t node = queue[--count];
        for (uint32_t i = reverse->offsets[node]; i < reverse->offsets[node + 1]; i++) {
            uint32_t source = reverse->sources[i];
            const struct automaton_node *n = &a->nodes[source];
            if (marked[source] ||
                (!by_bytes && n->kind != AUTOMATON_SPLIT && n->kind != AUTOMATON_CALL))
                continue;
            if (n->kind == AUTOMATON_CALL && !(marked[n->a] && marked[n->b]))
                continue;
            marked[source] = true;
            queue[count++] = source;
        }
    }
}

static void cut_off(struct automaton *a, const bool *alive)
{
    for (uint32_t i = 0; i < a->node_count; i++) {
        struct automaton_node *n = &a->nodes[i];
        if (!alive[i]) {
            *n = (struct automaton_node){AUTOMATON_EDGES, 0, 0};
        } else if (n->kind == AUTOMATON_SPLIT) {
            n->a = alive[n->a] ? n->a : n->b;
            n->b = alive[n->b] ? n->b : n->a;
        } else if (n->kind == AUTOMATON_EDGES) {
            uint32_t kept = 0;
            for (uint32_t e = n->a; e < n->a + n->b; e++)
                if (alive[a->edges[e].to])
                    a->edges[n->a + kept++] = a->edges[e];
            n->b = kept;
        }
    }
}

/* Tarjan's algorithm without recursion, over steps that take no byte. */
struct component_search {
    const struct automaton *a;
    const bool *may_be_empty;
    uint32_t *order, *low, *parent; /* order 0: not seen */
    uint8_t *step;                  /* which way out of the node comes next */
    uint32_t *component;            /* UINT32_MAX: not yet known */
    uint32_t *open;                 /* nodes seen whose component is not known */
    uint32_t open_count, seen;
};

/* The next node reached from `node` without a byte; UINT32_MAX: no more. */
static uint32_t next_step(struct component_search *s, uint32_t node)
{
    const struct automaton_node *n = &s->a->nodes[node];
    uint8_t step = s->step[node]++;
    if (n->kind == AUTOMATON_SPLIT)
        return step == 0 ? n->a : step == 1 ? n->b : UINT32_MAX;
    if (n->kind == AUTOMATON_CALL)
        return step == 0 ? n->a : step == 1 && s->may_be_empty[n->a] ? n->b : UINT32_MAX;
    return UINT32_MAX;
}

static void see(struct component_search *s, uint32_t node, uint32_t parent)
{
    s->order[node] = s->low[node] = ++s->seen;
    s->parent[node] = parent;
    s->open[s->open_count++] = node;
}

static void search_from(struct component_search *s, uint32_t start)
{
    uint32_t node = start;
    see(s, start, UINT32_MAX);
    while (node != UINT32_MAX) {
        uint32_t to = next_step(s, node);
        if (to != UINT32_MAX) {
            if (s->order[to] == 0) {
                see(s, to, node);
                node = to;
            } else if (s->component[to] == UINT32_MAX && s->order[to] < s->low[node]) {
                s->low[node] = s->order[to];
            }
            continue;
        }
        if (s->low[node] == s->order[node]) {
            uint32_t member;
            do {
                member = s->open[--s->open_count];
                s->component[member] = node;
            } while (member != node);
        }
        uint32_t parent = s->parent[node];
        if (parent != UINT32_MAX && s->low[node] < s->low[parent])
            s->low[parent] = s->low[node];
        node = parent;
    }
}

static enum status check_left_recursion(const struct automaton *a, const bool *may_be_empty,
                                        const struct rules *rules, const uint32_t *entries,
                                        struct error *error)
{
    size_t count = a->node_count;
    uint32_t *numbers = calloc(count * 5, sizeof *numbers);
    uint8_t *steps = calloc(count, 1);
    enum status status = STATUS_OK;
    if (!numbers || !steps) {
        status = error_set(error, STATUS_NO_MEMORY, "no memory to check a grammar");
        goto end;
    }
    struct component_search s = {.a = a,
                                 .may_be_empty = may_be_empty,
                                 .order = numbers,
                                 .low = numbers + count,
                                 .parent = numbers + 2 * count,
                                 .component = numbers + 3 * count,
                                 .open = numbers + 4 * count,
                                 .step = steps};
    memset(s.component, 0xFF, count * sizeof *s.component);
    for (uint32_t i = 0; i < count; i++)
        if (s.order[i] == 0)
            search_from(&s, i);
    for (uint32_t i = 0; i < count && status == STATUS_OK; i++) {
        const struct automaton_node *n = &a->nodes[i];
        if (n->kind != AUTOMATON_CALL || s.component[i] != s.component[n->a])
            continue;
        const char *name = "?";
        for (uint32_t rule = 0; rule < rules->rule_count; rule++)
            name = entries[rule] == n->a ? rules->rules[rule].name : name;
        status = error_set(error, STATUS_INVALID,
                           "rule \"%.100s\" is left-recursive: it can begin with itself", name);
    }
end:
    free(numbers);
    free(steps);
    return status;
}

enum status automaton_check(struct automaton *automaton, const struct rules *rules,
                            const uint32_t *entries, struct error *error)
{
    struct reverse reverse = {0};
    size_t count = automaton->node_count;
    bool *alive = calloc(count, sizeof *alive), *may_be_empty = calloc(count, sizeof *may_be_empty);
    uint32_t *queue = malloc(count * sizeof *queue);
    enum status status = STATUS_OK;
    if (!alive || !may_be_empty || !queue || !reverse_open(&reverse, automaton)) {
        status = error_set(error, STATUS_NO_MEMORY, "no memory to check a grammar");
        goto end;
    }
    spread(automaton, &reverse, false, may_be_empty, queue);
    status = check_left_recursion(automaton, may_be_empty, rules, entries, error);
    if (status != STATUS_OK)
        goto end;
    spread(automaton, &reverse, true, alive, queue);
    if (!alive[automaton->root])
        status = error_set(error, STATUS_INVALID, "no text can match the grammar");
    cut_off(automaton, alive);
end:
    reverse_close(&reverse);
    free(alive);
    free(may_be_empty);
    free(queue);
    return status;
}
