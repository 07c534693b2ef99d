/* Every protobuf message that comes from the network is unpacked here and nowhere else.
 *
 * The generated unpacker trusts its input too much: messages nested deep enough overflow the stack,
 * two bytes on the wire may cost sixty on the heap, a NUL cuts a string short unseen, and text that
 * is not UTF-8 passes. So a walk over the wire bytes comes first (depth, NUL, UTF-8, groups), and
 * the unpacker then allocates from an arena that has a budget. Freeing a message is resetting the
 * arena: never call the generated __free_unpacked on a message from here. */
#ifndef MOERING_SERVER_GRPC_PB_H
#define MOERING_SERVER_GRPC_PB_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "memory/base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

struct grpc_call;

enum {
    PB_DEPTH_MAX = 32,                  /* messages within messages */
    PB_BUDGET_FACTOR = 16,              /* heap bytes per wire byte ... */
    PB_BUDGET_FLOOR = 64 << 10,         /* ... and what a small message may use anyhow */
    PB_BUDGET_MAX = 64 << 20,           /* ... and the most for any message */
};

/* Allocations that die together. Zero-initialise it (or pb_arena_init). */
struct pb_arena {
    struct pb_chunk *chunks; /* the newest first */
    size_t used_bytes;       /* handed out since the last reset */
    size_t budget_bytes;     /* 0: each pb_unpack sets it from the size of its message */
    bool exhausted;          /* an allocation was refused since the last reset */
};
void pb_arena_init(struct pb_arena *arena, size_t budget_bytes);
/* `bytes` of memory aligned to 16, or NULL when the budget or the heap is exhausted. */
void *pb_arena_alloc(struct pb_arena *arena, size_t bytes);
/* Frees everything; the arena may be used again. Accepts a zeroed arena. */
void pb_arena_reset(struct pb_arena *arena);

/* Unpacks one message into `arena`; the result lives until the arena is reset.
 * INVALID: not a message of this type, a string with NUL or not UTF-8 (the error names the field);
 * UNSUPPORTED: nested deeper than PB_DEPTH_MAX; NO_MEMORY: over the budget. */
enum status pb_unpack(struct pb_arena *arena, const ProtobufCMessageDescriptor *type,
                      const void *bytes, size_t size, ProtobufCMessage **out,
                      struct error *error);

/* Packs `message` and queues it: what grpc_call_send returns, or NO_MEMORY. */
enum status pb_send(struct grpc_call *call, const ProtobufCMessage *message);

#ifdef __cplusplus
}
#endif
#endif
