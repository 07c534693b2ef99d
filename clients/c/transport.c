#include "clients/c/transport.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "clients/c/grpc_text.h"

enum { INVALID_ARGUMENT = 3, RESOURCE_EXHAUSTED = 8, UNAVAILABLE = 14 };
enum { HOST_BYTES = 256, PORT_BYTES = 16, PATIENCE_MS_MAX = 3600000 };

struct transport {
    int fd;
    short events; /* what the last operation waits for */
    BIO_METHOD *method;
    SSL_CTX *context;
    SSL *ssl; /* NULL: plain */
};

static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

__attribute__((format(printf, 3, 4))) static bool fail(struct channel_result *result, int status,
                                                       const char *format, ...)
{
    va_list args;
    va_start(args, format);
    result->status = status;
    vsnprintf(result->message, sizeof result->message, format, args);
    va_end(args);
    return false;
}

/* ---- connecting ---- */

/* False: not within the time, errno is set. */
static bool wait_until(int fd, short events, uint64_t deadline)
{
    for (;;) {
        uint64_t now = now_ms();
        struct pollfd p = {.fd = fd, .events = events};
        int n = now < deadline ? poll(&p, 1, (int)(deadline - now)) : 0;
        if (n > 0)
            return true;
        if (n < 0 && errno == EINTR)
            continue;
        errno = ETIMEDOUT;
        return false;
    }
}

static bool connect_one(int fd, const struct addrinfo *address, uint64_t deadline)
{
    if (connect(fd, address->ai_addr, address->ai_addrlen) == 0)
        return true;
    if (errno != EINPROGRESS || !wait_until(fd, POLLOUT, deadline))
        return false;
    int cause = 0;
    socklen_t size = sizeof cause;
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &cause, &size);
    errno = cause;
    return cause == 0;
}

static bool connect_any(struct transport *t, const char *address, const char *host, const char *port,
                        uint64_t deadline, struct channel_result *result)
{
    struct addrinfo *list = NULL, hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    int failure = getaddrinfo(host, port, &hints, &list);
    if (failure)
        return fail(result, UNAVAILABLE, "%s: %s", address, gai_strerror(failure));
    int cause = EADDRNOTAVAIL;
    for (struct addrinfo *a = list; a && t->fd < 0; a = a->ai_next) {
        int fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd >= 0 && connect_one(fd, a, deadline)) {
            t->fd = fd;
            break;
        }
        cause = errno;
        if (fd >= 0)
            close(fd);
    }
    freeaddrinfo(list);
    if (t->fd < 0)
        return fail(result, UNAVAILABLE, "cannot connect to %s: %s", address, strerror(cause));
    int on = 1;
    setsockopt(t->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return true;
}

/* ---- bytes of the socket, for both kinds ---- */

static ssize_t send_some(struct transport *t, const void *bytes, size_t size)
{
    ssize_t n = send(t->fd, bytes, size, MSG_NOSIGNAL);
    t->events = POLLOUT;
    if (n >= 0)
        return n;
    return errno == EAGAIN || errno == EINTR ? 0 : -1;
}

static ssize_t recv_some(struct transport *t, void *bytes, size_t size)
{
    ssize_t n = recv(t->fd, bytes, size, 0);
    t->events = POLLIN;
    if (n > 0)
        return n;
    return n < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
}

/* ---- TLS ---- */

/* The library's own sockets write without MSG_NOSIGNAL, and a library must not set signals. */
static int bio_write(BIO *bio, const char *bytes, size_t size, size_t *written)
{
    ssize_t n = send_some(BIO_get_data(bio), bytes, size);
    BIO_clear_retry_flags(bio);
    if (n == 0)
        BIO_set_retry_write(bio);
    *written = n > 0 ? (size_t)n : 0;
    return n > 0;
}

static int bio_read(BIO *bio, char *bytes, size_t size, size_t *got)
{
    ssize_t n = recv_some(BIO_get_data(bio), bytes, size);
    BIO_clear_retry_flags(bio);
    if (n == 0)
        BIO_set_retry_read(bio);
    *got = n > 0 ? (size_t)n : 0;
    return n > 0;
}

static long bio_control(BIO *bio, int command, long number, void *pointer)
{
    return command == BIO_CTRL_FLUSH; /* nothing is kept back */
}

static BIO *bio_open(struct transport *t)
{
    t->method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "socket");
    if (!t->method || !BIO_meth_set_write_ex(t->method, bio_write) ||
        !BIO_meth_set_read_ex(t->method, bio_read) || !BIO_meth_set_ctrl(t->method, bio_control))
        return NULL;
    BIO *bio = BIO_new(t->method);
    if (!bio)
        return NULL;
    BIO_set_data(bio, t);
    BIO_set_init(bio, 1);
    return bio;
}

static const char *tls_cause(void)
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    return reason ? reason : "the connection was closed";
}

