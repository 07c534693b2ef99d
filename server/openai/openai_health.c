/* Health checks. /livez: the process answers. /readyz: it takes work now. /health (and
 * /v1/health, /ping): the same with more to read: 503 while the model loads, with how far it is,
 * and from the beginning of a drain on. */
#include <stdio.h>

#include "server/jsonw.h"
#include "server/openai/openai_service.h"

static struct openai_state state_of(const struct openai *o)
{
    struct openai_state state = {.phase = OPENAI_LOADING};
    o->config.state(o->config.arg, &state);
    return state;
}

static void answer_ok(struct http_exchange *x)
{
    struct jsonw w = {0};
    jsonw_object_open(&w);
    jsonw_key(&w, "status");
    jsonw_text(&w, "ok");
    jsonw_object_end(&w);
    openai_reply(x, 200, &w);
}

static void answer_unavailable(struct http_exchange *x, const struct openai_state *state)
{
    static const char *const messages[] = {
        [OPENAI_LOADING] = "Loading model",
        [OPENAI_SERVING] = "Serving",
        [OPENAI_DRAINING] = "Shutting down",
        [OPENAI_FAILED] = "The model could not be loaded",
    };
    struct jsonw w = {0};
    char retry_after[16];
    jsonw_object_open(&w);
    jsonw_key(&w, "error");
    jsonw_object_open(&w);
    jsonw_key(&w, "code");
    jsonw_uint(&w, 503);
    jsonw_key(&w, "message");
    jsonw_text(&w, messages[state->phase]);
    jsonw_key(&w, "type");
    jsonw_text(&w, http_problem_type(HTTP_UNAVAILABLE));
    jsonw_object_end(&w);
    if (state->phase == OPENAI_LOADING) {
        jsonw_key(&w, "progress");
        jsonw_fixed(&w, state->progress);
    }
    if (*state->detail) {
        jsonw_key(&w, "detail");
        jsonw_text(&w, state->detail);
    }
    jsonw_object_end(&w);
    snprintf(retry_after, sizeof retry_after, "%u", http_problem_retry_after_s(HTTP_UNAVAILABLE));
    http_set_header(x, "Retry-After", retry_after);
    openai_reply(x, 503, &w);
}

void openai_health(struct http_exchange *x)
{
    struct openai_state state = state_of(http_context(x));
    if (state.phase == OPENAI_SERVING)
        answer_ok(x);
    else
        answer_unavailable(x, &state);
}

void openai_readyz(struct http_exchange *x)
{
    openai_health(x);
}

void openai_livez(struct http_exchange *x)
{
    answer_ok(x);
}
