/* What a serialised FileDescriptorSet declares: files, their dependencies, and the full name of
 * each symbol with the file that holds it. Reads the wire format of descriptor.proto by hand, as
 * that proto is recursive and the set is our own. Pure; immutable after open. */
#ifndef MOERING_SERVER_GRPC_REFLECTION_INDEX_H
#define MOERING_SERVER_GRPC_REFLECTION_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "memory/base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { REFLECTION_FILES_MAX = 256 };

struct reflection_index;

/* A serialised FileDescriptorProto, within the set. */
struct reflection_file {
    const uint8_t *bytes;
    size_t size;
    char *name;
};

/* `set` is borrowed for the life of the index. INVALID: not a FileDescriptorSet; NO_MEMORY. */
enum status reflection_index_open(struct reflection_index **out, const uint8_t *set, size_t size,
                                  struct error *error);
void reflection_index_close(struct reflection_index *index); /* accepts NULL */

/* These return the number of a file, or -1. Symbols are messages, fields, oneofs, enums, enum
 * values, services, methods and extensions, by full name without a leading dot. */
int reflection_index_file(const struct reflection_index *index, const char *name);
int reflection_index_symbol(const struct reflection_index *index, const char *symbol);
int reflection_index_extension(const struct reflection_index *index, const char *type,
                               int32_t number);
/* True when `type` is a message. */
bool reflection_index_is_message(const struct reflection_index *index, const char *type);
/* The numbers of the extensions of `type`: writes up to `max`, returns how many there are. */
size_t reflection_index_extensions(const struct reflection_index *index, const char *type,
                                   int32_t *out, size_t max);
/* `file` and all it imports, each once, itself first. Returns how many. */
size_t reflection_index_closure(const struct reflection_index *index, int file,
                                const struct reflection_file *out[REFLECTION_FILES_MAX]);

#ifdef __cplusplus
}
#endif
#endif
