/* One generation that a client asked for, from its acceptance to its last token.
 *
 * The front fills `asked`, hands the request to the engine thread and keeps only its id: from then
 * on the scheduler, the batcher and the generation code own it, all of them on the engine thread,
 * and it is released there. What comes back travels as events (server/requests/request_event.h).
 *
 *     QUEUED --admit--> RUNNING --last token, cancel, deadline, failure--> FINISHED
 *        ^                 |
 *        +---- preempt ----+      gives its KV blocks back; its tokens are computed again later */
#ifndef MOERING_SERVER_REQUESTS_REQUEST_H
#define MOERING_SERVER_REQUESTS_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/engine.h"
#include "engine/grammar/grammar.h"
#include "engine/tokenizer/detokenize.h"
#include "memory/base/status.h"
#include "server/requests/stop_text.h"

#ifdef __cplusplus
extern "C" {
#endif

#define REQUEST_STOP_TOKENS_MAX 64
#define REQUEST_SHOWN_SPECIAL_MAX 16
#define REQUEST_BANNED_MAX (REQUEST_STOP_TOKENS_MAX + ENGINE_EOS_MAX)

struct request_event;

enum request_state { REQUEST_QUEUED, REQUEST_RUNNING, REQUEST_FINISHED };

/* What the client asked for, checked by the front. */
struct request_asked {
    uint32_t *prompt;          /* owned */
    uint32_t prompt_tokens;
    struct sampler_params sampling;
    struct sampler_bias *bias; /* owned; sampling.bias points at it. NULL: none */
    struct grammar *grammar;   /* owned; the output stays within it. NULL: free text */
    bool prompt_logprobs; /* report each prompt token's, with sampling.top_logprobs alternatives */
    bool has_max_tokens;       /* else as many as fit */
    uint32_t max_tokens;       /* 0: the prompt is computed, nothing sampled, FINISH_LENGTH */
    uint32_t min_tokens;
    bool ignore_eos;
    bool keep_special;         /* special tokens are written into the text */
    uint32_t shown_special[REQUEST_SHOWN_SPECIAL_MAX]; /* else these alone */
    uint32_t shown_special_count;
    bool include_stop;
    struct stop_list stops;    /* owned */
    uint32_t stop_tokens[REQUEST_STOP_TOKENS_MAX];
    uint32_t stop_token_count;
    int32_t priority;          /* higher first */
    uint32_t choices; /* that its call asked for (n), for the figures; 0: another of them tells */
    uint64_t deadline_ns;      /* 0: none */
    uint64_t cache_salt;       /* prefixes are shared with requests of the same alone; 0: none */
};

/* The scheduler's part. */
struct request_schedule {
    enum request_state state;
    uint64_t arrival;          /* number in order of submission: breaks ties of priority */
    uint32_t known;            /* tokens: prompt + sampled */
    uint32_t computed;         /* of them, in the KV cache */
    uint32_t limit;            /* known never exceeds it */
    uint32_t blocks;           /* KV blocks held */
    uint32_t planned;          /* tokens in the step being computed */
    uint32_t preemptions;
    uint64_t withdrawn;        /* number of the plan that it was taken out of last */
    bool seated;               /* holds one of max_num_seqs sequences: running, or preempted */
    bool paused;               /* its client does not read: takes part in no step */
    uint64_t submitted_ns;
    uint64_t admitted_ns;      /* first time; 0: never */
    struct request *previous;  /* in the waiting list */
    struct request *next;
};

/* The part of server/requests/generation.c: tokens to text to events. */
struct request_output {
    struct detokenizer detokenizer;
    struct stop_text stop_text;
    uint32_t banned[REQUEST_BANNED_MAX]; /* ids that end the output, forbidden before min_tokens */
    uint32_t banned_count;     /* end tokens of the model first: */
    uint32_t banned_eos;       /* so many of them */
    struct grammar_state *grammar; /* where the output is in asked.grammar; outlives a preemption,
                                      as the tokens do */
    uint32_t tokens;           /* sampled */
    uint32_t cached_tokens;    /* of the prompt, that were never computed for it: others had */
    uint32_t prompt_scored;    /* prompt tokens 1 .. this one have been reported in events */
    uint64_t first_token_ns;
    struct expert_usage experts;
    struct request_event *event;       /* what has not been handed to the front yet, or NULL */
    struct request_event *spare;       /* for the news that memory has run out */
};

struct request {
    uint64_t id;
    struct request_asked asked;
    struct request_schedule schedule;
    struct request_output output;
    struct sequence *sequence; /* the engine's; NULL until the first step */
    bool in_outbox;            /* of the batcher: output.event waits to be taken */
    struct request *outbox_next;
};

/* Nothing is to be sampled: the prompt alone is computed. */
static inline bool request_only_prompt(const struct request *request)
{
    return request->asked.has_max_tokens && request->asked.max_tokens == 0;
}

/* What request_asked.cache_salt is of a client's text: 0 only of none at all. */
uint64_t request_salt(const void *text, size_t bytes);

/* An empty request with default sampling. NULL: out of memory. */
struct request *request_open(uint64_t id);
/* The sequence must have been closed. Accepts NULL. */
void request_close(struct request *request);

#ifdef __cplusplus
}
#endif
#endif
