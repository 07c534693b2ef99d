#include "server/openai/openai.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

#include "memory/base/check.h"
#include "memory/base/clock.h"
#include "memory/base/log.h"
#include "server/jsonw.h"
#include "server/openai/openai_exchange.h"
#include "server/openai/openai_service.h"

enum status openai_open(struct openai **out, const struct openai_config *config,
                        struct error *error)
{
    struct openai *o = calloc(1, sizeof *o);
    if (!o)
        return error_set(error, STATUS_NO_MEMORY, "out of memory for the OpenAI service");
    o->config = *config;
    if (getrandom(&o->nonce, sizeof o->nonce, GRND_NONBLOCK) != (ssize_t)sizeof o->nonce)
        o->nonce = clock_now_ns() ^ (uint64_t)config->start_s << 32;
    *out = o;
    return STATUS_OK;
}

uint32_t openai_routes(struct openai *o, struct http_route *out)
{
    const struct http_route routes[OPENAI_ROUTES] = {
        {.method = "POST", .path = "/v1/completions", .handle = openai_completions,
         .writable = openai_exchange_writable, .closed = openai_exchange_closed},
        {.method = "POST", .path = "/v1/chat/completions", .handle = openai_chat,
         .writable = openai_exchange_writable, .closed = openai_exchange_closed},
        {.method = "GET", .path = "/v1/models", .handle = openai_models},
        {.method = "GET", .path = "/v1/models/*", .handle = openai_model_of},
        {.method = "POST", .path = "/tokenize", .handle = openai_tokenize},
        {.method = "POST", .path = "/detokenize", .handle = openai_detokenize},
        {.method = "POST", .path = "/apply-template", .handle = openai_apply_template},
        {.method = "GET", .path = "/health", .is_public = true, .handle = openai_health},
        {.method = "GET", .path = "/v1/health", .handle = openai_health},
        {.method = "GET", .path = "/livez", .is_public = true, .handle = openai_livez},
        {.method = "GET", .path = "/readyz", .is_public = true, .handle = openai_readyz},
        {.method = "GET", .path = "/version", .handle = openai_version},
        {.method = "GET", .path = "/ping", .handle = openai_health},
    };
    memcpy(out, routes, sizeof routes);
    for (uint32_t i = 0; i < OPENAI_ROUTES; i++)
        out[i].context = o;
    return OPENAI_ROUTES;
}

void openai_attach(struct openai *o, struct http_server *server, struct requests *requests)
{
    o->server = server;
    o->requests = requests;
}

void openai_tick(struct openai *o, uint64_t now_ns)
{
    struct openai_exchange *next;
    for (struct openai_exchange *e = o->exchanges; e; e = next) {
        next = openai_exchange_next(e);
        openai_exchange_tick(e, now_ns);
    }
}

uint32_t openai_exchanges(const struct openai *o)
{
    uint32_t count = 0;
    for (const struct openai_exchange *e = o->exchanges; e; e = openai_exchange_next(e))
        count++;
    return count;
}

void openai_close(struct openai *o)
{
    if (!o)
        return;
    CHECK(!o->exchanges); /* the http server has ended them */
    openai_template_close(o->chat);
    free(o);
}

/* ---- what several routes do ---- */

const struct engine *openai_engine(struct openai *o, struct openai_model *model,
                                   struct openai_refusal *refusal)
{
    char why[REQUESTS_WHY_BYTES];
    const struct engine *engine = requests_engine(o->requests, why);
    if (!engine) {
        openai_refuse(refusal, HTTP_UNAVAILABLE, NULL, "%s", why);
        return NULL;
    }
    const struct engine_info *info = engine_info(engine);
    *model = (struct openai_model){
        .name = requests_model_name(o->requests),
        .tokenizer = engine_tokenizer(engine),
        .vocab = info->vocab,
        .max_model_len = info->max_model_len,
    };
    return engine;
}

/* JSON has to be said: a form of a web page cannot say so without being asked first, and so no page
 * can talk to a server on its reader's machine. */
static bool says_json(const char *type)
{
    static const char json[] = "application/json";
    size_t n = sizeof json - 1;
    return type && strncasecmp(type, json, n) == 0 &&
           (type[n] == '\0' || type[n] == ';' || type[n] == ' ' || type[n] == '\t');
}

json_t *openai_request(struct openai *o, struct http_exchange *x, struct openai_model *model,
                       struct openai_refusal *refusal)
{
    size_t size;
    if (!says_json(http_header(x, "content-type"))) {
        openai_refuse(refusal, HTTP_UNSUPPORTED_MEDIA, NULL,
                      "the header Content-Type must be application/json");
        return NULL;
    }
    if (!openai_engine(o, model, refusal))
        return NULL;
    const uint8_t *bytes = http_body(x, &size);
    return openai_body(bytes, size, refusal);
}

const struct openai_template *openai_chat_template(struct openai *o,
                                                   const struct openai_model *model,
                                                   struct openai_refusal *refusal)
{
    struct error error = {{0}};
    if (o->chat || !model->tokenizer)
        return o->chat;
    enum status status = openai_template_open(&o->chat, model->tokenizer, o->config.chat_template,
                                              &error);
    if (status != STATUS_OK) {
        openai_refuse_status(refusal, status, NULL, &error);
        return NULL;
    }
    openai_template_choose(o->chat, o->config.tool_parser, o->config.reasoning_parser);
    if (openai_template_problem(o->chat))
        log_warn("chats will be refused: %s", openai_template_problem(o->chat));
    return o->chat;
}

void openai_fail(struct http_exchange *x, const struct openai_refusal *refusal)
{
    const struct http_failure failure = {
        .problem = refusal->problem,
        .param = *refusal->param ? refusal->param : NULL,
        .message = refusal->why.text,
    };
    http_fail(x, &failure);
}

void openai_reply(struct http_exchange *x, int code, struct jsonw *w)
{
    const struct http_failure no_memory = {.problem = HTTP_UNAVAILABLE,
                                           .message = "out of memory for the answer"};
    if (w->failed)
        http_fail(x, &no_memory);
    else
        http_reply(x, code, "application/json", w->data, w->bytes);
    jsonw_close(w);
}
