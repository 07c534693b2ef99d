#include "engine/replay/svg_plot.h"

#include "memory/base/check.h"

enum { WIDTH = 780, HEIGHT = 440, LEFT = 64, RIGHT = 168, TOP = 64, BOTTOM = 56, COLOURS = 6 };

static const char style[] =
    "<style>\n"
    "  svg { background: #ffffff; font: 13px system-ui, sans-serif; }\n"
    "  text { fill: #222222; } .quiet { fill: #666666; }\n"
    "  .title { font-size: 16px; font-weight: 600; }\n"
    "  .grid { stroke: #dddddd; } .axis { stroke: #666666; }\n"
    "  .line { fill: none; stroke-width: 2; stroke-linejoin: round; }\n"
    "  .bound { stroke: #222222; stroke-dasharray: 7 4; }\n"
    "  .c0 { stroke: #0b7bbf; } .c1 { stroke: #d1600a; } .c2 { stroke: #14875a; }\n"
    "  .c3 { stroke: #b0489a; } .c4 { stroke: #8a7a00; } .c5 { stroke: #7a5cd0; }\n"
    "  @media (prefers-color-scheme: dark) {\n"
    "    svg { background: #16181c; }\n"
    "    text { fill: #e6e6e6; } .quiet { fill: #a0a0a0; }\n"
    "    .grid { stroke: #33363c; } .axis { stroke: #a0a0a0; } .bound { stroke: #e6e6e6; }\n"
    "    .c0 { stroke: #4fb3ef; } .c1 { stroke: #ff9447; } .c2 { stroke: #4ccb97; }\n"
    "    .c3 { stroke: #e58ad2; } .c4 { stroke: #d8c64a; } .c5 { stroke: #ab94f5; }\n"
    "  }\n"
    "</style>\n";

static void put_text(const char *text, FILE *out)
{
    for (; *text; text++)
        switch (*text) {
        case '<': fputs("&lt;", out); break;
        case '>': fputs("&gt;", out); break;
        case '&': fputs("&amp;", out); break;
        case '"': fputs("&quot;", out); break;
        default: /* XML has no control characters */
            fputc((unsigned char)*text < ' ' ? ' ' : *text, out);
            break;
        }
}

/* 0..1 along the axis. */
static double part(const struct svg_axis *axis, double value)
{
    double p = (value - axis->min) / (axis->max - axis->min);
    return !(p > 0) ? 0 : p > 1 ? 1 : p; /* not a number: at the origin */
}

static double place_x(const struct svg_plot *p, double x)
{
    return LEFT + part(&p->x, x) * (WIDTH - LEFT - RIGHT);
}

static double place_y(const struct svg_plot *p, double y)
{
    return HEIGHT - BOTTOM - part(&p->y, y) * (HEIGHT - TOP - BOTTOM);
}

static void put_axes(const struct svg_plot *p, FILE *out)
{
    for (double x = p->x.min; x <= p->x.max + p->x.tick / 1e6; x += p->x.tick) {
        double at = place_x(p, x);
        fprintf(out, "<line class=\"axis\" x1=\"%.1f\" y1=\"%d\" x2=\"%.1f\" y2=\"%d\"/>"
                     "<text class=\"quiet\" x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%g",
                at, HEIGHT - BOTTOM, at, HEIGHT - BOTTOM + 5, at, HEIGHT - BOTTOM + 20, x);
        put_text(p->x.unit, out);
        fputs("</text>\n", out);
    }
    for (double y = p->y.min; y <= p->y.max + p->y.tick / 1e6; y += p->y.tick) {
        double at = place_y(p, y);
        fprintf(out, "<line class=\"grid\" x1=\"%d\" y1=\"%.1f\" x2=\"%d\" y2=\"%.1f\"/>"
                     "<text class=\"quiet\" x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%g",
                LEFT, at, WIDTH - RIGHT, at, LEFT - 8, at + 4, y);
        put_text(p->y.unit, out);
        fputs("</text>\n", out);
    }
    fprintf(out, "<path class=\"axis\" fill=\"none\" d=\"M%d %d V%d H%d\"/>\n", LEFT, TOP,
            HEIGHT - BOTTOM, WIDTH - RIGHT);
    fprintf(out, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">", (LEFT + WIDTH - RIGHT) / 2,
            HEIGHT - 14);
    put_text(p->x.label, out);
    fprintf(out, "</text>\n<text transform=\"translate(18 %d) rotate(-90)\" "
                 "text-anchor=\"middle\">", (TOP + HEIGHT - BOTTOM) / 2);
    put_text(p->y.label, out);
    fputs("</text>\n", out);
}

