/* One view of a model: settings, and tensors by name wherever they lie. Here is what can be asked
 * of it; checkpoint_open.c makes it.
 *
 * Names are found by a table with open addressing: a checkpoint of hundreds of experts has tens of
 * thousands of tensors, and the loader asks for each of them once. Tensors of a type or rank that
 * we do not compute with come after the others in the same array; only needing one is an error.
 *
 * Immutable, so that any thread may ask and read. */
#include "engine/load/checkpoint.h"

#include <stdio.h>
#include <string.h>

#include "engine/load/checkpoint_state.h"
#include "memory/base/check.h"

/* FNV-1a. The names are the model's own; a file made to collide would only load slowly. */
static uint32_t hash_name(const char *name)
{
    uint32_t hash = 2166136261u;
    for (; *name; name++)
        hash = (hash ^ (unsigned char)*name) * 16777619u;
    return hash;
}

uint32_t *checkpoint_slot(const struct checkpoint *checkpoint, const char *name)
{
    uint32_t at = hash_name(name) & checkpoint->slot_mask;
    while (checkpoint->slots[at] != CHECKPOINT_EMPTY_SLOT &&
           strcmp(checkpoint->entries[checkpoint->slots[at]].tensor.name, name) != 0)
        at = (at + 1) & checkpoint->slot_mask;
    return &checkpoint->slots[at];
}

static const struct checkpoint_entry *find_entry(const struct checkpoint *checkpoint,
                                                 const char *name)
{
    uint32_t index = *checkpoint_slot(checkpoint, name);
    return index == CHECKPOINT_EMPTY_SLOT ? NULL : &checkpoint->entries[index];
}

const char *checkpoint_path(const struct checkpoint *checkpoint)
{
    return checkpoint->path;
}

uint32_t checkpoint_files(const struct checkpoint *checkpoint)
{
    return checkpoint->file_count;
}

const char *checkpoint_file_path(const struct checkpoint *checkpoint, uint32_t file)
{
    CHECK(file < checkpoint->file_count);
    return checkpoint->files[file].path;
}

uint32_t checkpoint_tensors(const struct checkpoint *checkpoint)
{
    return checkpoint->readable_count;
}

const struct checkpoint_tensor *checkpoint_tensor(const struct checkpoint *checkpoint, uint32_t i)
{
    CHECK(i < checkpoint->readable_count);
    return &checkpoint->entries[i].tensor;
}

const struct checkpoint_tensor *checkpoint_find(const struct checkpoint *checkpoint,
                                                const char *name)
{
    const struct checkpoint_entry *entry = find_entry(checkpoint, name);
    bool readable = entry && entry < checkpoint->entries + checkpoint->readable_count;
    return readable ? &entry->tensor : NULL;
}

/* "[128, 64]" */
static const char *show_shape(const uint64_t *dim, uint32_t dims, char out[96])
{
    size_t used = (size_t)snprintf(out, 96, "[");
    for (uint32_t i = 0; i < dims; i++)
        used += (size_t)snprintf(out + used, 96 - used, "%s%llu", i ? ", " : "",
                                 (unsigned long long)dim[i]);
    snprintf(out + used, 96 - used, "]");
    return out;
}

static enum status check_readable(const struct checkpoint *checkpoint, const char *name,
                                  const struct checkpoint_entry *entry, struct error *error)
{
    if (!entry)
        return error_set(error, STATUS_NOT_FOUND, "%s: tensor \"%.160s\" is missing",
                         checkpoint->path, name);
    const char *file = checkpoint->files[entry->tensor.file].path;
    if (entry->foreign)
        return error_set(error, STATUS_UNSUPPORTED,
                         "%s: tensor \"%.160s\" is of type %s, which is not supported for weights",
                         file, entry->own_name, entry->foreign);
    if (entry->tensor.dims > TENSOR_DIMS_MAX)
        return error_set(error, STATUS_UNSUPPORTED,
                         "%s: tensor \"%.160s\" has %u dimensions, at most %d are supported", file,
                         name, entry->tensor.dims, TENSOR_DIMS_MAX);
    return STATUS_OK;
}

enum status checkpoint_need(const struct checkpoint *checkpoint, const char *name, uint64_t dim0,
                            uint64_t dim1, uint64_t dim2, const struct checkpoint_tensor **out,
                            struct error *error)
{
    const uint64_t wanted[] = {dim0, dim1, dim2};
    const struct checkpoint_entry *entry = find_entry(checkpoint, name);
    uint32_t dims = 0;
    *out = NULL;
    while (dims < 3 && wanted[dims])
        dims++;
    enum status status = check_readable(checkpoint, name, entry, error);
    if (status != STATUS_OK)
        return status;
    const struct checkpoint_tensor *tensor = &entry->tensor;
    if (tensor->dims != dims || memcmp(tensor->dim, wanted, dims * sizeof wanted[0]) != 0) {
        char have[96], want[96];
        return error_set(error, STATUS_INVALID, "%s: tensor \"%.160s\" has shape %s, must be %s",
                         checkpoint->files[tensor->file].path, entry->own_name,
                         show_shape(tensor->dim, tensor->dims, have),
                         show_shape(wanted, dims, want));
    }
    *out = tensor;
    return STATUS_OK;
}

