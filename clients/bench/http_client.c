/* A connection is in exactly one of two lists, idle or busy, and busy ones have a call. Its bytes
 * are parsed in the read callback, whose first act is to take the time: what one read brought, came
 * at one moment. A connection that cannot go on is freed at once; the callback that freed it
 * returns without touching it again. */
#include "clients/bench/http_client.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clients/bench/dial.h"
#include "clients/bench/http_response.h"
#include "clients/c/now.h"

struct http_connection {
    struct http_client *client;
    struct bufferevent *stream;
    struct http_connection *next, *previous; /* in its list */
    struct http_call *call;                  /* NULL: idle */
    bool used_before;
    bool heard;                              /* bytes of this answer have come */
    struct http_response response;
};

struct http_client {
    struct event_base *base;
    struct dial *dial;
    char *head; /* the lines that all requests share */
    struct http_connection *idle, *busy;
    struct http_call *doomed; /* no connection could be made for them */
    struct event *doom;       /* tells them */
};

/* ---- lists ---- */

static void list_add(struct http_connection **list, struct http_connection *c)
{
    c->previous = NULL;
    c->next = *list;
    if (*list)
        (*list)->previous = c;
    *list = c;
}

static void list_remove(struct http_connection **list, struct http_connection *c)
{
    if (c->previous)
        c->previous->next = c->next;
    else
        *list = c->next;
    if (c->next)
        c->next->previous = c->previous;
}

static void close_connection(struct http_connection *c)
{
    list_remove(c->call ? &c->client->busy : &c->client->idle, c);
    bufferevent_free(c->stream);
    free(c);
}

/* ---- the end of an exchange ---- */

static void fail(struct http_call *call, const char *error)
{
    call->connection = NULL;
    call->end(call, error);
}

/* The connection is kept if it can be; then the caller hears. */
static void finish(struct http_connection *c, bool keep)
{
    struct http_call *call = c->call;
    if (keep) {
        list_remove(&c->client->busy, c);
        c->call = NULL;
        c->used_before = true;
        list_add(&c->client->idle, c);
    } else {
        close_connection(c);
    }
    call->connection = NULL;
    call->end(call, NULL);
}

static bool start(struct http_client *client, struct http_call *call, bool fresh);

/* The connection is gone before the answer was whole. */
static void broke(struct http_connection *c, const char *why)
{
    struct http_client *client = c->client;
    struct http_call *call = c->call;
    bool stale = c->used_before && !c->heard && call && !call->tried_again;
    close_connection(c);
    if (!call)
        return;
    call->connection = NULL;
    if (stale) {
        call->tried_again = true;
        if (start(client, call, true))
            return;
        why = "no new connection could be made";
    }
    fail(call, why);
}

/* ---- bytes ---- */

static void on_read(struct bufferevent *stream, void *arg)
{
    struct http_connection *c = arg;
    struct evbuffer *input = bufferevent_get_input(stream);
    uint64_t now = now_ns();
    if (!c->call) { /* nothing was asked */
        close_connection(c);
        return;
    }
    struct evbuffer_iovec piece;
    while (evbuffer_peek(input, -1, NULL, &piece, 1) > 0 && piece.iov_len > 0) {
        const uint8_t *body = NULL;
        size_t used, body_bytes = 0;
        c->heard = true;
        enum http_response_event event = http_response_feed(
            &c->response, piece.iov_base, piece.iov_len, &used, &body, &body_bytes);
        c->call->status = c->response.status;
        if (event == HTTP_RESPONSE_BAD) {
            broke(c, "the answer is not HTTP/1.1");
            return;
        }
        if (event == HTTP_RESPONSE_BODY && !c->call->piece(c->call, body, body_bytes, now)) {
            finish(c, false);
            return;
        }
        evbuffer_drain(input, used);
        bool whole = event == HTTP_RESPONSE_END || c->response.state == HTTP_RESPONSE_DONE;
        if (whole) {
            finish(c, c->response.keep_alive && evbuffer_get_length(input) == 0);
            return;
        }
    }
}

