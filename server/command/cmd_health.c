/* `moering health`: for container health checks. The server has no client in it; the one that is
 * installed beside it does the asking.
 *
 * A check runs in the environment of its server, so a certificate named there means that the server
 * speaks TLS. The certificate is for the server's name in the world and the check asks at its
 * loopback address, so it is not asked whose it is: nobody stands between. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/command/command.h"

enum { WORDS_MAX = 10 };

static bool is_loopback(const char *address)
{
    return strncmp(address, "127.", 4) == 0 || strncmp(address, "[::1]:", 6) == 0 ||
           strncmp(address, "localhost:", 10) == 0;
}

/* What the environment says of the server, where the command line leaves it open. */
static void apply_environment(struct config *config)
{
    const char *certificate = getenv("MOERING_SSL_CERTFILE");
    if (!certificate || !*certificate || config_source_of(config, "tls") != CONFIG_DEFAULT)
        return;
    config->tls = true;
    if (!config->ca && config_source_of(config, "insecure") == CONFIG_DEFAULT)
        config->insecure = is_loopback(config->connect);
}

int cmd_health(int argc, const char *const *argv)
{
    struct config config;
    struct error error = {0};
    int code = command_config(&config, CONFIG_HEALTH, argc, argv);
    if (code != COMMAND_GO_ON)
        return code;
    char path[PATH_MAX], client[PATH_MAX + 16];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    path[n > 0 ? n : 0] = '\0';
    char *slash = strrchr(path, '/');
    if (slash)
        *slash = '\0';
    snprintf(client, sizeof client, "%s/moering-client", path);
    apply_environment(&config);
    const char *words[WORDS_MAX] = {client, "health", "--connect", config.connect};
    int count = 4;
    if (config.tls)
        words[count++] = "--tls";
    if (config.insecure)
        words[count++] = "--insecure";
    if (config.ca) {
        words[count++] = "--ca";
        words[count++] = config.ca;
    }
    execv(client, (char *const *)words);
    error_set(&error, STATUS_NOT_FOUND, "%s: %s", client, strerror(errno));
    config_close(&config);
    return command_fail(&error);
}
