/* What an event says is cut into parts (openai_parts.h) and each part is a chunk. Log-probabilities
 * and ids are those of the event's tokens, whose text may come later or not at all: they stand in
 * the first chunk that the event makes. Tokens without a part to show make a chunk without text,
 * unless they are the last: a client sees, and may count, each step. */
#include "server/openai/chat_encode.h"

#include <string.h>

#include "server/openai/openai_logprobs.h"

static void put_logprobs(struct jsonw *w, const struct openai_answer *a,
                         const struct request_event *e)
{
    jsonw_key(w, "logprobs");
    if (a->asked->sampling.logprobs && e->token_count)
        openai_logprobs_chat(w, a->tokenizer, e->tokens, e->token_count);
    else
        jsonw_null(w);
}

/* Which word says that the model has ended by itself. With a tool that the client has named it is
 * no decision of the model's, and "stop". */
static const char *stopped(const struct openai_answer *a, uint32_t calls)
{
    return calls && a->asked->tools.choice != OPENAI_CHOICE_NAMED ? "tool_calls" : "stop";
}

/* ---- calls ---- */

/* The output function of SplitMix64. */
static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

/* Different for every call of every answer, as the ids of answers are: those are hashed (FNV-1a)
 * with the numbers of the choice and the call. "call_" and 24 letters and digits, or 9 of them. */
