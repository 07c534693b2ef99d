/* The vocabulary: id <-> entry as written in the file, and the bytes an entry stands for.
 *
 * All strings lie in one arena and all entries in one array indexed by id, so that 150,000 entries
 * cost four allocations. Filled while a tokenizer opens, immutable afterwards. */
#ifndef MOERING_ENGINE_TOKENIZER_VOCAB_H
#define MOERING_ENGINE_TOKENIZER_VOCAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/tokenizer/tokenizer.h"
#include "memory/base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

enum vocab_flag {
    VOCAB_MODEL = 1,   /* in the merge model's own vocabulary: merges may produce it */
    VOCAB_ADDED = 2,   /* an added token: recognised in the text as a whole */
    VOCAB_SPECIAL = 4, /* an added token that carries no text of its own (bos, chat marks) */
    VOCAB_BYTE = 8,    /* "<0xE2>" of a byte-fallback decoder: its piece is that one byte */
};

struct vocab_entry {
    uint32_t text_at, text_bytes;   /* as in the file; in the arena, NUL-terminated */
    uint32_t piece_at, piece_bytes; /* the bytes it stands for in running text */
    uint32_t flags;                 /* 0: a hole */
};

struct vocab {
    char *arena;
    size_t arena_bytes, arena_capacity;
    struct vocab_entry *entries; /* [count] by id */
    uint32_t count;
    uint32_t *slots; /* [slot_mask + 1] ids by hash of the text, TOKEN_NONE when free */
    uint32_t slot_mask;
    size_t piece_bytes_max;
};

/* Room for ids below `id_end` and `entries` different texts of `text_bytes` bytes in all. NO_MEMORY
 * when there is none or when the strings together pass 4 GiB. Call once, on a zeroed vocab. */
enum status vocab_open(struct vocab *vocab, uint32_t id_end, uint32_t entries, size_t text_bytes);
void vocab_close(struct vocab *vocab);

/* INVALID when the id or the text is there already; nothing is changed then. `id` < id_end. */
enum status vocab_add(struct vocab *vocab, uint32_t id, const char *text, size_t bytes,
                      uint32_t flags);
/* The id of exactly this text, or TOKEN_NONE. */
uint32_t vocab_find(const struct vocab *vocab, const char *text, size_t bytes);
/* The same, but only entries of the merge model. */
uint32_t vocab_find_model(const struct vocab *vocab, const char *text, size_t bytes);
/* Gives `id` its piece; until then the piece is the text. NO_MEMORY. */
enum status vocab_set_piece(struct vocab *vocab, uint32_t id, const char *piece, size_t bytes);

static inline const struct vocab_entry *vocab_at(const struct vocab *vocab, uint32_t id)
{
    return id < vocab->count && vocab->entries[id].flags ? &vocab->entries[id] : NULL;
}
static inline const char *vocab_text(const struct vocab *vocab, const struct vocab_entry *entry)
{
    return vocab->arena + entry->text_at;
}
static inline const char *vocab_piece(const struct vocab *vocab, const struct vocab_entry *entry)
{
    return vocab->arena + entry->piece_at;
}

#ifdef __cplusplus
}
#endif
#endif
