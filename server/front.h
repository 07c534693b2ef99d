/* The front thread: one event loop with the gRPC server, the HTTP server, the engine thread's news,
 * signals and timers. Owns the life of the process from the open port to the clean exit.
 *
 *     LOADING --model open--> SERVING --SIGTERM, SIGINT--> DRAINING --> exit
 *        +-- failed: exit 1                                second signal, timeout: cut off, exit 1
 *        +-- SIGTERM, SIGINT: exit 0, within a second and without waiting for the load
 *
 * SIGHUP reads the settings file again (reload.h); what it changes waits for the end of a load.
 *
 * The port opens before the model does; until it is open, calls are answered UNAVAILABLE with the
 * progress and health says NOT_SERVING. A drain first tells health, then refuses new work, then
 * waits for the requests it has accepted. */
#ifndef MOERING_SERVER_FRONT_H
#define MOERING_SERVER_FRONT_H

#include "server/grpc/grpc.h"
#include "server/http/http.h"
#include "server/reload.h"
#include "server/requests/engine_thread.h"

#ifdef __cplusplus
extern "C" {
#endif

struct front;

struct front_config {
    struct engine_thread_config engine;
    const char *host;
    uint16_t port, http_port;
    struct grpc_limits limits;
    struct http_limits http_limits;
    const struct api_keys *keys; /* of both doors; NULL: everybody may come in; borrowed, as what
                                    follows */
    struct tls *tls;              /* of both doors, read again on SIGHUP; NULL: plain */
    bool ui;                      /* the dashboard at / */
    const char *chat_template;    /* a text or the name of a built-in one; NULL: the model's own */
    uint32_t tool_call_parser,
        reasoning_parser;         /* as enum openai_tool_parser, openai_reasoning_parser */
    bool metrics, metrics_public; /* /metrics is there; needs no key */
    const char *served_name;
    bool seeded;                  /* as in struct requests_config */
    uint64_t seed;
    uint32_t stall_timeout_s, shutdown_timeout_s;
    uint32_t status_interval_s; /* 0: no status lines */
    struct reload *reload;      /* what SIGHUP reads again; borrowed */
};

/* Opens the port, says so on standard error ("moering: gRPC on HOST:PORT", "moering: HTTP on
 * HOST:PORT"), and starts loading.
 * INVALID, IO: the address; NO_MEMORY. */
enum status front_open(struct front **out, const struct front_config *config, struct error *error);
/* Runs until shut down; returns the exit code: 0, or 1 if the model did not load or requests were
 * cut off. */
int front_run(struct front *front);
/* True while the engine thread is still opening the model, which nothing can interrupt: front_close
 * would wait for the end of it. */
bool front_loading(const struct front *front);
void front_close(struct front *front); /* accepts NULL */

#ifdef __cplusplus
}
#endif
#endif
