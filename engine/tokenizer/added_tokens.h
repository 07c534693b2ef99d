/* Added tokens: entries recognised in the text as a whole, before anything is cut or merged.
 *
 * Two sets: one looks at the raw text, one at the normalised text. Each finds the leftmost and
 * there the longest token. Filled while a tokenizer opens, immutable afterwards. */
#ifndef MOERING_ENGINE_TOKENIZER_ADDED_TOKENS_H
#define MOERING_ENGINE_TOKENIZER_ADDED_TOKENS_H

#include "engine/tokenizer/text.h"
#include "engine/tokenizer/tokenizer.h"

#ifdef __cplusplus
extern "C" {
#endif

struct added_token {
    uint32_t id;
    uint32_t text_at, text_bytes; /* in the set's strings */
    bool single_word;             /* only where no word character touches it */
    bool lstrip, rstrip;          /* takes the white space on that side with it */
    bool special;
};

struct added_tokens {
    struct added_token *tokens; /* [count] sorted by text once built */
    uint32_t count, capacity;
    struct text strings;
    uint32_t first[257]; /* tokens that begin with byte b are [first[b], first[b + 1]) */
};

/* Copies `token` and its text (not empty). NO_MEMORY. */
enum status added_tokens_add(struct added_tokens *set, const struct added_token *token,
                             const char *text, size_t bytes);
/* Sorts; the set can be searched from now on. Of equal texts the lowest id stays. */
void added_tokens_build(struct added_tokens *set);
void added_tokens_close(struct added_tokens *set);

/* A stretch of the text: an added token, or text between two of them (id TOKEN_NONE). */
struct added_segment {
    uint32_t begin, end;
    uint32_t id;
};
struct added_segments {
    struct added_segment *at;
    uint32_t count, capacity;
};
void added_segments_reset(struct added_segments *segments);

/* Appends the stretches of `text` in order, none of them empty. Without `parse_special` the special
 * tokens count as text. NO_MEMORY. */
enum status added_tokens_split(const struct added_tokens *set, const char *text, size_t bytes,
                               bool parse_special, struct added_segments *out);

#ifdef __cplusplus
}
#endif
#endif
