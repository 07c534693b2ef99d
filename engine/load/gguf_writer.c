/* Writes one GGUF file. Owns its descriptor and the header while it grows; refuses nothing that it
 * is told, since its callers are our own programs: a wrong order of calls or tensors left out are
 * CHECKed.
 *
 * The header is collected in two pieces, keys and tensors, because their counts stand before both.
 * Tensors then are written where they belong with pwrite, so several threads can fill one file, and
 * what lies between them stays the zeros of a file that was only lengthened. Space is allocated at
 * begin: a full disk is known before hours of work. */
#include "engine/load/gguf_writer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/load/gguf_tensor_type.h"
#include "memory/base/bytes.h"
#include "memory/base/check.h"

enum { DIMS_MAX = 4, FIXED_BYTES = 24 }; /* before the keys: magic, version, two counts */

struct growing {
    unsigned char *bytes;
    size_t size, capacity;
    bool failed; /* no memory */
};

struct place {
    uint64_t offset, bytes; /* offset: of the data */
};

struct gguf_writer {
    char *path, *temporary;
    int fd;
    uint32_t alignment;
    struct growing keys, infos;
    uint64_t key_count;
    struct place *places;
    uint32_t tensor_count, tensor_capacity;
    bool no_places; /* no memory for them */
    uint64_t data_bytes, data_offset;
    uint64_t left;  /* bytes of tensors not written yet; atomic */
    uint64_t later_at, later_count; /* values in `keys` that come later */
    bool begun;
};

static void append(struct growing *to, const void *from, size_t bytes)
{
    if (to->failed)
        return;
    if (to->capacity - to->size < bytes) {
        size_t capacity = to->capacity ? 2 * to->capacity : 4096;
        while (capacity - to->size < bytes)
            capacity *= 2;
        unsigned char *larger = realloc(to->bytes, capacity);
        if (!larger) {
            to->failed = true;
            return;
        }
        to->bytes = larger;
        to->capacity = capacity;
    }
    if (bytes > 0)
        memcpy(to->bytes + to->size, from, bytes);
    to->size += bytes;
}

static void append_u32(struct growing *to, uint32_t value)
{
    append(to, &value, sizeof value); /* little endian, as the hosts that CMake lets through */
}

static void append_u64(struct growing *to, uint64_t value)
{
    append(to, &value, sizeof value);
}

static void append_string(struct growing *to, const char *text, uint64_t bytes)
{
    append_u64(to, bytes);
    append(to, text, (size_t)bytes);
}

