/* The service moering.v1.Moering on the gRPC layer: decode and tokenize a request, submit it
 * (requests.h), encode what comes back. Front thread only.
 *
 * A Generate call hears of its request as its sink. When it has more unsent than
 * grpc_limits.output_bytes_high, its request is paused until the client has read. */
#ifndef MOERING_SERVER_MOERING_V1_MOERING_V1_H
#define MOERING_SERVER_MOERING_V1_MOERING_V1_H

#include "server/grpc/grpc.h"
#include "server/requests/requests.h"

#ifdef __cplusplus
extern "C" {
#endif

struct moering_v1;

#define MOERING_V1_METHODS 7
#define MOERING_V1_SERVICE "moering.v1.Moering"

struct moering_v1_config {
    struct requests *requests; /* borrowed */
    uint64_t start_ns;
    const char *chat_template; /* a text or the name of a built-in one; NULL: the model's own.
                                  Borrowed */
};

enum status moering_v1_open(struct moering_v1 **out, const struct moering_v1_config *config,
                            struct error *error);
void moering_v1_methods(struct moering_v1 *service, struct grpc_method *out);
/* Before the event loop runs: where its calls are and who works for them. Both borrowed. */
void moering_v1_attach(struct moering_v1 *service, struct grpc_server *server,
                       struct engine_thread *engine);
/* After the grpc server. Accepts NULL. */
void moering_v1_close(struct moering_v1 *service);

/* The engine thread has dealt with a change of the budget, whoever asked for it: logs it, ends the
 * call if there is one. The event stays the caller's. */
void moering_v1_budget_changed(struct moering_v1 *service, const struct request_event *event);

#ifdef __cplusplus
}
#endif
#endif
