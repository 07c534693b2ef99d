/* What the engine thread tells the front about one request: more output, the end, a failure; or
 * that the engine's own state has changed (request 0), or what came of a change of its budget.
 *
 * An event grows while it waits: when the event queue is full it stays with its request and the
 * next step's output is added to it, so nothing is lost and nobody waits for the other thread. Made
 * and grown on the engine thread, read and closed on the front thread; one owner at a time. */
#ifndef MOERING_SERVER_REQUESTS_REQUEST_EVENT_H
#define MOERING_SERVER_REQUESTS_REQUEST_EVENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/engine.h"
#include "memory/base/status.h"
#include "server/requests/stop_text.h"

#ifdef __cplusplus
extern "C" {
#endif

enum finish_reason { FINISH_NONE, FINISH_STOP, FINISH_LENGTH, FINISH_FAILED };

struct request_usage {
    uint32_t prompt_tokens, completion_tokens, preemptions;
    uint32_t cached_tokens;    /* of prompt_tokens: taken from the prefix cache */
    struct expert_usage experts;
    uint64_t queue_ns, prefill_ns, decode_ns;
};

/* A change of the memory budget that was asked for, and what came of it. */
struct budget_change {
    struct engine_budget asked;
    struct engine_budget_result got;
    uint32_t preempted;        /* requests that wait again, to be computed anew */
    uint64_t ns;               /* what it took */
    struct request_event *next; /* while it waits to be told */
};

struct request_event {
    uint64_t request;          /* 0: look at engine_thread_state */
    struct budget_change *change; /* not NULL: the answer to engine_thread_resize, with `status` and
                                     `error`; `request` is who asked, 0: nobody on the wire */
    char *text;                /* whole UTF-8 characters */
    size_t text_bytes, text_capacity;
    struct sampled *tokens;
    uint32_t token_count, token_capacity;
    struct sampled *prompt; /* what the model says of prompt tokens 1.. in order: the first has
                               none. Each comes once, all before the first sampled token */
    uint32_t prompt_count, prompt_capacity;
    uint64_t ns; /* monotonic (memory/base/clock.h): its newest token was sampled, or else
                    its newest prompt tokens were computed, or it ended without */
    enum finish_reason finish; /* not NONE: the last event of its request */
    enum status status;        /* FAILED: why */
    struct error error;
    bool has_stop_token;       /* what STOP was: a token, or a text; neither: the grammar's end */
    uint32_t stop_token;
    uint32_t stop_text_bytes;  /* 0: none */
    char stop_text[STOP_TEXT_BYTES_MAX];
    struct request_usage usage;  /* with finish; cached_tokens always */
};

struct request_event *request_event_open(uint64_t request); /* NULL: out of memory */
/* An event with a change to ask for. NULL: out of memory. */
struct request_event *request_event_open_change(uint64_t request,
                                                const struct engine_budget *asked);
void request_event_close(struct request_event *event);      /* accepts NULL */
/* False: out of memory, the event is as before. */
bool request_event_add_text(struct request_event *event, const char *text, size_t bytes);
bool request_event_add_token(struct request_event *event, const struct sampled *token);
/* Room behind event->prompt for `count` more, to be written and then counted in prompt_count by the
 * caller. NULL: out of memory, the event is as before. */
struct sampled *request_event_prompt_room(struct request_event *event, uint32_t count);

#ifdef __cplusplus
}
#endif
#endif
