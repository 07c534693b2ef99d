/* One text on its way through a grammar: its threads, and what it has learned about masks.
 *
 * The threads are advanced byte by byte as tokens are pushed, on stacks of their own, which grow
 * with the nesting of the text; cells that nobody stands on any more are cleared away now and then.
 * A mask is the union of what the threads of each stack can take (reach.h).
 *
 * Each call may do WORK_MAX of work (threads.h): six walks over every node of a trie of 150,000
 * tokens, 0.16 s where it was measured (README.md). A grammar that needs more for one token is
 * ambiguous beyond use, and the call fails as if out of memory. */
#include <stdlib.h>
#include <string.h>

#include "engine/grammar/grammar_parts.h"
#include "engine/grammar/reach.h"
#include "engine/tokenizer/tokenizer.h"

#define WORK_MAX (1u << 22)
#define CELLS_KEPT 4096u /* cells below which clearing away is not worth the time */

struct grammar_state {
    const struct grammar_vocab *vocab;
    const struct automaton *automaton;
    uint64_t work_left;
    struct stacks stacks;
    struct thread_set set;
    struct thread *threads; /* [THREADS_MAX] where the text is; sorted */
    struct thread *spare;   /* [THREADS_MAX] while a token is tried */
    uint32_t thread_count;
    bool ended;           /* the text so far is complete */
    uint32_t cells_limit; /* clear away beyond so many */
    struct reach reach;
};

enum status grammar_state_open(struct grammar_state **out, const struct grammar *grammar,
                               const struct grammar_vocab *vocab, struct error *error)
{
    struct grammar_state *s = calloc(1, sizeof *s);
    *out = NULL;
    if (!s)
        goto fail;
    s->vocab = vocab;
    s->automaton = grammar->automaton;
    s->work_left = WORK_MAX;
    s->cells_limit = CELLS_KEPT;
    s->threads = malloc(THREADS_MAX * sizeof *s->threads);
    s->spare = malloc(THREADS_MAX * sizeof *s->spare);
    if (!s->threads || !s->spare || !stacks_open(&s->stacks) ||
        !thread_set_open(&s->set, s->automaton, &s->stacks, &s->work_left) ||
        !reach_open(&s->reach, s->automaton, vocab, &s->work_left))
        goto fail;
    thread_set_begin(&s->set);
    thread_set_add(&s->set, s->automaton->root, 0);
    if (s->set.failed) {
        grammar_state_close(s);
        return error_set(error, STATUS_NO_MEMORY,
                         "the grammar begins in more than %u ways, which is its bound",
                         THREADS_MAX);
    }
    thread_set_sort(&s->set);
    s->thread_count = s->set.count;
    s->ended = s->set.ended;
    if (s->thread_count)
        memcpy(s->threads, s->set.threads, s->thread_count * sizeof *s->threads);
    *out = s;
    return STATUS_OK;

fail:
    grammar_state_close(s);
    return error_set(error, STATUS_NO_MEMORY, "no memory for the state of a grammar");
}

void grammar_state_close(struct grammar_state *state)
{
    if (!state)
        return;
    reach_close(&state->reach);
    thread_set_close(&state->set);
    stacks_close(&state->stacks);
    free(state->threads);
    free(state->spare);
    free(state);
}

/* How many threads from `first` on can be asked about at once: those of one stack, but each that is
 * inside a JSON string alone. Within a stack threads are in the order of their nodes, not of kinds.
 */
static uint32_t group_of(const struct grammar_state *s, uint32_t first)
{
    const struct automaton_node *nodes = s->automaton->nodes;
    uint32_t end = first + 1;
    if (nodes[s->threads[first].node].kind == AUTOMATON_STRING)
        return 1;
    while (end < s->thread_count && s->threads[end].stack == s->threads[first].stack &&
           nodes[s->threads[end].node].kind != AUTOMATON_STRING)
        end++;
    return end - first;
}

