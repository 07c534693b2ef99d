/* See tls.h. A context of OpenSSL is made of the files whole and put in the place of the old one
 * only then; connections hold on to the one they began with. */
#include "server/net/tls.h"

#include <errno.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <event2/util.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct tls {
    SSL_CTX *context;
    char *cert_path, *key_path;
};

/* What ALPN calls the two (RFC 7301), each with its length before it. */
static const unsigned char *protocol_name(enum tls_protocol protocol)
{
    return (const unsigned char *)(protocol == TLS_HTTP2 ? "\2h2" : "\10http/1.1");
}

/* The protocol that a connection was accepted for, as a pointer: one of two, and never NULL. */
static void protocol_set(SSL *ssl, enum tls_protocol protocol)
{
    (void)SSL_set_app_data(ssl, protocol_name(protocol));
}

/* One protocol for each port: a client that offers others only is told so, not served something
 * else. */
static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_bytes,
                   const unsigned char *offered, unsigned offered_bytes, void *arg)
{
    const unsigned char *ours = SSL_get_app_data(ssl);
    unsigned char *chosen;
    (void)arg;
    if (SSL_select_next_proto(&chosen, out_bytes, ours, 1u + *ours, offered, offered_bytes) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

/* A key with a passphrase is an error: nobody is there to type it. */
static int on_passphrase(char *out, int size, int writing, void *arg)
{
    (void)out, (void)size, (void)writing, (void)arg;
    return -1;
}

static enum status fail_openssl(struct error *error, const char *flag, const char *path,
                                const char *what)
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    ERR_clear_error();
    return error_set(error, STATUS_INVALID, "%s %s: %s (%s)", flag, path, what,
                     reason ? reason : "unknown reason");
}

static enum status file_check(const char *flag, const char *path, struct error *error)
{
    char byte;
    FILE *file = fopen(path, "re");
    errno = file ? 0 : errno;
    if (file && fread(&byte, 1, 1, file) == 0 && !ferror(file))
        errno = 0; /* an empty file can be read; what it lacks is said later */
    int why = errno;
    if (file)
        (void)fclose(file);
    if (why == 0)
        return STATUS_OK;
    return error_set(error, why == ENOENT ? STATUS_NOT_FOUND : STATUS_IO, "%s %s: %s", flag, path,
                     strerror(why));
}

static enum status files_load(SSL_CTX *context, const struct tls *tls, struct error *error)
{
    static const char cert[] = "--ssl-certfile", key[] = "--ssl-keyfile";
    enum status status = file_check(cert, tls->cert_path, error);
    if (status == STATUS_OK)
        status = file_check(key, tls->key_path, error);
    if (status != STATUS_OK)
        return status;
    ERR_clear_error();
    if (SSL_CTX_use_certificate_chain_file(context, tls->cert_path) != 1)
        return fail_openssl(error, cert, tls->cert_path, "not a PEM certificate chain");
    if (SSL_CTX_use_PrivateKey_file(context, tls->key_path, SSL_FILETYPE_PEM) != 1 &&
        ERR_GET_REASON(ERR_peek_last_error()) != X509_R_KEY_VALUES_MISMATCH)
        return fail_openssl(error, key, tls->key_path, "not a PEM key without a passphrase");
    if (SSL_CTX_check_private_key(context) != 1)
        return fail_openssl(error, key, tls->key_path,
                            "not the key of the certificate in --ssl-certfile");
    return STATUS_OK;
}

static enum status context_open(SSL_CTX **out, const struct tls *tls, struct error *error)
{
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    enum status status = STATUS_NO_MEMORY;
    if (!context || SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) != 1) {
        (void)error_set(error, status, "no memory for TLS");
        goto fail;
    }
    (void)SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE);
    (void)SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                        SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_default_passwd_cb(context, on_passphrase);
    SSL_CTX_set_alpn_select_cb(context, on_alpn, NULL);
    status = files_load(context, tls, error);
    if (status != STATUS_OK)
        goto fail;
    *out = context;
    return STATUS_OK;
fail:
    SSL_CTX_free(context);
    return status;
}

enum status tls_open(struct tls **out, const char *cert_path, const char *key_path,
                     struct error *error)
{
    *out = NULL;
    struct tls *tls = calloc(1, sizeof *tls);
    enum status status = STATUS_NO_MEMORY;
    if (tls) {
        tls->cert_path = strdup(cert_path);
        tls->key_path = strdup(key_path);
    }
    if (!tls || !tls->cert_path || !tls->key_path)
        (void)error_set(error, status, "no memory for TLS");
    else
        status = context_open(&tls->context, tls, error);
    if (status != STATUS_OK) {
        tls_close(tls);
        return status;
    }
    *out = tls;
    return STATUS_OK;
}

void tls_close(struct tls *tls)
{
    if (!tls)
        return;
    SSL_CTX_free(tls->context);
    free(tls->cert_path);
    free(tls->key_path);
    free(tls);
}

enum status tls_reload(struct tls *tls, struct error *error)
{
    SSL_CTX *context;
    enum status status = context_open(&context, tls, error);
    if (status != STATUS_OK)
        return status;
    SSL_CTX_free(tls->context);
    tls->context = context;
    return STATUS_OK;
}

struct bufferevent *tls_accept(struct tls *tls, struct event_base *base, int fd,
                               enum tls_protocol protocol)
{
    SSL *ssl = SSL_new(tls->context);
    if (!ssl) {
        (void)evutil_closesocket(fd);
        return NULL;
    }
    protocol_set(ssl, protocol);
    struct bufferevent *bev =
        bufferevent_openssl_socket_new(base, fd, ssl, BUFFEREVENT_SSL_ACCEPTING,
                                       BEV_OPT_CLOSE_ON_FREE | BEV_OPT_DEFER_CALLBACKS);
    if (!bev) { /* it has freed ssl, and left the descriptor */
        (void)evutil_closesocket(fd);
        return NULL;
    }
    /* Many clients leave without a close_notify; the protocols here know their own ends. */
    bufferevent_openssl_set_allow_dirty_shutdown(bev, 1);
    return bev;
}

bool tls_agreed(struct bufferevent *bev, enum tls_protocol protocol)
{
    const unsigned char *name;
    unsigned bytes;
    SSL *ssl = bufferevent_openssl_get_ssl(bev);
    if (!ssl)
        return true;
    if (!SSL_is_init_finished(ssl))
        return false;
    SSL_get0_alpn_selected(ssl, &name, &bytes);
    if (!name)
        return protocol == TLS_HTTP1;
    const unsigned char *wanted = protocol_name(protocol);
    return bytes == *wanted && memcmp(name, wanted + 1, bytes) == 0;
}

void tls_shutdown(struct bufferevent *bev)
{
    SSL *ssl = bufferevent_openssl_get_ssl(bev);
    if (!ssl || !SSL_is_init_finished(ssl))
        return;
    ERR_clear_error();
    (void)SSL_shutdown(ssl);
    ERR_clear_error();
}
