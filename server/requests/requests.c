/* A table from numbers to those who want to hear, and the bookkeeping that all doors share. Owns
 * one entry for each live request, found by its number in a hash table, since every event of every
 * step looks one up. An entry goes before its sink hears of the end, so a sink may do anything
 * then: end its call, submit another request. */
#include "server/requests/requests.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "memory/base/check.h"
#include "memory/base/clock.h"
#include "memory/base/log.h"
#include "server/metrics/request_metrics.h"

enum { BUCKETS = 1024 }; /* a power of two; numbers are consecutive, so chains stay short */

struct entry {
    uint64_t id;
    struct request_sink sink;
    uint64_t paused_since_ns; /* 0: the client reads */
    struct request_timing timing;
    struct entry *in_bucket;
    struct entry *previous, *next; /* all live ones */
    char name[REQUEST_NAME_BYTES_MAX + 1];
};

struct requests {
    struct requests_config config;
    struct engine_thread *engine;
    uint64_t last_id;
    struct entry *bucket[BUCKETS];
    struct entry *live;
    uint32_t live_count;
    uint64_t rejected;
    bool draining;
};

enum status requests_open(struct requests **out, const struct requests_config *config,
                          struct error *error)
{
    *out = calloc(1, sizeof **out);
    if (!*out)
        return error_set(error, STATUS_NO_MEMORY, "out of memory for the table of requests");
    (*out)->config = *config;
    return STATUS_OK;
}

void requests_close(struct requests *r)
{
    if (!r)
        return;
    CHECK(!r->live);
    free(r);
}

void requests_attach(struct requests *r, struct engine_thread *engine)
{
    r->engine = engine;
}

const struct engine *requests_engine(const struct requests *r, char *why)
{
    if (r->draining) {
        snprintf(why, REQUESTS_WHY_BYTES, "the server is shutting down");
        return NULL;
    }
    const struct engine *engine = engine_thread_engine(r->engine);
    if (engine)
        return engine;
    if (engine_thread_state(r->engine) == ENGINE_FAILED) {
        snprintf(why, REQUESTS_WHY_BYTES, "%s", engine_thread_error(r->engine));
        return NULL;
    }
    struct engine_thread_stats stats;
    engine_thread_stats_read(r->engine, &stats);
    snprintf(why, REQUESTS_WHY_BYTES, "loading model: %s, %.0f %%",
             *stats.phase ? stats.phase : "starting", 100 * stats.progress);
    return NULL;
}

const char *requests_model_name(const struct requests *r)
{
    if (r->config.served_name)
        return r->config.served_name;
    return engine_info(engine_thread_engine(r->engine))->model_name;
}

/* ---- the table ---- */

static struct entry **bucket_of(struct requests *r, uint64_t id)
{
    return &r->bucket[id % BUCKETS];
}

static struct entry *find(struct requests *r, uint64_t id)
{
    struct entry *e = *bucket_of(r, id);
    while (e && e->id != id)
        e = e->in_bucket;
    return e;
}

static void add(struct requests *r, struct entry *e)
{
    struct entry **bucket = bucket_of(r, e->id);
    e->in_bucket = *bucket;
    *bucket = e;
    e->next = r->live;
    if (r->live)
        r->live->previous = e;
    r->live = e;
    r->live_count++;
}

/* It still has to be freed. */
static void take_out(struct requests *r, struct entry *e)
{
    struct entry **at = bucket_of(r, e->id);
    while (*at != e)
        at = &(*at)->in_bucket;
    *at = e->in_bucket;
    *(e->previous ? &e->previous->next : &r->live) = e->next;
    if (e->next)
        e->next->previous = e->previous;
    r->live_count--;
}

/* ---- the life of a request ---- */

struct request *requests_new(struct requests *r)
{
    return request_open(++r->last_id);
}

static void keep_name(struct entry *e, const char *name)
{
    snprintf(e->name, sizeof e->name, "%s", name ? name : "");
    for (char *p = e->name; *p; p++) /* a log line stays one line */
        if ((unsigned char)*p < 0x20 || *p == 0x7f || *p == '\'')
            *p = '?';
}

