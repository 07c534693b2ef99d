#include "server/command/run_output.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "memory/base/bytes.h"
#include "memory/base/check.h"

enum status run_answer_begin(struct run_answer *a, const struct request *r, uint32_t vocab,
                             struct error *error)
{
    uint64_t positions = (uint64_t)r->asked.prompt_tokens + r->asked.max_tokens;
    a->prompt_tokens = r->asked.prompt_tokens;
    a->prompt = malloc((size_t)a->prompt_tokens * sizeof *a->prompt + 1);
    a->all = request_event_open(r->id);
    if (!a->prompt || !a->all)
        return error_set(error, STATUS_NO_MEMORY, "out of memory for the answer");
    if (a->prompt_tokens)
        memcpy(a->prompt, r->asked.prompt, a->prompt_tokens * sizeof *a->prompt);
    if (!vocab)
        return STATUS_OK;
    a->vocab = vocab;
    a->positions = positions < UINT32_MAX ? (uint32_t)positions : UINT32_MAX;
    /* Pages that are never written cost nothing, so the room may be generous. */
    a->logits = calloc(a->positions, (size_t)vocab * sizeof *a->logits);
    if (!a->logits)
        return error_set(error, STATUS_NO_MEMORY, "--logits-out: no memory for %u positions of %u",
                         a->positions, vocab);
    return STATUS_OK;
}

float *run_answer_logits(struct run_answer *a, uint32_t position, uint32_t tokens)
{
    CHECK(tokens <= a->positions && position <= a->positions - tokens);
    if (position + tokens > a->computed)
        a->computed = position + tokens;
    return a->logits + (size_t)position * a->vocab;
}

enum status run_answer_add(struct run_answer *a, const struct request_event *e, bool mute,
                           struct error *error)
{
    struct request_event *all = a->all;
    bool ok = mute || request_event_add_text(all, e->text, e->text_bytes);
    for (uint32_t i = 0; !mute && i < e->token_count; i++)
        ok = ok && request_event_add_token(all, &e->tokens[i]);
    if (!ok)
        return error_set(error, STATUS_NO_MEMORY, "out of memory for the answer");
    all->finish = mute && e->finish ? FINISH_LENGTH : e->finish;
    if (e->finish == FINISH_NONE)
        return STATUS_OK;
    all->usage = e->usage;
    all->usage.completion_tokens = all->token_count;
    if (!mute) {
        all->has_stop_token = e->has_stop_token;
        all->stop_token = e->stop_token;
        all->stop_text_bytes = e->stop_text_bytes;
        memcpy(all->stop_text, e->stop_text, e->stop_text_bytes);
    }
    return STATUS_OK;
}

void run_answer_close(struct run_answer *a)
{
    free(a->prompt);
    free(a->logits);
    request_event_close(a->all);
    memset(a, 0, sizeof *a);
}

static enum status logits_failed(const char *path, struct error *error)
{
    return error_set(error, STATUS_IO, "--logits-out %s: %s", path, strerror(errno));
}

enum status run_open_logits(FILE **out, const char *path, struct error *error)
{
    *out = fopen(path, "wbe");
    return *out ? STATUS_OK : logits_failed(path, error);
}

enum status run_write_logits(FILE *file, const char *path, const struct run_answer *answers,
                             uint32_t count, struct error *error)
{
    enum status status = STATUS_OK;
    for (uint32_t i = 0; status == STATUS_OK && i < count; i++) {
        size_t n = (size_t)answers[i].computed * answers[i].vocab;
        if (fwrite(answers[i].logits, sizeof(float), n, file) != n)
            status = logits_failed(path, error);
    }
    if (fclose(file) != 0 && status == STATUS_OK)
        status = logits_failed(path, error);
    return status;
}

/* ---- printing ---- */

static double hit_rate(const struct expert_usage *e)
{
    return e->hits + e->misses ? (double)e->hits / (double)(e->hits + e->misses) : 0;
}

static double tokens_per_s(const struct run_answer *a)
{
    double seconds = (double)a->elapsed_ns / 1e9;
    return seconds > 0 ? a->all->usage.completion_tokens / seconds : 0;
}

