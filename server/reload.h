/* SIGHUP: the settings file is read again, with the same flags and environment above it. The sizes
 * of the expert tiers and of the KV cache can change while the server runs; whatever else has
 * changed is named as waiting for a restart. No threads; reads the file and logs. */
#ifndef MOERING_SERVER_RELOAD_H
#define MOERING_SERVER_RELOAD_H

#include "engine/engine.h"
#include "server/config/config.h"

#ifdef __cplusplus
extern "C" {
#endif

struct reload {
    const struct config *started; /* borrowed: as it was parsed at start */
    struct engine_budget in_force; /* of the file, flags and environment as last applied */
    int argc;
    const char *const *argv; /* as config_parse had them */
    char *const *environment;
};

/* argc, argv, environment: those that made `started`. All borrowed. */
void reload_init(struct reload *reload, const struct config *started, int argc,
                 const char *const *argv, char *const *environment);
/* Reads the file and tells what to change: nothing is set in `out` if nothing of it can. A size set
 * by SetBudget meanwhile stays unless the file has a new one. INVALID: there is no file, or it says
 * what cannot be; NOT_FOUND, IO: it cannot be read. */
enum status reload_read(struct reload *reload, struct engine_budget *out, struct error *error);
/* What was asked for is in force. */
void reload_applied(struct reload *reload, const struct engine_budget *asked);

#ifdef __cplusplus
}
#endif
#endif
