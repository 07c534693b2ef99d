/* The files of one GGUF model: one, or the parts of a split one.
 *
 * A part is named <model>-00001-of-00003.gguf and says in its metadata which it is: split.no (from
 * 0), split.count, split.tensors.count (of all parts together). The first holds all other
 * metadata. */
#ifndef MOERING_ENGINE_LOAD_GGUF_SPLIT_H
#define MOERING_ENGINE_LOAD_GGUF_SPLIT_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/load/gguf.h"
#include "engine/load/model_file.h"
#include "memory/base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

#define GGUF_SPLIT_PARTS_MAX 4096

struct gguf_part {
    char *path;
    struct model_file file;
    struct gguf *gguf;
};

struct gguf_split {
    struct gguf_part *parts;
    uint32_t count; /* 1: not split */
};

/* Reads the headers of the file and of the parts that belong to it. NOT_FOUND: no such file;
 * INVALID: malformed, not the first part (the error names the one to open), a part that is missing,
 * that says it is another one or of another number, or tensors that do not add up; UNSUPPORTED, IO,
 * NO_MEMORY. */
enum status gguf_split_open(struct gguf_split **out, const char *path, struct error *error);
void gguf_split_close(struct gguf_split *split); /* accepts NULL */

/* Takes a part's file name apart (of a path too): true if it is spelled as above, with *no from 0
 * and *prefix_bytes the length of what stands before "-00001-of-". */
bool gguf_split_name(const char *path, uint32_t *no, uint32_t *count, size_t *prefix_bytes);

#ifdef __cplusplus
}
#endif
#endif
