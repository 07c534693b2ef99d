/* The words and the JSON of trace_info.h. Texts from the file are printed as they are only where
 * JSON escapes them; a terminal gets their printable characters. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "engine/replay/trace_info.h"

enum { MAP_COLUMNS = 128 }; /* of the ASCII map; more experts share columns */

/* ---- for people ---- */

static void print_text(const char *label, const char *text, FILE *out)
{
    fprintf(out, "%-15s ", label);
    for (; *text; text++)
        fputc(*text < 0x20 || *text > 0x7e ? '?' : *text, out);
}

static void print_name(const char *label, const char *text, FILE *out)
{
    if (!*text)
        return;
    print_text(label, text, out);
    fputc('\n', out);
}

static void print_column(const struct trace_column *c, FILE *out)
{
    print_text("column", c->name, out);
    if (c->distance != TRACE_NONE)
        fprintf(out, ", distance %u", c->distance);
    fputc('\n', out);
}

/* "0.437", or "-" where there was nothing to measure. */
static const char *figure(double value, int digits, char out[32])
{
    if (isnan(value))
        return "-";
    snprintf(out, 32, "%.*f", digits, value);
    return out;
}

static void print_skew(const struct trace_info *info, FILE *out)
{
    char a[32], b[32], c[32];
    fprintf(out, "\nlayer   busiest tenth   entropy    gini\n");
    for (uint32_t l = 0; l < info->layers; l++) {
        const struct layer_skew *s = &info->skew[l];
        fprintf(out, "%5u   %13s   %7s   %5s\n", l, figure(s->top_share, 3, a),
                figure(s->entropy, 3, b), figure(s->gini, 3, c));
    }
    fprintf(out, " mean   %13s   %7s   %5s\n", figure(info->mean.top_share, 3, a),
            figure(info->mean.entropy, 3, b), figure(info->mean.gini, 3, c));
}

static void print_reuse(const struct trace_info *info, FILE *out)
{
    char a[32];
    fprintf(out, "\nreuse by lag   ");
    for (uint32_t i = 0; i < TRACE_INFO_LAGS; i++)
        fprintf(out, " %5u", 1u << i);
    fprintf(out, "   by chance\n               ");
    for (uint32_t i = 0; i < TRACE_INFO_LAGS; i++)
        fprintf(out, " %5s", figure(info->reuse[i], 3, a));
    fprintf(out, "   %9s\n", figure(info->reuse_by_chance, 3, a));
}

/* One character per expert and layer, from rarely used to the busiest of all. */
static void print_map(const struct trace_info *info, FILE *out)
{
    static const char shades[] = " .:-=+*#%@";
    uint32_t fold = (info->experts + MAP_COLUMNS - 1) / MAP_COLUMNS;
    double most = 0;
    fprintf(out, "\nuses of each expert (across) in each layer (down)");
    if (fold > 1)
        fprintf(out, ", %u experts to a column", fold);
    fprintf(out, "\n");
    for (int draw = 0; draw <= 1; draw++) /* the largest cell, then the picture */
        for (uint32_t l = 0; l < info->layers; l++) {
            if (draw)
                fprintf(out, "%5u |", l);
            for (uint32_t e = 0; e < info->experts; e += fold) {
                double cell = 0;
                for (uint32_t i = e; i < e + fold && i < info->experts; i++)
                    cell += (double)info->counts[(size_t)l * info->experts + i];
                if (draw)
                    fputc(cell > 0 ? shades[(int)ceil(9 * sqrt(cell / most))] : ' ', out);
                else
                    most = fmax(most, cell);
            }
            if (draw)
                fprintf(out, "|\n");
        }
}

