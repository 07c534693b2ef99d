/* Reads and verifies the index of a sharded checkpoint. Its danger is the shard names: they come
 * from a download and become paths, so each must be a plain name of the model's own folder. Whether
 * the shards really hold what the index says is for checkpoint.c, which sees both. */
#include "engine/load/safetensors_index.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "engine/load/json_text.h"

static bool is_plain_file_name(const json_t *value)
{
    const char *name = json_string_value(value);
    if (!*name || strlen(name) != json_string_length(value))
        return false;
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return false;
    for (const char *c = name; *c; c++)
        if (*c == '/' || *c == '\\' || (unsigned char)*c < 0x20 || *c == 0x7f)
            return false;
    return true;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* shards: every value of the map; afterwards the distinct ones, sorted. */
static void keep_distinct(struct safetensors_index *index, uint32_t count)
{
    qsort(index->shards, count, sizeof *index->shards, compare_names);
    for (uint32_t i = 0; i < count; i++)
        if (i == 0 || strcmp(index->shards[i], index->shards[index->shard_count - 1]) != 0)
            index->shards[index->shard_count++] = index->shards[i];
}

static uint32_t shard_number(const struct safetensors_index *index, const char *name)
{
    const char **found = bsearch(&name, index->shards, index->shard_count, sizeof *index->shards,
                                 compare_names);
    return (uint32_t)(found - index->shards);
}

static enum status read_map(struct safetensors_index *index, const char *file, json_t *map,
                            struct error *error)
{
    const char *tensor;
    json_t *shard;
    uint32_t count = 0;
    json_object_foreach(map, tensor, shard) {
        char shown[JSON_TEXT_SHOWN_BYTES];
        if (!json_is_string(shard))
            return error_set(error, STATUS_INVALID,
                             "%s: \"weight_map\": \"%.160s\" must be a file name, not %s", file,
                             tensor, json_text_type(shard));
        if (!is_plain_file_name(shard))
            return error_set(error, STATUS_INVALID,
                             "%s: \"weight_map\": \"%.160s\" is in %s, which is not a plain file "
                             "name inside the model's folder",
                             file, tensor, json_text_show(shard, shown));
        index->shards[count++] = json_string_value(shard);
    }
    keep_distinct(index, count);
    if (index->shard_count > SAFETENSORS_SHARDS_MAX)
        return error_set(error, STATUS_INVALID, "%s: \"weight_map\" names %u shards, at most %u",
                         file, index->shard_count, SAFETENSORS_SHARDS_MAX);
    json_object_foreach(map, tensor, shard) {
        struct safetensors_index_entry *entry = &index->entries[index->count++];
        entry->tensor = tensor;
        entry->shard = shard_number(index, json_string_value(shard));
    }
    return STATUS_OK;
}

/* Takes `root`, whatever the outcome. */
static enum status from_json(struct safetensors_index **out, const char *file, json_t *root,
                             struct error *error)
{
    enum status status;
    json_t *map = json_object_get(root, "weight_map");
    struct safetensors_index *index = calloc(1, sizeof *index);
    if (!index) {
        json_decref(root);
        return error_set(error, STATUS_NO_MEMORY, "%s: no memory", file);
    }
    index->json = root;
    if (!json_is_object(map)) {
        status = error_set(error, STATUS_INVALID, "%s: \"weight_map\" must be an object, not %s",
                           file, json_text_type(map));
        goto fail;
    }
    size_t count = json_object_size(map);
    if (count == 0) {
        status = error_set(error, STATUS_INVALID, "%s: \"weight_map\" is empty", file);
        goto fail;
    }
    index->shards = calloc(count, sizeof *index->shards);
    index->entries = calloc(count, sizeof *index->entries);
    if (!index->shards || !index->entries) {
        status = error_set(error, STATUS_NO_MEMORY, "%s: no memory for %zu tensors", file, count);
        goto fail;
    }
    status = read_map(index, file, map, error);
    if (status != STATUS_OK)
        goto fail;
    *out = index;
    return STATUS_OK;
fail:
    safetensors_index_close(index);
    return status;
}

enum status safetensors_index_parse(struct safetensors_index **out, const char *file,
                                    const char *text, size_t bytes, struct error *error)
{
    json_t *root;
    *out = NULL;
    enum status status = json_text_parse(&root, file, text, bytes, error);
    return status == STATUS_OK ? from_json(out, file, root, error) : status;
}

enum status safetensors_index_read(struct safetensors_index **out, const char *path,
                                   struct error *error)
{
    json_t *root;
    *out = NULL;
    enum status status = json_text_read(&root, path, SAFETENSORS_INDEX_BYTES_MAX, error);
    return status == STATUS_OK ? from_json(out, path, root, error) : status;
}

void safetensors_index_close(struct safetensors_index *index)
{
    if (!index)
        return;
    free(index->shards);
    free(index->entries);
    json_decref(index->json);
    free(index);
}
