#include "clients/cli/top_frame.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BAR_COLUMNS = 24, COLUMNS_LEAST = 20, AMOUNT_BYTES = 24 };

typedef Moering__V1__GetStatsResponse stats_message;
typedef Moering__V1__LayerLoadStats load_message;

struct frame {
    char *text; /* NULL: memory has run out */
    size_t bytes, capacity;
    unsigned columns, rows, written;
    bool color;
};

enum tint { TINT_NONE, TINT_HEAD, TINT_GOOD, TINT_BAD };

static const char *const tints[] = {"", "\033[1m", "\033[32m", "\033[33m"};

static void append(struct frame *f, const char *bytes, size_t size)
{
    if (!f->text)
        return;
    if (f->bytes + size + 1 > f->capacity) {
        size_t capacity = 2 * (f->bytes + size + 1);
        char *grown = realloc(f->text, capacity);
        if (!grown)
            free(f->text);
        f->text = grown;
        f->capacity = capacity;
        if (!grown)
            return;
    }
    memcpy(f->text + f->bytes, bytes, size);
    f->bytes += size;
    f->text[f->bytes] = '\0';
}

/* How many of the bytes fit into the columns, without half characters; what controls a terminal
 * is replaced. */
static size_t fit(char *line, unsigned columns)
{
    size_t i = 0;
    for (unsigned used = 0; line[i]; i++) {
        unsigned char byte = (unsigned char)line[i];
        if ((byte & 0xc0) != 0x80 && used++ == columns)
            break;
        if (byte < 0x20 || byte == 0x7f)
            line[i] = '?';
    }
    return i;
}

/* One line, if there is a row for it. */
__attribute__((format(printf, 3, 4))) static void put(struct frame *f, enum tint tint,
                                                      const char *format, ...)
{
    char line[4 * TOP_WIDTH_MAX];
    va_list args;
    if (f->rows && f->written == f->rows)
        return;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    bool tinted = f->color && tint != TINT_NONE;
    if (tinted)
        append(f, tints[tint], strlen(tints[tint]));
    append(f, line, fit(line, f->columns));
    if (tinted)
        append(f, "\033[0m", 4);
    append(f, "\n", 1);
    f->written++;
}

/* ---- amounts ---- */

static const char *bytes_text(double bytes, char *out)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    int unit = 0;
    for (; bytes >= 1024 && unit < 4; unit++)
        bytes /= 1024;
    snprintf(out, AMOUNT_BYTES, unit ? "%.1f %s" : "%.0f %s", bytes, units[unit]);
    return out;
}

static const char *bar(double share, char *out)
{
    int full = (int)(share * BAR_COLUMNS + 0.5);
    if (!(share > 0))
        full = 0;
    for (int i = 0; i < BAR_COLUMNS; i++)
        out[i] = i < full ? '#' : '.';
    out[BAR_COLUMNS] = '\0';
    return out;
}

/* "12.3", or "-" while there is nothing to compare with. */
static const char *rate(const struct top_look *look, double now, double before, char *out)
{
    if (look->before && look->seconds > 0 && now >= before)
        snprintf(out, AMOUNT_BYTES, "%.1f", (now - before) / look->seconds);
    else
        snprintf(out, AMOUNT_BYTES, "-");
    return out;
}

static const char *percent(double part, double whole, char *out)
{
    if (whole > 0)
        snprintf(out, AMOUNT_BYTES, "%.1f %%", 100 * part / whole);
    else
        snprintf(out, AMOUNT_BYTES, "-");
    return out;
}

/* ---- blocks ---- */

static void put_server(struct frame *f, const struct top_look *look)
{
    const stats_message *s = look->now;
    uint64_t up = (uint64_t)s->uptime_s;
    put(f, TINT_HEAD, "%s  %s  up %" PRIu64 ":%02u:%02u", look->model->name, look->model->backend,
        up / 3600, (unsigned)(up / 60 % 60), (unsigned)(up % 60));
    if (look->trouble)
        put(f, TINT_BAD, "%s", look->trouble);
    put(f, TINT_NONE, "requests  running %u  waiting %u  finished %" PRIu64 "  cancelled %" PRIu64
        "  failed %" PRIu64 "  rejected %" PRIu64 "  preempted %" PRIu64, s->requests_running,
        s->requests_waiting, s->requests_finished, s->requests_cancelled, s->requests_failed,
        s->requests_rejected, s->preemptions);
}

static void put_rates(struct frame *f, const struct top_look *look)
{
    char prompt[AMOUNT_BYTES], output[AMOUNT_BYTES], steps[AMOUNT_BYTES], mean[AMOUNT_BYTES] = "-";
    const stats_message *s = look->now, *b = look->before;
    if (b && s->steps > b->steps)
        snprintf(mean, sizeof mean, "%.2f ms",
                 (s->step_ms_total - b->step_ms_total) / (double)(s->steps - b->steps));
    put(f, TINT_NONE, "per s     prompt tokens %s  output tokens %s  steps %s of %s",
        rate(look, (double)s->prompt_tokens, b ? (double)b->prompt_tokens : 0, prompt),
        rate(look, (double)s->generation_tokens, b ? (double)b->generation_tokens : 0, output),
        rate(look, (double)s->steps, b ? (double)b->steps : 0, steps), mean);
}

