/* Inside of the service moering.v1.Moering, shared by moering_v1.c (Generate and the life of a
 * call), moering_v1_chat.c, moering_v1_info.c (the unary methods) and moering_v1_budget.c
 * (SetBudget). */
#ifndef MOERING_SERVER_MOERING_V1_MOERING_V1_SERVICE_H
#define MOERING_SERVER_MOERING_V1_MOERING_V1_SERVICE_H

#include <moering/v1/moering.pb-c.h>

#include "server/grpc/pb.h"
#include "server/moering_v1/generate_decode.h"
#include "server/moering_v1/moering_v1.h"

#ifdef __cplusplus
extern "C" {
#endif

struct openai_template; /* server/openai/openai_template.h */

struct moering_v1 {
    struct requests *requests;    /* borrowed, as the next two */
    struct grpc_server *server;
    struct engine_thread *engine;
    uint64_t start_ns;
    const char *chat_template;
    struct openai_template *chat; /* made for the first chat; NULL: not yet */
    uint32_t calls;               /* of Generate and Chat that are open */
};

/* The engine if it can work for this call; else ends the call with the reason and returns NULL. */
const struct engine *moering_v1_ready(struct moering_v1 *service, struct grpc_call *call);
/* Unpacks a request, or ends the call and returns NULL. The message lives in `arena`. */
ProtobufCMessage *moering_v1_unpack(struct grpc_call *call, struct pb_arena *arena,
                                    const ProtobufCMessageDescriptor *type, const uint8_t *bytes,
                                    size_t size);
/* What requests are checked against, of an engine that is ready. */
struct generate_model moering_v1_model(const struct moering_v1 *service,
                                       const struct engine *engine);
/* Submits a decoded request for a call of Generate or Chat, or ends the call. The request has an
 * owner then. */
void moering_v1_submit(struct moering_v1 *service, struct grpc_call *call,
                       const Moering__V1__GenerateRequest *message, const struct engine *engine,
                       struct request *request);

void moering_v1_chat(struct grpc_call *call, const uint8_t *bytes, size_t size);
void moering_v1_chat_close(struct moering_v1 *service);
void moering_v1_tokenize(struct grpc_call *call, const uint8_t *bytes, size_t size);
void moering_v1_detokenize_call(struct grpc_call *call, const uint8_t *bytes, size_t size);
void moering_v1_get_model(struct grpc_call *call, const uint8_t *bytes, size_t size);
void moering_v1_set_budget(struct grpc_call *call, const uint8_t *bytes, size_t size);
/* Sends the one message of a unary call and ends it. */
void moering_v1_answer(struct grpc_call *call, const ProtobufCMessage *message);
void moering_v1_get_stats(struct grpc_call *call, const uint8_t *bytes, size_t size);

#ifdef __cplusplus
}
#endif
#endif
