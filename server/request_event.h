/* What the engine thread tells the front about one request: more output, the end, a failure; or
 * that the engine's own state has changed (request 0).
 *
 * An event grows while it waits: when the event queue is full it stays with its request and the
 * next step's output is added to it, so nothing is lost and nobody waits for the other thread. Made
 * and grown on the engine thread, read and closed on the front thread; one owner at a time. */
#ifndef MOERING_SERVER_REQUEST_EVENT_H
#define MOERING_SERVER_REQUEST_EVENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/engine.h"
#include "memory/base/status.h"
#include "server/stop_text.h"

#ifdef __cplusplus
extern "C" {
#endif

enum finish_reason { FINISH_NONE, FINISH_STOP, FINISH_LENGTH, FINISH_FAILED };

struct request_usage {
    uint32_t prompt_tokens, completion_tokens, preemptions;
    struct expert_usage experts;
    uint64_t queue_ns, prefill_ns, decode_ns;
};

struct request_event {
    uint64_t request;          /* 0: look at engine_thread_state */
    char *text;                /* whole UTF-8 characters */
    size_t text_bytes, text_capacity;
    struct sampled *tokens;
    uint32_t token_count, token_capacity;
    enum finish_reason finish; /* not NONE: the last event of its request */
    enum status status;        /* FAILED: why */
    struct error error;
    bool has_stop_token;       /* what STOP was: a token, or a text */
    uint32_t stop_token;
    uint32_t stop_text_bytes;  /* 0: none */
    char stop_text[STOP_TEXT_BYTES_MAX];
    struct request_usage usage;  /* with finish */
};

struct request_event *request_event_open(uint64_t request); /* NULL: out of memory */
void request_event_close(struct request_event *event);      /* accepts NULL */
/* False: out of memory, the event is as before. */
bool request_event_add_text(struct request_event *event, const char *text, size_t bytes);
bool request_event_add_token(struct request_event *event, const struct sampled *token);

#ifdef __cplusplus
}
#endif
#endif
