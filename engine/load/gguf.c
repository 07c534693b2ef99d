/* Reads and verifies one GGUF header. Owns the tables it makes of it and, after gguf_read, the
 * header's bytes; refuses what the format forbids and does no arithmetic on a number from the file
 * without an overflow check. Any thread; no state.
 *
 * The header does not say how long it is, so gguf_read parses a beginning of the file and, if that
 * was too short, twice as much: at most twice the work, and a file of gigabytes that claims a
 * string of gigabytes ends at GGUF_HEADER_BYTES_MAX. Tables grow with what was really read, never
 * by a count that the file claims. Keys and tensors are sorted, which finds duplicates and overlaps
 * between neighbours and makes a look-up a binary search. */
#include "engine/load/gguf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/load/gguf_tensor_type.h"
#include "memory/base/bytes.h"
#include "memory/base/check.h"

enum { DIMS_MAX = 4, READ_FIRST_BYTES = 4 << 20, SHOWN = 120 };

static const uint8_t value_bytes[GGUF_TYPES] = {
    [GGUF_U8] = 1,  [GGUF_I8] = 1,  [GGUF_U16] = 2,  [GGUF_I16] = 2, [GGUF_U32] = 4, [GGUF_I32] = 4,
    [GGUF_F32] = 4, [GGUF_BOOL] = 1, [GGUF_U64] = 8, [GGUF_I64] = 8, [GGUF_F64] = 8,
};

uint32_t gguf_type_bytes(enum gguf_type type)
{
    CHECK((unsigned)type < GGUF_TYPES && value_bytes[type]);
    return value_bytes[type];
}

struct reader {
    struct gguf *gguf;
    const unsigned char *bytes;
    uint64_t size, at;  /* at <= size */
    uint64_t file_bytes;
    uint64_t wanted;    /* > size: parsing stopped because so many bytes were not there */
    uint64_t tensors, keys;
    struct error *error;
};

static enum status no_memory(const char *file, struct error *error)
{
    return error_set(error, STATUS_NO_MEMORY, "%s: no memory for its tables", file);
}

/* The next `bytes` of the header. `what` names them in errors: `text` of `length` bytes. */
static enum status take(struct reader *r, uint64_t bytes, const char *what, struct gguf_string of,
                        const unsigned char **out)
{
    if (bytes <= r->size - r->at) {
        *out = r->bytes + r->at;
        r->at += bytes;
        return STATUS_OK;
    }
    if (!bytes_add(r->at, bytes, &r->wanted))
        r->wanted = UINT64_MAX;
    return error_set(r->error, STATUS_INVALID,
                     "%s: %s \"%.*s\": %llu bytes at %llu are beyond the file's %llu",
                     r->gguf->file, what, (int)(of.bytes < SHOWN ? of.bytes : SHOWN), of.text,
                     (unsigned long long)bytes, (unsigned long long)r->at,
                     (unsigned long long)r->file_bytes);
}

static enum status take_u32(struct reader *r, const char *what, struct gguf_string of,
                            uint32_t *out)
{
    const unsigned char *bytes = NULL;
    enum status status = take(r, 4, what, of, &bytes);
    if (status == STATUS_OK)
        *out = bytes_le32(bytes);
    return status;
}

static enum status take_u64(struct reader *r, const char *what, struct gguf_string of,
                            uint64_t *out)
{
    const unsigned char *bytes = NULL;
    enum status status = take(r, 8, what, of, &bytes);
    if (status == STATUS_OK)
        *out = bytes_le64(bytes);
    return status;
}

static enum status take_string(struct reader *r, const char *what, struct gguf_string of,
                               struct gguf_string *out)
{
    const unsigned char *bytes = NULL;
    enum status status = take_u64(r, what, of, &out->bytes);
    if (status == STATUS_OK)
        status = take(r, out->bytes, what, of, &bytes);
    out->text = (const char *)bytes;
    return status;
}

