/* Opening an automaton: compile, check, and put bytes that no edge tells apart into classes. */
#include "engine/grammar/automaton.h"

#include <stdlib.h>
#include <string.h>

#include "engine/grammar/grow.h"
#include "engine/grammar/json_string.h"
#include "memory/base/check.h"

uint32_t automaton_add(struct automaton *automaton, enum automaton_kind kind, uint32_t a,
                       uint32_t b)
{
    if (!GROW(automaton, nodes, node_count, node_capacity, 1, AUTOMATON_NODES_MAX))
        return UINT32_MAX;
    automaton->nodes[automaton->node_count] = (struct automaton_node){kind, a, b};
    return automaton->node_count++;
}

uint32_t automaton_add_edges(struct automaton *automaton, const struct automaton_edge *edges,
                             uint32_t count)
{
    if (!GROW(automaton, edges, edge_count, edge_capacity, count, AUTOMATON_EDGES_MAX))
        return UINT32_MAX;
    uint32_t at = automaton->edge_count;
    if (count)
        memcpy(automaton->edges + at, edges, count * sizeof *edges);
    automaton->edge_count += count;
    return automaton_add(automaton, AUTOMATON_EDGES, at, count);
}

/* Within a JSON string two neighbouring bytes differ where some state treats them differently. */
static void mark_string_bytes(bool begins[257])
{
    for (int state = 0; state < JSON_STRING_STATES; state++)
        for (int byte = 1; byte < 256; byte++)
            begins[byte] |= json_string_step((enum json_string_state)state, (uint8_t)byte) !=
                            json_string_step((enum json_string_state)state, (uint8_t)(byte - 1));
}

static void classify_bytes(struct automaton *automaton)
{
    bool begins[257] = {false}; /* a class begins at this byte */
    for (uint32_t i = 0; i < automaton->edge_count; i++) {
        begins[automaton->edges[i].first] = true;
        begins[automaton->edges[i].last + 1] = true;
    }
    if (automaton->string_count)
        mark_string_bytes(begins);
    automaton->class_count = 1;
    for (int byte = 1; byte < 256; byte++) {
        automaton->class_count += begins[byte];
        automaton->class_of[byte] = (uint8_t)(automaton->class_count - 1);
    }
}

enum status automaton_open(struct automaton **out, const struct rules *rules, uint32_t root,
                           struct error *error)
{
    *out = NULL;
    if (rules->status != STATUS_OK)
        return error_set(error, STATUS_NO_MEMORY,
                         "the grammar is too large: more than %u expressions, %u rules or %u bytes "
                         "of literals, or no memory for it",
                         RULES_EXPRESSIONS_MAX, RULES_COUNT_MAX, RULES_BYTES_MAX);
    struct automaton *automaton = calloc(1, sizeof *automaton);
    uint32_t *entries = malloc((rules->rule_count + 1) * sizeof *entries);
    enum status status = STATUS_NO_MEMORY;
    CHECK(root < rules->rule_count);
    if (!automaton || !entries) {
        error_set(error, status, "no memory for the automaton of a grammar");
        goto fail;
    }
    status = automaton_compile(automaton, rules, root, entries, error);
    if (status == STATUS_OK)
        status = automaton_check(automaton, rules, entries, error);
    if (status != STATUS_OK)
        goto fail;
    classify_bytes(automaton);
    free(entries);
    *out = automaton;
    return STATUS_OK;

fail:
    free(entries);
    automaton_close(automaton);
    return status;
}

void automaton_close(struct automaton *automaton)
{
    if (!automaton)
        return;
    free(automaton->nodes);
    free(automaton->edges);
    free(automaton->strings);
    free(automaton);
}
