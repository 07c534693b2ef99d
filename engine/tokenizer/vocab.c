/* Open addressing over packed strings: one table, at most half full, so that a search that finds
 * nothing ends soon. The hash need not resist an attacker: the texts come from the model's own
 * file. Written while a tokenizer opens; read by any thread later. */
#include "engine/tokenizer/vocab.h"

#include <stdlib.h>
#include <string.h>

#include "memory/base/bytes.h"
#include "memory/base/check.h"

static uint32_t text_hash(const char *text, size_t bytes)
{
    uint64_t h = 0x9E3779B97F4A7C15u ^ bytes;
    for (; bytes >= 8; text += 8, bytes -= 8) {
        h = (h ^ bytes_le64(text)) * 0xFF51AFD7ED558CCDu;
        h ^= h >> 32;
    }
    uint64_t tail = 0;
    memcpy(&tail, text, bytes);
    h = (h ^ tail) * 0xC4CEB9FE1A85EC53u;
    h ^= h >> 29;
    h *= 0xFF51AFD7ED558CCDu;
    return (uint32_t)(h >> 32);
}

static enum status arena_put(struct vocab *vocab, const char *data, size_t bytes, uint32_t *at)
{
    size_t need = vocab->arena_bytes + bytes + 1;
    if (bytes >= UINT32_MAX || need > UINT32_MAX)
        return STATUS_NO_MEMORY;
    if (need > vocab->arena_capacity) {
        size_t capacity = need + need / 2;
        char *arena = realloc(vocab->arena, capacity);
        if (!arena)
            return STATUS_NO_MEMORY;
        vocab->arena = arena;
        vocab->arena_capacity = capacity;
    }
    *at = (uint32_t)vocab->arena_bytes;
    if (bytes)
        memcpy(vocab->arena + vocab->arena_bytes, data, bytes);
    vocab->arena[vocab->arena_bytes + bytes] = '\0';
    vocab->arena_bytes = need;
    return STATUS_OK;
}

enum status vocab_open(struct vocab *vocab, uint32_t id_end, uint32_t entries, size_t text_bytes)
{
    CHECK(!vocab->entries && id_end < TOKEN_NONE && entries < (1u << 30));
    uint32_t slots = 16;
    while (slots < 2 * entries)
        slots *= 2;
    vocab->arena_capacity = text_bytes + entries + 64;
    vocab->arena = malloc(vocab->arena_capacity);
    vocab->entries = calloc((size_t)id_end + 1, sizeof *vocab->entries);
    vocab->slots = malloc(slots * sizeof *vocab->slots);
    if (!vocab->arena || !vocab->entries || !vocab->slots)
        return STATUS_NO_MEMORY;
    memset(vocab->slots, 0xFF, slots * sizeof *vocab->slots);
    vocab->slot_mask = slots - 1;
    vocab->count = id_end;
    return STATUS_OK;
}

void vocab_close(struct vocab *vocab)
{
    if (!vocab)
        return;
    free(vocab->arena);
    free(vocab->entries);
    free(vocab->slots);
    *vocab = (struct vocab){0};
}

/* The slot that holds the text, or the free one where it belongs. */
static uint32_t slot_of(const struct vocab *vocab, const char *text, size_t bytes)
{
    uint32_t slot = text_hash(text, bytes) & vocab->slot_mask;
    while (vocab->slots[slot] != TOKEN_NONE) {
        const struct vocab_entry *entry = &vocab->entries[vocab->slots[slot]];
        if (entry->text_bytes == bytes && memcmp(vocab_text(vocab, entry), text, bytes) == 0)
            break;
        slot = (slot + 1) & vocab->slot_mask;
    }
    return slot;
}

enum status vocab_add(struct vocab *vocab, uint32_t id, const char *text, size_t bytes,
                      uint32_t flags)
{
    CHECK(id < vocab->count && flags);
    struct vocab_entry *entry = &vocab->entries[id];
    uint32_t slot = slot_of(vocab, text, bytes);
    if (entry->flags || vocab->slots[slot] != TOKEN_NONE)
        return STATUS_INVALID;
    uint32_t at;
    enum status status = arena_put(vocab, text, bytes, &at);
    if (status != STATUS_OK)
        return status;
    *entry = (struct vocab_entry){.text_at = at,
                                  .text_bytes = (uint32_t)bytes,
                                  .piece_at = at,
                                  .piece_bytes = (uint32_t)bytes,
                                  .flags = flags};
    if (bytes > vocab->piece_bytes_max)
        vocab->piece_bytes_max = bytes;
    vocab->slots[slot] = id;
    return STATUS_OK;
}

uint32_t vocab_find(const struct vocab *vocab, const char *text, size_t bytes)
{
    return vocab->slots ? vocab->slots[slot_of(vocab, text, bytes)] : TOKEN_NONE;
}

uint32_t vocab_find_model(const struct vocab *vocab, const char *text, size_t bytes)
{
    uint32_t id = vocab_find(vocab, text, bytes);
    return id != TOKEN_NONE && vocab->entries[id].flags & VOCAB_MODEL ? id : TOKEN_NONE;
}

enum status vocab_set_piece(struct vocab *vocab, uint32_t id, const char *piece, size_t bytes)
{
    CHECK(vocab_at(vocab, id));
    struct vocab_entry *entry = &vocab->entries[id];
    if (bytes == entry->text_bytes && memcmp(piece, vocab_text(vocab, entry), bytes) == 0) {
        entry->piece_at = entry->text_at;
    } else {
        enum status status = arena_put(vocab, piece, bytes, &entry->piece_at);
        if (status != STATUS_OK)
            return status;
    }
    entry->piece_bytes = (uint32_t)bytes;
    if (bytes > vocab->piece_bytes_max)
        vocab->piece_bytes_max = bytes;
    return STATUS_OK;
}
