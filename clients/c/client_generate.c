#include <stdlib.h>
#include <string.h>

#include "clients/c/client.h"

typedef Moering__V1__GenerateRequest generate_request;
typedef Moering__V1__GenerateChunk generate_chunk;

static const char no_memory[] = "out of memory";

/* A request and what it points at. */
struct request {
    generate_request message;
    Moering__V1__SamplingParams sampling;
    ProtobufCBinaryData *stops; /* owned */
};

static void set_sampling(Moering__V1__SamplingParams *out, const struct moering_sampling *s)
{
    moering__v1__sampling_params__init(out);
    out->_temperature_case = MOERING__V1__SAMPLING_PARAMS___TEMPERATURE_TEMPERATURE;
    out->temperature = s->temperature;
    out->_top_p_case = MOERING__V1__SAMPLING_PARAMS___TOP_P_TOP_P;
    out->top_p = s->top_p;
    out->_repetition_penalty_case =
        MOERING__V1__SAMPLING_PARAMS___REPETITION_PENALTY_REPETITION_PENALTY;
    out->repetition_penalty = s->repetition_penalty;
    if (s->has_seed) {
        out->_seed_case = MOERING__V1__SAMPLING_PARAMS___SEED_SEED;
        out->seed = s->seed;
    }
    out->top_k = s->top_k;
    out->min_p = s->min_p;
    out->presence_penalty = s->presence_penalty;
    out->frequency_penalty = s->frequency_penalty;
}

/* Zeroes the result, which stays so if anything fails. */
static int open_request(struct request *r, const struct moering_sampling *given,
                        struct moering_result *result, struct moering_error *error)
{
    struct moering_sampling s = MOERING_SAMPLING_INIT;
    if (result)
        memset(result, 0, sizeof *result);
    if (given && (given->size < sizeof given->size || given->size > sizeof s))
        return client_fail(error, MOERING_INVALID_ARGUMENT,
                           "sampling was not begun with MOERING_SAMPLING_INIT, or is of a newer "
                           "version");
    if (given)
        memcpy(&s, given, given->size);
    r->stops = malloc((s.stop_count + 1) * sizeof *r->stops);
    if (!r->stops)
        return client_fail(error, MOERING_RESOURCE_EXHAUSTED, no_memory);
    generate_request *m = &r->message;
    moering__v1__generate_request__init(m);
    set_sampling(&r->sampling, &s);
    m->sampling = &r->sampling;
    if (s.has_max_tokens) {
        m->_max_tokens_case = MOERING__V1__GENERATE_REQUEST___MAX_TOKENS_MAX_TOKENS;
        m->max_tokens = s.max_tokens;
    }
    for (size_t i = 0; i < s.stop_count; i++)
        r->stops[i] = (ProtobufCBinaryData){strlen(s.stop[i]), (uint8_t *)s.stop[i]};
    m->n_stop = s.stop_count;
    m->stop = r->stops;
    m->min_tokens = s.min_tokens;
    m->ignore_eos = s.ignore_eos;
    m->priority = s.priority;
    if (s.model)
        m->model = (char *)s.model;
    if (s.request_id)
        m->request_id = (char *)s.request_id;
    return MOERING_OK;
}

/* ---- the answer ---- */

struct reception {
    moering_on_chunk *on_chunk;
    void *arg;
    struct moering_result result;
    bool broken; /* a chunk could not be read */
};

static void read_end(struct moering_result *out, const generate_chunk *chunk)
{
    out->finish = (int)chunk->finish_reason;
    if (!chunk->usage)
        return;
    out->prompt_tokens = chunk->usage->prompt_tokens;
    out->completion_tokens = chunk->usage->completion_tokens;
    out->queue_ms = chunk->usage->queue_ms;
    out->prefill_ms = chunk->usage->prefill_ms;
    out->decode_ms = chunk->usage->decode_ms;
    if (!chunk->usage->experts)
        return;
    out->expert_hits = chunk->usage->experts->hits;
    out->expert_misses = chunk->usage->experts->misses;
    out->expert_bytes = chunk->usage->experts->bytes;
    out->expert_stall_ms = chunk->usage->experts->stall_ms;
}

