/* `moering run`: prompts to answers in this process, through the same batcher as the server.
 *
 * Several prompts are computed in one batch. With one prompt the text is printed as it comes. What
 * is wrong with the flags themselves, and the file for the logits, is found before the model is
 * opened; lost output ends the run at once. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "memory/base/clock.h"
#include "memory/base/log.h"
#include "server/command/command.h"
#include "server/command/run_output.h"
#include "server/front_status.h"
#include "server/requests/batcher.h"

struct run {
    const struct config *config;
    struct engine *engine;
    struct batcher *batcher;
    struct front_status status;
    FILE *logits;               /* --logits-out, until it is written */
    struct run_answer *answers; /* [count] */
    uint32_t count;
};

/* ---- prompts ---- */

static uint32_t count_prompts(const struct config *c)
{
    if (!c->tokens)
        return c->prompt.count;
    uint32_t count = 1;
    for (const char *p = c->tokens; *p; p++)
        count += *p == ';';
    return count;
}

/* The ids of the list that starts at *text; *text moves behind its ';' or to the end. */
static enum status parse_ids(const char **text, struct token_list *out, struct error *error)
{
    const char *p = *text;
    for (;;) {
        char *end;
        errno = 0;
        unsigned long id = strtoul(p, &end, 10);
        if (end == p || *p == '-' || errno || id > UINT32_MAX ||
            (*end != ',' && *end != ';' && *end))
            return error_set(error, STATUS_INVALID,
                             "--tokens: '%.20s' is not a list of ids such as 1,2,3", *text);
        if (out->count == out->capacity) {
            uint32_t capacity = out->capacity ? 2 * out->capacity : 64;
            uint32_t *grown = realloc(out->ids, capacity * sizeof *grown);
            if (!grown)
                return error_set(error, STATUS_NO_MEMORY, "--tokens: out of memory");
            out->ids = grown;
            out->capacity = capacity;
        }
        out->ids[out->count++] = (uint32_t)id;
        p = end + (*end != 0);
        if (*end != ',') {
            *text = p;
            return STATUS_OK;
        }
    }
}

/* Words that no model could make sense of. */
static enum status check_prompts(const struct config *c, struct error *error)
{
    uint32_t count = count_prompts(c);
    if (!count || (c->tokens && c->prompt.count))
        return error_set(error, STATUS_INVALID,
                         "moering run needs --prompt TEXT or --tokens 1,2,3%s",
                         count ? ", not both" : "");
    enum status status = STATUS_OK;
    const char *ids = c->tokens;
    for (uint32_t i = 0; ids && status == STATUS_OK && i < count; i++) {
        struct token_list list = {0};
        status = parse_ids(&ids, &list, error);
        token_list_reset(&list);
    }
    return status;
}

static enum status read_prompt(const struct run *run, uint32_t i, const char **ids,
                               struct token_list *out, struct error *error)
{
    const struct config *c = run->config;
    if (c->tokens)
        return parse_ids(ids, out, error);
    const struct tokenizer *tokenizer = engine_tokenizer(run->engine);
    if (!tokenizer)
        return error_set(error, STATUS_UNSUPPORTED,
                         "%s: no tokenizer.json; give the prompt as --tokens 1,2,3", c->model);
    enum status status = tokenizer_encode(tokenizer, c->prompt.text[i], strlen(c->prompt.text[i]),
                                          c->add_special, true, out, error);
    if (status != STATUS_OK)
        error_prefix(error, "--prompt");
    return status;
}

static enum status fill_request(const struct config *c, struct request *r, struct error *error)
{
    struct sampler_params *s = &r->asked.sampling;
    s->temperature = (float)c->temperature;
    s->top_k = c->top_k;
    s->top_p = (float)c->top_p;
    s->min_p = (float)c->min_p;
    s->repetition_penalty = (float)c->repetition_penalty;
    s->presence_penalty = (float)c->presence_penalty;
    s->frequency_penalty = (float)c->frequency_penalty;
    s->has_seed = config_source_of(c, "seed") != CONFIG_DEFAULT;
    s->seed = c->seed;
    r->asked.has_max_tokens = true;
    r->asked.max_tokens = c->max_tokens ? c->max_tokens : 1; /* 0: the one sampled is not told */
    r->asked.min_tokens = c->min_tokens;
    r->asked.ignore_eos = c->ignore_eos;
    r->asked.keep_special = c->keep_special;
    for (uint32_t i = 0; i < c->stop.count; i++) {
        enum status status =
            stop_list_add(&r->asked.stops, c->stop.text[i], strlen(c->stop.text[i]), error);
        if (status != STATUS_OK)
            return status;
    }
    return sampler_params_check(s, error);
}

static enum status submit_all(struct run *run, struct error *error)
{
    const char *ids = run->config->tokens;
    for (uint32_t i = 0; i < run->count; i++) {
        struct token_list list = {0};
        struct request *r = request_open(i + 1);
        enum status status = r ? fill_request(run->config, r, error)
                               : error_set(error, STATUS_NO_MEMORY, "out of memory");
        if (status == STATUS_OK)
            status = read_prompt(run, i, &ids, &list, error);
        if (status == STATUS_OK) {
            r->asked.prompt = list.ids;
            r->asked.prompt_tokens = list.count;
            status = run_answer_begin(&run->answers[i], r,
                                      run->config->logits_out
                                          ? engine_info(run->engine)->vocab
                                          : 0,
                                      error);
        } else {
            token_list_reset(&list);
        }
        if (status != STATUS_OK) {
            request_close(r);
            return status;
        }
        batcher_submit(run->batcher, r, clock_now_ns());
    }
    return STATUS_OK;
}

