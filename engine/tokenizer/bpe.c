/* Merging by a priority queue over a linked list of symbols.
 *
 * The textbook loop (find the best pair, merge, start again) is quadratic in the word, and with
 * SentencePiece-style models the word is the whole text. Here every adjacent pair that the table
 * knows waits in a heap ordered by rank, then by position; a merge relinks two neighbours and
 * queues at most two new pairs. Queue entries are not removed when a neighbour changes: an entry
 * is obsolete when its left symbol is gone or the pair now standing there merges to something else,
 * which is the very test the reference implementation makes.
 *
 * Pieces of a SentencePiece file may be made of characters that have no piece of their own. Those
 * "loose" characters take part in merging under ids beyond the vocabulary; one that no merge took
 * up is written as its bytes, or as unknown, in the end.
 *
 * Invariant: a merge pops one entry and pushes at most two, so that the heap never holds more than
 * twice the symbols. No recursion; scratch belongs to the call. */
#include "engine/tokenizer/bpe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/tokenizer/text.h"
#include "memory/base/check.h"

#define NO_SYMBOL UINT32_MAX

struct bpe_symbol {
    uint32_t id; /* TOKEN_NONE: merged into its left neighbour */
    uint32_t previous, next;
};

struct bpe_candidate {
    uint64_t order;  /* rank << 32 | position of the left symbol */
    uint32_t result; /* id that the merge makes */
};

enum status token_list_push(struct token_list *list, uint32_t id)
{
    if (list->count == list->capacity) {
        if (list->capacity > UINT32_MAX / 2)
            return STATUS_NO_MEMORY;
        uint32_t capacity = list->capacity ? 2 * list->capacity : 64;
        uint32_t *ids = realloc(list->ids, (size_t)capacity * sizeof *ids);
        if (!ids)
            return STATUS_NO_MEMORY;
        list->ids = ids;
        list->capacity = capacity;
    }
    list->ids[list->count++] = id;
    return STATUS_OK;
}

static uint32_t pair_hash(uint64_t pair)
{
    pair ^= pair >> 31;
    pair *= 0x7FB5D329728EA185u;
    pair ^= pair >> 27;
    pair *= 0x81DADEF4BC2DD44Du;
    return (uint32_t)(pair >> 32);
}

static struct bpe_merge *merge_slot(const struct bpe *bpe, uint64_t pair)
{
    uint32_t slot = pair_hash(pair) & bpe->merge_mask;
    while (bpe->merges[slot].pair != UINT64_MAX && bpe->merges[slot].pair != pair)
        slot = (slot + 1) & bpe->merge_mask;
    return &bpe->merges[slot];
}

static const struct bpe_merge *merge_find(const struct bpe *bpe, uint32_t left, uint32_t right)
{
    const struct bpe_merge *merge = merge_slot(bpe, (uint64_t)left << 32 | right);
    return merge->pair == UINT64_MAX ? NULL : merge;
}

enum status bpe_reserve(struct bpe *bpe, uint32_t merge_count)
{
    CHECK(merge_count < (1u << 30));
    uint32_t slots = 16;
    while (slots < 2 * merge_count)
        slots *= 2;
    free(bpe->merges);
    bpe->merges = malloc(slots * sizeof *bpe->merges);
    bpe->merge_mask = slots - 1;
    if (!bpe->merges)
        return STATUS_NO_MEMORY;
    memset(bpe->merges, 0xFF, slots * sizeof *bpe->merges);
    return STATUS_OK;
}

enum status bpe_open(struct bpe *bpe, const struct vocab *vocab, uint32_t merge_count)
{
    *bpe = (struct bpe){.vocab = vocab, .unknown_id = TOKEN_NONE};
    for (uint32_t c = 0; c < BPE_CHAR_TABLE; c++) {
        char text[4];
        bpe->char_ids[c] = vocab_find_model(vocab, text, text_put_char(text, c));
    }
    for (unsigned byte = 0; byte < 256; byte++) {
        char text[8];
        snprintf(text, sizeof text, "<0x%02X>", byte);
        bpe->byte_ids[byte] = vocab_find_model(vocab, text, 6);
    }
    return bpe_reserve(bpe, merge_count);
}

void bpe_close(struct bpe *bpe)
{
    if (!bpe)
        return;
    free(bpe->merges);
    free(bpe->loose);
    *bpe = (struct bpe){0};
}

void bpe_add_merge(struct bpe *bpe, uint32_t left, uint32_t right, uint32_t rank, uint32_t id)
{
    uint64_t pair = (uint64_t)left << 32 | right;
    *merge_slot(bpe, pair) = (struct bpe_merge){.pair = pair, .rank = rank, .id = id};
}