static json_t *ids_json(const uint32_t *ids, uint32_t count)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < count; i++)
        json_array_append_new(list, json_integer(ids[i]));
    return list;
}

static json_t *usage_json(const struct request_usage *u)
{
    return json_pack(
        "{s:I, s:I, s:I, s:{s:I, s:I, s:I, s:f}, s:f, s:f, s:I}", "prompt_tokens",
        (json_int_t)u->prompt_tokens, "cached_tokens", (json_int_t)u->cached_tokens,
        "completion_tokens", (json_int_t)u->completion_tokens,
        "experts", "hits", (json_int_t)u->experts.hits, "misses", (json_int_t)u->experts.misses,
        "bytes", (json_int_t)u->experts.bytes, "stall_ms", (double)u->experts.stall_ns / 1e6,
        "prefill_ms", (double)u->prefill_ns / 1e6, "decode_ms", (double)u->decode_ns / 1e6,
        "preemptions", (json_int_t)u->preemptions);
}

static json_t *model_json(const struct engine_info *info)
{
    return json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:s, s:I}", "name",
                     info->model_name, "architecture", info->architecture, "layers",
                     (json_int_t)info->layers, "experts", (json_int_t)info->experts, "top_k",
                     (json_int_t)info->top_k, "vocab", (json_int_t)info->vocab, "pages",
                     (json_int_t)info->pages, "device_slots", (json_int_t)info->device_slots,
                     "host_slots", (json_int_t)info->host_slots, "backend", info->backend, "isa",
                     info->isa, "threads", (json_int_t)info->threads);
}

static json_t *answer_json(const struct engine_info *info, const struct run_answer *a)
{
    const struct request_event *all = a->all;
    json_t *tokens = json_array();
    for (uint32_t i = 0; i < all->token_count; i++)
        json_array_append_new(tokens, json_integer(all->tokens[i].token));
    json_t *out = json_pack(
        "{s:o, s:o, s:s, s:o, s:f, s:f, s:o, s:o}", "text",
        json_stringn_nocheck(all->text ? all->text : "", all->text_bytes), "tokens", tokens,
        "finish_reason", all->finish == FINISH_STOP ? "stop" : "length", "usage",
        usage_json(&all->usage), "hit_rate", hit_rate(&all->usage.experts), "tokens_per_s",
        tokens_per_s(a), "prompt_token_ids", ids_json(a->prompt, a->prompt_tokens), "model",
        model_json(info));
    return out;
}

static void print_figures(const struct run_answer *a)
{
    const struct request_usage *u = &a->all->usage;
    char read[16];
    fprintf(stderr,
            "%u prompt + %u output tokens, %.1f tokens/s; experts: %" PRIu64 " hits, %" PRIu64
            " misses (%.1f %% hits), %s read, %.1f ms stalled\n",
            u->prompt_tokens, u->completion_tokens, tokens_per_s(a), u->experts.hits,
            u->experts.misses, 100 * hit_rate(&u->experts),
            bytes_format(u->experts.bytes, read, sizeof read), (double)u->experts.stall_ns / 1e6);
}

enum status run_print(bool json, const struct engine_info *info, const struct run_answer *answers,
                      uint32_t count, struct error *error)
{
    if (!json) {
        for (uint32_t i = 0; count > 1 && i < count; i++)
            printf("[%u] %.*s\n", i, (int)answers[i].all->text_bytes,
                   answers[i].all->text ? answers[i].all->text : "");
        if (count == 1)
            printf("\n");
        if (fflush(stdout) != 0)
            return error_set(error, STATUS_IO, "standard output: %s", strerror(errno));
        for (uint32_t i = 0; i < count; i++)
            print_figures(&answers[i]);
        return STATUS_OK;
    }
    json_t *list = json_array();
    for (uint32_t i = 0; i < count; i++)
        json_array_append_new(list, answer_json(info, &answers[i]));
    json_dumpf(count == 1 ? json_array_get(list, 0) : list, stdout, JSON_COMPACT);
    printf("\n");
    json_decref(list);
    return STATUS_OK;
}
