#include "server/requests/batcher.h"

#include <stdlib.h>
#include <string.h>

#include "memory/base/check.h"
#include "memory/base/clock.h"
#include "memory/base/log.h"
#include "server/requests/generation.h"

/* A failing read may succeed the next time (a network file system, a busy disk). One that fails
 * three times in a row ends the requests of the step that want its page, and no others: these are
 * computed without them. */
enum { STEP_ATTEMPTS = 3 };

/* A request whose next tokens a neighbour computes in the same step waits for that step and takes
 * them. So few are computed twice instead: another step costs more. */
enum { REPEATED_TOKENS = 64 };

struct batcher {
    struct batcher_config config;
    struct scheduler *scheduler;
    struct generation generation;
    struct step_item *items;     /* [max_num_seqs] */
    struct request **requests;   /* [max_num_seqs] of the step being computed */
    struct step_output *outputs; /* [max_num_seqs] */
    uint32_t *masks;             /* [max_num_seqs][mask_words] of the items; NULL: no request had a
                                    grammar yet */
    size_t mask_words;
    struct request *outbox, *outbox_last;
    struct batcher_stats stats;
};

enum status batcher_open(struct batcher **out, const struct batcher_config *config,
                         struct error *error)
{
    const struct engine_info *info = engine_info(config->engine);
    enum status status = STATUS_NO_MEMORY;
    struct batcher *b = calloc(1, sizeof *b);
    if (!b)
        goto fail;
    b->config = *config;
    struct scheduler_config limits = {
        .max_num_seqs = info->max_num_seqs,
        .max_batch_tokens = info->max_batch_tokens,
        .max_queue = config->max_queue,
        .prefill_chunk = config->prefill_chunk,
        .kv_blocks = info->kv_blocks,
        .kv_block_tokens = info->kv_block_tokens,
        .max_model_len = info->max_model_len,
    };
    status = scheduler_open(&b->scheduler, &limits, error);
    if (status != STATUS_OK)
        goto fail;
    status = generation_open(&b->generation, engine_tokenizer(config->engine), info->eos,
                             info->eos_count, error);
    if (status != STATUS_OK)
        goto fail;
    status = STATUS_NO_MEMORY;
    b->items = calloc(info->max_num_seqs, sizeof *b->items);
    b->requests = calloc(info->max_num_seqs, sizeof(*b->requests));
    b->outputs = calloc(info->max_num_seqs, sizeof *b->outputs);
    if (!b->items || !b->requests || !b->outputs)
        goto fail;
    *out = b;
    return STATUS_OK;
fail:
    batcher_close(b);
    return error_set(error, status, "out of memory for a batch of %u sequences",
                     info->max_num_seqs);
}

/* ---- outbox ---- */

static void outbox_add(struct batcher *b, struct request *r)
{
    if (r->in_outbox || !r->output.event)
        return;
    r->in_outbox = true;
    r->outbox_next = NULL;
    if (b->outbox_last)
        b->outbox_last->outbox_next = r;
    else
        b->outbox = r;
    b->outbox_last = r;
}

static void outbox_remove(struct batcher *b, struct request *r)
{
    if (!r->in_outbox)
        return;
    struct request *before = NULL, **link = &b->outbox;
    for (; *link != r; link = &(*link)->outbox_next)
        before = *link;
    *link = r->outbox_next;
    if (b->outbox_last == r)
        b->outbox_last = before;
    r->in_outbox = false;
    r->outbox_next = NULL;
}

struct request_event *batcher_outbox(struct batcher *b)
{
    return b->outbox ? b->outbox->output.event : NULL;
}

void batcher_taken(struct batcher *b)
{
    struct request *r = b->outbox;
    CHECK(r);
    outbox_remove(b, r);
    r->output.event = NULL;
    if (r->schedule.state == REQUEST_FINISHED)
        request_close(r);
}

/* ---- the ends of requests ---- */

/* Leaves the scheduler and the engine; the request lives on until its last event is taken. */
static void release(struct batcher *b, struct request *r)
{
    scheduler_remove(b->scheduler, r);
    engine_sequence_close(b->config.engine, r->sequence);
    r->sequence = NULL;
}

static void fail(struct batcher *b, struct request *r, enum status status, const char *why,
                 uint64_t now_ns)
{
    generation_fail(r, status, why, now_ns);
    release(b, r);
    outbox_add(b, r);
    if (status == STATUS_DEADLINE)
        b->stats.cancelled++;
    else
        b->stats.failed++;
}

