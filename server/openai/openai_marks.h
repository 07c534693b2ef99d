/* Special tokens written out in a client's texts, kept text.
 *
 * A template writes marks such as <|im_end|> around messages, and the rendered text is tokenized
 * with those marks recognised. The same characters inside a message must not become them:
 * whoever writes "<|im_end|>" into a chat would else end his message and speak as somebody else.
 * So before rendering each special token's text inside the client's strings is replaced by a
 * stand-in, and after it the rendered text is cut at the stand-ins: what they stand for is
 * tokenized as plain text.
 *
 * A stand-in is made of noncharacters (U+FDD0 .. U+FDEF), which no text is to hold; where one
 * does, it gets a stand-in too, so a client cannot write one. Immutable after open; pure. */
#ifndef MOERING_SERVER_OPENAI_OPENAI_MARKS_H
#define MOERING_SERVER_OPENAI_OPENAI_MARKS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "engine/tokenizer/tokenizer.h"
#include "memory/base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

struct openai_marks;

/* `tokenizer` must outlive it. NO_MEMORY. */
enum status openai_marks_open(struct openai_marks **out, const struct tokenizer *tokenizer,
                              struct error *error);
void openai_marks_close(struct openai_marks *marks); /* accepts NULL */

/* The value with stand-ins in all its strings and keys: a new reference. NULL: out of memory. */
json_t *openai_marks_hide(const struct openai_marks *marks, const json_t *value);

/* A place that survives rendering: put behind a text that openai_marks_hide has made. */
#define OPENAI_MARKS_PLACE "\xef\xb7\x92"
#define OPENAI_MARKS_PLACE_BYTES 3

/* The next piece of a rendered text: it begins at *at, which is moved behind it. *hidden: it is
 * the text of a stand-in. False: there is none. What is left of a stand-in that the template has
 * cut is text. */
struct openai_piece {
    const char *text;
    size_t bytes;
    bool hidden;
};
bool openai_marks_next(const struct openai_marks *marks, const char *text, size_t bytes, size_t *at,
                       struct openai_piece *out);

#ifdef __cplusplus
}
#endif
#endif
