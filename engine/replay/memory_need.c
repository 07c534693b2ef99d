#include "engine/replay/memory_need.h"

#include "memory/base/check.h"

static uint32_t all_pages(const struct memory_need_config *c)
{
    return c->schedule ? c->schedule->layers * c->schedule->experts : c->layers * c->experts;
}

static double page_us(const struct memory_need_config *c)
{
    return (double)c->replay.page_bytes / c->replay.link_gbps / 1e3;
}

/* A step of one token: layers x top_k requests, of which the share that is not resident stalls. */
static void uniform_at(const struct memory_need_config *c, struct memory_need *out)
{
    double requests = (double)c->layers * c->top_k;
    out->hit_rate = (double)out->slots / all_pages(c);
    out->tokens_per_s =
        1e6 / (c->replay.step_us + requests * (1 - out->hit_rate) * page_us(c));
}

enum status memory_need_at(const struct memory_need_config *c, uint32_t slots,
                           struct memory_need *out, struct error *error)
{
    CHECK(slots >= 1);
    uint32_t pages = all_pages(c);
    out->slots = slots < pages ? slots : pages;
    out->ring_bytes = out->slots * c->replay.page_bytes;
    if (!c->schedule) {
        uniform_at(c, out);
        return STATUS_OK;
    }
    struct replay_config config = c->replay;
    struct replay_result result;
    config.slots = out->slots;
    config.belady = false;
    enum status status = replay_run(c->schedule, &config, &result, error);
    if (status != STATUS_OK)
        return status;
    out->hit_rate = replay_hit_rate(&result);
    out->tokens_per_s = replay_tokens_per_s(&result);
    return STATUS_OK;
}

enum status memory_need_for(const struct memory_need_config *c, double target_tps,
                            struct memory_need *out, struct error *error)
{
    CHECK(target_tps > 0);
    uint32_t low = 0; /* too small */
    enum status status = memory_need_at(c, all_pages(c), out, error);
    if (status == STATUS_OK && out->tokens_per_s < target_tps)
        return error_set(error, STATUS_INVALID,
                         "%g tokens/s are out of reach: with every page resident it is %.4g, "
                         "copies of the cold start included", target_tps, out->tokens_per_s);
    while (status == STATUS_OK && out->slots - low > 1) {
        struct memory_need middle;
        status = memory_need_at(c, low + (out->slots - low) / 2, &middle, error);
        if (status == STATUS_OK && middle.tokens_per_s >= target_tps)
            *out = middle;
        else
            low += (out->slots - low) / 2;
    }
    return status;
}

double memory_need_resident_tps(const struct memory_need_config *c)
{
    double rows = c->schedule && c->schedule->steps
                      ? (double)c->schedule->tokens / c->schedule->steps : 1;
    return rows * 1e6 / c->replay.step_us;
}

double memory_need_link_tps(const struct memory_need_config *c)
{
    if (!c->schedule)
        return 1e6 / (c->replay.step_us + (double)c->layers * c->top_k * page_us(c));
    double time_us = c->schedule->steps * c->replay.step_us + c->schedule->requests * page_us(c);
    return time_us > 0 ? (double)c->schedule->tokens * 1e6 / time_us : 0;
}
