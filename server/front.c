#include "server/front.h"

#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "memory/base/clock.h"
#include "memory/base/log.h"
#include "moering_proto/descriptor_set.h"
#include "server/front_http.h"
#include "server/front_status.h"
#include "server/grpc/health.h"
#include "server/grpc/reflection.h"
#include "server/kserve/kserve.h"
#include "server/metrics/request_metrics.h"
#include "server/moering_v1/moering_v1.h"
#include "server/net/api_keys.h"
#include "server/net/tls.h"
#include "server/notify.h"

enum {
    METHODS = MOERING_V1_METHODS + KSERVE_METHODS + HEALTH_METHODS + REFLECTION_METHODS,
    EVENTS_PER_ROUND = 256, /* then sockets get their turn */
    TICK_MS = 200,
    NOTIFY_SPARE_S = 5, /* after the shutdown timeout, until whoever started us may lose patience */
    FLUSH_MS = 1000, /* nothing is owed any more: time for the statuses to leave */
};

enum front_state { FRONT_LOADING, FRONT_SERVING, FRONT_DRAINING, FRONT_FLUSHING };

struct front {
    struct front_config config;
    struct event_base *base;
    struct request_metrics metrics;
    struct requests *requests;
    struct moering_v1 *service;
    struct kserve *kserve;
    struct health *health;
    struct reflection *reflection;
    struct grpc_server *server;
    struct front_http *http;
    uint32_t draining; /* doors that have not drained */
    bool http_draining;
    struct engine_thread *engine;
    struct event *news, *tick, *deadline, *sigterm, *sigint, *sighup;
    struct front_status status;
    struct notify notify;
    enum front_state state;
    int exit_code;
};

static void arm(struct event *timer, uint64_t ms)
{
    struct timeval time = {.tv_sec = (time_t)(ms / 1000),
                           .tv_usec = (suseconds_t)(ms % 1000 * 1000)};
    evtimer_add(timer, &time);
}

/* ---- loading ---- */

static void set_health(struct front *f, enum health_status status)
{
    if (health_set(f->health, "", status) != STATUS_OK ||
        health_set(f->health, MOERING_V1_SERVICE, status) != STATUS_OK ||
        health_set(f->health, KSERVE_SERVICE, status) != STATUS_OK)
        log_error("out of memory for the health service");
}

static void look_at_engine(struct front *f)
{
    if (f->state != FRONT_LOADING)
        return;
    struct engine_thread_stats stats;
    engine_thread_stats_read(f->engine, &stats);
    switch (engine_thread_state(f->engine)) {
    case ENGINE_LOADING:
        front_status_progress(&f->status, stats.phase, stats.progress);
        notify_text(&f->notify, "loading model: %s, %.0f %%",
                    *stats.phase ? stats.phase : "starting", 100 * stats.progress);
        break;
    case ENGINE_READY:
        front_status_ready(&f->status, engine_info(engine_thread_engine(f->engine)));
        request_metrics_init(&f->metrics,
                             engine_info(engine_thread_engine(f->engine))->max_model_len);
        f->state = FRONT_SERVING;
        set_health(f, HEALTH_SERVING);
        notify_text(&f->notify, "serving %s", requests_model_name(f->requests));
        notify_ready(&f->notify);
        break;
    case ENGINE_FAILED:
        front_status_end_bar(&f->status);
        fprintf(stderr, "moering: %s\n", engine_thread_error(f->engine));
        f->exit_code = 1;
        event_base_loopbreak(f->base);
        break;
    }
}

/* ---- shutdown ---- */

static void on_drained(void *arg)
{
    struct front *f = arg;
    if (--f->draining == 0)
        event_base_loopbreak(f->base);
}

bool front_loading(const struct front *f)
{
    return engine_thread_state(f->engine) == ENGINE_LOADING;
}

/* The HTTP door stays open while requests finish: it tells those who ask that the server is going,
 * with a time to come again, which a closed port could not. */
static void drain_http_when_idle(struct front *f)
{
    bool leaving = f->state == FRONT_DRAINING || f->state == FRONT_FLUSHING;
    if (!leaving || f->http_draining || requests_live(f->requests) > 0)
        return;
    f->http_draining = true;
    front_http_drain(f->http, on_drained, f);
}

/* While loading nothing has been accepted, so nobody is waited for: only what is written already
 * (the UNAVAILABLE of a call, the end of a health watch) gets its moment to leave. */
