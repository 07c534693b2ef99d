/* One screen of `moering-client top`: what a server's figures look like in so many columns and
 * rows. Pure: figures and a size in, text out.
 *
 * Rates are differences between two looks, so the first frame has none. Where rows are short the
 * layers are cut, and the last row says how many are left out; lines are cut at the width. */
#ifndef MOERING_CLIENTS_CLI_TOP_FRAME_H
#define MOERING_CLIENTS_CLI_TOP_FRAME_H

#include <moering/v1/moering.pb-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TOP_WIDTH_MAX 512

struct top_look {
    const Moering__V1__GetModelResponse *model;
    const Moering__V1__GetStatsResponse *now;
    const Moering__V1__GetStatsResponse *before; /* NULL: none */
    double seconds;                              /* between the two */
    const char *trouble;                         /* instead of fresh figures; NULL: none */
};

struct top_size {
    unsigned columns, rows; /* rows 0: as many as there are */
    bool color;             /* ANSI colours, each ended in its line */
};

/* Lines that end with '\n', malloc'ed. NULL: out of memory. */
char *top_frame(const struct top_look *look, const struct top_size *size);

#ifdef __cplusplus
}
#endif
#endif
