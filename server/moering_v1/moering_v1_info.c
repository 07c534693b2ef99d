/* The unary methods of moering.v1.Moering: they answer from what is known on the front thread. */
#include <moering/v1/moering.pb-c.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/tokenizer/detokenize.h"
#include "memory/base/clock.h"
#include "server/front_status.h"
#include "server/moering_v1/moering_v1_service.h"
#include "server/moering_v1/stats_encode.h"

void moering_v1_answer(struct grpc_call *call, const ProtobufCMessage *message)
{
    if (pb_send(call, message) == STATUS_NO_MEMORY)
        grpc_call_finish(call, GRPC_RESOURCE_EXHAUSTED, "out of memory for the answer");
    else
        grpc_call_finish(call, GRPC_OK, NULL);
}

/* The tokenizer, or ends the call and returns NULL. */
static const struct tokenizer *need_tokenizer(struct grpc_call *call)
{
    const struct engine *engine = moering_v1_ready(grpc_call_context(call), call);
    if (!engine)
        return NULL;
    if (!engine_tokenizer(engine))
        grpc_call_finish(call, GRPC_FAILED_PRECONDITION, "this model has no tokenizer.json");
    return engine_tokenizer(engine);
}

static bool add_pieces(struct pb_arena *arena, const struct tokenizer *tokenizer,
                       Moering__V1__TokenizeResponse *out)
{
    out->pieces = pb_arena_alloc(arena, (out->n_tokens + 1) * sizeof *out->pieces);
    if (!out->pieces)
        return false;
    for (size_t i = 0; i < out->n_tokens; i++) {
        size_t bytes = 0;
        out->pieces[i].data = (uint8_t *)tokenizer_piece(tokenizer, out->tokens[i], &bytes);
        out->pieces[i].len = out->pieces[i].data ? bytes : 0;
    }
    out->n_pieces = out->n_tokens;
    return true;
}

void moering_v1_tokenize(struct grpc_call *call, const uint8_t *bytes, size_t size)
{
    const struct tokenizer *tokenizer = need_tokenizer(call);
    if (!tokenizer)
        return;
    struct pb_arena arena, answer;
    struct token_list list = {0};
    struct error error = {0};
    pb_arena_init(&arena, 0);
    pb_arena_init(&answer, PB_BUDGET_MAX);
    Moering__V1__TokenizeRequest *m = (Moering__V1__TokenizeRequest *)moering_v1_unpack(
        call, &arena, &moering__v1__tokenize_request__descriptor, bytes, size);
    if (!m)
        goto done;
    bool add_special =
        m->_add_special_case == MOERING__V1__TOKENIZE_REQUEST___ADD_SPECIAL__NOT_SET ||
        m->add_special;
    enum status status = tokenizer_encode(tokenizer, (const char *)m->text.data, m->text.len,
                                          add_special, true, &list, &error);
    if (status != STATUS_OK) {
        error_prefix(&error, "text");
        grpc_call_finish(call, grpc_status_of(status), error.text);
        goto done;
    }
    Moering__V1__TokenizeResponse out = MOERING__V1__TOKENIZE_RESPONSE__INIT;
    out.n_tokens = list.count;
    out.tokens = list.ids;
    if (m->with_pieces && !add_pieces(&answer, tokenizer, &out))
        grpc_call_finish(call, GRPC_RESOURCE_EXHAUSTED, "out of memory for the pieces");
    else
        moering_v1_answer(call, &out.base);
done:
    token_list_reset(&list);
    pb_arena_reset(&arena);
    pb_arena_reset(&answer);
}

void moering_v1_detokenize_call(struct grpc_call *call, const uint8_t *bytes, size_t size)
{
    const struct tokenizer *tokenizer = need_tokenizer(call);
    if (!tokenizer)
        return;
    struct pb_arena arena;
    char *text = NULL;
    pb_arena_init(&arena, 0);
    Moering__V1__DetokenizeRequest *m = (Moering__V1__DetokenizeRequest *)moering_v1_unpack(
        call, &arena, &moering__v1__detokenize_request__descriptor, bytes, size);
    if (!m)
        goto done;
    for (size_t i = 0; i < m->n_tokens; i++)
        if (m->tokens[i] >= tokenizer_vocab_size(tokenizer)) {
            struct error error = {0};
            error_set(&error, STATUS_INVALID, "tokens[%zu] is %u, the vocabulary has %u tokens", i,
                      m->tokens[i], tokenizer_vocab_size(tokenizer));
            grpc_call_finish(call, GRPC_INVALID_ARGUMENT, error.text);
            goto done;
        }
    size_t text_bytes = 0;
    text = detokenize(tokenizer, m->tokens, m->n_tokens, !m->keep_special, &text_bytes);
    if (!text) {
        grpc_call_finish(call, GRPC_RESOURCE_EXHAUSTED, "out of memory for the text");
        goto done;
    }
    Moering__V1__DetokenizeResponse out = MOERING__V1__DETOKENIZE_RESPONSE__INIT;
    out.text.data = (uint8_t *)text;
    out.text.len = text_bytes;
    moering_v1_answer(call, &out.base);
done:
    free(text);
    pb_arena_reset(&arena);
}

