/* model.safetensors.index.json: which shard holds which tensor. A pure function of its text. */
#ifndef MOERING_ENGINE_LOAD_SAFETENSORS_INDEX_H
#define MOERING_ENGINE_LOAD_SAFETENSORS_INDEX_H

#include <stddef.h>
#include <stdint.h>

#include "memory/base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

#define SAFETENSORS_SHARDS_MAX 4096
#define SAFETENSORS_INDEX_BYTES_MAX ((uint64_t)100 * 1000 * 1000)

struct safetensors_index_entry {
    const char *tensor;
    uint32_t shard;
};

struct safetensors_index {
    const char **shards; /* plain file names inside the folder, in the order of their names */
    uint32_t shard_count;
    struct safetensors_index_entry *entries;
    uint32_t count;
    void *json; /* owns the names */
};

/* INVALID: malformed, no "weight_map" of string -> string, empty, a shard that is not a plain file
 * name, or more than SAFETENSORS_SHARDS_MAX of them; errors name `file` and the tensor.
 * NO_MEMORY. */
enum status safetensors_index_parse(struct safetensors_index **out, const char *file,
                                    const char *text, size_t bytes, struct error *error);
/* The same from a file. Also NOT_FOUND, IO. */
enum status safetensors_index_read(struct safetensors_index **out, const char *path,
                                   struct error *error);
void safetensors_index_close(struct safetensors_index *index); /* accepts NULL */

#ifdef __cplusplus
}
#endif
#endif
