/* See pb.h. The walk follows the message descriptor beside the wire and recurses once per nested
 * message, at most PB_DEPTH_MAX times. It accepts exactly what the unpacker accepts, so a field it
 * cannot place is left to the unpacker to judge; what it adds are the four things the unpacker
 * does not look at. Front thread, no state of its own. */
#include "server/grpc/pb.h"

#include <stdalign.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "server/grpc/grpc.h"

enum { PB_CHUNK_FIRST = 4096, PB_CHUNK_LAST = 1 << 20, PB_ALIGN = 16, PB_SEND_SCRATCH = 4096 };

struct pb_chunk {
    struct pb_chunk *next;
    size_t used_bytes, capacity_bytes;
    alignas(PB_ALIGN) unsigned char bytes[];
};

void pb_arena_init(struct pb_arena *arena, size_t budget_bytes)
{
    *arena = (struct pb_arena){.budget_bytes = budget_bytes};
}

static struct pb_chunk *chunk_add(struct pb_arena *arena, size_t need)
{
    size_t capacity = arena->chunks ? 2 * arena->chunks->capacity_bytes : PB_CHUNK_FIRST;
    if (capacity > PB_CHUNK_LAST)
        capacity = PB_CHUNK_LAST;
    if (capacity < need)
        capacity = need;
    struct pb_chunk *chunk = malloc(sizeof *chunk + capacity);
    if (!chunk)
        return NULL;
    chunk->next = arena->chunks;
    chunk->used_bytes = 0;
    chunk->capacity_bytes = capacity;
    arena->chunks = chunk;
    return chunk;
}

void *pb_arena_alloc(struct pb_arena *arena, size_t bytes)
{
    size_t budget = arena->budget_bytes ? arena->budget_bytes : PB_BUDGET_MAX;
    struct pb_chunk *chunk = arena->chunks;
    size_t need = bytes;
    if (need > budget || arena->used_bytes > budget - need)
        goto fail;
    need = (need + PB_ALIGN - 1) & ~(size_t)(PB_ALIGN - 1);
    if (!chunk || chunk->capacity_bytes - chunk->used_bytes < need)
        chunk = chunk_add(arena, need);
    if (!chunk)
        goto fail;
    void *result = chunk->bytes + chunk->used_bytes;
    chunk->used_bytes += need;
    arena->used_bytes += need;
    return result;

fail:
    arena->exhausted = true;
    return NULL;
}

void pb_arena_reset(struct pb_arena *arena)
{
    while (arena->chunks) {
        struct pb_chunk *next = arena->chunks->next;
        free(arena->chunks);
        arena->chunks = next;
    }
    arena->used_bytes = 0;
    arena->exhausted = false;
}

static void *allocator_alloc(void *arena, size_t bytes)
{
    return pb_arena_alloc(arena, bytes);
}

static void allocator_free(void *arena, void *pointer)
{
    (void)arena, (void)pointer; /* all at once, in pb_arena_reset */
}

/* ---- the walk ---- */

struct wire {
    const uint8_t *at, *end;
};

static bool wire_varint(struct wire *wire, uint64_t *out)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 70 && wire->at < wire->end; shift += 7) {
        uint8_t byte = *wire->at++;
        if (shift < 64)
            value |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) {
            *out = value;
            return true;
        }
    }
    return false;
}

static enum status string_scan(const ProtobufCMessageDescriptor *type, const char *field,
                               const uint8_t *text, size_t size, struct error *error)
{
    size_t at = 0;
    while (at < size) {
        if (text[at] == 0)
            return error_set(error, STATUS_INVALID, "%s.%s: byte %zu is NUL", type->name, field,
                             at);
        if (text[at] < 0x80) {
            at++;
            continue;
        }
        utf8proc_int32_t point;
        utf8proc_ssize_t step = utf8proc_iterate(text + at, (utf8proc_ssize_t)(size - at), &point);
        if (step <= 0)
            return error_set(error, STATUS_INVALID, "%s.%s: byte %zu is not UTF-8", type->name,
                             field, at);
        at += (size_t)step;
    }
    return STATUS_OK;
}

static enum status message_scan(const ProtobufCMessageDescriptor *type, struct wire wire,
                                unsigned depth, struct error *error);

