/* Building the trie: sorted entries come in the order of the walk, so each adds the nodes that it
 * does not share with the one before. */
#include "engine/grammar/trie.h"

#include <stdlib.h>
#include <string.h>

static int compare_entries(const void *a, const void *b)
{
    const struct trie_entry *x = a, *y = b;
    uint32_t common = x->count < y->count ? x->count : y->count;
    int order = common ? memcmp(x->bytes, y->bytes, common) : 0;
    if (order)
        return order;
    if (x->count != y->count)
        return x->count < y->count ? -1 : 1;
    return (x->token > y->token) - (x->token < y->token);
}

static uint32_t shared_bytes(const struct trie_entry *a, const struct trie_entry *b)
{
    uint32_t shared = 0;
    while (shared < a->count && shared < b->count && a->bytes[shared] == b->bytes[shared])
        shared++;
    return shared;
}

static void fill(struct trie *trie, const struct trie_entry *entries, uint32_t count)
{
    uint32_t path[TRIE_TOKEN_BYTES_MAX + 1]; /* the nodes from the root to the last entry */
    uint32_t depth = 0, nodes = 1;
    path[0] = 0;
    trie->nodes[0] = (struct trie_node){0};
    for (uint32_t i = 0; i < count; i++) {
        uint32_t shared = i ? shared_bytes(&entries[i - 1], &entries[i]) : 0;
        for (; depth > shared; depth--)
            trie->nodes[path[depth]].skip = nodes;
        while (depth < entries[i].count) {
            path[++depth] = nodes;
            trie->nodes[nodes++] = (struct trie_node){
                .first_token = i, .depth = (uint16_t)depth, .byte = entries[i].bytes[depth - 1]};
        }
        trie->tokens[i] = entries[i].token;
    }
    for (uint32_t d = 0; d <= depth; d++)
        trie->nodes[path[d]].skip = nodes;
    trie->nodes[nodes] = (struct trie_node){.skip = nodes, .first_token = count};
    trie->node_count = nodes;
    trie->token_count = count;
}

enum status trie_open(struct trie *out, struct trie_entry *entries, uint32_t count,
                      struct error *error)
{
    uint32_t kept = 0;
    uint64_t nodes = 1;
    *out = (struct trie){0};
    for (uint32_t i = 0; i < count; i++)
        if (entries[i].count > 0 && entries[i].count <= TRIE_TOKEN_BYTES_MAX)
            entries[kept++] = entries[i];
    if (kept)
        qsort(entries, kept, sizeof *entries, compare_entries);
    for (uint32_t i = 0; i < kept; i++) {
        nodes += entries[i].count - (i ? shared_bytes(&entries[i - 1], &entries[i]) : 0);
        out->depth_max = entries[i].count > out->depth_max ? entries[i].count : out->depth_max;
    }
    if (nodes < UINT32_MAX) {
        out->nodes = malloc((nodes + 1) * sizeof *out->nodes);
        out->tokens = malloc((kept + (size_t)1) * sizeof *out->tokens);
    }
    if (!out->nodes || !out->tokens) {
        trie_close(out);
        return error_set(error, STATUS_NO_MEMORY, "no memory for a trie of %u tokens", kept);
    }
    fill(out, entries, kept);
    return STATUS_OK;
}

void trie_close(struct trie *trie)
{
    free(trie->nodes);
    free(trie->tokens);
    *trie = (struct trie){0};
}
