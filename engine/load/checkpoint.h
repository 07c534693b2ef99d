/* One view of a model on disk: its configuration values and its named tensors, whatever the file
 * format. Reads headers only; weights are read by checkpoint_read or travel through memory/.
 *
 * Formats: a Hugging Face folder with config.json and model.safetensors, or
 * model.safetensors.index.json with its shards; a GGUF file, alone, the first of a split model, or
 * the only one in a folder, whose tensors and settings then have the names and keys of Hugging Face
 * (gguf_view.h has the table). Everything is checked before anything is believed: sizes, bounds,
 * overlaps, names used twice; error sentences name the file and the field as the file spells it.
 * Immutable after open. */
#ifndef MOERING_ENGINE_LOAD_CHECKPOINT_H
#define MOERING_ENGINE_LOAD_CHECKPOINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/quant/dtype.h"
#include "memory/base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

#define TENSOR_DIMS_MAX 4

struct checkpoint;
struct gguf;

struct checkpoint_tensor {
    const char *name;
    enum dtype dtype;
    uint32_t dims;
    uint64_t dim[TENSOR_DIMS_MAX]; /* outermost first: a linear weight is [outputs][inputs] */
    uint32_t file;                 /* index for checkpoint_file_path */
    uint64_t offset;               /* bytes from the start of the file */
    uint64_t bytes;
};

/* `path`: the model's folder or its .gguf file. NOT_FOUND: no folder or file, no config.json or no
 * weights; INVALID: malformed, a shard is missing, or a folder with several GGUF models;
 * UNSUPPORTED: a format, an architecture or a setting we do not compute; IO, NO_MEMORY. */
enum status checkpoint_open(struct checkpoint **out, const char *path, struct error *error);
/* True: `path` is a folder or a GGUF file, and no other kind of file. */
bool checkpoint_looks_like_one(const char *path);
void checkpoint_close(struct checkpoint *checkpoint); /* accepts NULL */

const char *checkpoint_path(const struct checkpoint *checkpoint);
uint32_t checkpoint_files(const struct checkpoint *checkpoint);
const char *checkpoint_file_path(const struct checkpoint *checkpoint, uint32_t file);

/* These see the tensors of a type in dtype.h with at most TENSOR_DIMS_MAX dimensions. Any other (an
 * I64 counter, FP8 weights) is checked like the rest but not listed; needing it is UNSUPPORTED. */
uint32_t checkpoint_tensors(const struct checkpoint *checkpoint);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow" /* C++ only: the function is called as the struct is */
const struct checkpoint_tensor *checkpoint_tensor(const struct checkpoint *checkpoint, uint32_t i);
#pragma GCC diagnostic pop
/* NULL: no such tensor, or one of the others. */
const struct checkpoint_tensor *checkpoint_find(const struct checkpoint *checkpoint,
                                                const char *name);
/* The tensor, which must have exactly these dimensions (dims of 0 beyond the last).
 * NOT_FOUND: missing; UNSUPPORTED: of a type or rank we do not read; INVALID: another shape. The
 * error names the folder or file, the tensor, and its type or both shapes. */
enum status checkpoint_need(const struct checkpoint *checkpoint, const char *name, uint64_t dim0,
                            uint64_t dim1, uint64_t dim2,
                            const struct checkpoint_tensor **out, struct error *error);
/* Reads the tensor's bytes as they are. IO: cannot, or the file has shrunk. */
enum status checkpoint_read(const struct checkpoint *checkpoint,
                            const struct checkpoint_tensor *tensor, void *to, struct error *error);
/* Reads it decoded to f32. */
enum status checkpoint_read_f32(const struct checkpoint *checkpoint,
                                const struct checkpoint_tensor *tensor, float *to,
                                struct error *error);

/* Configuration values by their config.json key. Each error names the file, the key and the value.
 * NOT_FOUND: the key is absent or null (not an error by itself: `error` stays empty unless `need`);
 * INVALID: another type, not finite, or outside [min, max]. A `need` key absent is INVALID. */
enum status checkpoint_u32(const struct checkpoint *checkpoint, const char *key, bool need,
                           uint32_t min, uint32_t max, uint32_t *out, struct error *error);
enum status checkpoint_f64(const struct checkpoint *checkpoint, const char *key, bool need,
                           double min, double max, double *out, struct error *error);
enum status checkpoint_bool(const struct checkpoint *checkpoint, const char *key, bool need,
                            bool *out, struct error *error);
/* Owned by the checkpoint. */
enum status checkpoint_string(const struct checkpoint *checkpoint, const char *key, bool need,
                              const char **out, struct error *error);
/* An integer or a list of them (eos_token_id), from generation_config.json if it has the key, else
 * from config.json. *count: how many were written; 0 with OK if absent or null. INVALID: anything
 * else, negative, or more than `max` of them. */
enum status checkpoint_u32_list(const struct checkpoint *checkpoint, const char *key, uint32_t *out,
                                uint32_t max, uint32_t *count, struct error *error);
/* "rope_scaling.factor" style paths reach into objects in every function above. True if the key
 * exists and is not null. */
bool checkpoint_has(const struct checkpoint *checkpoint, const char *key);

/* How the model's files spell a setting, for errors of whoever judges its value behind the path:
 * "config.json: head_dim", "olmoe.attention.key_length". Returns `out`. */
#define CHECKPOINT_KEY_BYTES 160
const char *checkpoint_key_shown(const struct checkpoint *checkpoint, const char *key,
                                 char out[CHECKPOINT_KEY_BYTES]);

/* The metadata of a GGUF model (of its first file), for what has no key of Hugging Face: the
 * tokenizer. NULL: another format. Owned by the checkpoint; gguf.h and gguf_value.h read it. */
const struct gguf *checkpoint_gguf(const struct checkpoint *checkpoint);

#ifdef __cplusplus
}
#endif
#endif