enum status checkpoint_read(const struct checkpoint *checkpoint,
                            const struct checkpoint_tensor *tensor, void *to, struct error *error)
{
    const struct checkpoint_file *weights = &checkpoint->files[tensor->file];
    enum status status = model_file_read(weights->file, weights->path, tensor->offset,
                                         tensor->bytes, to, error);
    if (status != STATUS_OK)
        error_prefix(error, "tensor \"%.160s\"", tensor->name);
    return status;
}

enum status checkpoint_read_f32(const struct checkpoint *checkpoint,
                                const struct checkpoint_tensor *tensor, float *to,
                                struct error *error)
{
    if (tensor->dtype == DTYPE_F32)
        return checkpoint_read(checkpoint, tensor, to, error);
    unsigned char chunk[16384];
    const struct checkpoint_file *weights = &checkpoint->files[tensor->file];
    const struct dtype_info *info = dtype_info(tensor->dtype);
    size_t chunk_blocks = sizeof chunk / info->block_bytes;
    uint64_t blocks = tensor->bytes / info->block_bytes;
    for (uint64_t block = 0; block < blocks;) {
        size_t n = blocks - block < chunk_blocks ? (size_t)(blocks - block) : chunk_blocks;
        enum status status =
            model_file_read(weights->file, weights->path,
                            tensor->offset + block * info->block_bytes, n * info->block_bytes,
                            chunk, error);
        if (status != STATUS_OK) {
            error_prefix(error, "tensor \"%.160s\"", tensor->name);
            return status;
        }
        dtype_decode(tensor->dtype, chunk, to, n * info->block_values);
        to += n * info->block_values;
        block += n;
    }
    return STATUS_OK;
}

enum status checkpoint_u32(const struct checkpoint *checkpoint, const char *key, bool need,
                           uint32_t min, uint32_t max, uint32_t *out, struct error *error)
{
    if (checkpoint->view)
        return gguf_settings_u32(checkpoint->view->settings, key, need, min, max, out, error);
    return config_json_u32(checkpoint->config, key, need, min, max, out, error);
}

enum status checkpoint_f64(const struct checkpoint *checkpoint, const char *key, bool need,
                           double min, double max, double *out, struct error *error)
{
    if (checkpoint->view)
        return gguf_settings_f64(checkpoint->view->settings, key, need, min, max, out, error);
    return config_json_f64(checkpoint->config, key, need, min, max, out, error);
}

enum status checkpoint_bool(const struct checkpoint *checkpoint, const char *key, bool need,
                            bool *out, struct error *error)
{
    if (checkpoint->view)
        return gguf_settings_bool(checkpoint->view->settings, key, need, out, error);
    return config_json_bool(checkpoint->config, key, need, out, error);
}

enum status checkpoint_string(const struct checkpoint *checkpoint, const char *key, bool need,
                              const char **out, struct error *error)
{
    if (checkpoint->view)
        return gguf_settings_string(checkpoint->view->settings, key, need, out, error);
    return config_json_string(checkpoint->config, key, need, out, error);
}

enum status checkpoint_u32_list(const struct checkpoint *checkpoint, const char *key, uint32_t *out,
                                uint32_t max, uint32_t *count, struct error *error)
{
    if (checkpoint->view)
        return gguf_settings_u32_list(checkpoint->view->settings, key, out, max, count, error);
    const struct config_json *from = checkpoint->config;
    if (checkpoint->generation && config_json_has(checkpoint->generation, key))
        from = checkpoint->generation;
    return config_json_u32_list(from, key, out, max, count, error);
}

bool checkpoint_has(const struct checkpoint *checkpoint, const char *key)
{
    return checkpoint->view ? gguf_settings_has(checkpoint->view->settings, key)
                            : config_json_has(checkpoint->config, key);
}

const char *checkpoint_key_shown(const struct checkpoint *checkpoint, const char *key,
                                 char out[CHECKPOINT_KEY_BYTES])
{
    if (!checkpoint->view) {
        snprintf(out, CHECKPOINT_KEY_BYTES, "config.json: %s", key);
        return out;
    }
    const char *own = gguf_settings_own_key(checkpoint->view->settings, key);
    snprintf(out, CHECKPOINT_KEY_BYTES, "%s", own ? own : key);
    return out;
}

const struct gguf *checkpoint_gguf(const struct checkpoint *checkpoint)
{
    return checkpoint->split ? checkpoint->split->parts[0].gguf : NULL;
}
