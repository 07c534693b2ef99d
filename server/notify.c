#include "server/notify.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "memory/base/log.h"

static enum status parse_address(struct notify *n, const char *name, struct error *error)
{
    size_t length = strlen(name);
    if ((name[0] != '/' && name[0] != '@') || length < 2)
        return error_set(error, STATUS_INVALID,
                         "NOTIFY_SOCKET: '%s' is neither a path nor an abstract name (@...)", name);
    if (length >= sizeof n->address.sun_path)
        return error_set(error, STATUS_INVALID, "NOTIFY_SOCKET: '%s' has more than %zu characters",
                         name, sizeof n->address.sun_path - 1);
    n->address.sun_family = AF_UNIX;
    memcpy(n->address.sun_path, name, length);
    /* An abstract name is as long as the address says: a final NUL would be a part of it. */
    if (name[0] == '@')
        n->address.sun_path[0] = '\0';
    n->address_bytes = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
    return STATUS_OK;
}

/* Digits only, unlike strtoull; 0 is none. */
static bool parse_number(const char *text, uint64_t *out)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end || errno || !value)
        return false;
    *out = value;
    return true;
}

static enum status parse_watchdog(struct notify *n, const char *usec, const char *pid,
                                  struct error *error)
{
    uint64_t allowed_us, owner;
    if (!usec || !*usec)
        return STATUS_OK;
    if (pid && *pid) {
        if (!parse_number(pid, &owner))
            return error_set(error, STATUS_INVALID, "WATCHDOG_PID: '%s' is not a process id", pid);
        if (owner != (uint64_t)getpid())
            return STATUS_OK;
    }
    if (!parse_number(usec, &allowed_us) || allowed_us > UINT64_MAX / 1000)
        return error_set(error, STATUS_INVALID, "WATCHDOG_USEC: '%s' is not a time in microseconds",
                         usec);
    n->ping_ns = allowed_us * 1000 / 2;
    return STATUS_OK;
}

enum status notify_open(struct notify *n, const char *socket_name, const char *watchdog_usec,
                        const char *watchdog_pid, struct error *error)
{
    *n = (struct notify){.fd = -1};
    if (!socket_name || !*socket_name)
        return STATUS_OK;
    enum status status = parse_address(n, socket_name, error);
    if (status == STATUS_OK)
        status = parse_watchdog(n, watchdog_usec, watchdog_pid, error);
    if (status != STATUS_OK)
        goto fail;
    n->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (n->fd >= 0)
        return STATUS_OK;
    status = error_set(error, STATUS_IO, "NOTIFY_SOCKET: no socket: %s", strerror(errno));
fail:
    *n = (struct notify){.fd = -1};
    return status;
}

void notify_close(struct notify *n)
{
    if (n->fd >= 0)
        close(n->fd);
    n->fd = -1;
}

static bool send_message(struct notify *n, const char *message)
{
    ssize_t sent = sendto(n->fd, message, strlen(message), MSG_NOSIGNAL,
                          (const struct sockaddr *)&n->address, n->address_bytes);
    if (sent >= 0)
        return true;
    if (errno != EAGAIN && errno != ENOBUFS && errno != EINTR && !n->told_failure) {
        n->told_failure = true;
        log_warn("the service manager cannot be told anything (it is tried again): %s",
                 strerror(errno));
    }
    return false;
}

/* One message with everything that is unsent: a state comes with the text that explains it. */
static void send_unsent(struct notify *n)
{
    char message[NOTIFY_TEXT_MAX + 128], state[96] = "";
    if (n->fd < 0 || (n->unsent == NOTIFY_NOTHING && !n->text_unsent))
        return;
    if (n->unsent == NOTIFY_READY)
        snprintf(state, sizeof state, "READY=1\n");
    if (n->unsent == NOTIFY_STOPPING)
        snprintf(state, sizeof state, "STOPPING=1\nEXTEND_TIMEOUT_USEC=%" PRIu64 "\n",
                 (uint64_t)n->patience_s * 1000000);
    if (n->text_unsent)
        snprintf(message, sizeof message, "%sSTATUS=%s\n", state, n->text);
    else
        snprintf(message, sizeof message, "%s", state);
    if (!send_message(n, message))
        return;
    n->unsent = NOTIFY_NOTHING;
    n->text_unsent = false;
}

void notify_text(struct notify *n, const char *format, ...)
{
    char text[NOTIFY_TEXT_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    for (char *c = text; *c; c++)
        if (*c == '\n') /* would begin another NAME=VALUE */
            *c = ' ';
    if (strcmp(text, n->text) == 0)
        return;
    memcpy(n->text, text, sizeof text);
    n->text_unsent = true;
    send_unsent(n);
}

void notify_ready(struct notify *n)
{
    n->unsent = NOTIFY_READY;
    send_unsent(n);
}

void notify_stopping(struct notify *n, uint32_t patience_s)
{
    n->unsent = NOTIFY_STOPPING;
    n->patience_s = patience_s;
    send_unsent(n);
}

void notify_tick(struct notify *n, uint64_t now_ns)
{
    send_unsent(n);
    if (n->fd < 0 || !n->ping_ns || now_ns < n->next_ping_ns)
        return;
    send_message(n, "WATCHDOG=1\n");
    n->next_ping_ns = now_ns + n->ping_ns;
}
