/* See scheduler.h for the rules. Running requests are an array in rank order (at most
 * max_num_seqs), waiting ones a list in rank order; a newcomer is placed from the list's end, which
 * is O(1) while priorities are equal. A step costs O(running), and O(waiting) only where deadlines
 * exist. */
#include "server/requests/scheduler.h"

#include <stdlib.h>
#include <string.h>

#include "memory/base/check.h"

struct scheduler {
    struct scheduler_config config;
    struct request **running; /* [max_num_seqs], in rank order */
    uint32_t running_count;
    struct request *waiting;  /* head: highest in rank */
    struct request *waiting_last;
    uint32_t waiting_count;
    uint32_t seats;           /* running + preempted */
    uint32_t free_blocks;
    uint64_t arrivals;
    uint64_t plans;           /* so far: the number of the one under way */
    uint64_t preemptions;
    uint32_t with_deadline;   /* requests that have one */
    struct plan plan;
};

enum status scheduler_open(struct scheduler **out, const struct scheduler_config *config,
                           struct error *error)
{
    if (!config->max_num_seqs || !config->max_batch_tokens || !config->kv_blocks ||
        !config->kv_block_tokens || !config->max_model_len)
        return error_set(error, STATUS_INVALID, "a limit of the scheduler is 0");
    if (config->max_num_seqs > config->max_batch_tokens)
        return error_set(error, STATUS_INVALID,
                         "--max-num-seqs %u is more than --max-num-batched-tokens %u: every "
                         "running sequence needs room for one token in each step",
                         config->max_num_seqs, config->max_batch_tokens);
    struct scheduler *s = calloc(1, sizeof *s);
    if (!s)
        goto fail;
    s->config = *config;
    s->free_blocks = config->kv_blocks;
    s->running = calloc(config->max_num_seqs, sizeof(*s->running));
    s->plan.items = calloc(config->max_num_seqs, sizeof *s->plan.items);
    s->plan.preempted = calloc(config->max_num_seqs, sizeof(*s->plan.preempted));
    if (!s->running || !s->plan.items || !s->plan.preempted)
        goto fail;
    *out = s;
    return STATUS_OK;
fail:
    scheduler_close(s);
    return error_set(error, STATUS_NO_MEMORY, "out of memory for a scheduler of %u sequences",
                     config->max_num_seqs);
}

void scheduler_close(struct scheduler *s)
{
    if (!s)
        return;
    free(s->running);
    free(s->plan.items);
    free(s->plan.preempted);
    free(s);
}

static bool ranks_before(const struct request *a, const struct request *b)
{
    if (a->asked.priority != b->asked.priority)
        return a->asked.priority > b->asked.priority;
    return a->schedule.arrival < b->schedule.arrival;
}

static uint32_t blocks_of(const struct scheduler *s, uint32_t tokens)
{
    return tokens / s->config.kv_block_tokens + (tokens % s->config.kv_block_tokens != 0);
}

static uint32_t remaining(const struct request *r)
{
    return r->schedule.known - r->schedule.computed;
}

/* ---- the two lists ---- */

static void waiting_insert(struct scheduler *s, struct request *r)
{
    struct request *after = s->waiting_last;
    while (after && ranks_before(r, after))
        after = after->schedule.previous;
    struct request *before = after ? after->schedule.next : s->waiting;
    r->schedule.previous = after;
    r->schedule.next = before;
    *(after ? &after->schedule.next : &s->waiting) = r;
    *(before ? &before->schedule.previous : &s->waiting_last) = r;
    r->schedule.state = REQUEST_QUEUED;
    s->waiting_count++;
}

static void waiting_unlink(struct scheduler *s, struct request *r)
{
    struct request *after = r->schedule.previous, *before = r->schedule.next;
    *(after ? &after->schedule.next : &s->waiting) = before;
    *(before ? &before->schedule.previous : &s->waiting_last) = after;
    r->schedule.previous = r->schedule.next = NULL;
    s->waiting_count--;
}

