#include "server/moering_v1/generate_encode.h"

#include <moering/v1/moering.pb-c.h>

#include "engine/tokenizer/tokenizer.h"
#include "server/grpc/pb.h"

typedef Moering__V1__GenerateChunk generate_chunk;
typedef Moering__V1__TokenDetail token_detail;
typedef Moering__V1__TokenLogprob token_logprob;

static token_detail *make_detail(struct pb_arena *arena, const struct sampled *s,
                                 const struct tokenizer *tokenizer)
{
    token_detail *d = pb_arena_alloc(arena, sizeof *d);
    token_logprob **top = pb_arena_alloc(arena, (s->top_count + 1) * sizeof(*top));
    token_logprob *items = pb_arena_alloc(arena, (s->top_count + 1) * sizeof *items);
    if (!d || !top || !items)
        return NULL;
    moering__v1__token_detail__init(d);
    d->token = s->token;
    d->logprob = s->logprob;
    d->n_top = s->top_count;
    d->top = top;
    for (uint32_t i = 0; i < s->top_count; i++) {
        top[i] = &items[i];
        moering__v1__token_logprob__init(top[i]);
        top[i]->token = s->top[i].token;
        top[i]->logprob = s->top[i].logprob;
        if (!tokenizer || s->top[i].token >= tokenizer_vocab_size(tokenizer))
            continue;
        size_t bytes = 0;
        top[i]->piece.data = (uint8_t *)tokenizer_piece(tokenizer, s->top[i].token, &bytes);
        top[i]->piece.len = top[i]->piece.data ? bytes : 0;
    }
    return d;
}

static bool add_tokens(struct pb_arena *arena, generate_chunk *chunk,
                       const struct request_event *event, bool logprobs,
                       const struct tokenizer *tokenizer)
{
    uint32_t n = event->token_count;
    uint32_t *ids = pb_arena_alloc(arena, (n + 1) * sizeof *ids);
    token_detail **details = pb_arena_alloc(arena, (n + 1) * sizeof(*details));
    if (!ids || !details)
        return false;
    for (uint32_t i = 0; i < n; i++) {
        ids[i] = event->tokens[i].token;
        details[i] = logprobs ? make_detail(arena, &event->tokens[i], tokenizer) : NULL;
        if (logprobs && !details[i])
            return false;
    }
    chunk->n_tokens = n;
    chunk->tokens = ids;
    chunk->n_logprobs = logprobs ? n : 0;
    chunk->logprobs = details;
    return true;
}

static void fill_usage(const struct request_usage *from, Moering__V1__Usage *usage,
                       Moering__V1__ExpertUsage *experts)
{
    experts->hits = from->experts.hits;
    experts->misses = from->experts.misses;
    experts->bytes = from->experts.bytes;
    experts->stall_ms = (double)from->experts.stall_ns / 1e6;
    usage->prompt_tokens = from->prompt_tokens;
    usage->completion_tokens = from->completion_tokens;
    usage->experts = experts;
    usage->queue_ms = (double)from->queue_ns / 1e6;
    usage->prefill_ms = (double)from->prefill_ns / 1e6;
    usage->decode_ms = (double)from->decode_ns / 1e6;
    usage->preemptions = from->preemptions;
    usage->cached_tokens = from->cached_tokens;
}

static void set_end(generate_chunk *chunk, const struct request_event *event)
{
    chunk->finish_reason = event->finish == FINISH_STOP
                               ? MOERING__V1__FINISH_REASON__FINISH_REASON_STOP
                               : MOERING__V1__FINISH_REASON__FINISH_REASON_LENGTH;
    if (event->has_stop_token) {
        chunk->stop_cause_case = MOERING__V1__GENERATE_CHUNK__STOP_CAUSE_STOP_TOKEN;
        chunk->stop_token = event->stop_token;
    } else if (event->stop_text_bytes) {
        chunk->stop_cause_case = MOERING__V1__GENERATE_CHUNK__STOP_CAUSE_STOP_TEXT;
        chunk->stop_text.data = (uint8_t *)event->stop_text;
        chunk->stop_text.len = event->stop_text_bytes;
    }
}

enum status generate_send(struct grpc_call *call, const struct request_event *event, bool logprobs,
                          const struct tokenizer *tokenizer)
{
    generate_chunk chunk = MOERING__V1__GENERATE_CHUNK__INIT;
    Moering__V1__Usage usage = MOERING__V1__USAGE__INIT;
    Moering__V1__ExpertUsage experts = MOERING__V1__EXPERT_USAGE__INIT;
    bool ended = event->finish == FINISH_STOP || event->finish == FINISH_LENGTH;
    if (!ended && !event->text_bytes && !event->token_count)
        return STATUS_OK;
    struct pb_arena arena;
    pb_arena_init(&arena, PB_BUDGET_MAX);
    enum status status = STATUS_NO_MEMORY;
    if (add_tokens(&arena, &chunk, event, logprobs, tokenizer)) {
        chunk.text.data = (uint8_t *)event->text;
        chunk.text.len = event->text_bytes;
        if (ended) {
            set_end(&chunk, event);
            fill_usage(&event->usage, &usage, &experts);
            chunk.usage = &usage;
        }
        status = pb_send(call, &chunk.base);
    }
    pb_arena_reset(&arena);
    return status;
}

enum status generate_send_text(struct grpc_call *call, const void *text, size_t bytes)
{
    generate_chunk chunk = MOERING__V1__GENERATE_CHUNK__INIT;
    chunk.text.data = (uint8_t *)text;
    chunk.text.len = bytes;
    return pb_send(call, &chunk.base);
}
