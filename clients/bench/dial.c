#include "clients/bench/dial.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <event2/util.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

struct dial {
    struct sockaddr_storage address;
    socklen_t address_bytes;
    char host[256];
    SSL_CTX *tls; /* NULL: plaintext */
    bool insecure, h2;
};

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* 0, or why nothing answers there. */
static int try_address(const struct addrinfo *a, double deadline_s)
{
    int fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return errno;
    int cause = connect(fd, a->ai_addr, a->ai_addrlen) == 0 ? 0 : errno;
    while (cause == EINPROGRESS) {
        double left_s = deadline_s - now_s();
        struct pollfd p = {.fd = fd, .events = POLLOUT};
        int n = left_s > 0 ? poll(&p, 1, (int)(left_s * 1000) + 1) : 0;
        if (n < 0 && errno == EINTR)
            continue;
        socklen_t size = sizeof cause;
        if (n <= 0)
            cause = ETIMEDOUT;
        else
            getsockopt(fd, SOL_SOCKET, SO_ERROR, &cause, &size);
    }
    close(fd);
    return cause;
}

static bool find_address(struct dial *d, const struct dial_config *c, struct fault *fault)
{
    struct addrinfo *list = NULL, hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    int failure = getaddrinfo(c->address->host, c->address->port, &hints, &list);
    if (failure)
        return fault_set(fault, "%s: %s", c->address->authority, gai_strerror(failure));
    double deadline_s = now_s() + c->timeout_s;
    int cause = EADDRNOTAVAIL;
    for (const struct addrinfo *a = list; a && cause; a = a->ai_next) {
        cause = try_address(a, deadline_s);
        if (cause == 0) {
            memcpy(&d->address, a->ai_addr, a->ai_addrlen);
            d->address_bytes = a->ai_addrlen;
        }
    }
    freeaddrinfo(list);
    return cause == 0 || fault_set(fault, "cannot connect to %s: %s", c->address->authority,
                                   strerror(cause));
}

static const char *tls_cause(void)
{
    const char *reason = ERR_reason_error_string(ERR_get_error());
    return reason ? reason : "no cause given";
}

static bool open_tls(struct dial *d, const struct dial_config *c, struct fault *fault)
{
    static const unsigned char h2[] = {2, 'h', '2'};
    d->tls = SSL_CTX_new(TLS_client_method());
    if (!d->tls || !SSL_CTX_set_min_proto_version(d->tls, TLS1_2_VERSION))
        return fault_set(fault, "TLS: %s", tls_cause());
    if (c->h2 && SSL_CTX_set_alpn_protos(d->tls, h2, sizeof h2) != 0)
        return fault_set(fault, "TLS: %s", tls_cause());
    if (c->insecure)
        return true;
    SSL_CTX_set_verify(d->tls, SSL_VERIFY_PEER, NULL);
    int loaded = c->ca_file ? SSL_CTX_load_verify_locations(d->tls, c->ca_file, NULL)
                            : SSL_CTX_set_default_verify_paths(d->tls);
    return loaded || fault_set(fault, "%s: certificates cannot be read: %s",
                               c->ca_file ? c->ca_file : "TLS", tls_cause());
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
    if ((c->address->tls && !open_tls(d, c, fault)) || !find_address(d, c, fault)) {
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
    struct in6_addr spare;
    bool numeric = inet_pton(AF_INET, d->host, &spare) == 1 ||
                   inet_pton(AF_INET6, d->host, &spare) == 1;
    bool named = numeric ? d->insecure ||
                               X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), d->host)
                         : SSL_set_tlsext_host_name(ssl, d->host) &&
                               (d->insecure || SSL_set1_host(ssl, d->host));
    struct bufferevent *b = NULL;
    if (named)
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
    const unsigned char *name = NULL;
    unsigned bytes = 0;
    if (!d->tls || !d->h2)
        return true;
    SSL_get0_alpn_selected(bufferevent_openssl_get_ssl(connection), &name, &bytes);
    return bytes == 2 && memcmp(name, "h2", 2) == 0;
}
