/* The subcommands that ask one question and print the answer. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "clients/cli/cli.h"

static void print_json(json_t *value)
{
    json_dumpf(value, stdout, JSON_COMPACT);
    printf("\n");
    json_decref(value);
}

static void print_bytes(const char *name, uint64_t n)
{
    if (n >= 1 << 20)
        printf("%-20s %.1f MiB\n", name, (double)n / (1 << 20));
    else
        printf("%-20s %.1f KiB\n", name, (double)n / 1024);
}

/* One token a line: its id and its piece, quoted as in JSON. */
static void print_pieces(const Moering__V1__TokenizeResponse *answer)
{
    for (size_t i = 0; i < answer->n_tokens && i < answer->n_pieces; i++) {
        json_t *piece = cli_piece_json(&answer->pieces[i]);
        printf("%u\t", answer->tokens[i]);
        json_dumpf(piece, stdout, JSON_ENCODE_ANY | JSON_COMPACT);
        printf("\n");
        json_decref(piece);
    }
}

int cli_tokenize(const struct cli_options *o)
{
    Moering__V1__TokenizeRequest request = MOERING__V1__TOKENIZE_REQUEST__INIT;
    char *input = NULL;
    const char *text = o->text;
    size_t bytes = text ? strlen(text) : 0;
    if (!text && !(text = input = cli_read_input(&bytes)))
        return CLI_ERROR;
    request.text = (ProtobufCBinaryData){bytes, (uint8_t *)text};
    request.with_pieces = o->pieces;
    if (o->no_special)
        request._add_special_case = MOERING__V1__TOKENIZE_REQUEST___ADD_SPECIAL_ADD_SPECIAL;
    Moering__V1__TokenizeResponse *answer = (Moering__V1__TokenizeResponse *)cli_unary(
        o, "/moering.v1.Moering/Tokenize", &request.base,
        &moering__v1__tokenize_response__descriptor);
    free(input);
    if (!answer)
        return CLI_ERROR;
    if (o->json) {
        json_t *ids = json_array(), *pieces = json_array();
        for (size_t i = 0; i < answer->n_tokens; i++)
            json_array_append_new(ids, json_integer(answer->tokens[i]));
        for (size_t i = 0; i < answer->n_pieces; i++)
            json_array_append_new(pieces, cli_piece_json(&answer->pieces[i]));
        print_json(json_pack("{s:o, s:o}", "tokens", ids, "pieces", pieces));
    } else if (o->pieces) {
        print_pieces(answer);
    } else {
        for (size_t i = 0; i < answer->n_tokens; i++)
            printf("%s%u", i ? " " : "", answer->tokens[i]);
        printf("\n");
    }
    protobuf_c_message_free_unpacked(&answer->base, NULL);
    return CLI_OK;
}

int cli_detokenize(const struct cli_options *o)
{
    Moering__V1__DetokenizeRequest request = MOERING__V1__DETOKENIZE_REQUEST__INIT;
    if (!o->tokens.count) {
        fprintf(stderr, "moering-client: detokenize needs --tokens 1,2,3\n");
        return CLI_USAGE;
    }
    request.n_tokens = o->tokens.count;
    request.tokens = o->tokens.ids;
    request.keep_special = o->keep_special;
    Moering__V1__DetokenizeResponse *answer = (Moering__V1__DetokenizeResponse *)cli_unary(
        o, "/moering.v1.Moering/Detokenize", &request.base,
        &moering__v1__detokenize_response__descriptor);
    if (!answer)
        return CLI_ERROR;
    if (o->json)
        print_json(json_pack("{s:o}", "text",
                             json_stringn_nocheck((const char *)answer->text.data,
                                                  answer->text.len)));
    else
        printf("%.*s\n", (int)answer->text.len, (const char *)answer->text.data);
    protobuf_c_message_free_unpacked(&answer->base, NULL);
    return CLI_OK;
}

/* Any message without bytes as JSON, by its descriptor. */
static json_t *message_json(const ProtobufCMessage *message);

