/* Makes one view of a model's files, whatever the format. Owns the parsed headers and one
 * descriptor per weight file, held from open to close so that every read is of the file whose
 * header was checked. Refuses to guess: a tensor in two files, listed by the index but not in its
 * shard, or two GGUF models in a folder end the open. Opened on one thread. */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "engine/load/checkpoint_state.h"
#include "engine/load/safetensors.h"
#include "engine/load/safetensors_index.h"

struct safetensors_shard {
    char *path;
    struct model_file file;
    struct safetensors *header;
};

static const char single_name[] = "model.safetensors";
static const char index_name[] = "model.safetensors.index.json";

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

/* Allocates nothing: a file that is there is never taken for absent because memory has run out. No
 * path is longer than PATH_MAX. */
static bool exists(const char *folder, const char *name)
{
    struct stat info;
    char path[PATH_MAX];
    int bytes = snprintf(path, sizeof path, "%s/%s", folder, name);
    return bytes > 0 && (size_t)bytes < sizeof path && stat(path, &info) == 0;
}

/* ---- the table of tensors ---- */

static enum status allocate_tables(struct checkpoint *checkpoint, uint64_t count,
                                   struct error *error)
{
    uint64_t slots = 16;
    while (slots < 2 * count)
        slots *= 2;
    if (slots > UINT32_MAX)
        return error_set(error, STATUS_INVALID, "%s: %llu tensors are too many", checkpoint->path,
                         (unsigned long long)count);
    checkpoint->entries = calloc(count ? count : 1, sizeof *checkpoint->entries);
    checkpoint->slots = malloc(slots * sizeof *checkpoint->slots);
    if (!checkpoint->entries || !checkpoint->slots)
        return no_memory(checkpoint->path, error);
    memset(checkpoint->slots, 0xff, slots * sizeof *checkpoint->slots); /* CHECKPOINT_EMPTY_SLOT */
    checkpoint->slot_mask = (uint32_t)(slots - 1);
    return STATUS_OK;
}

/* The `i`-th tensor of all files, in their order. */
static struct checkpoint_entry entry_at(const struct checkpoint *checkpoint, uint32_t file,
                                        uint32_t i)
{
    if (checkpoint->view) {
        const struct gguf_view_tensor *from = &checkpoint->view->tensors[i];
        return (struct checkpoint_entry){from->tensor, from->foreign, from->own_name};
    }
    const struct safetensors_entry *from = &checkpoint->shards[file].header->entries[i];
    struct checkpoint_entry entry = {from->tensor, from->foreign, from->tensor.name};
    entry.tensor.file = file;
    return entry;
}

/* Appends those of `count` tensors that are readable, or those that are not. */
static enum status add_tensors(struct checkpoint *checkpoint, uint32_t file, uint32_t count,
                               bool readable, struct error *error)
{
    for (uint32_t i = 0; i < count; i++) {
        struct checkpoint_entry entry = entry_at(checkpoint, file, i);
        if ((!entry.foreign && entry.tensor.dims <= TENSOR_DIMS_MAX) != readable)
            continue;
        uint32_t *slot = checkpoint_slot(checkpoint, entry.tensor.name);
        if (*slot != CHECKPOINT_EMPTY_SLOT)
            return error_set(error, STATUS_INVALID, "%s: tensor \"%.160s\" is also in %s",
                             checkpoint->files[entry.tensor.file].path, entry.own_name,
                             checkpoint->files[checkpoint->entries[*slot].tensor.file].path);
        checkpoint->entries[checkpoint->entry_count] = entry;
        *slot = checkpoint->entry_count++;
    }
    return STATUS_OK;
}

static enum status index_tensors(struct checkpoint *checkpoint, struct error *error)
{
    uint64_t count = checkpoint->view ? checkpoint->view->tensor_count : 0;
    for (uint32_t i = 0; checkpoint->shards && i < checkpoint->file_count; i++)
        count += checkpoint->shards[i].header->count;
    enum status status = allocate_tables(checkpoint, count, error);
    for (int pass = 0; pass < 2 && status == STATUS_OK; pass++) {
        if (checkpoint->view)
            status = add_tensors(checkpoint, 0, checkpoint->view->tensor_count, pass == 0, error);
        for (uint32_t i = 0; checkpoint->shards && i < checkpoint->file_count; i++)
            if (status == STATUS_OK)
                status = add_tensors(checkpoint, i, checkpoint->shards[i].header->count, pass == 0,
                                     error);
        if (pass == 0)
            checkpoint->readable_count = checkpoint->entry_count;
    }
    return status;
}

