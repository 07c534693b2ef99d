/* SentencePiece BPE of a GGUF file, which holds pieces and scores but no merges.
 *
 * SentencePiece joins any two neighbours whose texts together are a piece, the best score first,
 * then the leftmost. So the merges are all the ways to cut a piece in two halves that can be
 * symbols: other pieces, and single characters. Pieces of equal score share a rank, and the merger
 * orders equal ranks by position: the same order. Only normal pieces take part: user-defined ones
 * are found before merging starts, and control, unknown, byte and unused ones are never made by
 * it.
 *
 * The text is prepared as the model was trained: a space in front of it (and behind each special
 * token, where SentencePiece would have been called anew), then every space becomes U+2581. Nothing
 * cuts it into words. What no piece covers becomes bytes, or the unknown token.
 *
 * Enumerating the cuts costs the square of a piece's length, so pieces are bounded; those of
 * trained models have at most some dozens of bytes. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/tokenizer/tokenizer_pieces.h"

#define MERGED_PIECE_BYTES_MAX 1024
#define SPACE_MARK "\xE2\x96\x81" /* U+2581 */
#define SPACE_MARK_BYTES 3

struct scored {
    float score;
    uint32_t id;
};

struct merge {
    uint32_t left, right, rank, id;
};

struct merge_list {
    struct merge *at;
    size_t count, capacity;
};

