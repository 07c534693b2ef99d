/* Joins pieces into characters, one id at a time.
 *
 * Bytes come from byte-level pieces or from byte tokens; they wait in `held` while they are the
 * beginning of a character, at most three of them. A byte that cannot go on the character begun
 * ends it: the wrong beginning becomes U+FFFD (one for the whole beginning in byte-level
 * vocabularies, one for each byte in byte-fallback ones), and the byte is looked at afresh.
 *
 * Invariant: held_bytes <= 3, and what is held is a proper prefix of some UTF-8 character. */
#include "engine/tokenizer/detokenize.h"

#include <stdlib.h>
#include <string.h>

#include "engine/tokenizer/tokenizer_parts.h"
#include "memory/base/check.h"

#define REPLACEMENT "\xEF\xBF\xBD" /* U+FFFD */
#define REPLACEMENT_BYTES 3
#define HELD_BYTES_MAX 3 /* of a character of four */

void detokenizer_init(struct detokenizer *d, const struct tokenizer *tokenizer, bool skip_special)
{
    *d = (struct detokenizer){.tokenizer = tokenizer, .skip_special = skip_special};
}

size_t detokenizer_room(const struct tokenizer *tokenizer)
{
    return REPLACEMENT_BYTES * (tokenizer->vocab.piece_bytes_max + HELD_BYTES_MAX);
}

/* Bytes of the character that `lead` begins, 0 if it begins none. */
static unsigned char_bytes(unsigned char lead)
{
    if (lead < 0x80)
        return 1;
    if (lead < 0xC2 || lead > 0xF4)
        return 0;
    return lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
}

/* Whether `byte` may follow what is held. The second byte is where overlong forms, surrogates and
 * what lies beyond U+10FFFF are ruled out. */
static bool may_follow(const struct detokenizer *d, unsigned char byte)
{
    unsigned char low = 0x80, high = 0xBF;
    if (d->held_bytes == 1) {
        switch (d->held[0]) {
        case 0xE0:
            low = 0xA0;
            break;
        case 0xED:
            high = 0x9F;
            break;
        case 0xF0:
            low = 0x90;
            break;
        case 0xF4:
            high = 0x8F;
            break;
        }
    }
    return byte >= low && byte <= high;
}

/* Gives up on the character begun. */
static size_t drop_held(struct detokenizer *d, char *out)
{
    unsigned times = d->tokenizer->decoder.byte_level ? d->held_bytes > 0 : d->held_bytes;
    for (unsigned i = 0; i < times; i++)
        memcpy(out + i * REPLACEMENT_BYTES, REPLACEMENT, REPLACEMENT_BYTES);
    d->held_bytes = 0;
    return times * REPLACEMENT_BYTES;
}

static size_t push_byte(struct detokenizer *d, unsigned char byte, char *out)
{
    size_t n = 0;
    if (d->held_bytes && !may_follow(d, byte))
        n = drop_held(d, out);
    if (!d->held_bytes && char_bytes(byte) == 0) {
        memcpy(out + n, REPLACEMENT, REPLACEMENT_BYTES);
        return n + REPLACEMENT_BYTES;
    }
    d->held[d->held_bytes++] = byte;
    if (d->held_bytes < char_bytes(d->held[0]))
        return n;
    memcpy(out + n, d->held, d->held_bytes);
    n += d->held_bytes;
    d->held_bytes = 0;
    return n;
}

/* The first token of a Metaspace decoder: its marks are no spaces but nothing. */
static size_t push_without_marks(const struct decoder *decoder, const char *text, size_t bytes,
                                 char *out)
{
    size_t n = 0;
    for (size_t at = 0; at < bytes;) {
        if (bytes - at >= decoder->mark_bytes &&
            memcmp(text + at, decoder->mark, decoder->mark_bytes) == 0)
            at += decoder->mark_bytes;
        else
            out[n++] = text[at++];
    }
    return n;
}

/* Cuts the decoder's Strip characters from the very beginning of the whole text. */
static size_t strip_start(struct detokenizer *d, char *out, size_t bytes)
{
    const struct decoder *decoder = &d->tokenizer->decoder;
    size_t cut = 0;
    while (d->stripped < decoder->strip_count && bytes - cut >= decoder->strip_bytes &&
           memcmp(out + cut, decoder->strip, decoder->strip_bytes) == 0) {
        cut += decoder->strip_bytes;
        d->stripped++;
    }
    if (cut < bytes) /* something else came */
        d->stripped = decoder->strip_count;
    memmove(out, out + cut, bytes - cut);
    return bytes - cut;
}

static size_t finish_push(struct detokenizer *d, char *out, size_t bytes)
{
    d->started = true;
    return bytes && d->stripped < d->tokenizer->decoder.strip_count ? strip_start(d, out, bytes)
                                                                    : bytes;
}

void detokenizer_continue(struct detokenizer *d)
{
    d->started = true;
    d->stripped = d->tokenizer->decoder.strip_count;
}

size_t detokenizer_push(struct detokenizer *d, uint32_t id, char *out, size_t out_bytes)
{
    const struct vocab *vocab = &d->tokenizer->vocab;
    const struct decoder *decoder = &d->tokenizer->decoder;
    const struct vocab_entry *entry = vocab_at(vocab, id);
    CHECK(out_bytes >= detokenizer_room(d->tokenizer));
    if (!entry || (d->skip_special && entry->flags & VOCAB_SPECIAL))
        return 0;
    const char *piece = vocab_piece(vocab, entry);
    size_t n = 0;
    if (decoder->byte_level || entry->flags & VOCAB_BYTE) {
        for (uint32_t i = 0; i < entry->piece_bytes; i++)
            n += push_byte(d, (unsigned char)piece[i], out + n);
        return finish_push(d, out, n);
    }
    n = drop_held(d, out);
    if (decoder->drop_first_marks && !d->started) {
        n += push_without_marks(decoder, vocab_text(vocab, entry), entry->text_bytes, out + n);
    } else {
        memcpy(out + n, piece, entry->piece_bytes);
        n += entry->piece_bytes;
    }
    return finish_push(d, out, n);
}

size_t detokenizer_finish(struct detokenizer *d, char *out, size_t out_bytes)
{
    CHECK(out_bytes >= detokenizer_room(d->tokenizer));
    return finish_push(d, out, drop_held(d, out));
}

char *detokenize(const struct tokenizer *tokenizer, const uint32_t *ids, size_t count,
                 bool skip_special, size_t *bytes)
{
    size_t room = detokenizer_room(tokenizer);
    size_t capacity = 4 * room + 8 * count, used = 0;
    char *text = malloc(capacity);
    struct detokenizer d;
    detokenizer_init(&d, tokenizer, skip_special);
    for (size_t i = 0; text && i <= count; i++) {
        if (capacity - used < room) {
            capacity = 2 * capacity + room;
            char *grown = realloc(text, capacity);
            if (!grown)
                free(text);
            text = grown;
            if (!text)
                break;
        }
        used += i < count ? detokenizer_push(&d, ids[i], text + used, capacity - used)
                          : detokenizer_finish(&d, text + used, capacity - used);
    }
    *bytes = used;
    return text;
}
