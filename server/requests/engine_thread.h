/* The one thread that owns the engine, and the two queues between it and the front.
 *
 *     front -- submit, cancel, pause, resume, resize, stop --> submit queue --> engine thread
 *     front <--- events: output, ends, state changes --- event queue <---- engine thread
 *
 * Neither side ever waits for room in the other's queue, so they cannot lock each other out:
 *  - a submit or a resize that finds no room is refused (FULL: the client sees
 *    RESOURCE_EXHAUSTED); the other messages wait in a backlog of the front until
 *    engine_thread_flush finds room;
 *  - an event that finds no room stays with its request, whose next output is added to it.
 *
 * The thread opens the model itself, so that the port can be open from the first moment. Everything
 * below is called by the front thread; state, stats and engine may be read by any. */
#ifndef MOERING_SERVER_REQUESTS_ENGINE_THREAD_H
#define MOERING_SERVER_REQUESTS_ENGINE_THREAD_H

#include "server/requests/batcher.h"

#ifdef __cplusplus
extern "C" {
#endif

struct engine_thread;

enum engine_state { ENGINE_LOADING, ENGINE_READY, ENGINE_FAILED };

struct engine_thread_config {
    struct engine_config engine; /* progress and budget_line are called on the engine thread; the
                                    first is wrapped, so leave it NULL */
    uint32_t max_queue;
    uint32_t submit_capacity;    /* messages; 0: max_queue + max_num_seqs + 64 */
    uint32_t event_capacity;     /* 0: 1024 */
};

/* One consistent picture, taken between two steps. */
struct engine_thread_stats {
    double progress;             /* of loading, 0..1 */
    char phase[40];
    struct batcher_stats batcher;
};

/* Starts the thread. The strings in config->engine must outlive it. NO_MEMORY, IO. */
enum status engine_thread_open(struct engine_thread **out,
                               const struct engine_thread_config *config, struct error *error);
/* Stops after the step under way, drops every request and joins. While LOADING it waits for the
 * load to end. Accepts NULL. */
void engine_thread_close(struct engine_thread *thread);

enum engine_state engine_thread_state(const struct engine_thread *thread);
const char *engine_thread_error(const struct engine_thread *thread); /* the sentence, once FAILED */
/* NULL until READY. Only for engine_info, engine_tokenizer and engine_stats_read. */
const struct engine *engine_thread_engine(const struct engine_thread *thread);
void engine_thread_stats_read(const struct engine_thread *thread, struct engine_thread_stats *out);

/* OK: the thread owns the request now and will post its end. FULL: it is still the caller's. */
enum status engine_thread_submit(struct engine_thread *thread, struct request *request);
/* No event of it will be made from the next step on; those already queued still come. */
void engine_thread_cancel(struct engine_thread *thread, uint64_t id);
void engine_thread_pause(struct engine_thread *thread, uint64_t id, bool paused);
/* Gives the engine another budget between two steps (batcher_resize). `change` is of
 * request_event_open_change and comes back as an event when it is done, with status and error
 * filled in. FULL: it is still the caller's. While the model is loading it waits for the end of
 * that. */
enum status engine_thread_resize(struct engine_thread *thread, struct request_event *change);
/* Sends what waits in the backlog; call it now and then. */
void engine_thread_flush(struct engine_thread *thread);

/* Readable while events are there; -1: the system refused one. */
int engine_thread_fd(struct engine_thread *thread);
/* The next event, now the caller's (request_event_close), or NULL. */
struct request_event *engine_thread_next(struct engine_thread *thread);

#ifdef __cplusplus
}
#endif
#endif
