/* Walks, and the way down the stack.
 *
 * Cost of a mask: a configuration seen before costs one pass over its bits or list, and walks
 * from its exits with each cell that a token gets back to, which are short: few tokens hold the
 * end of something and go on. A configuration seen for the first time is walked from the root:
 * time proportional to the part of the trie that is alive and is no stretch, at most all of it.
 * Strings of JSON start from the vocabulary's own table instead. */
#include "engine/grammar/reach.h"

#include <stdlib.h>
#include <string.h>

#include "engine/grammar/grammar_parts.h"
#include "engine/grammar/grow.h"

#define LIST_MAX (1u << 28)

bool reach_open(struct reach *reach, const struct automaton *automaton,
                const struct grammar_vocab *vocab, uint64_t *work_left)
{
    *reach = (struct reach){.vocab = vocab, .trie = &vocab->trie, .tables = vocab->tables};
    reach->words = (uint32_t)grammar_mask_words(vocab->vocab);
    reach->path = malloc((vocab->trie.depth_max + (size_t)1) * sizeof *reach->path);
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
    loops_close(&reach->loops);
    free(reach->found);
    free(reach->path);
    free(reach->scratch);
    free(reach->stretches.items);
    free(reach->exits.items);
    free(reach->from.items);
    *reach = (struct reach){0};
}

