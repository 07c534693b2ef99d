/* What can be reached from a configuration within one token: walks over the trie.
 *
 * The answer has two parts. Tokens that are taken whole are the same whatever stack lies below;
 * they are found as stretches of the trie's tokens, for a subtree in which a loop takes
 * everything (loops.h) is one stretch and is not walked. Where the walk came back to the bottom
 * inside a token (its trie node is an *exit*), the rest of the token belongs to the stack, so
 * the exits are handed back, and the owner walks on from them with the next cell. Answers from
 * the trie's root are kept for each configuration, as bits if they are many and as a list if
 * not. */
#ifndef MOERING_ENGINE_GRAMMAR_REACH_H
#define MOERING_ENGINE_GRAMMAR_REACH_H

#include "engine/grammar/configs.h"
#include "engine/grammar/loops.h"
#include "engine/grammar/string_table.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A list of numbers; zero-initialise, free `items`. */
struct reach_list {
    uint32_t *items;
    uint32_t count, capacity;
};

struct grammar_vocab;

struct reach_found {
    bool has_exits;   /* else nobody has asked for them */
    uint32_t *bits;   /* [words] of tokens; NULL: in the list */
    uint32_t *tokens; /* [token_count], then the exits */
    uint32_t token_count, exit_count;
    const struct string_table *table; /* of a string: its tokens belong to the answer, too; or
                                         NULL */
};

struct reach {
    struct configs configs;
    struct loops loops;
    const struct grammar_vocab *vocab;
    const struct trie *trie;           /* the vocabulary's, as the next */
    const struct string_table *tables; /* [JSON_STRING_STATES] */
    uint32_t words;                    /* of a mask */
    bool wants_exits;                  /* there is a stack below */
    uint32_t *path;                    /* [depth_max + 1] configurations of a walk */
    uint32_t *scratch;                 /* [words] */
    struct reach_list stretches; /* what the latest walks found: [first, end) of trie->tokens, */
    uint32_t token_count;              /* and how many those are */
    struct reach_list exits;           /* in the trie's order, each once */
    struct reach_list from;            /* exits of the cell before */
    struct reach_found *found;
    uint32_t found_count, found_capacity;
    size_t found_bytes;
};

bool reach_open(struct reach *reach, const struct automaton *automaton,
                const struct grammar_vocab *vocab, uint64_t *work_left);
void reach_close(struct reach *reach); /* accepts a zeroed one */
/* Forgets what was found if it is more than shall be kept. Numbers of configurations change. */
void reach_trim(struct reach *reach);

/* Sets the bits of all tokens that the threads of one stack can take; `stacks` holds the cells of
 * `stack`. One thread, or
 * threads none of which is inside a JSON string, is the fast way. False: no memory or a bound was
 * reached. */
bool reach_mark(struct reach *reach, const struct thread *threads, uint32_t count,
                const struct stacks *stacks, uint32_t *bits);

#ifdef __cplusplus
}
#endif
#endif