static void put_call_id(struct jsonw *w, const struct openai_answer *a, uint32_t choice,
                        uint32_t call)
{
    static const char digits[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    const struct openai_syntax *syntax = a->asked->reading.syntax;
    bool is_short = syntax && syntax->short_ids;
    char id[5 + 24] = "call_";
    size_t from = is_short ? 0 : 5, end = is_short ? 9 : sizeof id;
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (const char *p = a->id; *p; p++)
        hash = (hash ^ (unsigned char)*p) * UINT64_C(0x100000001b3);
    hash ^= (uint64_t)choice << 32 | call;
    for (size_t i = from; i < end; i++) {
        hash = mix(hash + UINT64_C(0x9e3779b97f4a7c15));
        id[i] = digits[hash % 62];
    }
    jsonw_bytes(w, id, end);
}

/* "id":...,"type":"function" */
static void put_call_head(struct jsonw *w, const struct openai_answer *a, uint32_t choice,
                          uint32_t call)
{
    jsonw_key(w, "id");
    put_call_id(w, a, choice, call);
    jsonw_key(w, "type");
    jsonw_text(w, "function");
}

/* Both names that clients read. */
static void put_thoughts(struct jsonw *w, const char *text, size_t bytes)
{
    jsonw_key(w, "reasoning_content");
    jsonw_bytes(w, text, bytes);
    jsonw_key(w, "reasoning");
    jsonw_bytes(w, text, bytes);
}

/* ---- chunks ---- */

static const struct request_event nothing = {.finish = FINISH_NONE};

static void begin_delta(struct jsonw *w, const struct openai_answer *a,
                        const struct openai_choice_state *c, const struct openai_prompt *prompt)
{
    openai_chunk_begin(w, a, prompt);
    jsonw_object_open(w);
    jsonw_key(w, "index");
    jsonw_uint(w, c->index);
    jsonw_key(w, "delta");
    jsonw_object_open(w);
}

/* What stands behind the delta; `e` says how the choice ended, or that it has not. */
static void end_delta(struct jsonw *w, const struct openai_answer *a,
                      const struct openai_choice_state *c, const struct request_event *e,
                      const struct openai_totals *totals)
{
    openai_finish(w, a, e, stopped(a, c->parts.calls));
    jsonw_object_end(w);
    openai_chunk_end(w, a, c, totals);
}

static void put_role(struct jsonw *w, const struct openai_answer *a,
                     const struct openai_choice_state *c)
{
    begin_delta(w, a, c, a->asked->return_token_ids ? c->prompt : NULL);
    jsonw_key(w, "role");
    jsonw_text(w, "assistant");
    jsonw_key(w, "content");
    jsonw_text(w, "");
    jsonw_object_end(w);
    put_logprobs(w, a, &nothing);
    end_delta(w, a, c, &nothing, NULL);
}

/* An event on its way into chunks. */
struct telling {
    struct jsonw *w;
    const struct openai_answer *answer;
    const struct openai_choice_state *choice;
    const struct request_event *tokens; /* not told yet; then `nothing` */
};

/* Of a call's first chunk: its head and name, and no arguments yet. */
static void put_call_delta(const struct telling *t, const struct openai_part *part)
{
    struct jsonw *w = t->w;
    bool begins = part->kind == OPENAI_PART_CALL;
    jsonw_key(w, "tool_calls");
    jsonw_array_open(w);
    jsonw_object_open(w);
    jsonw_key(w, "index");
    jsonw_uint(w, part->call);
    if (begins)
        put_call_head(w, t->answer, t->choice->index, part->call);
    jsonw_key(w, "function");
    jsonw_object_open(w);
    if (begins) {
        jsonw_key(w, "name");
        jsonw_bytes(w, part->text, part->bytes);
    }
    jsonw_key(w, "arguments");
    jsonw_bytes(w, part->text, begins ? 0 : part->bytes);
    jsonw_object_end(w);
    jsonw_object_end(w);
    jsonw_array_end(w);
}

static void put_part(void *arg, const struct openai_part *part)
{
    struct telling *t = arg;
    begin_delta(t->w, t->answer, t->choice, NULL);
    if (part->kind == OPENAI_PART_THOUGHT) {
        put_thoughts(t->w, part->text, part->bytes);
    } else if (part->kind == OPENAI_PART_CONTENT) {
        jsonw_key(t->w, "content");
        jsonw_bytes(t->w, part->text, part->bytes);
    } else {
        put_call_delta(t, part);
    }
    jsonw_object_end(t->w);
    put_logprobs(t->w, t->answer, t->tokens);
    if (t->answer->asked->return_token_ids)
        openai_sampled_ids(t->w, "token_ids", t->tokens->tokens, t->tokens->token_count);
    end_delta(t->w, t->answer, t->choice, &nothing, NULL);
    t->tokens = &nothing;
}

void chat_encode_event(struct jsonw *w, const struct openai_answer *a,
                       struct openai_choice_state *c, const struct request_event *e,
                       const struct openai_totals *totals)
{
    bool shows_tokens = a->asked->sampling.logprobs || a->asked->return_token_ids;
    struct telling telling = {w, a, c, e};
    if (!c->begun)
        put_role(w, a, c);
    c->begun = true;
    c->completion_tokens += e->token_count;
    openai_parts_push(&c->parts, e->text, e->text_bytes, put_part, &telling);
    if (e->finish != FINISH_NONE)
        openai_parts_finish(&c->parts, put_part, &telling);
    if (telling.tokens->token_count && (shows_tokens || e->finish == FINISH_NONE))
        put_part(&telling, &(struct openai_part){.kind = OPENAI_PART_CONTENT, .text = ""});
    w->failed = w->failed || c->parts.failed;
    if (e->finish == FINISH_NONE)
        return;
    begin_delta(w, a, c, NULL);
    jsonw_object_end(w);
    put_logprobs(w, a, &nothing);
    end_delta(w, a, c, e, totals);
}

/* ---- the whole ---- */

/* A message being put together. */
struct message {
    const struct openai_answer *answer;
    uint32_t choice, calls;
    struct jsonw thoughts, content, arguments; /* text */
    struct jsonw list;                         /* JSON: the calls */
};

static void end_call(struct message *m)
{
    if (!m->calls)
        return;
    jsonw_key(&m->list, "arguments");
    jsonw_bytes(&m->list, m->arguments.data, m->arguments.bytes);
    jsonw_object_end(&m->list);
    jsonw_object_end(&m->list);
    m->list.failed = m->list.failed || m->arguments.failed;
    jsonw_reset(&m->arguments);
}

static void add_part(void *arg, const struct openai_part *part)
{
    struct message *m = arg;
    if (part->kind != OPENAI_PART_CALL) {
        jsonw_plain(part->kind == OPENAI_PART_THOUGHT   ? &m->thoughts
                    : part->kind == OPENAI_PART_CONTENT ? &m->content
                                                        : &m->arguments,
                    part->text, part->bytes);
        return;
    }
    end_call(m);
    m->calls++;
    jsonw_object_open(&m->list);
    put_call_head(&m->list, m->answer, m->choice, part->call);
    jsonw_key(&m->list, "function");
    jsonw_object_open(&m->list);
    jsonw_key(&m->list, "name");
    jsonw_bytes(&m->list, part->text, part->bytes);
}

static void read_message(struct message *m, const struct request_event *said)
{
    struct openai_parts parts;
    openai_parts_init(&parts, &m->answer->asked->reading);
    jsonw_array_open(&m->list);
    openai_parts_push(&parts, said->text, said->text_bytes, add_part, m);
    openai_parts_finish(&parts, add_part, m);
    end_call(m);
    jsonw_array_end(&m->list);
    m->list.failed = m->list.failed || parts.failed;
    openai_parts_reset(&parts);
}

static void put_message(struct jsonw *w, const struct message *m)
{
    jsonw_object_open(w);
    jsonw_key(w, "role");
    jsonw_text(w, "assistant");
    jsonw_key(w, "content");
    if (m->calls && !m->content.bytes)
        jsonw_null(w);
    else
        jsonw_bytes(w, m->content.data, m->content.bytes);
    if (m->thoughts.bytes)
        put_thoughts(w, m->thoughts.data, m->thoughts.bytes);
    if (m->calls) {
        jsonw_key(w, "tool_calls");
        jsonw_value(w, m->list.data, m->list.bytes);
    }
    jsonw_object_end(w);
    w->failed = w->failed || m->thoughts.failed || m->content.failed || m->list.failed;
}

static void put_choice(struct jsonw *w, const struct openai_answer *a,
                       const struct openai_choice_state *c)
{
    struct message m = {.answer = a, .choice = c->index};
    read_message(&m, c->said);
    jsonw_object_open(w);
    jsonw_key(w, "index");
    jsonw_uint(w, c->index);
    jsonw_key(w, "message");
    put_message(w, &m);
    put_logprobs(w, a, c->said);
    openai_finish(w, a, c->said, stopped(a, m.calls));
    if (a->asked->return_token_ids)
        openai_sampled_ids(w, "token_ids", c->said->tokens, c->said->token_count);
    jsonw_object_end(w);
    jsonw_close(&m.thoughts);
    jsonw_close(&m.content);
    jsonw_close(&m.arguments);
    jsonw_close(&m.list);
}

void chat_encode(struct jsonw *w, const struct openai_answer *a,
                 struct openai_choice_state *const *choices, uint32_t count,
                 const struct openai_totals *totals)
{
    openai_answer_begin(w, a, "chat.completion",
                        count && a->asked->return_token_ids ? choices[0]->prompt : NULL);
    for (uint32_t i = 0; i < count; i++)
        put_choice(w, a, choices[i]);
    openai_answer_end(w, totals);
}
