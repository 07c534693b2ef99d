/* Streaming detokenizer: ids in, UTF-8 out, never half a character.
 *
 * Bytes that do not yet form a character wait (at most 3); bytes that never will become U+FFFD, as
 * the reference decoders do. One per sequence, one thread, allocates nothing.
 *
 * What comes out, put together, is what decoding the whole list at once gives, with one exception:
 * in byte-fallback vocabularies the reference turns every byte of a run of byte tokens into U+FFFD
 * when the run as a whole is not UTF-8. A stream has sent the run's good characters by then, and
 * replaces only the bytes that fit nowhere. No cleaning of spaces before punctuation is done
 * (clean_up_tokenization_spaces): it would rewrite text that the model wrote. */
#ifndef MOERING_ENGINE_TOKENIZER_DETOKENIZE_H
#define MOERING_ENGINE_TOKENIZER_DETOKENIZE_H

#include "engine/tokenizer/tokenizer.h"

#ifdef __cplusplus
extern "C" {
#endif

struct detokenizer {
    const struct tokenizer *tokenizer;
    unsigned char held[4];  /* the start of a character whose end has not come */
    unsigned held_bytes;
    bool started;           /* some text came out: the leading-space rule no longer applies */
    unsigned stripped;      /* characters that the rule has cut so far */
    bool skip_special;
};

void detokenizer_init(struct detokenizer *d, const struct tokenizer *tokenizer, bool skip_special);
/* After init: what comes continues a text, so the rules about the first space of one do not apply:
 * the space before a prompt's next word is part of the answer. */
void detokenizer_continue(struct detokenizer *d);
/* Writes the text that `id` completes into `out`; returns its length in bytes (0: nothing yet). The
 * text is whole characters. `out_bytes` must be at least detokenizer_room(tokenizer). */
size_t detokenizer_push(struct detokenizer *d, uint32_t id, char *out, size_t out_bytes);
/* At the end of a sequence: U+FFFD for a character that never ended. */
size_t detokenizer_finish(struct detokenizer *d, char *out, size_t out_bytes);
/* The text of a whole list; malloc'ed, not NUL-terminated. NULL: out of memory. */
char *detokenize(const struct tokenizer *tokenizer, const uint32_t *ids, size_t count,
                 bool skip_special, size_t *bytes);
/* The most bytes that one push can write for any id of this tokenizer. */
size_t detokenizer_room(const struct tokenizer *tokenizer);

#ifdef __cplusplus
}
#endif
#endif