/* One length-delimited field; `wire` is its content. `field` is NULL for an unknown one. */
static enum status field_scan(const ProtobufCMessageDescriptor *type,
                              const ProtobufCFieldDescriptor *field, struct wire wire,
                              unsigned depth, struct error *error)
{
    if (field && field->type == PROTOBUF_C_TYPE_STRING)
        return string_scan(type, field->name, wire.at, (size_t)(wire.end - wire.at), error);
    if (field && field->type == PROTOBUF_C_TYPE_MESSAGE) {
        if (depth + 1 > PB_DEPTH_MAX)
            return error_set(error, STATUS_UNSUPPORTED, "%s.%s: nested deeper than %d messages",
                             type->name, field->name, (int)PB_DEPTH_MAX);
        return message_scan(field->descriptor, wire, depth + 1, error);
    }
    return STATUS_OK;
}

static enum status message_scan(const ProtobufCMessageDescriptor *type, struct wire wire,
                                unsigned depth, struct error *error)
{
    while (wire.at < wire.end) {
        uint64_t tag, length;
        if (!wire_varint(&wire, &tag) || tag >> 32 || tag >> 3 == 0)
            return error_set(error, STATUS_INVALID, "%s: a field tag is malformed", type->name);
        unsigned number = (unsigned)(tag >> 3);
        const ProtobufCFieldDescriptor *field =
            protobuf_c_message_descriptor_get_field(type, number);
        switch (tag & 7) {
        case PROTOBUF_C_WIRE_TYPE_VARINT:
            if (!wire_varint(&wire, &length))
                return error_set(error, STATUS_INVALID, "%s: field %u: the number is malformed",
                                 type->name, number);
            continue;
        case PROTOBUF_C_WIRE_TYPE_64BIT:
            length = 8;
            break;
        case PROTOBUF_C_WIRE_TYPE_32BIT:
            length = 4;
            break;
        case PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED:
            if (!wire_varint(&wire, &length))
                return error_set(error, STATUS_INVALID, "%s: field %u: the length is malformed",
                                 type->name, number);
            break;
        default:
            return error_set(error, STATUS_INVALID, "%s: field %u: wire type %u does not exist",
                             type->name, number, (unsigned)(tag & 7));
        }
        if (length > (uint64_t)(wire.end - wire.at))
            return error_set(error, STATUS_INVALID, "%s: field %u: %llu bytes announced, %zu left",
                             type->name, number, (unsigned long long)length,
                             (size_t)(wire.end - wire.at));
        struct wire content = {wire.at, wire.at + length};
        wire.at += length;
        if ((tag & 7) != PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED)
            continue;
        enum status status = field_scan(type, field, content, depth, error);
        if (status != STATUS_OK)
            return status;
    }
    return STATUS_OK;
}

/* What one message may use: PB_BUDGET_FACTOR times its size, within a floor and a ceiling. */
static size_t message_budget(size_t size)
{
    if (size >= PB_BUDGET_MAX / PB_BUDGET_FACTOR)
        return PB_BUDGET_MAX;
    size_t budget = size * PB_BUDGET_FACTOR;
    return budget < PB_BUDGET_FLOOR ? PB_BUDGET_FLOOR : budget;
}

enum status pb_unpack(struct pb_arena *arena, const ProtobufCMessageDescriptor *type,
                      const void *bytes, size_t size, ProtobufCMessage **out, struct error *error)
{
    *out = NULL;
    if (size == 0)
        bytes = "";
    struct wire wire = {bytes, (const uint8_t *)bytes + size};
    enum status status = message_scan(type, wire, 1, error);
    if (status != STATUS_OK)
        return status;

    size_t budget_before = arena->budget_bytes;
    if (!budget_before)
        arena->budget_bytes = arena->used_bytes + message_budget(size);
    arena->exhausted = false;
    ProtobufCAllocator allocator = {allocator_alloc, allocator_free, arena};
    *out = protobuf_c_message_unpack(type, &allocator, size, bytes);
    size_t budget = arena->budget_bytes;
    arena->budget_bytes = budget_before;
    if (*out)
        return STATUS_OK;
    if (arena->exhausted)
        return error_set(error, STATUS_NO_MEMORY,
                         "%s: %zu bytes on the wire need more than the %zu bytes allowed",
                         type->name, size, budget);
    return error_set(error, STATUS_INVALID, "%s: a field has another type on the wire",
                     type->name);
}

enum status pb_send(struct grpc_call *call, const ProtobufCMessage *message)
{
    uint8_t scratch[PB_SEND_SCRATCH];
    size_t size = protobuf_c_message_get_packed_size(message);
    uint8_t *bytes = size <= sizeof scratch ? scratch : malloc(size);
    if (!bytes)
        return STATUS_NO_MEMORY;
    protobuf_c_message_pack(message, bytes);
    enum status status = grpc_call_send(call, bytes, size);
    if (bytes != scratch)
        free(bytes);
    return status;
}
