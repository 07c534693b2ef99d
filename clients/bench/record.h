/* What is measured of one request: when it was sent, when its chunks came, what it cost, how it
 * ended.
 *
 * Times are nanoseconds since the start of the run. A content chunk is one that carries output:
 * text, reasoning or token ids; one that carries only a role, a finish reason or usage is none. So
 *     TTFT  first content chunk - sent      (without any: last chunk - sent)
 *     E2EL  last chunk - sent               (the one with the finish reason included, usage not)
 *     ITL   gaps between content chunks
 *     TPOT  (E2EL - TTFT) / (output tokens - 1)
 * Tokens are what the server says; a server that says nothing is taken to send one token a chunk.
 * Pure. */
#ifndef MOERING_CLIENTS_BENCH_RECORD_H
#define MOERING_CLIENTS_BENCH_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A request's own share of the server's expert work. */
struct record_experts {
    bool known;
    double hits, misses, bytes, stall_ms;
};

enum record_state { RECORD_UNSENT, RECORD_UNDER_WAY, RECORD_COMPLETED, RECORD_FAILED };

struct record {
    enum record_state state;
    bool keep_text;
    bool counted;             /* the server said how many tokens there were */
    uint32_t input_tokens;    /* until it says: what the data set meant */
    uint32_t output_tokens;
    uint64_t planned_ns;      /* when it was to be sent */
    uint64_t sent_ns, last_ns;
    uint64_t *content_ns;     /* when each content chunk came */
    uint32_t content_count, content_room;
    char *text;               /* what was generated, terminated; NULL: nothing, or not kept */
    size_t text_bytes, text_room;
    char *error;              /* why it failed; NULL if it did not */
    struct record_experts experts;
};

void record_init(struct record *record, uint64_t planned_ns, uint32_t input_tokens, bool keep_text);
void record_close(struct record *record); /* accepts one that was never used, zeroed */

void record_sent(struct record *record, uint64_t now_ns);
/* A chunk with `bytes` of text (of which tokens may have made none). */
void record_content(struct record *record, uint64_t now_ns, const char *text, size_t bytes);
/* Any other chunk of the answer. */
void record_chunk(struct record *record, uint64_t now_ns);
void record_usage(struct record *record, uint32_t input_tokens, uint32_t output_tokens);
/* The ends; what has ended stays as it is. */
void record_completed(struct record *record);
__attribute__((format(printf, 2, 3))) void record_failed(struct record *record, const char *format,
                                                         ...);

/* Of completed ones, in seconds. */
double record_ttft_s(const struct record *record);
double record_e2el_s(const struct record *record);
double record_tpot_s(const struct record *record); /* 0 with fewer than two tokens */
double record_queue_s(const struct record *record);

#ifdef __cplusplus
}
#endif
#endif