bool grammar_state_mask(struct grammar_state *state, uint32_t *mask)
{
    const struct grammar_vocab *vocab = state->vocab;
    size_t words = grammar_mask_words(vocab->vocab);
    uint32_t any = 0;
    memset(mask, 0, words * sizeof *mask);
    reach_trim(&state->reach);
    state->work_left = WORK_MAX;
    for (uint32_t i = 0; i < state->thread_count;) {
        uint32_t count = group_of(state, i);
        if (!reach_mark(&state->reach, state->threads + i, count, &state->stacks, mask)) {
            memset(mask, 0, words * sizeof *mask);
            return false;
        }
        i += count;
    }
    for (uint32_t i = 0; state->ended && i < vocab->eos_count; i++)
        mask[vocab->eos[i] / 32] |= 1u << vocab->eos[i] % 32;
    for (size_t i = 0; i < words; i++)
        any |= mask[i];
    return any != 0;
}

/* Cells that a thread stands on are moved to a fresh table; below always comes before above. */
static void clear_away(struct grammar_state *s)
{
    struct stacks fresh;
    uint32_t *moved = calloc(s->stacks.count, sizeof *moved); /* 1: needed; then its new number */
    if (!moved || !stacks_open(&fresh)) {
        free(moved);
        return;
    }
    for (uint32_t i = 0; i < s->thread_count; i++)
        for (uint32_t at = s->threads[i].stack; at && !moved[at]; at = s->stacks.cells[at].below)
            moved[at] = 1;
    for (uint32_t at = 1; at < s->stacks.count; at++) {
        const struct stack_cell *cell = &s->stacks.cells[at];
        if (moved[at])
            moved[at] = stacks_push(&fresh, cell->node, moved[cell->below]);
        if (moved[at] == UINT32_MAX) {
            stacks_close(&fresh);
            free(moved);
            return;
        }
    }
    for (uint32_t i = 0; i < s->thread_count; i++)
        s->threads[i].stack = moved[s->threads[i].stack];
    free(moved);
    stacks_close(&s->stacks);
    s->stacks = fresh;
    s->cells_limit = 2 * fresh.count > CELLS_KEPT ? 2 * fresh.count : CELLS_KEPT;
}

static bool is_eos(const struct grammar_vocab *vocab, uint32_t token)
{
    for (uint32_t i = 0; i < vocab->eos_count; i++)
        if (vocab->eos[i] == token)
            return true;
    return false;
}

bool grammar_state_push(struct grammar_state *state, uint32_t token)
{
    const struct grammar_vocab *vocab = state->vocab;
    struct thread_set *set = &state->set;
    if (is_eos(vocab, token)) {
        if (state->ended)
            state->thread_count = 0;
        return state->ended;
    }
    if (!grammar_vocab_is_usable(vocab, token))
        return false;
    size_t bytes = 0;
    const char *piece = tokenizer_piece(vocab->tokenizer, token, &bytes);
    uint32_t count = state->thread_count;
    memcpy(state->spare, state->threads, count * sizeof *state->spare);
    state->work_left = WORK_MAX;
    for (size_t i = 0; i < bytes; i++) {
        thread_set_begin(set);
        for (uint32_t t = 0; t < count; t++)
            thread_set_step(set, &state->spare[t], (uint8_t)piece[i]);
        if (set->failed || (set->count == 0 && !set->ended))
            return false;
        count = set->count;
        memcpy(state->spare, set->threads, count * sizeof *state->spare);
    }
    thread_set_sort(set);
    memcpy(state->threads, set->threads, count * sizeof *state->threads);
    state->thread_count = count;
    state->ended = set->ended;
    if (state->stacks.count > state->cells_limit)
        clear_away(state);
    return true;
}

bool grammar_state_may_end(const struct grammar_state *state)
{
    return state->ended;
}

bool grammar_state_must_end(const struct grammar_state *state)
{
    return state->ended && state->thread_count == 0;
}
