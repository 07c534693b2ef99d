/* `moering serve`: settings to a running front. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/template/chat_template.h"
#include "memory/base/log.h"
#include "server/command/command.h"
#include "server/front.h"
#include "server/net/api_keys.h"
#include "server/net/tls.h"

enum { TEMPLATE_BYTES_MAX = 1 << 20 };

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

static void set_http_limits(const struct config *c, struct http_limits *limits)
{
    http_limits_init(limits);
    limits->body_bytes = c->http_max_body_bytes;
    limits->connections = c->http_max_connections;
    limits->connections_per_ip = c->http_max_connections_per_ip;
    limits->idle_timeout_s = c->http_idle_timeout;
}

/* What both doors need beside addresses, read before they open. */
struct entrance {
    struct api_keys *keys;
    struct tls *tls;
    char *chat_template; /* of --chat-template-file */
};

static void entrance_close(struct entrance *e)
{
    api_keys_close(e->keys);
    tls_close(e->tls);
    free(e->chat_template);
}

static enum status read_template(const char *path, char **out, struct error *error)
{
    enum status status = STATUS_OK;
    FILE *file = fopen(path, "re");
    if (!file)
        return error_set(error, errno == ENOENT ? STATUS_NOT_FOUND : STATUS_IO,
                         "--chat-template-file: %s: %s", path, strerror(errno));
    *out = calloc(1, TEMPLATE_BYTES_MAX + 1);
    size_t bytes = *out ? fread(*out, 1, TEMPLATE_BYTES_MAX + 1, file) : 0;
    if (!*out)
        status = error_set(error, STATUS_NO_MEMORY, "out of memory for a chat template");
    else if (ferror(file))
        status = error_set(error, STATUS_IO, "--chat-template-file: %s: cannot be read", path);
    else if (bytes > TEMPLATE_BYTES_MAX || memchr(*out, 0, bytes))
        status = error_set(error, STATUS_INVALID,
                           "--chat-template-file: %s: longer than %d bytes, or "
                           "not a text",
                           path, TEMPLATE_BYTES_MAX);
    fclose(file);
    return status;
}

static enum status entrance_open(struct entrance *e, const struct config *c, struct error *error)
{
    enum status status = api_keys_open(&e->keys, c->api_key, c->api_key_file, error);
    if (status == STATUS_OK && !c->ssl_certfile != !c->ssl_keyfile)
        status = error_set(error, STATUS_INVALID,
                           "--ssl-certfile and --ssl-keyfile go together: %s is "
                           "missing",
                           c->ssl_certfile ? "--ssl-keyfile" : "--ssl-certfile");
    if (status == STATUS_OK && c->ssl_certfile)
        status = tls_open(&e->tls, c->ssl_certfile, c->ssl_keyfile, error);
    if (status == STATUS_OK && c->chat_template && c->chat_template_file)
        status =
            error_set(error, STATUS_INVALID, "--chat-template and --chat-template-file: give one");
    if (status == STATUS_OK && c->chat_template && !chat_template_builtin(c->chat_template))
        status = error_set(error, STATUS_INVALID,
                           "--chat-template: no built-in template '%s' (--help "
                           "names them); a file goes with --chat-template-file",
                           c->chat_template);
    if (status == STATUS_OK && c->chat_template_file)
        status = read_template(c->chat_template_file, &e->chat_template, error);
    return status;
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

static int serve(struct config *c, struct reload *reload, struct entrance *entrance)
{
    struct error error = {0};
    if (command_model(c, &error) != STATUS_OK || entrance_open(entrance, c, &error) != STATUS_OK)
        return command_fail(&error);
    fprintf(stderr, "moering " MOERING_VERSION " serving %s\n", c->model);
    config_print(c, stderr);
    if (!is_loopback(c->host) && !entrance->keys)
        log_warn("--host %s: anybody who reaches this address may use the server, there is no "
                 "key (--api-key-file)", c->host);
    struct front_config config = {
        .host = c->host,
        .port = (uint16_t)c->grpc_port,
        .http_port = (uint16_t)c->port,
        .keys = entrance->keys,
        .tls = entrance->tls,
        .ui = c->ui,
        .chat_template = entrance->chat_template ? entrance->chat_template : c->chat_template,
        .tool_call_parser = c->tool_call_parser,
        .reasoning_parser = c->reasoning_parser,
        .metrics = c->metrics,
        .metrics_public = c->metrics_public,
        .served_name = c->served_model_name,
        .seeded = config_source_of(c, "seed") != CONFIG_DEFAULT,
        .seed = c->seed,
        .stall_timeout_s = c->client_stall_timeout,
        .shutdown_timeout_s = c->shutdown_timeout,
        .status_interval_s = c->status_interval,
        .reload = reload,
    };
    set_limits(c, &config.limits);
    set_http_limits(c, &config.http_limits);
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
    struct entrance entrance = {0};
    int code = command_config(&config, CONFIG_SERVE, argc, argv);
    if (code != COMMAND_GO_ON)
        return code;
    signal(SIGPIPE, SIG_IGN);
    started = config; /* before the built-in model takes the place of none */
    reload_init(&reload, &started, argc, argv, environ);
    code = serve(&config, &reload, &entrance);
    entrance_close(&entrance);
    config_close(&config);
    return code;
}
