/* Sets of threads with names: a deterministic automaton that is found as far as it is walked.
 *
 * Walking the trie takes the same steps over and over, so a set of threads that was met once
 * becomes a configuration with a number, and its steps by class of bytes are remembered. Stacks are
 * relative here: their bottom is the stack of whoever asks, whatever it is, so what is found serves
 * at every depth of the text. Configuration 0 is dead. Memory is bounded: a walk that would exceed
 * CONFIGS_BYTES_MAX fails, and the owner forgets everything between walks once more than
 * CONFIGS_BYTES_KEPT are used. */
#ifndef MOERING_ENGINE_GRAMMAR_CONFIGS_H
#define MOERING_ENGINE_GRAMMAR_CONFIGS_H

#include "engine/grammar/threads.h"

#ifdef __cplusplus
extern "C" {
#endif

#define CONFIGS_DEAD 0u
#define CONFIGS_FAILED UINT32_MAX /* out of memory, or a bound of thread_set */
#define CONFIGS_BYTES_KEPT (8u << 20)
#define CONFIGS_BYTES_MAX (64u << 20)

struct config {
    uint32_t first, count; /* its threads */
    uint32_t row;          /* of steps; UINT32_MAX: none was taken yet */
    uint32_t found; /* for the owner: what it knows of this configuration; UINT32_MAX: nothing */
    uint32_t loop;  /* the same for loops.h */
    bool ended;     /* the bottom was returned to */
};

struct configs {
    const struct automaton *automaton;
    struct stacks stacks;
    struct thread_set set;
    struct config *configs;
    uint32_t config_count, config_capacity;
    struct thread *threads;
    uint32_t thread_count, thread_capacity;
    uint32_t *steps; /* [rows][class_count]: a configuration, or UINT32_MAX: not known yet */
    uint32_t step_count, step_capacity;
    uint32_t *table; /* configurations by hash of their threads; 0: free */
    uint32_t table_size;
};

bool configs_open(struct configs *configs, const struct automaton *automaton, uint64_t *work_left);
void configs_close(struct configs *configs);         /* accepts a zeroed one */
void configs_reset(struct configs *configs);         /* forgets all numbers */
size_t configs_bytes(const struct configs *configs); /* in use */
/* The configuration of the threads in `configs->set`, which it sorts. */
uint32_t configs_name(struct configs *configs);
/* That of the threads reached from `node` on the bottom. */
uint32_t configs_start(struct configs *configs, uint32_t node);
uint32_t configs_take(struct configs *configs, uint32_t config, uint8_t byte); /* the slow way */

static inline uint32_t configs_step(struct configs *configs, uint32_t config, uint8_t byte)
{
    uint32_t row = configs->configs[config].row;
    if (row != UINT32_MAX) {
        uint32_t next = configs->steps[row + configs->automaton->class_of[byte]];
        if (next != UINT32_MAX)
            return next;
    }
    return configs_take(configs, config, byte);
}

#ifdef __cplusplus
}
#endif
#endif
