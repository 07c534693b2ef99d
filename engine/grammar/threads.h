/* Running an automaton: a set of threads, each at a node with a stack, all advanced by the same
 * byte.
 *
 * Stacks share their lower parts: a stack is the number of a cell, which holds the node to come
 * back to and the stack below; equal stacks have equal numbers, so threads that agree are found and
 * merged. Stack 0 is the bottom. In a thread's life it may be the true bottom (the text is complete
 * when it is returned to) or, for what is worked out once and reused, the unknown stack that
 * somebody else has.
 *
 * Bounds: THREADS_MAX threads that take bytes, THREADS_VISITED_MAX nodes on the way to them, a
 * number of cells, and an amount of work that the owner sets; beyond them a set fails, and stays
 * failed until it is begun anew. One thread of execution. */
#ifndef MOERING_ENGINE_GRAMMAR_THREADS_H
#define MOERING_ENGINE_GRAMMAR_THREADS_H

#include "engine/grammar/automaton.h"
#include "engine/grammar/json_string.h"

#ifdef __cplusplus
extern "C" {
#endif

#define THREADS_MAX 1024u
#define THREADS_VISITED_MAX 6000u
#define THREADS_VISIT_WORK 4u /* what a visit takes of the work; a node of the trie takes 1 */
#define THREADS_SLOTS 8192u   /* of the table that knows who was visited */
#define THREADS_CELLS_MAX (1u << 22)

struct stack_cell {
    uint32_t node;  /* to come back to */
    uint32_t below; /* the stack under it */
};

struct stacks {
    struct stack_cell *cells; /* [0] is the bottom and holds nothing */
    uint32_t count, capacity;
    uint32_t *table; /* cell numbers by hash; 0: free */
    uint32_t table_size;
};

bool stacks_open(struct stacks *stacks);  /* false: no memory */
void stacks_close(struct stacks *stacks); /* accepts a zeroed one */
void stacks_reset(struct stacks *stacks);
uint32_t stacks_push(struct stacks *stacks, uint32_t node,
                     uint32_t below); /* UINT32_MAX: no room */

struct thread {
    uint32_t stack;
    uint32_t node;   /* EDGES or STRING */
    uint32_t detail; /* of STRING: characters so far * 32 + enum json_string_state */
};

struct thread_set {
    const struct automaton *automaton;
    struct stacks *stacks;
    struct thread *threads; /* [THREADS_MAX] */
    uint32_t count;
    bool ended;             /* the bottom was returned to */
    bool failed;            /* a bound was reached */
    uint64_t *work_left;    /* shared with whoever else works for the same answer */
    struct thread *visited; /* [THREADS_SLOTS] */
    uint32_t *stamps;       /* [THREADS_SLOTS] a slot is in use if it has the set's */
    uint32_t stamp, visited_count;
    struct thread *pending; /* [THREADS_VISITED_MAX] */
};

bool thread_set_open(struct thread_set *set, const struct automaton *automaton,
                     struct stacks *stacks, uint64_t *work_left); /* false: no memory */
void thread_set_close(struct thread_set *set);                    /* accepts a zeroed one */
void thread_set_begin(struct thread_set *set);                    /* empties it */
/* Adds the threads that are reached from `node` on `stack` without taking a byte. */
void thread_set_add(struct thread_set *set, uint32_t node, uint32_t stack);
/* Adds what becomes of a thread that takes `byte`. */
void thread_set_step(struct thread_set *set, const struct thread *thread, uint8_t byte);
/* Orders the threads by stack, node and detail. */
void thread_set_sort(struct thread_set *set);

#ifdef __cplusplus
}
#endif
#endif