/* A key or a tensor's name: what errors may print and names may be made of. */
static enum status take_name(struct reader *r, const char *what, uint64_t number,
                             uint64_t bytes_max,
                             struct gguf_string *out)
{
    char shown[24];
    int digits = snprintf(shown, sizeof shown, "%llu", (unsigned long long)number);
    struct gguf_string of = {shown, (uint64_t)digits};
    enum status status = take_string(r, what, of, out);
    if (status != STATUS_OK)
        return status;
    if (out->bytes == 0 || out->bytes > bytes_max)
        return error_set(r->error, STATUS_INVALID,
                         "%s: %s %s has a name of %llu bytes, must be 1 to %llu",
                         r->gguf->file, what, shown, (unsigned long long)out->bytes,
                         (unsigned long long)bytes_max);
    for (uint64_t i = 0; i < out->bytes; i++)
        if (out->text[i] < 0x20 || out->text[i] > 0x7e)
            return error_set(r->error, STATUS_INVALID,
                             "%s: the name of %s %s holds byte 0x%02x, must be printable ASCII",
                             r->gguf->file, what, shown, (unsigned char)out->text[i]);
    return STATUS_OK;
}

/* Room for one more item of a growing table: doubles, so that memory follows what was read. */
static void *grow(void *items, uint32_t count, size_t item_bytes)
{
    if (count >= UINT32_MAX / 2)
        return NULL;
    if (count > 0 && (count & (count - 1)) != 0)
        return items;
    return realloc(items, (count ? 2 * (size_t)count : 1) * item_bytes);
}

/* ---- metadata ---- */

static enum status read_strings(struct reader *r, struct gguf_value *value)
{
    uint64_t start = r->at;
    struct gguf_string one;
    for (uint64_t i = 0; i < value->count; i++) { /* they are there: now they may size a table */
        enum status status = take_string(r, "key", value->key, &one);
        if (status != STATUS_OK)
            return status;
    }
    struct gguf_string *strings = arena_alloc_items(&r->gguf->arena, value->count, sizeof *strings,
                                                    _Alignof(struct gguf_string));
    if (!strings)
        return no_memory(r->gguf->file, r->error);
    r->at = start;
    for (uint64_t i = 0; i < value->count; i++) {
        strings[i].bytes = bytes_le64(r->bytes + r->at);
        strings[i].text = (const char *)r->bytes + r->at + 8;
        r->at += 8 + strings[i].bytes;
    }
    value->strings = strings;
    return STATUS_OK;
}

static enum status read_numbers(struct reader *r, struct gguf_value *value)
{
    uint64_t bytes;
    const unsigned char *from;
    size_t align = gguf_type_bytes(value->type);
    if (!bytes_mul(value->count, align, &bytes))
        return error_set(r->error, STATUS_INVALID, "%s: \"%.*s\": %llu elements overflow",
                         r->gguf->file, (int)value->key.bytes, value->key.text,
                         (unsigned long long)value->count);
    enum status status = take(r, bytes, "key", value->key, &from);
    if (status != STATUS_OK)
        return status;
    for (uint64_t i = 0; value->type == GGUF_BOOL && i < value->count; i++)
        if (from[i] > 1)
            return error_set(r->error, STATUS_INVALID, "%s: \"%.*s\" is a bool of value %u",
                             r->gguf->file, (int)value->key.bytes, value->key.text, from[i]);
    value->numbers = from;
    if ((uintptr_t)from % align == 0)
        return STATUS_OK;
    void *aligned = arena_alloc(&r->gguf->arena, (size_t)bytes, align);
    if (!aligned)
        return no_memory(r->gguf->file, r->error);
    value->numbers = memcpy(aligned, from, (size_t)bytes);
    return STATUS_OK;
}

static enum status read_value(struct reader *r, struct gguf_value *value)
{
    uint32_t type = 0;
    value->count = 1;
    enum status status = take_u32(r, "key", value->key, &type);
    value->is_array = type == GGUF_ARRAY;
    if (status == STATUS_OK && value->is_array) {
        status = take_u32(r, "key", value->key, &type);
        if (status == STATUS_OK)
            status = take_u64(r, "key", value->key, &value->count);
    }
    if (status != STATUS_OK)
        return status;
    if (type == GGUF_ARRAY)
        return error_set(r->error, STATUS_UNSUPPORTED,
                         "%s: \"%.*s\" is an array of arrays, which is not supported",
                         r->gguf->file, (int)value->key.bytes, value->key.text);
    if (type >= GGUF_TYPES)
        return error_set(r->error, STATUS_INVALID, "%s: \"%.*s\" is of type %u, must be 0 to %d",
                         r->gguf->file, (int)value->key.bytes, value->key.text, type,
                         GGUF_TYPES - 1);
    value->type = (enum gguf_type)type;
    return type == GGUF_STRING ? read_strings(r, value) : read_numbers(r, value);
}