void bpe_scratch_reset(struct bpe_scratch *scratch)
{
    free(scratch->symbols);
    free(scratch->heap);
    *scratch = (struct bpe_scratch){0};
}

static enum status scratch_reserve(struct bpe_scratch *scratch, size_t symbols)
{
    if (symbols <= scratch->capacity)
        return STATUS_OK;
    size_t capacity = symbols + symbols / 2 + 32;
    bpe_scratch_reset(scratch);
    scratch->symbols = malloc(capacity * sizeof *scratch->symbols);
    scratch->heap = malloc(2 * capacity * sizeof *scratch->heap);
    if (!scratch->symbols || !scratch->heap)
        return STATUS_NO_MEMORY;
    scratch->capacity = capacity;
    return STATUS_OK;
}

static void symbol_add(struct bpe_scratch *scratch, uint32_t id)
{
    uint32_t at = scratch->symbol_count++;
    scratch->symbols[at] = (struct bpe_symbol){
        .id = id, .previous = at ? at - 1 : NO_SYMBOL, .next = at + 1};
}

uint32_t bpe_char_id(const struct bpe *bpe, uint32_t c)
{
    char text[4];
    uint32_t id = c < BPE_CHAR_TABLE
                      ? bpe->char_ids[c]
                      : vocab_find_model(bpe->vocab, text, text_put_char(text, c));
    uint32_t low = 0, high = bpe->loose_count;
    if (id != TOKEN_NONE || high == 0)
        return id;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (bpe->loose[middle] < c)
            low = middle + 1;
        else
            high = middle;
    }
    return low < bpe->loose_count && bpe->loose[low] == c ? bpe->vocab->count + low : TOKEN_NONE;
}

/* Symbols for the bytes of one character that is not in the vocabulary; false unless all bytes
 * have one. */
static bool symbols_from_bytes(const struct bpe *bpe, struct bpe_scratch *scratch, const char *at,
                               unsigned length)
{
    for (unsigned i = 0; i < length; i++)
        if (bpe->byte_ids[(unsigned char)at[i]] == TOKEN_NONE)
            return false;
    for (unsigned i = 0; i < length; i++)
        symbol_add(scratch, bpe->byte_ids[(unsigned char)at[i]]);
    return true;
}

/* One symbol per character, to begin with. An unknown token is written when the next known
 * character (or the end) shows how far the unknown run went; byte symbols do not end a run, which
 * is the reference's order too. At most one symbol per byte. */
static void symbols_from_word(const struct bpe *bpe, struct bpe_scratch *scratch, const char *word,
                              size_t bytes)
{
    bool unknown_waits = false;
    scratch->symbol_count = 0;
    unsigned length;
    for (size_t at = 0; at < bytes; at += length) {
        uint32_t c = text_char(word + at, &length);
        uint32_t id = bpe_char_id(bpe, c);
        if (id != TOKEN_NONE) {
            if (unknown_waits)
                symbol_add(scratch, bpe->unknown_id);
            unknown_waits = false;
            symbol_add(scratch, id);
        } else if (bpe->byte_fallback && symbols_from_bytes(bpe, scratch, word + at, length)) {
            continue;
        } else if (bpe->unknown_id != TOKEN_NONE) {
            if (unknown_waits && !bpe->fuse_unknown)
                symbol_add(scratch, bpe->unknown_id);
            unknown_waits = true;
        }
    }
    if (unknown_waits)
        symbol_add(scratch, bpe->unknown_id);
    if (scratch->symbol_count)
        scratch->symbols[scratch->symbol_count - 1].next = NO_SYMBOL;
}

static void heap_sift_down(struct bpe_candidate *heap, uint32_t count, uint32_t at)
{
    struct bpe_candidate moving = heap[at];
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child >= count)
            break;
        if (child + 1 < count && heap[child + 1].order < heap[child].order)
            child++;
        if (moving.order <= heap[child].order)
            break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = moving;
}

