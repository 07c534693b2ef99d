/* Joins a model's files into one view: settings, and tensors by name wherever they lie. Owns the
 * parsed files and one descriptor per weight file, held from open to close so that every read is
 * of the file whose header was checked. Refuses to guess: a tensor in two files, or listed by the
 * index but not in its shard, ends the open.
 *
 * Names are found by a table with open addressing: a checkpoint of hundreds of experts has tens of
 * thousands of tensors, and the loader asks for each of them once. Tensors of a type or rank that
 * we do not compute with come after the others in the same array; only needing one is an error.
 *
 * Opened on one thread; immutable afterwards, so that any thread may ask and read. */
#include "engine/load/checkpoint.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "engine/load/config_json.h"
#include "engine/load/model_file.h"
#include "engine/load/safetensors.h"
#include "engine/load/safetensors_index.h"
#include "memory/base/check.h"

#define EMPTY_SLOT UINT32_MAX

struct weight_file {
    char *path;
    struct model_file file;
    struct safetensors *header;
};

struct checkpoint {
    char *path;
    struct config_json *config;
    struct config_json *generation; /* NULL: the folder has none */

    struct weight_file *files;
    uint32_t file_count;

    struct safetensors_entry *tensors; /* [readable_count] readable ones, then the others */
    uint32_t tensor_count, readable_count;

    uint32_t *slots; /* [slot_mask + 1]: index into tensors or EMPTY_SLOT */
    uint32_t slot_mask;
};

static enum status no_memory(const char *path, struct error *error)
{
    return error_set(error, STATUS_NO_MEMORY, "%s: no memory for its tables", path);
}

static char *join(const char *folder, const char *name)
{
    size_t bytes = strlen(folder);
    const char *slash = bytes && folder[bytes - 1] == '/' ? "" : "/";
    char *path;
    return asprintf(&path, "%s%s%s", folder, slash, name) < 0 ? NULL : path;
}

static bool exists(const char *folder, const char *name)
{
    struct stat info;
    char *path = join(folder, name);
    bool found = path && stat(path, &info) == 0;
    free(path);
    return found;
}

static bool is_readable(const struct safetensors_entry *entry)
{
    return !entry->foreign && entry->tensor.dims <= TENSOR_DIMS_MAX;
}

/* FNV-1a. The names are the model's own; a file made to collide would only load slowly. */
static uint32_t hash_name(const char *name)
{
    uint32_t hash = 2166136261u;
    for (; *name; name++)
        hash = (hash ^ (unsigned char)*name) * 16777619u;
    return hash;
}

/* The slot that holds the name, or the empty one where it would go. */
static uint32_t *find_slot(const struct checkpoint *checkpoint, const char *name)
{
    uint32_t at = hash_name(name) & checkpoint->slot_mask;
    while (checkpoint->slots[at] != EMPTY_SLOT &&
           strcmp(checkpoint->tensors[checkpoint->slots[at]].tensor.name, name) != 0)
        at = (at + 1) & checkpoint->slot_mask;
    return &checkpoint->slots[at];
}

static const struct safetensors_entry *find_entry(const struct checkpoint *checkpoint,
                                                  const char *name)
{
    uint32_t index = *find_slot(checkpoint, name);
    return index == EMPTY_SLOT ? NULL : &checkpoint->tensors[index];
}

static enum status open_settings(struct checkpoint *checkpoint, struct error *error)
{
    char *path = join(checkpoint->path, "config.json");
    if (!path)
        return no_memory(checkpoint->path, error);
    enum status status = config_json_read(&checkpoint->config, path, error);
    free(path);
    if (status != STATUS_OK || !exists(checkpoint->path, "generation_config.json"))
        return status;
    path = join(checkpoint->path, "generation_config.json");
    if (!path)
        return no_memory(checkpoint->path, error);
    status = config_json_read(&checkpoint->generation, path, error);
    free(path);
    return status;
}

static enum status open_weight_file(struct checkpoint *checkpoint, const char *name,
                                    struct error *error)
{
    struct weight_file *weights = &checkpoint->files[checkpoint->file_count];
    weights->file = (struct model_file)MODEL_FILE_CLOSED;
    weights->path = join(checkpoint->path, name);
    if (!weights->path)
        return no_memory(checkpoint->path, error);
    checkpoint->file_count++; /* from here on checkpoint_close takes care of it */
    enum status status = model_file_open(&weights->file, weights->path, error);
    if (status != STATUS_OK)
        return status;
    return safetensors_read(&weights->header, weights->path, &weights->file, error);
}

static enum status open_weight_files(struct checkpoint *checkpoint, const char *const *names,
                                     uint32_t count, struct error *error)
{
    checkpoint->files = calloc(count, sizeof *checkpoint->files);
    if (!checkpoint->files)
        return no_memory(checkpoint->path, error);
    for (uint32_t i = 0; i < count; i++) {
        enum status status = open_weight_file(checkpoint, names[i], error);
        if (status != STATUS_OK)
            return status;
    }
    return STATUS_OK;
}