static int compare_strings(struct gguf_string a, struct gguf_string b)
{
    size_t common = (size_t)(a.bytes < b.bytes ? a.bytes : b.bytes);
    int order = memcmp(a.text, b.text, common);
    return order ? order : (a.bytes > b.bytes) - (a.bytes < b.bytes);
}

static int compare_values(const void *a, const void *b)
{
    return compare_strings(((const struct gguf_value *)a)->key,
                           ((const struct gguf_value *)b)->key);
}

static enum status read_values(struct reader *r)
{
    struct gguf *gguf = r->gguf;
    for (uint64_t i = 0; i < r->keys; i++) {
        struct gguf_value *values = grow(gguf->values, gguf->value_count, sizeof *values);
        if (!values)
            return no_memory(gguf->file, r->error);
        gguf->values = values;
        struct gguf_value *value = &values[gguf->value_count];
        memset(value, 0, sizeof *value);
        enum status status = take_name(r, "key", i, GGUF_KEY_BYTES_MAX, &value->key);
        if (status == STATUS_OK)
            status = read_value(r, value);
        if (status != STATUS_OK)
            return status;
        gguf->value_count++;
    }
    if (gguf->value_count > 0)
        qsort(gguf->values, gguf->value_count, sizeof *gguf->values, compare_values);
    for (uint32_t i = 1; i < gguf->value_count; i++)
        if (compare_values(&gguf->values[i - 1], &gguf->values[i]) == 0)
            return error_set(r->error, STATUS_INVALID, "%s: key \"%.*s\" is given twice",
                             gguf->file, (int)gguf->values[i].key.bytes, gguf->values[i].key.text);
    return STATUS_OK;
}

const struct gguf_value *gguf_find(const struct gguf *gguf, const char *key)
{
    struct gguf_value wanted = {.key = {key, strlen(key)}};
    return gguf->value_count == 0 ? NULL
                                  : bsearch(&wanted, gguf->values, gguf->value_count,
                                            sizeof *gguf->values, compare_values);
}

static enum status read_alignment(struct reader *r)
{
    static const char key[] = "general.alignment";
    const struct gguf_value *value = gguf_find(r->gguf, key);
    r->gguf->alignment = GGUF_ALIGNMENT_DEFAULT;
    if (!value)
        return STATUS_OK;
    if (value->type != GGUF_U32 || value->is_array)
        return error_set(r->error, STATUS_INVALID, "%s: \"%s\" must be a 32-bit unsigned integer",
                         r->gguf->file, key);
    uint32_t alignment = r->gguf->alignment = *(const uint32_t *)value->numbers;
    if (alignment == 0 || (alignment & (alignment - 1)) != 0)
        return error_set(r->error, STATUS_INVALID, "%s: \"%s\" is %u, must be a power of two",
                         r->gguf->file, key, alignment);
    return STATUS_OK;
}

/* ---- tensors ---- */

/* dims and dim, turned outermost first; *values: their product. */
static enum status read_shape(struct reader *r, struct gguf_string name,
                              struct checkpoint_tensor *tensor, uint64_t *values)
{
    enum status status = take_u32(r, "tensor", name, &tensor->dims);
    if (status != STATUS_OK)
        return status;
    if (tensor->dims < 1 || tensor->dims > DIMS_MAX)
        return error_set(r->error, STATUS_INVALID,
                         "%s: tensor \"%s\" has %u dimensions, must have 1 to %d", r->gguf->file,
                         tensor->name, tensor->dims, DIMS_MAX);
    *values = 1;
    for (uint32_t i = tensor->dims; i-- > 0;) {
        status = take_u64(r, "tensor", name, &tensor->dim[i]);
        if (status != STATUS_OK)
            return status;
        if (tensor->dim[i] == 0 || !bytes_mul(*values, tensor->dim[i], values))
            return error_set(r->error, STATUS_INVALID,
                             "%s: tensor \"%s\": dimension %u is %llu: %s", r->gguf->file,
                             tensor->name, tensor->dims - 1 - i, (unsigned long long)tensor->dim[i],
                             tensor->dim[i] ? "the product overflows" : "must be at least 1");
    }
    return STATUS_OK;
}

