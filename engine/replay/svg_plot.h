/* A line plot as one SVG file: axes, grid, a legend in the order of the lines, and nothing else.
 *
 * Text and axes take their colours from the reader's colour scheme (prefers-color-scheme), lines
 * from a palette that is told apart on both grounds and, by dashes and marks, without colour. Texts
 * are escaped: they may come from files. Pure output; whoever opened `out` checks it for errors. */
#ifndef MOERING_ENGINE_REPLAY_SVG_PLOT_H
#define MOERING_ENGINE_REPLAY_SVG_PLOT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

struct svg_axis {
    const char *label;
    double min, max;   /* min < max; points outside are drawn at the edge */
    double tick;       /* distance of ticks, > 0, at most 100 of them; they begin at min */
    const char *unit;  /* behind each tick's number: "%" */
};

struct svg_line {
    const char *name;
    const double *x, *y;  /* [points], x ascending */
    uint32_t points;
    bool bound;           /* drawn as a limit: dashed, in the colour of the text */
};

struct svg_plot {
    const char *title, *subtitle; /* "" for none */
    struct svg_axis x, y;
    const struct svg_line *lines;
    uint32_t line_count;
};

void svg_plot_write(const struct svg_plot *plot, FILE *out);

#ifdef __cplusplus
}
#endif
#endif
