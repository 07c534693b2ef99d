/* `moering-client generate`: streams an answer to standard output; Ctrl-C cancels the call. */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "clients/c/message.h"
#include "clients/c/now.h"
#include "clients/cli/cli.h"

typedef Moering__V1__GenerateChunk generate_chunk;

/* What has come so far. */
struct reception {
    const struct cli_options *options;
    json_t *tokens, *logprobs; /* with --json */
    char *text;
    size_t text_bytes;
    generate_chunk *last;      /* the chunk that carried finish_reason */
    uint64_t start_ns, end_ns;
    bool printed;              /* some text is on standard output */
    bool failed;               /* a chunk could not be read or kept */
    int lost;                  /* why one could not be printed, an errno; 0: all were */
};

/* ---- the request ---- */

static void set_sampling(const struct cli_options *o, Moering__V1__SamplingParams *s)
{
    if (o->has_temperature) {
        s->_temperature_case = MOERING__V1__SAMPLING_PARAMS___TEMPERATURE_TEMPERATURE;
        s->temperature = o->temperature;
    }
    if (o->has_top_p) {
        s->_top_p_case = MOERING__V1__SAMPLING_PARAMS___TOP_P_TOP_P;
        s->top_p = o->top_p;
    }
    if (o->has_repetition_penalty) {
        s->_repetition_penalty_case =
            MOERING__V1__SAMPLING_PARAMS___REPETITION_PENALTY_REPETITION_PENALTY;
        s->repetition_penalty = o->repetition_penalty;
    }
    if (o->has_seed) {
        s->_seed_case = MOERING__V1__SAMPLING_PARAMS___SEED_SEED;
        s->seed = o->seed;
    }
    s->top_k = o->top_k;
    s->min_p = o->min_p;
    s->presence_penalty = o->presence_penalty;
    s->frequency_penalty = o->frequency_penalty;
}

void cli_request_init(struct cli_request *r, const struct cli_options *o)
{
    Moering__V1__GenerateRequest *m = &r->message;
    moering__v1__generate_request__init(m);
    moering__v1__sampling_params__init(&r->sampling);
    moering__v1__token_ids__init(&r->ids);
    set_sampling(o, &r->sampling);
    m->sampling = &r->sampling;
    m->model = (char *)o->model;
    m->request_id = (char *)o->request_id;
    if (o->has_max_tokens) {
        m->_max_tokens_case = MOERING__V1__GENERATE_REQUEST___MAX_TOKENS_MAX_TOKENS;
        m->max_tokens = o->max_tokens;
    }
    for (uint32_t i = 0; i < o->stop_count; i++)
        r->stops[i] = (ProtobufCBinaryData){strlen(o->stops[i]), (uint8_t *)o->stops[i]};
    m->n_stop = o->stop_count;
    m->stop = r->stops;
    m->n_stop_token_ids = o->stop_tokens.count;
    m->stop_token_ids = o->stop_tokens.ids;
    m->min_tokens = o->min_tokens;
    m->ignore_eos = o->ignore_eos;
    m->include_stop = o->include_stop;
    m->keep_special = o->keep_special;
    m->priority = o->priority;
}

/* Packs the request; `text` is the prompt unless --tokens was given. */
static uint8_t *pack_request(const struct cli_options *o, const char *text, size_t text_bytes,
                             size_t *size)
{
    struct cli_request r;
    Moering__V1__GenerateRequest *m = &r.message;
    cli_request_init(&r, o);
    if (o->tokens.count) {
        r.ids.n_ids = o->tokens.count;
        r.ids.ids = o->tokens.ids;
        m->prompt_case = MOERING__V1__GENERATE_REQUEST__PROMPT_TOKENS;
        m->tokens = &r.ids;
    } else {
        m->prompt_case = MOERING__V1__GENERATE_REQUEST__PROMPT_TEXT;
        m->text = (ProtobufCBinaryData){text_bytes, (uint8_t *)text};
    }
    if (o->no_special) {
        m->_add_special_case = MOERING__V1__GENERATE_REQUEST___ADD_SPECIAL_ADD_SPECIAL;
        m->add_special = false;
    }
    m->logprobs = o->logprobs;
    m->top_logprobs = o->top_logprobs;
    m->echo = o->echo;
    return message_pack(&m->base, size);
}