static void begin_drain(struct front *f)
{
    bool loading = front_loading(f);
    uint64_t patience_ms = loading ? FLUSH_MS : (uint64_t)f->config.shutdown_timeout_s * 1000;
    front_status_end_bar(&f->status);
    if (loading)
        log_info("shutting down: the model is still being loaded, there are no requests");
    else
        log_info("shutting down: %u requests to finish, at most %u s", requests_live(f->requests),
                 f->config.shutdown_timeout_s);
    f->state = loading ? FRONT_FLUSHING : FRONT_DRAINING;
    set_health(f, HEALTH_NOT_SERVING);
    health_drain(f->health);
    reflection_drain(f->reflection);
    requests_drain(f->requests);
    notify_stopping(&f->notify, f->config.shutdown_timeout_s + NOTIFY_SPARE_S);
    arm(f->deadline, patience_ms);
    f->draining = 2;
    grpc_server_drain(f->server, on_drained, f);
    drain_http_when_idle(f);
}

static void cut_off(struct front *f)
{
    uint32_t lost = requests_cut_off(f->requests);
    if (lost) {
        log_error("%u requests were cut off", lost);
        f->exit_code = 1;
    }
    f->state = FRONT_FLUSHING;
    drain_http_when_idle(f);
    arm(f->deadline, FLUSH_MS);
}

static void on_signal(evutil_socket_t number, short what, void *arg)
{
    struct front *f = arg;
    if (f->state == FRONT_LOADING || f->state == FRONT_SERVING)
        begin_drain(f);
    else if (f->state == FRONT_DRAINING)
        cut_off(f);
    else
        event_base_loopbreak(f->base);
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
    struct front *f = arg;
    if (f->state == FRONT_DRAINING)
        cut_off(f);
    else
        event_base_loopbreak(f->base); /* somebody does not read; we owe nothing any more */
}

/* ---- another budget ---- */

/* What a SIGHUP reads again beside the settings file. True: there was something. */
static bool reopen_files(struct front *f)
{
    struct error log = {0}, tls = {0};
    if (log_reopen(&log) != STATUS_OK)
        log_warn("SIGHUP: the log goes on in its old file: %s", log.text);
    if (!f->config.tls)
        return f->config.reload->started->log_file;
    if (tls_reload(f->config.tls, &tls) != STATUS_OK)
        log_warn("SIGHUP: the certificate stays as it is: %s", tls.text);
    else
        log_info("SIGHUP: the certificate was read again");
    return true;
}

static void on_hangup(evutil_socket_t number, short what, void *arg)
{
    struct front *f = arg;
    struct engine_budget asked;
    struct error error = {0};
    bool any = false;
    front_status_end_bar(&f->status);
    if (reopen_files(f) && !f->config.reload->started->config_file)
        return;
    if (f->state == FRONT_DRAINING || f->state == FRONT_FLUSHING)
        return;
    if (reload_read(f->config.reload, &asked, &error) != STATUS_OK) {
        log_warn("SIGHUP: nothing is changed: %s", error.text);
        return;
    }
    for (int i = 0; i < ENGINE_ROOMS; i++)
        any |= asked.set[i];
    if (!any)
        return;
    struct request_event *change = request_event_open_change(0, &asked);
    if (change && engine_thread_resize(f->engine, change) == STATUS_OK)
        return;
    log_warn("SIGHUP: nothing is changed: %s; send it again",
             change ? "the submit queue is full" : "out of memory");
    request_event_close(change);
}

static void on_changed(struct front *f, const struct request_event *e)
{
    if (!e->request && e->status == STATUS_OK)
        reload_applied(f->config.reload, &e->change->asked);
    moering_v1_budget_changed(f->service, e);
}

/* ---- the loop's callbacks ---- */

