#include "engine/replay/sweep.h"

#include <inttypes.h>

#include "engine/replay/svg_plot.h"
#include "memory/base/check.h"

const double sweep_percent[SWEEP_SIZES] = {5, 10, 12.5, 25, 37.5, 50, 75};

uint32_t sweep_slots(const struct schedule *s, double percent)
{
    double slots = (double)s->layers * s->experts * percent / 100 + 1e-9;
    return slots < 1 ? 1 : (uint32_t)slots;
}

enum status sweep_run(struct sweep *sweep, const struct schedule *s, const char *name,
                      const enum evict_kind *evict, uint32_t kinds,
                      const struct replay_config *base, struct error *error)
{
    CHECK(kinds <= EVICT_KINDS);
    enum status status = STATUS_OK;
    *sweep = (struct sweep){.name = name, .kinds = kinds};
    for (uint32_t k = 0; k < kinds; k++)
        for (uint32_t i = 0; i < SWEEP_SIZES && status == STATUS_OK; i++) {
            struct sweep_row *row = &sweep->row[k * SWEEP_SIZES + i];
            struct replay_config config = *base;
            row->evict = config.evict = evict[k];
            row->percent = sweep_percent[i];
            config.slots = sweep_slots(s, row->percent);
            config.belady = k == 0; /* the bounds are the same for every rule */
            status = replay_run(s, &config, &row->result, error);
            if (k == 0)
                continue;
            row->result.belady = true;
            row->result.belady_hits = sweep->row[i].result.belady_hits;
            row->result.lru_hits = sweep->row[i].result.lru_hits;
            row->result.compulsory_misses = sweep->row[i].result.compulsory_misses;
        }
    return status;
}

void sweep_csv(const struct sweep *sweep, FILE *out)
{
    fputs("policy,device_percent,device_pages,requests,hits,hit_rate,belady_hit_rate,"
          "plain_lru_hit_rate,belady_share,demand_pages,prefetch_pages,prefetch_used,"
          "prefetch_wasted,bytes,stall_us_per_token,belady_stall_us_per_token,link_utilisation,"
          "tokens_per_s\n", out);
    for (uint32_t i = 0; i < sweep->kinds * SWEEP_SIZES; i++) {
        const struct replay_result *x = &sweep->row[i].result;
        fprintf(out, "%s,%g,%u,%" PRIu64 ",%" PRIu64 ",%.6f,%.6f,%.6f,%.6f,",
                evict_kind_name(sweep->row[i].evict), sweep->row[i].percent, x->slots, x->requests,
                x->hits, replay_hit_rate(x), replay_belady_hit_rate(x), replay_lru_hit_rate(x),
                replay_belady_share(x));
        fprintf(out, "%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%.3f,%.3f,%.4f,"
                     "%.3f\n", x->demand_pages, x->prefetch_pages, x->prefetch_used,
                x->prefetch_wasted, x->bytes, replay_stall_us_per_token(x),
                replay_belady_stall_us_per_token(x), replay_link_utilisation(x),
                replay_tokens_per_s(x));
    }
}

void sweep_svg(const struct sweep *sweep, FILE *out)
{
    double y[EVICT_KINDS + 1][SWEEP_SIZES];
    struct svg_line lines[EVICT_KINDS + 1];
    char subtitle[160];
    for (uint32_t i = 0; i < SWEEP_SIZES; i++)
        y[0][i] = 100 * replay_belady_hit_rate(&sweep->row[i].result);
    lines[0] = (struct svg_line){"Belady's bound", sweep_percent, y[0], SWEEP_SIZES, true};
    for (uint32_t k = 0; k < sweep->kinds; k++) {
        const struct sweep_row *row = &sweep->row[k * SWEEP_SIZES];
        for (uint32_t i = 0; i < SWEEP_SIZES; i++)
            y[k + 1][i] = 100 * replay_hit_rate(&row[i].result);
        lines[k + 1] = (struct svg_line){evict_kind_name(row->evict), sweep_percent, y[k + 1],
                                         SWEEP_SIZES, false};
    }
    const struct replay_result *x = &sweep->row[0].result;
    snprintf(subtitle, sizeof subtitle, "%s: %" PRIu64 " tokens in %" PRIu64 " steps, cold start",
             sweep->name, x->tokens, x->steps);
    struct svg_plot plot = {.title = "Hit rate by size of the ring", .subtitle = subtitle,
                            .x = {"pages in the ring, of all expert pages", 0, 80, 10, "%"},
                            .y = {"hit rate", 0, 100, 20, "%"},
                            .lines = lines, .line_count = sweep->kinds + 1};
    svg_plot_write(&plot, out);
}