static enum status allocate_tables(struct checkpoint *checkpoint, struct error *error)
{
    uint64_t count = 0, slots = 16;
    for (uint32_t i = 0; i < checkpoint->file_count; i++)
        count += checkpoint->files[i].header->count;
    while (slots < 2 * count)
        slots *= 2;
    if (slots > UINT32_MAX)
        return error_set(error, STATUS_INVALID, "%s: %llu tensors are too many", checkpoint->path,
                         (unsigned long long)count);
    checkpoint->tensors = calloc(count ? count : 1, sizeof *checkpoint->tensors);
    checkpoint->slots = malloc(slots * sizeof *checkpoint->slots);
    if (!checkpoint->tensors || !checkpoint->slots)
        return no_memory(checkpoint->path, error);
    memset(checkpoint->slots, 0xff, slots * sizeof *checkpoint->slots); /* EMPTY_SLOT */
    checkpoint->slot_mask = (uint32_t)(slots - 1);
    return STATUS_OK;
}

/* Appends the tensors of one file that are readable, or those that are not. */
static enum status add_tensors(struct checkpoint *checkpoint, uint32_t file, bool readable,
                               struct error *error)
{
    const struct safetensors *header = checkpoint->files[file].header;
    for (uint32_t i = 0; i < header->count; i++) {
        if (is_readable(&header->entries[i]) != readable)
            continue;
        uint32_t *slot = find_slot(checkpoint, header->entries[i].tensor.name);
        if (*slot != EMPTY_SLOT)
            return error_set(error, STATUS_INVALID, "%s: tensor \"%.160s\" is also in %s",
                             checkpoint->files[file].path, header->entries[i].tensor.name,
                             checkpoint->files[checkpoint->tensors[*slot].tensor.file].path);
        struct safetensors_entry *entry = &checkpoint->tensors[checkpoint->tensor_count];
        *entry = header->entries[i];
        entry->tensor.file = file;
        *slot = checkpoint->tensor_count++;
    }
    return STATUS_OK;
}

static enum status index_tensors(struct checkpoint *checkpoint, struct error *error)
{
    enum status status = allocate_tables(checkpoint, error);
    for (uint32_t i = 0; status == STATUS_OK && i < checkpoint->file_count; i++)
        status = add_tensors(checkpoint, i, true, error);
    checkpoint->readable_count = checkpoint->tensor_count;
    for (uint32_t i = 0; status == STATUS_OK && i < checkpoint->file_count; i++)
        status = add_tensors(checkpoint, i, false, error);
    return status;
}

/* Every tensor the index lists is in the shard it names. A shard may hold more than is listed. */
static enum status check_index(const struct checkpoint *checkpoint,
                               const struct safetensors_index *index, struct error *error)
{
    for (uint32_t i = 0; i < index->count; i++) {
        const struct safetensors_entry *entry = find_entry(checkpoint, index->entries[i].tensor);
        if (!entry || entry->tensor.file != index->entries[i].shard)
            return error_set(error, STATUS_INVALID,
                             "%s: tensor \"%.160s\" is not in it, though the index says so",
                             checkpoint->files[index->entries[i].shard].path,
                             index->entries[i].tensor);
    }
    return STATUS_OK;
}

static enum status open_sharded(struct checkpoint *checkpoint, const char *index_name,
                                struct error *error)
{
    struct safetensors_index *index = NULL;
    char *path = join(checkpoint->path, index_name);
    if (!path)
        return no_memory(checkpoint->path, error);
    enum status status = safetensors_index_read(&index, path, error);
    free(path);
    if (status == STATUS_OK)
        status = open_weight_files(checkpoint, index->shards, index->shard_count, error);
    if (status == STATUS_NOT_FOUND) /* the folder is there: a shard missing from it is a defect */
        status = STATUS_INVALID;
    if (status == STATUS_OK)
        status = index_tensors(checkpoint, error);
    if (status == STATUS_OK)
        status = check_index(checkpoint, index, error);
    safetensors_index_close(index);
    return status;
}

/* A single file wins over an index, as it does for the libraries that write both. */
static enum status open_weights(struct checkpoint *checkpoint, struct error *error)
{
    static const char single[] = "model.safetensors", index[] = "model.safetensors.index.json";
    if (exists(checkpoint->path, single)) {
        const char *const names[] = {single};
        enum status status = open_weight_files(checkpoint, names, 1, error);
        return status == STATUS_OK ? index_tensors(checkpoint, error) : status;
    }
    if (exists(checkpoint->path, index))
        return open_sharded(checkpoint, index, error);
    if (exists(checkpoint->path, "pytorch_model.bin") ||
        exists(checkpoint->path, "pytorch_model.bin.index.json"))
        return error_set(error, STATUS_UNSUPPORTED,
                         "%s: holds pickled weights (pytorch_model.bin); convert them to %s",
                         checkpoint->path, single);
    return error_set(error, STATUS_NOT_FOUND, "%s: has neither %s nor %s", checkpoint->path, single,
                     index);
}

