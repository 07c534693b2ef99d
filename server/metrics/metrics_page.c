/* The vllm:* set, family by family, in tables where families differ by nothing but names. */
#include "server/metrics/metrics_page.h"

#include <stdio.h>

static void gauge(struct metrics_text *t, const char *name, const char *help, double value)
{
    metrics_text_family(t, name, METRICS_GAUGE, help);
    metrics_text_number(t, NULL, 0, value);
}

static void counter(struct metrics_text *t, const char *name, const char *help, uint64_t value)
{
    metrics_text_family(t, name, METRICS_COUNTER, help);
    metrics_text_count(t, NULL, 0, value);
}

static void put_gauges(struct metrics_text *t, const struct metrics_snapshot *s)
{
    const struct scheduler_counts *now = &s->thread.batcher.now;
    double usage = now->kv_blocks ? (double)now->kv_blocks_used / now->kv_blocks : 0;
    gauge(t, "vllm:num_requests_running", "Requests that take part in steps now.", now->running);
    gauge(t, "vllm:num_requests_waiting", "Requests that wait for a seat or for KV blocks.",
          now->waiting);
    gauge(t, "vllm:kv_cache_usage_perc", "Share of the KV blocks in use; 1 is all of them.", usage);
    gauge(t, "vllm:gpu_cache_usage_perc", "The same as vllm:kv_cache_usage_perc, by its old name.",
          usage);
}

static void put_counters(struct metrics_text *t, const struct metrics_snapshot *s)
{
    const struct batcher_stats *b = &s->thread.batcher;
    counter(t, "vllm:prefix_cache_queries_total",
            "Prompt tokens looked up in the prefix cache, once per request.", b->prefix_queries);
    counter(t, "vllm:prefix_cache_hits_total",
            "Prompt tokens found there, so that they were not computed.", b->prefix_hits);
    counter(t, "vllm:num_preemptions_total",
            "Requests that lost their KV blocks and were computed anew.", b->now.preemptions);
    counter(t, "vllm:prompt_tokens_total", "Tokens of prompts that have been computed or found.",
            b->prompt_tokens);
    counter(t, "vllm:generation_tokens_total", "Tokens that have been sampled.",
            b->generation_tokens);
    counter(t, "vllm:spec_decode_num_drafts_total", "Drafts; 0: nothing is drafted.", 0);
    counter(t, "vllm:spec_decode_num_draft_tokens_total", "Tokens drafted.", 0);
    counter(t, "vllm:spec_decode_num_accepted_tokens_total", "Drafted tokens that were accepted.",
            0);
    const struct metrics_label position = {"position", "0"};
    metrics_text_family(t, "vllm:spec_decode_num_accepted_tokens_per_pos_total", METRICS_COUNTER,
                        "Drafted tokens that were accepted, by their place in the draft.");
    metrics_text_count(t, &position, 1, 0);
}

static void put_ends(struct metrics_text *t, const struct metrics_snapshot *s)
{
    static const char *const reasons[REQUEST_ENDS] = {
        [REQUEST_END_STOP] = "stop", [REQUEST_END_LENGTH] = "length", [REQUEST_END_ABORT] = "abort",
    };
    metrics_text_family(t, "vllm:request_success_total", METRICS_COUNTER,
                        "Requests that have ended, by reason; abort: given up by its client, past "
                        "its deadline, or cut off.");
    for (int i = 0; i < REQUEST_ENDS; i++) {
        const struct metrics_label reason = {"finished_reason", reasons[i]};
        metrics_text_count(t, &reason, 1, s->requests->ended[i]);
    }
}

