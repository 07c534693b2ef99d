/* The set is a sorted array. From a position in the text the tokens that may begin there are a
 * range of it, found at once by the first byte and narrowed by binary search byte by byte; the
 * longest that fits is the last one seen complete. No trie to build, and a position where no token
 * begins costs one look at a table. Linear in the text times the longest token, at worst. */
#include "engine/tokenizer/added_tokens.h"

#include <stdlib.h>
#include <string.h>

#include "memory/base/check.h"

void added_tokens_close(struct added_tokens *set)
{
    if (!set)
        return;
    free(set->tokens);
    text_reset(&set->strings);
    *set = (struct added_tokens){0};
}

void added_segments_reset(struct added_segments *segments)
{
    free(segments->at);
    *segments = (struct added_segments){0};
}

enum status added_tokens_add(struct added_tokens *set, const struct added_token *token,
                             const char *text, size_t bytes)
{
    CHECK(bytes > 0);
    if (set->count == set->capacity) {
        uint32_t capacity = set->capacity ? 2 * set->capacity : 32;
        struct added_token *tokens = realloc(set->tokens, capacity * sizeof *tokens);
        if (!tokens)
            return STATUS_NO_MEMORY;
        set->tokens = tokens;
        set->capacity = capacity;
    }
    struct added_token added = *token;
    added.text_at = (uint32_t)set->strings.bytes;
    added.text_bytes = (uint32_t)bytes;
    enum status status = text_append(&set->strings, text, bytes);
    if (status == STATUS_OK)
        set->tokens[set->count++] = added;
    return status == STATUS_FULL ? STATUS_NO_MEMORY : status;
}

static int compare_tokens(const void *a, const void *b, void *strings)
{
    const struct added_token *x = a, *y = b;
    const struct text *text = strings;
    uint32_t n = x->text_bytes < y->text_bytes ? x->text_bytes : y->text_bytes;
    int order = memcmp(text->data + x->text_at, text->data + y->text_at, n);
    if (order == 0 && x->text_bytes != y->text_bytes)
        order = x->text_bytes < y->text_bytes ? -1 : 1;
    if (order == 0 && x->id != y->id)
        order = x->id < y->id ? -1 : 1;
    return order;
}

static unsigned char byte_of(const struct added_tokens *set, uint32_t i, uint32_t depth)
{
    return (unsigned char)set->strings.data[set->tokens[i].text_at + depth];
}

static bool same_text(const struct added_tokens *set, uint32_t i, uint32_t j)
{
    const struct added_token *a = &set->tokens[i], *b = &set->tokens[j];
    return a->text_bytes == b->text_bytes &&
           memcmp(set->strings.data + a->text_at, set->strings.data + b->text_at,
                  a->text_bytes) == 0;
}

void added_tokens_build(struct added_tokens *set)
{
    uint32_t kept = 0, next = 0;
    if (set->count)
        qsort_r(set->tokens, set->count, sizeof *set->tokens, compare_tokens, &set->strings);
    for (uint32_t i = 0; i < set->count; i++) {
        if (kept && same_text(set, kept - 1, i))
            continue;
        set->tokens[kept++] = set->tokens[i];
    }
    set->count = kept;
    for (unsigned byte = 0; byte <= 256; byte++) {
        while (next < kept && byte_of(set, next, 0) < byte)
            next++;
        set->first[byte] = next;
    }
}

/* The first token of [low, high), which share `depth` bytes, whose next byte is at least `byte`;
 * tokens that end at `depth` come before all others. */
static uint32_t narrow(const struct added_tokens *set, uint32_t low, uint32_t high, uint32_t depth,
                       unsigned byte)
{
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (set->tokens[middle].text_bytes <= depth || byte_of(set, middle, depth) < byte)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The longest token that the text begins with, or NULL. */
static const struct added_token *longest_at(const struct added_tokens *set, const char *text,
                                            size_t bytes)
{
    const struct added_token *best = NULL;
    uint32_t low = set->first[(unsigned char)text[0]];
    uint32_t high = set->first[(unsigned char)text[0] + 1];
    for (uint32_t depth = 1; low < high; depth++) {
        if (set->tokens[low].text_bytes == depth)
            best = &set->tokens[low];
        if (depth == bytes)
            break;
        unsigned byte = (unsigned char)text[depth];
        low = narrow(set, low, high, depth, byte);
        high = narrow(set, low, high, depth, byte + 1);
    }
    return best;
}

static bool word_touches(const char *text, size_t bytes, size_t begin, size_t end)
{
    unsigned length;
    if (begin > 0 && text_is_word(text_char(text + text_last_char(text, begin), &length)))
        return true;
    return end < bytes && text_is_word(text_char(text + end, &length));
}

static size_t spaces_begin(const char *text, size_t end, size_t stop)
{
    unsigned length;
    while (end > stop) {
        size_t last = text_last_char(text, end);
        if (!text_is_space(text_char(text + last, &length)))
            break;
        end = last;
    }
    return end > stop ? end : stop;
}

static size_t spaces_end(const char *text, size_t bytes, size_t begin)
{
    unsigned length;
    while (begin < bytes && text_is_space(text_char(text + begin, &length)))
        begin += length;
    return begin;
}

static enum status push(struct added_segments *out, size_t begin, size_t end, uint32_t id)
{
    if (out->count == out->capacity) {
        if (out->capacity > UINT32_MAX / 2)
            return STATUS_NO_MEMORY;
        uint32_t capacity = out->capacity ? 2 * out->capacity : 16;
        struct added_segment *at = realloc(out->at, capacity * sizeof *at);
        if (!at)
            return STATUS_NO_MEMORY;
        out->at = at;
        out->capacity = capacity;
    }
    out->at[out->count++] = (struct added_segment){(uint32_t)begin, (uint32_t)end, id};
    return STATUS_OK;
}

/* `done` is where the segments so far end, `space` how far right the spaces are known to reach (so
 * that a run of them is walked once). The search goes on behind the token itself, not behind the
 * spaces it took: that is the reference's rule, visible when spaces are tokens too. */
enum status added_tokens_split(const struct added_tokens *set, const char *text, size_t bytes,
                               bool parse_special, struct added_segments *out)
{
    size_t done = 0, space = 0;
    enum status status = STATUS_OK;
    for (size_t at = 0; set->count && at < bytes && status == STATUS_OK;) {
        const struct added_token *token = longest_at(set, text + at, bytes - at);
        if (!token) {
            at++; /* tokens begin with a whole character: a middle byte matches none */
            continue;
        }
        size_t begin = at, end = at + token->text_bytes;
        at = end;
        if ((token->special && !parse_special) ||
            (token->single_word && word_touches(text, bytes, begin, end)))
            continue;
        if (token->lstrip)
            begin = spaces_begin(text, begin, done < begin ? done : begin);
        if (token->rstrip) {
            if (space < end || space > bytes)
                space = spaces_end(text, bytes, end);
            end = space;
        }
        if (done < begin)
            status = push(out, done, begin, TOKEN_NONE);
        if (status == STATUS_OK)
            status = push(out, begin, end, token->id);
        done = end;
    }
    if (done < bytes && status == STATUS_OK)
        status = push(out, done, bytes, TOKEN_NONE);
    return status;
}