/* ---- a folder as Hugging Face makes it ---- */

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
    struct safetensors_shard *shard = &checkpoint->shards[checkpoint->file_count];
    shard->file = (struct model_file)MODEL_FILE_CLOSED;
    shard->path = join(checkpoint->path, name);
    if (!shard->path)
        return no_memory(checkpoint->path, error);
    checkpoint->files[checkpoint->file_count++] =
        (struct checkpoint_file){shard->path, &shard->file}; /* checkpoint_close takes care of it */
    enum status status = model_file_open(&shard->file, shard->path, error);
    if (status != STATUS_OK)
        return status;
    return safetensors_read(&shard->header, shard->path, &shard->file, error);
}

static enum status open_weight_files(struct checkpoint *checkpoint, const char *const *names,
                                     uint32_t count, struct error *error)
{
    checkpoint->files = calloc(count, sizeof *checkpoint->files);
    checkpoint->shards = calloc(count, sizeof *checkpoint->shards);
    if (!checkpoint->files || !checkpoint->shards)
        return no_memory(checkpoint->path, error);
    for (uint32_t i = 0; i < count; i++) {
        enum status status = open_weight_file(checkpoint, names[i], error);
        if (status != STATUS_OK)
            return status;
    }
    return STATUS_OK;
}

/* Every tensor the index lists is in the shard it names. A shard may hold more than is listed. */
static enum status check_index(const struct checkpoint *checkpoint,
                               const struct safetensors_index *index, struct error *error)
{
    for (uint32_t i = 0; i < index->count; i++) {
        uint32_t slot = *checkpoint_slot(checkpoint, index->entries[i].tensor);
        if (slot == CHECKPOINT_EMPTY_SLOT ||
            checkpoint->entries[slot].tensor.file != index->entries[i].shard)
            return error_set(error, STATUS_INVALID,
                             "%s: tensor \"%.160s\" is not in it, though the index says so",
                             checkpoint->files[index->entries[i].shard].path,
                             index->entries[i].tensor);
    }
    return STATUS_OK;
}

static enum status open_sharded(struct checkpoint *checkpoint, struct error *error)
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
    if (exists(checkpoint->path, single_name)) {
        const char *const names[] = {single_name};
        enum status status = open_weight_files(checkpoint, names, 1, error);
        return status == STATUS_OK ? index_tensors(checkpoint, error) : status;
    }
    if (exists(checkpoint->path, index_name))
        return open_sharded(checkpoint, error);
    if (exists(checkpoint->path, "pytorch_model.bin") ||
        exists(checkpoint->path, "pytorch_model.bin.index.json"))
        return error_set(error, STATUS_UNSUPPORTED,
                         "%s: holds pickled weights (pytorch_model.bin); convert them to %s",
                         checkpoint->path, single_name);
    return error_set(error, STATUS_NOT_FOUND, "%s: has neither %s nor %s nor a .gguf file",
                     checkpoint->path, single_name, index_name);
}

/* ---- GGUF ---- */

static bool ends_in(const char *name, const char *end)
{
    size_t bytes = strlen(name), end_bytes = strlen(end);
    return bytes > end_bytes && strcmp(name + bytes - end_bytes, end) == 0;
}

/* Takes `path`, whatever the outcome; NULL is no memory. */
static enum status open_gguf(struct checkpoint *checkpoint, char *path, struct error *error)
{
    enum status status = path ? gguf_split_open(&checkpoint->split, path, error)
                              : no_memory(checkpoint->path, error);
    free(path);
    if (status == STATUS_OK)
        status = gguf_view_open(&checkpoint->view, checkpoint->split, error);
    if (status != STATUS_OK)
        return status;
    checkpoint->files = calloc(checkpoint->split->count, sizeof *checkpoint->files);
    if (!checkpoint->files)
        return no_memory(checkpoint->path, error);
    for (; checkpoint->file_count < checkpoint->split->count; checkpoint->file_count++) {
        const struct gguf_part *part = &checkpoint->split->parts[checkpoint->file_count];
        struct checkpoint_file *file = &checkpoint->files[checkpoint->file_count];
        *file = (struct checkpoint_file){part->path, &part->file};
    }
    return index_tensors(checkpoint, error);
}

/* The folder's GGUF model: NULL in *out with OK if there is none. Later parts of a split one do not
 * count, unless there is nothing else: then the error of opening one says which is missing. */