static void on_news(evutil_socket_t fd, short what, void *arg)
{
    struct front *f = arg;
    engine_thread_flush(f->engine);
    for (int i = 0; i < EVENTS_PER_ROUND; i++) {
        struct request_event *e = engine_thread_next(f->engine);
        if (!e)
            break;
        if (e->change)
            on_changed(f, e);
        else if (e->request)
            requests_event(f->requests, e);
        else
            look_at_engine(f);
        request_event_close(e);
    }
    drain_http_when_idle(f);
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    struct front *f = arg;
    uint64_t now = clock_now_ns();
    engine_thread_flush(f->engine);
    look_at_engine(f);
    requests_tick(f->requests, now);
    front_http_tick(f->http, now);
    drain_http_when_idle(f); /* a request that was cancelled ends without news */
    notify_tick(&f->notify, now);
    const struct engine *engine = engine_thread_engine(f->engine);
    if (engine) {
        struct engine_thread_stats stats;
        struct engine_stats totals;
        engine_thread_stats_read(f->engine, &stats);
        engine_stats_read(engine, &totals, NULL);
        front_status_line(&f->status, now, &stats.batcher, &totals);
    }
    arm(f->tick, TICK_MS);
}

/* ---- open, run, close ---- */

/* How the server is, for the health checks of the HTTP door. */
static void tell_state(void *arg, struct openai_state *out)
{
    const struct front *f = arg;
    struct engine_thread_stats stats;
    switch (f->state) {
    case FRONT_LOADING:
        out->phase = OPENAI_LOADING;
        if (engine_thread_state(f->engine) == ENGINE_FAILED)
            out->phase = OPENAI_FAILED;
        engine_thread_stats_read(f->engine, &stats);
        out->progress = stats.progress;
        requests_engine(f->requests, out->detail);
        break;
    case FRONT_SERVING: out->phase = OPENAI_SERVING; break;
    case FRONT_DRAINING:
    case FRONT_FLUSHING: out->phase = OPENAI_DRAINING; break;
    }
}

static enum status open_http(struct front *f, struct error *error)
{
    struct front_http_config config = {
        .base = f->base,
        .host = f->config.host,
        .port = f->config.http_port,
        .limits = f->config.http_limits,
        .keys = f->config.keys,
        .tls = f->config.tls,
        .chat_template = f->config.chat_template,
        .tool_call_parser = f->config.tool_call_parser,
        .reasoning_parser = f->config.reasoning_parser,
        .ui = f->config.ui,
        .metrics = f->config.metrics,
        .metrics_public = f->config.metrics_public,
        .served_name = f->config.served_name,
        .requests = f->requests,
        .request_metrics = &f->metrics,
        .state = tell_state,
        .arg = f,
    };
    return front_http_open(&f->http, &config, error);
}

static enum status open_server(struct front *f, struct error *error)
{
    struct grpc_method methods[METHODS];
    struct requests_config requests = {
        .served_name = f->config.served_name,
        .stall_timeout_s = f->config.stall_timeout_s,
        .metrics = &f->metrics,
        .seeded = f->config.seeded,
        .seed = f->config.seed,
    };
    enum status status = requests_open(&f->requests, &requests, error);
    if (status != STATUS_OK)
        return status;
    struct moering_v1_config service = {.requests = f->requests,
                                         .start_ns = clock_now_ns(),
                                         .chat_template = f->config.chat_template};
    status = moering_v1_open(&f->service, &service, error);
    if (status == STATUS_OK)
        status = kserve_open(&f->kserve, f->requests, error);
    if (status == STATUS_OK)
        status = health_open(&f->health);
    if (status == STATUS_OK)
        status = reflection_open(&f->reflection, moering_descriptor_set,
                                 moering_descriptor_set_bytes, error);
    if (status != STATUS_OK)
        return status;
    moering_v1_methods(f->service, methods);
    kserve_methods(f->kserve, methods + MOERING_V1_METHODS);
    health_methods(f->health, methods + MOERING_V1_METHODS + KSERVE_METHODS);
    reflection_methods(f->reflection,
                       methods + MOERING_V1_METHODS + KSERVE_METHODS + HEALTH_METHODS);
    status = reflection_set_services(f->reflection, methods, METHODS);
    if (status != STATUS_OK)
        return status;
    set_health(f, HEALTH_NOT_SERVING);
    struct grpc_server_config config = {
        .base = f->base,
        .host = f->config.host,
        .port = f->config.port,
        .limits = f->config.limits,
        .tls = f->config.tls,
        .keys = f->config.keys,
    };
    status = grpc_server_open(&f->server, &config, methods, METHODS, error);
    if (status == STATUS_INVALID || status == STATUS_IO)
        error_prefix(error, "--host, --grpc-port");
    return status;
}

