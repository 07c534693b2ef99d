/* Every cutting step is the same three moves on each word: find (by pattern or by character class),
 * complete the finds with what lies between them, then keep, drop or join the pieces by the step's
 * behaviour. Steps that rewrite the text (byte level, metaspace) first write every word anew into
 * the spare buffer, then cut. Loops only; the cost is linear in the text apart from what an
 * expression itself needs. */
#include "engine/tokenizer/pretokenize.h"

#include <stdlib.h>
#include <string.h>

const char pretokenize_byte_level_regex[] =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

enum status pretokenizer_add(struct pretokenizer *pretokenizer, struct pretokenize_step *step)
{
    size_t bytes = (pretokenizer->count + 1) * sizeof *pretokenizer->steps;
    struct pretokenize_step *steps = realloc(pretokenizer->steps, bytes);
    if (!steps) {
        pattern_close(&step->pattern);
        return STATUS_NO_MEMORY;
    }
    pretokenizer->steps = steps;
    steps[pretokenizer->count++] = *step;
    return STATUS_OK;
}

void pretokenizer_close(struct pretokenizer *pretokenizer)
{
    if (!pretokenizer)
        return;
    for (uint32_t i = 0; i < pretokenizer->count; i++)
        pattern_close(&pretokenizer->steps[i].pattern);
    free(pretokenizer->steps);
    *pretokenizer = (struct pretokenizer){0};
}

void pretokenize_scratch_reset(struct pretokenize_scratch *scratch)
{
    text_reset(&scratch->spare);
    span_list_reset(&scratch->finds);
    span_list_reset(&scratch->pieces);
}

/* The byte-level alphabet: printable Latin-1 stands for itself, the other 68 bytes are numbered
 * from U+0100 in order: 0x00-0x20, 0x7F-0xA0, 0xAD. */
static uint32_t byte_to_char(unsigned char byte)
{
    if (byte <= 0x20)
        return 0x100u + byte;
    if (byte >= 0x7F && byte <= 0xA0)
        return 0x100u + 0x21 + (byte - 0x7Fu);
    if (byte == 0xAD)
        return 0x100u + 0x21 + 0x22;
    return byte;
}

unsigned pretokenize_byte_char(unsigned char byte, char out[2])
{
    uint32_t c = byte_to_char(byte);
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    out[0] = (char)(0xC0 | c >> 6);
    out[1] = (char)(0x80 | (c & 0x3F));
    return 2;
}

int pretokenize_char_byte(uint32_t c)
{
    if (c < 0x100)
        return byte_to_char((unsigned char)c) == c ? (int)c : -1;
    c -= 0x100;
    if (c <= 0x20)
        return (int)c;
    if (c < 0x21 + 0x22)
        return (int)(c - 0x21 + 0x7F);
    return c == 0x21 + 0x22 ? 0xAD : -1;
}

static enum status find_chars(bool (*is)(uint32_t), const char *text, size_t bytes,
                              struct span_list *finds)
{
    enum status status = STATUS_OK;
    unsigned length;
    for (size_t at = 0; at < bytes && status == STATUS_OK; at += length)
        if (is(text_char(text + at, &length)))
            status = span_list_push(finds, at, at + length, true);
    return status;
}

static enum status find_words(const char *text, size_t bytes, struct span_list *finds)
{
    enum { SPACE, WORD, OTHER } run = SPACE, now;
    size_t begin = 0, at = 0;
    enum status status = STATUS_OK;
    for (unsigned length = 0; at <= bytes && status == STATUS_OK; at += length) {
        if (at == bytes) {
            now = SPACE;
            length = 1; /* leaves the loop */
        } else {
            uint32_t c = text_char(text + at, &length);
            now = text_is_word(c) ? WORD : text_is_space(c) ? SPACE : OTHER;
        }
        if (now != run) {
            if (run != SPACE)
                status = span_list_push(finds, begin, at, true);
            begin = at;
            run = now;
        }
    }
    return status;
}

