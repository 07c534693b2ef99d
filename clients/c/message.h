/* Protobuf messages as a channel takes and gives them: packed, and the single one of a unary
 * call's answer. */
#ifndef MOERING_CLIENTS_C_MESSAGE_H
#define MOERING_CLIENTS_C_MESSAGE_H

#include <protobuf-c/protobuf-c.h>
#include <stddef.h>
#include <stdint.h>

#include "clients/c/channel_result.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Freed with free. NULL: out of memory. */
uint8_t *message_pack(const ProtobufCMessage *message, size_t *bytes);

/* What has come of an answer; begin it with its type and no message. */
struct message_answer {
    const ProtobufCMessageDescriptor *type;
    ProtobufCMessage *message; /* owned; the last one that came */
    bool broken;               /* what came was no such message */
};
/* The callback of a struct channel_call whose `arg` is the answer. False: it is no such message. */
bool message_take(void *answer, const uint8_t *bytes, size_t size);
/* After the call: hands the message over, to be freed with protobuf_c_message_free_unpacked. NULL:
 * *result says why, also where the call itself did not fail and no message came. */
ProtobufCMessage *message_answered(struct message_answer *answer, struct channel_result *result);

#ifdef __cplusplus
}
#endif
#endif
