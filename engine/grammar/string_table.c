/* One walk over the trie for each state, which dies at once for all states but BETWEEN where the
 * vocabulary has no tokens that begin there. */
#include "engine/grammar/string_table.h"

#include <stdlib.h>
#include <string.h>

struct place {
    enum json_string_state state;
    uint32_t characters; /* completed since the walk began */
};

struct table_walk {
    const struct trie *trie;
    struct place *path; /* [depth_max + 1] */
    uint32_t *found;    /* tokens that stay inside */
    uint32_t *needs;    /* and how many characters each needs */
    struct string_end *ends;
    uint32_t found_count, end_count;
};

static void walk(struct table_walk *w, enum json_string_state state)
{
    const struct trie *trie = w->trie;
    w->found_count = w->end_count = 0;
    w->path[0] = (struct place){state, 0};
    for (uint32_t i = 1; i < trie->node_count;) {
        const struct trie_node *node = &trie->nodes[i];
        struct place place = w->path[node->depth - 1];
        place.state = json_string_step(place.state, node->byte);
        if (place.state == JSON_STRING_WRONG || place.state == JSON_STRING_END) {
            if (place.state == JSON_STRING_END)
                w->ends[w->end_count++] = (struct string_end){i, place.characters};
            i = node->skip;
            continue;
        }
        place.characters += place.state == JSON_STRING_BETWEEN;
        w->path[node->depth] = place;
        for (uint32_t t = node->first_token; t < trie->nodes[i + 1].first_token; t++) {
            w->found[w->found_count] = trie->tokens[t];
            w->needs[w->found_count++] = place.characters + (place.state != JSON_STRING_BETWEEN);
        }
        i++;
    }
}

/* Sorts what the walk found by need (counting) into the table. */
static enum status keep(struct string_table *table, const struct table_walk *w, uint32_t vocab)
{
    uint32_t words = (uint32_t)(((uint64_t)vocab + 31) / 32);
    table->token_count = w->found_count;
    table->end_count = w->end_count;
    for (uint32_t i = 0; i < w->found_count; i++)
        table->need_max = w->needs[i] > table->need_max ? w->needs[i] : table->need_max;
    table->tokens = malloc((w->found_count + (size_t)1) * sizeof *table->tokens);
    table->until = calloc(table->need_max + (size_t)2, sizeof *table->until);
    table->ends = malloc((w->end_count + (size_t)1) * sizeof *table->ends);
    if (!table->tokens || !table->until || !table->ends)
        return STATUS_NO_MEMORY;
    if (w->end_count)
        memcpy(table->ends, w->ends, w->end_count * sizeof *w->ends);
    for (uint32_t i = 0; i < w->found_count; i++)
        table->until[w->needs[i] + 1]++;
    for (uint32_t n = 0; n <= table->need_max; n++)
        table->until[n + 1] += table->until[n];
    for (uint32_t i = 0; i < w->found_count; i++) /* starts become ends */
        table->tokens[table->until[w->needs[i]]++] = w->found[i];
    if (w->found_count <= words)
        return STATUS_OK;
    table->bits = calloc(words, sizeof *table->bits);
    if (!table->bits)
        return STATUS_NO_MEMORY;
    for (uint32_t i = 0; i < w->found_count; i++)
        table->bits[w->found[i] / 32] |= 1u << w->found[i] % 32;
    return STATUS_OK;
}

enum status string_table_open(struct string_table *tables, const struct trie *trie, uint32_t vocab,
                              struct error *error)
{
    size_t tokens = trie->token_count + (size_t)1;
    struct table_walk w = {.trie = trie};
    enum status status = STATUS_NO_MEMORY;
    memset(tables, 0, JSON_STRING_STATES * sizeof *tables);
    w.path = malloc((trie->depth_max + (size_t)1) * sizeof *w.path);
    w.found = malloc(tokens * sizeof *w.found);
    w.needs = malloc(tokens * sizeof *w.needs);
    w.ends = malloc((trie->node_count + (size_t)1) * sizeof *w.ends);
    if (w.path && w.found && w.needs && w.ends)
        status = STATUS_OK;
    for (int state = 0; state < JSON_STRING_STATES && status == STATUS_OK; state++) {
        walk(&w, (enum json_string_state)state);
        status = keep(&tables[state], &w, vocab);
    }
    free(w.path);
    free(w.found);
    free(w.needs);
    free(w.ends);
    if (status != STATUS_OK) {
        string_table_close(tables);
        return error_set(error, status, "no memory for tables of %u tokens", trie->token_count);
    }
    return STATUS_OK;
}

void string_table_close(struct string_table *tables)
{
    for (int state = 0; state < JSON_STRING_STATES; state++) {
        free(tables[state].tokens);
        free(tables[state].until);
        free(tables[state].bits);
        free(tables[state].ends);
    }
    memset(tables, 0, JSON_STRING_STATES * sizeof *tables);
}

static void or_words(uint32_t *to, const uint32_t *from, uint32_t words)
{
    for (uint32_t i = 0; i < words; i++)
        to[i] |= from[i];
}

void string_table_mark(const struct string_table *table, uint32_t most, uint32_t *bits,
                       uint32_t *scratch, uint32_t words)
{
    uint32_t count = most >= table->need_max ? table->token_count : table->until[most];
    if (table->bits && count == table->token_count) {
        or_words(bits, table->bits, words);
    } else if (table->bits && count > table->token_count / 2) {
        memcpy(scratch, table->bits, words * sizeof *scratch);
        for (uint32_t i = count; i < table->token_count; i++)
            scratch[table->tokens[i] / 32] &= ~(1u << table->tokens[i] % 32);
        or_words(bits, scratch, words);
    } else {
        for (uint32_t i = 0; i < count; i++)
            bits[table->tokens[i] / 32] |= 1u << table->tokens[i] % 32;
    }
}
