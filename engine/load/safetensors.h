/* The header of one .safetensors file: eight bytes of length, that many bytes of JSON, then the
 * tensors' bytes. A pure function of bytes; nothing in it is believed before it is checked.
 *
 * What a valid header is (the format's own rules, as its reference reader enforces them):
 * the length is at most 100 MB and inside the file; the JSON is an object that begins at once with
 * '{' and names each tensor once; dtype is one of the format's; shape times dtype is exactly the
 * length of data_offsets; and the data section is covered from its first byte to its last, in some
 * order, without overlaps and without holes. "__metadata__" maps strings to strings. Stricter than
 * that reader: no space before the '{' (the format's text forbids it too), a name given twice is an
 * error (there the last one wins), and no name is empty or holds control characters. */
#ifndef MOERING_ENGINE_LOAD_SAFETENSORS_H
#define MOERING_ENGINE_LOAD_SAFETENSORS_H

#include <stddef.h>
#include <stdint.h>

#include "engine/load/checkpoint.h"
#include "engine/load/model_file.h"
#include "memory/base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

#define SAFETENSORS_LENGTH_BYTES 8
#define SAFETENSORS_HEADER_BYTES_MAX ((uint64_t)100 * 1000 * 1000)

struct safetensors_entry {
    struct checkpoint_tensor tensor; /* offset from the start of the file; file is 0 */
    const char *foreign;             /* its type, if we do not compute with it ("I64"); else NULL:
                                      * tensor.dtype then is DTYPE_COUNT. Static text. */
};

struct safetensors {
    struct safetensors_entry *entries; /* in the order of their bytes in the file */
    uint32_t count;
    char *names; /* what the entries' names point into */
};

/* `bytes`: the file's beginning, at least up to the end of its header; `file_bytes`: all of it.
 * tensor.dims is the true number of dimensions even beyond TENSOR_DIMS_MAX (dim[] holds the first).
 * INVALID: breaks a rule above; UNSUPPORTED: a type the format did not have when this was written;
 * NO_MEMORY. Errors name `file` and the tensor. */
enum status safetensors_parse(struct safetensors **out, const char *file, const void *bytes,
                              size_t size, uint64_t file_bytes, struct error *error);
/* Reads the header and nothing else. Also IO. */
enum status safetensors_read(struct safetensors **out, const char *path,
                             const struct model_file *file, struct error *error);
void safetensors_close(struct safetensors *safetensors); /* accepts NULL */

#ifdef __cplusplus
}
#endif
#endif