void moering_v1_get_model(struct grpc_call *call, const uint8_t *bytes, size_t size)
{
    struct moering_v1 *s = grpc_call_context(call);
    const struct engine *engine = moering_v1_ready(s, call);
    if (!engine)
        return;
    const struct engine_info *info = engine_info(engine);
    struct engine_stats stats;
    char backend[FRONT_STATUS_BACKEND_MAX];
    engine_stats_read(engine, &stats, NULL);
    front_status_backend(backend, sizeof backend, info);
    Moering__V1__GetModelResponse out = MOERING__V1__GET_MODEL_RESPONSE__INIT;
    out.name = (char *)requests_model_name(s->requests);
    out.architecture = (char *)info->architecture;
    out.path = (char *)info->model_path;
    out.layers = info->layers;
    out.experts_per_layer = info->experts;
    out.experts_per_token = info->top_k;
    out.hidden_size = info->hidden;
    out.vocab_size = info->vocab;
    out.max_model_len = info->max_model_len;
    out.parameters = info->parameters;
    out.active_parameters = info->active_parameters;
    out.weight_dtype = (char *)info->weight_dtype;
    out.n_eos_token_ids = info->eos_count;
    out.eos_token_ids = (uint32_t *)info->eos;
    out.expert_pages = info->pages;
    out.expert_bytes = info->page_bytes_total;
    out.dense_bytes = info->dense_bytes;
    out.device_slots = stats.sizes.slots[MEMORY_DEVICE];
    out.device_slot_bytes = stats.sizes.slot_bytes[MEMORY_DEVICE];
    out.host_slots = stats.sizes.slots[MEMORY_HOST];
    out.host_slot_bytes = stats.sizes.slot_bytes[MEMORY_HOST];
    out.kv_bytes = stats.sizes.kv_bytes;
    out.max_num_seqs = info->max_num_seqs;
    out.max_num_batched_tokens = info->max_batch_tokens;
    out.backend = backend;
    out.version = (char *)MOERING_VERSION;
    if (info->device) {
        out.device = (char *)info->device;
        out.placement = (char *)placement_mode_name(info->placement);
    }
    out.link_idle_bytes_per_s = info->link_idle_bytes_per_s;
    out.link_loaded_bytes_per_s = info->link_loaded_bytes_per_s;
    out.deterministic = info->deterministic || !info->device; /* on the CPU it always is */
    moering_v1_answer(call, &out.base);
}

static void fill_requests(const struct moering_v1 *s, Moering__V1__GetStatsResponse *out)
{
    struct engine_thread_stats stats;
    engine_thread_stats_read(s->engine, &stats);
    const struct batcher_stats *b = &stats.batcher;
    out->uptime_s = (double)(clock_now_ns() - s->start_ns) / 1e9;
    out->requests_running = b->now.running;
    out->requests_waiting = b->now.waiting;
    out->requests_finished = b->finished;
    out->requests_cancelled = b->cancelled;
    out->requests_failed = b->failed;
    out->requests_rejected = b->rejected + requests_rejected(s->requests);
    out->preemptions = b->now.preemptions;
    out->prefix_queries = b->prefix_queries;
    out->prefix_hits = b->prefix_hits;
    out->prompt_tokens = b->prompt_tokens;
    out->generation_tokens = b->generation_tokens;
    out->kv_blocks_used = b->now.kv_blocks_used;
    out->kv_blocks = b->now.kv_blocks;
}

/* False: the arena is exhausted. */
static bool fill_engine(const struct engine *engine, struct pb_arena *arena,
                        Moering__V1__GetStatsResponse *out)
{
    const struct engine_info *info = engine_info(engine);
    struct engine_stats stats;
    size_t rows = (size_t)info->layers * LOAD_PHASES;
    struct engine_load *loads = pb_arena_alloc(arena, rows * sizeof *loads);
    if (!loads)
        return false;
    engine_stats_read(engine, &stats, loads);
    return stats_encode(arena, info, &stats, loads, out);
}

void moering_v1_get_stats(struct grpc_call *call, const uint8_t *bytes, size_t size)
{
    struct moering_v1 *s = grpc_call_context(call);
    Moering__V1__GetStatsResponse out = MOERING__V1__GET_STATS_RESPONSE__INIT;
    struct pb_arena arena;
    pb_arena_init(&arena, PB_BUDGET_MAX);
    fill_requests(s, &out);
    const struct engine *engine = engine_thread_engine(s->engine);
    if (engine && !fill_engine(engine, &arena, &out))
        grpc_call_finish(call, GRPC_RESOURCE_EXHAUSTED, "out of memory for the answer");
    else
        moering_v1_answer(call, &out.base);
    pb_arena_reset(&arena);
}
