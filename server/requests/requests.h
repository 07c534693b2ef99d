/* The requests that were accepted and have not ended, whichever front door they came through.
 *
 * A service (gRPC, HTTP) decodes a request, submits it here and names who wants to hear of it: its
 * sink. From then on events find their sink by the request's number. Kept here, once for all doors:
 * numbers, the count of live requests that a drain waits for, clients that read nothing, the log
 * lines of ends, the figures of requests (metrics). Front thread only.
 *
 * Back-pressure: a service whose client does not keep up calls requests_pause; at most the events
 * already queued and one step more arrive meanwhile. A client that reads nothing for
 * stall_timeout_s loses its request. */
#ifndef MOERING_SERVER_REQUESTS_REQUESTS_H
#define MOERING_SERVER_REQUESTS_REQUESTS_H

#include "server/requests/engine_thread.h"

#ifdef __cplusplus
extern "C" {
#endif

struct requests;
struct request_metrics;

#define REQUEST_NAME_BYTES_MAX 128

struct requests_config {
    const char *served_name;         /* NULL: the model's own name */
    uint32_t stall_timeout_s;
    struct request_metrics *metrics; /* borrowed; NULL: nobody counts */
    bool seeded;   /* requests without a seed get `seed` + their number, so that the same */
    uint64_t seed; /* requests in the same order have the same answers; else a random one */
};

enum request_cut_off { REQUEST_STALLED, REQUEST_SHUTDOWN };

/* Who hears of a request. Both are called on the front thread. */
struct request_sink {
    /* Output, or with `finish` the end, after which the sink hears nothing more. */
    void (*event)(void *arg, const struct request_event *event);
    /* The server ends it: the last call. */
    void (*cut_off)(void *arg, enum request_cut_off cause, const char *why);
    void *arg;
};

enum status requests_open(struct requests **out, const struct requests_config *config,
                          struct error *error);
void requests_close(struct requests *requests); /* accepts NULL; none may be live (CHECKed) */
/* Before the event loop runs. Borrowed. */
void requests_attach(struct requests *requests, struct engine_thread *engine);

/* The engine if it can take work, else NULL and a sentence in why[REQUESTS_WHY_BYTES]: loading
 * (with progress), failed, draining. */
#define REQUESTS_WHY_BYTES 256
const struct engine *requests_engine(const struct requests *requests, char *why);
const char *requests_model_name(const struct requests *requests); /* READY */

/* A request with a number of its own, to be filled and submitted, or closed. NULL: out of
 * memory. */
struct request *requests_new(struct requests *requests);
/* OK: accepted; the request is the engine thread's. FULL: no room in the queue (--max-queue);
 * NO_MEMORY: both leave it to the caller. `name`: the client's own for it, for the log; at most
 * REQUEST_NAME_BYTES_MAX are kept, and what is not printable is replaced. */
enum status requests_submit(struct requests *requests, struct request *request,
                            const struct request_sink *sink, const char *name);
/* The client does not read (or does again). Ignored for one that has ended. */
void requests_pause(struct requests *requests, uint64_t id, bool paused);
/* The client has gone, or its deadline has: the sink hears nothing more. Ignored for one that has
 * ended. */
void requests_cancel(struct requests *requests, uint64_t id, const char *why);

/* Hands on what the engine thread has posted about a request. The event stays the caller's. */
void requests_event(struct requests *requests, const struct request_event *event);
void requests_tick(struct requests *requests, uint64_t now_ns); /* cuts off stalled clients */
void requests_drain(struct requests *requests); /* new work is refused from now on */
bool requests_draining(const struct requests *requests);
uint32_t requests_live(const struct requests *requests);
uint64_t requests_rejected(const struct requests *requests);    /* no room in the queue */
uint32_t requests_cut_off(struct requests *requests);           /* ends all; how many there were */

#ifdef __cplusplus
}
#endif
#endif
