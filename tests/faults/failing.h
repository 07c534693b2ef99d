/* Makes calls of the C library fail on demand: the n-th one that our code makes on this thread.
 *
 * The linker sends every call of malloc, strdup, pthread_create, ... in a test program's objects
 * and static libraries here (--wrap, see CMakeLists.txt). Unarmed, a call goes on to the C
 * library. Armed, the calls of this thread are counted, and the n-th answers as if the machine
 * had nothing left: NULL or ENOMEM, EAGAIN of threads, EMFILE of descriptors, EIO of reads,
 * ENOSPC of writes. Other threads are never failed, so that a count means the same in every run. */
#ifndef MOERING_TESTS_FAULTS_FAILING_H
#define MOERING_TESTS_FAULTS_FAILING_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum failing_mode {
    FAILING_ONE, /* the n-th call and no other: what follows must not take it for success */
    FAILING_ALL, /* the n-th and all after it: cleaning up must work without memory */
};

/* Which calls count. */
enum failing_kind {
    FAILING_MEMORY, /* allocations, threads, event descriptors */
    FAILING_FILES,  /* open, read, write and their like; not those that stdio makes by itself */
};

enum { FAILING_TRACE_MAX = 24 };

/* From now on until failing_disarm, this thread's calls of that kind count, and the n-th (from 1)
 * fails. */
void failing_arm(uint64_t n, enum failing_mode mode, enum failing_kind kind);
/* Returns how many calls failed. */
uint64_t failing_disarm(void);
/* Between these, calls neither count nor fail; pause returns what resume wants back. */
bool failing_pause(void);
void failing_resume(bool armed);
/* Where the first call failed, as return addresses for backtrace_symbols; returns how many. */
int failing_where(void *addresses[FAILING_TRACE_MAX]);
/* Whether jansson allocates through the same calls from now on. */
void failing_take_jansson(bool taken);

#ifdef __cplusplus
}
#endif
#endif
