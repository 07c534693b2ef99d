#include "clients/bench/dial.h"

#include <errno.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <event2/util.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clients/c/connect.h"
#include "clients/c/now.h"
#include "clients/c/tls.h"

struct dial {
    struct sockaddr_storage address;
    socklen_t address_bytes;
    char host[256];
    SSL_CTX *tls; /* NULL: plaintext */
    bool insecure, h2;
};

static bool find_address(struct dial *d, const struct dial_config *c, struct fault *fault)
{
    const struct connect_target target = {c->address->host, c->address->port,
                                          c->address->authority};
    struct channel_result why;
    uint64_t deadline_ms = now_ms() + (uint64_t)(c->timeout_s * 1000);
    int fd = connect_any(&target, deadline_ms, &d->address, &d->address_bytes, &why);
    if (fd < 0)
        return fault_set(fault, "%s", why.message);
    close(fd);
    return true;
}

static bool open_context(struct dial *d, const struct dial_config *c, struct fault *fault)
{
    const struct tls_config config = {.ca_file = c->ca_file, .insecure = c->insecure, .h2 = c->h2};
    struct channel_result why;
    d->tls = tls_open(&config, &why);
    return d->tls || fault_set(fault, "%s", why.message);
}

bool dial_open(struct dial **out, const struct dial_config *c, struct fault *fault)
{
    struct dial *d = calloc(1, sizeof *d);
    *out = NULL;
    if (!d)
        return fault_set(fault, "out of memory");
    strcpy(d->host, c->address->host);
    d->insecure = c->insecure;
    d->h2 = c->h2;
    if ((c->address->tls && !open_context(d, c, fault)) || !find_address(d, c, fault)) {
        dial_close(d);
        return false;
    }
    *out = d;
    return true;
}

void dial_close(struct dial *d)
{
    if (!d)
        return;
    SSL_CTX_free(d->tls);
    free(d);
}

static struct bufferevent *tls_connection(struct dial *d, struct event_base *base, int fd)
{
    SSL *ssl = SSL_new(d->tls);
    if (!ssl)
        return NULL;
    struct bufferevent *b = NULL;
    if (tls_expect(ssl, d->host, d->insecure))
        b = bufferevent_openssl_socket_new(base, fd, ssl, BUFFEREVENT_SSL_CONNECTING,
                                           BEV_OPT_CLOSE_ON_FREE | BEV_OPT_DEFER_CALLBACKS);
    if (!b)
        SSL_free(ssl);
    return b;
}

struct bufferevent *dial_connect(struct dial *d, struct event_base *base)
{
    int on = 1;
    int fd = socket(d->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return NULL;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct bufferevent *b = d->tls ? tls_connection(d, base, fd)
                                   : bufferevent_socket_new(base, fd, BEV_OPT_CLOSE_ON_FREE);
    if (!b) {
        close(fd);
        errno = ENOMEM;
        return NULL;
    }
    if (bufferevent_socket_connect(b, (struct sockaddr *)&d->address, (int)d->address_bytes) != 0) {
        int cause = errno;
        bufferevent_free(b);
        errno = cause;
        return NULL;
    }
    return b;
}

void dial_explain(struct bufferevent *connection, short what, struct fault *fault)
{
    int cause = EVUTIL_SOCKET_ERROR();
    unsigned long tls = bufferevent_get_openssl_error(connection);
    if (what & BEV_EVENT_EOF)
        fault_set(fault, "the server closed the connection");
    else if (tls)
        fault_set(fault, "TLS: %s", ERR_reason_error_string(tls));
    else if (what & BEV_EVENT_TIMEOUT)
        fault_set(fault, "the connection timed out");
    else
        fault_set(fault, "the connection broke: %s", strerror(cause));
}

bool dial_agreed(const struct dial *d, struct bufferevent *connection)
{
    return !d->tls || !d->h2 || tls_agreed(bufferevent_openssl_get_ssl(connection));
}