/* dtype, foreign and bytes. */
static enum status apply_type(struct reader *r, uint32_t id, uint64_t values,
                              struct gguf_tensor *entry)
{
    struct checkpoint_tensor *tensor = &entry->tensor;
    const struct gguf_tensor_type *type = gguf_tensor_type_find(id);
    tensor->dtype = DTYPE_COUNT;
    if (!type) {
        char text[16];
        size_t bytes = (size_t)snprintf(text, sizeof text, "id %u", id) + 1;
        char *foreign = arena_alloc(&r->gguf->arena, bytes, 1);
        if (!foreign)
            return no_memory(r->gguf->file, r->error);
        entry->foreign = memcpy(foreign, text, bytes);
        return STATUS_OK;
    }
    tensor->dtype = type->dtype;
    entry->foreign = type->dtype == DTYPE_COUNT ? type->name : NULL;
    uint64_t row = tensor->dim[tensor->dims - 1];
    if (row % type->block_values != 0)
        return error_set(r->error, STATUS_INVALID,
                         "%s: tensor \"%s\" of type %s has rows of %llu values, must be a multiple "
                         "of %u",
                         r->gguf->file, tensor->name, type->name, (unsigned long long)row,
                         type->block_values);
    if (!bytes_mul(values / type->block_values, type->block_bytes, &tensor->bytes))
        return error_set(r->error, STATUS_INVALID, "%s: tensor \"%s\": its size overflows",
                         r->gguf->file, tensor->name);
    return STATUS_OK;
}

static enum status read_tensor(struct reader *r, uint64_t number, struct gguf_tensor *entry)
{
    struct gguf_string name;
    struct checkpoint_tensor *tensor = &entry->tensor;
    uint64_t values = 0;
    uint32_t type = 0;
    enum status status = take_name(r, "tensor", number, GGUF_NAME_BYTES_MAX, &name);
    if (status != STATUS_OK)
        return status;
    char *text = arena_alloc(&r->gguf->arena, (size_t)name.bytes + 1, 1);
    if (!text)
        return no_memory(r->gguf->file, r->error);
    memcpy(text, name.text, (size_t)name.bytes);
    text[name.bytes] = '\0';
    tensor->name = text;
    status = read_shape(r, name, tensor, &values);
    if (status == STATUS_OK)
        status = take_u32(r, "tensor", name, &type);
    if (status == STATUS_OK)
        status = take_u64(r, "tensor", name, &tensor->offset);
    if (status == STATUS_OK)
        status = apply_type(r, type, values, entry);
    if (status == STATUS_OK && tensor->offset % r->gguf->alignment != 0)
        status = error_set(r->error, STATUS_INVALID,
                           "%s: tensor \"%s\": offset %llu is no multiple of the alignment %u",
                           r->gguf->file, tensor->name, (unsigned long long)tensor->offset,
                           r->gguf->alignment);
    return status;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp((*(const struct gguf_tensor *const *)a)->tensor.name,
                  (*(const struct gguf_tensor *const *)b)->tensor.name);
}

static enum status check_names(struct reader *r)
{
    const struct gguf *gguf = r->gguf;
    enum status status = STATUS_OK;
    if (gguf->tensor_count < 2)
        return STATUS_OK;
    const struct gguf_tensor **sorted = malloc(gguf->tensor_count * sizeof(struct gguf_tensor *));
    if (!sorted)
        return no_memory(gguf->file, r->error);
    for (uint32_t i = 0; i < gguf->tensor_count; i++)
        sorted[i] = &gguf->tensors[i];
    qsort(sorted, gguf->tensor_count, sizeof *sorted, compare_names);
    for (uint32_t i = 1; i < gguf->tensor_count && status == STATUS_OK; i++)
        if (compare_names(&sorted[i - 1], &sorted[i]) == 0)
            status = error_set(r->error, STATUS_INVALID, "%s: tensor \"%s\" is given twice",
                               gguf->file, sorted[i]->tensor.name);
    free(sorted);
    return status;
}

