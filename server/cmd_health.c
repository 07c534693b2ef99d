/* `moering health`: for container health checks. The server has no client in it; the one that is
 * installed beside it does the asking. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "server/command.h"

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
    execl(client, client, "health", "--connect", config.connect, (char *)NULL);
    error_set(&error, STATUS_NOT_FOUND, "%s: %s", client, strerror(errno));
    config_close(&config);
    return command_fail(&error);
}