static json_t *value_json(const ProtobufCFieldDescriptor *field, const void *at)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_UINT32: return json_integer(*(const uint32_t *)at);
    case PROTOBUF_C_TYPE_UINT64: return json_integer((json_int_t) * (const uint64_t *)at);
    case PROTOBUF_C_TYPE_DOUBLE: return json_real(*(const double *)at);
    case PROTOBUF_C_TYPE_BOOL: return json_boolean(*(const protobuf_c_boolean *)at);
    case PROTOBUF_C_TYPE_STRING: return json_string(*(const char *const *)at);
    case PROTOBUF_C_TYPE_MESSAGE: {
        const ProtobufCMessage *inner = *(const ProtobufCMessage *const *)at;
        return inner ? message_json(inner) : json_null();
    }
    default: return json_null();
    }
}

static json_t *message_json(const ProtobufCMessage *message)
{
    json_t *out = json_object();
    const ProtobufCMessageDescriptor *type = message->descriptor;
    for (unsigned i = 0; i < type->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &type->fields[i];
        const char *at = (const char *)message + f->offset;
        if (f->label != PROTOBUF_C_LABEL_REPEATED) {
            json_object_set_new(out, f->name, value_json(f, at));
            continue;
        }
        size_t count = *(const size_t *)((const char *)message + f->quantifier_offset);
        size_t width = f->type == PROTOBUF_C_TYPE_UINT32 ? sizeof(uint32_t) : sizeof(void *);
        const char *items = *(const char *const *)at;
        json_t *list = json_array();
        for (size_t k = 0; k < count; k++)
            json_array_append_new(list, value_json(f, items + k * width));
        json_object_set_new(out, f->name, list);
    }
    return out;
}

int cli_model(const struct cli_options *o)
{
    Moering__V1__GetModelRequest request = MOERING__V1__GET_MODEL_REQUEST__INIT;
    Moering__V1__GetModelResponse *m = (Moering__V1__GetModelResponse *)cli_unary(
        o, "/moering.v1.Moering/GetModel", &request.base,
        &moering__v1__get_model_response__descriptor);
    if (!m)
        return CLI_ERROR;
    if (o->json) {
        print_json(message_json(&m->base));
    } else {
        printf("%-20s %s\n%-20s %s\n", "name", m->name, "architecture", m->architecture);
        printf("%-20s %u layers, hidden %u, vocabulary %u, context %u\n", "shape", m->layers,
               m->hidden_size, m->vocab_size, m->max_model_len);
        printf("%-20s %u per layer, %u per token, %s\n", "experts", m->experts_per_layer,
               m->experts_per_token, m->weight_dtype);
        printf("%-20s %" PRIu64 ", of which a token uses %" PRIu64 "\n", "parameters",
               m->parameters, m->active_parameters);
        print_bytes("all experts", m->expert_bytes);
        print_bytes("device tier", m->device_slot_bytes);
        print_bytes("host tier", m->host_slot_bytes);
        print_bytes("KV cache", m->kv_bytes);
        printf("%-20s %s\n", "backend", m->backend);
        if (*m->device)
            printf("%-20s %s, %.1f GB/s from host memory, %.1f GB/s while it computes; placement "
                   "%s%s\n", "device", m->device, m->link_idle_bytes_per_s / 1e9,
                   m->link_loaded_bytes_per_s / 1e9, m->placement,
                   m->deterministic ? ", deterministic" : "");
        printf("%-20s %s\n", "server version", m->version);
    }
    protobuf_c_message_free_unpacked(&m->base, NULL);
    return CLI_OK;
}

static void print_requests(const Moering__V1__GetStatsResponse *s)
{
    printf("%-20s %.1f s\n", "uptime", s->uptime_s);
    printf("%-20s %u running, %u waiting\n", "requests", s->requests_running, s->requests_waiting);
    printf("%-20s %" PRIu64 " finished, %" PRIu64 " cancelled, %" PRIu64 " failed, %" PRIu64
           " rejected\n", "", s->requests_finished, s->requests_cancelled, s->requests_failed,
           s->requests_rejected);
    printf("%-20s %" PRIu64 " prompt, %" PRIu64 " generated\n", "tokens", s->prompt_tokens,
           s->generation_tokens);
    printf("%-20s %u of %u blocks, %" PRIu64 " preemptions\n", "KV cache", s->kv_blocks_used,
           s->kv_blocks, s->preemptions);
    if (s->prefix_queries)
        printf("%-20s %" PRIu64 " of %" PRIu64 " tokens (%.1f %%)\n", "prefix cache",
               s->prefix_hits, s->prefix_queries,
               100 * (double)s->prefix_hits / (double)s->prefix_queries);
}

