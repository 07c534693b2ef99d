/* One pass from the last node to the first: what is below a node is known when it is met, and is
 * added to the node above. Where a node stands in a character follows from the bytes that lead to
 * it, so one summary for each is enough. */
#include "engine/grammar/subtrees.h"

#include <stdlib.h>

struct survey {
    struct subtree *items; /* [node_count] of all nodes */
    uint32_t *above;       /* [node_count] */
    uint32_t *path;        /* [depth_max + 1] */
    uint8_t *states;       /* [node_count] enum json_string_state behind each */
};

/* Which node is above each, and where in a character the walk is behind it. What is no UTF-8
 * counts as the end of a character: whoever goes on from there begins a new one. */
static void go_down(struct survey *s, const struct trie *trie)
{
    s->states[0] = JSON_STRING_BETWEEN;
    s->path[0] = 0;
    for (uint32_t i = 1; i < trie->node_count; i++) {
        const struct trie_node *node = &trie->nodes[i];
        uint32_t above = s->above[i] = s->path[node->depth - 1];
        enum json_string_state state =
            subtrees_step((enum json_string_state)s->states[above], node->byte);
        s->states[i] = state == JSON_STRING_WRONG ? JSON_STRING_BETWEEN : state;
        s->path[node->depth] = i;
    }
}

static void add_below(struct survey *s, const struct trie *trie, uint32_t i)
{
    uint32_t above = s->above[i];
    uint8_t byte = trie->nodes[i].byte;
    const struct subtree *below = &s->items[i];
    struct subtree *to = &s->items[above];
    enum json_string_state state = (enum json_string_state)s->states[above];
    bool begins = state == JSON_STRING_BETWEEN;
    uint16_t characters = (uint16_t)(below->characters + begins);
    if (subtrees_step(state, byte) == JSON_STRING_WRONG)
        to->malformed = true;
    else if (byte < 0x80)
        to->ascii[byte / 64] |= UINT64_C(1) << byte % 64;
    else if (begins)
        to->leads |= SUBTREES_LEAD(byte);
    to->malformed |= below->malformed;
    to->leads |= below->leads;
    to->ascii[0] |= below->ascii[0];
    to->ascii[1] |= below->ascii[1];
    to->characters = characters > to->characters ? characters : to->characters;
}

static enum status keep_large(struct subtrees *out, const struct survey *s, struct trie *trie)
{
    uint32_t count = 1;
    for (uint32_t i = 0; i < trie->node_count; i++)
        trie->nodes[i].summary = trie->nodes[i].skip - i > SUBTREES_LEAST ? count++ : 0;
    out->items = calloc(count, sizeof *out->items);
    if (!out->items)
        return STATUS_NO_MEMORY;
    out->count = count;
    for (uint32_t i = 0; i < trie->node_count; i++)
        if (trie->nodes[i].summary)
            out->items[trie->nodes[i].summary] = s->items[i];
    return STATUS_OK;
}

enum status subtrees_open(struct subtrees *out, struct trie *trie, struct error *error)
{
    struct survey s = {.items = calloc(trie->node_count, sizeof *s.items),
                       .above = calloc(trie->node_count, sizeof *s.above),
                       .path = calloc(trie->depth_max + (size_t)1, sizeof *s.path),
                       .states = calloc(trie->node_count, sizeof *s.states)};
    enum status status = STATUS_NO_MEMORY;
    *out = (struct subtrees){0};
    if (s.items && s.above && s.path && s.states) {
        go_down(&s, trie);
        for (uint32_t i = trie->node_count; i-- > 1;)
            add_below(&s, trie, i);
        status = keep_large(out, &s, trie);
    }
    free(s.items);
    free(s.above);
    free(s.path);
    free(s.states);
    if (status != STATUS_OK)
        return error_set(error, status, "no memory for the summaries of a trie of %u tokens",
                         trie->token_count);
    return STATUS_OK;
}

void subtrees_close(struct subtrees *subtrees)
{
    free(subtrees->items);
    *subtrees = (struct subtrees){0};
}