static enum status read_tensors(struct reader *r)
{
    struct gguf *gguf = r->gguf;
    for (uint64_t i = 0; i < r->tensors; i++) {
        struct gguf_tensor *tensors = grow(gguf->tensors, gguf->tensor_count, sizeof *tensors);
        if (!tensors)
            return no_memory(gguf->file, r->error);
        gguf->tensors = tensors;
        memset(&tensors[gguf->tensor_count], 0, sizeof *tensors);
        enum status status = read_tensor(r, i, &tensors[gguf->tensor_count]);
        if (status != STATUS_OK)
            return status;
        gguf->tensor_count++;
    }
    return check_names(r);
}

static int compare_tensors(const void *a, const void *b)
{
    const struct checkpoint_tensor *x = &((const struct gguf_tensor *)a)->tensor;
    const struct checkpoint_tensor *y = &((const struct gguf_tensor *)b)->tensor;
    if (x->offset != y->offset)
        return x->offset < y->offset ? -1 : 1;
    return x->bytes != y->bytes ? (x->bytes < y->bytes ? -1 : 1) : strcmp(x->name, y->name);
}

/* Offsets become those of the file; tensors lie inside it and apart from each other. */
static enum status place_tensors(struct reader *r)
{
    struct gguf *gguf = r->gguf;
    gguf->data_offset = bytes_align_up(r->at, gguf->alignment);
    if (gguf->tensor_count == 0)
        return STATUS_OK;
    qsort(gguf->tensors, gguf->tensor_count, sizeof *gguf->tensors, compare_tensors);
    uint64_t next = gguf->data_offset;
    for (uint32_t i = 0; i < gguf->tensor_count; i++) {
        struct checkpoint_tensor *tensor = &gguf->tensors[i].tensor;
        uint64_t offset = tensor->offset, end;
        if (!bytes_add(gguf->data_offset, offset, &tensor->offset) ||
            !bytes_add(tensor->offset, tensor->bytes, &end) || end > r->file_bytes)
            return error_set(r->error, STATUS_INVALID,
                             "%s: tensor \"%s\" has %llu bytes at %llu of the data, which begin at "
                             "%llu; the file ends at %llu: is it truncated?",
                             gguf->file, tensor->name, (unsigned long long)tensor->bytes,
                             (unsigned long long)offset, (unsigned long long)gguf->data_offset,
                             (unsigned long long)r->file_bytes);
        if (tensor->offset < next)
            return error_set(r->error, STATUS_INVALID,
                             "%s: tensors \"%s\" and \"%s\" overlap at byte %llu", gguf->file,
                             gguf->tensors[i - 1].tensor.name, tensor->name,
                             (unsigned long long)tensor->offset);
        next = end;
    }
    return STATUS_OK;
}

/* ---- the whole ---- */

static enum status read_fixed(struct reader *r)
{
    static const char magic[4] = {'G', 'G', 'U', 'F'};
    const struct gguf_string of = {magic, sizeof magic};
    const unsigned char *bytes;
    enum status status = take(r, 24, "the header of", of, &bytes);
    if (status != STATUS_OK)
        return r->size < 4 || memcmp(r->bytes, magic, sizeof magic) == 0
                   ? status
                   : error_set(r->error, STATUS_INVALID, "%s: is no GGUF file", r->gguf->file);
    if (memcmp(bytes, magic, sizeof magic) != 0)
        return error_set(r->error, STATUS_INVALID, "%s: is no GGUF file", r->gguf->file);
    r->gguf->version = bytes_le32(bytes + 4);
    r->tensors = bytes_le64(bytes + 8);
    r->keys = bytes_le64(bytes + 16);
    uint32_t swapped = __builtin_bswap32(r->gguf->version);
    if (swapped >= 1 && swapped <= 3)
        return error_set(r->error, STATUS_UNSUPPORTED,
                         "%s: is a big-endian GGUF file (version %u), only little-endian ones are "
                         "supported",
                         r->gguf->file, swapped);
    if (r->gguf->version < 2 || r->gguf->version > 3)
        return error_set(r->error, STATUS_UNSUPPORTED,
                         "%s: is GGUF version %u, only 2 and 3 are supported", r->gguf->file,
                         r->gguf->version);
    /* The least that a key (name of 1, a bool) and a tensor (name of 1, one dimension) take. */
    if (r->keys > r->file_bytes / 14 || r->tensors > r->file_bytes / 33)
        return error_set(r->error, STATUS_INVALID,
                         "%s: %llu keys and %llu tensors have no room in a file of %llu bytes",
                         r->gguf->file, (unsigned long long)r->keys, (unsigned long long)r->tensors,
                         (unsigned long long)r->file_bytes);
    return STATUS_OK;
}