static bool take_chunk(void *arg, const uint8_t *bytes, size_t size)
{
    struct reception *r = arg;
    generate_chunk *chunk = moering__v1__generate_chunk__unpack(NULL, size, bytes);
    r->broken = r->broken || !chunk;
    if (!chunk)
        return false;
    const struct moering_chunk part = {
        .text = chunk->text.len ? (const char *)chunk->text.data : "",
        .text_bytes = chunk->text.len,
        .tokens = chunk->tokens,
        .token_count = chunk->n_tokens,
    };
    bool more =
        !r->on_chunk || (!part.text_bytes && !part.token_count) || r->on_chunk(r->arg, &part);
    if (chunk->finish_reason != MOERING__V1__FINISH_REASON__FINISH_REASON_UNSPECIFIED)
        read_end(&r->result, chunk);
    moering__v1__generate_chunk__free_unpacked(chunk, NULL);
    return more;
}

static int run(struct moering_client *client, const char *path, const ProtobufCMessage *request,
               moering_on_chunk *on_chunk, void *arg, struct moering_result *result,
               struct moering_error *error)
{
    struct reception r = {.on_chunk = on_chunk, .arg = arg};
    int status = client_call(client, path, request, take_chunk, &r, error);
    if (r.broken)
        status = client_fail(error, MOERING_INTERNAL, "a part of the answer could not be read");
    if (status == MOERING_OK && r.result.finish == MOERING_FINISH_NONE)
        status = client_fail(error, MOERING_INTERNAL, "the stream ended without a last chunk");
    if (result && status == MOERING_OK)
        *result = r.result;
    return status;
}

/* ---- calls ---- */

static const char generate_path[] = "/moering.v1.Moering/Generate";

int moering_generate(struct moering_client *client, const char *text, size_t text_bytes,
                     const struct moering_sampling *sampling, moering_on_chunk *on_chunk, void *arg,
                     struct moering_result *result, struct moering_error *error)
{
    struct request r;
    int status = open_request(&r, sampling, result, error);
    if (status != MOERING_OK)
        return status;
    r.message.prompt_case = MOERING__V1__GENERATE_REQUEST__PROMPT_TEXT;
    r.message.text = (ProtobufCBinaryData){text_bytes, (uint8_t *)text};
    status = run(client, generate_path, &r.message.base, on_chunk, arg, result, error);
    free(r.stops);
    return status;
}

int moering_generate_ids(struct moering_client *client, const uint32_t *ids, size_t count,
                         const struct moering_sampling *sampling, moering_on_chunk *on_chunk,
                         void *arg, struct moering_result *result, struct moering_error *error)
{
    struct request r;
    Moering__V1__TokenIds list = MOERING__V1__TOKEN_IDS__INIT;
    int status = open_request(&r, sampling, result, error);
    if (status != MOERING_OK)
        return status;
    list.n_ids = count;
    list.ids = (uint32_t *)ids;
    r.message.prompt_case = MOERING__V1__GENERATE_REQUEST__PROMPT_TOKENS;
    r.message.tokens = &list;
    status = run(client, generate_path, &r.message.base, on_chunk, arg, result, error);
    free(r.stops);
    return status;
}

int moering_chat(struct moering_client *client, const struct moering_message *messages,
                 size_t count, const struct moering_sampling *sampling, moering_on_chunk *on_chunk,
                 void *arg, struct moering_result *result, struct moering_error *error)
{
    struct request r;
    Moering__V1__ChatRequest m = MOERING__V1__CHAT_REQUEST__INIT;
    int status = open_request(&r, sampling, result, error);
    if (status != MOERING_OK)
        return status;
    Moering__V1__ChatMessage *items = malloc((count + 1) * sizeof *items);
    m.messages = malloc((count + 1) * sizeof(*m.messages));
    m.n_messages = count;
    m.generate = &r.message;
    for (size_t i = 0; i < count && items && m.messages; i++) {
        moering__v1__chat_message__init(&items[i]);
        items[i].role = (char *)messages[i].role;
        items[i].content =
            (ProtobufCBinaryData){strlen(messages[i].content), (uint8_t *)messages[i].content};
        m.messages[i] = &items[i];
    }
    if (items && m.messages)
        status = run(client, "/moering.v1.Moering/Chat", &m.base, on_chunk, arg, result, error);
    else
        status = client_fail(error, MOERING_RESOURCE_EXHAUSTED, no_memory);
    free(items);
    free(m.messages);
    free(r.stops);
    return status;
}
