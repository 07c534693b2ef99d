#include "clients/bench/fetch.h"

#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

#include "clients/bench/address.h"
#include "clients/bench/http_client.h"

struct answer {
    struct event_base *base;
    char *body;
    size_t bytes;
    bool ended, too_long;
    struct fault fault;
};

static bool on_piece(struct http_call *call, const uint8_t *bytes, size_t size, uint64_t now)
{
    struct answer *a = call->arg;
    char *grown = size <= FETCH_BYTES_MAX - a->bytes ? realloc(a->body, a->bytes + size + 1) : NULL;
    if (!grown) {
        fault_set(&a->fault, "the answer is too long");
        return false;
    }
    a->body = grown;
    memcpy(a->body + a->bytes, bytes, size);
    a->bytes += size;
    a->body[a->bytes] = '\0';
    return true;
}

static void on_end(struct http_call *call, const char *error)
{
    struct answer *a = call->arg;
    a->ended = true;
    if (error)
        fault_set(&a->fault, "%s", error);
    event_base_loopbreak(a->base);
}

static void on_timeout(evutil_socket_t fd, short what, void *arg)
{
    struct answer *a = arg;
    fault_set(&a->fault, "no answer in time");
    event_base_loopbreak(a->base);
}

/* Runs the loop until the exchange has ended or time is up. */
static void wait_for(const struct fetch *f, struct http_client *client, struct http_call *call,
                     struct answer *a)
{
    struct timeval patience = {(time_t)f->timeout_s,
                               (suseconds_t)((f->timeout_s - (double)(time_t)f->timeout_s) * 1e6)};
    struct event *timer = evtimer_new(f->base, on_timeout, a);
    if (!timer) {
        fault_set(&a->fault, "out of memory");
        return;
    }
    evtimer_add(timer, &patience);
    http_client_send(client, call);
    while (!a->ended && !a->fault.text[0] && event_base_dispatch(f->base) == 0)
        ;
    event_free(timer);
}

bool fetch_get(const struct fetch *f, char **body, size_t *bytes, int *status, struct fault *fault)
{
    struct answer a = {.base = f->base};
    char path[512];
    const struct http_client_config config = {.base = f->base, .dial = f->dial,
                                              .authority = f->address->authority, .key = f->key};
    struct http_call call = {.method = "GET", .path = path, .piece = on_piece, .end = on_end,
                             .arg = &a};
    struct http_client *client = http_client_open(&config);
    *body = NULL;
    *bytes = 0;
    snprintf(path, sizeof path, "%s%s", f->address->prefix, f->path);
    if (client)
        wait_for(f, client, &call, &a);
    else
        fault_set(&a.fault, "out of memory");
    *status = call.status;
    http_client_close(client);
    if (!a.fault.text[0] && call.status != 200)
        fault_set(&a.fault, "HTTP %d", call.status);
    if (!a.fault.text[0] && !a.body)
        a.body = calloc(1, 1);
    if (a.fault.text[0] || !a.body) {
        free(a.body);
        return fault_set(fault, "GET %s%s: %.300s", f->address->authority, path, a.fault.text);
    }
    *body = a.body;
    *bytes = a.bytes;
    return true;
}
