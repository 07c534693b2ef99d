/* Reads on a pool of threads, with pread: works on every file system and needs no kernel feature.
 *
 *   engine thread --submit--> [requests] --> N threads: io_read --> [ends] --poll--> engine thread
 *
 * Both queues lock inside themselves; there is no other shared state, and the slot's bytes change
 * hands with the request and its end. The threads finish by a request that names no page, one for
 * each. Invariant: the queues never fill, because the caller keeps within `depth`. */
#include "memory/io.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "memory/base/check.h"
#include "memory/base/queue.h"

struct io_thread {
    struct io io;
    struct queue *requests; /* struct io_request */
    struct queue *ends;     /* struct io_done */
    uint32_t threads;       /* running */
    pthread_t thread[];
};

static void *run(void *arg)
{
    struct io_thread *self = arg;
    struct io_request request;
    while (queue_pop_wait(self->requests, &request, QUEUE_WAIT_FOREVER)) {
        if (request.page == PAGE_NONE)
            break;
        struct io_done done;
        io_read(&request, pread, &done);
        CHECK(queue_push(self->ends, &done) == STATUS_OK);
    }
    return NULL;
}

static void thread_submit(struct io *io, const struct io_request *request)
{
    struct io_thread *self = (struct io_thread *)io;
    CHECK(request->page != PAGE_NONE);
    CHECK(queue_push(self->requests, request) == STATUS_OK);
}

static bool thread_poll(struct io *io, struct io_done *done, uint64_t wait_ns)
{
    return queue_pop_wait(((struct io_thread *)io)->ends, done, wait_ns);
}

static void thread_close(struct io *io)
{
    struct io_thread *self = (struct io_thread *)io;
    for (uint32_t i = 0; i < self->threads; i++)
        CHECK(queue_push(self->requests, &(struct io_request){.page = PAGE_NONE}) == STATUS_OK);
    for (uint32_t i = 0; i < self->threads; i++)
        pthread_join(self->thread[i], NULL);
    queue_close(self->requests);
    queue_close(self->ends);
    free(self);
}

static const struct io_ops thread_ops = {
    .name = "thread",
    .submit = thread_submit,
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

enum status io_thread_open(struct io **out, uint32_t threads, uint32_t depth, struct error *error)
{
    CHECK(threads > 0 && depth > 0);
    *out = NULL;
    struct io_thread *self = calloc(1, sizeof *self + threads * sizeof self->thread[0]);
    if (!self)
        return error_set(error, STATUS_NO_MEMORY, "no memory for %u IO threads", threads);
    self->io.ops = &thread_ops;
    enum status status =
        queue_open(&self->requests, sizeof(struct io_request), depth + threads, error);
    if (status == STATUS_OK)
        status = queue_open(&self->ends, sizeof(struct io_done), depth, error);
    for (uint32_t i = 0; i < threads && status == STATUS_OK; i++) {
        int cause = start(self);
        if (cause)
            status = error_set(error, STATUS_IO, "cannot start IO thread %u of %u: %s", i + 1,
                               threads, strerror(cause));
    }
    if (status) {
        thread_close(&self->io);
        return status;
    }
    *out = &self->io;
    return STATUS_OK;
}
