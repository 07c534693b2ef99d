/* Opens the parts of a split model and makes sure that they are the parts of one. Owns a descriptor
 * and a header for each. What a part says of itself decides; names only lead to the next one, since
 * the metadata names no files: so nothing can lead in a circle, and a part copied under another's
 * name, or linked to itself, is found by its own split.no. */
#include "engine/load/gguf_split.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/load/gguf_value.h"

/* "-00001-of-00003.gguf" */
enum { TAIL_BYTES = 20 };

static bool five_digits(const char *text, uint32_t *out)
{
    *out = 0;
    for (int i = 0; i < 5; i++) {
        if (!isdigit((unsigned char)text[i]))
            return false;
        *out = 10 * *out + (uint32_t)(text[i] - '0');
    }
    return true;
}

bool gguf_split_name(const char *path, uint32_t *no, uint32_t *count, size_t *prefix_bytes)
{
    size_t bytes = strlen(path);
    if (bytes <= TAIL_BYTES)
        return false;
    const char *tail = path + bytes - TAIL_BYTES;
    bool spelled = tail[0] == '-' && five_digits(tail + 1, no) &&
                   memcmp(tail + 6, "-of-", 4) == 0 && five_digits(tail + 10, count) &&
                   strcmp(tail + 15, ".gguf") == 0;
    if (!spelled || *no < 1 || *no > *count)
        return false;
    --*no;
    *prefix_bytes = bytes - TAIL_BYTES;
    return true;
}

static char *part_path(const char *path, size_t prefix_bytes, uint32_t no, uint32_t count)
{
    char *text;
    return asprintf(&text, "%.*s-%05u-of-%05u.gguf", (int)prefix_bytes, path, no + 1, count) < 0
               ? NULL
               : text;
}

/* Takes `path`, whatever the outcome; NULL is no memory. */
static enum status open_part(struct gguf_split *split, char *path, struct error *error)
{
    if (!path)
        return error_set(error, STATUS_NO_MEMORY, "no memory for the name of a part");
    struct gguf_part *part = &split->parts[split->count++];
    part->path = path;
    part->file = (struct model_file)MODEL_FILE_CLOSED;
    enum status status = model_file_open(&part->file, path, error);
    return status == STATUS_OK ? gguf_read(&part->gguf, path, &part->file, error) : status;
}

/* The parts there must be according to the first file; OK with 1 if it is not split. */
static enum status check_first(const struct gguf_part *first, uint32_t *count, struct error *error)
{
    uint32_t no = 0, named_no, named_count;
    size_t prefix_bytes;
    const struct gguf *gguf = first->gguf;
    *count = 1;
    enum status status = gguf_value_u32(gguf, "split.count", false, 0, GGUF_SPLIT_PARTS_MAX, count,
                                        error);
    if (status == STATUS_NOT_FOUND || (status == STATUS_OK && *count <= 1)) {
        *count = 1;
        return STATUS_OK;
    }
    if (status == STATUS_OK)
        status = gguf_value_u32(gguf, "split.no", true, 0, *count - 1, &no, error);
    if (status != STATUS_OK)
        return status;
    if (!gguf_split_name(first->path, &named_no, &named_count, &prefix_bytes))
        return error_set(error, STATUS_INVALID,
                         "%s: is part %u of %u of a split model, but is not named like one "
                         "(NAME-%05u-of-%05u.gguf), so the others cannot be found",
                         first->path, no + 1, *count, no + 1, *count);
    if (no != 0) {
        char *right = part_path(first->path, prefix_bytes, 0, *count);
        status = error_set(error, STATUS_INVALID,
                           "%s: is part %u of %u of a split model: open the first one, %s",
                           first->path, no + 1, *count, right ? right : "-00001-of-");
        free(right);
        return status;
    }
    if (named_no != 0 || named_count != *count)
        return error_set(error, STATUS_INVALID,
                         "%s: is named part %u of %u, but \"split.no\" and \"split.count\" say %u "
                         "of %u",
                         first->path, named_no + 1, named_count, no + 1, *count);
    return STATUS_OK;
}

