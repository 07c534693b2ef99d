/* The HTTP door of the front: one transport with the routes of everything that answers on it. The
 * front opens, ticks, drains and closes it beside the gRPC server; the rooms behind (openai/,
 * metrics/, ui/) do not know each other. Front thread. */
#ifndef MOERING_SERVER_FRONT_HTTP_H
#define MOERING_SERVER_FRONT_HTTP_H

#include "server/http/http.h"
#include "server/openai/openai.h"
#include "server/requests/requests.h"

#ifdef __cplusplus
extern "C" {
#endif

struct front_http;

struct front_http_config {
    struct event_base *base;
    const char *host;
    uint16_t port;                /* 0: any free one */
    struct http_limits limits;
    const struct api_keys *keys; /* NULL: everybody; borrowed, as what follows */
    struct tls *tls;              /* NULL: plain */
    const char *chat_template;    /* a text or the name of a built-in one; NULL: the model's */
    uint32_t tool_call_parser,
        reasoning_parser;         /* as enum openai_tool_parser, openai_reasoning_parser */
    bool ui;                      /* the dashboard is there */
    bool metrics, metrics_public; /* /metrics is there; needs no key */
    const char *served_name;      /* NULL: the model's own */
    struct requests *requests;
    const struct request_metrics *request_metrics;
    /* How the server is, for health checks. */
    void (*state)(void *arg, struct openai_state *out);
    void *arg;
};

/* Listens at once. INVALID, IO: the address; NO_MEMORY. */
enum status front_http_open(struct front_http **out, const struct front_http_config *config,
                            struct error *error);
/* Before the event loop runs; borrowed. */
void front_http_attach(struct front_http *door, const struct engine_thread *engine);
uint16_t front_http_port(const struct front_http *door);
void front_http_tick(struct front_http *door, uint64_t now_ns);
/* `drained` is called once, when the last answer has left. */
void front_http_drain(struct front_http *door, void (*drained)(void *arg), void *arg);
/* Ends what is open; requests of its clients are cancelled, so the engine thread must live. Accepts
 * NULL. */
void front_http_close(struct front_http *door);

#ifdef __cplusplus
}
#endif
#endif
