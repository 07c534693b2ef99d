/* Reads and verifies one safetensors header. Owns the list of tensors it makes of it; refuses
 * everything the format forbids and does no arithmetic on a number from the file without an
 * overflow check. Any thread; no state.
 *
 * The check that matters most comes last: sorted by their first byte, the tensors must follow each
 * other exactly from the start of the data section to the end of the file. Overlaps, holes, bytes
 * beyond the end and a truncated file are all the same mistake there. */
#include "engine/load/safetensors.h"

#include <stdlib.h>
#include <string.h>

#include "engine/load/json_text.h"
#include "memory/base/bytes.h"

struct type {
    const char *name;
    uint32_t bits;
};

/* Every type of the format; dtype_parse knows which of them are weights to us. */
static const struct type types[] = {
    {"BOOL", 8},        {"F4", 4},           {"F6_E2M3", 6},     {"F6_E3M2", 6}, {"U8", 8},
    {"I8", 8},          {"F8_E5M2", 8},      {"F8_E4M3", 8},     {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8},
    {"F8_E5M2FNUZ", 8}, {"I16", 16},         {"U16", 16},        {"F16", 16},    {"BF16", 16},
    {"I32", 32},        {"U32", 32},         {"F32", 32},        {"C64", 64},    {"F64", 64},
    {"I64", 64},        {"U64", 64},
};

static const char metadata_key[] = "__metadata__";

static const struct type *find_type(const char *name)
{
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (strcmp(types[i].name, name) == 0)
            return &types[i];
    return NULL;
}

static bool is_plain_name(const char *name)
{
    if (!*name)
        return false;
    for (; *name; name++)
        if ((unsigned char)*name < 0x20 || *name == 0x7f)
            return false;
    return true;
}

static bool is_size(const json_t *value)
{
    return json_is_integer(value) && json_integer_value(value) >= 0;
}

static enum status check_metadata(const char *file, const json_t *metadata, struct error *error)
{
    const char *key;
    json_t *value;
    if (!json_is_object(metadata))
        return error_set(error, STATUS_INVALID, "%s: \"%s\" must be an object, not %s", file,
                         metadata_key, json_text_type(metadata));
    json_object_foreach((json_t *)metadata, key, value)
        if (!json_is_string(value))
            return error_set(error, STATUS_INVALID,
                             "%s: \"%s\": \"%.80s\" must be a string, not %s", file, metadata_key,
                             key, json_text_type(value));
    return STATUS_OK;
}

/* The three fields, present and of the right JSON types. */
static enum status check_fields(const char *file, const char *name, const json_t *info,
                                struct error *error)
{
    if (!json_is_object(info))
        return error_set(error, STATUS_INVALID, "%s: tensor \"%.160s\" must be an object, not %s",
                         file, name, json_text_type(info));
    const json_t *type = json_object_get(info, "dtype"), *shape = json_object_get(info, "shape");
    const json_t *offsets = json_object_get(info, "data_offsets");
    const char *wrong = !json_is_string(type)  ? "\"dtype\" must be a string"
                        : !json_is_array(shape) ? "\"shape\" must be a list of integers"
                        : !json_is_array(offsets) || json_array_size(offsets) != 2 ||
                                !is_size(json_array_get(offsets, 0)) ||
                                !is_size(json_array_get(offsets, 1))
                            ? "\"data_offsets\" must be two integers of at least 0"
                            : NULL;
    if (wrong)
        return error_set(error, STATUS_INVALID, "%s: tensor \"%.160s\": %s", file, name, wrong);
    return STATUS_OK;
}

/* Fills dims and dim; *bits: the size that the shape and the type ask for. */
static enum status read_shape(const char *file, const json_t *shape, const struct type *type,
                              struct checkpoint_tensor *tensor, uint64_t *bits,
                              struct error *error)
{
    size_t dims = json_array_size(shape);
    *bits = type->bits;
    tensor->dims = (uint32_t)dims; /* a header of 100 MB has no room for more */
    for (size_t i = 0; i < dims; i++) {
        const json_t *dim = json_array_get(shape, i);
        char shown[JSON_TEXT_SHOWN_BYTES];
        if (!is_size(dim))
            return error_set(error, STATUS_INVALID,
                             "%s: tensor \"%.160s\": \"shape\"[%zu] is %s, must be an integer of "
                             "at least 0",
                             file, tensor->name, i, json_text_show(dim, shown));
        uint64_t n = (uint64_t)json_integer_value(dim);
        if (!bytes_mul(*bits, n, bits))
            return error_set(error, STATUS_INVALID,
                             "%s: tensor \"%.160s\": the product of its \"shape\" overflows", file,
                             tensor->name);
        if (i < TENSOR_DIMS_MAX)
            tensor->dim[i] = n;
    }
    return STATUS_OK;
}

