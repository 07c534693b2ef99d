/* `moering serve`: settings to a running front. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "memory/base/log.h"
#include "server/command.h"
#include "server/front.h"

static void on_budget_line(const char *text, void *arg)
{
    fprintf(stderr, "%s\n", text);
}

static void set_limits(const struct config *c, struct grpc_limits *limits)
{
    grpc_limits_init(limits);
    limits->message_bytes_max = c->grpc_max_message_bytes;
    limits->output_bytes_high = c->grpc_max_unsent_bytes;
    limits->concurrent_streams_max = c->grpc_max_streams;
    limits->connections_max = c->grpc_max_connections;
    limits->connections_per_ip_max = c->grpc_max_connections_per_ip;
    limits->idle_timeout_s = c->grpc_idle_timeout;
    limits->keepalive_time_s = c->grpc_keepalive_time;
    limits->connection_age_max_s = c->grpc_max_connection_age;
}

static bool is_loopback(const char *host)
{
    return strncmp(host, "127.", 4) == 0 || strcmp(host, "::1") == 0 ||
           strcmp(host, "localhost") == 0;
}

/* Ends the process under a load that nothing can interrupt: joining its thread would take as long
 * as the load. That is safe: the thread only reads files and fills memory of this process, which
 * the system takes back; no request has been accepted, so nobody is owed an answer. Unlike exit,
 * _exit runs nothing beside that thread: no handlers, no destructors, no locks of stdio. */
static void leave_while_loading(int code)
{
    _exit(code); /* standard error is unbuffered; nothing goes to standard output */
}

static int serve(struct config *c, struct reload *reload)
{
    struct error error = {0};
    if (command_model(c, &error) != STATUS_OK)
        return command_fail(&error);
    fprintf(stderr, "moering " MOERING_VERSION " serving %s\n", c->model);
    config_print(c, stderr);
    if (!is_loopback(c->host))
        log_warn("--host %s: anybody who reaches this address may use the server, there are no "
                 "keys", c->host);
    struct front_config config = {
        .host = c->host,
        .port = (uint16_t)c->grpc_port,
        .served_name = c->served_model_name,
        .stall_timeout_s = c->client_stall_timeout,
        .shutdown_timeout_s = c->shutdown_timeout,
        .status_interval_s = c->status_interval,
        .reload = reload,
    };
    set_limits(c, &config.limits);
    command_engine_config(c, &config.engine.engine);
    config.engine.engine.budget_line = on_budget_line;
    config.engine.max_queue = c->max_queue;
    struct front *front = NULL;
    if (front_open(&front, &config, &error) != STATUS_OK)
        return command_fail(&error);
    int code = front_run(front);
    if (front_loading(front))
        leave_while_loading(code);
    front_close(front);
    if (code == COMMAND_OK)
        log_info("all requests finished");
    return code;
}

int cmd_serve(int argc, const char *const *argv)
{
    struct config config, started;
    struct reload reload;
    int code = command_config(&config, CONFIG_SERVE, argc, argv);
    if (code != COMMAND_GO_ON)
        return code;
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is a failed write, not the end */
    started = config; /* before the built-in model takes the place of none */
    reload_init(&reload, &started, argc, argv, environ);
    code = serve(&config, &reload);
    config_close(&config);
    return code;
}
