/* How ids become text: what the file's decoder says, boiled down to a few switches.
 *
 * Everything that concerns one entry alone (the byte-level alphabet, Replace, byte tokens) is
 * applied once at open and kept as the entry's piece; what remains for the detokenizer is joining
 * bytes into characters and the rule about the first space. */
#ifndef MOERING_ENGINE_TOKENIZER_DECODER_H
#define MOERING_ENGINE_TOKENIZER_DECODER_H

#include "engine/tokenizer/vocab.h"

#ifdef __cplusplus
extern "C" {
#endif

struct decoder_replace {
    char *from, *to; /* owned; `from` is not empty */
    size_t from_bytes, to_bytes;
};

struct decoder {
    bool byte_level;    /* pieces are bytes; anything cut short is one U+FFFD */
    bool byte_fallback; /* "<0xE2>" is a byte; each byte that fits nowhere is one U+FFFD */
    struct decoder_replace *replaces; /* [replace_count] applied to each entry in order */
    uint32_t replace_count;
    char mark[4]; /* Metaspace: this character is a space ... */
    unsigned mark_bytes;
    bool drop_first_marks; /* ... and nothing in the first token */
    char strip[4]; /* Strip: this character, up to strip_count times, is cut from the start */
    unsigned strip_bytes, strip_count;
};

/* Copies both strings. NO_MEMORY. */
enum status decoder_add_replace(struct decoder *decoder, const char *from, size_t from_bytes,
                                const char *to, size_t to_bytes);
void decoder_close(struct decoder *decoder);
/* Gives every entry of the vocabulary its piece. NO_MEMORY, FULL when a Replace makes an entry
 * longer than 1 MiB. */
enum status decoder_set_pieces(const struct decoder *decoder, struct vocab *vocab);

#ifdef __cplusplus
}
#endif
#endif
