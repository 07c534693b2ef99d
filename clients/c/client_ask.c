#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clients/c/client.h"

static void copy_text(char *out, size_t room, const char *text)
{
    snprintf(out, room, "%s", text);
}

int moering_tokenize(struct moering_client *client, const char *text, size_t text_bytes,
                     bool add_special, uint32_t **ids, size_t *count, struct moering_error *error)
{
    Moering__V1__TokenizeRequest m = MOERING__V1__TOKENIZE_REQUEST__INIT;
    ProtobufCMessage *answer;
    m.text = (ProtobufCBinaryData){text_bytes, (uint8_t *)text};
    m._add_special_case = MOERING__V1__TOKENIZE_REQUEST___ADD_SPECIAL_ADD_SPECIAL;
    m.add_special = add_special;
    *ids = NULL;
    *count = 0;
    int status = client_unary(client, "/moering.v1.Moering/Tokenize", &m.base,
                              &moering__v1__tokenize_response__descriptor, &answer, error);
    if (status != MOERING_OK)
        return status;
    const Moering__V1__TokenizeResponse *got = (const Moering__V1__TokenizeResponse *)answer;
    *ids = malloc((got->n_tokens + 1) * sizeof **ids);
    if (!*ids)
        status = client_fail(error, MOERING_RESOURCE_EXHAUSTED, "out of memory for the tokens");
    else if (got->n_tokens)
        memcpy(*ids, got->tokens, got->n_tokens * sizeof **ids);
    *count = *ids ? got->n_tokens : 0;
    protobuf_c_message_free_unpacked(answer, NULL);
    return status;
}

int moering_detokenize(struct moering_client *client, const uint32_t *ids, size_t count,
                       bool keep_special, char **text, size_t *bytes, struct moering_error *error)
{
    Moering__V1__DetokenizeRequest m = MOERING__V1__DETOKENIZE_REQUEST__INIT;
    ProtobufCMessage *answer;
    m.n_tokens = count;
    m.tokens = (uint32_t *)ids;
    m.keep_special = keep_special;
    *text = NULL;
    *bytes = 0;
    int status = client_unary(client, "/moering.v1.Moering/Detokenize", &m.base,
                              &moering__v1__detokenize_response__descriptor, &answer, error);
    if (status != MOERING_OK)
        return status;
    const ProtobufCBinaryData *got = &((const Moering__V1__DetokenizeResponse *)answer)->text;
    *text = malloc(got->len + 1);
    if (!*text) {
        status = client_fail(error, MOERING_RESOURCE_EXHAUSTED, "out of memory for the text");
    } else {
        if (got->len)
            memcpy(*text, got->data, got->len);
        (*text)[got->len] = '\0';
        *bytes = got->len;
    }
    protobuf_c_message_free_unpacked(answer, NULL);
    return status;
}

int moering_get_model(struct moering_client *client, struct moering_model *out,
                      struct moering_error *error)
{
    Moering__V1__GetModelRequest m = MOERING__V1__GET_MODEL_REQUEST__INIT;
    ProtobufCMessage *answer;
    memset(out, 0, sizeof *out);
    int status = client_unary(client, "/moering.v1.Moering/GetModel", &m.base,
                              &moering__v1__get_model_response__descriptor, &answer, error);
    if (status != MOERING_OK)
        return status;
    const Moering__V1__GetModelResponse *got = (const Moering__V1__GetModelResponse *)answer;
    copy_text(out->name, sizeof out->name, got->name);
    copy_text(out->architecture, sizeof out->architecture, got->architecture);
    copy_text(out->backend, sizeof out->backend, got->backend);
    copy_text(out->version, sizeof out->version, got->version);
    out->layers = got->layers;
    out->experts_per_layer = got->experts_per_layer;
    out->experts_per_token = got->experts_per_token;
    out->vocab_size = got->vocab_size;
    out->max_model_len = got->max_model_len;
    out->parameters = got->parameters;
    out->active_parameters = got->active_parameters;
    out->expert_bytes = got->expert_bytes;
    protobuf_c_message_free_unpacked(answer, NULL);
    return MOERING_OK;
}

