/* POST /v1/completions and /v1/chat/completions: from the body to an exchange. */
#include <time.h>

#include "server/openai/chat_decode.h"
#include "server/openai/completions_decode.h"
#include "server/openai/openai_exchange.h"
#include "server/openai/openai_service.h"

static bool decode(struct openai *o, const json_t *body, bool chat,
                   const struct openai_model *model, struct openai_asked *asked,
                   struct openai_refusal *refusal)
{
    const struct openai_limits *limits = &o->config.limits;
    if (!chat)
        return completions_decode(body, model, limits, asked, refusal);
    const struct openai_template *template = openai_chat_template(o, model, refusal);
    return !refusal->refused && chat_decode(body, model, template, limits, (int64_t)time(NULL),
                                            asked, refusal);
}

static void generate(struct http_exchange *x, bool chat)
{
    struct openai *o = http_context(x);
    struct openai_refusal refusal = {0};
    struct openai_model model;
    struct openai_asked asked;
    openai_asked_init(&asked);
    json_t *body = openai_request(o, x, &model, &refusal);
    if (!body || !decode(o, body, chat, &model, &asked, &refusal) ||
        !openai_exchange_begin(o, x, chat, &model, &asked, &refusal))
        openai_fail(x, &refusal);
    openai_asked_reset(&asked);
    json_decref(body);
}

void openai_completions(struct http_exchange *x)
{
    generate(x, false);
}

void openai_chat(struct http_exchange *x)
{
    generate(x, true);
}
