/* Tells the service manager how the server is: systemd's readiness protocol, for units of
 * Type=notify. A message is one datagram of lines NAME=VALUE to the Unix socket that the manager
 * names in NOTIFY_SOCKET (sd_notify(3) lists them), little enough to do without libsystemd.
 *
 * Whoever started us may not be such a manager: without NOTIFY_SOCKET everything here does nothing.
 * Nothing waits. What the manager's full queue refuses is kept and sent at the next tick, and of
 * two that could not be sent the newer one counts; a ping that is refused is lost. The front thread
 * is the only caller, so a watchdog that starves says that the event loop stands still. */
#ifndef MOERING_SERVER_NOTIFY_H
#define MOERING_SERVER_NOTIFY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "memory/base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { NOTIFY_TEXT_MAX = 256 };

enum notify_state { NOTIFY_NOTHING, NOTIFY_READY, NOTIFY_STOPPING };

struct notify {
    int fd; /* -1: nobody wants to know */
    struct sockaddr_un address;
    socklen_t address_bytes;
    uint64_t ping_ns;      /* half of what the watchdog allows; 0: there is none */
    uint64_t next_ping_ns; /* when, by the clock of the ticks */
    enum notify_state unsent;
    bool text_unsent, told_failure;
    uint32_t patience_s; /* of NOTIFY_STOPPING */
    char text[NOTIFY_TEXT_MAX];
};

/* The three are the environment's NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID, NULL where it has
 * none. An address begins with '/', or with '@' for Linux' abstract names; a watchdog that is meant
 * for another process is none. INVALID, IO: the sentence names the variable; `n` is then as without
 * a manager, and may be used. */
enum status notify_open(struct notify *n, const char *socket_name, const char *watchdog_usec,
                        const char *watchdog_pid, struct error *error);
void notify_close(struct notify *n); /* accepts a closed one */

/* What `systemctl status` shows: a line, cut at NOTIFY_TEXT_MAX. The same again is not sent. */
void notify_text(struct notify *n, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Requests are served from now on. */
void notify_ready(struct notify *n);
/* The server ends, within `patience_s` at most: the manager waits for that long even if the unit's
 * TimeoutStopSec is less. */
void notify_stopping(struct notify *n, uint32_t patience_s);
/* Pings the watchdog when it is time, and sends what could not be sent before. Call it several
 * times a second. */
void notify_tick(struct notify *n, uint64_t now_ns);

#ifdef __cplusplus
}
#endif
#endif