/* Each line has a mark of its own shape. */
static void put_mark(uint32_t shape, double x, double y, FILE *out)
{
    switch (shape % 3) {
    case 0: fprintf(out, "M%.1f %.1fm-3 0a3 3 0 1 0 6 0a3 3 0 1 0 -6 0", x, y); break;
    case 1: fprintf(out, "M%.1f %.1fm-3 -3h6v6h-6z", x, y); break;
    default: fprintf(out, "M%.1f %.1fm0 -4l4 7h-8z", x, y); break;
    }
}

static void put_class(const struct svg_line *line, uint32_t colour, FILE *out)
{
    if (line->bound)
        fputs("class=\"line bound\"", out);
    else
        fprintf(out, "class=\"line c%u\"", colour % COLOURS);
}

static void put_line(const struct svg_plot *p, const struct svg_line *line, uint32_t colour,
                     FILE *out)
{
    if (!line->points)
        return;
    fputs("<path ", out);
    put_class(line, colour, out);
    fputs(" d=\"", out);
    for (uint32_t i = 0; i < line->points; i++)
        fprintf(out, "%s%.1f %.1f", i ? " L" : "M", place_x(p, line->x[i]),
                place_y(p, line->y[i]));
    fputs("\"/>\n", out);
    if (line->bound)
        return;
    fputs("<path ", out);
    put_class(line, colour, out);
    fputs(" d=\"", out);
    for (uint32_t i = 0; i < line->points; i++)
        put_mark(colour, place_x(p, line->x[i]), place_y(p, line->y[i]), out);
    fputs("\"/>\n", out);
}

static void put_legend(const struct svg_line *line, uint32_t row, uint32_t colour, FILE *out)
{
    double x = WIDTH - RIGHT + 18, y = TOP + 12 + 22.0 * row;
    fputs("<path ", out);
    put_class(line, colour, out);
    fprintf(out, " d=\"M%.1f %.1f h26", x, y);
    if (!line->bound)
        put_mark(colour, x + 13, y, out);
    fprintf(out, "\"/><text x=\"%.1f\" y=\"%.1f\">", x + 34, y + 4);
    put_text(line->name, out);
    fputs("</text>\n", out);
}

void svg_plot_write(const struct svg_plot *p, FILE *out)
{
    CHECK(p->x.min < p->x.max && p->y.min < p->y.max);
    CHECK(p->x.tick >= (p->x.max - p->x.min) / 100 && p->y.tick >= (p->y.max - p->y.min) / 100);
    fprintf(out, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" "
                 "height=\"%d\" role=\"img\">\n<title>", WIDTH, HEIGHT, WIDTH, HEIGHT);
    put_text(p->title, out);
    fprintf(out, "</title>\n%s<text class=\"title\" x=\"%d\" y=\"26\">", style, LEFT);
    put_text(p->title, out);
    fprintf(out, "</text>\n<text class=\"quiet\" x=\"%d\" y=\"46\">", LEFT);
    put_text(p->subtitle, out);
    fputs("</text>\n", out);
    put_axes(p, out);
    uint32_t colour = 0;
    for (uint32_t i = 0; i < p->line_count; i++) {
        put_line(p, &p->lines[i], colour, out);
        put_legend(&p->lines[i], i, colour, out);
        colour += !p->lines[i].bound;
    }
    fputs("</svg>\n", out);
}
