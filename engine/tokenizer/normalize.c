/* Each step reads the text and writes its result either in place or into a spare buffer that then
 * changes places with it.
 *
 * The Unicode forms use utf8proc's tables for decomposition and its composition pass, but order the
 * combining marks here: the library's own ordering exchanges neighbours, which is quadratic in the
 * length of a run of marks, and a client may send a megabyte of them. A counting sort over the 256
 * classes is linear and stable. */
#include "engine/tokenizer/normalize.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

enum status normalizer_add(struct normalizer *normalizer, struct normalize_step *step)
{
    size_t bytes = (normalizer->count + 1) * sizeof *normalizer->steps;
    struct normalize_step *steps = realloc(normalizer->steps, bytes);
    if (!steps) {
        pattern_close(&step->pattern);
        free(step->content);
        return STATUS_NO_MEMORY;
    }
    normalizer->steps = steps;
    steps[normalizer->count++] = *step;
    return STATUS_OK;
}

void normalizer_close(struct normalizer *normalizer)
{
    if (!normalizer)
        return;
    for (uint32_t i = 0; i < normalizer->count; i++) {
        pattern_close(&normalizer->steps[i].pattern);
        free(normalizer->steps[i].content);
    }
    free(normalizer->steps);
    *normalizer = (struct normalizer){0};
}

void normalize_scratch_reset(struct normalize_scratch *scratch)
{
    text_reset(&scratch->spare);
    free(scratch->chars);
    *scratch = (struct normalize_scratch){0};
}

/* What was written to the spare becomes the text. */
static void take_spare(struct normalize_scratch *scratch, struct text *text)
{
    char *data = text->data;
    size_t capacity = text->capacity;
    text->data = scratch->spare.data;
    text->bytes = scratch->spare.bytes;
    text->capacity = scratch->spare.capacity;
    scratch->spare.data = data;
    scratch->spare.capacity = capacity;
    scratch->spare.bytes = 0;
}

static void begin_spare(struct normalize_scratch *scratch, const struct text *text)
{
    scratch->spare.bytes = 0;
    scratch->spare.bytes_max = text->bytes_max;
}

static enum status chars_reserve(struct normalize_scratch *scratch, size_t count)
{
    if (count <= scratch->char_capacity)
        return STATUS_OK;
    size_t capacity = count + count / 2 + 64;
    int32_t *chars = realloc(scratch->chars, capacity * sizeof *chars);
    if (!chars)
        return STATUS_NO_MEMORY;
    scratch->chars = chars;
    scratch->char_capacity = capacity;
    return STATUS_OK;
}

static unsigned combining_class(int32_t c)
{
    return c < 0x300 ? 0 : (unsigned)utf8proc_get_property(c)->combining_class;
}

/* Canonical order of one run of marks (all of class > 0), stable. `spare` has room for count. */
static void order_marks(int32_t *marks, size_t count, int32_t *spare)
{
    size_t starts[257] = {0};
    bool ordered = true;
    for (size_t i = 0; i < count; i++) {
        starts[combining_class(marks[i]) + 1]++;
        ordered = ordered && (i == 0 || combining_class(marks[i - 1]) <= combining_class(marks[i]));
    }
    if (ordered)
        return;
    for (unsigned c = 1; c < 257; c++)
        starts[c] += starts[c - 1];
    for (size_t i = 0; i < count; i++)
        spare[starts[combining_class(marks[i])]++] = marks[i];
    memcpy(marks, spare, count * sizeof *marks);
}

/* Decomposes into scratch->chars; sets *count. */
static enum status decompose(struct normalize_scratch *scratch, const struct text *text,
                             utf8proc_option_t options, size_t *count)
{
    size_t used = 0;
    unsigned length;
    for (size_t at = 0; at < text->bytes; at += length) {
        int32_t c = (int32_t)text_char(text->data + at, &length);
        int boundary = 0;
        enum status status = chars_reserve(scratch, used + 32);
        if (status != STATUS_OK)
            return status;
        utf8proc_ssize_t n = utf8proc_decompose_char(
            c, scratch->chars + used, (utf8proc_ssize_t)(scratch->char_capacity - used), options,
            &boundary);
        if (n < 0 || (size_t)n > scratch->char_capacity - used) { /* no mapping is that long */
            scratch->chars[used] = c;
            n = 1;
        }
        used += (size_t)n;
    }
    *count = used;
    return STATUS_OK;
}

static enum status unicode_form(struct normalize_scratch *scratch, struct text *text,
                                enum normalize_kind kind)
{
    bool compose = kind == NORMALIZE_NFC || kind == NORMALIZE_NFKC;
    bool compat = kind == NORMALIZE_NFKC || kind == NORMALIZE_NFKD;
    bool plain = true; /* below U+0300 NFC changes nothing, in ASCII no form does */
    for (size_t i = 0; i < text->bytes && plain; i++)
        plain = (unsigned char)text->data[i] < (kind == NORMALIZE_NFC ? 0xCC : 0x80);
    if (plain)
        return STATUS_OK;

