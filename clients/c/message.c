#include "clients/c/message.h"

#include <stdlib.h>

uint8_t *message_pack(const ProtobufCMessage *message, size_t *bytes)
{
    *bytes = protobuf_c_message_get_packed_size(message);
    uint8_t *out = malloc(*bytes + 1); /* an empty message has no bytes */
    if (out)
        protobuf_c_message_pack(message, out);
    return out;
}

static void drop(struct message_answer *a)
{
    if (a->message)
        protobuf_c_message_free_unpacked(a->message, NULL);
    a->message = NULL;
}

bool message_take(void *answer, const uint8_t *bytes, size_t size)
{
    struct message_answer *a = answer;
    drop(a);
    a->message = protobuf_c_message_unpack(a->type, NULL, size, bytes);
    a->broken = a->broken || !a->message;
    return a->message != NULL;
}

ProtobufCMessage *message_answered(struct message_answer *a, struct channel_result *result)
{
    if (a->broken)
        channel_result_fail(result, GRPC_INTERNAL, "the answer could not be read");
    else if (result->status == GRPC_OK && !a->message)
        channel_result_fail(result, GRPC_INTERNAL, "the answer is missing");
    if (result->status != GRPC_OK)
        drop(a);
    ProtobufCMessage *out = a->message;
    a->message = NULL;
    return out;
}
