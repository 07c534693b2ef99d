/* Chat templates: the subset of Jinja that models' templates use, compiled once, rendered for
 * each request.
 *
 * Owns a parsed template; immutable after open, so any number of threads may render it at once.
 * What a template may do is bounded (steps, depth, bytes of output), so one from a stranger's
 * file can make a request fail but not the server. Semantics are those of Jinja2 with trim_blocks
 * and lstrip_blocks, as the Hugging Face library renders templates; what is outside the subset is
 * refused at open with its line. */
#ifndef MOERING_ENGINE_TEMPLATE_CHAT_TEMPLATE_H
#define MOERING_ENGINE_TEMPLATE_CHAT_TEMPLATE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "memory/base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

struct chat_template;

/* `name` begins error sentences ("chat template of olmoe.gguf"). INVALID: syntax, with line;
 * UNSUPPORTED: a tag, filter, test or function outside the subset, with line and name (a filter or
 * test that an `if` guards fails in render, when it is reached, as in Jinja); NO_MEMORY. */
enum status chat_template_open(struct chat_template **out, const char *name, const char *text,
                               size_t bytes, struct error *error);
void chat_template_close(struct chat_template *t); /* accepts NULL */

/* Renders with the members of the object `variables` as names (messages, tools,
 * add_generation_prompt, bos_token, eos_token, ...), which is only read. *out: malloc'ed, NUL
 * behind *bytes bytes; NULL on failure. `now_s`: seconds since the epoch, what strftime_now()
 * shows (in UTC). INVALID: the template's own raise_exception (its words), an operation on values
 * that have none, a limit reached; the sentence has the line. UNSUPPORTED: a guarded filter or
 * test outside the subset was reached. NO_MEMORY. */
enum status chat_template_render(const struct chat_template *t, const json_t *variables,
                                 int64_t now_s, char **out, size_t *bytes, struct error *error);

/* The built-in templates, for models that bring none: "chatml", "llama3", "deepseek3", "gpt-oss",
 * "kimi-k2", "granite", "glm". The text, or NULL: no such name. chat_template_builtin_name(i):
 * NULL after the last. */
const char *chat_template_builtin(const char *name);
const char *chat_template_builtin_name(uint32_t i);

#ifdef __cplusplus
}
#endif
#endif
