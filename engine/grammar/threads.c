/* Following nodes that take no byte, with a table of who was visited: loops end, and threads that
 * agree are one. A call whose way back is a return pushes nothing, so lists written by right
 * recursion keep their stacks short. */
#include "engine/grammar/threads.h"

#include <stdlib.h>
#include <string.h>

#include "engine/grammar/grow.h"

#define TABLE_FIRST 256u

static uint32_t hash(uint32_t a, uint32_t b, uint32_t c)
{
    uint64_t h = (a * 0x9E3779B97F4A7C15u) ^ (b * 0xC2B2AE3D27D4EB4Fu) ^ (c * 0x165667B19E3779F9u);
    h ^= h >> 29;
    h *= 0xBF58476D1CE4E5B9u;
    return (uint32_t)(h >> 32);
}

bool stacks_open(struct stacks *stacks)
{
    *stacks = (struct stacks){0};
    stacks->table = calloc(TABLE_FIRST, sizeof *stacks->table);
    stacks->table_size = TABLE_FIRST;
    if (!stacks->table || !GROW(stacks, cells, count, capacity, 1, THREADS_CELLS_MAX)) {
        stacks_close(stacks);
        return false;
    }
    stacks_reset(stacks);
    return true;
}

void stacks_close(struct stacks *stacks)
{
    free(stacks->cells);
    free(stacks->table);
    *stacks = (struct stacks){0};
}

void stacks_reset(struct stacks *stacks)
{
    memset(stacks->table, 0, stacks->table_size * sizeof *stacks->table);
    stacks->cells[0] = (struct stack_cell){UINT32_MAX, 0};
    stacks->count = 1;
}

static uint32_t slot_of(const struct stacks *stacks, uint32_t node, uint32_t below)
{
    uint32_t mask = stacks->table_size - 1, slot = hash(node, below, 0) & mask;
    while (stacks->table[slot]) {
        const struct stack_cell *cell = &stacks->cells[stacks->table[slot]];
        if (cell->node == node && cell->below == below)
            break;
        slot = (slot + 1) & mask;
    }
    return slot;
}

static bool widen(struct stacks *stacks)
{
    uint32_t size = 2 * stacks->table_size;
    uint32_t *table = calloc(size, sizeof *table);
    if (!table)
        return false;
    free(stacks->table);
    stacks->table = table;
    stacks->table_size = size;
    for (uint32_t i = 1; i < stacks->count; i++)
        table[slot_of(stacks, stacks->cells[i].node, stacks->cells[i].below)] = i;
    return true;
}

uint32_t stacks_push(struct stacks *stacks, uint32_t node, uint32_t below)
{
    uint32_t slot = slot_of(stacks, node, below);
    if (stacks->table[slot])
        return stacks->table[slot];
    if (!GROW(stacks, cells, count, capacity, 1, THREADS_CELLS_MAX))
        return UINT32_MAX;
    if (2 * (uint64_t)stacks->count >= stacks->table_size) {
        if (!widen(stacks))
            return UINT32_MAX;
        slot = slot_of(stacks, node, below);
    }
    stacks->cells[stacks->count] = (struct stack_cell){node, below};
    stacks->table[slot] = stacks->count;
    return stacks->count++;
}

bool thread_set_open(struct thread_set *set, const struct automaton *automaton,
                     struct stacks *stacks, uint64_t *work_left)
{
    *set = (struct thread_set){.automaton = automaton, .stacks = stacks, .work_left = work_left};
    set->threads = malloc(THREADS_MAX * sizeof *set->threads);
    set->visited = malloc(THREADS_SLOTS * sizeof *set->visited);
    set->stamps = calloc(THREADS_SLOTS, sizeof *set->stamps);
    set->pending = malloc(THREADS_VISITED_MAX * sizeof *set->pending);
    if (set->threads && set->visited && set->stamps && set->pending)
        return true;
    thread_set_close(set);
    return false;
}

void thread_set_close(struct thread_set *set)
{
    free(set->threads);
    free(set->visited);
    free(set->stamps);
    free(set->pending);
    *set = (struct thread_set){0};
}

void thread_set_begin(struct thread_set *set)
{
    set->count = set->visited_count = 0;
    set->ended = set->failed = false;
    if (++set->stamp == 0) {
        memset(set->stamps, 0, THREADS_SLOTS * sizeof *set->stamps);
        set->stamp = 1;
    }
}

