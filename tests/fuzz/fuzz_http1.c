/* link: server_http */
/* A client's bytes into the whole HTTP/1.1 transport, over a pair of bufferevents. The first
 * byte says in which pieces they arrive and what handlers do. What must hold: every exchange
 * that a handler was given ends once, by its answer or by `closed`; nothing hangs and nothing is
 * left. */
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

#include "memory/base/check.h"
#include "server/http/http_connection.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct peer {
    struct http_server *server;
    int handed, ended;
    uint64_t waiting;
};

static void echo(struct http_exchange *x)
{
    struct peer *peer = http_context(x);
    size_t bytes;
    const uint8_t *body = http_body(x, &bytes);
    peer->handed++;
    peer->ended++;
    http_reply(x, 200, "text/plain", body, bytes);
}

static void stream(struct http_exchange *x)
{
    struct peer *peer = http_context(x);
    const char *n = http_query(x, "n");
    peer->handed++;
    http_stream_begin(x, "text/event-stream");
    (void)http_stream_write(x, "data", 4);
    if (n && *n == 'a') {
        peer->ended++;
        http_abort(x);
    } else if (n) {
        peer->ended++;
        http_stream_end(x);
    }
}

static void await(struct http_exchange *x)
{
    struct peer *peer = http_context(x);
    peer->handed++;
    peer->waiting = http_id(x);
}

static void closed(struct http_exchange *x)
{
    struct peer *peer = http_context(x);
    CHECK(!http_server_find(peer->server, http_id(x)));
    peer->ended++;
}

static void deliver(struct event_base *base, struct bufferevent *end, const uint8_t *data,
                    size_t size, size_t step)
{
    for (size_t at = 0; at < size; at += step) {
        bufferevent_write(end, data + at, size - at < step ? size - at : step);
        event_base_loop(base, EVLOOP_NONBLOCK);
        struct evbuffer *answers = bufferevent_get_input(end);
        evbuffer_drain(answers, evbuffer_get_length(answers));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct peer peer = {0};
    struct bufferevent *ends[2];
    struct listener_peer name = {.name = "peer"};
    struct http_exchange *x;
    if (size < 1)
        return 0;
    struct event_base *base = event_base_new();
    const struct http_route routes[] = {
        {"GET", "/e", true, echo, NULL, closed, &peer},
        {"POST", "/e", true, echo, NULL, closed, &peer},
        {"GET", "/s/*", true, stream, NULL, closed, &peer},
        {"POST", "/w", true, await, NULL, closed, &peer},
    };
    struct http_server_config config = {.base = base, .host = "127.0.0.1"};
    http_limits_init(&config.limits);
    config.limits.header_bytes = 2000;
    config.limits.body_bytes = 3000;
    config.limits.output_bytes_high = 500;
    CHECK(http_server_open(&peer.server, &config, routes, 4, NULL) == STATUS_OK);
    CHECK(bufferevent_pair_new(base, BEV_OPT_DEFER_CALLBACKS, ends) == 0);
    CHECK(http_connection_open(peer.server, ends[0], &name));
    bufferevent_enable(ends[1], EV_READ | EV_WRITE);
    deliver(base, ends[1], data + 1, size - 1, data[0] % 4 ? (size_t)1 << data[0] % 16 : size);
    if (data[0] & 64 && (x = http_server_find(peer.server, peer.waiting))) {
        peer.ended++;
        http_reply(x, 200, "text/plain", "late", 4);
        event_base_loop(base, EVLOOP_NONBLOCK);
    }
    CHECK((uint32_t)(peer.handed - peer.ended) == http_server_open_exchanges(peer.server));
    if (data[0] & 128)
        http_server_tick(peer.server, UINT64_MAX);
    bufferevent_free(ends[1]);
    event_base_loop(base, EVLOOP_NONBLOCK);
    struct http_server *server = peer.server;
    http_server_close(server);
    CHECK(peer.handed == peer.ended);
    event_base_loop(base, EVLOOP_NONBLOCK);
    event_base_free(base);
    return 0;
}
