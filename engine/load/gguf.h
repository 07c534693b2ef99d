/* The header of one GGUF file (versions 2 and 3): metadata by key, and where each tensor lies. A
 * pure function of bytes; nothing in it is believed before it is checked. Zero copy: strings and
 * arrays point into the bytes that were parsed.
 *
 *     "GGUF", u32 version, u64 tensors, u64 keys
 *     keys     string key, u32 type, value; array: u32 type, u64 count, values; string: u64, bytes
 *     tensors  string name, u32 dims, u64 dim[dims] innermost first, u32 type, u64 offset
 *     padding to general.alignment (32 if absent)
 *     the tensors' bytes, each at its offset from here
 *
 * What a valid header is: keys and names are printable ASCII, not empty and given once; a bool is 0
 * or 1; the alignment is a power of two; a tensor has 1 to 4 dimensions, none 0; its innermost is a
 * multiple of its type's block; its offset is a multiple of the alignment; tensors lie inside the
 * file and do not overlap. Bytes that belong to no tensor are allowed: writers pad. Source:
 * github.com/ggml-org/ggml, docs/gguf.md. */
#ifndef MOERING_ENGINE_LOAD_GGUF_H
#define MOERING_ENGINE_LOAD_GGUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/load/checkpoint.h"
#include "engine/load/model_file.h"
#include "memory/base/arena.h"
#include "memory/base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Vocabularies are most of a header: a quarter of a million tokens with merges take some 20 MB. */
#define GGUF_HEADER_BYTES_MAX ((uint64_t)256 << 20)
#define GGUF_KEY_BYTES_MAX 65535
#define GGUF_NAME_BYTES_MAX 255
#define GGUF_ALIGNMENT_DEFAULT 32

/* Numbered as in files. */
enum gguf_type {
    GGUF_U8, GGUF_I8, GGUF_U16, GGUF_I16, GGUF_U32, GGUF_I32, GGUF_F32, GGUF_BOOL, GGUF_STRING,
    GGUF_ARRAY, GGUF_U64, GGUF_I64, GGUF_F64,
    GGUF_TYPES
};

/* Of a number or a bool. */
uint32_t gguf_type_bytes(enum gguf_type type);

struct gguf_string {
    const char *text; /* not terminated; may hold any byte */
    uint64_t bytes;
};

struct gguf_value {
    struct gguf_string key;
    enum gguf_type type; /* of the value; of an array: of its elements, never GGUF_ARRAY */
    bool is_array;
    uint64_t count;                    /* of an array; else 1 */
    const void *numbers;               /* [count], aligned, for every type but GGUF_STRING */
    const struct gguf_string *strings; /* [count], GGUF_STRING */
};

struct gguf_tensor {
    struct checkpoint_tensor tensor; /* dim[] outermost first; offset from the start of the file */
    const char *foreign;             /* its type, if we do not compute with it ("IQ2_XS", "id 144");
                                      * else NULL: tensor.dtype then is DTYPE_COUNT. tensor.bytes is
                                      * 0 if the format does not say how large it is. */
};

struct gguf {
    char *file; /* its name in errors */
    uint32_t version, alignment;
    uint64_t data_offset;
    struct gguf_value *values; /* in the order of their keys (bytewise) */
    uint32_t value_count;
    struct gguf_tensor *tensors; /* in the order of their bytes in the file */
    uint32_t tensor_count;
    struct arena arena;
    void *owned; /* the header's bytes, if gguf_read read them */
};

/* `bytes`: the file's beginning, at least up to the end of its header, kept by the caller for as
 * long as *out lives; `file_bytes`: all of the file. INVALID: breaks a rule above; UNSUPPORTED:
 * big-endian, another version, arrays of arrays, a header of more than GGUF_HEADER_BYTES_MAX;
 * NO_MEMORY. Memory: a few times what the header really holds, whatever it claims. Errors name
 * `file` and the key or tensor. */
enum status gguf_parse(struct gguf **out, const char *file, const void *bytes, size_t size,
                       uint64_t file_bytes, struct error *error);
/* Reads the header and little more. Also IO. */
enum status gguf_read(struct gguf **out, const char *path, const struct model_file *file,
                      struct error *error);
void gguf_close(struct gguf *gguf); /* accepts NULL */

/* NULL: no such key. */
const struct gguf_value *gguf_find(const struct gguf *gguf, const char *key);

#ifdef __cplusplus
}
#endif
#endif
