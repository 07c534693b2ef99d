/* Inside of the service moering.v1.Moering, shared by moering_v1.c (Generate and the life of a
 * call), moering_v1_info.c (the unary methods) and moering_v1_budget.c (SetBudget). */
#ifndef MOERING_SERVER_MOERING_V1_SERVICE_H
#define MOERING_SERVER_MOERING_V1_SERVICE_H

#include "server/moering_v1.h"
#include "server/pb.h"

#ifdef __cplusplus
extern "C" {
#endif

struct generate_call;

struct moering_v1 {
    struct moering_v1_config config;
    struct grpc_server *server;
    struct engine_thread *engine;
    struct generate_call *calls; /* live and ended ones whose call is still open */
    uint32_t live;
    uint64_t rejected;           /* no room in the submit queue */
    bool draining;
};

const char *moering_v1_model_name(const struct moering_v1 *service); /* READY */
/* The engine if it can work for this call; else ends the call with the reason and returns NULL. */
const struct engine *moering_v1_ready(struct moering_v1 *service, struct grpc_call *call);
/* Unpacks a request, or ends the call and returns NULL. The message lives in `arena`. */
ProtobufCMessage *moering_v1_unpack(struct grpc_call *call, struct pb_arena *arena,
                                    const ProtobufCMessageDescriptor *type, const uint8_t *bytes,
                                    size_t size);
/* Text of ids as a whole; malloc'ed, NULL: out of memory. INVALID ids are the caller's to check. */
char *moering_v1_detokenize(const struct tokenizer *tokenizer, const uint32_t *ids, size_t count,
                            bool keep_special, size_t *bytes);

void moering_v1_tokenize(struct grpc_call *call, const uint8_t *bytes, size_t size);
void moering_v1_detokenize_call(struct grpc_call *call, const uint8_t *bytes, size_t size);
void moering_v1_get_model(struct grpc_call *call, const uint8_t *bytes, size_t size);
void moering_v1_set_budget(struct grpc_call *call, const uint8_t *bytes, size_t size);
/* The engine thread has dealt with a change, whoever asked for it: logs it, ends the call if there
 * is one. */
void moering_v1_budget_changed(struct moering_v1 *service, const struct request_event *event);
/* Sends the one message of a unary call and ends it. */
void moering_v1_answer(struct grpc_call *call, const ProtobufCMessage *message);
void moering_v1_get_stats(struct grpc_call *call, const uint8_t *bytes, size_t size);

#ifdef __cplusplus
}
#endif
#endif
