#include "server/metrics/experts_http.h"

#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

#include "memory/base/check.h"
#include "memory/base/clock.h"
#include "server/http/http_error.h"
#include "server/metrics/experts_frame.h"

#define NS_PER_MS UINT64_C(1000000)

struct viewer {
    struct experts *experts;
    uint64_t http;
    bool behind;       /* its client does not keep up: nothing until it is writable */
    bool wants_map;    /* it does not know the cells of the last look */
    uint64_t map_ns;   /* when it got its last map, */
    uint64_t spoke_ns; /* and anything at all */
    struct viewer *previous, *next;
};

struct experts {
    struct experts_pace pace;
    struct event *timer;
    struct http_server *server;
    const struct requests *requests;
    const struct engine_thread *engine;
    struct viewer *viewers;
    struct experts_frame frame; /* the last look; tick 0: none yet */
    uint8_t *cells, *before;    /* of it and of the one before; each [count] */
    uint8_t *changes;
    size_t count, changes_bytes; /* above count: too long to be of use */
    struct jsonw map, delta;     /* the events of this look, once made */
};

static void on_timer(evutil_socket_t fd, short what, void *arg);

void experts_pace_init(struct experts_pace *pace)
{
    *pace = (struct experts_pace){.look_ms = 100, .map_ms = 9000, .ping_ms = 5000};
}

enum status experts_open(struct experts **out, struct event_base *base,
                         const struct experts_pace *pace, struct error *error)
{
    struct experts *e = calloc(1, sizeof *e);
    if (!e)
        goto fail;
    e->pace = *pace;
    e->timer = evtimer_new(base, on_timer, e);
    if (!e->timer)
        goto fail;
    *out = e;
    return STATUS_OK;
fail:
    experts_close(e);
    return error_set(error, STATUS_NO_MEMORY, "out of memory for the map of experts");
}

void experts_attach(struct experts *e, struct http_server *server, const struct requests *requests,
                    const struct engine_thread *engine)
{
    e->server = server;
    e->requests = requests;
    e->engine = engine;
}

void experts_close(struct experts *e)
{
    if (!e)
        return;
    CHECK(!e->viewers); /* the http server has ended them */
    if (e->timer)
        event_free(e->timer);
    free(e->cells);
    free(e->before);
    free(e->changes);
    jsonw_close(&e->map);
    jsonw_close(&e->delta);
    free(e);
}

uint32_t experts_viewers(const struct experts *e)
{
    uint32_t count = 0;
    for (const struct viewer *v = e->viewers; v; v = v->next)
        count++;
    return count;
}

uint64_t experts_looks(const struct experts *e)
{
    return e->frame.tick;
}

/* ---- a look ---- */

static bool make_room(struct experts *e, const struct engine_info *info)
{
    e->frame.layers = info->layers;
    e->frame.experts = info->experts;
    e->count = (size_t)info->layers * info->experts;
    if (!e->cells)
        e->cells = calloc(e->count, 1);
    if (!e->before)
        e->before = calloc(e->count, 1);
    if (!e->changes)
        e->changes = calloc(e->count, 1);
    return e->cells && e->before && e->changes;
}

static bool is_due(const struct experts *e, uint64_t now_ns)
{
    return !e->frame.tick || now_ns - e->frame.now_ns >= e->pace.look_ms * NS_PER_MS;
}

/* False: out of memory, or there is no model. */
static bool look(struct experts *e, uint64_t now_ns)
{
    const struct engine *engine = engine_thread_engine(e->engine);
    if (!engine || !make_room(e, engine_info(engine)))
        return false;
    uint8_t *before = e->cells;
    e->cells = e->before;
    e->before = before;
    engine_expert_map(engine, e->cells);
    e->changes_bytes = experts_frame_changes(e->before, e->cells, e->count, e->changes);
    e->frame.cells = e->cells;
    e->frame.now_ns = now_ns;
    e->frame.tick++;
    jsonw_reset(&e->map);
    jsonw_reset(&e->delta);
    return true;
}

/* ---- viewers ---- */

static void forget(struct viewer *v)
{
    *(v->previous ? &v->previous->next : &v->experts->viewers) = v->next;
    if (v->next)
        v->next->previous = v->previous;
    free(v);
}

/* What a viewer is told of the last look, or NULL: nothing. Made once for all who are told the
 * same. */
static const struct jsonw *news_for(struct experts *e, struct viewer *v)
{
    uint64_t now_ns = e->frame.now_ns;
    if (v->wants_map || e->changes_bytes > e->count ||
        now_ns - v->map_ns >= e->pace.map_ms * NS_PER_MS) {
        if (!e->map.bytes)
            experts_frame_map(&e->map, &e->frame);
        v->map_ns = now_ns;
        v->wants_map = false;
        return &e->map;
    }
    if (!e->changes_bytes)
        return NULL;
    if (!e->delta.bytes)
        experts_frame_delta(&e->delta, &e->frame, e->changes, e->changes_bytes);
    return &e->delta;
}

