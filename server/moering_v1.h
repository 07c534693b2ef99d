/* The service moering.v1.Moering on the gRPC layer: decode and tokenize a request, hand it to the
 * engine thread, encode what comes back. Front thread only.
 *
 * A Generate call and its request share one number: the call's id. The engine's news find their
 * call by it, or find nothing when the client has gone.
 *
 * Back-pressure: when a call has more unsent than grpc_limits.output_bytes_high, its request is
 * paused in the scheduler until the client has read; at most the events already queued and one step
 * more arrive meanwhile. A client that reads nothing for stall_timeout_s loses its call, so that it
 * cannot sit on a seat for ever. */
#ifndef MOERING_SERVER_MOERING_V1_H
#define MOERING_SERVER_MOERING_V1_H

#include "server/engine_thread.h"
#include "server/grpc.h"

#ifdef __cplusplus
extern "C" {
#endif

struct moering_v1;

#define MOERING_V1_METHODS 6
#define MOERING_V1_SERVICE "moering.v1.Moering"

struct moering_v1_config {
    const char *served_name;       /* NULL: the model folder's name */
    uint32_t stall_timeout_s;
    uint64_t start_ns;
};

enum status moering_v1_open(struct moering_v1 **out, const struct moering_v1_config *config,
                            struct error *error);
void moering_v1_methods(struct moering_v1 *service, struct grpc_method *out);
/* Before the event loop runs: where its calls are and who works for them. Both borrowed. */
void moering_v1_attach(struct moering_v1 *service, struct grpc_server *server,
                       struct engine_thread *engine);
/* After the grpc server. Accepts NULL. */
void moering_v1_close(struct moering_v1 *service);

/* Hands on what the engine thread has posted about a request or a change of budget. The event stays
 * the caller's. */
void moering_v1_event(struct moering_v1 *service, const struct request_event *event);
/* Now and then: cuts off stalled clients. */
void moering_v1_tick(struct moering_v1 *service, uint64_t now_ns);
/* From now on new work is answered UNAVAILABLE. */
void moering_v1_drain(struct moering_v1 *service);
uint32_t moering_v1_live(const struct moering_v1 *service); /* requests that have not ended */
/* Ends every live request with UNAVAILABLE; returns how many there were. */
uint32_t moering_v1_cut_off(struct moering_v1 *service);

#ifdef __cplusplus
}
#endif
#endif