static void put_histograms(struct metrics_text *t, const struct metrics_snapshot *s)
{
    static const struct {
        const char *name, *help;
        enum request_histogram which;
    } rows[] = {
        {"vllm:time_to_first_token_seconds", "From the submit of a request to its first token.",
         REQUEST_TTFT},
        {"vllm:inter_token_latency_seconds", "Between two tokens of a request, each one.",
         REQUEST_ITL},
        {"vllm:time_per_output_token_seconds",
         "The same as vllm:inter_token_latency_seconds, by its old name.", REQUEST_ITL},
        {"vllm:request_time_per_output_token_seconds",
         "Between two tokens, the mean of each request.", REQUEST_TPOT},
        {"vllm:e2e_request_latency_seconds", "From the submit of a request to its end.",
         REQUEST_E2E},
        {"vllm:request_queue_time_seconds", "Until a request was admitted.", REQUEST_QUEUE},
        {"vllm:request_inference_time_seconds", "From there to its end.", REQUEST_INFERENCE},
        {"vllm:request_prefill_time_seconds", "From there to its first token.", REQUEST_PREFILL},
        {"vllm:request_decode_time_seconds", "From its first token to its end.", REQUEST_DECODE},
        {"vllm:request_prompt_tokens", "Prompt tokens of a request.", REQUEST_PROMPT_TOKENS},
        {"vllm:request_generation_tokens", "Tokens sampled for a request.", REQUEST_OUTPUT_TOKENS},
        {"vllm:request_max_num_generation_tokens", "Most tokens of a choice of a request; each "
         "choice is a request of its own here.", REQUEST_OUTPUT_TOKENS_MAX},
        {"vllm:request_params_max_tokens", "The max_tokens of requests that have one.",
         REQUEST_MAX_TOKENS},
        {"vllm:request_params_n", "The n of calls.", REQUEST_CHOICES},
    };
    for (uint32_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        metrics_text_family(t, rows[i].name, METRICS_HISTOGRAM, rows[i].help);
        metrics_text_histogram(t, &s->requests->histogram[rows[i].which]);
    }
}

static void put_steps(struct metrics_text *t, const struct metrics_snapshot *s)
{
    const struct batcher_stats *b = &s->thread.batcher;
    double bounds[BATCHER_STEP_BOUNDS];
    for (uint32_t i = 0; i < BATCHER_STEP_BOUNDS; i++)
        bounds[i] = batcher_step_bound(i);
    metrics_text_family(t, "vllm:iteration_tokens_total", METRICS_HISTOGRAM,
                        "Tokens computed in a step, of prompts and of answers.");
    metrics_text_buckets(t, bounds, BATCHER_STEP_BOUNDS, b->steps, (double)b->step_tokens);
}

/* Follows from the bytes of the pool; what is stored otherwise than as plain keys and values is
 * "auto". */
static const char *kv_dtype(const struct metrics_snapshot *s)
{
    const struct engine_info *info = s->info;
    const struct engine_sizes *sizes = &s->engine.sizes;
    uint64_t values = 2ull * sizes->kv_blocks * info->kv_block_tokens * info->layers *
                      info->kv_heads * info->head_dim;
    if (values && sizes->kv_bytes == 4 * values)
        return "float32";
    return values && sizes->kv_bytes == 2 * values ? "float16" : "auto";
}

static void put_cache_config(struct metrics_text *t, const struct metrics_snapshot *s)
{
    char block[16], blocks[16];
    if (!s->info)
        return;
    snprintf(block, sizeof block, "%u", s->info->kv_block_tokens);
    snprintf(blocks, sizeof blocks, "%u", s->engine.sizes.kv_blocks);
    const struct metrics_label labels[] = {
        {"block_size", block},
        {"cache_dtype", kv_dtype(s)},
        {"enable_prefix_caching", s->info->prefix_caching ? "True" : "False"},
        {"num_gpu_blocks", blocks},
    };
    metrics_text_family(t, "vllm:cache_config_info", METRICS_GAUGE,
                        "How the KV cache is set up, in labels; always 1.");
    metrics_text_count(t, labels, sizeof labels / sizeof labels[0], 1);
}

void metrics_page(struct metrics_text *t, bool openmetrics, const struct metrics_snapshot *s)
{
    const struct metrics_label common[] = {{"model_name", s->model_name}, {"engine", "0"}};
    metrics_text_begin(t, openmetrics);
    if (s->model_name) {
        t->common = common;
        t->common_count = 2;
        put_gauges(t, s);
        put_counters(t, s);
        put_ends(t, s);
        put_histograms(t, s);
        put_steps(t, s);
        put_cache_config(t, s);
        t->common = NULL;
        t->common_count = 0;
    }
    metrics_page_experts(t, s);
    metrics_text_end(t);
}