enum status gguf_writer_open(struct gguf_writer **out, const char *path, uint32_t alignment,
                             struct error *error)
{
    CHECK((alignment & (alignment - 1)) == 0);
    *out = NULL;
    enum status status;
    struct gguf_writer *writer = calloc(1, sizeof *writer);
    if (!writer)
        return error_set(error, STATUS_NO_MEMORY, "%s: no memory", path);
    writer->fd = -1;
    writer->alignment = alignment ? alignment : GGUF_ALIGNMENT_DEFAULT;
    writer->path = strdup(path);
    if (!writer->path || asprintf(&writer->temporary, "%s.part", path) < 0) {
        writer->temporary = NULL;
        status = error_set(error, STATUS_NO_MEMORY, "%s: no memory", path);
        goto fail;
    }
    writer->fd = open(writer->temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (writer->fd < 0) {
        status = error_set(error, STATUS_IO, "%s: cannot be written: %s", writer->temporary,
                           strerror(errno));
        goto fail;
    }
    if (writer->alignment != GGUF_ALIGNMENT_DEFAULT)
        gguf_writer_u32(writer, "general.alignment", writer->alignment);
    *out = writer;
    return STATUS_OK;
fail:
    gguf_writer_close(writer);
    return status;
}

void gguf_writer_close(struct gguf_writer *writer)
{
    if (!writer)
        return;
    if (writer->fd >= 0) {
        close(writer->fd);
        unlink(writer->temporary);
    }
    free(writer->keys.bytes);
    free(writer->infos.bytes);
    free(writer->places);
    free(writer->path);
    free(writer->temporary);
    free(writer);
}

/* ---- metadata ---- */

static void begin_key(struct gguf_writer *writer, const char *key, enum gguf_type type)
{
    CHECK(!writer->begun);
    append_string(&writer->keys, key, strlen(key));
    append_u32(&writer->keys, (uint32_t)type);
    writer->key_count++;
}

static void begin_array(struct gguf_writer *writer, const char *key, enum gguf_type type,
                        uint64_t count)
{
    begin_key(writer, key, GGUF_ARRAY);
    append_u32(&writer->keys, (uint32_t)type);
    append_u64(&writer->keys, count);
}

void gguf_writer_u16(struct gguf_writer *writer, const char *key, uint16_t value)
{
    begin_key(writer, key, GGUF_U16);
    append(&writer->keys, &value, sizeof value);
}

void gguf_writer_u32(struct gguf_writer *writer, const char *key, uint32_t value)
{
    begin_key(writer, key, GGUF_U32);
    append_u32(&writer->keys, value);
}

void gguf_writer_i32(struct gguf_writer *writer, const char *key, int32_t value)
{
    begin_key(writer, key, GGUF_I32);
    append(&writer->keys, &value, sizeof value);
}

void gguf_writer_f32(struct gguf_writer *writer, const char *key, float value)
{
    begin_key(writer, key, GGUF_F32);
    append(&writer->keys, &value, sizeof value);
}

void gguf_writer_bool(struct gguf_writer *writer, const char *key, bool value)
{
    uint8_t byte = value;
    begin_key(writer, key, GGUF_BOOL);
    append(&writer->keys, &byte, 1);
}

void gguf_writer_string(struct gguf_writer *writer, const char *key, const char *text)
{
    begin_key(writer, key, GGUF_STRING);
    append_string(&writer->keys, text, strlen(text));
}

void gguf_writer_strings(struct gguf_writer *writer, const char *key,
                         const struct gguf_string *strings, uint64_t count)
{
    begin_array(writer, key, GGUF_STRING, count);
    for (uint64_t i = 0; i < count; i++)
        append_string(&writer->keys, strings[i].text, strings[i].bytes);
}

void gguf_writer_f32_array(struct gguf_writer *writer, const char *key, const float *values,
                           uint64_t count)
{
    begin_array(writer, key, GGUF_F32, count);
    append(&writer->keys, values, (size_t)count * sizeof *values);
}

void gguf_writer_i32_array(struct gguf_writer *writer, const char *key, const int32_t *values,
                           uint64_t count)
{
    begin_array(writer, key, GGUF_I32, count);
    append(&writer->keys, values, (size_t)count * sizeof *values);
}

void gguf_writer_u32_array_later(struct gguf_writer *writer, const char *key, uint64_t count)
{
    const uint32_t zero = 0;
    CHECK(writer->later_count == 0);
    begin_array(writer, key, GGUF_U32, count);
    writer->later_at = writer->keys.size;
    writer->later_count = count;
    for (uint64_t i = 0; i < count; i++)
        append(&writer->keys, &zero, sizeof zero);
}

void gguf_writer_value(struct gguf_writer *writer, const struct gguf_value *value)
{
    CHECK(!writer->begun);
    append_string(&writer->keys, value->key.text, value->key.bytes);
    if (value->is_array)
        append_u32(&writer->keys, GGUF_ARRAY);
    append_u32(&writer->keys, (uint32_t)value->type);
    if (value->is_array)
        append_u64(&writer->keys, value->count);
    for (uint64_t i = 0; value->type == GGUF_STRING && i < value->count; i++)
        append_string(&writer->keys, value->strings[i].text, value->strings[i].bytes);
    if (value->type != GGUF_STRING)
        append(&writer->keys, value->numbers, (size_t)value->count * gguf_type_bytes(value->type));
    writer->key_count++;
}

/* ---- tensors ---- */

/* NULL: no memory, now or for one before: numbers go on, and begin refuses. */
static struct place *add_place(struct gguf_writer *writer)
{
    if (writer->no_places)
        return NULL;
    if (writer->tensor_count == writer->tensor_capacity) {
        uint32_t capacity = writer->tensor_capacity ? 2 * writer->tensor_capacity : 64;
        struct place *places = realloc(writer->places, capacity * sizeof *places);
        if (!places) {
            writer->no_places = true;
            return NULL;
        }
        writer->places = places;
        writer->tensor_capacity = capacity;
    }
    return &writer->places[writer->tensor_count];
}

uint32_t gguf_writer_tensor(struct gguf_writer *writer, const char *name, enum dtype dtype,
                            uint32_t dims, const uint64_t *dim, uint64_t *bytes)
{
    uint64_t values = 1, size = 0;
    CHECK(!writer->begun && dims >= 1 && dims <= DIMS_MAX);
    for (uint32_t i = 0; i < dims; i++)
        CHECK(dim[i] > 0 && bytes_mul(values, dim[i], &values));
    CHECK(dim[dims - 1] % dtype_info(dtype)->block_values == 0);
    CHECK(dtype_bytes(dtype, values, &size));
    append_string(&writer->infos, name, strlen(name));
    append_u32(&writer->infos, dims);
    for (uint32_t i = dims; i-- > 0;)
        append_u64(&writer->infos, dim[i]);
    append_u32(&writer->infos, gguf_tensor_type_of(dtype)->id);
    append_u64(&writer->infos, writer->data_bytes);
    struct place *place = add_place(writer);
    if (place)
        *place = (struct place){writer->data_bytes, size};
    if (bytes)
        *bytes = size;
    writer->data_bytes = bytes_align_up(writer->data_bytes + size, writer->alignment);
    writer->left += size;
    return writer->tensor_count++;
}

static enum status write_at(const struct gguf_writer *writer, const void *data, size_t bytes,
                            uint64_t offset, struct error *error)
{
    const char *from = data;
    while (bytes > 0) {
        ssize_t n = pwrite(writer->fd, from, bytes, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return error_set(error, STATUS_IO, "%s: writing %zu bytes at %llu: %s",
                             writer->temporary, bytes, (unsigned long long)offset,
                             n < 0 ? strerror(errno) : "no progress");
        from += n;
        bytes -= (size_t)n;
        offset += (uint64_t)n;
    }
    return STATUS_OK;
}

/* The full size, with room on the disk where the file system can promise it. */
static enum status allocate_file(const struct gguf_writer *writer, struct error *error)
{
    off_t size = (off_t)(writer->data_offset + writer->data_bytes);
    int failed = size > 0 ? fallocate(writer->fd, 0, 0, size) : 0;
    if (failed && errno != ENOSPC && errno != EFBIG && errno != EDQUOT)
        failed = ftruncate(writer->fd, size);
    if (failed)
        return error_set(error, STATUS_IO, "%s: no room for %lld bytes: %s", writer->temporary,
                         (long long)size, strerror(errno));
    return STATUS_OK;
}

enum status gguf_writer_begin(struct gguf_writer *writer, struct error *error)
{
    struct growing fixed = {0};
    CHECK(!writer->begun);
    writer->begun = true;
    append(&fixed, "GGUF", 4);
    append_u32(&fixed, 3);
    append_u64(&fixed, writer->tensor_count);
    append_u64(&fixed, writer->key_count);
    if (fixed.failed || writer->keys.failed || writer->infos.failed || writer->no_places) {
        free(fixed.bytes);
        return error_set(error, STATUS_NO_MEMORY, "%s: no memory for its header", writer->path);
    }
    CHECK(fixed.size == FIXED_BYTES);
    uint64_t keys_at = fixed.size, infos_at = keys_at + writer->keys.size;
    writer->data_offset = bytes_align_up(infos_at + writer->infos.size, writer->alignment);
    enum status status = allocate_file(writer, error);
    if (status == STATUS_OK)
        status = write_at(writer, fixed.bytes, fixed.size, 0, error);
    if (status == STATUS_OK)
        status = write_at(writer, writer->keys.bytes, writer->keys.size, keys_at, error);
    if (status == STATUS_OK)
        status = write_at(writer, writer->infos.bytes, writer->infos.size, infos_at, error);
    free(fixed.bytes);
    return status;
}

enum status gguf_writer_fill(struct gguf_writer *writer, const uint32_t *values,
                             struct error *error)
{
    CHECK(writer->begun && writer->later_count > 0);
    return write_at(writer, values, writer->later_count * sizeof *values,
                    FIXED_BYTES + writer->later_at, error);
}

enum status gguf_writer_put(struct gguf_writer *writer, uint32_t tensor, uint64_t at,
                            const void *from, size_t bytes, struct error *error)
{
    CHECK(writer->begun && tensor < writer->tensor_count);
    const struct place *place = &writer->places[tensor];
    CHECK(at <= place->bytes && bytes <= place->bytes - at);
    enum status status = write_at(writer, from, bytes, writer->data_offset + place->offset + at,
                                  error);
    if (status == STATUS_OK)
        __atomic_sub_fetch(&writer->left, bytes, __ATOMIC_RELAXED);
    return status;
}

enum status gguf_writer_finish(struct gguf_writer *writer, struct error *error)
{
    CHECK(writer->begun && writer->fd >= 0);
    CHECK_MSG(writer->left == 0, "%s: %llu bytes of tensors were not written", writer->path,
              (unsigned long long)writer->left);
    int fd = writer->fd;
    bool synced = fsync(fd) == 0 || errno == EINVAL; /* what cannot be synced is no disk */
    int why = errno;
    writer->fd = -1;
    if (close(fd) != 0 && synced) {
        synced = false;
        why = errno;
    }
    if (synced && rename(writer->temporary, writer->path) == 0)
        return STATUS_OK;
    why = synced ? errno : why;
    unlink(writer->temporary);
    return error_set(error, STATUS_IO, "%s: cannot be completed: %s", writer->path, strerror(why));
}
