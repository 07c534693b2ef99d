/* What client.c, client_http.c and client_grpc.c share, and nobody else sees. */
#ifndef MOERING_CLIENTS_BENCH_CLIENT_BACKEND_H
#define MOERING_CLIENTS_BENCH_CLIENT_BACKEND_H

#include <jansson.h>

#include "clients/bench/address.h"
#include "clients/bench/client.h"
#include "clients/bench/options.h"

struct client_backend {
    const char *protocol, *port; /* port: of an address without one */
    bool h2;                     /* speaks HTTP/2, so asks for it in TLS */
    /* Fills client->model and client->vocabulary where it can; model may be set already. */
    bool (*open)(struct client *client, struct fault *fault);
    void (*close)(struct client *client); /* of one that was opened, or half */
    bool (*send)(struct client *client, struct client_exchange *exchange);
    void (*cancel)(struct client *client, struct client_exchange *exchange);
};

extern const struct client_backend client_http, client_grpc;

struct client {
    const struct client_backend *backend;
    const struct options *options;
    struct event_base *base;
    struct address address;
    struct dial *dial;
    char *model;
    uint32_t vocabulary;
    json_t *extra;               /* --extra-body */
    struct http_client *http;    /* of client_http */
    char path[512];              /* of client_http */
    struct grpc_client *grpc;    /* of client_grpc */
};

#endif
