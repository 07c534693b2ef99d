/* Runs once per entry while a tokenizer opens; nothing here is on the path of a token. */
#include "engine/tokenizer/decoder.h"

#include <stdlib.h>
#include <string.h>

#include "engine/tokenizer/pretokenize.h"
#include "engine/tokenizer/text.h"

#define PIECE_BYTES_MAX ((size_t)1 << 20)

static char *copy(const char *data, size_t bytes)
{
    char *out = malloc(bytes + 1);
    if (out) {
        memcpy(out, data, bytes);
        out[bytes] = '\0';
    }
    return out;
}

enum status decoder_add_replace(struct decoder *decoder, const char *from, size_t from_bytes,
                                const char *to, size_t to_bytes)
{
    size_t bytes = (decoder->replace_count + 1) * sizeof *decoder->replaces;
    struct decoder_replace *replaces = realloc(decoder->replaces, bytes);
    if (!replaces)
        return STATUS_NO_MEMORY;
    decoder->replaces = replaces;
    struct decoder_replace *replace = &replaces[decoder->replace_count++];
    *replace = (struct decoder_replace){.from = copy(from, from_bytes),
                                        .to = copy(to, to_bytes),
                                        .from_bytes = from_bytes,
                                        .to_bytes = to_bytes};
    return replace->from && replace->to ? STATUS_OK : STATUS_NO_MEMORY;
}

void decoder_close(struct decoder *decoder)
{
    if (!decoder)
        return;
    for (uint32_t i = 0; i < decoder->replace_count; i++) {
        free(decoder->replaces[i].from);
        free(decoder->replaces[i].to);
    }
    free(decoder->replaces);
    *decoder = (struct decoder){0};
}

/* The bytes that an entry spells in the byte-level alphabet; the entry itself when one of its
 * characters is not of that alphabet (added tokens with spaces, say). */
static enum status spell_bytes(struct text *piece, struct text *out)
{
    unsigned length;
    enum status status = STATUS_OK;
    out->bytes = 0;
    for (size_t at = 0; at < piece->bytes && status == STATUS_OK; at += length) {
        int byte = pretokenize_char_byte(text_char(piece->data + at, &length));
        char c = (char)byte;
        if (byte < 0) {
            out->bytes = 0;
            return text_append(out, piece->data, piece->bytes);
        }
        status = text_append(out, &c, 1);
    }
    return status;
}

static enum status replace_all(const char *from, size_t from_bytes, const char *to, size_t to_bytes,
                               const struct text *piece, struct text *out)
{
    enum status status = STATUS_OK;
    out->bytes = 0;
    for (size_t at = 0; at < piece->bytes && status == STATUS_OK;) {
        size_t left = piece->bytes - at;
        const char *found = memmem(piece->data + at, left, from, from_bytes);
        size_t before = found ? (size_t)(found - (piece->data + at)) : left;
        status = text_append(out, piece->data + at, before);
        if (found && status == STATUS_OK)
            status = text_append(out, to, to_bytes);
        at += before + (found ? from_bytes : 0);
    }
    return status;
}

static void swap(struct text *a, struct text *b)
{
    struct text t = *a;
    *a = *b;
    *b = t;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* "<0xE2>" -> 0xE2, anything else -1. */
static int fallback_byte(const struct text *piece)
{
    const char *p = piece->data;
    if (piece->bytes != 6 || memcmp(p, "<0x", 3) != 0 || p[5] != '>')
        return -1;
    int high = hex_digit(p[3]), low = hex_digit(p[4]);
    return high < 0 || low < 0 ? -1 : 16 * high + low;
}

static enum status set_piece(const struct decoder *decoder, struct vocab *vocab, uint32_t id,
                             struct text *piece, struct text *spare)
{
    struct vocab_entry *entry = &vocab->entries[id];
    piece->bytes = 0;
    enum status status = text_append(piece, vocab_piece(vocab, entry), entry->piece_bytes);
    if (status == STATUS_OK && decoder->byte_level) {
        status = spell_bytes(piece, spare);
        swap(piece, spare);
    }
    for (uint32_t i = 0; i < decoder->replace_count && status == STATUS_OK; i++) {
        const struct decoder_replace *r = &decoder->replaces[i];
        status = replace_all(r->from, r->from_bytes, r->to, r->to_bytes, piece, spare);
        swap(piece, spare);
    }
    int byte = decoder->byte_fallback && status == STATUS_OK ? fallback_byte(piece) : -1;
    if (byte >= 0) {
        entry->flags |= VOCAB_BYTE;
        piece->data[0] = (char)byte;
        piece->bytes = 1;
    } else if (decoder->mark_bytes && status == STATUS_OK) {
        status = replace_all(decoder->mark, decoder->mark_bytes, " ", 1, piece, spare);
        swap(piece, spare);
    }
    return status == STATUS_OK ? vocab_set_piece(vocab, id, piece->data, piece->bytes) : status;
}

enum status decoder_set_pieces(const struct decoder *decoder, struct vocab *vocab)
{
    struct text piece = {.bytes_max = PIECE_BYTES_MAX}, spare = {.bytes_max = PIECE_BYTES_MAX};
    enum status status = text_reserve(&piece, 64);
    if (status == STATUS_OK)
        status = text_reserve(&spare, 64);
    for (uint32_t id = 0; id < vocab->count && status == STATUS_OK; id++)
        if (vocab->entries[id].flags)
            status = set_piece(decoder, vocab, id, &piece, &spare);
    text_reset(&piece);
    text_reset(&spare);
    return status;
}