/* Fills an entry whose name is set. data_offset: where the data section begins. */
static enum status read_entry(const char *file, const json_t *info, uint64_t data_offset,
                              uint64_t data_bytes, struct safetensors_entry *entry,
                              struct error *error)
{
    struct checkpoint_tensor *tensor = &entry->tensor;
    enum status status = check_fields(file, tensor->name, info, error);
    if (status != STATUS_OK)
        return status;
    const json_t *type_value = json_object_get(info, "dtype");
    const struct type *type = find_type(json_string_value(type_value));
    if (!type) {
        char shown[JSON_TEXT_SHOWN_BYTES];
        return error_set(error, STATUS_UNSUPPORTED,
                         "%s: tensor \"%.160s\": \"dtype\" %s is not a type of the format known "
                         "here",
                         file, tensor->name, json_text_show(type_value, shown));
    }
    tensor->dtype = DTYPE_COUNT;
    entry->foreign = dtype_parse(type->name, &tensor->dtype) ? NULL : type->name;

    uint64_t bits;
    status = read_shape(file, json_object_get(info, "shape"), type, tensor, &bits, error);
    if (status != STATUS_OK)
        return status;
    const json_t *offsets = json_object_get(info, "data_offsets");
    uint64_t from = (uint64_t)json_integer_value(json_array_get(offsets, 0));
    uint64_t to = (uint64_t)json_integer_value(json_array_get(offsets, 1));
    if (from > to || to > data_bytes)
        return error_set(error, STATUS_INVALID,
                         "%s: tensor \"%.160s\": \"data_offsets\" [%llu, %llu] must ascend within "
                         "the %llu bytes of data",
                         file, tensor->name, (unsigned long long)from, (unsigned long long)to,
                         (unsigned long long)data_bytes);
    if (bits % 8 != 0 || bits / 8 != to - from)
        return error_set(error, STATUS_INVALID,
                         "%s: tensor \"%.160s\": \"shape\" of %s takes %llu%s bytes but "
                         "\"data_offsets\" [%llu, %llu] are %llu",
                         file, tensor->name, type->name, (unsigned long long)(bits / 8),
                         bits % 8 ? " and a fraction" : "", (unsigned long long)from,
                         (unsigned long long)to, (unsigned long long)(to - from));
    tensor->offset = data_offset + from; /* both within the file: no overflow */
    tensor->bytes = to - from;
    return STATUS_OK;
}

/* By first byte; a tensor of no bytes comes before the one that begins where it stands. */
static int compare_entries(const void *a, const void *b)
{
    const struct checkpoint_tensor *x = &((const struct safetensors_entry *)a)->tensor;
    const struct checkpoint_tensor *y = &((const struct safetensors_entry *)b)->tensor;
    if (x->offset != y->offset)
        return x->offset < y->offset ? -1 : 1;
    if (x->bytes != y->bytes)
        return x->bytes < y->bytes ? -1 : 1;
    return strcmp(x->name, y->name);
}

static enum status check_coverage(const char *file, const struct safetensors *safetensors,
                                  uint64_t data_offset, uint64_t file_bytes, struct error *error)
{
    uint64_t next = data_offset;
    for (uint32_t i = 0; i < safetensors->count; i++) {
        const struct checkpoint_tensor *tensor = &safetensors->entries[i].tensor;
        if (tensor->offset < next)
            return error_set(error, STATUS_INVALID,
                             "%s: tensors \"%.120s\" and \"%.120s\" overlap at byte %llu", file,
                             safetensors->entries[i - 1].tensor.name, tensor->name,
                             (unsigned long long)tensor->offset);
        if (tensor->offset > next)
            return error_set(error, STATUS_INVALID,
                             "%s: the %llu bytes at %llu, before tensor \"%.160s\", belong to no "
                             "tensor",
                             file, (unsigned long long)(tensor->offset - next),
                             (unsigned long long)next, tensor->name);
        next = tensor->offset + tensor->bytes;
    }
    if (next != file_bytes)
        return error_set(error, STATUS_INVALID,
                         "%s: the last %llu bytes of the file belong to no tensor", file,
                         (unsigned long long)(file_bytes - next));
    return STATUS_OK;
}

/* Room for every tensor of the header and its name. */
static enum status allocate(struct safetensors **out, const char *file, const json_t *header,
                            struct error *error)
{
    size_t count = 0, name_bytes = 0;
    const char *name;
    json_t *info;
    json_object_foreach((json_t *)header, name, info) {
        if (strcmp(name, metadata_key) == 0)
            continue;
        count++;
        name_bytes += strlen(name) + 1;
    }
    struct safetensors *safetensors = calloc(1, sizeof *safetensors);
    if (safetensors) {
        safetensors->entries = calloc(count ? count : 1, sizeof *safetensors->entries);
        safetensors->names = malloc(name_bytes ? name_bytes : 1);
    }
    if (!safetensors || !safetensors->entries || !safetensors->names) {
        safetensors_close(safetensors);
        return error_set(error, STATUS_NO_MEMORY, "%s: no memory for %zu tensors", file, count);
    }
    *out = safetensors;
    return STATUS_OK;
}