static void running_insert(struct scheduler *s, struct request *r)
{
    CHECK(s->running_count < s->config.max_num_seqs);
    uint32_t i = s->running_count++;
    for (; i > 0 && ranks_before(r, s->running[i - 1]); i--)
        s->running[i] = s->running[i - 1];
    s->running[i] = r;
    r->schedule.state = REQUEST_RUNNING;
}

/* Closes the gaps that preempted or removed requests left. */
static void running_compact(struct scheduler *s)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < s->running_count; i++)
        if (s->running[i]->schedule.state == REQUEST_RUNNING)
            s->running[kept++] = s->running[i];
    s->running_count = kept;
}

static void give_blocks_back(struct scheduler *s, struct request *r)
{
    s->free_blocks += r->schedule.blocks;
    r->schedule.blocks = 0;
}

/* ---- submit and remove ---- */

enum status scheduler_submit(struct scheduler *s, struct request *r, uint64_t now_ns,
                             struct error *error)
{
    uint32_t prompt = r->asked.prompt_tokens;
    if (prompt == 0)
        return error_set(error, STATUS_INVALID, "prompt has no tokens");
    if (prompt + (uint64_t)!request_only_prompt(r) > s->config.max_model_len)
        return error_set(error, STATUS_INVALID,
                         "prompt has %u tokens, the context of %u (--max-model-len) leaves no room "
                         "for %s", prompt, s->config.max_model_len,
                         request_only_prompt(r) ? "them" : "an answer");
    uint64_t pool = (uint64_t)s->config.kv_blocks * s->config.kv_block_tokens;
    uint64_t limit = r->asked.has_max_tokens ? (uint64_t)prompt + r->asked.max_tokens
                                             : s->config.max_model_len;
    if (limit > s->config.max_model_len)
        limit = s->config.max_model_len;
    /* The last token is sampled but never computed: limit - 1 positions enter the pool. */
    if (!r->asked.has_max_tokens && limit > pool + 1)
        limit = pool + 1;
    if (prompt > pool || limit > pool + 1)
        return error_set(error, STATUS_INVALID,
                         "prompt of %u tokens and up to %llu more can never fit in the KV cache of "
                         "%llu tokens (--kv-cache-bytes)", prompt,
                         (unsigned long long)(limit > prompt ? limit - prompt : 1),
                         (unsigned long long)pool);
    uint32_t seats_free = s->config.max_num_seqs - s->seats;
    if (s->waiting_count >= (uint64_t)s->config.max_queue + seats_free)
        return error_set(error, STATUS_FULL, "queue full: %u requests wait (--max-queue %u)",
                         s->waiting_count, s->config.max_queue);
    memset(&r->schedule, 0, sizeof r->schedule);
    r->schedule.arrival = ++s->arrivals;
    r->schedule.known = prompt;
    r->schedule.limit = (uint32_t)limit;
    r->schedule.submitted_ns = now_ns;
    s->with_deadline += r->asked.deadline_ns != 0;
    waiting_insert(s, r);
    return STATUS_OK;
}

void scheduler_remove(struct scheduler *s, struct request *r)
{
    CHECK(r->schedule.state != REQUEST_FINISHED);
    if (r->schedule.state == REQUEST_QUEUED)
        waiting_unlink(s, r);
    bool was_running = r->schedule.state == REQUEST_RUNNING;
    r->schedule.state = REQUEST_FINISHED;
    if (was_running)
        running_compact(s);
    give_blocks_back(s, r);
    s->seats -= r->schedule.seated;
    r->schedule.seated = false;
    s->with_deadline -= r->asked.deadline_ns != 0;
}

void scheduler_pause(struct scheduler *s, struct request *r, bool paused)
{
    r->schedule.paused = paused;
}

struct request *scheduler_find(const struct scheduler *s, uint64_t id)
{
    for (uint32_t i = 0; i < s->running_count; i++)
        if (s->running[i]->id == id)
            return s->running[i];
    for (struct request *r = s->waiting; r; r = r->schedule.next)
        if (r->id == id)
            return r;
    return NULL;
}

