/* See engine_thread.h. The stats snapshot is a sequence lock over words: the writer never waits, a
 * reader that meets a write in progress looks again. */
#include "server/requests/engine_thread.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "memory/base/check.h"
#include "memory/base/clock.h"
#include "memory/base/log.h"
#include "memory/base/queue.h"

enum message_kind {
    MESSAGE_SUBMIT, MESSAGE_CANCEL, MESSAGE_PAUSE, MESSAGE_RESUME, MESSAGE_RESIZE, MESSAGE_STOP
};

struct message {
    enum message_kind kind;
    uint64_t id;
    struct request *request; /* SUBMIT */
    struct request_event *change; /* RESIZE */
};

#define STATS_WORDS ((sizeof(struct engine_thread_stats) + 7) / 8)
#define OUTBOX_RETRY_NS 1000000u /* the event queue was full: look again so soon */

struct engine_thread {
    struct engine_thread_config config;
    pthread_t thread;
    bool started;
    struct queue *submits; /* of struct message */
    struct queue *events;  /* of struct request_event * */

    /* front's */
    struct message *backlog;
    uint32_t backlog_count, backlog_capacity;

    /* engine thread's */
    struct engine *engine;
    struct batcher *batcher;
    struct engine_thread_stats stats;
    uint32_t told_percent;
    struct request_event *changes, **changes_end; /* done, not told yet */

    /* shared: written by the engine thread, `state` last */
    struct error error;
    atomic_int state;
    atomic_uint_least32_t stats_version;
    atomic_uint_least64_t stats_words[STATS_WORDS];
};

/* ---- the snapshot ---- */

static void publish_stats(struct engine_thread *t)
{
    uint64_t words[STATS_WORDS] = {0};
    memcpy(words, &t->stats, sizeof t->stats);
    unsigned version = atomic_load_explicit(&t->stats_version, memory_order_relaxed);
    atomic_store_explicit(&t->stats_version, version + 1, memory_order_seq_cst);
    for (size_t i = 0; i < STATS_WORDS; i++)
        atomic_store_explicit(&t->stats_words[i], words[i], memory_order_seq_cst);
    atomic_store_explicit(&t->stats_version, version + 2, memory_order_seq_cst);
}

void engine_thread_stats_read(const struct engine_thread *const_thread,
                              struct engine_thread_stats *out)
{
    struct engine_thread *t = (struct engine_thread *)const_thread; /* atomic loads want it */
    uint64_t words[STATS_WORDS];
    unsigned before, after;
    do {
        before = atomic_load_explicit(&t->stats_version, memory_order_seq_cst);
        for (size_t i = 0; i < STATS_WORDS; i++)
            words[i] = atomic_load_explicit(&t->stats_words[i], memory_order_seq_cst);
        after = atomic_load_explicit(&t->stats_version, memory_order_seq_cst);
    } while ((before & 1) || before != after);
    memcpy(out, words, sizeof *out);
}

/* ---- events ---- */

/* Tells the front that the state or the progress has changed. If there is no room or no memory, it
 * finds out at its next tick. */
static void post_state(struct engine_thread *t)
{
    struct request_event *e = request_event_open(0);
    if (e && queue_push(t->events, &e) != STATUS_OK)
        request_event_close(e);
}

static void deliver(struct engine_thread *t)
{
    struct request_event *e;
    while ((e = t->changes)) {
        struct request_event *next = e->change->next; /* once pushed it is the front's */
        if (queue_push(t->events, &e) != STATUS_OK)
            break;
        t->changes = next;
    }
    if (!t->changes)
        t->changes_end = &t->changes;
    while ((e = batcher_outbox(t->batcher)) && queue_push(t->events, &e) == STATUS_OK)
        batcher_taken(t->batcher);
}

/* ---- loading ---- */

static void on_progress(void *arg, const char *phase, double fraction)
{
    struct engine_thread *t = arg;
    bool new_phase = strncmp(t->stats.phase, phase, sizeof t->stats.phase - 1) != 0;
    snprintf(t->stats.phase, sizeof t->stats.phase, "%s", phase);
    t->stats.progress = fraction < 0 ? 0 : fraction > 1 ? 1 : fraction;
    publish_stats(t);
    uint32_t percent = (uint32_t)(100 * t->stats.progress);
    if (new_phase || percent >= t->told_percent + 1) {
        t->told_percent = percent;
        post_state(t);
    }
}