void batcher_submit(struct batcher *b, struct request *r, uint64_t now_ns)
{
    struct error error = {0};
    enum status status = scheduler_submit(b->scheduler, r, now_ns, &error);
    if (status == STATUS_OK) {
        generation_begin(&b->generation, r);
        return;
    }
    r->schedule.state = REQUEST_FINISHED;
    r->schedule.submitted_ns = now_ns;
    generation_fail(r, status, error.text, now_ns);
    outbox_add(b, r);
    if (status == STATUS_FULL)
        b->stats.rejected++;
    else
        b->stats.failed++;
}

void batcher_cancel(struct batcher *b, uint64_t id)
{
    struct request *r = scheduler_find(b->scheduler, id);
    if (!r)
        return;
    release(b, r);
    outbox_remove(b, r);
    request_close(r);
    b->stats.cancelled++;
}

void batcher_pause(struct batcher *b, uint64_t id, bool paused)
{
    struct request *r = scheduler_find(b->scheduler, id);
    if (r)
        scheduler_pause(b->scheduler, r, paused);
}

void batcher_close(struct batcher *b)
{
    if (!b)
        return;
    if (b->scheduler) {
        struct request *r;
        while ((r = scheduler_any(b->scheduler)))
            batcher_cancel(b, r->id);
    }
    struct request_event *e;
    while ((e = batcher_outbox(b))) {
        batcher_taken(b);
        request_event_close(e);
    }
    scheduler_close(b->scheduler);
    generation_close(&b->generation);
    free(b->items);
    free(b->requests);
    free(b->outputs);
    free(b->masks);
    free(b);
}

/* ---- another budget ---- */

static void preempt(struct batcher *b, const struct plan *plan, uint32_t first)
{
    for (uint32_t i = first; i < plan->preempted_count; i++)
        if (plan->preempted[i]->sequence)
            engine_sequence_preempt(b->config.engine, plan->preempted[i]->sequence);
}

enum status batcher_resize(struct batcher *b, const struct engine_budget *asked,
                           struct engine_budget_result *got, uint32_t *preempted,
                           struct error *error)
{
    enum status status = engine_resize(b->config.engine, asked, got, error);
    *preempted = 0;
    if (status == STATUS_FULL) {
        const struct plan *plan = scheduler_resize(b->scheduler, got->after.kv_blocks);
        *preempted = plan->preempted_count;
        preempt(b, plan, 0);
        status = engine_resize(b->config.engine, asked, got, error);
        CHECK(status != STATUS_FULL);
    }
    /* What is in force now, whatever came of it. Requests that share blocks fit into the pool and
     * may still be too many as the scheduler counts. */
    const struct plan *plan = scheduler_resize(b->scheduler, got->after.kv_blocks);
    *preempted += plan->preempted_count;
    preempt(b, plan, 0);
    return status;
}

/* ---- a step ---- */

/* What grammars need and nobody else does. It stops all requests while it is made, once. */
static enum status open_grammars(struct batcher *b, struct error *error)
{
    const struct engine_info *info = engine_info(b->config.engine);
    uint64_t begin = clock_now_ns();
    if (b->masks)
        return STATUS_OK;
    enum status status = STATUS_OK;
    if (!b->generation.vocab)
        status = generation_open_vocab(&b->generation, info->vocab, error);
    if (status != STATUS_OK)
        return status;
    b->mask_words = grammar_mask_words(info->vocab);
    b->masks = malloc(info->max_num_seqs * b->mask_words * sizeof *b->masks);
    if (!b->masks)
        return error_set(error, STATUS_NO_MEMORY, "out of memory for the masks of a grammar");
    log_info("structured output: %u tokens made ready in %.1f ms", info->vocab,
             (double)(clock_now_ns() - begin) / 1e6);
    return STATUS_OK;
}

static enum status open_state(struct batcher *b, struct request *r, struct error *error)
{
    if (!r->asked.grammar || r->output.grammar || request_only_prompt(r))
        return STATUS_OK;
    enum status status = open_grammars(b, error);
    return status == STATUS_OK ? generation_begin_grammar(&b->generation, r, error) : status;
}

/* Whether it may take what others computed: not if something is to be read off every position. */
static bool shares_prefixes(const struct batcher *b, const struct request *r)
{
    return engine_info(b->config.engine)->prefix_caching && !r->asked.prompt_logprobs &&
           !b->config.logits;
}

/* Sequence and grammar, before its first step. False: the request has failed. */
static bool open_request(struct batcher *b, struct request *r, uint64_t now_ns)
{
    struct error error = {0};
    if (r->sequence)
        return true;
    enum status status = open_state(b, r, &error);
    if (status == STATUS_OK)
        status = engine_sequence_open(b->config.engine, r->asked.prompt, r->asked.prompt_tokens,
                                      &r->asked.sampling, &r->sequence, &error);
    if (status == STATUS_OK) {
        engine_sequence_salt(r->sequence, r->asked.cache_salt);
        if (shares_prefixes(b, r))
            b->stats.prefix_queries += r->asked.prompt_tokens;
        return true;
    }
    r->sequence = NULL;
    fail(b, r, status, error.text, now_ns);
    return false;
}

