/* A socket that carries a channel's bytes, plain or under TLS (tls.h), where "h2" must be agreed
 * on; never blocks after open. Writing to a connection that the other side has closed raises no
 * SIGPIPE. */
#ifndef MOERING_CLIENTS_C_TRANSPORT_H
#define MOERING_CLIENTS_C_TRANSPORT_H

#include <sys/types.h>

#include "clients/c/channel.h"

#ifdef __cplusplus
extern "C" {
#endif

struct transport;

/* Connects and shakes hands within config->timeout_ms. False: *result says why. */
bool transport_open(struct transport **out, const struct channel_config *config,
                    struct channel_result *result);
void transport_close(struct transport *transport); /* accepts NULL */

/* Bytes taken or given; 0: not now, see transport_events; -1: the connection is gone. */
ssize_t transport_write(struct transport *transport, const void *bytes, size_t size);
ssize_t transport_read(struct transport *transport, void *bytes, size_t size);
/* Where to poll, and for what, after a 0: POLLIN, POLLOUT. A transport_read that gave bytes may
 * have more that poll knows nothing of: read until it says 0. */
int transport_fd(const struct transport *transport);
short transport_events(const struct transport *transport);

#ifdef __cplusplus
}
#endif
#endif
