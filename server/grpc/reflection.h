/* grpc.reflection.v1 and v1alpha: what a server offers, from an embedded descriptor set, so that
 * generic clients need no .proto files. Front thread. */
#ifndef MOERING_SERVER_GRPC_REFLECTION_H
#define MOERING_SERVER_GRPC_REFLECTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "memory/base/status.h"
#include "server/grpc/grpc.h"

#ifdef __cplusplus
extern "C" {
#endif

struct reflection;

enum { REFLECTION_METHODS = 2 };

/* A serialised FileDescriptorSet, borrowed. INVALID: it is none; NO_MEMORY. */
enum status reflection_open(struct reflection **out, const uint8_t *descriptor_set, size_t size,
                            struct error *error);
/* Writes the REFLECTION_METHODS methods to give to grpc_server_open. */
void reflection_methods(struct reflection *reflection, struct grpc_method *out);
/* Says which services list_services names: those of `methods` (paths are borrowed), health and
 * reflection included if they are among them. NO_MEMORY. */
enum status reflection_set_services(struct reflection *reflection,
                                    const struct grpc_method *methods, size_t method_count);
/* Ends the open streams with UNAVAILABLE, now and later: a client may keep one for ever. */
void reflection_drain(struct reflection *reflection);
/* After the server. Accepts NULL. */
void reflection_close(struct reflection *reflection);

#ifdef __cplusplus
}
#endif
#endif