void reach_trim(struct reach *reach)
{
    if (configs_bytes(&reach->configs) + reach->found_bytes +
            reach->loops.count * sizeof *reach->loops.items < CONFIGS_BYTES_KEPT)
        return;
    forget(reach);
    configs_reset(&reach->configs);
    loops_reset(&reach->loops);
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

/* The tokens [first, end) of the trie; neighbours become one stretch. */
static bool append_stretch(struct reach *reach, uint32_t first, uint32_t end)
{
    struct reach_list *list = &reach->stretches;
    if (first == end)
        return true;
    reach->token_count += end - first;
    if (list->count && list->items[list->count - 1] == first) {
        list->items[list->count - 1] = end;
        return true;
    }
    if (!GROW(list, items, count, capacity, 2, LIST_MAX))
        return false;
    list->items[list->count++] = first;
    list->items[list->count++] = end;
    return true;
}

static bool append_tokens(struct reach *reach, uint32_t node)
{
    const struct trie_node *n = &reach->trie->nodes[node];
    return append_stretch(reach, n->first_token, n[1].first_token);
}

static void clear_stretches(struct reach *reach)
{
    reach->stretches.count = reach->token_count = 0;
}

/* An exit is worth keeping if a token goes on behind it, and a stack is there to take the rest. */
static bool append_exit(struct reach *reach, uint32_t node)
{
    return !reach->wants_exits || reach->trie->nodes[node].skip == node + 1 ||
           append(&reach->exits, &node, 1);
}

/* Whether all that is below a node with a summary is taken; `at` is the configuration there,
 * `before` that of the node above. Inside a character no configuration is on a loop, but the one
 * before it may be. Exits among them are of no use: what could go on behind one is taken
 * without. */
static bool takes_all(struct reach *reach, uint32_t i, uint32_t before, uint32_t at)
{
    const struct trie_node *node = &reach->trie->nodes[i];
    const struct subtree *below = &reach->vocab->subtrees.items[node->summary];
    uint8_t begun = node->byte >= 0xC0 ? node->byte : 0;
    return loops_take(&reach->loops, &reach->configs, begun ? before : at,
                      node->skip - i > LOOPS_WORTH, below, begun);
}

/* Appends the tokens below `top` that are taken whole from `config`, and the exits on the way. */
static bool walk(struct reach *reach, uint32_t top, uint32_t config)
{
    const struct trie_node *nodes = reach->trie->nodes;
    struct configs *configs = &reach->configs;
    uint32_t end = nodes[top].skip, *path = reach->path;
    uint64_t *work_left = configs->set.work_left;
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
        const struct config *c = &configs->configs[next];
        bool goes_on = c->count > 0;
        if (c->ended && !append_exit(reach, i))
            return false;
        bool all = node->summary && goes_on &&
                   takes_all(reach, i, path[node->depth - 1], next);
        path[node->depth] = next;
        if (!append_stretch(reach, node->first_token, nodes[all ? node->skip : i + 1].first_token))
            return false;
        i = goes_on && !all ? i + 1 : node->skip;
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

static void or_words(uint32_t *to, const uint32_t *from, uint32_t words)
{
    for (uint32_t i = 0; i < words; i++)
        to[i] |= from[i];
}

/* The same for what the walks found: stretches that do not overlap, or any. */
static void set_stretches(const struct reach *reach, uint32_t *bits)
{
    const struct reach_list *list = &reach->stretches;
    const uint32_t *tokens = reach->trie->tokens;
    for (uint32_t i = 0; i < list->count; i += 2)
        set_bits(bits, tokens + list->items[i], list->items[i + 1] - list->items[i]);
}

/* Writes the bits of what one walk from the root found: where that is most of the trie, all but
 * what lies between the stretches. */
static void write_stretches(const struct reach *reach, uint32_t *bits)
{
    const struct reach_list *list = &reach->stretches;
    const struct trie *trie = reach->trie;
    if (reach->token_count <= trie->token_count / 2) {
        memset(bits, 0, reach->words * sizeof *bits);
        set_stretches(reach, bits);
        return;
    }
    memcpy(bits, reach->vocab->usable, reach->words * sizeof *bits);
    for (uint32_t i = 0; i <= list->count; i += 2) {
        uint32_t first = i ? list->items[i - 1] : 0;
        uint32_t end = i < list->count ? list->items[i] : trie->token_count;
        for (uint32_t t = first; t < end; t++)
            bits[trie->tokens[t] / 32] &= ~(1u << trie->tokens[t] % 32);
    }
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

/* Keeps what the walk from the root found for `config`, for a string without its table's tokens.
 * Without memory it is just not kept. */
static void keep(struct reach *reach, uint32_t config, const struct string_table *table,
                 const uint32_t *bits)
{
    struct reach_found found = {.has_exits = reach->wants_exits,
                                .token_count = bits ? 0 : reach->token_count,
                                .exit_count = reach->exits.count,
                                .table = table};
    size_t listed = found.token_count + (size_t)found.exit_count;
    if (!GROW(reach, found, found_count, found_capacity, 1, LIST_MAX))
        return;
    found.tokens = malloc((listed + 1) * sizeof *found.tokens);
    found.bits = bits ? malloc((reach->words + (size_t)1) * sizeof *found.bits) : NULL;
    if (!found.tokens || (bits && !found.bits)) {
        free(found.tokens);
        free(found.bits);
        return;
    }
    if (bits)
        memcpy(found.bits, bits, reach->words * sizeof *bits);
    uint32_t *to = found.tokens;
    for (uint32_t i = 0; !bits && i < reach->stretches.count; i += 2)
        for (uint32_t t = reach->stretches.items[i]; t < reach->stretches.items[i + 1]; t++)
            *to++ = reach->trie->tokens[t];
    if (found.exit_count)
        memcpy(to, reach->exits.items, found.exit_count * sizeof *to);
    reach->found_bytes += (listed + (bits ? reach->words : 0)) * sizeof(uint32_t) + sizeof found;
    reach->configs.configs[config].found = reach->found_count;
    reach->found[reach->found_count++] = found;
}

/* Sets the bits of an answer from the root and leaves its exits in reach->exits. */
static bool mark_found(struct reach *reach, const struct reach_found *found, uint32_t *bits)
{
    if (found->table)
        string_table_mark(found->table, UINT32_MAX, bits, reach->scratch, reach->words);
    if (found->bits)
        or_words(bits, found->bits, reach->words);
    set_bits(bits, found->tokens, found->token_count);
    reach->exits.count = 0;
    return found->exit_count == 0 || !reach->wants_exits ||
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
    set_stretches(reach, bits);
    if (limits.max == RULES_ENDLESS) /* otherwise it hardly comes again */
        keep(reach, config, table, NULL);
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
    if (found != UINT32_MAX && (reach->found[found].has_exits || !reach->wants_exits))
        return mark_found(reach, &reach->found[found], bits);
    clear_stretches(reach);
    reach->exits.count = 0;
    if (count == 1 && reach->configs.automaton->nodes[threads[0].node].kind == AUTOMATON_STRING)
        return mark_string(reach, &threads[0], config, bits);
    if (!walk(reach, 0, config))
        return false;
    sort_exits(&reach->exits);
    if (reach->token_count <= reach->words) {
        set_stretches(reach, bits);
        keep(reach, config, NULL, NULL);
        return true;
    }
    write_stretches(reach, reach->scratch);
    or_words(bits, reach->scratch, reach->words);
    keep(reach, config, NULL, reach->scratch);
    return true;
}

bool reach_mark(struct reach *reach, const struct thread *threads, uint32_t count,
                const struct stacks *stacks, uint32_t *bits)
{
    reach->wants_exits = threads[0].stack != 0;
    if (!mark_from_root(reach, threads, count, bits))
        return false;
    for (uint32_t stack = threads[0].stack; stack && reach->exits.count;) {
        struct stack_cell cell = stacks->cells[stack];
        struct reach_list spare = reach->from;
        reach->from = reach->exits;
        reach->exits = spare;
        reach->wants_exits = cell.below != 0;
        clear_stretches(reach);
        if (!walk_on(reach, cell.node))
            return false;
        set_stretches(reach, bits);
        stack = cell.below;
    }
    return true;
}