/* The engine hands one argument to both: ours. The caller's goes on from here. */
static void on_budget_line(const char *text, void *arg)
{
    struct engine_thread *t = arg;
    if (t->config.engine.budget_line)
        t->config.engine.budget_line(text, t->config.engine.arg);
}

static bool load(struct engine_thread *t)
{
    struct engine_config config = t->config.engine;
    config.progress = on_progress;
    config.budget_line = on_budget_line;
    config.arg = t;
    enum status status = engine_open(&t->engine, &config, &t->error);
    if (status == STATUS_OK) {
        struct batcher_config batching = {
            .engine = t->engine,
            .max_queue = t->config.max_queue,
        };
        status = batcher_open(&t->batcher, &batching, &t->error);
    }
    if (status == STATUS_OK) {
        t->stats.progress = 1;
        t->stats.batcher = batcher_stats_read(t->batcher);
        publish_stats(t);
    }
    atomic_store_explicit(&t->state, status == STATUS_OK ? ENGINE_READY : ENGINE_FAILED,
                          memory_order_release);
    post_state(t);
    return status == STATUS_OK;
}

/* ---- the loop ---- */

/* How long to wait for a message when there is nothing to compute. */
static uint64_t patience_ns(struct engine_thread *t)
{
    if (t->changes || batcher_outbox(t->batcher))
        return OUTBOX_RETRY_NS;
    uint64_t deadline = batcher_deadline(t->batcher);
    if (!deadline)
        return QUEUE_WAIT_FOREVER;
    uint64_t now = clock_now_ns();
    return deadline > now ? deadline - now : 1;
}

static void resize(struct engine_thread *t, struct request_event *e)
{
    struct budget_change *c = e->change;
    uint64_t begin = clock_now_ns();
    e->status = batcher_resize(t->batcher, &c->asked, &c->got, &c->preempted, &e->error);
    c->ns = clock_now_ns() - begin;
    *t->changes_end = e;
    t->changes_end = &c->next;
}

/* Handles one message; false: stop. */
static bool handle(struct engine_thread *t, const struct message *m)
{
    switch (m->kind) {
    case MESSAGE_SUBMIT:
        batcher_submit(t->batcher, m->request, clock_now_ns());
        return true;
    case MESSAGE_CANCEL:
        batcher_cancel(t->batcher, m->id);
        return true;
    case MESSAGE_PAUSE:
    case MESSAGE_RESUME:
        batcher_pause(t->batcher, m->id, m->kind == MESSAGE_PAUSE);
        return true;
    case MESSAGE_RESIZE:
        resize(t, m->change);
        return true;
    case MESSAGE_STOP:
        break;
    }
    return false;
}

static void run(struct engine_thread *t)
{
    struct message m;
    bool busy = false;
    for (;;) {
        if (!busy && queue_pop_wait(t->submits, &m, patience_ns(t)) && !handle(t, &m))
            return;
        while (queue_pop(t->submits, &m))
            if (!handle(t, &m))
                return;
        busy = batcher_step(t->batcher, clock_now_ns());
        /* Stats first: whoever has seen the end of a request must not read older figures. */
        t->stats.batcher = batcher_stats_read(t->batcher);
        publish_stats(t);
        deliver(t);
    }
}

static void *engine_thread_main(void *arg)
{
    struct engine_thread *t = arg;
    pthread_setname_np(pthread_self(), "moering-engine"); /* what top -H shows */
    if (load(t))
        run(t);
    return NULL;
}

/* ---- the front's side ---- */

enum status engine_thread_open(struct engine_thread **out,
                               const struct engine_thread_config *config, struct error *error)
{
    enum status status = STATUS_NO_MEMORY;
    struct engine_thread *t = calloc(1, sizeof *t);
    if (!t)
        goto fail;
    t->config = *config;
    t->changes_end = &t->changes;
    uint32_t submits = config->submit_capacity
                           ? config->submit_capacity
                           : config->max_queue + config->engine.max_num_seqs + 64;
    status = queue_open(&t->submits, sizeof(struct message), submits, error);
    if (status != STATUS_OK)
        goto fail;
    status = queue_open(&t->events, sizeof(struct request_event *),
                        config->event_capacity ? config->event_capacity : 1024, error);
    if (status != STATUS_OK)
        goto fail;
    status = STATUS_IO;
    if (pthread_create(&t->thread, NULL, engine_thread_main, t) != 0)
        goto fail;
    t->started = true;
    *out = t;
    return STATUS_OK;
fail:
    engine_thread_close(t);
    return error_set(error, status, "cannot start the engine thread");
}

