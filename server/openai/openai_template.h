/* A chat to a prompt: the model's chat template, its variables, and the tokens of what it
 * renders.
 *
 * Which template: the server's own (--chat-template: a text, or the name of a built-in one),
 * else the model's, else the built-in one whose marks are in the vocabulary. A client may bring
 * another with its request. Special tokens in a client's texts stay text (openai_marks.h). */
#ifndef MOERING_SERVER_OPENAI_OPENAI_TEMPLATE_H
#define MOERING_SERVER_OPENAI_OPENAI_TEMPLATE_H

#include "engine/template/chat_template.h"
#include "server/openai/openai_field.h"
#include "server/openai/openai_marks.h"
#include "server/openai/openai_syntax.h"

#ifdef __cplusplus
extern "C" {
#endif

struct openai_template;

/* `chosen`: the server's, NULL: none. `tokenizer` must outlive it. A template that cannot be
 * used is no error here: chats are refused with the reason, and the rest of the server works.
 * NO_MEMORY. */
enum status openai_template_open(struct openai_template **out, const struct tokenizer *tokenizer,
                                 const char *chosen, struct error *error);
void openai_template_close(struct openai_template *t); /* accepts NULL */
/* How answers are read, if not by what the template shows. Before anybody else sees it. */
void openai_template_choose(struct openai_template *t, enum openai_tool_parser tools,
                            enum openai_reasoning_parser reasoning);
/* Why chats are refused, or NULL. */
const char *openai_template_problem(const struct openai_template *t);

/* What a chat has become: text with stand-ins. */
struct openai_rendered {
    char *text; /* owned */
    size_t bytes;
};
void openai_rendered_reset(struct openai_rendered *r); /* accepts a zeroed one */

/* Reads messages, tools, documents, add_generation_prompt, continue_final_message,
 * reasoning_effort, chat_template, chat_template_kwargs of a body. False: refused. */
bool openai_template_render(const struct openai_template *t, const struct openai_fields *f,
                            int64_t now_s, struct openai_rendered *out);
/* The syntax in which the model behind the template of this body calls tools; NULL: it is not
 * known, or outputs are not to be searched (*searched is false then). */
const struct openai_syntax *openai_template_syntax(const struct openai_template *t,
                                                   const struct openai_fields *f, bool *searched);
/* Whether its answers may begin with thoughts. */
bool openai_template_thinks(const struct openai_template *t, const struct openai_fields *f);
/* Appends the tokens. `add_special`: the tokenizer's own leading and trailing ones, too (a
 * template writes them itself). False: refused. */
bool openai_template_tokens(const struct openai_template *t, const struct openai_rendered *r,
                            bool add_special, struct token_list *out,
                            struct openai_refusal *refusal);
/* The text as people read it, stand-ins replaced: malloc'ed. NULL: out of memory. */
char *openai_template_text(const struct openai_template *t, const struct openai_rendered *r,
                           size_t *bytes);

/* The fields it reads; for openai_log_unknown. */
extern const char *const openai_template_known[];

#ifdef __cplusplus
}
#endif
#endif
