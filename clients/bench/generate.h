/* moering.v1's Generate as a client sees it: requests packed with gRPC's prefix, chunks unpacked.
 * Pure. */
#ifndef MOERING_CLIENTS_BENCH_GENERATE_H
#define MOERING_CLIENTS_BENCH_GENERATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "clients/bench/prompt.h"
#include "clients/bench/record.h"

#ifdef __cplusplus
extern "C" {
#endif

#define GENERATE_PATH "/moering.v1.Moering/Generate"

struct generate_style {
    const char *model; /* NULL: the one being served */
    bool ignore_eos;
    bool has_temperature;
    double temperature;
};

/* malloc'ed; NULL: out of memory. */
uint8_t *generate_request(const struct generate_style *style, const struct prompt *prompt,
                          size_t *bytes);

/* Reads a chunk into the record: its time, its text, and of the last one tokens and experts. False:
 * the bytes are no GenerateChunk. *last: it carries a finish reason. */
bool generate_chunk(const uint8_t *message, size_t bytes, uint64_t now_ns, struct record *record,
                    bool *last);

#ifdef __cplusplus
}
#endif
#endif