struct request *scheduler_any(const struct scheduler *s)
{
    return s->running_count ? s->running[0] : s->waiting;
}

/* ---- deadlines ---- */

struct request *scheduler_expired(const struct scheduler *s, uint64_t now_ns)
{
    if (!s->with_deadline)
        return NULL;
    for (uint32_t i = 0; i < s->running_count; i++)
        if (s->running[i]->asked.deadline_ns && s->running[i]->asked.deadline_ns <= now_ns)
            return s->running[i];
    for (struct request *r = s->waiting; r; r = r->schedule.next)
        if (r->asked.deadline_ns && r->asked.deadline_ns <= now_ns)
            return r;
    return NULL;
}

static uint64_t nearer(uint64_t a, uint64_t b)
{
    return !a || (b && b < a) ? b : a;
}

uint64_t scheduler_deadline(const struct scheduler *s)
{
    uint64_t nearest = 0;
    if (!s->with_deadline)
        return 0;
    for (uint32_t i = 0; i < s->running_count; i++)
        nearest = nearer(nearest, s->running[i]->asked.deadline_ns);
    for (struct request *r = s->waiting; r; r = r->schedule.next)
        nearest = nearer(nearest, r->asked.deadline_ns);
    return nearest;
}

/* ---- a step ---- */

static void preempt(struct scheduler *s, struct request *r)
{
    CHECK(r->schedule.planned == 0);
    give_blocks_back(s, r);
    r->schedule.computed = 0;
    r->schedule.preemptions++;
    s->preemptions++;
    s->plan.preempted[s->plan.preempted_count++] = r;
    waiting_insert(s, r); /* running_compact takes it out of the array */
}

static bool may_give(const struct request *r)
{
    return r->schedule.state == REQUEST_RUNNING && r->schedule.blocks && !r->schedule.planned;
}

/* Who gives blocks back so that `needy` can go on: a paused one, else the lowest in rank below it.
 * `needy` NULL: paused ones only. */
static struct request *victim_for(const struct scheduler *s, const struct request *needy)
{
    for (uint32_t i = s->running_count; i-- > 0;)
        if (s->running[i]->schedule.paused && may_give(s->running[i]))
            return s->running[i];
    if (!needy)
        return NULL;
    for (uint32_t i = s->running_count; i-- > 0;)
        if (may_give(s->running[i]) && ranks_before(needy, s->running[i]))
            return s->running[i];
    return NULL;
}

/* Tokens, at most `wanted`, that fit into the blocks it holds and those free. At least one is
 * fought for by preempting; 0: even so there is no room in this step. */
static uint32_t reserve(struct scheduler *s, struct request *r, uint32_t wanted)
{
    for (;;) {
        uint64_t room = ((uint64_t)r->schedule.blocks + s->free_blocks) *
                            s->config.kv_block_tokens - r->schedule.computed;
        if (room) {
            uint32_t tokens = room < wanted ? (uint32_t)room : wanted;
            uint32_t blocks = blocks_of(s, r->schedule.computed + tokens);
            s->free_blocks -= blocks - r->schedule.blocks;
            r->schedule.blocks = blocks;
            return tokens;
        }
        struct request *victim = victim_for(s, r);
        if (!victim)
            return 0;
        preempt(s, victim);
    }
}

static void plan_item(struct scheduler *s, struct request *r, uint32_t wanted)
{
    uint32_t tokens = reserve(s, r, wanted);
    if (!tokens)
        return;
    r->schedule.planned = tokens;
    s->plan.items[s->plan.count++] = (struct plan_item){r, tokens};
    s->plan.tokens += tokens;
}

static bool runs(const struct scheduler *s, const struct request *r)
{
    return r->schedule.state == REQUEST_RUNNING && !r->schedule.paused && !r->schedule.planned &&
           r->schedule.withdrawn != s->plans;
}

static void plan_decode(struct scheduler *s)
{
    for (uint32_t i = 0; i < s->running_count; i++)
        if (runs(s, s->running[i]) && remaining(s->running[i]) == 1)
            plan_item(s, s->running[i], 1);
    running_compact(s);
}