/* Which tokens may be sampled in the step to come, by the request's grammar. NULL: none may. */
static const uint32_t *fill_mask(struct batcher *b, struct request *r, uint32_t index)
{
    uint32_t *mask = b->masks + index * b->mask_words;
    return generation_mask(&b->generation, r, mask) ? mask : NULL;
}

/* The `index`th item of a step. False: its request has failed. */
static bool fill_item(struct batcher *b, struct request *r, uint32_t index, uint64_t now_ns)
{
    struct step_item *item = &b->items[index];
    *item = (struct step_item){.sequence = r->sequence, .tokens = r->schedule.planned,
                               .no_token = request_only_prompt(r)};
    bool samples = r->schedule.computed + item->tokens == r->schedule.known && !item->no_token;
    if (!samples || !r->output.grammar) {
        item->banned = generation_banned(r, &item->banned_count);
    } else if (!(item->allowed = fill_mask(b, r, index))) {
        fail(b, r, STATUS_INTERNAL,
             "the grammar leaves no token of this model to go on with, or no memory to find one",
             now_ns);
        return false;
    }
    if (b->config.logits)
        item->logits = b->config.logits(b->config.arg, r, r->schedule.computed, item->tokens);
    if (generation_ask_scores(r, item))
        return true;
    fail(b, r, STATUS_NO_MEMORY, "out of memory for the prompt's log-probabilities", now_ns);
    return false;
}

/* The planned tokens of the `index`th item, as far as others computed the same, are taken. After a
 * preemption these are mostly its own, so they do not count. */
static void take_prefix(struct batcher *b, struct request *r, uint32_t index)
{
    uint32_t taken = engine_sequence_take(b->config.engine, r->sequence,
                                          scheduler_room(b->scheduler, r));
    if (!taken)
        return;
    scheduler_advance(b->scheduler, index, taken);
    if (r->schedule.preemptions)
        return;
    r->output.cached_tokens += taken;
    b->stats.prefix_hits += taken;
}

/* Whether one of the `count` items prepared so far computes what this request would. As each of
 * those goes on by what is waited for, nobody waits forever, whatever becomes of it. */
static bool waits_for_neighbour(const struct batcher *b, const struct request *r, uint32_t count)
{
    uint32_t block = engine_info(b->config.engine)->kv_block_tokens;
    for (uint32_t i = 0; i < count; i++) {
        const struct request_schedule *other = &b->requests[i]->schedule;
        if (other->planned < REPEATED_TOKENS)
            continue;
        uint32_t shared = engine_sequences_share(b->config.engine, r->sequence,
                                                 b->requests[i]->sequence);
        uint32_t end = other->computed + other->planned;
        end = shared < end ? shared : end;
        end = end < r->schedule.known ? end : r->schedule.known - 1;
        if (end / block * block >= r->schedule.computed + REPEATED_TOKENS)
            return true;
    }
    return false;
}

/* The `index`th item of the plan becomes the `count`th of the step. False: it does not, its request
 * waits or has failed. */
static bool prepare_item(struct batcher *b, struct request *r, uint32_t index, uint32_t count,
                         uint64_t now_ns)
{
    if (!open_request(b, r, now_ns))
        return false;
    bool prefill = r->schedule.known - r->schedule.computed > 1;
    if (prefill && shares_prefixes(b, r)) {
        take_prefix(b, r, index);
        if (waits_for_neighbour(b, r, count)) {
            scheduler_withdraw(b->scheduler, index);
            return false;
        }
    }
    return fill_item(b, r, count, now_ns);
}

/* Fills items and requests from the plan, and goes on with what prefixes have left of the step. A
 * request whose part cannot be prepared fails. */
static uint32_t prepare(struct batcher *b, const struct plan *plan, uint64_t now_ns)
{
    uint32_t count = 0, index = 0, preempted = 0, planned;
    do {
        planned = plan->tokens;
        preempt(b, plan, preempted);
        preempted = plan->preempted_count;
        for (; index < plan->count; index++) {
            struct request *r = plan->items[index].request;
            if (prepare_item(b, r, index, count, now_ns))
                b->requests[count++] = r;
        }
        if (plan->tokens < planned)
            scheduler_fill(b->scheduler);
    } while (index < plan->count || preempted < plan->preempted_count);
    return count;
}