static enum status read_entries(struct safetensors *safetensors, const char *file,
                                const json_t *header, uint64_t data_offset, uint64_t data_bytes,
                                struct error *error)
{
    char *names = safetensors->names;
    const char *name;
    json_t *info;
    json_object_foreach((json_t *)header, name, info) {
        enum status status;
        if (strcmp(name, metadata_key) == 0) {
            status = check_metadata(file, info, error);
            if (status != STATUS_OK)
                return status;
            continue;
        }
        if (!is_plain_name(name))
            return error_set(error, STATUS_INVALID,
                             "%s: a tensor's name is empty or holds control characters", file);
        struct safetensors_entry *entry = &safetensors->entries[safetensors->count++];
        size_t name_bytes = strlen(name) + 1;
        memcpy(names, name, name_bytes);
        entry->tensor.name = names;
        names += name_bytes;
        status = read_entry(file, info, data_offset, data_bytes, entry, error);
        if (status != STATUS_OK)
            return status;
    }
    return STATUS_OK;
}

static enum status check_length(const char *file, uint64_t length, uint64_t file_bytes,
                                struct error *error)
{
    if (length > SAFETENSORS_HEADER_BYTES_MAX)
        return error_set(error, STATUS_INVALID,
                         "%s: the header length %llu is more than the format's limit of %llu", file,
                         (unsigned long long)length,
                         (unsigned long long)SAFETENSORS_HEADER_BYTES_MAX);
    if (length > file_bytes - SAFETENSORS_LENGTH_BYTES)
        return error_set(error, STATUS_INVALID,
                         "%s: the header length %llu reaches beyond the file's %llu bytes", file,
                         (unsigned long long)length, (unsigned long long)file_bytes);
    return STATUS_OK;
}

enum status safetensors_parse(struct safetensors **out, const char *file, const void *bytes,
                              size_t size, uint64_t file_bytes, struct error *error)
{
    struct safetensors *safetensors = NULL;
    json_t *header = NULL;
    *out = NULL;
    if (size < SAFETENSORS_LENGTH_BYTES || file_bytes < SAFETENSORS_LENGTH_BYTES)
        return error_set(error, STATUS_INVALID, "%s: %zu bytes are too few for a safetensors file",
                         file, size);
    uint64_t length = bytes_le64(bytes);
    enum status status = check_length(file, length, file_bytes, error);
    if (status != STATUS_OK)
        return status;
    const char *text = (const char *)bytes + SAFETENSORS_LENGTH_BYTES;
    if (length > size - SAFETENSORS_LENGTH_BYTES)
        return error_set(error, STATUS_INVALID, "%s: ends inside its header of %llu bytes", file,
                         (unsigned long long)length);
    if (length == 0 || text[0] != '{')
        return error_set(error, STATUS_INVALID, "%s: the header does not begin with '{'", file);

    uint64_t data_offset = SAFETENSORS_LENGTH_BYTES + length;
    status = json_text_parse(&header, file, text, (size_t)length, error);
    if (status == STATUS_OK)
        status = allocate(&safetensors, file, header, error);
    if (status == STATUS_OK)
        status = read_entries(safetensors, file, header, data_offset, file_bytes - data_offset,
                              error);
    if (status != STATUS_OK)
        goto fail;
    qsort(safetensors->entries, safetensors->count, sizeof *safetensors->entries, compare_entries);
    status = check_coverage(file, safetensors, data_offset, file_bytes, error);
    if (status != STATUS_OK)
        goto fail;
    json_decref(header);
    *out = safetensors;
    return STATUS_OK;
fail:
    json_decref(header);
    safetensors_close(safetensors);
    return status;
}

enum status safetensors_read(struct safetensors **out, const char *path,
                             const struct model_file *file, struct error *error)
{
    unsigned char length_bytes[SAFETENSORS_LENGTH_BYTES];
    *out = NULL;
    if (file->bytes < SAFETENSORS_LENGTH_BYTES)
        return error_set(error, STATUS_INVALID, "%s: %llu bytes are too few for a safetensors file",
                         path, (unsigned long long)file->bytes);
    enum status status = model_file_read(file, path, 0, sizeof length_bytes, length_bytes, error);
    if (status != STATUS_OK)
        return status;
    uint64_t length = bytes_le64(length_bytes);
    status = check_length(path, length, file->bytes, error); /* before it sizes an allocation */
    if (status != STATUS_OK)
        return status;
    size_t size = (size_t)(SAFETENSORS_LENGTH_BYTES + length);
    char *bytes = malloc(size);
    if (!bytes)
        return error_set(error, STATUS_NO_MEMORY, "%s: no memory for a header of %zu bytes", path,
                         size);
    status = model_file_read(file, path, 0, size, bytes, error);
    if (status == STATUS_OK)
        status = safetensors_parse(out, path, bytes, size, file->bytes, error);
    free(bytes);
    return status;
}

void safetensors_close(struct safetensors *safetensors)
{
    if (!safetensors)
        return;
    free(safetensors->entries);
    free(safetensors->names);
    free(safetensors);
}
