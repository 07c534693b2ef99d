/* Connections to one server: names are looked up once, the address that answers is kept, and each
 * connection is a bufferevent, with TLS (clients/c/tls.h) where the address says so. Only dial.c
 * sees OpenSSL here. */
#ifndef MOERING_CLIENTS_BENCH_DIAL_H
#define MOERING_CLIENTS_BENCH_DIAL_H

#include <stdbool.h>

#include "clients/bench/address.h"
#include "clients/program/fault.h"

#ifdef __cplusplus
extern "C" {
#endif

struct bufferevent;
struct dial;
struct event_base;

struct dial_config {
    const struct address *address;
    const char *ca_file; /* certificates to trust; NULL: the system's */
    bool insecure;       /* trust whoever answers */
    bool h2;             /* ask for HTTP/2 in the TLS handshake, and refuse anything else */
    double timeout_s;    /* to find an address that answers */
};

/* Waits until a connection could be made, and closes it. False: *fault says why there is none. */
bool dial_open(struct dial **out, const struct dial_config *config, struct fault *fault);
void dial_close(struct dial *dial); /* accepts NULL */

/* A connection being made; BEV_EVENT_CONNECTED tells when it is there. NULL: out of descriptors or
 * memory, errno says which. */
struct bufferevent *dial_connect(struct dial *dial, struct event_base *base);
/* After an event other than BEV_EVENT_CONNECTED: why the connection ended. */
void dial_explain(struct bufferevent *connection, short what, struct fault *fault);
/* After BEV_EVENT_CONNECTED: false if h2 was asked for and not agreed on. */
bool dial_agreed(const struct dial *dial, struct bufferevent *connection);

#ifdef __cplusplus
}
#endif
#endif
