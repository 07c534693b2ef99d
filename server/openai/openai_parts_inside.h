/* The inside of the parser of answers, shared by its files: openai_parts.c owns the buffer,
 * thoughts and content, openai_parts_json.c reads calls that are JSON, openai_parts_tagged.c those
 * that are tags. A step reads on from `at`, and is false where only more text can help. */
#ifndef MOERING_SERVER_OPENAI_OPENAI_PARTS_INSIDE_H
#define MOERING_SERVER_OPENAI_OPENAI_PARTS_INSIDE_H

#include "server/openai/openai_parts.h"

#ifdef __cplusplus
extern "C" {
#endif

enum parts_state {
    PARTS_PLAIN, /* nothing is looked for */
    PARTS_THOUGHT_OR_NOT,
    PARTS_THOUGHT_BEGINS,
    PARTS_THOUGHT,
    PARTS_BEHIND_THOUGHT,
    PARTS_BARE_OR_NOT,
    PARTS_CONTENT,
    PARTS_CLOSE,       /* behind a call: the mark that ends it, or another call */
    PARTS_RUINED,      /* arguments that are no JSON, to the end of the call */
    PARTS_WHOLE,       /* all of it is arguments */
    /* ---- JSON ---- */
    PARTS_OPEN,        /* behind a mark: an object or a list of them */
    PARTS_ITEM,        /* an object of a list */
    PARTS_HEAD,        /* of an object, until its name and how its arguments begin are known */
    PARTS_ARGUMENTS,
    PARTS_TAIL,        /* behind the arguments, to the end of the object */
    PARTS_NEXT,        /* behind an object of a list */
    /* ---- tags ---- */
    PARTS_TAG_OPEN,    /* behind a mark */
    PARTS_TAG_NAME,    /* of the tool */
    PARTS_TAG_FIELD,   /* before an argument, or the end of the call */
    PARTS_TAG_KEY,     /* its name */
    PARTS_TAG_BETWEEN, /* before its value */
    PARTS_TAG_VALUE
};
enum parts_fit { FIT_NO, FIT_MAYBE, FIT_YES };

/* True: something other than white space is there. */
bool parts_skip_space(struct openai_parts *p);
/* Whether `mark` stands at the place. */
enum parts_fit parts_fits(const struct openai_parts *p, const char *mark);

void parts_tell(struct openai_parts *p, enum openai_part_kind kind, const char *text, size_t bytes);
/* All up to `end` that has not come out. */
void parts_tell_until(struct openai_parts *p, enum openai_part_kind kind, size_t end);
void parts_begin_call(struct openai_parts *p, const char *name);
/* The call has ended at the place. True. */
bool parts_end_call(struct openai_parts *p);
/* What was read as a call is none: all since the mark is content, which may hold another mark.
 * Behind the first call of a list, what is wrong stands behind that call. True. */
bool parts_give_back(struct openai_parts *p);

bool parts_step_json(struct openai_parts *p);
bool parts_step_tagged(struct openai_parts *p);
/* The text has ended within a tagged call: what has come of a value comes out. */
void parts_finish_tagged(struct openai_parts *p);

#ifdef __cplusplus
}
#endif
#endif
