#include "clients/c/tls.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <string.h>

const char *tls_cause(void)
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    return reason ? reason : "the connection was closed";
}

struct ssl_ctx_st *tls_open(const struct tls_config *c, struct channel_result *result)
{
    static const unsigned char h2[] = {2, 'h', '2'};
    ERR_clear_error();
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    if (!context || !SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) ||
        (c->h2 && SSL_CTX_set_alpn_protos(context, h2, sizeof h2) != 0)) {
        channel_result_fail(result, GRPC_RESOURCE_EXHAUSTED, "TLS: %s", tls_cause());
        goto fail;
    }
    if (c->insecure)
        return context;
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    int loaded = c->ca_file ? SSL_CTX_load_verify_locations(context, c->ca_file, NULL)
                            : SSL_CTX_set_default_verify_paths(context);
    if (loaded)
        return context;
    channel_result_fail(result, GRPC_INVALID_ARGUMENT,
                        "%s: no certificates can be read from it: %s",
                        c->ca_file ? c->ca_file : "the system's certificates", tls_cause());
fail:
    SSL_CTX_free(context);
    return NULL;
}

bool tls_expect(struct ssl_st *ssl, const char *host, bool insecure)
{
    struct in6_addr spare;
    bool numeric = inet_pton(AF_INET, host, &spare) == 1 || inet_pton(AF_INET6, host, &spare) == 1;
    if (numeric)
        return insecure || X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host);
    return SSL_set_tlsext_host_name(ssl, host) && (insecure || SSL_set1_host(ssl, host));
}

bool tls_agreed(const struct ssl_st *ssl)
{
    const unsigned char *name = NULL;
    unsigned bytes = 0;
    SSL_get0_alpn_selected(ssl, &name, &bytes);
    return bytes == 2 && memcmp(name, "h2", 2) == 0;
}
