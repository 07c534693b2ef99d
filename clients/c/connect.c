#include "clients/c/connect.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "clients/c/now.h"

enum { KEEP_ALIVE_S = 60, KEEP_ALIVE_AGAIN_S = 10, KEEP_ALIVES = 3 };

bool connect_wait(int fd, short events, uint64_t deadline_ms)
{
    for (;;) {
        uint64_t now = now_ms();
        struct pollfd p = {.fd = fd, .events = events};
        int n = now < deadline_ms ? poll(&p, 1, (int)(deadline_ms - now)) : 0;
        if (n > 0)
            return true;
        if (n < 0 && errno == EINTR)
            continue;
        errno = ETIMEDOUT;
        return false;
    }
}

/* A socket, or -1 with errno. */
static int connect_one(const struct addrinfo *address, uint64_t deadline_ms)
{
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    int cause = connect(fd, address->ai_addr, address->ai_addrlen) == 0 ? 0 : errno;
    if (cause == EINPROGRESS) {
        socklen_t size = sizeof cause;
        if (connect_wait(fd, POLLOUT, deadline_ms))
            getsockopt(fd, SOL_SOCKET, SO_ERROR, &cause, &size);
        else
            cause = errno;
    }
    if (cause == 0)
        return fd;
    close(fd);
    errno = cause;
    return -1;
}

/* An answer may be waited for long, and nothing is sent meanwhile: without keep-alives a server
 * that vanished without a word would never be missed. */
static void set_options(int fd)
{
    static const struct {
        int level, name, value;
    } options[] = {
        {IPPROTO_TCP, TCP_NODELAY, 1}, {SOL_SOCKET, SO_KEEPALIVE, 1},
        {IPPROTO_TCP, TCP_KEEPIDLE, KEEP_ALIVE_S}, {IPPROTO_TCP, TCP_KEEPINTVL, KEEP_ALIVE_AGAIN_S},
        {IPPROTO_TCP, TCP_KEEPCNT, KEEP_ALIVES},
    };
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++)
        setsockopt(fd, options[i].level, options[i].name, &options[i].value, sizeof(int));
}

int connect_any(const struct connect_target *target, uint64_t deadline_ms,
                struct sockaddr_storage *address, socklen_t *address_bytes,
                struct channel_result *result)
{
    struct addrinfo *list = NULL, hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    int failure = getaddrinfo(target->host, target->port, &hints, &list);
    int fd = -1, cause = EADDRNOTAVAIL;
    if (failure) {
        channel_result_fail(result, GRPC_UNAVAILABLE, "%s: %s", target->name,
                            gai_strerror(failure));
        return -1;
    }
    for (const struct addrinfo *a = list; a && fd < 0; a = a->ai_next) {
        fd = connect_one(a, deadline_ms);
        cause = errno;
        if (fd >= 0 && address) {
            memcpy(address, a->ai_addr, a->ai_addrlen);
            *address_bytes = a->ai_addrlen;
        }
    }
    freeaddrinfo(list);
    if (fd < 0)
        channel_result_fail(result, GRPC_UNAVAILABLE, "cannot connect to %s: %s", target->name,
                            strerror(cause));
    else
        set_options(fd);
    return fd;
}
