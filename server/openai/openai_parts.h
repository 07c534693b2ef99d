/* What the text of an answer is made of: thoughts, content, calls of tools.
 *
 * Text goes in as it comes, parts come out in its order: pieces of thoughts and of content, the
 * beginning of a call with its name, pieces of its arguments (JSON, as the model wrote it). What
 * comes out does not depend on how the text was cut. The end of a text that may be the beginning
 * of a mark is held back until it is known, and so are the members of a call until its name is.
 *
 * Nothing is lost: what begins like a call and is none is content, marks included. Once arguments
 * have been passed on they cannot be taken back, so if they turn out to be no JSON they go on, as
 * written, to the end of the call or of the answer. White space around marks (up to 64 bytes
 * before one) belongs to them and comes out nowhere. Pure apart from memory. */
#ifndef MOERING_SERVER_OPENAI_OPENAI_PARTS_H
#define MOERING_SERVER_OPENAI_OPENAI_PARTS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/openai/openai_scan.h"
#include "server/openai/openai_syntax.h"

#ifdef __cplusplus
extern "C" {
#endif

enum openai_part_kind {
    OPENAI_PART_THOUGHT,
    OPENAI_PART_CONTENT,
    OPENAI_PART_CALL,     /* one more call begins: the text is its name, whole */
    OPENAI_PART_ARGUMENTS /* of the call that began last */
};
struct openai_part {
    enum openai_part_kind kind;
    const char *text; /* valid during the call */
    size_t bytes;     /* not 0 */
    uint32_t call;    /* of CALL and ARGUMENTS: its number, from 0 */
};
typedef void openai_part_sink(void *arg, const struct openai_part *part);

/* How an answer is read. Zeroed: all of it is content. */
struct openai_reading {
    const struct openai_syntax *syntax; /* of calls; NULL: the text is not searched for them */
    const char *named;       /* not NULL: the whole answer is the arguments of this tool */
    const char *const *names; /* of the tools: a bare answer must name one of them */
    uint32_t name_count;
    const json_t *tools;     /* the field: types of arguments that are tags; may be NULL */
    bool one_call;           /* later ones are left out */
    bool thinks;             /* <think> may begin the answer */
    bool begun;              /* the prompt ends with it */
    bool hide_thoughts;
};

struct openai_parts {
    const struct openai_reading *reading; /* borrowed */
    openai_part_sink *sink;
    void *arg;
    uint32_t state;
    uint32_t calls;          /* so far */
    bool failed;             /* memory has run out: what came out is not whole */
    char *data;              /* what has not come out yet, [sent, bytes) */
    size_t bytes, capacity;
    size_t at;               /* what is before it has been read */
    size_t sent;
    size_t mark;             /* behind the mark that opened what is being read as a call */
    bool bare;               /* there was no mark: the answer began with a brace */
    bool list;               /* it is a list of calls */
    struct openai_scan scan; /* of the call's object */
    uint32_t member;
    size_t member_from;
    size_t arguments_from, arguments_to; /* equal: not come yet. Of tags: an argument's name */
    uint32_t fields;         /* of tags: arguments so far */
    char *name;              /* of the call whose object is being read; NULL: not come yet */
};
/* Both are borrowed. */
void openai_parts_init(struct openai_parts *parts, const struct openai_reading *reading);
void openai_parts_reset(struct openai_parts *parts); /* accepts a zeroed one */
/* More text; what is known then goes to `sink`. */
void openai_parts_push(struct openai_parts *parts, const char *text, size_t bytes,
                       openai_part_sink *sink, void *arg);
/* The text has ended: what was held back comes out. Nothing may be pushed after it. */
void openai_parts_finish(struct openai_parts *parts, openai_part_sink *sink, void *arg);

#ifdef __cplusplus
}
#endif
#endif