enum status requests_submit(struct requests *r, struct request *request,
                            const struct request_sink *sink, const char *name)
{
    struct entry *e = calloc(1, sizeof *e);
    if (!e)
        return STATUS_NO_MEMORY;
    e->id = request->id;
    e->sink = *sink;
    keep_name(e, name);
    if (r->config.seeded && !request->asked.sampling.has_seed) {
        request->asked.sampling.has_seed = true;
        request->asked.sampling.seed = r->config.seed + request->id;
    }
    request_timing_begin(&e->timing, &request->asked, clock_now_ns());
    if (engine_thread_submit(r->engine, request) != STATUS_OK) {
        r->rejected++;
        free(e);
        return STATUS_FULL;
    }
    add(r, e);
    return STATUS_OK;
}

void requests_pause(struct requests *r, uint64_t id, bool paused)
{
    struct entry *e = find(r, id);
    if (!e || paused == (e->paused_since_ns != 0))
        return;
    e->paused_since_ns = paused ? clock_now_ns() : 0;
    engine_thread_pause(r->engine, id, paused);
}

void requests_cancel(struct requests *r, uint64_t id, const char *why)
{
    struct entry *e = find(r, id);
    if (!e)
        return;
    take_out(r, e);
    engine_thread_cancel(r->engine, id);
    log_info("request %" PRIu64 " '%s': %s", id, e->name, why);
    if (r->config.metrics)
        request_metrics_aborted(r->config.metrics, &e->timing, clock_now_ns());
    free(e);
}

static void log_end(const struct entry *entry, const struct request_event *e)
{
    static const char *const reasons[] = {"running", "stop", "length", "failed"};
    const struct request_usage *u = &e->usage;
    log_info("request %" PRIu64
             " '%s': %s%s%s, %u prompt (%u cached) + %u output tokens, queue %.1f ms, "
             "prefill %.1f ms, decode %.1f ms, experts %" PRIu64 " hits %" PRIu64 " misses",
             entry->id, entry->name, reasons[e->finish], e->finish == FINISH_FAILED ? ": " : "",
             e->finish == FINISH_FAILED ? e->error.text : "", u->prompt_tokens, u->cached_tokens,
             u->completion_tokens, (double)u->queue_ns / 1e6, (double)u->prefill_ns / 1e6,
             (double)u->decode_ns / 1e6, u->experts.hits, u->experts.misses);
}

void requests_event(struct requests *r, const struct request_event *event)
{
    struct entry *e = find(r, event->request);
    if (!e)
        return; /* its client has gone */
    struct request_sink sink = e->sink;
    if (r->config.metrics)
        request_metrics_event(r->config.metrics, &e->timing, event, clock_now_ns());
    if (event->finish != FINISH_NONE) {
        log_end(e, event);
        take_out(r, e);
        free(e);
    }
    sink.event(sink.arg, event);
}

static void cut_off(struct requests *r, struct entry *e, enum request_cut_off cause,
                    const char *why)
{
    struct request_sink sink = e->sink;
    log_warn("request %" PRIu64 " '%s': %s", e->id, e->name, why);
    take_out(r, e);
    engine_thread_cancel(r->engine, e->id);
    if (r->config.metrics)
        request_metrics_aborted(r->config.metrics, &e->timing, clock_now_ns());
    free(e);
    sink.cut_off(sink.arg, cause, why);
}

/* A sink may end others as it hears of its end, so the search begins anew after each. */
static bool cut_off_one_stalled(struct requests *r, uint64_t now_ns, uint64_t patience_ns)
{
    for (struct entry *e = r->live; e; e = e->next) {
        if (!e->paused_since_ns || now_ns <= e->paused_since_ns ||
            now_ns - e->paused_since_ns <= patience_ns)
            continue;
        cut_off(r, e, REQUEST_STALLED, "the client read nothing for --client-stall-timeout");
        return true;
    }
    return false;
}

void requests_tick(struct requests *r, uint64_t now_ns)
{
    uint64_t patience_ns = (uint64_t)r->config.stall_timeout_s * 1000000000u;
    while (cut_off_one_stalled(r, now_ns, patience_ns)) {
    }
}

void requests_drain(struct requests *r)
{
    r->draining = true;
}

bool requests_draining(const struct requests *r)
{
    return r->draining;
}

uint32_t requests_live(const struct requests *r)
{
    return r->live_count;
}

uint64_t requests_rejected(const struct requests *r)
{
    return r->rejected;
}

uint32_t requests_cut_off(struct requests *r)
{
    uint32_t count = 0;
    while (r->live) {
        cut_off(r, r->live, REQUEST_SHUTDOWN,
                "cut off: the server did not finish before its shutdown");
        count++;
    }
    return count;
}
