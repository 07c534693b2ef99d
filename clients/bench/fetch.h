/* One answer, waited for: GET /v1/models, GET /metrics, before and after a run, never during it. */
#ifndef MOERING_CLIENTS_BENCH_FETCH_H
#define MOERING_CLIENTS_BENCH_FETCH_H

#include <stdbool.h>
#include <stddef.h>

#include "clients/program/fault.h"

#ifdef __cplusplus
extern "C" {
#endif

struct address;
struct dial;
struct event_base;

enum { FETCH_BYTES_MAX = 64 << 20 };

struct fetch {
    struct event_base *base; /* its loop runs until the answer is there */
    struct dial *dial;
    const struct address *address;
    const char *key;         /* NULL: none */
    const char *path;        /* after the address's prefix */
    double timeout_s;
};

/* *body is malloc'ed and terminated. False: *fault says why; *status 0: there was no answer. */
bool fetch_get(const struct fetch *fetch, char **body, size_t *bytes, int *status,
               struct fault *fault);

#ifdef __cplusplus
}
#endif
#endif
