/* One parse or one rendering: what it may use and how it ends early.
 *
 * Everything either of them makes lies in the arena of its run, so that giving up is one jump: a
 * failure anywhere fills the error and leaves by longjmp to whoever began the run, who closes the
 * arena. No function between owns anything else, which is the rule that makes the jump safe; no
 * value has to be tested for "failed" on its way up. Three budgets bound what a stranger's
 * template may do: fuel (steps, and the bytes and items a step looks at), memory of the arena
 * (and of one text), and depth of nesting. Of one thread at a time. */
#ifndef MOERING_ENGINE_TEMPLATE_RUN_H
#define MOERING_ENGINE_TEMPLATE_RUN_H

#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>

#include "memory/base/arena.h"
#include "memory/base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

struct run_limits {
    uint64_t fuel;       /* steps */
    size_t memory_bytes; /* of the arena */
    size_t text_bytes;   /* of any one text, the output included */
    uint32_t depth;      /* of nested expressions, statements, calls and values */
};

struct run {
    struct arena arena;
    jmp_buf failed;       /* set by whoever began the run, before anything else is called */
    struct error *error;
    enum status status;   /* of the failure */
    const char *name;     /* of the template, for sentences */
    uint32_t line;        /* being read or rendered */
    uint32_t depth;
    uint64_t fuel;        /* left */
    int64_t now_s;        /* since the epoch: what strftime_now() shows */
    struct run_limits limits;
};

/* What a request's rendering may use: a second or so of one core, and memory for the longest
 * contexts. */
struct run_limits run_limits_default(void);

void run_init(struct run *run, const char *name, const struct run_limits *limits,
              struct error *error);
void run_close(struct run *run);

/* Fills the error with "NAME, line N: ..." and jumps to run->failed. */
__attribute__((noreturn, format(printf, 3, 4))) void run_fail(struct run *run, enum status status,
                                                              const char *format, ...);

/* Never NULL; memory for `count` items, not zeroed. */
void *run_alloc(struct run *run, size_t count, size_t item_bytes);

/* `steps` of work are about to be done. */
void run_charge(struct run *run, uint64_t steps);
/* The same for work that goes over `bytes` of text or so many bytes of values. */
void run_charge_bytes(struct run *run, size_t bytes);
/* The same for a search that compares `part` bytes at each of `bytes` places, should it come to
 * that. */
void run_charge_search(struct run *run, size_t bytes, size_t part);

/* Around anything that calls itself. */
void run_enter(struct run *run);
void run_leave(struct run *run);

#ifdef __cplusplus
}
#endif
#endif
