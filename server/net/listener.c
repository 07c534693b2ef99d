/* See listener.h. When accept fails for want of descriptors the socket stays readable for ever, and
 * a level-triggered loop would spin on it; so accepting is switched off until listener_resume. */
#include "server/net/listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "memory/base/log.h"

enum { LISTENER_BACKLOG = 1024 };

struct listener {
    struct evconnlistener *socket;
    listener_accept *accept;
    void *arg;
    struct tls *tls; /* NULL: plain */
    enum tls_protocol protocol;
    uint16_t port;
    bool paused;
};

static void peer_fill(struct listener_peer *peer, const struct sockaddr *address)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    char text[INET6_ADDRSTRLEN] = "?";
    memset(peer, 0, sizeof *peer);
    if (address->sa_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)address;
        memcpy(peer->ip, mapped, sizeof mapped);
        memcpy(peer->ip + sizeof mapped, &v4->sin_addr, 4);
        (void)inet_ntop(AF_INET, &v4->sin_addr, text, sizeof text);
        (void)snprintf(peer->name, sizeof peer->name, "%s:%u", text, ntohs(v4->sin_port));
    } else if (address->sa_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)address;
        memcpy(peer->ip, &v6->sin6_addr, sizeof peer->ip);
        (void)inet_ntop(AF_INET6, &v6->sin6_addr, text, sizeof text);
        (void)snprintf(peer->name, sizeof peer->name, "[%s]:%u", text, ntohs(v6->sin6_port));
    }
}

/* Owns `fd`, also on failure. */
static struct bufferevent *bev_open(struct listener *listener, int fd)
{
    struct event_base *base = evconnlistener_get_base(listener->socket);
    if (listener->tls)
        return tls_accept(listener->tls, base, fd, listener->protocol);
    struct bufferevent *bev =
        bufferevent_socket_new(base, fd, BEV_OPT_CLOSE_ON_FREE | BEV_OPT_DEFER_CALLBACKS);
    if (!bev)
        (void)evutil_closesocket(fd);
    return bev;
}

static void on_accept(struct evconnlistener *socket, evutil_socket_t fd, struct sockaddr *address,
                      int address_bytes, void *arg)
{
    struct listener *listener = arg;
    struct listener_peer peer;
    int on = 1;
    (void)socket, (void)address_bytes;
    peer_fill(&peer, address);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct bufferevent *bev = bev_open(listener, fd);
    if (bev)
        listener->accept(listener->arg, bev, &peer);
}

static void on_accept_error(struct evconnlistener *socket, void *arg)
{
    struct listener *listener = arg;
    log_warn("accept: %s; pausing", strerror(errno));
    (void)evconnlistener_disable(socket);
    listener->paused = true;
}

void listener_set_tls(struct listener *listener, struct tls *tls, enum tls_protocol protocol)
{
    listener->tls = tls;
    listener->protocol = protocol;
}

void listener_resume(struct listener *listener)
{
    if (!listener->paused)
        return;
    listener->paused = false;
    (void)evconnlistener_enable(listener->socket);
}

/* A bound socket for one of the addresses of `host`, or -1. */
static int socket_bind(const struct addrinfo *addresses)
{
    int fd = -1;
    for (const struct addrinfo *a = addresses; a && fd < 0; a = a->ai_next) {
        int on = 1;
        fd = socket(a->ai_family, a->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, a->ai_protocol);
        if (fd < 0)
            continue;
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        if (bind(fd, a->ai_addr, a->ai_addrlen) != 0 || listen(fd, LISTENER_BACKLOG) != 0) {
            int why = errno;
            (void)close(fd);
            errno = why;
            fd = -1;
        }
    }
    return fd;
}

enum status listener_open(struct listener **out, struct event_base *base, const char *host,
                          uint16_t port, listener_accept *accept, void *arg, struct error *error)
{
    *out = NULL;
    struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
    struct addrinfo *addresses = NULL;
    char service[8];
    (void)snprintf(service, sizeof service, "%u", port);
    int rc = getaddrinfo(host, service, &hints, &addresses);
    if (rc != 0)
        return error_set(error, STATUS_INVALID, "host '%s': %s", host, gai_strerror(rc));
    int fd = socket_bind(addresses);
    int why = errno;
    freeaddrinfo(addresses);
    if (fd < 0)
        return error_set(error, STATUS_IO, "cannot listen on %s port %u: %s", host, port,
                         strerror(why));

    struct sockaddr_storage bound;
    socklen_t bound_bytes = sizeof bound;
    struct listener *listener = calloc(1, sizeof *listener);
    if (!listener || getsockname(fd, (struct sockaddr *)&bound, &bound_bytes) != 0) {
        (void)close(fd);
        goto fail;
    }
    listener->accept = accept;
    listener->arg = arg;
    listener->port = ntohs(bound.ss_family == AF_INET6
                               ? ((struct sockaddr_in6 *)&bound)->sin6_port
                               : ((struct sockaddr_in *)&bound)->sin_port);
    /* Backlog 0: the socket listens already. */
    listener->socket = evconnlistener_new(base, on_accept, listener,
                                          LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 0, fd);
    if (!listener->socket) {
        (void)close(fd);
        goto fail;
    }
    evconnlistener_set_error_cb(listener->socket, on_accept_error);
    *out = listener;
    return STATUS_OK;
fail:
    listener_close(listener);
    return error_set(error, STATUS_NO_MEMORY, "no memory to listen on %s port %u", host, port);
}

uint16_t listener_port(const struct listener *listener)
{
    return listener->port;
}

void listener_close(struct listener *listener)
{
    if (!listener)
        return;
    if (listener->socket)
        evconnlistener_free(listener->socket);
    free(listener);
}