static int best_first(const void *a, const void *b)
{
    const struct scored *x = a, *y = b;
    if (x->score != y->score)
        return x->score > y->score ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

static int compare_chars(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static enum status check_byte(const struct pieces_reading *reading, uint32_t id)
{
    const struct tokenizer_string *token = &reading->pieces->tokens[id];
    struct bpe *bpe = &reading->tokenizer->bpe;
    for (unsigned byte = 0; byte < 256; byte++)
        if (bpe->byte_ids[byte] == id) {
            bpe->byte_fallback = true;
            return STATUS_OK;
        }
    return pieces_error(reading, STATUS_INVALID,
                        "tokens[%u] \"%.*s\" is a byte, but not \"<0x..>\"", id,
                        (int)(token->bytes < 64 ? token->bytes : 64), token->data);
}

/* The pieces that merging may make, best first. `out` has room for all. */
static enum status rank_pieces(const struct pieces_reading *reading, struct scored *out,
                               uint32_t *count)
{
    const struct tokenizer_pieces *pieces = reading->pieces;
    enum status status = STATUS_OK;
    *count = 0;
    for (uint32_t id = 0; id < pieces->token_count && status == STATUS_OK; id++) {
        enum tokenizer_piece_type type = pieces_type(pieces, id);
        if (type == TOKENIZER_PIECE_BYTE)
            status = check_byte(reading, id);
        if (type != TOKENIZER_PIECE_NORMAL || pieces->tokens[id].bytes == 0)
            continue;
        if (isnan(pieces->scores[id]))
            return pieces_error(reading, STATUS_INVALID, "scores[%u] is not a number", id);
        if (pieces->tokens[id].bytes > MERGED_PIECE_BYTES_MAX)
            return pieces_error(reading, STATUS_UNSUPPORTED,
                                "tokens[%u] has %zu bytes, more than %u", id,
                                pieces->tokens[id].bytes, MERGED_PIECE_BYTES_MAX);
        out[(*count)++] = (struct scored){pieces->scores[id], id};
    }
    qsort(out, *count, sizeof *out, best_first);
    return status;
}

/* Collects the characters of longer pieces that are no pieces themselves. */
static enum status find_loose(const struct pieces_reading *reading, const struct scored *ranked,
                              uint32_t count)
{
    struct bpe *bpe = &reading->tokenizer->bpe;
    uint32_t capacity = 0, found = 0, kept = 0;
    uint32_t *chars = NULL;
    for (uint32_t i = 0; i < count; i++) {
        const struct tokenizer_string *token = &reading->pieces->tokens[ranked[i].id];
        unsigned length;
        for (size_t at = 0; at < token->bytes; at += length) {
            uint32_t c = text_char(token->data + at, &length);
            if (bpe_char_id(bpe, c) != TOKEN_NONE)
                continue;
            if (found == capacity) {
                capacity = capacity ? 2 * capacity : 64;
                uint32_t *grown = realloc(chars, (size_t)capacity * sizeof *chars);
                if (!grown) {
                    free(chars);
                    return STATUS_NO_MEMORY;
                }
                chars = grown;
            }
            chars[found++] = c;
        }
    }
    if (found)
        qsort(chars, found, sizeof *chars, compare_chars);
    for (uint32_t i = 0; i < found; i++)
        if (i == 0 || chars[i] != chars[i - 1])
            chars[kept++] = chars[i];
    bpe->loose = chars;
    bpe->loose_count = kept;
    return STATUS_OK;
}

/* The symbol that a part of a piece can be, or TOKEN_NONE. */
static uint32_t symbol_of(const struct pieces_reading *reading, const char *text, size_t bytes)
{
    unsigned length;
    uint32_t c = text_char(text, &length);
    if (length == bytes)
        return bpe_char_id(&reading->tokenizer->bpe, c);
    uint32_t id = vocab_find_model(&reading->tokenizer->vocab, text, bytes);
    return id != TOKEN_NONE && pieces_type(reading->pieces, id) == TOKENIZER_PIECE_NORMAL
               ? id
               : TOKEN_NONE;
}

static enum status list_merges(const struct pieces_reading *reading, uint32_t id, uint32_t rank,
                               struct merge_list *list)
{
    const struct tokenizer_string *token = &reading->pieces->tokens[id];
    unsigned length;
    text_char(token->data, &length);
    for (size_t at = length; at < token->bytes; at += length) {
        uint32_t left = symbol_of(reading, token->data, at);
        uint32_t right = left == TOKEN_NONE
                             ? TOKEN_NONE
                             : symbol_of(reading, token->data + at, token->bytes - at);
        text_char(token->data + at, &length);
        if (right == TOKEN_NONE)
            continue;
        if (list->count == list->capacity) {
            size_t capacity = list->capacity ? 2 * list->capacity : 1024;
            struct merge *grown = realloc(list->at, capacity * sizeof *grown);
            if (!grown)
                return STATUS_NO_MEMORY;
            list->at = grown;
            list->capacity = capacity;
        }
        list->at[list->count++] = (struct merge){left, right, rank, id};
    }
    return STATUS_OK;
}

static enum status enter_merges(const struct pieces_reading *reading,
                                const struct merge_list *list)
{
    struct bpe *bpe = &reading->tokenizer->bpe;
    if (list->count >= 1u << 30)
        return pieces_error(reading, STATUS_UNSUPPORTED, "tokens can be merged in 2^30 ways");
    enum status status = bpe_reserve(bpe, (uint32_t)list->count);
    for (size_t i = 0; i < list->count && status == STATUS_OK; i++)
        bpe_add_merge(bpe, list->at[i].left, list->at[i].right, list->at[i].rank, list->at[i].id);
    return status;
}

static enum status read_scores(const struct pieces_reading *reading)
{
    const struct tokenizer_pieces *pieces = reading->pieces;
    struct merge_list list = {0};
    uint32_t count = 0, rank = 0;
    if (!pieces->scores || !pieces->types)
        return pieces_error(reading, STATUS_INVALID, "%s is missing",
                            pieces->scores ? "token_type" : "scores");
    struct scored *ranked = malloc(pieces->token_count * sizeof *ranked);
    enum status status =
        ranked ? bpe_open(&reading->tokenizer->bpe, &reading->tokenizer->vocab, 0)
               : STATUS_NO_MEMORY;
    if (status == STATUS_OK)
        status = rank_pieces(reading, ranked, &count);
    if (status == STATUS_OK)
        status = find_loose(reading, ranked, count);
    for (uint32_t i = 0; i < count && status == STATUS_OK; i++) {
        if (i > 0 && ranked[i].score != ranked[i - 1].score)
            rank = i;
        status = list_merges(reading, ranked[i].id, rank, &list);
    }
    if (status == STATUS_OK)
        status = enter_merges(reading, &list);
    free(list.at);
    free(ranked);
    return status;
}

/* Spaces become marks, one of them in front. */
static enum status add_normalizer(struct normalizer *normalizer, bool space_prefix)
{
    enum status status = STATUS_OK;
    struct normalize_step prepend = {.kind = NORMALIZE_PREPEND,
                                     .content_bytes = SPACE_MARK_BYTES};
    struct normalize_step replace = {.kind = NORMALIZE_REPLACE,
                                     .content_bytes = SPACE_MARK_BYTES};
    if (space_prefix) {
        prepend.content = strdup(SPACE_MARK);
        status = prepend.content ? normalizer_add(normalizer, &prepend) : STATUS_NO_MEMORY;
    }
    if (status != STATUS_OK)
        return status;
    status = pattern_open_literal(&replace.pattern, " ", 1);
    replace.content = strdup(SPACE_MARK);
    if (status == STATUS_OK && replace.content)
        return normalizer_add(normalizer, &replace);
    pattern_close(&replace.pattern);
    free(replace.content);
    return STATUS_NO_MEMORY;
}

static enum status set_decoder(struct decoder *decoder, bool byte_fallback, bool space_prefix)
{
    decoder->byte_fallback = byte_fallback;
    if (space_prefix) {
        decoder->strip[0] = ' ';
        decoder->strip_bytes = decoder->strip_count = 1;
    }
    return decoder_add_replace(decoder, SPACE_MARK, SPACE_MARK_BYTES, " ", 1);
}

enum status pieces_llama_read(const struct pieces_reading *reading)
{
    struct tokenizer *tokenizer = reading->tokenizer;
    bool space_prefix = reading->pieces->add_space_prefix != TOKENIZER_OFF;
    enum status status = read_scores(reading);
    if (status == STATUS_OK)
        status = add_normalizer(&tokenizer->normalizer, space_prefix);
    if (status == STATUS_OK)
        status = set_decoder(&tokenizer->decoder, tokenizer->bpe.byte_fallback, space_prefix);
    tokenizer->bpe.fuse_unknown = true;
    tokenizer->bos_by_model = true;
    return status;
}