/* Part `no` says that it is. Only the first may leave out split.tensors.count. */
static enum status check_part(const struct gguf_part *part, uint32_t no, uint32_t count,
                              struct error *error)
{
    uint32_t said_no = 0, said_count = 0;
    enum status status = gguf_value_u32(part->gguf, "split.no", true, 0, UINT32_MAX, &said_no,
                                        error);
    if (status == STATUS_OK)
        status = gguf_value_u32(part->gguf, "split.count", true, 0, UINT32_MAX, &said_count, error);
    if (status == STATUS_OK && (said_no != no || said_count != count))
        return error_set(error, STATUS_INVALID,
                         "%s: should be part %u of %u, but \"split.no\" and \"split.count\" say "
                         "%llu of %u",
                         part->path, no + 1, count, (unsigned long long)said_no + 1, said_count);
    return status;
}

static enum status check_tensors(const struct gguf_split *split, struct error *error)
{
    uint64_t have = 0;
    uint32_t said = 0;
    for (uint32_t i = 0; i < split->count; i++)
        have += split->parts[i].gguf->tensor_count;
    enum status status = gguf_value_u32(split->parts[0].gguf, "split.tensors.count", false, 0,
                                        UINT32_MAX, &said, error);
    if (status == STATUS_NOT_FOUND)
        return STATUS_OK;
    if (status == STATUS_OK && said != have)
        return error_set(error, STATUS_INVALID,
                         "%s: \"split.tensors.count\" is %u, but the %u parts hold %llu",
                         split->parts[0].path, said, split->count, (unsigned long long)have);
    return status;
}

static enum status open_others(struct gguf_split *split, uint32_t count, struct error *error)
{
    uint32_t no, named;
    size_t prefix_bytes = 0;
    gguf_split_name(split->parts[0].path, &no, &named, &prefix_bytes);
    struct gguf_part *parts = realloc(split->parts, count * sizeof *parts);
    if (!parts)
        return error_set(error, STATUS_NO_MEMORY, "%s: no memory for %u parts",
                         split->parts[0].path, count);
    split->parts = parts;
    memset(parts + 1, 0, (count - 1) * sizeof *parts);
    for (uint32_t i = 1; i < count; i++) {
        struct error why = {0};
        enum status status = open_part(split, part_path(parts[0].path, prefix_bytes, i, count),
                                       &why);
        if (status == STATUS_NOT_FOUND) /* the first is there: a part missing is a defect */
            return error_set(error, STATUS_INVALID, "%s: part %u of %u is missing: %s",
                             parts[0].path, i + 1, count, why.text);
        if (status != STATUS_OK)
            return error_set(error, status, "%s", why.text);
        status = check_part(&parts[i], i, count, error);
        if (status != STATUS_OK)
            return status;
    }
    return check_tensors(split, error);
}

enum status gguf_split_open(struct gguf_split **out, const char *path, struct error *error)
{
    uint32_t count;
    enum status status;
    *out = NULL;
    struct gguf_split *split = calloc(1, sizeof *split);
    if (!split || !(split->parts = calloc(1, sizeof *split->parts))) {
        status = error_set(error, STATUS_NO_MEMORY, "%s: no memory", path);
        goto fail;
    }
    status = open_part(split, strdup(path), error);
    if (status == STATUS_OK)
        status = check_first(&split->parts[0], &count, error);
    if (status == STATUS_OK && count > 1)
        status = open_others(split, count, error);
    if (status != STATUS_OK)
        goto fail;
    *out = split;
    return STATUS_OK;
fail:
    gguf_split_close(split);
    return status;
}

void gguf_split_close(struct gguf_split *split)
{
    if (!split)
        return;
    for (uint32_t i = 0; i < split->count; i++) {
        free(split->parts[i].path);
        model_file_close(&split->parts[i].file);
        gguf_close(split->parts[i].gguf);
    }
    free(split->parts);
    free(split);
}
