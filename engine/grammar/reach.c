/* Walks, and the way down the stack.
 *
 * Cost of a mask: a configuration seen before costs one pass over its bits or list, and walks from
 * its exits with each cell that a token gets back to, which are short: few tokens hold the end of
 * something and go on. A configuration seen for the first time is walked from the root: time
 * proportional to the part of the trie that is alive, at most all of it. Strings of JSON start from
 * the vocabulary's own table instead. */
#include "engine/grammar/reach.h"

#include <stdlib.h>
#include <string.h>

#include "engine/grammar/grow.h"

#define LIST_MAX (1u << 28)

bool reach_open(struct reach *reach, const struct automaton *automaton, const struct trie *trie,
                const struct string_table *tables, uint32_t vocab, uint64_t *work_left)
{
    *reach = (struct reach){.trie = trie, .tables = tables};
    reach->words = (uint32_t)(((uint64_t)vocab + 31) / 32);
    reach->path = malloc((trie->depth_max + (size_t)1) * sizeof *reach->path);
    reach->scratch = malloc((reach->words + (size_t)1) * sizeof *reach->scratch);
    if (reach->path && reach->scratch && configs_open(&reach->configs, automaton, work_left))
        return true;
    reach_close(reach);
    return false;
}

static void forget(struct reach *reach)
{
    for (uint32_t i = 0; i < reach->found_count; i++) {
        free(reach->found[i].bits);
        free(reach->found[i].tokens);
    }
    reach->found_count = 0;
    reach->found_bytes = 0;
}

void reach_close(struct reach *reach)
{
    forget(reach);
    configs_close(&reach->configs);
    free(reach->found);
    free(reach->path);
    free(reach->scratch);
    free(reach->tokens.items);
    free(reach->exits.items);
    free(reach->from.items);
    *reach = (struct reach){0};
}

void reach_trim(struct reach *reach)
{
    if (configs_bytes(&reach->configs) + reach->found_bytes < CONFIGS_BYTES_KEPT)
        return;
    forget(reach);
    configs_reset(&reach->configs);
}

static bool append(struct reach_list *list, const uint32_t *items, uint32_t count)
{
    if (!GROW(list, items, count, capacity, count, LIST_MAX))
        return false;
    for (uint32_t i = 0; i < count; i++)
        list->items[list->count + i] = items[i];
    list->count += count;
    return true;
}

static bool append_tokens(struct reach *reach, uint32_t node)
{
    const struct trie_node *n = &reach->trie->nodes[node];
    uint32_t count = n[1].first_token - n->first_token;
    return count == 0 || append(&reach->tokens, reach->trie->tokens + n->first_token, count);
}

/* An exit is worth keeping if a token goes on behind it. */
static bool append_exit(struct reach *reach, uint32_t node)
{
    return reach->trie->nodes[node].skip == node + 1 || append(&reach->exits, &node, 1);
}

/* Appends the tokens below `top` that are taken whole from `config`, and the exits on the way. */
static bool walk(struct reach *reach, uint32_t top, uint32_t config)
{
    const struct trie_node *nodes = reach->trie->nodes;
    struct configs *configs = &reach->configs;
    struct reach_list *list = &reach->tokens;
    uint32_t end = nodes[top].skip, most = nodes[end].first_token - nodes[top].first_token;
    uint32_t *path = reach->path;
    uint64_t *work_left = configs->set.work_left;
    if (!GROW(list, items, count, capacity, most, LIST_MAX))
        return false;
    path[nodes[top].depth] = config;
    for (uint32_t i = top + 1; i < end;) {
        const struct trie_node *node = &nodes[i];
        if (*work_left == 0)
            return false;
        --*work_left;
        uint32_t next = configs_step(configs, path[node->depth - 1], node->byte);
        if (next == CONFIGS_DEAD) {
            i = node->skip;
            continue;
        }
        if (next == CONFIGS_FAILED)
            return false;
        for (uint32_t t = node->first_token; t < node[1].first_token; t++)
            list->items[list->count++] = reach->trie->tokens[t];
        const struct config *c = &configs->configs[next];
        if (c->ended && !append_exit(reach, i))
            return false;
        path[node->depth] = next;
        i = c->count ? i + 1 : node->skip;
    }
    return true;
}

