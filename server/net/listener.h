/* A listening TCP socket on the front thread, and the one place where an accepted socket becomes a
 * bufferevent, plain or TLS. */
#ifndef MOERING_SERVER_NET_LISTENER_H
#define MOERING_SERVER_NET_LISTENER_H

#include <stdint.h>

#include "memory/base/status.h"
#include "server/net/tls.h"

#ifdef __cplusplus
extern "C" {
#endif

struct bufferevent;
struct event_base;
struct listener;

enum { LISTENER_PEER_BYTES = 64, LISTENER_IP_BYTES = 16 };

/* Who is at the other end. */
struct listener_peer {
    char name[LISTENER_PEER_BYTES];  /* "127.0.0.1:41234", "[::1]:41234" */
    uint8_t ip[LISTENER_IP_BYTES];   /* IPv4 in its mapped form */
};

/* A client has come. Owns `bev`, which is not enabled yet. */
typedef void listener_accept(void *arg, struct bufferevent *bev, const struct listener_peer *peer);

/* Listens at once. `port` 0: any free one. INVALID: `host` is no address; IO: cannot bind;
 * NO_MEMORY. The sentence names the address. */
enum status listener_open(struct listener **out, struct event_base *base, const char *host,
                          uint16_t port, listener_accept *accept, void *arg, struct error *error);
/* What is accepted from now on speaks TLS. `tls` is borrowed; NULL: plain again. */
void listener_set_tls(struct listener *listener, struct tls *tls, enum tls_protocol protocol);
uint16_t listener_port(const struct listener *listener);
/* Accepting stops by itself when descriptors run out; call this now and then to start it again. */
void listener_resume(struct listener *listener);
/* Accepts NULL. */
void listener_close(struct listener *listener);

#ifdef __cplusplus
}
#endif
#endif
