/* One thing to ask: a text or token ids, and how long the answer shall be. */
#ifndef MOERING_CLIENTS_BENCH_PROMPT_H
#define MOERING_CLIENTS_BENCH_PROMPT_H

#include <stddef.h>
#include <stdint.h>

struct prompt {
    char *text;            /* UTF-8, terminated; NULL: ids */
    size_t text_bytes;
    uint32_t *ids;
    uint32_t id_count;
    uint32_t input_tokens; /* as far as it is known without the server's tokenizer */
    uint32_t output_tokens;
    uint64_t at_ns;        /* of a timed data set: since its first */
};

#endif
