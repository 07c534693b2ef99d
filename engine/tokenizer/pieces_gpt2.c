/* Byte-level BPE of a GGUF file: merges by rank, words by the named rule of split_rules.c.
 *
 * The halves of a merge are looked for among all pieces, not only the normal ones: converters mark
 * pieces that some configuration lists as added as control or user defined, and the merges through
 * them stand in the file all the same. */
#include <stdio.h>
#include <string.h>

#include "engine/tokenizer/split_rules.h"
#include "engine/tokenizer/tokenizer_pieces.h"

/* "left right": the first space, apart from one that begins the text, parts the two. */
static bool split_merge(const struct tokenizer_string *merge, struct tokenizer_string halves[2])
{
    const char *space =
        merge->bytes > 2 ? memchr(merge->data + 1, ' ', merge->bytes - 2) : NULL;
    if (!space)
        return false;
    size_t left = (size_t)(space - merge->data);
    halves[0] = (struct tokenizer_string){merge->data, left};
    halves[1] = (struct tokenizer_string){space + 1, merge->bytes - left - 1};
    return true;
}

static enum status read_merge(const struct pieces_reading *reading, uint32_t rank,
                              struct text *joined)
{
    const struct vocab *vocab = &reading->tokenizer->vocab;
    struct tokenizer_string halves[2];
    uint32_t ids[2];
    enum status status = STATUS_OK;
    if (!split_merge(&reading->pieces->merges[rank], halves))
        return pieces_error(reading, STATUS_INVALID, "merges[%u] is not a pair of pieces", rank);
    joined->bytes = 0;
    for (unsigned i = 0; i < 2 && status == STATUS_OK; i++) {
        ids[i] = vocab_find(vocab, halves[i].data, halves[i].bytes);
        if (ids[i] == TOKEN_NONE)
            return pieces_error(reading, STATUS_INVALID,
                                "merges[%u] has \"%.*s\", which is not a token", rank,
                                (int)(halves[i].bytes < 64 ? halves[i].bytes : 64), halves[i].data);
        status = text_append(joined, halves[i].data, halves[i].bytes);
    }
    if (status != STATUS_OK)
        return status;
    uint32_t id = vocab_find(vocab, joined->data, joined->bytes);
    if (id == TOKEN_NONE)
        return pieces_error(reading, STATUS_INVALID,
                            "merges[%u] makes \"%.*s\", which is not a token", rank,
                            (int)(joined->bytes < 64 ? joined->bytes : 64), joined->data);
    bpe_add_merge(&reading->tokenizer->bpe, ids[0], ids[1], rank, id);
    return STATUS_OK;
}

static enum status read_merges(const struct pieces_reading *reading)
{
    const struct tokenizer_pieces *pieces = reading->pieces;
    struct text joined = {0};
    if (!pieces->merges)
        return pieces_error(reading, STATUS_INVALID, "merges is missing");
    enum status status =
        bpe_open(&reading->tokenizer->bpe, &reading->tokenizer->vocab, pieces->merge_count);
    for (uint32_t rank = 0; rank < pieces->merge_count && status == STATUS_OK; rank++)
        status = read_merge(reading, rank, &joined);
    text_reset(&joined);
    return status;
}

static enum status keep_notice(const struct pieces_reading *reading, const char *sentence)
{
    return asprintf(&reading->tokenizer->notice, "%s: %s", reading->file, sentence) < 0
               ? STATUS_NO_MEMORY
               : STATUS_OK;
}

enum status pieces_gpt2_read(const struct pieces_reading *reading)
{
    struct tokenizer *tokenizer = reading->tokenizer;
    const struct tokenizer_string *name = &reading->pieces->pre_tokenizer;
    bool named = name->data && !(name->bytes == 7 && memcmp(name->data, "default", 7) == 0);
    const struct split_rules *rules =
        named ? split_rules_find(name->data, name->bytes) : split_rules_find("default", 7);
    enum status status = STATUS_OK;
    if (!rules)
        return pieces_error(reading, STATUS_UNSUPPORTED, "pre \"%.*s\" is not supported",
                            (int)(name->bytes < 64 ? name->bytes : 64), name->data);
    if (!named)
        status = keep_notice(reading, "does not name its pre-tokenizer (tokenizer.ggml.pre); text "
                                      "is cut as GPT-2 does, which may not be how the model was "
                                      "trained");
    for (uint32_t id = 0; id < reading->pieces->token_count && status == STATUS_OK; id++)
        if (pieces_type(reading->pieces, id) == TOKENIZER_PIECE_BYTE)
            status = pieces_error(reading, STATUS_UNSUPPORTED,
                                  "token_type[%u] is 6 (a byte) in byte-level BPE", id);
    if (status == STATUS_OK)
        status = read_merges(reading);
    if (status == STATUS_OK)
        status = split_rules_apply(rules, &tokenizer->normalizer, &tokenizer->pretokenizer);
    tokenizer->bpe.ignore_merges = rules->ignore_merges;
    tokenizer->bos_by_model = rules->adds_bos;
    tokenizer->decoder.byte_level = true;
    return status;
}