static void heap_push(struct bpe_scratch *scratch, struct bpe_candidate candidate)
{
    struct bpe_candidate *heap = scratch->heap;
    uint32_t at = scratch->heap_count++;
    while (at > 0 && candidate.order < heap[(at - 1) / 2].order) {
        heap[at] = heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    heap[at] = candidate;
}

static struct bpe_candidate heap_pop(struct bpe_scratch *scratch)
{
    struct bpe_candidate best = scratch->heap[0];
    scratch->heap[0] = scratch->heap[--scratch->heap_count];
    if (scratch->heap_count)
        heap_sift_down(scratch->heap, scratch->heap_count, 0);
    return best;
}

/* The candidate for the symbol at `left` and its right neighbour, if the table knows the pair. */
static bool candidate_at(const struct bpe *bpe, const struct bpe_scratch *scratch, uint32_t left,
                         struct bpe_candidate *out)
{
    const struct bpe_symbol *symbol = &scratch->symbols[left];
    if (symbol->next == NO_SYMBOL)
        return false;
    const struct bpe_merge *merge =
        merge_find(bpe, symbol->id, scratch->symbols[symbol->next].id);
    if (!merge)
        return false;
    *out = (struct bpe_candidate){.order = (uint64_t)merge->rank << 32 | left, .result = merge->id};
    return true;
}

static void merge_symbols(const struct bpe *bpe, struct bpe_scratch *scratch)
{
    struct bpe_candidate candidate;
    scratch->heap_count = 0;
    for (uint32_t i = 0; i < scratch->symbol_count; i++)
        if (candidate_at(bpe, scratch, i, &candidate))
            scratch->heap[scratch->heap_count++] = candidate;
    for (uint32_t i = scratch->heap_count / 2; i-- > 0;)
        heap_sift_down(scratch->heap, scratch->heap_count, i);

    while (scratch->heap_count) {
        struct bpe_candidate best = heap_pop(scratch), now;
        uint32_t at = (uint32_t)best.order;
        struct bpe_symbol *left = &scratch->symbols[at];
        if (left->id == TOKEN_NONE || !candidate_at(bpe, scratch, at, &now) ||
            now.result != best.result)
            continue; /* obsolete */
        struct bpe_symbol *right = &scratch->symbols[left->next];
        left->id = best.result;
        left->next = right->next;
        right->id = TOKEN_NONE;
        if (left->next != NO_SYMBOL)
            scratch->symbols[left->next].previous = at;
        if (left->previous != NO_SYMBOL && candidate_at(bpe, scratch, left->previous, &candidate))
            heap_push(scratch, candidate);
        if (candidate_at(bpe, scratch, at, &candidate))
            heap_push(scratch, candidate);
    }
}

/* A loose character that stayed alone. */
static enum status push_loose(const struct bpe *bpe, uint32_t c, struct token_list *out,
                              uint32_t first)
{
    char text[4];
    unsigned length = text_put_char(text, c);
    bool bytes = bpe->byte_fallback;
    enum status status = STATUS_OK;
    for (unsigned i = 0; i < length && bytes; i++)
        bytes = bpe->byte_ids[(unsigned char)text[i]] != TOKEN_NONE;
    for (unsigned i = 0; i < length && bytes && status == STATUS_OK; i++)
        status = token_list_push(out, bpe->byte_ids[(unsigned char)text[i]]);
    bool fused = bpe->fuse_unknown && out->count > first &&
                 out->ids[out->count - 1] == bpe->unknown_id;
    if (!bytes && bpe->unknown_id != TOKEN_NONE && !fused)
        status = token_list_push(out, bpe->unknown_id);
    return status;
}

static enum status push_symbols(const struct bpe *bpe, const struct bpe_scratch *scratch,
                                struct token_list *out)
{
    uint32_t first = out->count;
    enum status status = STATUS_OK;
    for (uint32_t i = 0; i < scratch->symbol_count && status == STATUS_OK; i++) {
        uint32_t id = scratch->symbols[i].id;
        if (id == TOKEN_NONE)
            continue;
        bool unknown_again = bpe->loose_count && bpe->fuse_unknown && id == bpe->unknown_id &&
                             out->count > first && out->ids[out->count - 1] == id;
        if (id >= bpe->vocab->count)
            status = push_loose(bpe, bpe->loose[id - bpe->vocab->count], out, first);
        else if (!unknown_again)
            status = token_list_push(out, id);
    }
    return status;
}

enum status bpe_encode(const struct bpe *bpe, struct bpe_scratch *scratch, const char *word,
                       size_t bytes, struct token_list *out)
{
    CHECK(bytes < INT32_MAX);
    if (bpe->ignore_merges) {
        uint32_t id = vocab_find_model(bpe->vocab, word, bytes);
        if (id != TOKEN_NONE)
            return token_list_push(out, id);
    }
    enum status status = scratch_reserve(scratch, bytes);
    if (status != STATUS_OK)
        return status;
    symbols_from_word(bpe, scratch, word, bytes);
    merge_symbols(bpe, scratch);
    return push_symbols(bpe, scratch, out);
}
