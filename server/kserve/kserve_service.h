/* Inside of the service inference.GRPCInferenceService, shared by kserve.c (generation and the
 * life of its calls) and kserve_info.c (what is answered from what is known). */
#ifndef MOERING_SERVER_KSERVE_KSERVE_SERVICE_H
#define MOERING_SERVER_KSERVE_KSERVE_SERVICE_H

#include <protobuf-c/protobuf-c.h>

#include "server/grpc/pb.h"
#include "server/kserve/kserve.h"

#ifdef __cplusplus
extern "C" {
#endif

struct kserve {
    struct requests *requests;  /* borrowed, as the next */
    struct grpc_server *server;
    uint32_t calls;             /* of generation that are open */
};

/* Unpacks a message, or ends the call and returns NULL. It lives in `arena`. */
ProtobufCMessage *kserve_unpack(struct grpc_call *call, struct pb_arena *arena,
                                const ProtobufCMessageDescriptor *type, const uint8_t *bytes,
                                size_t size);

void kserve_server_live(struct grpc_call *call, const uint8_t *bytes, size_t size);
void kserve_server_ready(struct grpc_call *call, const uint8_t *bytes, size_t size);
void kserve_server_metadata(struct grpc_call *call, const uint8_t *bytes, size_t size);
void kserve_model_ready(struct grpc_call *call, const uint8_t *bytes, size_t size);
void kserve_model_metadata(struct grpc_call *call, const uint8_t *bytes, size_t size);

#ifdef __cplusplus
}
#endif
#endif
