/* The server as the load generator uses it: send a prompt, hear when its record is complete. The
 * kinds of server differ in a const table of functions (client_backend.h): client_http.c,
 * client_grpc.c.
 *
 * One thread, the event loop's. An exchange ends exactly once, through `done`, and never inside
 * client_send. */
#ifndef MOERING_CLIENTS_BENCH_CLIENT_H
#define MOERING_CLIENTS_BENCH_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "clients/bench/prompt.h"
#include "clients/bench/record.h"
#include "clients/program/fault.h"

#ifdef __cplusplus
extern "C" {
#endif

struct client;
struct client_state;
struct event_base;
struct options;

struct client_exchange {
    const struct prompt *prompt;
    struct record *record;
    uint64_t start_ns; /* the record's times are since it */
    void (*done)(struct client_exchange *exchange);
    void *arg;
    struct client_state *state; /* private */
};

/* Connects, and asks the server what it serves where the options do not say. False: *fault. */
bool client_open(struct client **out, struct event_base *base, const struct options *options,
                 struct fault *fault);
void client_close(struct client *client); /* accepts NULL; exchanges under way end without a word */

const char *client_model(const struct client *client);      /* asked for in requests */
uint32_t client_vocabulary(const struct client *client);    /* 0: not known */
const char *client_protocol(const struct client *client);   /* "http", "grpc" */
const char *client_authority(const struct client *client);  /* "host:port" */

/* False: the record has failed at once, and `done` will not come. */
bool client_send(struct client *client, struct client_exchange *exchange);
/* Ends it without calling `done`; the record is the caller's to fail. */
void client_cancel(struct client *client, struct client_exchange *exchange);

#ifdef __cplusplus
}
#endif
#endif