static bool open_context(struct transport *t, const struct channel_config *c,
                         struct channel_result *result)
{
    static const unsigned char h2[] = {2, 'h', '2'};
    t->context = SSL_CTX_new(TLS_client_method());
    if (!t->context || !SSL_CTX_set_min_proto_version(t->context, TLS1_2_VERSION) ||
        SSL_CTX_set_alpn_protos(t->context, h2, sizeof h2) != 0)
        return fail(result, RESOURCE_EXHAUSTED, "TLS: %s", tls_cause());
    SSL_CTX_set_mode(t->context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    if (c->insecure)
        return true;
    SSL_CTX_set_verify(t->context, SSL_VERIFY_PEER, NULL);
    int loaded = c->ca_file ? SSL_CTX_load_verify_locations(t->context, c->ca_file, NULL)
                            : SSL_CTX_set_default_verify_paths(t->context);
    return loaded || fail(result, INVALID_ARGUMENT, "%s: no certificates can be read from it: %s",
                          c->ca_file ? c->ca_file : "the system's certificates", tls_cause());
}

/* Whose certificate it is to be. */
static bool name_host(SSL *ssl, const char *host, bool insecure)
{
    struct in6_addr spare;
    bool numeric = inet_pton(AF_INET, host, &spare) == 1 || inet_pton(AF_INET6, host, &spare) == 1;
    if (numeric)
        return insecure || X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host);
    return SSL_set_tlsext_host_name(ssl, host) && (insecure || SSL_set1_host(ssl, host));
}

/* What an operation that did not succeed is waiting for; false: nothing helps. */
static bool tls_waits(struct transport *t, int returned)
{
    int kind = SSL_get_error(t->ssl, returned);
    if (kind != SSL_ERROR_WANT_READ && kind != SSL_ERROR_WANT_WRITE)
        return false;
    t->events = kind == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT;
    return true;
}

static bool shake_hands(struct transport *t, const char *address, uint64_t deadline,
                        struct channel_result *result)
{
    for (;;) {
        ERR_clear_error();
        int n = SSL_connect(t->ssl);
        if (n == 1)
            break;
        if (!tls_waits(t, n)) {
            long verdict = SSL_get_verify_result(t->ssl);
            return fail(result, UNAVAILABLE, "%s: TLS: %s", address,
                        verdict != X509_V_OK ? X509_verify_cert_error_string(verdict) : tls_cause());
        }
        if (!wait_until(t->fd, t->events, deadline))
            return fail(result, UNAVAILABLE, "%s: TLS: %s", address, strerror(errno));
    }
    const unsigned char *name = NULL;
    unsigned bytes = 0;
    SSL_get0_alpn_selected(t->ssl, &name, &bytes);
    if (bytes == 2 && memcmp(name, "h2", 2) == 0)
        return true;
    return fail(result, UNAVAILABLE, "%s: TLS: the server does not offer HTTP/2 there", address);
}

static bool open_tls(struct transport *t, const struct channel_config *c, const char *host,
                     uint64_t deadline, struct channel_result *result)
{
    if (!open_context(t, c, result))
        return false;
    t->ssl = SSL_new(t->context);
    BIO *bio = t->ssl ? bio_open(t) : NULL;
    if (!bio || !name_host(t->ssl, host, c->insecure)) {
        BIO_free(bio);
        return fail(result, RESOURCE_EXHAUSTED, "TLS: %s", tls_cause());
    }
    SSL_set_bio(t->ssl, bio, bio); /* owned */
    return shake_hands(t, c->address, deadline, result);
}

/* ---- open and close ---- */

bool transport_open(struct transport **out, const struct channel_config *c,
                    struct channel_result *result)
{
    char host[HOST_BYTES], port[PORT_BYTES];
    *out = NULL;
    if (!grpc_text_address(c->address, host, sizeof host, port, sizeof port))
        return fail(result, INVALID_ARGUMENT, "'%.200s' is not HOST:PORT", c->address);
    struct transport *t = calloc(1, sizeof *t);
    if (!t)
        return fail(result, RESOURCE_EXHAUSTED, "out of memory");
    t->fd = -1;
    uint64_t deadline = now_ms() + (c->timeout_ms < PATIENCE_MS_MAX ? c->timeout_ms : PATIENCE_MS_MAX);
    if (!connect_any(t, c->address, host, port, deadline, result) ||
        (c->tls && !open_tls(t, c, host, deadline, result))) {
        transport_close(t);
        return false;
    }
    t->events = POLLIN;
    *out = t;
    return true;
}

void transport_close(struct transport *t)
{
    if (!t)
        return;
    if (t->ssl && SSL_is_init_finished(t->ssl)) {
        ERR_clear_error();
        SSL_shutdown(t->ssl); /* says that no byte follows; nobody waits for the answer */
    }
    SSL_free(t->ssl);
    SSL_CTX_free(t->context);
    BIO_meth_free(t->method);
    if (t->fd >= 0)
        close(t->fd);
    free(t);
}

/* ---- bytes ---- */

ssize_t transport_write(struct transport *t, const void *bytes, size_t size)
{
    size_t n;
    if (!t->ssl)
        return send_some(t, bytes, size);
    ERR_clear_error();
    int ok = SSL_write_ex(t->ssl, bytes, size, &n);
    if (ok)
        return (ssize_t)n;
    return tls_waits(t, ok) ? 0 : -1;
}

ssize_t transport_read(struct transport *t, void *bytes, size_t size)
{
    size_t n;
    if (!t->ssl)
        return recv_some(t, bytes, size);
    ERR_clear_error();
    int ok = SSL_read_ex(t->ssl, bytes, size, &n);
    if (ok)
        return (ssize_t)n;
    return tls_waits(t, ok) ? 0 : -1;
}

int transport_fd(const struct transport *t)
{
    return t->fd;
}

short transport_events(const struct transport *t)
{
    return t->events;
}
