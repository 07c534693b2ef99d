/* What a checkpoint is made of: checkpoint_open.c builds it, checkpoint.c answers from it. */
#ifndef MOERING_ENGINE_LOAD_CHECKPOINT_STATE_H
#define MOERING_ENGINE_LOAD_CHECKPOINT_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/load/checkpoint.h"
#include "engine/load/config_json.h"
#include "engine/load/gguf_split.h"
#include "engine/load/gguf_view.h"
#include "engine/load/model_file.h"

#ifdef __cplusplus
extern "C" {
#endif

#define CHECKPOINT_EMPTY_SLOT UINT32_MAX

struct checkpoint_file {
    const char *path;
    const struct model_file *file;
};

struct checkpoint_entry {
    struct checkpoint_tensor tensor;
    const char *foreign;  /* its type, if we do not compute with it; else NULL */
    const char *own_name; /* in the file */
};

struct checkpoint {
    char *path;
    struct checkpoint_file *files;
    uint32_t file_count;

    struct checkpoint_entry *entries; /* [readable_count] readable ones, then the others */
    uint32_t entry_count, readable_count;
    uint32_t *slots; /* [slot_mask + 1]: index into entries or CHECKPOINT_EMPTY_SLOT */
    uint32_t slot_mask;

    /* Of a folder as Hugging Face makes it, or of a GGUF file: the others are NULL. */
    struct config_json *config, *generation; /* generation NULL: the folder has none */
    struct safetensors_shard *shards;        /* [file_count] */
    struct gguf_split *split;
    struct gguf_view *view;
};

/* The slot that holds the name, or the empty one where it would go. */
uint32_t *checkpoint_slot(const struct checkpoint *checkpoint, const char *name);

#ifdef __cplusplus
}
#endif
#endif