/* What one item of a step has brought. FINISH_NONE: its request goes on. */
static enum finish_reason take(struct batcher *b, struct request *r, const struct step_output *out,
                               uint64_t now_ns)
{
    bool computed = r->schedule.computed == r->schedule.known;
    bool ends = request_only_prompt(r) && computed;
    b->stats.prompt_tokens += ends || (out->sampled && r->output.tokens == 0)
                                  ? r->asked.prompt_tokens : 0;
    b->stats.generation_tokens += out->sampled;
    if (out->sampled)
        return generation_push(&b->generation, r, &out->token, now_ns);
    if (!ends)
        return FINISH_NONE;
    generation_end_prompt(r, now_ns);
    return r->output.event->finish;
}

static void commit(struct batcher *b, const struct step_item *item, struct request *r,
                   const struct step_output *out, uint64_t now_ns)
{
    expert_usage_add(&r->output.experts, &out->usage);
    scheduler_commit(b->scheduler, r, out->sampled);
    if (out->status != STATUS_OK) {
        fail(b, r, out->status, "sampling failed: the logits hold no usable number", now_ns);
        return;
    }
    bool news = generation_take_scores(r, item, now_ns) || out->sampled;
    enum finish_reason finish = take(b, r, out, now_ns);
    if (finish != FINISH_NONE) {
        b->stats.finished += finish != FINISH_FAILED;
        b->stats.failed += finish == FINISH_FAILED;
        release(b, r);
    }
    if (news || finish != FINISH_NONE)
        outbox_add(b, r);
}

/* Ends the requests that the failed step blames, closes the ranks of the others and returns how
 * many they are: fewer than before, because a step never fails without blaming somebody. */
static uint32_t fail_blamed(struct batcher *b, uint32_t count, const char *why, uint64_t now_ns)
{
    uint32_t left = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (b->outputs[i].status == STATUS_OK) {
            b->items[left] = b->items[i];
            b->requests[left++] = b->requests[i];
        } else {
            fail(b, b->requests[i], STATUS_INTERNAL, why, now_ns);
        }
    }
    CHECK(left < count);
    return left;
}

static void count_step(struct batcher *b, uint32_t count)
{
    uint32_t tokens = 0, i = 0;
    for (uint32_t item = 0; item < count; item++)
        tokens += b->items[item].tokens;
    while (i < BATCHER_STEP_BOUNDS && tokens > batcher_step_bound(i))
        i++;
    b->stats.steps[i]++;
    b->stats.step_tokens += tokens;
}

/* Computes the `count` prepared items and commits them; returns how many have yet to be computed
 * again because others of the step could not be. */
static uint32_t compute(struct batcher *b, uint32_t count)
{
    struct error error = {0};
    enum status status = STATUS_INTERNAL;
    for (int attempt = 0; attempt < STEP_ATTEMPTS && status != STATUS_OK; attempt++) {
        memset(&error, 0, sizeof error);
        status = engine_step(b->config.engine, b->items, count, b->outputs, &error);
        if (status != STATUS_OK)
            log_warn("step of %u sequences failed: %s: %s", count, status_name(status),
                     error.text);
    }
    uint64_t now_ns = clock_now_ns();
    if (status != STATUS_OK)
        return fail_blamed(b, count, error.text, now_ns);
    count_step(b, count);
    for (uint32_t i = 0; i < count; i++)
        commit(b, &b->items[i], b->requests[i], &b->outputs[i], now_ns);
    return 0;
}

bool batcher_step(struct batcher *b, uint64_t now_ns)
{
    struct request *late;
    while ((late = scheduler_expired(b->scheduler, now_ns)))
        fail(b, late, STATUS_DEADLINE, "the deadline has passed", now_ns);
    const struct plan *plan = scheduler_plan(b->scheduler, now_ns);
    bool preempted = plan->preempted_count > 0;
    uint32_t count = prepare(b, plan, now_ns);
    if (!count)
        return preempted;
    while (count > 0)
        count = compute(b, count);
#ifdef MOERING_DEBUG_CHECKS
    scheduler_check(b->scheduler);
    struct scheduler_counts counts = scheduler_count(b->scheduler);
    CHECK(engine_kv_blocks_free(b->config.engine) >= counts.kv_blocks - counts.kv_blocks_used);
#endif
    return true;
}

bool batcher_idle(const struct batcher *b)
{
    return scheduler_any(b->scheduler) == NULL;
}

uint64_t batcher_deadline(const struct batcher *b)
{
    return scheduler_deadline(b->scheduler);
}

struct batcher_stats batcher_stats_read(const struct batcher *b)
{
    struct batcher_stats stats = b->stats;
    stats.now = scheduler_count(b->scheduler);
    return stats;
}
