/* A bounded queue of equal items between threads: any number of producers, one consumer (several
 * consumers are safe too, as long as none of them relies on queue_fd). A mutex and a condition are
 * inside, both private.
 *
 * Bounded and never blocking for producers: who pushes into a FULL queue decides what that means.
 * The consumer waits on the condition (queue_pop_wait) or in an event loop (queue_fd). */
#ifndef MOERING_MEMORY_BASE_QUEUE_H
#define MOERING_MEMORY_BASE_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "memory/base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

struct queue;

#define QUEUE_WAIT_FOREVER UINT64_MAX

/* Room for `capacity` items of `item_bytes` each, allocated here and never again. Both > 0.
 * NO_MEMORY. */
enum status queue_open(struct queue **out, size_t item_bytes, uint32_t capacity,
                       struct error *error);
/* No thread may use the queue any more. Items left in it are dropped. Accepts NULL. */
void queue_close(struct queue *queue);

/* Copies an item in. OK, or FULL: nothing changed. Never waits for room. */
enum status queue_push(struct queue *queue, const void *item);
/* Copies the oldest item out. False: empty. */
bool queue_pop(struct queue *queue, void *item);
/* The same, waiting up to `wait_ns` for an item (QUEUE_WAIT_FOREVER: without end). */
bool queue_pop_wait(struct queue *queue, void *item, uint64_t wait_ns);
uint32_t queue_length(struct queue *queue);

/* A descriptor that is readable exactly while items are there; for epoll and friends, never to be
 * read or closed by the caller. Made at the first call; -1: the system refused one. */
int queue_fd(struct queue *queue);

#ifdef __cplusplus
}
#endif
#endif