/* ---- computing ---- */

static float *place_for_logits(void *arg, const struct request *r, uint32_t position,
                               uint32_t tokens)
{
    struct run *run = arg;
    return run_answer_logits(&run->answers[r->id - 1], position, tokens);
}

static enum status take_news(struct run *run, struct error *error)
{
    bool stream = run->count == 1 && !run->config->json;
    struct request_event *e;
    while ((e = batcher_outbox(run->batcher))) {
        batcher_taken(run->batcher);
        enum status status = STATUS_OK;
        if (e->finish == FINISH_FAILED)
            status = error_set(error, e->status, "%s", e->error.text);
        else
            status = run_answer_add(&run->answers[e->request - 1], e,
                                    run->config->max_tokens == 0, error);
        if (status == STATUS_OK && stream && run->config->max_tokens && e->text_bytes) {
            if (fwrite(e->text, 1, e->text_bytes, stdout) != e->text_bytes || fflush(stdout) != 0)
                status = error_set(error, STATUS_IO, "standard output: %s", strerror(errno));
        }
        request_event_close(e);
        if (status != STATUS_OK)
            return status;
    }
    return STATUS_OK;
}

static enum status compute(struct run *run, struct error *error)
{
    uint64_t start = clock_now_ns();
    enum status status = take_news(run, error); /* refusals */
    while (status == STATUS_OK && !batcher_idle(run->batcher)) {
        bool stepped = batcher_step(run->batcher, clock_now_ns());
        status = take_news(run, error); /* why a step failed is news too */
        if (status == STATUS_OK && !stepped && !batcher_idle(run->batcher))
            status = error_set(error, STATUS_INTERNAL, "nothing can be computed");
    }
    for (uint32_t i = 0; i < run->count; i++)
        run->answers[i].elapsed_ns = clock_now_ns() - start;
    return status;
}

/* ---- the command ---- */

static void on_progress(void *arg, const char *phase, double fraction)
{
    struct run *run = arg;
    if (run->status.bar)
        front_status_progress(&run->status, phase, fraction);
}

static void on_budget_line(const char *text, void *arg)
{
    struct run *run = arg;
    if (log_enabled(LOG_DEBUG)) {
        front_status_end_bar(&run->status);
        fprintf(stderr, "%s\n", text);
    }
}

static enum status open_engine(struct run *run, struct error *error)
{
    struct engine_config config;
    command_engine_config(run->config, &config);
    /* No more seats than prompts, so that the KV pool is not sized for guests who never come. */
    if (config_source_of(run->config, "max-num-seqs") == CONFIG_DEFAULT &&
        run->count < config.max_num_seqs)
        config.max_num_seqs = run->count;
    config.progress = on_progress;
    config.budget_line = on_budget_line;
    config.arg = run;
    enum status status = engine_open(&run->engine, &config, error);
    front_status_end_bar(&run->status);
    if (status != STATUS_OK)
        return status;
    struct batcher_config batching = {
        .engine = run->engine,
        .max_queue = run->count,
        .prefill_chunk = run->config->chunk,
        .logits = run->config->logits_out ? place_for_logits : NULL,
        .arg = run,
    };
    return batcher_open(&run->batcher, &batching, error);
}

static enum status execute(struct run *run, struct error *error)
{
    const struct config *c = run->config;
    enum status status = STATUS_OK;
    run->count = count_prompts(c);
    run->answers = calloc(run->count, sizeof *run->answers);
    if (!run->answers)
        return error_set(error, STATUS_NO_MEMORY, "out of memory");
    if (c->logits_out)
        status = run_open_logits(&run->logits, c->logits_out, error);
    if (status == STATUS_OK)
        status = open_engine(run, error);
    if (status == STATUS_OK)
        status = submit_all(run, error);
    if (status == STATUS_OK)
        status = compute(run, error);
    if (status == STATUS_OK && run->logits) {
        FILE *logits = run->logits;
        run->logits = NULL;
        status = run_write_logits(logits, c->logits_out, run->answers, run->count, error);
    }
    if (status == STATUS_OK)
        status = run_print(c->json, engine_info(run->engine), run->answers, run->count, error);
    if (status == STATUS_OK) /* last: a trace that fails costs no answer */
        status = engine_trace_finish(run->engine, error);
    return status;
}

int cmd_run(int argc, const char *const *argv)
{
    struct config config;
    struct error error = {0};
    int code = command_config(&config, CONFIG_RUN, argc, argv);
    if (code != COMMAND_GO_ON)
        return code;
    if (check_prompts(&config, &error) != STATUS_OK) {
        command_fail(&error);
        config_close(&config);
        return COMMAND_USAGE;
    }
    struct run run = {.config = &config};
    front_status_init(&run.status, 0, isatty(STDERR_FILENO), 0);
    enum status status = command_model(&config, &error);
    if (status == STATUS_OK)
        status = execute(&run, &error);
    code = status == STATUS_OK ? COMMAND_OK : command_fail(&error);
    if (run.logits)
        fclose(run.logits);
    batcher_close(run.batcher);
    engine_close(run.engine);
    for (uint32_t i = 0; run.answers && i < run.count; i++)
        run_answer_close(&run.answers[i]);
    free(run.answers);
    config_close(&config);
    return code;
}
