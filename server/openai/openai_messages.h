/* A chat's messages as clients send them to messages as templates want them.
 *
 * Contents become one string (parts of text are joined by line ends, null is ""), arguments of
 * earlier tool calls become objects, thoughts sent as `reasoning` are `reasoning_content` too,
 * "developer" becomes "system" for templates that do not know it. Parts that are no text are
 * refused by their place. Pure apart from memory. */
#ifndef MOERING_SERVER_OPENAI_OPENAI_MESSAGES_H
#define MOERING_SERVER_OPENAI_OPENAI_MESSAGES_H

#include "server/openai/openai_field.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A new list of messages, all of them objects with strings `role` and `content`; NULL: refused.
 * `f` is of the body that holds them. `developer`: the template knows that role. */
json_t *openai_messages(const struct openai_fields *f, bool developer);

#ifdef __cplusplus
}
#endif
#endif
