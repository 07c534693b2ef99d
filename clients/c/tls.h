/* How clients trust: what TLS is asked for and whose certificate is believed, written down once.
 *
 * TLS is 1.2 or later. The certificate must be signed by somebody in `ca_file`, or else whom the
 * system trusts, and be for the host that was asked for. */
#ifndef MOERING_CLIENTS_C_TLS_H
#define MOERING_CLIENTS_C_TLS_H

#include "clients/c/channel_result.h"

#ifdef __cplusplus
extern "C" {
#endif

struct ssl_ctx_st;
struct ssl_st;

struct tls_config {
    const char *ca_file; /* PEM; NULL: as the system says */
    bool insecure;       /* whoever answers is believed */
    bool h2;             /* ask for HTTP/2 in the handshake; tls_agreed tells the answer */
};

/* An SSL_CTX, freed by SSL_CTX_free. NULL: *result says INVALID_ARGUMENT for a file that holds no
 * certificates, else RESOURCE_EXHAUSTED. */
struct ssl_ctx_st *tls_open(const struct tls_config *config, struct channel_result *result);
/* Names the host, a name or a numeric address, before the handshake. False: out of memory. */
bool tls_expect(struct ssl_st *ssl, const char *host, bool insecure);
/* After the handshake: was HTTP/2 agreed on? */
bool tls_agreed(const struct ssl_st *ssl);
/* Why the last operation of this thread failed; never NULL. */
const char *tls_cause(void);

#ifdef __cplusplus
}
#endif
#endif