/* Before the port opens: whoever sees our address may also send us a signal. */
static enum status open_signals(struct front *f, struct error *error)
{
    f->sigterm = evsignal_new(f->base, SIGTERM, on_signal, f);
    f->sigint = evsignal_new(f->base, SIGINT, on_signal, f);
    f->sighup = evsignal_new(f->base, SIGHUP, on_hangup, f);
    if (!f->sigterm || !f->sigint || !f->sighup || event_add(f->sigterm, NULL) != 0 ||
        event_add(f->sigint, NULL) != 0 || event_add(f->sighup, NULL) != 0)
        return error_set(error, STATUS_NO_MEMORY, "out of memory for the signals");
    return STATUS_OK;
}

static enum status open_engine(struct front *f, struct error *error)
{
    enum status status = engine_thread_open(&f->engine, &f->config.engine, error);
    if (status != STATUS_OK)
        return status;
    requests_attach(f->requests, f->engine);
    moering_v1_attach(f->service, f->server, f->engine);
    kserve_attach(f->kserve, f->server);
    front_http_attach(f->http, f->engine);
    int fd = engine_thread_fd(f->engine);
    if (fd < 0)
        return error_set(error, STATUS_IO, "cannot make an eventfd for the event queue");
    f->news = event_new(f->base, fd, EV_READ | EV_PERSIST, on_news, f);
    f->tick = evtimer_new(f->base, on_tick, f);
    f->deadline = evtimer_new(f->base, on_deadline, f);
    if (!f->news || !f->tick || !f->deadline || event_add(f->news, NULL) != 0)
        return error_set(error, STATUS_NO_MEMORY, "out of memory for the event loop");
    arm(f->tick, TICK_MS);
    return STATUS_OK;
}

static void tell_ports(const struct front *f)
{
    const char *host = f->config.host, *secure = f->config.tls ? ", TLS" : "";
    bool v6 = strchr(host, ':') != NULL;
    fprintf(stderr, "moering: gRPC on %s%s%s:%u%s\n", v6 ? "[" : "", host, v6 ? "]" : "",
            grpc_server_port(f->server), secure);
    fprintf(stderr, "moering: HTTP on %s%s%s:%u%s\n", v6 ? "[" : "", host, v6 ? "]" : "",
            front_http_port(f->http), secure);
}

/* A manager that cannot be told is no reason not to serve. */
static void open_notify(struct front *f)
{
    struct error error = {0};
    if (notify_open(&f->notify, getenv("NOTIFY_SOCKET"), getenv("WATCHDOG_USEC"),
                    getenv("WATCHDOG_PID"), &error) != STATUS_OK)
        log_warn("%s", error.text);
}

enum status front_open(struct front **out, const struct front_config *config, struct error *error)
{
    enum status status = STATUS_NO_MEMORY;
    struct front *f = calloc(1, sizeof *f);
    if (!f)
        goto fail;
    f->config = *config;
    open_notify(f);
    f->base = event_base_new();
    if (!f->base)
        goto fail;
    request_metrics_init(&f->metrics, 1); /* until the model says how long requests can be */
    front_status_init(&f->status, config->status_interval_s, isatty(STDERR_FILENO), clock_now_ns());
    status = open_signals(f, error);
    if (status == STATUS_OK)
        status = open_server(f, error);
    if (status != STATUS_OK)
        goto fail;
    status = open_http(f, error);
    if (status != STATUS_OK)
        goto fail;
    tell_ports(f);
    status = open_engine(f, error);
    if (status != STATUS_OK)
        goto fail;
    *out = f;
    return STATUS_OK;
fail:
    front_close(f);
    return error_set(error, status, "out of memory for the front");
}

int front_run(struct front *f)
{
    event_base_dispatch(f->base);
    return f->exit_code;
}

static void drop(struct event *event)
{
    if (event)
        event_free(event); /* of a signal: the default action is back */
}

void front_close(struct front *f)
{
    if (!f)
        return;
    drop(f->news);
    drop(f->tick);
    drop(f->deadline);
    drop(f->sigterm);
    drop(f->sigint);
    drop(f->sighup);
    grpc_server_close(f->server);
    front_http_close(f->http);
    notify_close(&f->notify);
    engine_thread_close(f->engine);
    moering_v1_close(f->service);
    kserve_close(f->kserve);
    requests_close(f->requests);
    health_close(f->health);
    reflection_close(f->reflection);
    if (f->base)
        event_base_free(f->base);
    free(f);
}
