/* What is asked: made up from a seed, or read from a file.
 *
 *   random             words or token ids, lengths spread evenly within range_ratio of those wanted
 *   prefix_repetition  a few common beginnings, each with many different ends
 *   sharegpt           [{"conversations": [{"from", "value"}]}]: the first human turn asks, the
 *                      length of the next one is the answer's
 *   custom             a line {"prompt", "output_tokens"} for each
 *   trace              a line {"timestamp" (ms), "output_length"} with "prompt", or with
 *                      "input_length" and perhaps "hash_ids", one per 512 tokens, equal where
 *                      beginnings are equal
 *
 * Without the server's tokenizer a text's length is a guess: one token a word of random text, one
 * in four bytes of other text. What the server reports replaces it. Random tokens hide that real
 * text chooses experts unevenly. Pure but for reading the file. */
#ifndef MOERING_CLIENTS_BENCH_DATASET_H
#define MOERING_CLIENTS_BENCH_DATASET_H

#include <stdbool.h>
#include <stdint.h>

#include "clients/bench/prompt.h"
#include "clients/bench/rng.h"
#include "clients/program/fault.h"

#ifdef __cplusplus
extern "C" {
#endif

enum dataset_kind {
    DATASET_RANDOM, DATASET_PREFIX_REPETITION, DATASET_SHAREGPT, DATASET_CUSTOM, DATASET_TRACE,
};

enum { DATASET_TOKENS_MAX = 16 << 20 }; /* of one made-up prompt */

struct dataset_config {
    enum dataset_kind kind;
    const char *path;          /* of the last three */
    uint32_t count;            /* prompts wanted; 0: as many as the file has */
    uint64_t seed;
    uint32_t vocabulary;       /* made-up prompts are ids below this; 0: words */
    uint32_t input_len, output_len; /* of random */
    double range_ratio;        /* 0 .. 1: lengths in [len x (1 - ratio), len x (1 + ratio)] */
    uint32_t prefix_len, suffix_len, prefix_count, prefix_output_len; /* of prefix_repetition */
    uint32_t sharegpt_output_len; /* 0: as long as in the file */
    uint32_t custom_output_len;   /* of lines without output_tokens */
    double trace_speed;        /* > 0; 2: twice as fast as it was */
};

struct dataset {
    struct prompt *prompts;
    uint32_t count;
    uint32_t distinct; /* fewer than count: they begin anew */
    bool timed;        /* at_ns says when each is sent */
};

/* False: *fault names file and line. dataset_close in any case. */
bool dataset_open(struct dataset *out, const struct dataset_config *config, struct fault *fault);
void dataset_close(struct dataset *dataset);
/* "random", "prefix_repetition", ... False: no such kind. */
bool dataset_kind_parse(const char *name, enum dataset_kind *out);
const char *dataset_kind_name(enum dataset_kind kind);

/* For dataset_file.c: room for one more, zeroed; NULL: out of memory. */
struct prompt *dataset_add(struct dataset *dataset, struct fault *fault);
/* For dataset_file.c: appends `tokens` made-up tokens to the prompt. */
bool dataset_invent(struct prompt *prompt, struct rng *rng, uint32_t vocabulary, uint32_t tokens,
                    struct fault *fault);
bool dataset_read_file(struct dataset *out, const struct dataset_config *config,
                       struct fault *fault);

#ifdef __cplusplus
}
#endif
#endif
