/* A TCP connection to the first address of a host that takes one. */
#ifndef MOERING_CLIENTS_C_CONNECT_H
#define MOERING_CLIENTS_C_CONNECT_H

#include <stdint.h>
#include <sys/socket.h>

#include "clients/c/channel_result.h"

#ifdef __cplusplus
extern "C" {
#endif

struct connect_target {
    const char *host, *port; /* IPv6 without brackets */
    const char *name;        /* of both, for sentences */
};

/* The socket, not blocking, closed on exec, with TCP_NODELAY and keep-alives (90 s of silence end
 * it); the caller closes it. All addresses together have until `deadline_ms` of now_ms; looking the
 * name up is not counted. -1: *result says UNAVAILABLE and why. *address and *address_bytes, which
 * may be NULL, are set to the one that answered. */
int connect_any(const struct connect_target *target, uint64_t deadline_ms,
                struct sockaddr_storage *address, socklen_t *address_bytes,
                struct channel_result *result);
/* Waits until poll reports one of `events`. False: not before the deadline; errno is ETIMEDOUT. */
bool connect_wait(int fd, short events, uint64_t deadline_ms);

#ifdef __cplusplus
}
#endif
#endif
