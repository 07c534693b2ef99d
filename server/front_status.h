/* What the operator sees on standard error: the bar while loading, the line when ready, and every
 * few seconds how busy the server is. Computes and prints; decides nothing. Front thread. */
#ifndef MOERING_SERVER_FRONT_STATUS_H
#define MOERING_SERVER_FRONT_STATUS_H

#include "server/requests/batcher.h"

#ifdef __cplusplus
extern "C" {
#endif

#define FRONT_STATUS_BACKEND_MAX 96

struct front_status {
    uint32_t interval_s;  /* 0: no lines */
    bool bar;             /* standard error is a terminal */
    bool bar_open;        /* its line has no end yet */
    char phase[40];
    uint32_t percent;     /* told last */
    uint64_t last_ns;
    struct batcher_stats last;
    struct engine_stats last_engine;
};

void front_status_init(struct front_status *status, uint32_t interval_s, bool terminal,
                       uint64_t now_ns);
/* A bar on a terminal, from the first percent on; elsewhere a log line per phase and per 5 %. */
void front_status_progress(struct front_status *status, const char *phase, double fraction);
void front_status_end_bar(struct front_status *status);
void front_status_ready(struct front_status *status, const struct engine_info *info);
/* What computes: "cpu avx512, 2 threads", "cuda", or with experts that run on the host
 * "cuda and cpu avx512, 2 threads". */
void front_status_backend(char *out, size_t out_bytes, const struct engine_info *info);
/* Prints the line if the interval has passed and there was anything to do in it. */
void front_status_line(struct front_status *status, uint64_t now_ns,
                       const struct batcher_stats *batcher, const struct engine_stats *engine);
/* The line itself, for tests. `now` minus `last` are figures of `seconds`. Prefetch precision is
 * there if the fate of any prefetched page became known, the oracle share (replay/regret.h) once
 * there is one. */
void front_status_format(char *out, size_t out_bytes, double seconds,
                         const struct batcher_stats *last, const struct batcher_stats *now,
                         const struct engine_stats *last_engine,
                         const struct engine_stats *engine);

#ifdef __cplusplus
}
#endif
#endif
