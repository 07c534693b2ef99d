/* What the texts of one answer have in common, whichever of the two APIs asked for it: its head,
 * usage, reasons of an end, figures, and the frame of a server-sent event. completions_encode.h
 * and chat_encode.h write the rest.
 *
 * Encoders are pure: structs in, text out, so they are tested without a server. A choice keeps
 * what an encoder must remember between two chunks. */
#ifndef MOERING_SERVER_OPENAI_OPENAI_ANSWER_H
#define MOERING_SERVER_OPENAI_OPENAI_ANSWER_H

#include "server/jsonw.h"
#include "server/openai/openai_asked.h"
#include "server/openai/openai_text.h"
#include "server/requests/request_event.h"

#ifdef __cplusplus
extern "C" {
#endif

#define OPENAI_ID_BYTES 48

struct openai_answer {
    bool chat;
    char id[OPENAI_ID_BYTES];          /* "cmpl-..." or "chatcmpl-..." */
    int64_t created;                   /* seconds since the epoch */
    const char *model;
    const struct tokenizer *tokenizer; /* NULL: none */
    const struct openai_asked *asked;
};

/* The figures of an answer, summed over its choices. Zero-initialise. */
struct openai_totals {
    uint32_t choices;
    uint64_t prompt_tokens;            /* each prompt once, however many choices it has */
    uint64_t cached_tokens;            /* of these, that were not computed */
    uint64_t completion_tokens;
    uint64_t prefill_ns, decode_ns;    /* of the choice that took longest */
    struct expert_usage experts;
};
void openai_totals_add(struct openai_totals *totals, const struct request_usage *usage,
                       bool counts_prompt);

struct openai_choice_state {
    uint32_t index;
    const struct openai_prompt *prompt;
    bool begun;                        /* its first chunk has been written */
    uint32_t completion_tokens;        /* in chunks so far */
    struct openai_offset offset;       /* of completions with log-probabilities */
    struct openai_parts parts;         /* of chats that are streams */
    struct request_event *said;        /* owned; what has come and was not written yet */
};
/* False: out of memory. */
bool openai_choice_open(struct openai_choice_state *choice, const struct openai_answer *answer,
                        uint32_t index, const struct openai_prompt *prompt);
void openai_choice_close(struct openai_choice_state *choice); /* accepts a zeroed one */
/* Keeps what `event` says for later: all of it, or of a stream what it says of the prompt, which
 * leaves before the first token. False: out of memory. */
bool openai_choice_keep(struct openai_choice_state *choice, const struct openai_answer *answer,
                        const struct request_event *event);

/* {"id":...,"object":`object`,"created":...,"model":...,"choices":[
 * `prompt`: its ids stand before the choices; NULL: they do not. */
void openai_answer_begin(struct jsonw *w, const struct openai_answer *answer, const char *object,
                         const struct openai_prompt *prompt);
/* ],"usage":...,"timings":...,"experts":...} */
void openai_answer_end(struct jsonw *w, const struct openai_totals *totals);

/* An event of a stream: "data: " and the head; and its end. `choice`: whose tokens its usage
 * counts, if the client wants that in every chunk. `totals`: not NULL in the last chunk with
 * choices of a stream that has no usage chunk: it carries the figures. */
void openai_chunk_begin(struct jsonw *w, const struct openai_answer *answer,
                        const struct openai_prompt *prompt);
void openai_chunk_end(struct jsonw *w, const struct openai_answer *answer,
                      const struct openai_choice_state *choice, const struct openai_totals *totals);
/* The usage chunk, if it was asked for, and [DONE]. */
void openai_stream_end(struct jsonw *w, const struct openai_answer *answer,
                       const struct openai_totals *totals);
/* An error after the headers. */
void openai_stream_error(struct jsonw *w, const struct openai_refusal *refusal);

/* "finish_reason":...,"stop_reason":... `stopped`: the word for an end that the model came to by
 * itself, "stop" or "tool_calls". */
void openai_finish(struct jsonw *w, const struct openai_answer *answer,
                   const struct request_event *event, const char *stopped);
void openai_ids(struct jsonw *w, const char *key, const uint32_t *ids, uint32_t count);
void openai_sampled_ids(struct jsonw *w, const char *key, const struct sampled *tokens,
                        uint32_t count);

#ifdef __cplusplus
}
#endif
#endif