static void send_message(struct engine_thread *t, const struct message *m)
{
    engine_thread_flush(t);
    if (!t->backlog_count && queue_push(t->submits, m) == STATUS_OK)
        return;
    if (t->backlog_count == t->backlog_capacity) {
        uint32_t capacity = t->backlog_capacity ? 2 * t->backlog_capacity : 64;
        struct message *grown = realloc(t->backlog, capacity * sizeof *grown);
        if (!grown) { /* the request runs to its end unheard; nothing else depends on it */
            log_error("out of memory for a message to the engine thread");
            return;
        }
        t->backlog = grown;
        t->backlog_capacity = capacity;
    }
    t->backlog[t->backlog_count++] = *m;
}

void engine_thread_flush(struct engine_thread *t)
{
    uint32_t sent = 0;
    while (sent < t->backlog_count && queue_push(t->submits, &t->backlog[sent]) == STATUS_OK)
        sent++;
    if (!sent)
        return;
    t->backlog_count -= sent;
    memmove(t->backlog, t->backlog + sent, t->backlog_count * sizeof *t->backlog);
}

enum status engine_thread_submit(struct engine_thread *t, struct request *request)
{
    struct message m = {.kind = MESSAGE_SUBMIT, .id = request->id, .request = request};
    engine_thread_flush(t);
    return t->backlog_count ? STATUS_FULL : queue_push(t->submits, &m);
}

enum status engine_thread_resize(struct engine_thread *t, struct request_event *change)
{
    struct message m = {.kind = MESSAGE_RESIZE, .change = change};
    engine_thread_flush(t);
    return t->backlog_count ? STATUS_FULL : queue_push(t->submits, &m);
}

void engine_thread_cancel(struct engine_thread *t, uint64_t id)
{
    send_message(t, &(struct message){.kind = MESSAGE_CANCEL, .id = id});
}

void engine_thread_pause(struct engine_thread *t, uint64_t id, bool paused)
{
    send_message(t, &(struct message){.kind = paused ? MESSAGE_PAUSE : MESSAGE_RESUME, .id = id});
}

enum engine_state engine_thread_state(const struct engine_thread *t)
{
    return (enum engine_state)atomic_load_explicit(
        &((struct engine_thread *)t)->state, memory_order_acquire);
}

const char *engine_thread_error(const struct engine_thread *t)
{
    return engine_thread_state(t) == ENGINE_FAILED ? t->error.text : "";
}

const struct engine *engine_thread_engine(const struct engine_thread *t)
{
    return engine_thread_state(t) == ENGINE_READY ? t->engine : NULL;
}

int engine_thread_fd(struct engine_thread *t)
{
    return queue_fd(t->events);
}

struct request_event *engine_thread_next(struct engine_thread *t)
{
    struct request_event *e;
    return queue_pop(t->events, &e) ? e : NULL;
}

void engine_thread_close(struct engine_thread *t)
{
    if (!t)
        return;
    struct message m = {.kind = MESSAGE_STOP};
    if (t->started) {
        /* A thread that has failed to load takes no messages; one that runs makes room. */
        while (queue_push(t->submits, &m) != STATUS_OK &&
               engine_thread_state(t) != ENGINE_FAILED)
            nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        pthread_join(t->thread, NULL);
    }
    batcher_close(t->batcher);
    engine_close(t->engine);
    while (t->submits && queue_pop(t->submits, &m))
        if (m.kind == MESSAGE_SUBMIT)
            request_close(m.request);
        else if (m.kind == MESSAGE_RESIZE)
            request_event_close(m.change);
    struct request_event *e;
    while ((e = t->changes)) {
        t->changes = e->change->next;
        request_event_close(e);
    }
    while (t->events && queue_pop(t->events, &e))
        request_event_close(e);
    queue_close(t->submits);
    queue_close(t->events);
    free(t->backlog);
    free(t);
}