static void on_event(struct bufferevent *stream, short what, void *arg)
{
    struct http_connection *c = arg;
    struct fault why = {{0}};
    if (what & BEV_EVENT_CONNECTED)
        return;
    dial_explain(stream, what, &why);
    if (c->call && (what & BEV_EVENT_EOF) && c->heard && http_response_ends_here(&c->response))
        finish(c, false);
    else
        broke(c, why.text);
}

/* ---- sending ---- */

static struct http_connection *open_connection(struct http_client *client)
{
    struct http_connection *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->client = client;
    c->stream = dial_connect(client->dial, client->base);
    if (!c->stream) {
        free(c);
        return NULL;
    }
    bufferevent_setcb(c->stream, on_read, NULL, on_event, c);
    bufferevent_enable(c->stream, EV_READ | EV_WRITE);
    return c;
}

static bool start(struct http_client *client, struct http_call *call, bool fresh)
{
    struct http_connection *c = fresh ? NULL : client->idle;
    if (c)
        list_remove(&client->idle, c);
    else
        c = open_connection(client);
    if (!c)
        return false;
    c->call = call;
    c->heard = false;
    call->connection = c;
    call->status = 0;
    list_add(&client->busy, c);
    http_response_init(&c->response);
    struct evbuffer *output = bufferevent_get_output(c->stream);
    evbuffer_add_printf(output, "%s %s HTTP/1.1\r\n%s", call->method, call->path, client->head);
    if (call->body)
        evbuffer_add_printf(output, "Content-Type: application/json\r\nContent-Length: %zu\r\n",
                            call->body_bytes);
    evbuffer_add(output, "\r\n", 2);
    if (call->body)
        evbuffer_add(output, call->body, call->body_bytes);
    return true;
}

/* `end` must not come inside http_client_send, so the doomed wait for the loop. */
static void on_doom(evutil_socket_t fd, short what, void *arg)
{
    struct http_client *client = arg;
    struct http_call *call = client->doomed;
    if (!call)
        return;
    client->doomed = call->next;
    if (client->doomed)
        event_active(client->doom, EV_TIMEOUT, 1);
    fail(call, "no connection could be made: out of file descriptors or memory");
}

void http_client_send(struct http_client *client, struct http_call *call)
{
    call->tried_again = false;
    call->connection = NULL;
    if (start(client, call, false))
        return;
    call->next = client->doomed;
    client->doomed = call;
    event_active(client->doom, EV_TIMEOUT, 1);
}

void http_client_cancel(struct http_client *client, struct http_call *call)
{
    struct http_call **at = &client->doomed;
    while (*at && *at != call)
        at = &(*at)->next;
    if (*at)
        *at = call->next;
    if (call->connection)
        close_connection(call->connection);
    call->connection = NULL;
}

/* ---- open and close ---- */

struct http_client *http_client_open(const struct http_client_config *config)
{
    struct http_client *client = calloc(1, sizeof *client);
    if (!client)
        return NULL;
    client->base = config->base;
    client->dial = config->dial;
    client->doom = event_new(client->base, -1, 0, on_doom, client);
    if (!client->doom) {
        free(client);
        return NULL;
    }
    if (asprintf(&client->head, "Host: %s\r\nUser-Agent: moering-bench\r\nAccept: */*\r\n%s%s%s",
                 config->authority, config->key ? "Authorization: Bearer " : "",
                 config->key ? config->key : "", config->key ? "\r\n" : "") < 0)
        client->head = NULL;
    if (!client->head) {
        http_client_close(client);
        return NULL;
    }
    return client;
}

void http_client_close(struct http_client *client)
{
    if (!client)
        return;
    while (client->idle)
        close_connection(client->idle);
    while (client->busy)
        close_connection(client->busy);
    if (client->doom)
        event_free(client->doom);
    free(client->head);
    free(client);
}
