#include "clients/bench/client.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "clients/bench/client_backend.h"
#include "clients/bench/dial.h"
#include "clients/c/now.h"

enum { CONNECT_TIMEOUT_S = 5 };

static bool find_address(struct client *c, struct fault *fault)
{
    const struct options *o = c->options;
    char text[300];
    if (o->base_url)
        return address_parse(o->base_url, c->backend->port, &c->address, fault);
    bool bare = strchr(o->host, ':') != NULL; /* IPv6 */
    int n = snprintf(text, sizeof text, bare ? "[%s]:%s" : "%s:%s", o->host,
                     o->port ? o->port : c->backend->port);
    if (n >= (int)sizeof text)
        return fault_set(fault, "--host is too long");
    return address_parse(text, c->backend->port, &c->address, fault);
}

/* Tries until the server takes connections or --ready-check-timeout-sec is over. */
static bool reach(struct client *c, struct fault *fault)
{
    const struct options *o = c->options;
    const struct dial_config config = {
        .address = &c->address, .ca_file = o->ca_file, .insecure = o->insecure,
        .h2 = c->backend->h2, .timeout_s = CONNECT_TIMEOUT_S,
    };
    uint64_t deadline_ns = now_ns() + (uint64_t)(o->ready_timeout_s * 1e9);
    for (;;) {
        struct fault why = {{0}};
        if (dial_open(&c->dial, &config, &why))
            return true;
        if (now_ns() >= deadline_ns)
            return fault_set(fault, "%s", why.text);
        nanosleep(&(struct timespec){.tv_nsec = 200000000}, NULL);
    }
}

static bool read_extra(struct client *c, struct fault *fault)
{
    json_error_t why;
    if (!c->options->extra_body)
        return true;
    c->extra = json_loads(c->options->extra_body, JSON_REJECT_DUPLICATES, &why);
    if (!c->extra)
        return fault_set(fault, "--extra-body: %s", why.text);
    return json_is_object(c->extra) || fault_set(fault, "--extra-body: not a JSON object");
}

bool client_open(struct client **out, struct event_base *base, const struct options *options,
                 struct fault *fault)
{
    struct client *c = calloc(1, sizeof *c);
    *out = NULL;
    if (!c)
        return fault_set(fault, "out of memory");
    c->options = options;
    c->base = base;
    c->backend = options->backend == BACKEND_MOERING ? &client_grpc : &client_http;
    if (options->model)
        c->model = strdup(options->model);
    bool ok = !options->model || c->model || fault_set(fault, "out of memory");
    ok = ok && read_extra(c, fault) && find_address(c, fault) && reach(c, fault) &&
         c->backend->open(c, fault);
    if (!ok) {
        client_close(c);
        return false;
    }
    *out = c;
    return true;
}

void client_close(struct client *c)
{
    if (!c)
        return;
    c->backend->close(c);
    dial_close(c->dial);
    json_decref(c->extra);
    free(c->model);
    free(c);
}

const char *client_model(const struct client *c)
{
    return c->model;
}

uint32_t client_vocabulary(const struct client *c)
{
    return c->vocabulary;
}

const char *client_protocol(const struct client *c)
{
    return c->backend->protocol;
}

const char *client_authority(const struct client *c)
{
    return c->address.authority;
}

bool client_send(struct client *c, struct client_exchange *x)
{
    return c->backend->send(c, x);
}

void client_cancel(struct client *c, struct client_exchange *x)
{
    c->backend->cancel(c, x);
}
