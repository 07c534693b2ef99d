#include "clients/c/transport.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clients/c/connect.h"
#include "clients/c/grpc_text.h"
#include "clients/c/now.h"
#include "clients/c/tls.h"

enum { HOST_BYTES = 256, PORT_BYTES = 16, PATIENCE_MS_MAX = 3600000 };

struct transport {
    int fd;
    short events; /* what the last operation waits for */
    BIO_METHOD *method;
    SSL_CTX *context;
    SSL *ssl; /* NULL: plain */
};

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
            const char *why = verdict == X509_V_OK ? tls_cause()
                                                   : X509_verify_cert_error_string(verdict);
            return channel_result_fail(result, GRPC_UNAVAILABLE, "%s: TLS: %s", address, why);
        }
        if (!connect_wait(t->fd, t->events, deadline))
            return channel_result_fail(result, GRPC_UNAVAILABLE, "%s: TLS: %s", address,
                                       strerror(errno));
    }
    if (tls_agreed(t->ssl))
        return true;
    return channel_result_fail(result, GRPC_UNAVAILABLE,
                               "%s: TLS: the server does not offer HTTP/2 there", address);
}

static bool open_tls(struct transport *t, const struct channel_config *c, const char *host,
                     uint64_t deadline, struct channel_result *result)
{
    const struct tls_config config = {.ca_file = c->ca_file, .insecure = c->insecure, .h2 = true};
    t->context = tls_open(&config, result);
    if (!t->context)
        return false;
    SSL_CTX_set_mode(t->context,
                     SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    t->ssl = SSL_new(t->context);
    BIO *bio = t->ssl ? bio_open(t) : NULL;
    if (!bio || !tls_expect(t->ssl, host, c->insecure)) {
        BIO_free(bio);
        return channel_result_fail(result, GRPC_RESOURCE_EXHAUSTED, "TLS: %s", tls_cause());
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
        return channel_result_fail(result, GRPC_INVALID_ARGUMENT, "'%.200s' is not HOST:PORT",
                                   c->address);
    struct transport *t = calloc(1, sizeof *t);
    if (!t)
        return channel_result_fail(result, GRPC_RESOURCE_EXHAUSTED, "out of memory");
    uint64_t patience_ms = c->timeout_ms < PATIENCE_MS_MAX ? c->timeout_ms : PATIENCE_MS_MAX;
    uint64_t deadline = now_ms() + patience_ms;
    const struct connect_target target = {.host = host, .port = port, .name = c->address};
    t->fd = connect_any(&target, deadline, NULL, NULL, result);
    if (t->fd < 0 || (c->tls && !open_tls(t, c, host, deadline, result))) {
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
