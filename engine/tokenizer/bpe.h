/* Byte-pair merging: one pre-token in, ids out.
 *
 * Owns the merge table and the few ids that merging needs outside it (unknown, byte fallback).
 * Immutable after open; each call brings its own scratch, so any number of threads may merge. */
#ifndef MOERING_ENGINE_TOKENIZER_BPE_H
#define MOERING_ENGINE_TOKENIZER_BPE_H

#include "engine/tokenizer/tokenizer.h"
#include "engine/tokenizer/vocab.h"

#ifdef __cplusplus
extern "C" {
#endif

#define BPE_CHAR_TABLE 512 /* characters below have their id at hand: the byte-level alphabet */

struct bpe_merge {
    uint64_t pair; /* left id << 32 | right id; UINT64_MAX when free */
    uint32_t rank; /* lower merges first */
    uint32_t id;   /* of the result */
};

struct bpe {
    const struct vocab *vocab;
    struct bpe_merge *merges; /* [merge_mask + 1], open addressing, at most half full */
    uint32_t merge_mask;
    uint32_t char_ids[BPE_CHAR_TABLE]; /* or TOKEN_NONE */
    uint32_t byte_ids[256];            /* "<0x00>".., or TOKEN_NONE */
    uint32_t unknown_id;               /* or TOKEN_NONE: characters not in the vocabulary vanish */
    uint32_t *loose;                   /* [loose_count] ascending, distinct: characters that are no
                                          entries, yet merges begin from; owned */
    uint32_t loose_count;              /* character i has the id vocab->count + i in merges */
    bool byte_fallback;                /* try byte_ids before unknown_id */
    bool fuse_unknown;                 /* a run of unknown characters is one token */
    bool ignore_merges;                /* a pre-token that is an entry needs no merging */
};

/* Zero-initialise; bpe_scratch_reset frees. */
struct bpe_scratch {
    struct bpe_symbol *symbols;
    struct bpe_candidate *heap;
    uint32_t symbol_count, heap_count;
    size_t capacity; /* of symbols; the heap has twice as many */
};

/* `vocab` is complete and outlives `bpe`; the flags and unknown_id are the caller's to set. */
enum status bpe_open(struct bpe *bpe, const struct vocab *vocab, uint32_t merge_count);
/* Makes room for `merge_count` merges instead, while none has been added. NO_MEMORY. */
enum status bpe_reserve(struct bpe *bpe, uint32_t merge_count);
void bpe_close(struct bpe *bpe);
/* The id by which merges may name character `c`: its entry's, a loose one's, or TOKEN_NONE. */
uint32_t bpe_char_id(const struct bpe *bpe, uint32_t c);
/* A pair given twice keeps the later rank, as the reference does. At most merge_count calls. */
void bpe_add_merge(struct bpe *bpe, uint32_t left, uint32_t right, uint32_t rank, uint32_t id);

/* Appends the ids of `word` (valid UTF-8, below 2 GiB). O(n log n). NO_MEMORY. */
enum status bpe_encode(const struct bpe *bpe, struct bpe_scratch *scratch, const char *word,
                       size_t bytes, struct token_list *out);
void bpe_scratch_reset(struct bpe_scratch *scratch);

/* Appends one id. NO_MEMORY. */
enum status token_list_push(struct token_list *list, uint32_t id);

#ifdef __cplusplus
}
#endif
#endif