static void copy_tiers(struct moering_stats *out, const Moering__V1__GetStatsResponse *got)
{
    for (size_t i = 0; i < got->n_tiers; i++) {
        const Moering__V1__TierStats *tier = got->tiers[i];
        if (strcmp(tier->name, "device") == 0) {
            out->device_slots = tier->slots;
            out->device_pages = tier->resident_pages;
        } else if (strcmp(tier->name, "host") == 0) {
            out->host_slots = tier->slots;
            out->host_pages = tier->resident_pages;
        }
    }
}

int moering_get_stats(struct moering_client *client, struct moering_stats *out,
                      struct moering_error *error)
{
    Moering__V1__GetStatsRequest m = MOERING__V1__GET_STATS_REQUEST__INIT;
    ProtobufCMessage *answer;
    memset(out, 0, sizeof *out);
    int status = client_unary(client, "/moering.v1.Moering/GetStats", &m.base,
                              &moering__v1__get_stats_response__descriptor, &answer, error);
    if (status != MOERING_OK)
        return status;
    const Moering__V1__GetStatsResponse *got = (const Moering__V1__GetStatsResponse *)answer;
    out->uptime_s = got->uptime_s;
    out->requests_running = got->requests_running;
    out->requests_waiting = got->requests_waiting;
    out->requests_finished = got->requests_finished;
    out->requests_cancelled = got->requests_cancelled;
    out->requests_failed = got->requests_failed;
    out->requests_rejected = got->requests_rejected;
    out->prompt_tokens = got->prompt_tokens;
    out->generation_tokens = got->generation_tokens;
    out->steps = got->steps;
    if (got->experts) {
        out->expert_hits = got->experts->hits;
        out->expert_misses = got->experts->misses;
        out->expert_bytes = got->experts->bytes;
    }
    out->evictions = got->evictions;
    out->prefetch_issued = got->prefetch_issued;
    out->prefetch_used = got->prefetch_used;
    out->prefetch_wasted = got->prefetch_wasted;
    out->kv_blocks_used = got->kv_blocks_used;
    out->kv_blocks = got->kv_blocks;
    copy_tiers(out, got);
    protobuf_c_message_free_unpacked(answer, NULL);
    return MOERING_OK;
}

static void copy_sizes(struct moering_sizes *out, const Moering__V1__Budget *got)
{
    if (!out)
        return;
    memset(out, 0, sizeof *out);
    if (!got)
        return;
    out->device_slots = got->device_slots;
    out->device_bytes = got->device_bytes;
    out->host_slots = got->host_slots;
    out->host_bytes = got->host_bytes;
    out->kv_blocks = got->kv_blocks;
    out->kv_bytes = got->kv_bytes;
}

int moering_set_budget(struct moering_client *client, const struct moering_budget *given,
                       struct moering_sizes *before, struct moering_sizes *after,
                       struct moering_error *error)
{
    Moering__V1__SetBudgetRequest m = MOERING__V1__SET_BUDGET_REQUEST__INIT;
    struct moering_budget b = MOERING_BUDGET_INIT;
    ProtobufCMessage *answer;
    if (given->size < sizeof given->size || given->size > sizeof b)
        return client_fail(error, MOERING_INVALID_ARGUMENT,
                           "the budget was not begun with MOERING_BUDGET_INIT, or is of a newer "
                           "version");
    memcpy(&b, given, given->size);
    if (b.device_experts) {
        m._device_experts_case = MOERING__V1__SET_BUDGET_REQUEST___DEVICE_EXPERTS_DEVICE_EXPERTS;
        m.device_experts = (char *)b.device_experts;
    }
    if (b.host_experts) {
        m._host_experts_case = MOERING__V1__SET_BUDGET_REQUEST___HOST_EXPERTS_HOST_EXPERTS;
        m.host_experts = (char *)b.host_experts;
    }
    if (b.kv_cache_bytes) {
        m._kv_cache_bytes_case = MOERING__V1__SET_BUDGET_REQUEST___KV_CACHE_BYTES_KV_CACHE_BYTES;
        m.kv_cache_bytes = (char *)b.kv_cache_bytes;
    }
    int status = client_unary(client, "/moering.v1.Moering/SetBudget", &m.base,
                              &moering__v1__set_budget_response__descriptor, &answer, error);
    if (status != MOERING_OK)
        return status;
    const Moering__V1__SetBudgetResponse *got = (const Moering__V1__SetBudgetResponse *)answer;
    copy_sizes(before, got->before);
    copy_sizes(after, got->after);
    protobuf_c_message_free_unpacked(answer, NULL);
    return MOERING_OK;
}