static void put_experts(struct frame *f, const struct top_look *look)
{
    static const Moering__V1__ExpertUsage none = MOERING__V1__EXPERT_USAGE__INIT;
    const Moering__V1__ExpertUsage *e = look->now->experts ? look->now->experts : &none, *b = NULL;
    const Moering__V1__RegretStats *r = look->now->regret;
    char recent[AMOUNT_BYTES] = "-", all[AMOUNT_BYTES], oracle[AMOUNT_BYTES] = "-",
         read[AMOUNT_BYTES] = "-";
    if (look->before)
        b = look->before->experts ? look->before->experts : &none;
    if (b && e->hits >= b->hits && e->misses >= b->misses) {
        double hits = (double)(e->hits - b->hits), misses = (double)(e->misses - b->misses);
        percent(hits, hits + misses, recent);
        if (look->seconds > 0 && e->bytes >= b->bytes)
            bytes_text((double)(e->bytes - b->bytes) / look->seconds, read);
    }
    if (r && r->windows)
        percent(r->oracle_hit_rate, 1, oracle);
    put(f, TINT_NONE,
        "experts   hits %s now, %s in all, at most %s  read %s/s  stall %.2f ms a layer  evicted "
        "%" PRIu64,
        recent, percent((double)e->hits, (double)(e->hits + e->misses), all), oracle, read,
        look->now->stall_layer_ms, look->now->evictions);
}

static void put_memory(struct frame *f, const struct top_look *look)
{
    const stats_message *s = look->now;
    char blocks[BAR_COLUMNS + 1], bytes[AMOUNT_BYTES], name[16];
    for (size_t i = 0; i < s->n_tiers; i++) {
        const Moering__V1__TierStats *t = s->tiers[i];
        if (!t->slots)
            continue;
        snprintf(name, sizeof name, "%s", t->name);
        put(f, TINT_NONE, "%-9s [%s] %u of %u pages, %s; the model has %u", name,
            bar((double)t->resident_pages / t->slots, blocks), t->resident_pages, t->slots,
            bytes_text((double)t->resident_bytes, bytes), look->model->expert_pages);
    }
    char cached[AMOUNT_BYTES];
    if (s->kv_blocks)
        put(f, TINT_NONE, "%-9s [%s] %u of %u blocks, prefix cache %s", "KV cache",
            bar((double)s->kv_blocks_used / s->kv_blocks, blocks), s->kv_blocks_used, s->kv_blocks,
            percent((double)s->prefix_hits, (double)s->prefix_queries, cached));
}

static void put_prefetch(struct frame *f, const struct top_look *look)
{
    const Moering__V1__PrefetchStats *p = look->now->prefetch;
    const Moering__V1__PrefetchStats *b = look->before ? look->before->prefetch : NULL;
    const Moering__V1__StreamStats *stream = look->now->stream;
    char issued[AMOUNT_BYTES], right[AMOUNT_BYTES];
    if (p)
        put(f, p->active ? TINT_GOOD : TINT_NONE,
            "prefetch  %s by %s  issued %s/s  right %s  used %" PRIu64 "  wasted %" PRIu64,
            p->active ? "on" : "off", look->now->foresight ? look->now->foresight->predictor : "?",
            rate(look, (double)p->issued, b ? (double)b->issued : 0, issued),
            percent((double)p->used, (double)(p->used + p->wasted), right), p->used, p->wasted);
    if (stream && stream->layers)
        put(f, TINT_NONE,
            "streaming %u layers ahead  steps %" PRIu64 " streamed, %" PRIu64 " on demand",
            stream->layers, stream->streamed_steps, stream->demand_steps);
}

/* The forecast of the next tick, or the nearest there is. */
static void forecast_text(const load_message *load, char *out, size_t bytes)
{
    const Moering__V1__LoadForecast *near = NULL;
    for (size_t i = 0; i < load->n_forecasts; i++)
        if (load->forecasts[i]->scored && (!near || load->forecasts[i]->ticks < near->ticks))
            near = load->forecasts[i];
    if (near)
        snprintf(out, bytes, "%s off by %.1f %%", near->predictor, 100 * near->error_ratio);
    else
        snprintf(out, bytes, "-");
}

static void put_layers(struct frame *f, const struct top_look *look)
{
    const stats_message *s = look->now;
    if (!s->n_loads)
        return;
    put(f, TINT_HEAD, "layer phase    state      ticks      cv      tv    jump  forecast");
    for (size_t i = 0; i < s->n_loads; i++) {
        const load_message *load = s->loads[i];
        size_t left = s->n_loads - i;
        if (f->rows && f->rows - f->written == 1 && left > 1) {
            put(f, TINT_NONE, "... and %zu more; a taller window shows them", left);
            return;
        }
        char forecast[64];
        forecast_text(load, forecast, sizeof forecast);
        put(f, strcmp(load->state, "stable") == 0 ? TINT_GOOD : TINT_BAD,
            "%5u %-8.8s %-9.9s %6" PRIu64 " %7.3f %7.3f %7.3f  %s", load->layer, load->phase,
            load->state, load->ticks, load->cv, load->tv, load->jump, forecast);
    }
}

char *top_frame(const struct top_look *look, const struct top_size *size)
{
    struct frame f = {
        .columns = size->columns, .rows = size->rows, .color = size->color, .capacity = 4096};
    f.columns = f.columns < COLUMNS_LEAST ? COLUMNS_LEAST : f.columns;
    f.columns = f.columns > TOP_WIDTH_MAX ? TOP_WIDTH_MAX : f.columns;
    f.text = malloc(f.capacity);
    if (f.text)
        *f.text = '\0';
    put_server(&f, look);
    put_rates(&f, look);
    put_experts(&f, look);
    put_memory(&f, look);
    put_prefetch(&f, look);
    put_layers(&f, look);
    return f.text;
}