static void print_regret(const Moering__V1__RegretStats *r)
{
    if (!r || !r->windows)
        return;
    printf("%-20s %.1f %% hits of %.1f %% possible by copying on demand (%.1f %%), newest %u "
           "requests\n",
           "against the best", 100 * r->hit_rate, 100 * r->oracle_hit_rate, 100 * r->share,
           r->requests);
}

static void print_prefetch(const Moering__V1__GetStatsResponse *s)
{
    const Moering__V1__PrefetchStats *p = s->prefetch;
    if (p) {
        printf("%-20s %" PRIu64 " issued, %" PRIu64 " used, %" PRIu64 " wasted", "prefetch",
               p->issued, p->used, p->wasted);
        if (p->used + p->wasted)
            printf(" (%.1f %% precise)", 100 * p->precision);
        printf("; now %s", p->active ? "on" : "off");
        if (p->issued)
            printf(", profit %.2f pages each", p->profit);
        printf("\n");
    }
    const Moering__V1__ForesightStats *f = s->foresight;
    if (f) {
        printf("%-20s %s", "foresight", f->predictor);
        if (f->transition_loss > 0 || f->previous_loss > 0 || f->lookahead_loss > 0)
            printf("; log loss: transition %.4f, previous %.4f, lookahead %.4f", f->transition_loss,
                   f->previous_loss, f->lookahead_loss);
        printf("\n");
    }
    if (s->stream && s->stream->layers)
        printf("%-20s %" PRIu64 " steps of whole layers, %" PRIu64 " on demand; room for %u\n",
               "streaming", s->stream->streamed_steps, s->stream->demand_steps, s->stream->layers);
    const Moering__V1__PlacementStats *place = s->placement;
    if (place && place->mode[0])
        printf("%-20s %s: %" PRIu64 " missing experts fetched, %" PRIu64 " computed on the host\n",
               "placement", place->mode, place->at_device, place->at_host);
}

/* Layers of one phase in one state, as ranges: "0-5,9". */
static void print_layers(const Moering__V1__GetStatsResponse *s, const char *phase,
                         const char *state)
{
    const char *comma = "";
    for (size_t i = 0; i < s->n_loads;) {
        const Moering__V1__LayerLoadStats *first = s->loads[i++], *last = first;
        if (strcmp(first->phase, phase) != 0 || strcmp(first->state, state) != 0)
            continue;
        for (; i < s->n_loads; i++) {
            if (strcmp(s->loads[i]->phase, phase) != 0)
                continue;
            if (strcmp(s->loads[i]->state, state) != 0 || s->loads[i]->layer != last->layer + 1)
                break;
            last = s->loads[i];
        }
        printf("%s%u", comma, first->layer);
        if (last != first)
            printf("-%u", last->layer);
        comma = ",";
    }
    if (!*comma)
        printf("none");
}

/* Who forecasts loads, and how well: the believed predictor's error over all layers, 10 ticks ahead
 * or as far as one was scored. */
static void print_error(const Moering__V1__GetStatsResponse *s, const char *phase)
{
    double sum = 0;
    uint32_t layers = 0, ticks = 0;
    for (size_t i = 0; i < s->n_loads; i++)
        for (size_t h = 0; h < s->loads[i]->n_forecasts; h++) {
            const Moering__V1__LoadForecast *f = s->loads[i]->forecasts[h];
            if (strcmp(s->loads[i]->phase, phase) != 0 || !f->scored || f->ticks > 10)
                continue;
            if (f->ticks > ticks) {
                ticks = f->ticks;
                sum = layers = 0;
            }
            if (f->ticks == ticks) {
                sum += f->error_ratio;
                layers++;
            }
        }
    if (layers)
        printf("; %u ticks ahead mean error ratio %.3f", ticks, sum / layers);
}

static void print_loads(const Moering__V1__GetStatsResponse *s)
{
    static const char *const phases[] = {"prefill", "decode"};
    for (size_t p = 0; p < 2; p++) {
        uint64_t ticks = 0;
        for (size_t i = 0; i < s->n_loads; i++)
            if (strcmp(s->loads[i]->phase, phases[p]) == 0 && s->loads[i]->ticks > ticks)
                ticks = s->loads[i]->ticks;
        if (!ticks)
            continue;
        printf("%s %-*s stable layers ", phases[p], 19 - (int)strlen(phases[p]), "loads");
        print_layers(s, phases[p], "stable");
        printf(", transient ");
        print_layers(s, phases[p], "transient");
        printf("; %" PRIu64 " ticks", ticks);
        print_error(s, phases[p]);
        printf("\n");
    }
}

