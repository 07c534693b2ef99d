/* The bar on a terminal's standard error: how many requests have ended, failed, are under way, and
 * the rate of output. Text is pure; drawing is to a FILE. */
#ifndef MOERING_CLIENTS_BENCH_PROGRESS_H
#define MOERING_CLIENTS_BENCH_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

struct progress {
    uint32_t count, completed, failed, under_way;
    uint64_t chunks; /* content chunks of ended requests */
    double elapsed_s;
};

/* "[#####     ] 50/100  2 failed  16 under way  1234 chunks/s  0:05, left 0:05". Where `columns`
 * are too few for it, first without the bar, then with fewer figures, never with a part of one. */
void progress_text(const struct progress *progress, size_t columns, char *out, size_t out_bytes);
/* Over the line drawn before. */
void progress_draw(const struct progress *progress, FILE *terminal);
/* Takes the line away. */
void progress_clear(FILE *terminal);

#ifdef __cplusplus
}
#endif
#endif
