/* TLS for both ports: one certificate, read from files and read again on SIGHUP. OpenSSL is seen
 * by tls.c alone. Front thread. */
#ifndef MOERING_SERVER_NET_TLS_H
#define MOERING_SERVER_NET_TLS_H

#include <stdbool.h>

#include "memory/base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

struct bufferevent;
struct event_base;
struct tls;

enum tls_protocol { TLS_HTTP1, TLS_HTTP2 }; /* offered by ALPN: "http/1.1", "h2" */

/* TLS 1.2 and later. INVALID: a file that is no PEM certificate chain or key, or a key of another
 * certificate; NOT_FOUND, IO: the file. The sentence names the flag and the file. */
enum status tls_open(struct tls **out, const char *cert_path, const char *key_path,
                     struct error *error);
void tls_close(struct tls *tls); /* accepts NULL */
/* Reads the files again; connections that are open keep what they have. On failure nothing has
 * changed. */
enum status tls_reload(struct tls *tls, struct error *error);
/* A server-side bufferevent on an accepted descriptor, which it owns (also on failure). NULL: no
 * memory. */
struct bufferevent *tls_accept(struct tls *tls, struct event_base *base, int fd,
                               enum tls_protocol protocol);
/* True once the handshake is over and the other side agreed on the protocol it was accepted for;
 * HTTP/2 must be agreed on, HTTP/1.1 may be left unsaid. True for a plain bufferevent: nothing
 * is to be agreed on. */
bool tls_agreed(struct bufferevent *bev, enum tls_protocol protocol);
/* Tells the other side that no byte will follow (close_notify). Plain bufferevents: nothing. */
void tls_shutdown(struct bufferevent *bev);

#ifdef __cplusplus
}
#endif
#endif