static int compare_numbers(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void sort_exits(struct reach_list *list)
{
    bool sorted = true;
    for (uint32_t i = 1; i < list->count; i++)
        sorted &= list->items[i - 1] < list->items[i];
    if (sorted)
        return;
    qsort(list->items, list->count, sizeof *list->items, compare_numbers);
    uint32_t kept = 0;
    for (uint32_t i = 1; i < list->count; i++)
        if (list->items[i] != list->items[kept])
            list->items[++kept] = list->items[i];
    list->count = kept + 1;
}

static void set_bits(uint32_t *bits, const uint32_t *tokens, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        bits[tokens[i] / 32] |= 1u << tokens[i] % 32;
}

/* Walks on from each of `from` with what begins at `node`; new exits take the place of the old. */
static bool walk_on(struct reach *reach, uint32_t node)
{
    uint32_t config = configs_start(&reach->configs, node);
    if (config == CONFIGS_FAILED)
        return false;
    reach->exits.count = 0;
    for (uint32_t i = 0; i < reach->from.count; i++) {
        uint32_t top = reach->from.items[i];
        if (reach->configs.configs[config].ended && !append_exit(reach, top))
            return false;
        if (!walk(reach, top, config))
            return false;
    }
    sort_exits(&reach->exits);
    return true;
}

/* As a walk from the root, for one thread inside a JSON string: the table knows what stays inside,
 * and where the string has ended the walk goes on behind it. Table's tokens are not appended. */
static bool walk_string(struct reach *reach, const struct thread *thread, uint32_t most)
{
    const struct automaton_node *n = &reach->configs.automaton->nodes[thread->node];
    const struct string_table *table = &reach->tables[thread->detail % 32];
    uint32_t min = reach->configs.automaton->strings[n->a].min, characters = thread->detail / 32;
    uint32_t least = characters < min ? min - characters : 0;
    reach->from.count = 0;
    for (uint32_t i = 0; i < table->end_count; i++) {
        const struct string_end *end = &table->ends[i];
        if (end->characters < least || end->characters > most)
            continue;
        if (!append_tokens(reach, end->node))
            return false;
        if (reach->trie->nodes[end->node].skip != end->node + 1 &&
            !append(&reach->from, &end->node, 1))
            return false;
    }
    return walk_on(reach, n->b);
}

/* Keeps what the walk from the root found for `config`. Without memory it is just not kept. */
static void keep(struct reach *reach, uint32_t config, const struct string_table *table)
{
    struct reach_found found = {
        .token_count = reach->tokens.count, .exit_count = reach->exits.count, .table = table};
    bool many = found.token_count > reach->words;
    size_t listed = (many ? 0 : found.token_count) + (size_t)found.exit_count;
    if (!GROW(reach, found, found_count, found_capacity, 1, LIST_MAX))
        return;
    found.tokens = malloc((listed + 1) * sizeof *found.tokens);
    found.bits = many ? calloc(reach->words, sizeof *found.bits) : NULL;
    if (!found.tokens || (many && !found.bits)) {
        free(found.tokens);
        free(found.bits);
        return;
    }
    if (many) {
        set_bits(found.bits, reach->tokens.items, found.token_count);
        found.token_count = 0;
    } else if (found.token_count) {
        memcpy(found.tokens, reach->tokens.items, found.token_count * sizeof *found.tokens);
    }
    if (found.exit_count)
        memcpy(found.tokens + found.token_count, reach->exits.items,
               found.exit_count * sizeof *found.tokens);
    reach->found_bytes += (listed + (many ? reach->words : 0)) * sizeof(uint32_t) + sizeof found;
    reach->configs.configs[config].found = reach->found_count;
    reach->found[reach->found_count++] = found;
}

/* Sets the bits of an answer from the root and leaves its exits in reach->exits. */
static bool mark_found(struct reach *reach, const struct reach_found *found, uint32_t *bits)
{
    if (found->table)
        string_table_mark(found->table, UINT32_MAX, bits, reach->scratch, reach->words);
    for (uint32_t i = 0; found->bits && i < reach->words; i++)
        bits[i] |= found->bits[i];
    set_bits(bits, found->tokens, found->token_count);
    reach->exits.count = 0;
    return found->exit_count == 0 ||
           append(&reach->exits, found->tokens + found->token_count, found->exit_count);
}

static bool mark_string(struct reach *reach, const struct thread *thread, uint32_t config,
                        uint32_t *bits)
{
    const struct automaton *automaton = reach->configs.automaton;
    struct automaton_string limits = automaton->strings[automaton->nodes[thread->node].a];
    const struct string_table *table = &reach->tables[thread->detail % 32];
    uint32_t most = limits.max == RULES_ENDLESS ? UINT32_MAX : limits.max - thread->detail / 32;
    if (!walk_string(reach, thread, most))
        return false;
    string_table_mark(table, most, bits, reach->scratch, reach->words);
    set_bits(bits, reach->tokens.items, reach->tokens.count);
    if (limits.max == RULES_ENDLESS) /* otherwise it hardly comes again */
        keep(reach, config, table);
    return true;
}

/* The threads as a configuration, their own stack taken for the bottom. */
static uint32_t name_of(struct reach *reach, const struct thread *threads, uint32_t count)
{
    struct thread_set *set = &reach->configs.set;
    thread_set_begin(set);
    for (uint32_t i = 0; i < count; i++) {
        set->threads[i] = threads[i];
        set->threads[i].stack = 0;
    }
    set->count = count;
    return configs_name(&reach->configs);
}

/* Sets the bits of what the threads take from the trie's root; exits are left in reach->exits. */
static bool mark_from_root(struct reach *reach, const struct thread *threads, uint32_t count,
                           uint32_t *bits)
{
    uint32_t config = name_of(reach, threads, count);
    if (config == CONFIGS_FAILED)
        return false;
    uint32_t found = reach->configs.configs[config].found;
    if (found != UINT32_MAX)
        return mark_found(reach, &reach->found[found], bits);
    reach->tokens.count = reach->exits.count = 0;
    if (count == 1 && reach->configs.automaton->nodes[threads[0].node].kind == AUTOMATON_STRING)
        return mark_string(reach, &threads[0], config, bits);
    if (!walk(reach, 0, config))
        return false;
    sort_exits(&reach->exits);
    set_bits(bits, reach->tokens.items, reach->tokens.count);
    keep(reach, config, NULL);
    return true;
}

bool reach_mark(struct reach *reach, const struct thread *threads, uint32_t count,
                const struct stacks *stacks, uint32_t *bits)
{
    if (!mark_from_root(reach, threads, count, bits))
        return false;
    for (uint32_t stack = threads[0].stack; stack && reach->exits.count;) {
        struct stack_cell cell = stacks->cells[stack];
        struct reach_list spare = reach->from;
        reach->from = reach->exits;
        reach->exits = spare;
        reach->tokens.count = 0;
        if (!walk_on(reach, cell.node))
            return false;
        set_bits(bits, reach->tokens.items, reach->tokens.count);
        stack = cell.below;
    }
    return true;
}