void trace_info_print(const struct trace_info *info, const struct trace *t, FILE *out)
{
    char a[32], b[32];
    print_name("model", t->model, out);
    print_name("source", t->source, out);
    print_name("phase", t->phase, out);
    fprintf(out, "layers          %u\n", t->layers);
    fprintf(out, "experts         %u per layer, %u per token\n", t->experts, t->top_k);
    fprintf(out, "requests        %u\n", t->request_count);
    fprintf(out, "tokens          %" PRIu64 ": %" PRIu64 " of prompts, %" PRIu64 " decoded\n",
            t->tokens, info->prefill_tokens, t->tokens - info->prefill_tokens);
    if (info->steps)
        fprintf(out, "steps           %" PRIu64 ", %.1f tokens each\n", info->steps,
                (double)t->tokens / (double)info->steps);
    for (uint32_t i = 0; i < t->column_count; i++)
        print_column(&t->columns[i], out);
    print_skew(info, out);
    print_reuse(info, out);
    fprintf(out, "\nworking set     %s pages a token, %s in %d tokens, of %" PRIu64 "\n",
            figure(info->pages_per_token, 1, a), figure(info->pages_per_window, 1, b),
            TRACE_INFO_WINDOW, (uint64_t)t->layers * t->experts);
    fprintf(out, "next layer      %s of its experts in %u guesses, ",
            figure(info->next_in_k, 3, a), t->top_k);
    fprintf(out, "%s in %u (transitions)\n", figure(info->next_in_2k, 3, a), 2 * t->top_k);
    fprintf(out, "popularity      %s of its experts in %u guesses, ",
            figure(info->popular_in_k, 3, a), t->top_k);
    fprintf(out, "%s in %u\n", figure(info->popular_in_2k, 3, a), 2 * t->top_k);
    print_map(info, out);
}

/* ---- for programs ---- */

static json_t *number(double value)
{
    return isnan(value) ? json_null() : json_real(value);
}

static json_t *skew_json(const struct layer_skew *s)
{
    return json_pack("{s:o, s:o, s:o}", "top_tenth_share", number(s->top_share), "entropy",
                     number(s->entropy), "gini", number(s->gini));
}

static json_t *reuse_json(const struct trace_info *info)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < TRACE_INFO_LAGS; i++)
        json_array_append_new(list, json_pack("{s:i, s:o}", "lag", 1 << i, "share",
                                              number(info->reuse[i])));
    return list;
}

static json_t *layers_json(const struct trace_info *info)
{
    json_t *layers = json_array();
    for (uint32_t l = 0; l < info->layers; l++) {
        json_t *uses = json_array(), *layer = skew_json(&info->skew[l]);
        for (uint32_t e = 0; e < info->experts; e++)
            json_array_append_new(
                uses, json_integer((json_int_t)info->counts[(size_t)l * info->experts + e]));
        json_object_set_new(layer, "uses", uses);
        json_array_append_new(layers, layer);
    }
    return layers;
}

static json_t *columns_json(const struct trace *t)
{
    json_t *columns = json_array();
    for (uint32_t i = 0; i < t->column_count; i++)
        json_array_append_new(columns, json_string(t->columns[i].name));
    return columns;
}

enum status trace_info_print_json(const struct trace_info *info, const struct trace *t, FILE *out,
                                  struct error *error)
{
    json_t *all = json_pack(
        "{s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:o, "
        "s:o}",
        "path", t->path, "model", t->model, "source", t->source, "phase", t->phase, "layers",
        (json_int_t)t->layers, "experts", (json_int_t)t->experts, "top_k", (json_int_t)t->top_k,
        "requests", (json_int_t)t->request_count, "tokens", (json_int_t)t->tokens, "prefill_tokens",
        (json_int_t)info->prefill_tokens, "decode_tokens",
        (json_int_t)(t->tokens - info->prefill_tokens), "steps", (json_int_t)info->steps, "columns",
        columns_json(t), "skew", skew_json(&info->mean), "reuse", reuse_json(info),
        "reuse_by_chance", number(info->reuse_by_chance), "pages_per_token",
        number(info->pages_per_token), "pages_per_100_tokens", number(info->pages_per_window));
    json_t *next = json_pack(
        "{s:o, s:o, s:o, s:o, s:I}", "transition_in_k", number(info->next_in_k), "transition_in_2k",
        number(info->next_in_2k), "popularity_in_k", number(info->popular_in_k),
        "popularity_in_2k", number(info->popular_in_2k), "tested_tokens",
        (json_int_t)info->tested_tokens);
    json_object_set_new(all, "next_layer_recall", next);
    json_object_set_new(all, "per_layer", layers_json(info));
    char *text = all ? json_dumps(all, JSON_INDENT(1) | JSON_REAL_PRECISION(6)) : NULL;
    enum status status = STATUS_OK;
    if (!text)
        status = error_set(error, STATUS_NO_MEMORY, "%s: what was measured cannot be put as JSON",
                           t->path);
    else
        fprintf(out, "%s\n", text);
    free(text);
    json_decref(all);
    return status;
}
