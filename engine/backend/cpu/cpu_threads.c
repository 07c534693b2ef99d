/* The fork-join pool. Owns threads and nothing else: between two runs a worker holds no data.
 *
 * A run is published in one 64-bit word, `claims`: the run's generation above, the parts not yet
 * taken below. Whoever lowers the count owns the part it took away. Since generation and count
 * change together, a worker that wakes up late, or is put aside by the kernel in the middle of a
 * claim, cannot take a part of another run with the job of this one: its exchange fails. Nobody
 * waits for workers that took nothing, so on a crowded machine a run lasts as long as the work, not
 * as long as the slowest wake-up.
 *
 * Waiting is a spin, then sleep, because the machine belongs to others too. The spin outlasts what
 * lies between two operations of a layer, and between two layers (SPIN_NS): waking a sleeper costs
 * both sides a system call and takes longer than many an operation. Where spins do not meet
 * anything, as with more threads than processors, each is half as long as the one before, down to a
 * few microseconds; the first that meets something restores them. (Offering the processor at every
 * turn of the spin, sched_yield, was worse on a loaded machine: it comes back a time slice later, a
 * sleeper at once.) Sleepers announce themselves before they look at the word a last time,
 * publishers write the word before they look for sleepers; both orders are sequentially consistent,
 * so one of the two always sees the other and no wake-up is lost.
 *
 * Invariant: job fields change only while `unfinished` is 0 and no part is left to claim. */
#include "engine/backend/cpu/cpu_threads.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "memory/base/check.h"
#include "memory/base/clock.h"

#define SPIN_NS 50000
#define PAUSES 64 /* 40 to 140 cycles each: some microseconds, the shortest spin */

struct cpu_threads {
    _Alignas(64) atomic_uint_fast64_t claims; /* generation << 32 | parts left to claim */
    _Atomic(void (*)(void *, uint32_t, uint32_t)) work;
    _Atomic(void *) arg;
    _Alignas(64) atomic_uint unfinished; /* parts of this run that have not returned */
    atomic_uint sleepers;                /* workers asleep or about to be */
    atomic_bool caller_sleeps;
    atomic_bool closing;

    pthread_mutex_t mutex; /* guards sleeping only */
    pthread_cond_t published;
    pthread_cond_t finished;

    uint64_t spin_ns; /* the caller's */
    uint32_t count;   /* the caller included */
    uint32_t started; /* workers that exist, for close() of a half-built pool */
    struct worker {
        pthread_t thread;
        struct cpu_threads *pool;
        uint32_t number; /* 1 .. count - 1 */
    } workers[];
};