/* r: bytes, size, file_bytes and error are set; afterwards `wanted` tells whether more was
 * missing. */
static enum status parse(struct gguf **out, const char *file, struct reader *r)
{
    struct gguf *gguf = calloc(1, sizeof *gguf);
    enum status status;
    *out = NULL;
    if (!gguf)
        return no_memory(file, r->error);
    arena_init(&gguf->arena, 16384, 0);
    r->gguf = gguf;
    gguf->file = strdup(file);
    if (!gguf->file) {
        status = no_memory(file, r->error);
        goto fail;
    }
    status = read_fixed(r);
    if (status == STATUS_OK)
        status = read_values(r);
    if (status == STATUS_OK)
        status = read_alignment(r);
    if (status == STATUS_OK)
        status = read_tensors(r);
    if (status == STATUS_OK)
        status = place_tensors(r);
    if (status != STATUS_OK)
        goto fail;
    *out = gguf;
    return STATUS_OK;
fail:
    gguf_close(gguf);
    return status;
}

enum status gguf_parse(struct gguf **out, const char *file, const void *bytes, size_t size,
                       uint64_t file_bytes, struct error *error)
{
    struct reader r = {.bytes = bytes, .size = size, .file_bytes = file_bytes, .error = error};
    CHECK(size <= file_bytes);
    return parse(out, file, &r);
}

enum status gguf_read(struct gguf **out, const char *path, const struct model_file *file,
                      struct error *error)
{
    unsigned char *bytes = NULL;
    uint64_t size = 0, wanted = READ_FIRST_BYTES;
    *out = NULL;
    for (;;) {
        uint64_t next = wanted < 2 * size ? 2 * size : wanted;
        if (next > GGUF_HEADER_BYTES_MAX)
            next = GGUF_HEADER_BYTES_MAX;
        if (next > file->bytes)
            next = file->bytes;
        unsigned char *larger = realloc(bytes, next ? (size_t)next : 1);
        enum status status = larger ? STATUS_OK : no_memory(path, error);
        if (larger)
            bytes = larger;
        if (status == STATUS_OK)
            status = model_file_read(file, path, size, (size_t)(next - size), bytes + size, error);
        size = next;
        struct error why = {0};
        struct reader r = {.bytes = bytes, .size = size, .file_bytes = file->bytes, .error = &why};
        if (status == STATUS_OK)
            status = parse(out, path, &r);
        if (status == STATUS_OK) {
            (*out)->owned = bytes;
            return STATUS_OK;
        }
        if (r.wanted > size && r.wanted <= file->bytes && size == GGUF_HEADER_BYTES_MAX)
            status = error_set(error, STATUS_UNSUPPORTED, "%s: its header is larger than %llu MiB",
                               path, (unsigned long long)(GGUF_HEADER_BYTES_MAX >> 20));
        else if (r.wanted > size && r.wanted <= file->bytes) {
            wanted = r.wanted;
            continue;
        }
        free(bytes);
        return error_set(error, status, "%s", why.text);
    }
}

void gguf_close(struct gguf *gguf)
{
    if (!gguf)
        return;
    free(gguf->values);
    free(gguf->tensors);
    arena_close(&gguf->arena);
    free(gguf->owned);
    free(gguf->file);
    free(gguf);
}
