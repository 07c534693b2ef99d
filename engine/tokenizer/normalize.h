/* Normalisers: text in, text out, before it is cut. A flat list of steps, run in order.
 * Immutable after open; scratch belongs to the call. */
#ifndef MOERING_ENGINE_TOKENIZER_NORMALIZE_H
#define MOERING_ENGINE_TOKENIZER_NORMALIZE_H

#include "engine/tokenizer/pattern.h"

#ifdef __cplusplus
extern "C" {
#endif

enum normalize_kind {
    NORMALIZE_NFC,
    NORMALIZE_NFD,
    NORMALIZE_NFKC,
    NORMALIZE_NFKD,
    NORMALIZE_LOWERCASE,
    NORMALIZE_PREPEND,
    NORMALIZE_REPLACE,
    NORMALIZE_STRIP,
};

struct normalize_step {
    enum normalize_kind kind;
    struct pattern pattern;            /* REPLACE */
    char *content;                     /* REPLACE, PREPEND: [content_bytes], owned */
    size_t content_bytes;
    bool strip_left, strip_right;      /* STRIP */
};

struct normalizer {
    struct normalize_step *steps;
    uint32_t count;
};

/* Appends a step, which the normaliser owns from now on (also when this fails). NO_MEMORY. */
enum status normalizer_add(struct normalizer *normalizer, struct normalize_step *step);
void normalizer_close(struct normalizer *normalizer);

struct normalize_scratch {
    struct text spare;
    int32_t *chars;
    size_t char_capacity;
};
void normalize_scratch_reset(struct normalize_scratch *scratch);

/* Replaces the bytes of `text` (its spans are not looked at). FULL when the text would outgrow its
 * bytes_max; else as pattern_find_all. */
enum status normalizer_run(const struct normalizer *normalizer, struct normalize_scratch *scratch,
                           struct pattern_scratch *patterns, struct text *text,
                           struct error *error);

#ifdef __cplusplus
}
#endif
#endif