static void plan_prefill(struct scheduler *s)
{
    for (uint32_t i = 0; i < s->running_count; i++) {
        uint32_t left = s->config.max_batch_tokens - s->plan.tokens;
        if (!left)
            break;
        if (!runs(s, s->running[i]))
            continue;
        uint32_t wanted = remaining(s->running[i]);
        if (s->config.prefill_chunk && wanted > s->config.prefill_chunk)
            wanted = s->config.prefill_chunk;
        plan_item(s, s->running[i], wanted < left ? wanted : left);
    }
    running_compact(s);
}

/* Blocks that running prefills will still take for tokens already known. */
static uint64_t promised_blocks(const struct scheduler *s)
{
    uint64_t promised = 0;
    for (uint32_t i = 0; i < s->running_count; i++) {
        const struct request *r = s->running[i];
        if (!r->schedule.paused)
            promised += blocks_of(s, r->schedule.known) - r->schedule.blocks;
    }
    return promised;
}

/* True if all its tokens fit beside what is promised; may take the blocks of paused ones. */
static bool make_room(struct scheduler *s, const struct request *r, uint64_t promised)
{
    uint64_t need = blocks_of(s, r->schedule.known) + promised;
    while (need > s->free_blocks) {
        struct request *victim = victim_for(s, NULL);
        if (!victim)
            return false;
        preempt(s, victim);
    }
    return true;
}

static void admit(struct scheduler *s, uint64_t now_ns)
{
    uint64_t promised = promised_blocks(s);
    struct request *next;
    for (struct request *r = s->waiting; r; r = next) {
        next = r->schedule.next;
        if (s->running_count == s->config.max_num_seqs)
            break;
        /* A paused one would only sit; a newcomer without a seat lets those pass who have one. */
        if (r->schedule.paused ||
            (!r->schedule.seated && s->seats == s->config.max_num_seqs))
            continue;
        if (!make_room(s, r, promised))
            break;
        running_compact(s);
        next = r->schedule.next; /* a paused one may have joined the list behind it */
        promised += blocks_of(s, r->schedule.known);
        waiting_unlink(s, r);
        running_insert(s, r);
        s->seats += !r->schedule.seated;
        r->schedule.seated = true;
        if (!r->schedule.admitted_ns)
            r->schedule.admitted_ns = now_ns;
    }
    running_compact(s);
}

const struct plan *scheduler_plan(struct scheduler *s, uint64_t now_ns)
{
    s->plan.count = s->plan.tokens = s->plan.preempted_count = 0;
    s->plans++;
    plan_decode(s);
    if (!s->plan.preempted_count) /* else the pool is short: newcomers would only be thrown out */
        admit(s, now_ns);
    plan_prefill(s);
    return &s->plan;
}

/* ---- between a plan and its commits ---- */

/* Positions that the blocks it holds and those free have room for. */
static uint64_t positions(const struct scheduler *s, const struct request *r)
{
    return ((uint64_t)r->schedule.blocks + s->free_blocks) * s->config.kv_block_tokens;
}

uint32_t scheduler_room(const struct scheduler *s, const struct request *r)
{
    uint64_t most = positions(s, r);
    return (uint32_t)(most < r->schedule.known ? most : r->schedule.known) - 1;
}

/* The request's part of the step is `tokens` from now on. */
static void replan(struct scheduler *s, uint32_t item, uint32_t tokens)
{
    struct request *r = s->plan.items[item].request;
    uint32_t blocks = blocks_of(s, r->schedule.computed + tokens);
    s->free_blocks = s->free_blocks + r->schedule.blocks - blocks;
    r->schedule.blocks = blocks;
    s->plan.tokens = s->plan.tokens - r->schedule.planned + tokens;
    s->plan.items[item].tokens = r->schedule.planned = tokens;
}

