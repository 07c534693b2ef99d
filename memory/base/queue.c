/* A circle of items under one mutex.
 *
 * The eventfd mirrors "count > 0" and changes only under the mutex, at the edges 0 -> 1 and 1 -> 0:
 * one system call per burst, and no wake-up can be lost between a look at the queue and a wait.
 * Without queue_fd no system call is made beyond the condition's own.
 * Invariant: count <= capacity, and fd (where there is one) is readable iff count > 0. */
#include "memory/base/queue.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "memory/base/bytes.h"
#include "memory/base/check.h"
#include "memory/base/clock.h"

struct queue {
    pthread_mutex_t lock;
    pthread_cond_t filled;
    bool lock_ready, filled_ready; /* for closing a half-built queue */
    int fd;                        /* -1 until queue_fd */
    size_t item_bytes;
    uint32_t capacity;
    uint32_t head;  /* the oldest item */
    uint32_t count;
    uint8_t *items; /* capacity x item_bytes */
};

/* The condition waits by the monotonic clock: setting the date must not stretch a wait. */
static bool condition_open(pthread_cond_t *condition)
{
    pthread_condattr_t attributes;
    if (pthread_condattr_init(&attributes) != 0)
        return false;
    bool ok = pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0 &&
              pthread_cond_init(condition, &attributes) == 0;
    pthread_condattr_destroy(&attributes);
    return ok;
}

enum status queue_open(struct queue **out, size_t item_bytes, uint32_t capacity,
                       struct error *error)
{
    CHECK(item_bytes > 0 && capacity > 0);
    *out = NULL;
    uint64_t bytes;
    struct queue *queue = calloc(1, sizeof *queue);
    if (!queue)
        goto fail;
    queue->fd = -1;
    queue->item_bytes = item_bytes;
    queue->capacity = capacity;
    if (!bytes_mul(item_bytes, capacity, &bytes))
        goto fail;
    queue->items = malloc(bytes);
    queue->lock_ready = pthread_mutex_init(&queue->lock, NULL) == 0;
    queue->filled_ready = condition_open(&queue->filled);
    if (!queue->items || !queue->lock_ready || !queue->filled_ready)
        goto fail;
    *out = queue;
    return STATUS_OK;
fail:
    queue_close(queue);
    return error_set(error, STATUS_NO_MEMORY, "cannot make a queue of %u items of %zu bytes",
                     capacity, item_bytes);
}

void queue_close(struct queue *queue)
{
    if (!queue)
        return;
    if (queue->filled_ready)
        pthread_cond_destroy(&queue->filled);
    if (queue->lock_ready)
        pthread_mutex_destroy(&queue->lock);
    if (queue->fd >= 0)
        close(queue->fd);
    free(queue->items);
    free(queue);
}

/* The eventfd is non-blocking and its counter 0 or 1, so neither call can wait or overflow. */
static void fd_raise(const struct queue *queue)
{
    uint64_t one = 1;
    ssize_t n;
    do
        n = write(queue->fd, &one, sizeof one);
    while (n < 0 && errno == EINTR);
    CHECK(n == sizeof one);
}

static void fd_lower(const struct queue *queue)
{
    uint64_t value;
    ssize_t n;
    do
        n = read(queue->fd, &value, sizeof value);
    while (n < 0 && errno == EINTR);
    CHECK(n == sizeof value);
}

enum status queue_push(struct queue *queue, const void *item)
{
    pthread_mutex_lock(&queue->lock);
    bool room = queue->count < queue->capacity;
    if (room) {
        uint32_t at = (uint32_t)(((uint64_t)queue->head + queue->count) % queue->capacity);
        memcpy(queue->items + (size_t)at * queue->item_bytes, item, queue->item_bytes);
        if (queue->count++ == 0 && queue->fd >= 0)
            fd_raise(queue);
        pthread_cond_signal(&queue->filled);
    }
    pthread_mutex_unlock(&queue->lock);
    return room ? STATUS_OK : STATUS_FULL;
}

/* The lock is held. */
static bool take(struct queue *queue, void *item)
{
    if (queue->count == 0)
        return false;
    memcpy(item, queue->items + (size_t)queue->head * queue->item_bytes, queue->item_bytes);
    queue->head = (queue->head + 1) % queue->capacity;
    if (--queue->count == 0 && queue->fd >= 0)
        fd_lower(queue);
    return true;
}

bool queue_pop(struct queue *queue, void *item)
{
    pthread_mutex_lock(&queue->lock);
    bool taken = take(queue, item);
    pthread_mutex_unlock(&queue->lock);
    return taken;
}

bool queue_pop_wait(struct queue *queue, void *item, uint64_t wait_ns)
{
    uint64_t until_ns = 0;
    bool forever = wait_ns == QUEUE_WAIT_FOREVER ||
                   !bytes_add(wait_ns == 0 ? 0 : clock_now_ns(), wait_ns, &until_ns);
    struct timespec until = {.tv_sec = (time_t)(until_ns / 1000000000u),
                             .tv_nsec = (long)(until_ns % 1000000000u)};
    int waited = 0;
    pthread_mutex_lock(&queue->lock);
    while (queue->count == 0 && wait_ns > 0 && waited == 0)
        waited = forever ? pthread_cond_wait(&queue->filled, &queue->lock)
                         : pthread_cond_timedwait(&queue->filled, &queue->lock, &until);
    bool taken = take(queue, item);
    pthread_mutex_unlock(&queue->lock);
    return taken;
}

uint32_t queue_length(struct queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    uint32_t count = queue->count;
    pthread_mutex_unlock(&queue->lock);
    return count;
}

int queue_fd(struct queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    if (queue->fd < 0) {
        queue->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        if (queue->fd >= 0 && queue->count > 0)
            fd_raise(queue);
    }
    int fd = queue->fd;
    pthread_mutex_unlock(&queue->lock);
    return fd;
}