static void print_stats(const Moering__V1__GetStatsResponse *s)
{
    print_requests(s);
    if (s->experts) {
        uint64_t asked = s->experts->hits + s->experts->misses;
        printf("%-20s %" PRIu64 " hits, %" PRIu64 " misses (%.1f %% hits), %.1f ms stalled; "
               "%" PRIu64 " evictions\n", "experts", s->experts->hits, s->experts->misses,
               asked ? 100.0 * (double)s->experts->hits / (double)asked : 0, s->experts->stall_ms,
               s->evictions);
    }
    print_regret(s->regret);
    print_prefetch(s);
    print_loads(s);
    if (s->page_ms > 0 && s->layer_ms > 0)
        printf("%-20s a page %.3f ms, a layer %.3f ms\n", "measured", s->page_ms, s->layer_ms);
    print_bytes("read from storage", s->storage_bytes);
    for (size_t i = 0; i < s->n_tiers; i++)
        printf("%-6s %-13s %u of %u slots, %.1f MiB\n", s->tiers[i]->name, "tier",
               s->tiers[i]->resident_pages, s->tiers[i]->slots,
               (double)s->tiers[i]->resident_bytes / (1 << 20));
    printf("%-20s %" PRIu64 ", %.1f ms\n", "steps", s->steps, s->step_ms_total);
}

int cli_stats(const struct cli_options *o)
{
    Moering__V1__GetStatsRequest request = MOERING__V1__GET_STATS_REQUEST__INIT;
    Moering__V1__GetStatsResponse *s = (Moering__V1__GetStatsResponse *)cli_unary(
        o, "/moering.v1.Moering/GetStats", &request.base,
        &moering__v1__get_stats_response__descriptor);
    if (!s)
        return CLI_ERROR;
    if (o->json)
        print_json(message_json(&s->base));
    else
        print_stats(s);
    protobuf_c_message_free_unpacked(&s->base, NULL);
    return CLI_OK;
}

static void print_sizes(const char *name, const Moering__V1__Budget *b)
{
    if (b)
        printf("%-20s device %u slots, %.1f MiB; host %u slots, %.1f MiB; KV cache %u blocks, %.1f "
               "MiB\n", name, b->device_slots, (double)b->device_bytes / (1 << 20), b->host_slots,
               (double)b->host_bytes / (1 << 20), b->kv_blocks, (double)b->kv_bytes / (1 << 20));
}

int cli_budget(const struct cli_options *o)
{
    Moering__V1__SetBudgetRequest request = MOERING__V1__SET_BUDGET_REQUEST__INIT;
    if (!o->device_experts && !o->host_experts && !o->kv_cache_bytes) {
        fprintf(stderr, "moering-client: budget needs --device-experts, --host-experts or "
                        "--kv-cache-bytes\n");
        return CLI_USAGE;
    }
    if (o->device_experts) {
        request._device_experts_case =
            MOERING__V1__SET_BUDGET_REQUEST___DEVICE_EXPERTS_DEVICE_EXPERTS;
        request.device_experts = (char *)o->device_experts;
    }
    if (o->host_experts) {
        request._host_experts_case = MOERING__V1__SET_BUDGET_REQUEST___HOST_EXPERTS_HOST_EXPERTS;
        request.host_experts = (char *)o->host_experts;
    }
    if (o->kv_cache_bytes) {
        request._kv_cache_bytes_case =
            MOERING__V1__SET_BUDGET_REQUEST___KV_CACHE_BYTES_KV_CACHE_BYTES;
        request.kv_cache_bytes = (char *)o->kv_cache_bytes;
    }
    Moering__V1__SetBudgetResponse *m = (Moering__V1__SetBudgetResponse *)cli_unary(
        o, "/moering.v1.Moering/SetBudget", &request.base,
        &moering__v1__set_budget_response__descriptor);
    if (!m)
        return CLI_ERROR;
    if (o->json) {
        print_json(message_json(&m->base));
    } else {
        print_sizes("before", m->before);
        print_sizes("after", m->after);
        printf("%-20s %u requests wait again, no step for %.1f ms\n", "meanwhile",
               m->preempted_requests, m->elapsed_ms);
    }
    protobuf_c_message_free_unpacked(&m->base, NULL);
    return CLI_OK;
}