void scheduler_advance(struct scheduler *s, uint32_t item, uint32_t tokens)
{
    CHECK(item < s->plan.count);
    struct request *r = s->plan.items[item].request;
    CHECK(r->schedule.planned > 0 &&
          (uint64_t)r->schedule.computed + tokens <= scheduler_room(s, r));
    r->schedule.computed += tokens;
    uint64_t room = positions(s, r) - r->schedule.computed;
    uint32_t left = remaining(r) < room ? remaining(r) : (uint32_t)room;
    replan(s, item, r->schedule.planned < left ? r->schedule.planned : left);
}

void scheduler_withdraw(struct scheduler *s, uint32_t item)
{
    CHECK(item < s->plan.count);
    CHECK(s->plan.items[item].request->schedule.planned > 0);
    s->plan.items[item].request->schedule.withdrawn = s->plans;
    replan(s, item, 0);
}

void scheduler_fill(struct scheduler *s)
{
    plan_prefill(s);
}

void scheduler_commit(struct scheduler *s, struct request *r, bool sampled)
{
    CHECK(r->schedule.planned > 0);
    r->schedule.computed += r->schedule.planned;
    r->schedule.planned = 0;
    r->schedule.known += sampled;
}

const struct plan *scheduler_resize(struct scheduler *s, uint32_t kv_blocks)
{
    CHECK(kv_blocks >= blocks_of(s, s->config.max_model_len));
    s->plan.count = s->plan.tokens = s->plan.preempted_count = 0;
    while (s->config.kv_blocks - s->free_blocks > kv_blocks) {
        struct request *victim = victim_for(s, NULL);
        for (uint32_t i = s->running_count; !victim && i-- > 0;)
            if (may_give(s->running[i]))
                victim = s->running[i];
        CHECK(victim);
        preempt(s, victim);
    }
    running_compact(s);
    s->free_blocks = kv_blocks - (s->config.kv_blocks - s->free_blocks);
    s->config.kv_blocks = kv_blocks;
    return &s->plan;
}

struct scheduler_counts scheduler_count(const struct scheduler *s)
{
    struct scheduler_counts counts = {
        .running = s->running_count,
        .waiting = s->waiting_count,
        .kv_blocks_used = s->config.kv_blocks - s->free_blocks,
        .kv_blocks = s->config.kv_blocks,
        .preemptions = s->preemptions,
    };
    for (uint32_t i = 0; i < s->running_count; i++)
        counts.paused += s->running[i]->schedule.paused;
    return counts;
}

void scheduler_check(const struct scheduler *s)
{
    uint64_t blocks = s->free_blocks;
    uint32_t seats = 0, waiting = 0, with_deadline = 0;
    for (uint32_t i = 0; i < s->running_count; i++) {
        const struct request *r = s->running[i];
        CHECK(r->schedule.state == REQUEST_RUNNING && r->schedule.seated);
        CHECK(i == 0 || ranks_before(s->running[i - 1], r));
        CHECK(r->schedule.blocks == blocks_of(s, r->schedule.computed + r->schedule.planned));
        CHECK(r->schedule.computed + r->schedule.planned <= r->schedule.known);
        CHECK(r->schedule.known <= r->schedule.limit);
        blocks += r->schedule.blocks;
        seats++;
        with_deadline += r->asked.deadline_ns != 0;
    }
    for (const struct request *r = s->waiting; r; r = r->schedule.next) {
        CHECK(r->schedule.state == REQUEST_QUEUED && r->schedule.blocks == 0);
        CHECK(r->schedule.computed == 0 && r->schedule.planned == 0);
        CHECK(!r->schedule.next || ranks_before(r, r->schedule.next));
        CHECK(r->schedule.next ? r->schedule.next->schedule.previous == r : s->waiting_last == r);
        seats += r->schedule.seated;
        with_deadline += r->asked.deadline_ns != 0;
        waiting++;
    }
    CHECK(blocks == s->config.kv_blocks);
    CHECK(seats == s->seats && seats <= s->config.max_num_seqs);
    CHECK(waiting == s->waiting_count && with_deadline == s->with_deadline);
}