static void pause_briefly(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static bool parts_left(struct cpu_threads *pool)
{
    return (uint32_t)atomic_load(&pool->claims) != 0;
}

/* Waits until `until` holds; false: it did not for as long as a spin lasts, at present *spin_ns. */
static bool spin(struct cpu_threads *pool, bool (*until)(struct cpu_threads *pool),
                 uint64_t *spin_ns)
{
    uint64_t end = 0;
    do {
        for (int i = 0; i < PAUSES; i++) {
            if (until(pool)) {
                *spin_ns = SPIN_NS;
                return true;
            }
            pause_briefly();
        }
        end = end > 0 ? end : clock_now_ns() + *spin_ns;
    } while (clock_now_ns() < end);
    *spin_ns /= 2;
    return until(pool);
}

static bool all_finished(struct cpu_threads *pool)
{
    return atomic_load(&pool->unfinished) == 0;
}

static bool something_to_do(struct cpu_threads *pool)
{
    return parts_left(pool) || atomic_load(&pool->closing);
}

static void finish_part(struct cpu_threads *pool)
{
    if (atomic_fetch_sub(&pool->unfinished, 1) != 1 || !atomic_load(&pool->caller_sleeps))
        return;
    pthread_mutex_lock(&pool->mutex);
    pthread_cond_signal(&pool->finished);
    pthread_mutex_unlock(&pool->mutex);
}

/* Takes parts of the present run until none is left. */
static void take_parts(struct cpu_threads *pool, uint32_t worker)
{
    uint_fast64_t seen = atomic_load_explicit(&pool->claims, memory_order_acquire);
    while ((uint32_t)seen != 0) {
        /* Read before the claim; a claim that succeeds proves that they were this run's. */
        void (*work)(void *, uint32_t, uint32_t) =
            atomic_load_explicit(&pool->work, memory_order_relaxed);
        void *arg = atomic_load_explicit(&pool->arg, memory_order_relaxed);
        if (!atomic_compare_exchange_weak_explicit(&pool->claims, &seen, seen - 1,
                                                   memory_order_acq_rel, memory_order_acquire))
            continue;
        work(arg, (uint32_t)seen - 1, worker);
        finish_part(pool);
        seen = atomic_load_explicit(&pool->claims, memory_order_acquire);
    }
}

static void sleep_until_published(struct cpu_threads *pool)
{
    pthread_mutex_lock(&pool->mutex);
    atomic_fetch_add(&pool->sleepers, 1);
    while (!something_to_do(pool))
        pthread_cond_wait(&pool->published, &pool->mutex);
    atomic_fetch_sub(&pool->sleepers, 1);
    pthread_mutex_unlock(&pool->mutex);
}

static void *worker_main(void *p)
{
    struct worker *self = p;
    struct cpu_threads *pool = self->pool;
    uint64_t spin_ns = SPIN_NS;
    pthread_setname_np(pthread_self(), "moering-cpu"); /* what top -H shows */
    while (!atomic_load(&pool->closing)) {
        take_parts(pool, self->number);
        if (!spin(pool, something_to_do, &spin_ns))
            sleep_until_published(pool);
    }
    return NULL;
}

static void wake_workers(struct cpu_threads *pool, uint32_t wanted)
{
    if (atomic_load(&pool->sleepers) == 0)
        return;
    pthread_mutex_lock(&pool->mutex);
    if (wanted >= atomic_load(&pool->sleepers)) {
        pthread_cond_broadcast(&pool->published);
    } else {
        for (uint32_t i = 0; i < wanted; i++)
            pthread_cond_signal(&pool->published);
    }
    pthread_mutex_unlock(&pool->mutex);
}

static void wait_finished(struct cpu_threads *pool)
{
    if (spin(pool, all_finished, &pool->spin_ns))
        return;
    pthread_mutex_lock(&pool->mutex);
    atomic_store(&pool->caller_sleeps, true);
    while (!all_finished(pool))
        pthread_cond_wait(&pool->finished, &pool->mutex);
    atomic_store(&pool->caller_sleeps, false);
    pthread_mutex_unlock(&pool->mutex);
}

void cpu_threads_run(struct cpu_threads *pool,
                     void (*work)(void *arg, uint32_t part, uint32_t worker), void *arg,
                     uint32_t parts)
{
    if (parts <= 1 || pool->count == 1) {
        while (parts-- > 0)
            work(arg, parts, 0);
        return;
    }
    DCHECK(atomic_load(&pool->unfinished) == 0 && !parts_left(pool));
    atomic_store_explicit(&pool->work, work, memory_order_relaxed);
    atomic_store_explicit(&pool->arg, arg, memory_order_relaxed);
    atomic_store_explicit(&pool->unfinished, parts, memory_order_relaxed);
    uint_fast64_t generation = (atomic_load(&pool->claims) >> 32) + 1;
    atomic_store(&pool->claims, generation << 32 | parts);
    wake_workers(pool, parts - 1);
    take_parts(pool, 0);
    wait_finished(pool);
}

uint32_t cpu_threads_count(const struct cpu_threads *pool)
{
    return pool->count;
}

uint32_t cpu_threads_allowed(uint32_t count)
{
    cpu_set_t set;
    if (count == 0)
        count = sched_getaffinity(0, sizeof set, &set) == 0 ? (uint32_t)CPU_COUNT(&set) : 1;
    return count == 0 ? 1 : count > CPU_THREADS_MAX ? CPU_THREADS_MAX : count;
}

/* Workers take no signals: those are for the thread that handles them. */
static int start_worker(struct worker *worker)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&worker->thread, NULL, worker_main, worker);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failed;
}

enum status cpu_threads_open(struct cpu_threads **out, uint32_t count, struct error *error)
{
    *out = NULL;
    count = cpu_threads_allowed(count);
    size_t bytes = sizeof(struct cpu_threads) + count * sizeof(struct worker);
    struct cpu_threads *pool = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (!pool)
        return error_set(error, STATUS_NO_MEMORY, "no memory for %u compute threads", count);
    memset(pool, 0, bytes);
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->published, NULL);
    pthread_cond_init(&pool->finished, NULL);
    pool->count = count;
    pool->spin_ns = SPIN_NS;
    for (uint32_t i = 1; i < count; i++) {
        struct worker *worker = &pool->workers[i];
        worker->pool = pool;
        worker->number = i;
        int failed = start_worker(worker);
        if (failed) {
            error_set(error, STATUS_NO_MEMORY, "cannot start compute thread %u of %u: %s", i + 1,
                      count, strerror(failed));
            goto fail;
        }
        pool->started++;
    }
    *out = pool;
    return STATUS_OK;
fail:
    cpu_threads_close(pool);
    return STATUS_NO_MEMORY;
}

void cpu_threads_close(struct cpu_threads *pool)
{
    if (!pool)
        return;
    atomic_store(&pool->closing, true);
    pthread_mutex_lock(&pool->mutex);
    pthread_cond_broadcast(&pool->published);
    pthread_mutex_unlock(&pool->mutex);
    for (uint32_t i = 1; i <= pool->started; i++)
        pthread_join(pool->workers[i].thread, NULL);
    pthread_cond_destroy(&pool->finished);
    pthread_cond_destroy(&pool->published);
    pthread_mutex_destroy(&pool->mutex);
    free(pool);
}