static enum status find_gguf(const char *folder, char **out, struct error *error)
{
    enum status status = STATUS_OK;
    char *part = NULL;
    *out = NULL;
    DIR *dir = opendir(folder);
    if (!dir)
        return error_set(error, STATUS_IO, "%s: cannot be listed: %s", folder, strerror(errno));
    for (struct dirent *entry; status == STATUS_OK && (entry = readdir(dir));) {
        uint32_t no = 0, count;
        size_t prefix_bytes;
        if (!ends_in(entry->d_name, ".gguf"))
            continue;
        bool later = gguf_split_name(entry->d_name, &no, &count, &prefix_bytes) && no > 0;
        char **found = later ? &part : out;
        if (*found && !later)
            status = error_set(error, STATUS_INVALID,
                               "%s: holds several GGUF models (%s, %s): give the path of one",
                               folder, *found, entry->d_name);
        else if (!*found && !(*found = strdup(entry->d_name)))
            status = no_memory(folder, error);
    }
    closedir(dir);
    if (*out || status != STATUS_OK)
        free(part);
    else
        *out = part;
    if (status != STATUS_OK) {
        free(*out);
        *out = NULL;
    }
    return status;
}

/* ---- a folder, a file ---- */

static enum status open_folder(struct checkpoint *checkpoint, struct error *error)
{
    if (!exists(checkpoint->path, single_name) && !exists(checkpoint->path, index_name)) {
        char *name;
        enum status status = find_gguf(checkpoint->path, &name, error);
        if (status != STATUS_OK)
            return status;
        if (name) {
            char *path = join(checkpoint->path, name);
            free(name);
            return open_gguf(checkpoint, path, error);
        }
    }
    enum status status = open_settings(checkpoint, error);
    return status == STATUS_OK ? open_weights(checkpoint, error) : status;
}

/* By its name; a file of another name (download tools store them by hash) by its first bytes. */
static bool is_gguf(const char *path)
{
    char magic[4];
    struct model_file file;
    if (ends_in(path, ".gguf"))
        return true;
    if (model_file_open(&file, path, NULL) != STATUS_OK)
        return false;
    bool is = file.bytes >= sizeof magic &&
              model_file_read(&file, path, 0, sizeof magic, magic, NULL) == STATUS_OK &&
              memcmp(magic, "GGUF", sizeof magic) == 0;
    model_file_close(&file);
    return is;
}

bool checkpoint_looks_like_one(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && (S_ISDIR(info.st_mode) || is_gguf(path));
}

static enum status open_path(struct checkpoint *checkpoint, struct error *error)
{
    struct stat info;
    const char *path = checkpoint->path;
    if (stat(path, &info) != 0)
        return error_set(error, errno == ENOENT || errno == ENOTDIR ? STATUS_NOT_FOUND : STATUS_IO,
                         "%s: the model cannot be opened: %s", path, strerror(errno));
    if (S_ISDIR(info.st_mode))
        return open_folder(checkpoint, error);
    if (is_gguf(path))
        return open_gguf(checkpoint, strdup(path), error);
    return error_set(error, STATUS_UNSUPPORTED,
                     "%s: is neither a GGUF file nor a folder; a model is one of them, the folder "
                     "with config.json and safetensors",
                     path);
}

enum status checkpoint_open(struct checkpoint **out, const char *path, struct error *error)
{
    *out = NULL;
    enum status status;
    struct checkpoint *checkpoint = calloc(1, sizeof *checkpoint);
    if (!checkpoint || !(checkpoint->path = strdup(path)))
        status = no_memory(path, error);
    else
        status = open_path(checkpoint, error);
    if (status != STATUS_OK) {
        checkpoint_close(checkpoint);
        return status;
    }
    *out = checkpoint;
    return STATUS_OK;
}

void checkpoint_close(struct checkpoint *checkpoint)
{
    if (!checkpoint)
        return;
    for (uint32_t i = 0; checkpoint->shards && i < checkpoint->file_count; i++) {
        free(checkpoint->shards[i].path);
        model_file_close(&checkpoint->shards[i].file);
        safetensors_close(checkpoint->shards[i].header);
    }
    free(checkpoint->shards);
    gguf_view_close(checkpoint->view);
    gguf_split_close(checkpoint->split);
    free(checkpoint->files);
    free(checkpoint->entries);
    free(checkpoint->slots);
    config_json_close(checkpoint->config);
    config_json_close(checkpoint->generation);
    free(checkpoint->path);
    free(checkpoint);
}
