/* Tokens do not matter here, since a script routes them: sequences decode greedily whatever
 * comes. */
#include "tests/gpu/side.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "memory/base/clock.h"

static bool failed(const char *what, const struct error *error)
{
    fprintf(stderr, "bench_gpu: %s: %s\n", what, error->text);
    return false;
}

bool side_open(struct side *s, const struct side_config *config)
{
    struct engine_config engine;
    struct error error = {0};
    memset(s, 0, sizeof *s);
    engine_config_init(&engine);
    engine.model = config->model;
    engine.device = config->device;
    engine.placement = config->placement;
    engine.deterministic = config->deterministic;
    engine.device_experts = (struct room){.kind = ROOM_PERCENT, .percent = config->percent};
    if (config->percent < 100) /* all behind the ring: storage is not what is measured */
        engine.host_experts = (struct room){.kind = ROOM_PERCENT, .percent = 100};
    engine.max_num_seqs = config->batch;
    engine.max_model_len = config->length;
    engine.max_batch_tokens = config->batch_tokens;
    engine.threads = config->threads;
    engine.routing = trace_routing_script(&s->routing);
    enum status status = engine_open(&s->engine, &engine, &error);
    if (status == STATUS_NO_MEMORY && engine.host_experts.kind == ROOM_PERCENT) {
        failed("opening with all experts in host memory, so with what fits", &error);
        error.text[0] = '\0';
        engine.host_experts.kind = ROOM_AUTO;
        status = engine_open(&s->engine, &engine, &error);
    }
    if (status != STATUS_OK)
        return failed("opening", &error);
    const struct engine_info *info = engine_info(s->engine);
    s->batch_tokens = info->max_batch_tokens;
    s->opening = config->opening;
    if (trace_routing_open(&s->routing, config->trace, info->layers, info->experts, info->top_k,
                           &error) != STATUS_OK) {
        side_close(s);
        return failed("opening", &error);
    }
    return true;
}

void side_close(struct side *s)
{
    side_end(s);
    engine_close(s->engine);
    trace_routing_close(&s->routing);
    memset(s, 0, sizeof *s);
}

bool side_resize(struct side *s, double percent)
{
    struct error error = {0};
    struct engine_budget_result got;
    struct engine_budget asked = {.device_experts = {.kind = ROOM_PERCENT, .percent = percent}};
    asked.set[ENGINE_ROOM_DEVICE] = true;
    return engine_resize(s->engine, &asked, &got, &error) == STATUS_OK ||
           failed("resizing", &error);
}

/* One step of all sequences, `tokens` each. */
static bool step(struct side *s, uint32_t tokens, struct spent *spent)
{
    struct step_item items[BATCH_MAX] = {0};
    struct step_output outputs[BATCH_MAX];
    struct error error = {0};
    for (uint32_t i = 0; i < s->batch; i++) {
        items[i] = (struct step_item){.sequence = s->sequence[i], .tokens = tokens};
        spent->positions += (uint64_t)tokens * (sequence_computed(s->sequence[i]) + tokens);
    }
    trace_routing_step(&s->routing);
    if (engine_step(s->engine, items, s->batch, outputs, &error) != STATUS_OK)
        return failed("a step", &error);
    spent->distinct += s->routing.distinct;
    spent->tokens += (uint64_t)s->batch * tokens;
    spent->steps++;
    return true;
}

static bool open_sequence(struct side *s, uint32_t tokens)
{
    struct error error = {0};
    struct sampler_params sampling;
    uint32_t vocab = engine_info(s->engine)->vocab;
    uint32_t *prompt = malloc(tokens * sizeof *prompt);
    sampler_params_init(&sampling);
    sampling.temperature = 0;
    if (!prompt) {
        error_set(&error, STATUS_NO_MEMORY, "no memory for %u tokens", tokens);
        return failed("a prompt", &error);
    }
    for (uint32_t i = 0; i < tokens; i++)
        prompt[i] = (uint32_t)(((uint64_t)i * 2654435761u + s->batch * 40503u) % vocab);
    enum status status = engine_sequence_open(s->engine, prompt, tokens, &sampling,
                                              &s->sequence[s->batch], &error);
    free(prompt);
    if (status != STATUS_OK)
        return failed("a prompt", &error);
    s->batch++;
    return true;
}

void side_end(struct side *s)
{
    while (s->batch > 0)
        engine_sequence_close(s->engine, s->sequence[--s->batch]);
}

bool side_touch_all(struct side *s)
{
    struct spent unused = {0};
    uint32_t rows = (s->routing.experts + s->routing.top_k - 1) / s->routing.top_k;
    uint32_t most = engine_info(s->engine)->max_model_len - 1;
    if (rows > s->batch_tokens)
        rows = s->batch_tokens;
    if (rows > most)
        rows = most;
    side_end(s);
    s->routing.spread = true;
    bool good = open_sequence(s, rows) && step(s, rows, &unused);
    s->routing.spread = false;
    side_end(s);
    return good;
}

bool side_begin(struct side *s, uint32_t batch, uint64_t place)
{
    struct spent unused = {0};
    side_end(s);
    s->routing.place = place;
    for (uint32_t i = 0; i < batch; i++)
        if (!open_sequence(s, s->opening))
            return false;
    if ((uint64_t)batch * s->opening <= s->batch_tokens)
        return step(s, s->opening, &unused);
    for (uint32_t i = 0; i < s->opening; i++)
        if (!step(s, 1, &unused))
            return false;
    return true;
}

bool side_decode(struct side *s, uint32_t tokens, struct spent *spent)
{
    engine_stats_read(s->engine, &spent->before, NULL);
    uint64_t begin = clock_now_ns();
    for (uint32_t i = 0; i < tokens; i++)
        if (!step(s, 1, spent))
            return false;
    spent->seconds += (double)(clock_now_ns() - begin) / 1e9;
    engine_stats_read(s->engine, &spent->after, NULL);
    return true;
}

bool side_prompt(struct side *s, uint32_t tokens, struct spent *spent)
{
    side_end(s);
    if (!open_sequence(s, tokens))
        return false;
    engine_stats_read(s->engine, &spent->before, NULL);
    uint64_t begin = clock_now_ns();
    for (uint32_t done = 0; done < tokens;) {
        uint32_t now = tokens - done < s->batch_tokens ? tokens - done : s->batch_tokens;
        if (!step(s, now, spent))
            return false;
        done += now;
    }
    spent->seconds += (double)(clock_now_ns() - begin) / 1e9;
    engine_stats_read(s->engine, &spent->after, NULL);
    side_end(s);
    return true;
}