static enum status find(const struct pretokenize_step *step, struct pattern_scratch *patterns,
                        const char *text, size_t bytes, struct span_list *finds,
                        struct error *error)
{
    switch (step->kind) {
    case PRETOKENIZE_NUMBERS:
        return find_chars(text_is_number, text, bytes, finds);
    case PRETOKENIZE_SPACES:
        return find_chars(text_is_space, text, bytes, finds);
    case PRETOKENIZE_PUNCTUATION:
        return find_chars(text_is_punctuation, text, bytes, finds);
    case PRETOKENIZE_WORDS:
        return find_words(text, bytes, finds);
    default:
        return pattern_find_all(&step->pattern, patterns, text, bytes, finds, error);
    }
}

/* Finds and the gaps between them, covering [0, bytes); `matched` as the step sees it. */
static enum status complete(const struct span_list *finds, size_t bytes, bool invert,
                            struct span_list *pieces)
{
    size_t at = 0;
    enum status status = STATUS_OK;
    for (uint32_t i = 0; i < finds->count && status == STATUS_OK; i++) {
        const struct span *found = &finds->at[i];
        if (found->begin != at)
            status = span_list_push(pieces, at, found->begin, invert);
        if (status == STATUS_OK)
            status = span_list_push(pieces, found->begin, found->end, !invert);
        at = found->end;
    }
    if (at != bytes && status == STATUS_OK)
        status = span_list_push(pieces, at, bytes, invert);
    return status;
}

/* Whether piece i continues the word of its neighbour before it. Empty finds take part in the
 * decision, as in the reference, and vanish afterwards. */
static bool joins_previous(const struct span_list *pieces, uint32_t i,
                           enum pretokenize_behavior behavior)
{
    if (i == 0)
        return false;
    const struct span *before = &pieces->at[i - 1], *piece = &pieces->at[i];
    switch (behavior) {
    case BEHAVIOR_MERGED_WITH_PREVIOUS:
        return piece->matched && !before->matched;
    case BEHAVIOR_MERGED_WITH_NEXT:
        return before->matched && !piece->matched;
    case BEHAVIOR_CONTIGUOUS:
        return piece->matched == before->matched;
    default:
        return false;
    }
}

static enum status keep_pieces(const struct span_list *pieces, enum pretokenize_behavior behavior,
                               size_t base, struct span_list *out)
{
    enum status status = STATUS_OK;
    for (uint32_t i = 0; i < pieces->count && status == STATUS_OK;) {
        size_t begin = pieces->at[i].begin, end = pieces->at[i].end;
        bool removed = behavior == BEHAVIOR_REMOVED && pieces->at[i].matched;
        while (++i < pieces->count && joins_previous(pieces, i, behavior))
            end = pieces->at[i].end;
        if (!removed && end > begin)
            status = span_list_push(out, base + begin, base + end, false);
    }
    return status;
}

/* Cuts every span of the text; the new spans replace the old. */
static enum status cut(const struct pretokenize_step *step, struct pretokenize_scratch *scratch,
                       struct pattern_scratch *patterns, struct text *text, struct error *error)
{
    struct span_list *out = &scratch->spare.spans;
    enum status status = STATUS_OK;
    out->count = 0;
    for (uint32_t i = 0; i < text->spans.count && status == STATUS_OK; i++) {
        size_t begin = text->spans.at[i].begin, bytes = text->spans.at[i].end - begin;
        scratch->finds.count = scratch->pieces.count = 0;
        status = find(step, patterns, text->data + begin, bytes, &scratch->finds, error);
        if (status == STATUS_OK)
            status = complete(&scratch->finds, bytes, step->invert, &scratch->pieces);
        if (status == STATUS_OK)
            status = keep_pieces(&scratch->pieces, step->behavior, begin, out);
    }
    struct span_list old = text->spans;
    text->spans = *out;
    *out = old;
    return status;
}

static void take_spare(struct pretokenize_scratch *scratch, struct text *text)
{
    struct text old = *text;
    *text = scratch->spare;
    scratch->spare = old;
}

static enum status begin_spare(struct pretokenize_scratch *scratch, const struct text *text)
{
    scratch->spare.bytes = 0;
    scratch->spare.spans.count = 0;
    scratch->spare.bytes_max = text->bytes_max;
    return text_reserve(&scratch->spare, text->bytes);
}

