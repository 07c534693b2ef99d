#include "server/command/builtin.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef MOERING_DATA_DIR
#define MOERING_DATA_DIR "/usr/share/moering"
#endif

static const char in_checkout[] = "deploy/models/tiny";
static const char in_prefix[] = "share/moering/models/tiny";
static const char installed[] = MOERING_DATA_DIR "/models/tiny";

static bool is_model(const char *folder)
{
    char path[PATH_MAX];
    int n = snprintf(path, sizeof path, "%s/config.json", folder);
    return n > 0 && (size_t)n < sizeof path && access(path, R_OK) == 0;
}

static bool take(const char *folder, char *out, size_t out_bytes)
{
    int n = snprintf(out, out_bytes, "%s", folder);
    return n > 0 && (size_t)n < out_bytes && is_model(out);
}

enum status builtin_find(const char *variable, const char *executable, char *out, size_t out_bytes,
                         struct error *error)
{
    if (variable && *variable) {
        if (take(variable, out, out_bytes))
            return STATUS_OK;
        return error_set(error, STATUS_NOT_FOUND,
                         "MOERING_BUILTIN_MODEL: no config.json in '%s'", variable);
    }
    char folder[PATH_MAX], candidate[PATH_MAX];
    snprintf(folder, sizeof folder, "%s", executable ? executable : "");
    for (char *slash; (slash = strrchr(folder, '/'));) {
        *slash = '\0';
        const char *const places[] = {in_checkout, in_prefix};
        for (int i = 0; i < 2; i++) {
            int n = snprintf(candidate, sizeof candidate, "%s/%s", folder, places[i]);
            if (n > 0 && (size_t)n < sizeof candidate && take(candidate, out, out_bytes))
                return STATUS_OK;
        }
    }
    if (take(installed, out, out_bytes))
        return STATUS_OK;
    return error_set(
        error, STATUS_NOT_FOUND,
        "the built-in model was found neither as %s or %s above the program nor in %s; "
        "name a model folder or set MOERING_BUILTIN_MODEL",
        in_checkout, in_prefix, installed);
}

enum status builtin_model(char *out, size_t out_bytes, struct error *error)
{
    char executable[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", executable, sizeof executable - 1);
    executable[n > 0 ? n : 0] = '\0';
    return builtin_find(getenv("MOERING_BUILTIN_MODEL"), executable, out, out_bytes, error);
}
