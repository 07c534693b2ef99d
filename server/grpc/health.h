/* grpc.health.v1.Health: Check, and Watch, which stays open and tells each change. Knows names and
 * statuses only; somebody else knows what is healthy. Front thread. */
#ifndef MOERING_SERVER_GRPC_HEALTH_H
#define MOERING_SERVER_GRPC_HEALTH_H

#include "memory/base/status.h"
#include "server/grpc/grpc.h"

#ifdef __cplusplus
extern "C" {
#endif

struct health;

enum { HEALTH_METHODS = 2 };

enum health_status { HEALTH_SERVING = 1, HEALTH_NOT_SERVING = 2 }; /* as in health.proto */

/* Knows the whole server, "", as NOT_SERVING, and nothing else. NO_MEMORY. */
enum status health_open(struct health **out);
/* Writes the HEALTH_METHODS methods to give to grpc_server_open. */
void health_methods(struct health *health, struct grpc_method *out);
/* Sets the status of a service ("" is the whole server), known from now on, and tells the
 * watchers. `service` is copied. NO_MEMORY. After health_drain: no effect. */
enum status health_set(struct health *health, const char *service, enum health_status status);
/* Everything is NOT_SERVING for good; watchers are told, then their calls end with UNAVAILABLE, as
 * they would keep a drain waiting for ever. A Watch that comes later ends likewise. */
void health_drain(struct health *health);
/* After the server. Accepts NULL. */
void health_close(struct health *health);

#ifdef __cplusplus
}
#endif
#endif
