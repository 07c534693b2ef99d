/* Reads on a pool of threads, with pread: works on every file system and needs no kernel feature,
 * but O_DIRECT where the files take it.
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
 * What cannot be read straight into its slot (a landing, or a direct read that is not aligned) is
 * staged: a place takes a buffer when its read begins and gives it back at the end, pauses
 * included. Two for each thread are enough: a prefetch begins only when none pauses (the oldest
 * goes first) and no demand is under way, so at most as many as there are threads have begun at
 * once; demands never pause, so at most as many again are being read while those do.
 *
 * Places, `demands`, `closing` and the free buffers change under `lock` alone. A read in progress
 * belongs to its thread, which lets the lock go while storage works; only the place's `demand` may
 * change then. The ends' queue locks inside itself. The slot's bytes change hands with the request
 * and its end. Invariants: demands = places in use whose `demand` is set; a buffer is free or a
 * place's; the places never run out, because the caller keeps within `depth`; while anything waits
 * that may be read, a thread is awake. */
#include "memory/io.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "memory/base/bytes.h"
#include "memory/base/check.h"
#include "memory/base/queue.h"
#include "memory/pinned.h"

enum place_state { PLACE_FREE, PLACE_WAITING, PLACE_READING };

struct io_place {
    enum place_state state;
    bool demand;    /* the request's, or raised since */
    bool begun;     /* its `reading` is */
    uint64_t order; /* of submission */
    struct io_request request;
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
    const struct io_files *files;
    struct pinned stage; /* two buffers for each thread, or none */
    uint64_t stage_bytes; /* of one */
    uint8_t **stage_free; /* the first stages_free of these are */
    uint32_t stages_free;
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

static void begin_reading(struct io_thread *self, struct io_place *place)
{
    uint8_t *stage = NULL;
    if (self->stage_bytes > 0) {
        CHECK(self->stages_free > 0);
        stage = self->stage_free[--self->stages_free];
    }
    io_reading_begin(&place->reading, &place->request, self->files, stage);
    place->begun = true;
}

/* Reads on until the page is there, the read fails or it has to give way. The lock is held, but not
 * while storage works. */
static void read_place(struct io_thread *self, struct io_place *place)
{
    bool more = true;
    if (!place->begun)
        begin_reading(self, place);
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
    if (place->reading.stage)
        self->stage_free[self->stages_free++] = place->reading.stage;
    if (place->demand && --self->demands == 0)
        pthread_cond_broadcast(&self->work); /* every prefetch may go on */
    CHECK(queue_push(self->ends, &place->reading.done) == STATUS_OK);
}

static void *run(void *arg)
{
    struct io_thread *self = arg;
    pthread_setname_np(pthread_self(), "moering-io"); /* what top -H shows */
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
    place->request = *request;
    place->begun = false;
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
        if (place->state == PLACE_FREE || place->request.tag != tag || place->demand)
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
    pinned_close(&self->stage);
    free(self->stage_free);
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

static enum status open_staging(struct io_thread *self, uint32_t threads, struct error *error)
{
    uint32_t count = threads * 2;
    self->stage_bytes = bytes_align_up(io_run_stage_bytes(self->files), IO_FILES_ALIGN_MAX);
    if (self->stage_bytes == 0)
        return STATUS_OK;
    self->stage_free = calloc(count, sizeof *self->stage_free);
    if (!self->stage_free)
        return error_set(error, STATUS_NO_MEMORY, "no memory to stage %u reads", count);
    enum status status =
        pinned_open(&self->stage, count * self->stage_bytes, "staging of reads", error);
    for (; status == STATUS_OK && self->stages_free < count; self->stages_free++)
        self->stage_free[self->stages_free] =
            self->stage.base + self->stages_free * self->stage_bytes;
    return status;
}

static enum status start_all(struct io_thread *self, uint32_t threads, struct error *error)
{
    for (uint32_t i = 0; i < threads; i++) {
        int cause = start(self);
        if (cause)
            return error_set(error, STATUS_IO, "cannot start IO thread %u of %u: %s", i + 1,
                             threads, strerror(cause));
    }
    return STATUS_OK;
}

enum status io_thread_open(struct io **out, const struct io_config *config, struct error *error)
{
    uint32_t threads = config->threads, depth = config->depth;
    CHECK(threads > 0 && depth > 0);
    *out = NULL;
    enum status status;
    struct io_thread *self = calloc(1, sizeof *self + threads * sizeof self->thread[0]);
    if (!self)
        return error_set(error, STATUS_NO_MEMORY, "no memory for %u IO threads", threads);
    self->io.ops = &thread_ops;
    self->pread_function = config->pread_function ? config->pread_function : pread;
    self->files = config->files;
    self->depth = depth;
    self->place = calloc(depth, sizeof *self->place);
    self->lock_ready = pthread_mutex_init(&self->lock, NULL) == 0;
    self->work_ready = pthread_cond_init(&self->work, NULL) == 0;
    if (!self->place || !self->lock_ready || !self->work_ready) {
        status = error_set(error, STATUS_NO_MEMORY, "no memory for %u reads at once", depth);
        goto fail;
    }
    status = queue_open(&self->ends, sizeof(struct io_done), depth, error);
    if (status == STATUS_OK)
        status = open_staging(self, threads, error);
    if (status == STATUS_OK)
        status = start_all(self, threads, error);
    if (status)
        goto fail;
    self->io.staging_bytes = self->stage.bytes;
    *out = &self->io;
    return STATUS_OK;
fail:
    thread_close(&self->io);
    return status;
}