    utf8proc_option_t options = UTF8PROC_STABLE | (compat ? UTF8PROC_COMPAT : 0) |
                                (compose ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE);
    size_t count = 0;
    enum status status = decompose(scratch, text, options, &count);
    if (status == STATUS_OK) /* the second half is where the marks are sorted */
        status = chars_reserve(scratch, 2 * count);
    if (status != STATUS_OK)
        return status;
    int32_t *chars = scratch->chars;
    for (size_t i = 0; i < count;) {
        size_t end = i;
        while (end < count && combining_class(chars[end]))
            end++;
        if (end > i + 1)
            order_marks(chars + i, end - i, chars + count);
        i = end + 1;
    }
    if (compose) {
        utf8proc_ssize_t n =
            utf8proc_normalize_utf32(chars, (utf8proc_ssize_t)count, options);
        if (n >= 0)
            count = (size_t)n;
    }
    begin_spare(scratch, text);
    for (size_t i = 0; i < count && status == STATUS_OK; i++) {
        char bytes[4];
        status = text_append(&scratch->spare, bytes, text_put_char(bytes, (uint32_t)chars[i]));
    }
    if (status == STATUS_OK)
        take_spare(scratch, text);
    return status;
}

static enum status lowercase(struct normalize_scratch *scratch, struct text *text)
{
    enum status status = STATUS_OK;
    unsigned length;
    begin_spare(scratch, text);
    for (size_t at = 0; at < text->bytes && status == STATUS_OK; at += length) {
        uint32_t c = text_char(text->data + at, &length);
        char bytes[4];
        if (c == 0x130) /* the one character whose lower case is two */
            status = text_append(&scratch->spare, "i\xCC\x87", 3);
        else
            status = text_append(&scratch->spare, bytes,
                                 text_put_char(bytes, (uint32_t)utf8proc_tolower((int32_t)c)));
    }
    if (status == STATUS_OK)
        take_spare(scratch, text);
    return status;
}

static enum status prepend(struct normalize_scratch *scratch, const struct normalize_step *step,
                           struct text *text)
{
    if (text->bytes == 0)
        return STATUS_OK;
    begin_spare(scratch, text);
    enum status status = text_append(&scratch->spare, step->content, step->content_bytes);
    if (status == STATUS_OK)
        status = text_append(&scratch->spare, text->data, text->bytes);
    if (status == STATUS_OK)
        take_spare(scratch, text);
    return status;
}

static enum status replace(struct normalize_scratch *scratch, struct pattern_scratch *patterns,
                           const struct normalize_step *step, struct text *text,
                           struct error *error)
{
    if (text->bytes == 0)
        return STATUS_OK;
    struct span_list *finds = &scratch->spare.spans;
    finds->count = 0;
    enum status status =
        pattern_find_all(&step->pattern, patterns, text->data, text->bytes, finds, error);
    size_t at = 0;
    begin_spare(scratch, text);
    for (uint32_t i = 0; i < finds->count && status == STATUS_OK; i++) {
        status = text_append(&scratch->spare, text->data + at, finds->at[i].begin - at);
        if (status == STATUS_OK)
            status = text_append(&scratch->spare, step->content, step->content_bytes);
        at = finds->at[i].end;
    }
    if (status == STATUS_OK)
        status = text_append(&scratch->spare, text->data + at, text->bytes - at);
    if (status == STATUS_OK)
        take_spare(scratch, text);
    return status;
}

static void strip(const struct normalize_step *step, struct text *text)
{
    unsigned length;
    size_t begin = 0;
    if (step->strip_left)
        while (begin < text->bytes && text_is_space(text_char(text->data + begin, &length)))
            begin += length;
    if (step->strip_right)
        while (text->bytes > begin) {
            size_t last = text_last_char(text->data, text->bytes);
            if (!text_is_space(text_char(text->data + last, &length)))
                break;
            text->bytes = last;
        }
    text->bytes -= begin;
    if (begin)
        memmove(text->data, text->data + begin, text->bytes);
}

enum status normalizer_run(const struct normalizer *normalizer, struct normalize_scratch *scratch,
                           struct pattern_scratch *patterns, struct text *text,
                           struct error *error)
{
    enum status status = STATUS_OK;
    for (uint32_t i = 0; i < normalizer->count && status == STATUS_OK; i++) {
        const struct normalize_step *step = &normalizer->steps[i];
        switch (step->kind) {
        case NORMALIZE_NFC:
        case NORMALIZE_NFD:
        case NORMALIZE_NFKC:
        case NORMALIZE_NFKD:
            status = unicode_form(scratch, text, step->kind);
            break;
        case NORMALIZE_LOWERCASE:
            status = lowercase(scratch, text);
            break;
        case NORMALIZE_PREPEND:
            status = prepend(scratch, step, text);
            break;
        case NORMALIZE_REPLACE:
            status = replace(scratch, patterns, step, text, error);
            break;
        case NORMALIZE_STRIP:
            strip(step, text);
            break;
        }
    }
    return status;
}
