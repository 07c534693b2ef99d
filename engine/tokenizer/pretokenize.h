/* Pre-tokenisers: cut a text into the words that merging never crosses. A flat list of steps, run
 * in order over all words. Immutable after open; scratch belongs to the call. */
#ifndef MOERING_ENGINE_TOKENIZER_PRETOKENIZE_H
#define MOERING_ENGINE_TOKENIZER_PRETOKENIZE_H

#include "engine/tokenizer/pattern.h"

#ifdef __cplusplus
extern "C" {
#endif

enum pretokenize_kind {
    PRETOKENIZE_SPLIT,
    PRETOKENIZE_NUMBERS,     /* finds are characters of category N* */
    PRETOKENIZE_SPACES,      /* finds are White_Space characters */
    PRETOKENIZE_PUNCTUATION, /* finds are punctuation characters */
    PRETOKENIZE_WORDS,       /* finds are runs of word characters, or of neither word nor space */
    PRETOKENIZE_BYTE_LEVEL,  /* bytes become printable characters, one each */
    PRETOKENIZE_METASPACE,   /* spaces become a visible mark, perhaps one is put in front */
};

/* What becomes of the finds of a step. */
enum pretokenize_behavior {
    BEHAVIOR_REMOVED,
    BEHAVIOR_ISOLATED,
    BEHAVIOR_MERGED_WITH_PREVIOUS,
    BEHAVIOR_MERGED_WITH_NEXT,
    BEHAVIOR_CONTIGUOUS,
};

enum pretokenize_prepend { PREPEND_NEVER, PREPEND_FIRST, PREPEND_ALWAYS };

struct pretokenize_step {
    enum pretokenize_kind kind;
    enum pretokenize_behavior behavior;
    bool invert;                      /* what was not found counts as found */
    bool split;                       /* BYTE_LEVEL, METASPACE: cut by `pattern`, too */
    struct pattern pattern;           /* SPLIT; BYTE_LEVEL and METASPACE when `split` */
    enum pretokenize_prepend prepend; /* BYTE_LEVEL (a space), METASPACE (the mark) */
    char mark[4];                     /* METASPACE: one character */
    unsigned mark_bytes;
};

struct pretokenizer {
    struct pretokenize_step *steps;
    uint32_t count;
};

/* Appends a step, which the pre-tokeniser owns from now on (also when this fails). NO_MEMORY. */
enum status pretokenizer_add(struct pretokenizer *pretokenizer, struct pretokenize_step *step);
void pretokenizer_close(struct pretokenizer *pretokenizer);

/* The expression by which ByteLevel cuts when the file says use_regex. */
extern const char pretokenize_byte_level_regex[];
/* Writes the one or two bytes of the printable character that stands for `byte`. */
unsigned pretokenize_byte_char(unsigned char byte, char out[2]);
/* The byte that character `c` stands for, or -1. */
int pretokenize_char_byte(uint32_t c);

struct pretokenize_scratch {
    struct text spare;
    struct span_list finds, pieces;
};
void pretokenize_scratch_reset(struct pretokenize_scratch *scratch);

/* Cuts `text`, whose spans are set by this call (it may rewrite the bytes too). `first` says that
 * the text is where the whole input begins. Spans are never empty, in order, and do not overlap.
 * Errors as normalizer_run. */
enum status pretokenizer_run(const struct pretokenizer *pretokenizer,
                             struct pretokenize_scratch *scratch, struct pattern_scratch *patterns,
                             struct text *text, bool first, struct error *error);

#ifdef __cplusplus
}
#endif
#endif