static void tell(struct viewer *v)
{
    static const char ping[] = ": ping\n\n";
    struct experts *e = v->experts;
    if (v->behind)
        return;
    const struct jsonw *news = news_for(e, v);
    if (!news && e->frame.now_ns - v->spoke_ns < e->pace.ping_ms * NS_PER_MS)
        return;
    struct http_exchange *x = http_server_find(e->server, v->http);
    CHECK(x); /* who goes is forgotten */
    enum status status = STATUS_NO_MEMORY;
    if (!news)
        status = http_stream_write(x, ping, sizeof ping - 1);
    else if (!news->failed)
        status = http_stream_write(x, news->data, news->bytes);
    v->spoke_ns = e->frame.now_ns;
    v->behind = status == STATUS_FULL;
    if (status == STATUS_NO_MEMORY) {
        http_abort(x);
        forget(v);
    }
}

static bool refresh(struct experts *e, uint64_t now_ns)
{
    struct viewer *next;
    if (!is_due(e, now_ns))
        return true;
    if (!look(e, now_ns))
        return false;
    for (struct viewer *v = e->viewers; v; v = next) {
        next = v->next;
        tell(v);
    }
    return true;
}

static void arm(struct experts *e)
{
    uint64_t now_ns = clock_now_ns(), us = 0;
    if (!e->viewers || evtimer_pending(e->timer, NULL))
        return;
    if (!is_due(e, now_ns))
        us = (e->frame.now_ns + e->pace.look_ms * NS_PER_MS - now_ns) / 1000 + 1;
    struct timeval time = {.tv_sec = (time_t)(us / 1000000),
                           .tv_usec = (suseconds_t)(us % 1000000)};
    evtimer_add(e->timer, &time);
}

static void end_all(struct experts *e)
{
    while (e->viewers) {
        struct http_exchange *x = http_server_find(e->server, e->viewers->http);
        CHECK(x);
        http_stream_end(x);
        forget(e->viewers);
    }
}

/* A stream would hold up a drain for ever. */
static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct experts *e = arg;
    if (requests_draining(e->requests) || !refresh(e, clock_now_ns()))
        end_all(e);
    arm(e);
}

/* ---- routes ---- */

static void fail(struct http_exchange *x, enum http_problem problem, const char *param,
                 const char *message)
{
    const struct http_failure failure = {problem, param, message};
    http_fail(x, &failure);
}

/* A single answer: the last look if it is fresh, else a new one, which viewers get to see as
 * well. */
static void get_experts(struct http_exchange *x)
{
    struct experts *e = http_context(x);
    const char *format = http_query(x, "format");
    bool binary = format && strcmp(format, "bin") == 0;
    char why[REQUESTS_WHY_BYTES];
    if (format && !binary && strcmp(format, "json") != 0) {
        fail(x, HTTP_BAD_VALUE, "format", "format: json or bin");
        return;
    }
    if (!engine_thread_engine(e->engine)) {
        requests_engine(e->requests, why);
        fail(x, HTTP_UNAVAILABLE, NULL, why);
        return;
    }
    struct jsonw answer = {0};
    bool ok = refresh(e, clock_now_ns());
    if (ok && binary)
        experts_frame_binary(&answer, &e->frame);
    else if (ok)
        experts_frame_json(&answer, &e->frame);
    http_set_header(x, "Cache-Control", "no-store");
    if (ok && !answer.failed)
        http_reply(x, 200, binary ? "application/octet-stream" : "application/json", answer.data,
                   answer.bytes);
    else
        fail(x, HTTP_UNAVAILABLE, NULL, "out of memory for the map of experts");
    jsonw_close(&answer);
}

static void watch_experts(struct http_exchange *x)
{
    struct experts *e = http_context(x);
    char why[REQUESTS_WHY_BYTES];
    if (!requests_engine(e->requests, why)) {
        fail(x, HTTP_UNAVAILABLE, NULL, why);
        return;
    }
    struct viewer *v = calloc(1, sizeof *v);
    if (!v) {
        fail(x, HTTP_UNAVAILABLE, NULL, "out of memory for another viewer");
        return;
    }
    *v = (struct viewer){.experts = e, .http = http_id(x), .wants_map = true, .next = e->viewers};
    if (e->viewers)
        e->viewers->previous = v;
    e->viewers = v;
    http_set_user(x, v);
    http_stream_begin(x, "text/event-stream; charset=utf-8");
    arm(e);
}

static void viewer_writable(struct http_exchange *x)
{
    struct viewer *v = http_user(x);
    v->behind = false;
    v->wants_map = true;
}

static void viewer_closed(struct http_exchange *x)
{
    if (http_user(x))
        forget(http_user(x));
}

uint32_t experts_routes(struct experts *e, struct http_route *out)
{
    const struct http_route routes[EXPERTS_ROUTES] = {
        {.method = "GET", .path = "/v1/experts", .handle = get_experts, .context = e},
        {.method = "GET", .path = "/v1/experts/stream", .handle = watch_experts,
         .writable = viewer_writable, .closed = viewer_closed, .context = e},
    };
    memcpy(out, routes, sizeof routes);
    return EXPERTS_ROUTES;
}