/* ---- the answer ---- */

static json_t *detail_json(const Moering__V1__TokenDetail *d)
{
    json_t *top = json_array();
    for (size_t i = 0; i < d->n_top; i++)
        json_array_append_new(top, json_pack("{s:I, s:o, s:f}", "token",
                                             (json_int_t)d->top[i]->token, "piece",
                                             cli_piece_json(&d->top[i]->piece), "logprob",
                                             (double)d->top[i]->logprob));
    return json_pack("{s:I, s:f, s:o}", "token", (json_int_t)d->token, "logprob",
                     (double)d->logprob, "top", top);
}

static bool keep(struct reception *r, const generate_chunk *chunk)
{
    char *grown = realloc(r->text, r->text_bytes + chunk->text.len + 1);
    if (!grown)
        return false;
    r->text = grown;
    if (chunk->text.len)
        memcpy(r->text + r->text_bytes, chunk->text.data, chunk->text.len);
    r->text_bytes += chunk->text.len;
    for (size_t i = 0; i < chunk->n_tokens; i++)
        json_array_append_new(r->tokens, json_integer(chunk->tokens[i]));
    for (size_t i = 0; i < chunk->n_logprobs; i++)
        json_array_append_new(r->logprobs, detail_json(chunk->logprobs[i]));
    return true;
}

static bool take_chunk(void *arg, const uint8_t *bytes, size_t size)
{
    struct reception *r = arg;
    generate_chunk *chunk = moering__v1__generate_chunk__unpack(NULL, size, bytes);
    if (!chunk) {
        r->failed = true;
        return false;
    }
    bool ok = true;
    if (r->options->json) {
        ok = keep(r, chunk);
    } else if (chunk->text.len) {
        r->printed = true;
        ok = fwrite(chunk->text.data, 1, chunk->text.len, stdout) == chunk->text.len &&
             fflush(stdout) == 0;
        r->lost = ok ? 0 : errno;
    }
    r->failed = r->failed || !ok;
    if (chunk->finish_reason == MOERING__V1__FINISH_REASON__FINISH_REASON_UNSPECIFIED) {
        moering__v1__generate_chunk__free_unpacked(chunk, NULL);
        return ok;
    }
    if (r->last)
        moering__v1__generate_chunk__free_unpacked(r->last, NULL);
    r->last = chunk;
    return ok;
}

static double hit_rate(const Moering__V1__ExpertUsage *e)
{
    return e->hits + e->misses ? (double)e->hits / (double)(e->hits + e->misses) : 0;
}

static double tokens_per_s(const struct reception *r, const Moering__V1__Usage *u)
{
    double seconds = (double)(r->end_ns - r->start_ns) / 1e9;
    return seconds > 0 ? u->completion_tokens / seconds : 0;
}

static json_t *usage_json(const Moering__V1__Usage *u, const Moering__V1__ExpertUsage *e)
{
    json_t *experts = json_pack("{s:I, s:I, s:I, s:f}", "hits", (json_int_t)e->hits, "misses",
                                (json_int_t)e->misses, "bytes", (json_int_t)e->bytes, "stall_ms",
                                e->stall_ms);
    return json_pack("{s:I, s:I, s:I, s:o, s:f, s:f, s:f, s:I}", "prompt_tokens",
                     (json_int_t)u->prompt_tokens, "completion_tokens",
                     (json_int_t)u->completion_tokens, "cached_tokens",
                     (json_int_t)u->cached_tokens, "experts", experts, "queue_ms", u->queue_ms,
                     "prefill_ms", u->prefill_ms, "decode_ms", u->decode_ms, "preemptions",
                     (json_int_t)u->preemptions);
}

