/* Reads on a pool of threads, with pread: works on every file system and needs no kernel feature.
 *
 *   engine thread --submit, raise--> [places] --> N threads --> [ends] --poll--> engine thread
 *
 * A place holds one request from its submission to its end. A free thread takes the oldest one that
 * waits and may be read: any demand, or, while no demand waits or is being read, any prefetch. A
 * thread in the middle of a prefetch looks again after each read call, and when a demand has come
 * it puts the read back into its place, where it stands, and is free. So a pause costs no thread:
 * whoever pauses reads the demand himself, and one thread is enough. With a FIFO in this place a
 * demand would wait behind all prefetches handed over before it; with threads that sleep while
 * their prefetch pauses, as many prefetches as threads would leave nobody to read the demand.
 *
 * Places, and `demands` and `closing`, change under `lock` alone. A read in progress belongs to its
 * thread, which lets the lock go while storage works; only the place's `demand` may change then.
 * The ends' queue locks inside itself. The slot's bytes change hands with the request and its end.
 * Invariants: demands = places in use whose `demand` is set; the places never run out, because the
 * caller keeps within `depth`; while anything waits that may be read, a thread is awake. */
#include "memory/io.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "memory/base/check.h"
#include "memory/base/queue.h"

enum place_state { PLACE_FREE, PLACE_WAITING, PLACE_READING };

struct io_place {
    enum place_state state;
    bool demand;    /* the request's, or raised since */
    uint64_t order; /* of submission */
    struct io_reading reading;
};

struct io_thread {
    struct io io;
    io_pread_function *pread_function;
    struct queue *ends; /* struct io_done */
    pthread_mutex_t lock;
    pthread_cond_t work; /* something may be read that could not be before, or closing */
    bool lock_ready, work_ready; /* for closing a half-built one */
    bool closing;
    uint32_t demands; /* waiting and being read */
    uint32_t depth;
    uint64_t submitted;
    struct io_place *place; /* depth */
    uint32_t threads;       /* running */
    pthread_t thread[];
};

static bool may_read(const struct io_thread *self, const struct io_place *place)
{
    return place->demand || self->demands == 0;
}

/* The oldest that waits and may be read; NULL: none. The depth is small, so a look at each will do.
 * The lock is held. */
static struct io_place *next_place(struct io_thread *self)
{
    struct io_place *next = NULL;
    for (uint32_t i = 0; i < self->depth; i++) {
        struct io_place *place = &self->place[i];
        if (place->state == PLACE_WAITING && may_read(self, place) &&
            (!next || place->order < next->order))
            next = place;
    }
    return next;
}

/* Reads on until the page is there, the read fails or it has to give way. The lock is held, but not
 * while storage works. */
static void read_place(struct io_thread *self, struct io_place *place)
{
    bool more = true;
    place->state = PLACE_READING;
    while (more && may_read(self, place)) {
        uint64_t bytes = place->demand ? UINT64_MAX : IO_CHUNK_BYTES;
        pthread_mutex_unlock(&self->lock);
        more = io_reading_step(&place->reading, self->pread_function, bytes);
        pthread_mutex_lock(&self->lock);
    }
    if (more) {
        place->state = PLACE_WAITING;
        return;
    }
    place->state = PLACE_FREE;
    if (place->demand && --self->demands == 0)
        pthread_cond_broadcast(&self->work); /* every prefetch may go on */
    CHECK(queue_push(self->ends, &place->reading.done) == STATUS_OK);
}

static void *run(void *arg)
{
    struct io_thread *self = arg;
    pthread_mutex_lock(&self->lock);
    for (;;) {
        struct io_place *place = next_place(self);
        if (place)
            read_place(self, place);
        else if (self->closing)
            break;
        else
            pthread_cond_wait(&self->work, &self->lock);
    }
    pthread_mutex_unlock(&self->lock);
    return NULL;
}

static void thread_submit(struct io *io, const struct io_request *request)
{
    struct io_thread *self = (struct io_thread *)io;
    struct io_place *place = self->place;
    pthread_mutex_lock(&self->lock);
    while (place < self->place + self->depth && place->state != PLACE_FREE)
        place++;
    CHECK(place < self->place + self->depth);
    place->state = PLACE_WAITING;
    place->demand = request->demand;
    place->order = self->submitted++;
    io_reading_begin(&place->reading, request);
    self->demands += request->demand;
    pthread_cond_signal(&self->work);
    pthread_mutex_unlock(&self->lock);
}

static void thread_raise(struct io *io, uint32_t tag)
{
    struct io_thread *self = (struct io_thread *)io;
    pthread_mutex_lock(&self->lock);
    for (uint32_t i = 0; i < self->depth; i++) {
        struct io_place *place = &self->place[i];
        if (place->state == PLACE_FREE || place->reading.request.tag != tag || place->demand)
            continue;
        place->demand = true;
        self->demands++;
        pthread_cond_signal(&self->work); /* it may have been waiting for other demands to end */
    }
    pthread_mutex_unlock(&self->lock);
}

static bool thread_poll(struct io *io, struct io_done *done, uint64_t wait_ns)
{
    return queue_pop_wait(((struct io_thread *)io)->ends, done, wait_ns);
}

static void thread_close(struct io *io)
{
    struct io_thread *self = (struct io_thread *)io;
    if (self->threads > 0) {
        pthread_mutex_lock(&self->lock);
        self->closing = true;
        pthread_cond_broadcast(&self->work);
        pthread_mutex_unlock(&self->lock);
    }
    for (uint32_t i = 0; i < self->threads; i++)
        pthread_join(self->thread[i], NULL);
    if (self->work_ready)
        pthread_cond_destroy(&self->work);
    if (self->lock_ready)
        pthread_mutex_destroy(&self->lock);
    queue_close(self->ends);
    free(self->place);
    free(self);
}

static const struct io_ops thread_ops = {
    .name = "thread",
    .submit = thread_submit,
    .raise = thread_raise,
    .poll = thread_poll,
    .close = thread_close,
};

/* With all signals blocked: they are the main thread's. An errno. */
static int start(struct io_thread *self)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int cause = pthread_create(&self->thread[self->threads], NULL, run, self);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (cause == 0)
        self->threads++;
    return cause;
}

enum status io_thread_open(struct io **out, uint32_t threads, uint32_t depth,
                           io_pread_function *pread_function, struct error *error)
{
    CHECK(threads > 0 && depth > 0);
    *out = NULL;
    enum status status;
    struct io_thread *self = calloc(1, sizeof *self + threads * sizeof self->thread[0]);
    if (!self)
        return error_set(error, STATUS_NO_MEMORY, "no memory for %u IO threads", threads);
    self->io.ops = &thread_ops;
    self->pread_function = pread_function;
    self->depth = depth;
    self->place = calloc(depth, sizeof *self->place);
    self->lock_ready = pthread_mutex_init(&self->lock, NULL) == 0;
    self->work_ready = pthread_cond_init(&self->work, NULL) == 0;
    if (!self->place || !self->lock_ready || !self->work_ready) {
        status = error_set(error, STATUS_NO_MEMORY, "no memory for %u reads at once", depth);
        goto fail;
    }
    status = queue_open(&self->ends, sizeof(struct io_done), depth, error);
    if (status)
        goto fail;
    for (uint32_t i = 0; i < threads; i++) {
        int cause = start(self);
        if (cause) {
            status = error_set(error, STATUS_IO, "cannot start IO thread %u of %u: %s", i + 1,
                               threads, strerror(cause));
            goto fail;
        }
    }
    *out = &self->io;
    return STATUS_OK;
fail:
    thread_close(&self->io);
    return status;
}