static enum status check_folder(const char *path, struct error *error)
{
    struct stat info;
    if (stat(path, &info) != 0)
        return error_set(error, errno == ENOENT || errno == ENOTDIR ? STATUS_NOT_FOUND : STATUS_IO,
                         "%s: the model's folder cannot be opened: %s", path, strerror(errno));
    if (!S_ISDIR(info.st_mode))
        return error_set(error, STATUS_UNSUPPORTED,
                         "%s: is a file; a model is a folder with config.json and safetensors",
                         path);
    return STATUS_OK;
}

enum status checkpoint_open(struct checkpoint **out, const char *path, struct error *error)
{
    *out = NULL;
    enum status status = check_folder(path, error);
    if (status != STATUS_OK)
        return status;
    struct checkpoint *checkpoint = calloc(1, sizeof *checkpoint);
    if (!checkpoint || !(checkpoint->path = strdup(path))) {
        status = no_memory(path, error);
        goto fail;
    }
    status = open_settings(checkpoint, error);
    if (status == STATUS_OK)
        status = open_weights(checkpoint, error);
    if (status != STATUS_OK)
        goto fail;
    *out = checkpoint;
    return STATUS_OK;
fail:
    checkpoint_close(checkpoint);
    return status;
}

void checkpoint_close(struct checkpoint *checkpoint)
{
    if (!checkpoint)
        return;
    for (uint32_t i = 0; i < checkpoint->file_count; i++) {
        free(checkpoint->files[i].path);
        model_file_close(&checkpoint->files[i].file);
        safetensors_close(checkpoint->files[i].header);
    }
    free(checkpoint->files);
    free(checkpoint->tensors);
    free(checkpoint->slots);
    config_json_close(checkpoint->config);
    config_json_close(checkpoint->generation);
    free(checkpoint->path);
    free(checkpoint);
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
    return &checkpoint->tensors[i].tensor;
}

const struct checkpoint_tensor *checkpoint_find(const struct checkpoint *checkpoint,
                                                const char *name)
{
    const struct safetensors_entry *entry = find_entry(checkpoint, name);
    return entry && is_readable(entry) ? &entry->tensor : NULL;
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
                                  const struct safetensors_entry *entry, struct error *error)
{
    if (!entry)
        return error_set(error, STATUS_NOT_FOUND, "%s: tensor \"%.160s\" is missing",
                         checkpoint->path, name);
    const char *file = checkpoint->files[entry->tensor.file].path;
    if (entry->foreign)
        return error_set(error, STATUS_UNSUPPORTED,
                         "%s: tensor \"%.160s\" is of type %s, which is not supported for weights",
                         file, name, entry->foreign);
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
    const struct safetensors_entry *entry = find_entry(checkpoint, name);
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
                         checkpoint->files[tensor->file].path, name,
                         show_shape(tensor->dim, tensor->dims, have),
                         show_shape(wanted, dims, want));
    }
    *out = tensor;
    return STATUS_OK;
}

enum status checkpoint_read(const struct checkpoint *checkpoint,
                            const struct checkpoint_tensor *tensor, void *to, struct error *error)
{
    const struct weight_file *weights = &checkpoint->files[tensor->file];
    enum status status = model_file_read(&weights->file, weights->path, tensor->offset,
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
    const struct weight_file *weights = &checkpoint->files[tensor->file];
    const struct dtype_info *info = dtype_info(tensor->dtype);
    size_t chunk_blocks = sizeof chunk / info->block_bytes;
    uint64_t blocks = tensor->bytes / info->block_bytes;
    for (uint64_t block = 0; block < blocks;) {
        size_t n = blocks - block < chunk_blocks ? (size_t)(blocks - block) : chunk_blocks;
        enum status status =
            model_file_read(&weights->file, weights->path,
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
    return config_json_u32(checkpoint->config, key, need, min, max, out, error);
}

enum status checkpoint_f64(const struct checkpoint *checkpoint, const char *key, bool need,
                           double min, double max, double *out, struct error *error)
{
    return config_json_f64(checkpoint->config, key, need, min, max, out, error);
}

enum status checkpoint_bool(const struct checkpoint *checkpoint, const char *key, bool need,
                            bool *out, struct error *error)
{
    return config_json_bool(checkpoint->config, key, need, out, error);
}

enum status checkpoint_string(const struct checkpoint *checkpoint, const char *key, bool need,
                              const char **out, struct error *error)
{
    return config_json_string(checkpoint->config, key, need, out, error);
}

enum status checkpoint_u32_list(const struct checkpoint *checkpoint, const char *key, uint32_t *out,
                                uint32_t max, uint32_t *count, struct error *error)
{
    const struct config_json *from = checkpoint->config;
    if (checkpoint->generation && config_json_has(checkpoint->generation, key))
        from = checkpoint->generation;
    return config_json_u32_list(from, key, out, max, count, error);
}

bool checkpoint_has(const struct checkpoint *checkpoint, const char *key)
{
    return config_json_has(checkpoint->config, key);
}
