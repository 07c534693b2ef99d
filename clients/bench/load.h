/* Sends prompts at the times decided beforehand, so many at once as allowed, and waits for all of
 * them.
 *
 * Open loop: the clock alone decides when a request is due. One that is due while max_concurrency
 * others are under way waits here in order, and its record keeps how long (planned_ns, sent_ns).
 * With all times 0 and a limit this is a closed loop of that many users. One thread: the caller's,
 * in the event loop. */
#ifndef MOERING_CLIENTS_BENCH_LOAD_H
#define MOERING_CLIENTS_BENCH_LOAD_H

#include <stdbool.h>
#include <stdint.h>

#include "clients/bench/prompt.h"
#include "clients/bench/record.h"
#include "clients/program/fault.h"

#ifdef __cplusplus
extern "C" {
#endif

struct client;
struct event_base;

struct load {
    struct event_base *base;
    struct client *client;
    const struct prompt *prompts; /* [count] */
    const uint64_t *send_ns;      /* [count], ascending, since the start */
    uint32_t count;
    uint32_t max_concurrency;     /* 0: no limit */
    double timeout_s;             /* of one request, since it was sent */
    bool keep_text;
    bool draw;                    /* progress on standard error */
};

struct load_outcome {
    double duration_s;            /* until the last has ended */
    bool interrupted;             /* by SIGINT: what was not over then has failed */
};

/* Initialises records[count], which the caller closes, and fills them. False: *fault, nothing was
 * sent. */
bool load_run(const struct load *load, struct record *records, struct load_outcome *outcome,
              struct fault *fault);

#ifdef __cplusplus
}
#endif
#endif
