/* Writes a GGUF file (version 3): metadata, then which tensors there are, then their bytes in any
 * order and from any thread. Nothing but the header is held in memory.
 *
 *     gguf_writer_open, gguf_writer_u32 ..., gguf_writer_tensor ..., gguf_writer_begin,
 *     gguf_writer_put ..., gguf_writer_finish, gguf_writer_close
 *
 * The file has a temporary name beside its own until finish: who looks sees no file or a whole
 * one. */
#ifndef MOERING_ENGINE_LOAD_GGUF_WRITER_H
#define MOERING_ENGINE_LOAD_GGUF_WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/load/gguf.h"
#include "memory/base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

struct gguf_writer;

/* `alignment`: a power of two, 0 for the format's 32; written into the metadata if it is another.
 * IO: the file cannot be made; NO_MEMORY. */
enum status gguf_writer_open(struct gguf_writer **out, const char *path, uint32_t alignment,
                             struct error *error);
/* Removes what finish did not make whole. Accepts NULL. */
void gguf_writer_close(struct gguf_writer *writer);

/* Metadata, each key once, before begin. Memory that runs out is reported by begin. */
void gguf_writer_u16(struct gguf_writer *writer, const char *key, uint16_t value);
void gguf_writer_u32(struct gguf_writer *writer, const char *key, uint32_t value);
void gguf_writer_i32(struct gguf_writer *writer, const char *key, int32_t value);
void gguf_writer_f32(struct gguf_writer *writer, const char *key, float value);
void gguf_writer_bool(struct gguf_writer *writer, const char *key, bool value);
void gguf_writer_string(struct gguf_writer *writer, const char *key, const char *text);
void gguf_writer_strings(struct gguf_writer *writer, const char *key,
                         const struct gguf_string *strings, uint64_t count);
void gguf_writer_f32_array(struct gguf_writer *writer, const char *key, const float *values,
                           uint64_t count);
void gguf_writer_i32_array(struct gguf_writer *writer, const char *key, const int32_t *values,
                           uint64_t count);
/* An array of `count` u32 that gguf_writer_fill gives after begin: what only the data tells. At
 * most one a file; zeros until then. */
void gguf_writer_u32_array_later(struct gguf_writer *writer, const char *key, uint64_t count);
/* Any value of another file, under its own key. */
void gguf_writer_value(struct gguf_writer *writer, const struct gguf_value *value);

/* The next tensor: dim[dims] outermost first, the innermost a multiple of the type's block. Returns
 * its number, from 0. Its size is in *bytes (may be NULL). */
uint32_t gguf_writer_tensor(struct gguf_writer *writer, const char *name, enum dtype dtype,
                            uint32_t dims, const uint64_t *dim, uint64_t *bytes);

/* Writes the header and sets the file to its full size. IO (no room is told here where the file
 * system knows), NO_MEMORY. */
enum status gguf_writer_begin(struct gguf_writer *writer, struct error *error);
/* `bytes` of tensor `tensor` from byte `at` of it; each byte once. Any thread, also several at
 * once. */
enum status gguf_writer_put(struct gguf_writer *writer, uint32_t tensor, uint64_t at,
                            const void *from, size_t bytes, struct error *error);
/* The values of gguf_writer_u32_array_later. IO. */
enum status gguf_writer_fill(struct gguf_writer *writer, const uint32_t *values,
                             struct error *error);
/* Every tensor has been written: to storage, then to its name. IO. */
enum status gguf_writer_finish(struct gguf_writer *writer, struct error *error);

#ifdef __cplusplus
}
#endif
#endif
