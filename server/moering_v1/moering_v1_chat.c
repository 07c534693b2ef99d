/* Chat: messages to a prompt by the model's chat template, then what Generate does. The template,
 * its variables and the rule that special tokens in a client's texts stay text are those of the
 * OpenAI API (openai/openai_template.h), which takes messages as JSON. */
#include <jansson.h>
#include <string.h>
#include <time.h>

#include "memory/base/log.h"
#include "server/moering_v1/moering_v1_service.h"
#include "server/openai/openai_template.h"

typedef Moering__V1__ChatRequest chat_request;
typedef Moering__V1__GenerateRequest generate_request;

enum { MESSAGES_MAX = 4096, ROLE_BYTES_MAX = 32 };

void moering_v1_chat_close(struct moering_v1 *s)
{
    openai_template_close(s->chat);
    s->chat = NULL;
}

/* Makes service->chat. */
static enum status open_template(struct moering_v1 *s, const struct tokenizer *tokenizer,
                                 struct error *error)
{
    if (s->chat)
        return STATUS_OK;
    enum status status = openai_template_open(&s->chat, tokenizer, s->chat_template, error);
    if (status == STATUS_OK && openai_template_problem(s->chat))
        log_warn("chats will be refused: %s", openai_template_problem(s->chat));
    return status;
}

static enum status check_fields(const chat_request *m, const generate_request *g,
                                struct error *error)
{
    const char *name = NULL;
    if (g->prompt_case != MOERING__V1__GENERATE_REQUEST__PROMPT__NOT_SET)
        name = "prompt";
    else if (g->_add_special_case != MOERING__V1__GENERATE_REQUEST___ADD_SPECIAL__NOT_SET)
        name = "add_special";
    else if (g->echo)
        name = "echo";
    if (name)
        return error_set(error, STATUS_INVALID,
                         "generate.%s must be absent: the chat template writes the prompt", name);
    if (!m->n_messages || m->n_messages > MESSAGES_MAX)
        return error_set(error, STATUS_INVALID, "there are %zu messages, 1 to %d are allowed",
                         m->n_messages, MESSAGES_MAX);
    for (size_t i = 0; i < m->n_messages; i++)
        if (!*m->messages[i]->role || strlen(m->messages[i]->role) > ROLE_BYTES_MAX)
            return error_set(error, STATUS_INVALID,
                             "messages[%zu].role has %zu bytes, 1 to %d are allowed", i,
                             strlen(m->messages[i]->role), ROLE_BYTES_MAX);
    return STATUS_OK;
}

/* *out is {"messages":[{"role":..,"content":..}]}, to be given back with json_decref. */
static enum status make_body(const chat_request *m, json_t **out, struct error *error)
{
    json_t *list = json_array();
    bool room = list != NULL;
    *out = json_pack("{s:o}", "messages", list);
    for (size_t i = 0; i < m->n_messages && *out && room; i++) {
        const ProtobufCBinaryData *content = &m->messages[i]->content;
        json_t *text = json_stringn(content->len ? (const char *)content->data : "", content->len);
        if (!text)
            return error_set(error, STATUS_INVALID, "messages[%zu].content is not UTF-8", i);
        json_t *message = json_pack("{s:s, s:o}", "role", m->messages[i]->role, "content", text);
        room = json_array_append_new(list, message) == 0;
    }
    return *out && room ? STATUS_OK
                        : error_set(error, STATUS_NO_MEMORY, "out of memory for the messages");
}

static enum status render(const struct openai_template *chat, const json_t *body,
                          struct request_asked *asked, struct error *error)
{
    struct openai_refusal refusal = {0};
    struct openai_fields fields = {body, "", &refusal};
    struct openai_rendered rendered = {0};
    struct token_list list = {0};
    bool ok = openai_template_render(chat, &fields, (int64_t)time(NULL), &rendered) &&
              openai_template_tokens(chat, &rendered, false, &list, &refusal);
    openai_rendered_reset(&rendered);
    if (ok) {
        asked->prompt = list.ids; /* ours now */
        asked->prompt_tokens = list.count;
        return STATUS_OK;
    }
    token_list_reset(&list);
    return error_set(error, refusal.problem == HTTP_UNAVAILABLE ? STATUS_NO_MEMORY : STATUS_INVALID,
                     "%s", refusal.why.text);
}

static enum status decode(struct moering_v1 *s, const struct engine *engine, const chat_request *m,
                          const generate_request *g, struct request *r, struct error *error)
{
    const struct generate_model model = moering_v1_model(s, engine);
    enum status status = check_fields(m, g, error);
    if (status == STATUS_OK)
        status = generate_decode_settings(&model, g, r, error);
    if (status == STATUS_OK)
        status = open_template(s, model.tokenizer, error);
    if (status != STATUS_OK)
        return status;
    json_t *body = NULL;
    status = make_body(m, &body, error);
    if (status == STATUS_OK)
        status = render(s->chat, body, &r->asked, error);
    json_decref(body);
    return status == STATUS_OK ? generate_check_prompt(&model, &r->asked, error) : status;
}

void moering_v1_chat(struct grpc_call *call, const uint8_t *bytes, size_t size)
{
    struct moering_v1 *s = grpc_call_context(call);
    const struct engine *engine = moering_v1_ready(s, call);
    if (!engine)
        return;
    if (!engine_tokenizer(engine)) {
        grpc_call_finish(call, GRPC_FAILED_PRECONDITION, "this model has no tokenizer.json");
        return;
    }
    generate_request defaults = MOERING__V1__GENERATE_REQUEST__INIT;
    struct pb_arena arena;
    struct request *r = NULL;
    struct error error = {0};
    pb_arena_init(&arena, 0);
    const chat_request *m = (const chat_request *)moering_v1_unpack(
        call, &arena, &moering__v1__chat_request__descriptor, bytes, size);
    if (!m)
        goto done;
    const generate_request *g = m->generate ? m->generate : &defaults;
    r = requests_new(s->requests);
    enum status status = r ? decode(s, engine, m, g, r, &error)
                           : error_set(&error, STATUS_NO_MEMORY, "out of memory");
    if (status == STATUS_OK) {
        moering_v1_submit(s, call, g, engine, r);
        r = NULL; /* whoever has it now */
    } else {
        grpc_call_finish(call, grpc_status_of(status), error.text);
    }
done:
    request_close(r);
    pb_arena_reset(&arena);
}
