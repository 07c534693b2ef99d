/* The service inference.GRPCInferenceService: the open inference protocol of KServe with Triton's
 * stream, for clients and routers that speak it. Text goes in as the tensor `text_input` and
 * comes out as `text_output`; what a generation may be told besides is in kserve_decode.h.
 *
 * A call of ModelStreamInfer carries any number of requests side by side. Each is a request of
 * its own (requests.h): what is wrong with one is said in its answer, and the others go on. When
 * the client does not keep up, all of the call's requests are paused. Front thread only. */
#ifndef MOERING_SERVER_KSERVE_KSERVE_H
#define MOERING_SERVER_KSERVE_KSERVE_H

#include "server/grpc/grpc.h"
#include "server/requests/requests.h"

#ifdef __cplusplus
extern "C" {
#endif

struct kserve;

#define KSERVE_METHODS 7
#define KSERVE_SERVICE "inference.GRPCInferenceService"

/* `requests` is borrowed. NO_MEMORY. */
enum status kserve_open(struct kserve **out, struct requests *requests, struct error *error);
/* Writes out[KSERVE_METHODS]. */
void kserve_methods(struct kserve *service, struct grpc_method *out);
/* Before the event loop runs: where its calls are. Borrowed. */
void kserve_attach(struct kserve *service, struct grpc_server *server);
/* After the grpc server. Accepts NULL. */
void kserve_close(struct kserve *service);

#ifdef __cplusplus
}
#endif
#endif
