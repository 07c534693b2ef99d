/* From flags to what `moering replay` and `moering plan` run: the trace, its schedule, the replay's
 * configuration. */
#ifndef MOERING_SERVER_COMMAND_REPLAY_SETUP_H
#define MOERING_SERVER_COMMAND_REPLAY_SETUP_H

#include "engine/replay/replay.h"
#include "server/config/config.h"

#ifdef __cplusplus
extern "C" {
#endif

#define REPLAY_SETUP_PAGE_BYTES ((uint64_t)12 << 20) /* a trace does not say how large pages are */

struct replay_setup {
    struct trace *trace;
    struct schedule *schedule;
    struct replay_config config; /* all but `slots` and `belady` */
};

/* Opens the trace and lays it out. INVALID: a flag; whatever the trace is refused for. */
enum status replay_setup_open(struct replay_setup *setup, const struct config *config,
                              const char *trace, struct error *error);
void replay_setup_close(struct replay_setup *setup); /* accepts a zeroed one */

/* The configuration alone, for a plan without a trace. Prefetching is off unless --prefetch was
 * given: what eviction is worth is the first thing to know, and it is found many times faster. */
enum status replay_setup_config(const struct config *config, struct replay_config *out,
                                struct error *error);

/* Slots of `room` in a ring for `pages` pages of `page_bytes`, never more than `pages`. INVALID:
 * less than one page, or `auto`; names `flag`. */
enum status replay_setup_slots(const struct room *room, const char *flag, uint64_t pages,
                               uint64_t page_bytes, uint32_t *slots, struct error *error);

#ifdef __cplusplus
}
#endif
#endif
