/* The tools a client offers to the model, and what it wants done with them: `tools`,
 * `tool_choice`, `parallel_tool_calls`.
 *
 * The tools themselves go to the template as they came. What is kept of them are the names, and,
 * where a call is demanded, a schema of the demanded answer: the arguments of the tool that was
 * named, or a list of calls of any of them. Pure apart from memory. */
#ifndef MOERING_SERVER_OPENAI_OPENAI_TOOLS_H
#define MOERING_SERVER_OPENAI_OPENAI_TOOLS_H

#include "server/openai/openai_grammar.h"

#ifdef __cplusplus
extern "C" {
#endif

#define OPENAI_TOOLS_MAX 512
#define OPENAI_TOOL_NAME_BYTES_MAX 64

enum openai_tool_choice {
    OPENAI_CHOICE_NONE, /* also where there are no tools */
    OPENAI_CHOICE_AUTO,
    OPENAI_CHOICE_REQUIRED,
    OPENAI_CHOICE_NAMED
};

struct openai_tools {
    enum openai_tool_choice choice;
    char **names;      /* owned */
    uint32_t count;
    json_t *list;      /* the field `tools`: a reference of its own. NULL: absent */
    uint32_t named;    /* of NAMED: which */
    bool one_call;     /* parallel_tool_calls is false */
};
/* False: refused, `out` may be half filled. */
bool openai_tools_read(struct openai_tools *out, const struct openai_fields *f);
void openai_tools_reset(struct openai_tools *tools); /* accepts a zeroed one */

/* Of REQUIRED and NAMED: the grammar of the answer, compiled. False: refused, naming the tool whose
 * parameters are outside of what grammars can keep to. */
bool openai_tools_demand(const struct openai_tools *tools, struct openai_grammar *out,
                         struct openai_refusal *refusal);

#ifdef __cplusplus
}
#endif
#endif