/* A space in front of every word that lacks one. */
static enum status prepend_spaces(struct pretokenize_scratch *scratch, struct text *text)
{
    enum status status = begin_spare(scratch, text);
    for (uint32_t i = 0; i < text->spans.count && status == STATUS_OK; i++) {
        const struct span *span = &text->spans.at[i];
        size_t begin = scratch->spare.bytes;
        if (text->data[span->begin] != ' ')
            status = text_append(&scratch->spare, " ", 1);
        if (status == STATUS_OK)
            status =
                text_append(&scratch->spare, text->data + span->begin, span->end - span->begin);
        if (status == STATUS_OK)
            status = span_list_push(&scratch->spare.spans, begin, scratch->spare.bytes, false);
    }
    if (status == STATUS_OK)
        take_spare(scratch, text);
    return status;
}

static enum status bytes_to_chars(struct pretokenize_scratch *scratch, struct text *text)
{
    enum status status = begin_spare(scratch, text);
    struct text *spare = &scratch->spare;
    for (uint32_t i = 0; i < text->spans.count && status == STATUS_OK; i++) {
        const struct span *span = &text->spans.at[i];
        size_t begin = spare->bytes;
        status = text_reserve(spare, 2 * (size_t)(span->end - span->begin));
        for (uint32_t at = span->begin; at < span->end && status == STATUS_OK; at++)
            spare->bytes += pretokenize_byte_char((unsigned char)text->data[at],
                                                  spare->data + spare->bytes);
        if (status == STATUS_OK)
            status = span_list_push(&spare->spans, begin, spare->bytes, false);
    }
    if (status == STATUS_OK)
        take_spare(scratch, text);
    return status;
}

/* Spaces become marks; a word that does not begin with one may get one. */
static enum status spaces_to_marks(const struct pretokenize_step *step,
                                   struct pretokenize_scratch *scratch, struct text *text,
                                   bool first)
{
    enum status status = begin_spare(scratch, text);
    struct text *spare = &scratch->spare;
    for (uint32_t i = 0; i < text->spans.count && status == STATUS_OK; i++) {
        const struct span *span = &text->spans.at[i];
        size_t begin = spare->bytes;
        const char *word = text->data + span->begin;
        size_t bytes = span->end - span->begin;
        bool marked = word[0] == ' ' || (bytes >= step->mark_bytes &&
                                         memcmp(word, step->mark, step->mark_bytes) == 0);
        if (!marked && (step->prepend == PREPEND_ALWAYS ||
                        (step->prepend == PREPEND_FIRST && first && span->begin == 0)))
            status = text_append(spare, step->mark, step->mark_bytes);
        for (size_t at = 0; at < bytes && status == STATUS_OK; at++)
            status = word[at] == ' ' ? text_append(spare, step->mark, step->mark_bytes)
                                     : text_append(spare, word + at, 1);
        if (status == STATUS_OK)
            status = span_list_push(&spare->spans, begin, spare->bytes, false);
    }
    if (status == STATUS_OK)
        take_spare(scratch, text);
    return status;
}

static enum status run_step(const struct pretokenize_step *step,
                            struct pretokenize_scratch *scratch, struct pattern_scratch *patterns,
                            struct text *text, bool first, struct error *error)
{
    enum status status = STATUS_OK;
    switch (step->kind) {
    case PRETOKENIZE_BYTE_LEVEL:
        if (step->prepend == PREPEND_ALWAYS)
            status = prepend_spaces(scratch, text);
        if (status == STATUS_OK && step->split)
            status = cut(step, scratch, patterns, text, error);
        return status == STATUS_OK ? bytes_to_chars(scratch, text) : status;
    case PRETOKENIZE_METASPACE:
        status = spaces_to_marks(step, scratch, text, first);
        if (status == STATUS_OK && step->split)
            status = cut(step, scratch, patterns, text, error);
        return status;
    default:
        return cut(step, scratch, patterns, text, error);
    }
}

enum status pretokenizer_run(const struct pretokenizer *pretokenizer,
                             struct pretokenize_scratch *scratch, struct pattern_scratch *patterns,
                             struct text *text, bool first, struct error *error)
{
    text->spans.count = 0;
    enum status status =
        text->bytes ? span_list_push(&text->spans, 0, text->bytes, false) : STATUS_OK;
    for (uint32_t i = 0; i < pretokenizer->count && status == STATUS_OK; i++)
        status = run_step(&pretokenizer->steps[i], scratch, patterns, text, first, error);
    return status;
}
