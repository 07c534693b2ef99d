/* The token <-> expert permutation of one layer and one batch, as compressed sparse rows.
 *
 * Rows may have any number of choices (0 to all experts); dropless. Given row by row, then turned
 * round by a counting sort so that each expert sees its rows together:
 *
 *     row r       has choices row_offsets[r] .. row_offsets[r+1]-1: expert[], weight[]
 *     expert e    has places  expert_offsets[e] .. expert_offsets[e+1]-1: gather[place] = its row
 *     choice c    finds its result at row place[c] of the experts' grouped output
 *
 * What a device needs of it, the offsets of rows and three words for each choice, lies together at
 * the front of `block`, packed for the rows at hand: one copy takes it there.
 *
 * Arrays are sized once. Engine thread. */
#ifndef MOERING_ENGINE_MOE_DISPATCH_H
#define MOERING_ENGINE_MOE_DISPATCH_H

#include <stddef.h>
#include <stdint.h>

#include "memory/base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

struct dispatch {
    uint32_t rows_max, choices_max, experts;
    uint32_t rows, choices;
    uint32_t rows_told;       /* of this batch in all */
    uint32_t *row_offsets;    /* [rows + 1] */
    float *weight;            /* [choices] */
    uint32_t *place;          /* [choices] */
    uint32_t *gather;         /* [choices] */
    uint32_t *expert;         /* [choices] */
    uint32_t *expert_offsets; /* [experts + 1] */
    uint32_t *touched;        /* [touched_count] experts with at least one row, ascending */
    uint32_t touched_count;
    uint32_t *block; /* owns all arrays; row_offsets, weight, place, gather are its front */
};

enum status dispatch_open(struct dispatch *d, uint32_t rows_max, uint32_t choices_max,
                          uint32_t experts, struct error *error);
void dispatch_close(struct dispatch *d);

/* A batch of `rows` rows begins. */
void dispatch_reset(struct dispatch *d, uint32_t rows);
/* The next row's choices, experts distinct. CHECKs the room. */
void dispatch_add_row(struct dispatch *d, const uint32_t *experts, const float *weights,
                      uint32_t count);
/* After the last row: fills place, expert_offsets, gather, touched. Rows of an expert ascend. */
void dispatch_build(struct dispatch *d);
/* Bytes of the front of a batch, and of the largest one. */
size_t dispatch_front_bytes(const struct dispatch *d);
size_t dispatch_front_bytes_max(uint32_t rows_max, uint32_t choices_max);

#ifdef __cplusplus
}
#endif
#endif