static void print_json(struct reception *r, const Moering__V1__Usage *u,
                       const Moering__V1__ExpertUsage *e)
{
    bool stop = r->last->finish_reason == MOERING__V1__FINISH_REASON__FINISH_REASON_STOP;
    json_t *text = json_stringn_nocheck(r->text ? r->text : "", r->text_bytes);
    json_t *out = json_pack("{s:o, s:O, s:s, s:o, s:f, s:f}", "text", text, "tokens", r->tokens,
                            "finish_reason", stop ? "stop" : "length", "usage", usage_json(u, e),
                            "hit_rate", hit_rate(e), "tokens_per_s", tokens_per_s(r, u));
    if (r->options->logprobs)
        json_object_set(out, "logprobs", r->logprobs);
    json_dumpf(out, stdout, JSON_COMPACT);
    printf("\n");
    json_decref(out);
}

static void print_figures(const struct reception *r, const Moering__V1__Usage *u,
                          const Moering__V1__ExpertUsage *e)
{
    fprintf(stderr,
            "%u prompt + %u output tokens, %.1f tokens/s; experts: %" PRIu64 " hits, %" PRIu64
            " misses (%.1f %% hits), %.1f MiB streamed, %.1f ms stalled\n",
            u->prompt_tokens, u->completion_tokens, tokens_per_s(r, u), e->hits, e->misses,
            100 * hit_rate(e), (double)e->bytes / (1 << 20), e->stall_ms);
}

static int finish(struct reception *r, const struct channel_result *result)
{
    Moering__V1__Usage no_usage = MOERING__V1__USAGE__INIT;
    Moering__V1__ExpertUsage no_experts = MOERING__V1__EXPERT_USAGE__INIT;
    if (r->lost)
        return cli_output_lost(r->lost);
    if (r->printed)
        printf("\n");
    if (r->failed) {
        fprintf(stderr, "moering-client: the answer could not be taken\n");
        return CLI_ERROR;
    }
    if (result->status)
        return cli_fail(result);
    if (!r->last) {
        fprintf(stderr, "moering-client: the stream ended without a last chunk\n");
        return CLI_ERROR;
    }
    const Moering__V1__Usage *usage = r->last->usage ? r->last->usage : &no_usage;
    const Moering__V1__ExpertUsage *experts = usage->experts ? usage->experts : &no_experts;
    if (r->options->json)
        print_json(r, usage, experts);
    else
        print_figures(r, usage, experts);
    return CLI_OK;
}

int cli_interrupt_fd(void)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    return signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC);
}

int cli_generate(const struct cli_options *o)
{
    struct reception r = {.options = o, .tokens = json_array(), .logprobs = json_array()};
    struct channel_result result = {0};
    struct channel *channel = NULL;
    uint8_t *request = NULL;
    char *input = NULL;
    int interrupt = -1, code = CLI_ERROR;
    const char *text = o->text;
    size_t text_bytes = text ? strlen(text) : 0, size;
    if (!text && !o->tokens.count) {
        text = input = cli_read_input(&text_bytes);
        if (!text)
            goto done;
    }
    request = pack_request(o, text, text_bytes, &size);
    if (!request)
        fprintf(stderr, "moering-client: out of memory\n");
    channel = request ? cli_connect(o) : NULL;
    if (!channel)
        goto done;
    interrupt = cli_interrupt_fd();
    struct channel_call call = {
        .path = "/moering.v1.Moering/Generate",
        .request = request,
        .request_bytes = size,
        .timeout_ms = o->timeout_ms,
        .cancel_fd = interrupt,
        .message = take_chunk,
        .arg = &r,
    };
    r.start_ns = now_ns();
    channel_run(channel, &call, &result);
    r.end_ns = now_ns();
    code = finish(&r, &result);
done:
    channel_close(channel);
    if (interrupt >= 0)
        close(interrupt);
    if (r.last)
        moering__v1__generate_chunk__free_unpacked(r.last, NULL);
    json_decref(r.tokens);
    json_decref(r.logprobs);
    free(r.text);
    free(request);
    free(input);
    return code;
}
