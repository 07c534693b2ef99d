#include "server/front_http.h"

#include <stdlib.h>
#include <time.h>

#include "memory/base/clock.h"
#include "server/metrics/metrics_http.h"
#include "server/ui/ui_http.h"

enum { ROUTES_MAX = OPENAI_ROUTES + METRICS_ROUTES_MAX + UI_ROUTES_MAX };

struct front_http {
    struct openai *openai;
    struct metrics *metrics;
    struct requests *requests;
    struct http_server *server;
};

enum status front_http_open(struct front_http **out, const struct front_http_config *config,
                            struct error *error)
{
    struct http_route routes[ROUTES_MAX];
    uint32_t count = 0;
    *out = NULL;
    struct front_http *door = calloc(1, sizeof *door);
    if (!door)
        return error_set(error, STATUS_NO_MEMORY, "out of memory for the HTTP port");
    struct openai_config openai = {
        .chat_template = config->chat_template,
        .tool_parser = (enum openai_tool_parser)config->tool_call_parser,
        .reasoning_parser = (enum openai_reasoning_parser)config->reasoning_parser,
        .start_s = time(NULL),
        .state = config->state,
        .arg = config->arg,
    };
    openai_limits_init(&openai.limits);
    struct metrics_config metrics = {
        .base = config->base,
        .page = config->metrics,
        .page_public = config->metrics_public,
        .served_name = config->served_name,
        .start_ns = clock_now_ns(),
        .requests = config->request_metrics,
    };
    door->requests = config->requests;
    enum status status = openai_open(&door->openai, &openai, error);
    if (status == STATUS_OK)
        status = metrics_open(&door->metrics, &metrics, error);
    if (status != STATUS_OK)
        goto fail;
    count += openai_routes(door->openai, routes + count);
    count += metrics_routes(door->metrics, routes + count);
    count += ui_routes(&(struct ui_config){.enabled = config->ui}, routes + count);
    struct http_server_config http = {
        .base = config->base,
        .host = config->host,
        .port = config->port,
        .limits = config->limits,
        .keys = config->keys,
        .tls = config->tls,
    };
    status = http_server_open(&door->server, &http, routes, count, error);
    if (status == STATUS_INVALID || status == STATUS_IO)
        error_prefix(error, "--host, --port");
    if (status != STATUS_OK)
        goto fail;
    openai_attach(door->openai, door->server, config->requests);
    *out = door;
    return STATUS_OK;
fail:
    front_http_close(door);
    return status;
}

void front_http_attach(struct front_http *door, const struct engine_thread *engine)
{
    metrics_attach(door->metrics, door->server, door->requests, engine);
}

uint16_t front_http_port(const struct front_http *door)
{
    return http_server_port(door->server);
}

void front_http_tick(struct front_http *door, uint64_t now_ns)
{
    http_server_tick(door->server, now_ns);
    openai_tick(door->openai, now_ns);
}

void front_http_drain(struct front_http *door, void (*drained)(void *arg), void *arg)
{
    http_server_drain(door->server, drained, arg);
}

void front_http_close(struct front_http *door)
{
    if (!door)
        return;
    http_server_close(door->server);
    openai_close(door->openai);
    metrics_close(door->metrics);
    free(door);
}
