/* link: server_net */
/* Every message type that a client may send, through pb_unpack. The first byte chooses the type.
 * What must hold: the arena stays within its budget, strings end where the wire says and are UTF-8
 * by construction, and what was unpacked packs to something that unpacks again. */
#include <grpc/health/v1/health.pb-c.h>
#include <grpc/reflection/v1/reflection.pb-c.h>
#include <stdlib.h>
#include <string.h>

#include "memory/base/check.h"
#include "moering/v1/moering.pb-c.h"
#include "server/grpc/pb.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const ProtobufCMessageDescriptor *const types[] = {
    &moering__v1__generate_request__descriptor,
    &moering__v1__tokenize_request__descriptor,
    &moering__v1__detokenize_request__descriptor,
    &moering__v1__get_model_request__descriptor,
    &moering__v1__get_stats_request__descriptor,
    &grpc__health__v1__health_check_request__descriptor,
    &grpc__reflection__v1__server_reflection_request__descriptor,
    /* answers, for their repeated and nested fields */
    &moering__v1__generate_chunk__descriptor,
    &moering__v1__get_stats_response__descriptor,
    &grpc__reflection__v1__server_reflection_response__descriptor,
};

static enum status unpack(const ProtobufCMessageDescriptor *type, const uint8_t *bytes, size_t size,
                          struct pb_arena *arena, ProtobufCMessage **message)
{
    struct error error = {{0}};
    enum status status = pb_unpack(arena, type, bytes, size, message, &error);
    CHECK((status == STATUS_OK) == (*message != NULL));
    CHECK((status == STATUS_OK) == (error.text[0] == '\0'));
    CHECK(arena->used_bytes <= size * PB_BUDGET_FACTOR + PB_BUDGET_FLOOR + 16);
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pb_arena arena = {0}, again = {0};
    ProtobufCMessage *message, *second;
    if (size < 1)
        return 0;
    const ProtobufCMessageDescriptor *type = types[data[0] % (sizeof types / sizeof *types)];
    if (unpack(type, data + 1, size - 1, &arena, &message) == STATUS_OK) {
        size_t packed_bytes = protobuf_c_message_get_packed_size(message);
        uint8_t *packed = malloc(packed_bytes + 1);
        CHECK(protobuf_c_message_pack(message, packed) == packed_bytes);
        enum status status = unpack(type, packed, packed_bytes, &again, &second);
        CHECK(status == STATUS_OK || status == STATUS_NO_MEMORY);
        free(packed);
    }
    pb_arena_reset(&arena);
    pb_arena_reset(&again);
    return 0;
}