/* True: not seen before, and noted. */
static bool visit(struct thread_set *set, const struct thread *thread)
{
    uint32_t slot = hash(thread->node, thread->stack, thread->detail) % THREADS_SLOTS;
    while (set->stamps[slot] == set->stamp) {
        const struct thread *other = &set->visited[slot];
        if (other->node == thread->node && other->stack == thread->stack &&
            other->detail == thread->detail)
            return false;
        slot = (slot + 1) % THREADS_SLOTS;
    }
    if (set->visited_count >= THREADS_VISITED_MAX || *set->work_left < THREADS_VISIT_WORK) {
        set->failed = true;
        return false;
    }
    set->stamps[slot] = set->stamp;
    set->visited[slot] = *thread;
    set->visited_count++;
    *set->work_left -= THREADS_VISIT_WORK;
    return true;
}

static void keep(struct thread_set *set, const struct thread *thread)
{
    if (set->count == THREADS_MAX)
        set->failed = true;
    else
        set->threads[set->count++] = *thread;
}

void thread_set_add(struct thread_set *set, uint32_t node, uint32_t stack)
{
    uint32_t pending = 0;
    struct thread first = {stack, node, 0};
    if (!set->failed && visit(set, &first))
        set->pending[pending++] = first; /* each is pending once, so visiting bounds their number */
    while (pending > 0 && !set->failed) {
        struct thread thread = set->pending[--pending];
        const struct automaton_node *n = &set->automaton->nodes[thread.node];
        struct thread next = {thread.stack, n->a, 0};
        switch (n->kind) {
        case AUTOMATON_EDGES:
        case AUTOMATON_STRING:
            keep(set, &thread);
            continue;
        case AUTOMATON_RETURN:
            if (thread.stack == 0) {
                set->ended = true;
                continue;
            }
            next.node = set->stacks->cells[thread.stack].node;
            next.stack = set->stacks->cells[thread.stack].below;
            break;
        case AUTOMATON_CALL:
            if (n->b != 0)
                next.stack = stacks_push(set->stacks, n->b, thread.stack);
            if (next.stack == UINT32_MAX) {
                set->failed = true;
                return;
            }
            break;
        default: { /* SPLIT */
            struct thread other = {thread.stack, n->b, 0};
            if (visit(set, &other))
                set->pending[pending++] = other;
        }
        }
        if (!set->failed && visit(set, &next))
            set->pending[pending++] = next;
    }
}

static void step_string(struct thread_set *set, const struct thread *thread,
                        const struct automaton_node *n, uint8_t byte)
{
    struct automaton_string limits = set->automaton->strings[n->a];
    enum json_string_state state = (enum json_string_state)(thread->detail % 32), next;
    uint32_t characters = thread->detail / 32;
    next = json_string_step(state, byte);
    if (next == JSON_STRING_WRONG)
        return;
    if (next == JSON_STRING_END) {
        if (characters >= limits.min)
            thread_set_add(set, n->b, thread->stack);
        return;
    }
    if (state == JSON_STRING_BETWEEN && characters >= limits.max)
        return;
    if (next == JSON_STRING_BETWEEN && (limits.max != RULES_ENDLESS || characters < limits.min))
        characters++; /* beyond that no count makes a difference, and threads that agree are one */
    struct thread inside = {thread->stack, thread->node, characters * 32 + (uint32_t)next};
    if (visit(set, &inside))
        keep(set, &inside);
}

void thread_set_step(struct thread_set *set, const struct thread *thread, uint8_t byte)
{
    const struct automaton_node *n = &set->automaton->nodes[thread->node];
    if (set->failed)
        return;
    if (n->kind == AUTOMATON_STRING) {
        step_string(set, thread, n, byte);
        return;
    }
    const struct automaton_edge *edges = set->automaton->edges + n->a;
    uint32_t low = 0, high = n->b;
    while (low < high) { /* the first edge that ends at `byte` or behind it */
        uint32_t middle = low + (high - low) / 2;
        if (edges[middle].last < byte)
            low = middle + 1;
        else
            high = middle;
    }
    if (low < n->b && edges[low].first <= byte)
        thread_set_add(set, edges[low].to, thread->stack);
}

static int compare_threads(const void *a, const void *b)
{
    const struct thread *x = a, *y = b;
    if (x->stack != y->stack)
        return x->stack < y->stack ? -1 : 1;
    if (x->node != y->node)
        return x->node < y->node ? -1 : 1;
    return (x->detail > y->detail) - (x->detail < y->detail);
}

void thread_set_sort(struct thread_set *set)
{
    if (set->count > 1)
        qsort(set->threads, set->count, sizeof *set->threads, compare_threads);
}
