#include "server/command/replay_setup.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PAGE_BYTES_MAX ((uint64_t)4 << 30) /* sums over 2^32 requests stay countable */

static enum status read_batch(const char *text, uint32_t *out, struct error *error)
{
    char *end;
    if (strcmp(text, "trace") == 0) {
        *out = SCHEDULE_BATCH_TRACE;
        return STATUS_OK;
    }
    errno = 0;
    unsigned long n = isdigit((unsigned char)*text) ? strtoul(text, &end, 10) : 0;
    if (n == 0 || errno || *end || n > SCHEDULE_ROWS_MAX)
        return error_set(error, STATUS_INVALID,
                         "--batch: '%.40s' is neither a whole number from 1 to %d nor 'trace'",
                         text, SCHEDULE_ROWS_MAX);
    *out = (uint32_t)n;
    return STATUS_OK;
}

enum status replay_setup_config(const struct config *c, struct replay_config *out,
                                struct error *error)
{
    bool sized = config_source_of(c, "page-bytes") != CONFIG_DEFAULT;
    if (sized && (c->page_bytes == 0 || c->page_bytes > PAGE_BYTES_MAX))
        return error_set(error, STATUS_INVALID, "--page-bytes: %llu is not from 1 to %llu",
                         (unsigned long long)c->page_bytes, (unsigned long long)PAGE_BYTES_MAX);
    if (config_source_of(c, "predictor") == CONFIG_FLAG &&
        (config_source_of(c, "prefetch") == CONFIG_DEFAULT || c->prefetch == PREFETCH_OFF))
        return error_set(error, STATUS_INVALID, "--predictor: only with --prefetch auto or on");
    bool prefetch_given = config_source_of(c, "prefetch") != CONFIG_DEFAULT;
    *out = (struct replay_config){
        .evict = (enum evict_kind)c->policy, .foresight = (enum foresight)c->predictor,
        .prefetch = prefetch_given ? (enum prefetch_mode)c->prefetch : PREFETCH_OFF,
        .seed = c->seed,
        .page_bytes = c->page_bytes ? c->page_bytes : REPLAY_SETUP_PAGE_BYTES,
        .link_gbps = c->link_gbps, .step_us = c->step_us};
    return STATUS_OK;
}

enum status replay_setup_open(struct replay_setup *s, const struct config *c, const char *trace,
                              struct error *error)
{
    struct schedule_config schedule = {.chunk = c->chunk, .tokens_max = c->max_trace_tokens,
                                       .shuffle = (enum shuffle)c->shuffle, .seed = c->seed};
    *s = (struct replay_setup){0};
    enum status status = replay_setup_config(c, &s->config, error);
    if (status == STATUS_OK)
        status = read_batch(c->batch, &schedule.batch, error);
    if (status == STATUS_OK)
        status = trace_open(&s->trace, trace, error);
    if (status == STATUS_OK)
        status = schedule_open(&s->schedule, s->trace, &schedule, error);
    if (status == STATUS_OK && !s->schedule->requests)
        status = error_set(error, STATUS_INVALID, "%s: no token in it chose an expert", trace);
    if (status == STATUS_OK && s->config.foresight == FORESIGHT_LOOKAHEAD &&
        !trace_find_column(s->trace, "lookahead", TRACE_NONE))
        status = error_set(error, STATUS_INVALID,
                           "--predictor lookahead: %s has no column 'lookahead'", trace);
    if (status != STATUS_OK)
        replay_setup_close(s);
    return status;
}

void replay_setup_close(struct replay_setup *s)
{
    schedule_close(s->schedule);
    trace_close(s->trace);
    *s = (struct replay_setup){0};
}

enum status replay_setup_slots(const struct room *room, const char *flag, uint64_t pages,
                               uint64_t page_bytes, uint32_t *slots, struct error *error)
{
    double n = 0;
    switch (room->kind) {
    case ROOM_AUTO:
        return error_set(error, STATUS_INVALID,
                         "%s: 'auto' depends on a machine; give pages, a share or bytes", flag);
    case ROOM_BYTES: n = (double)(room->bytes / page_bytes); break;
    case ROOM_PAGES: n = (double)room->pages; break;
    case ROOM_PERCENT: n = (double)pages * room->percent / 100 + 1e-9; break;
    }
    if (n < 1)
        return error_set(error, STATUS_INVALID,
                         "%s: that is less than one page of %llu bytes of %llu pages", flag,
                         (unsigned long long)page_bytes, (unsigned long long)pages);
    *slots = n < (double)pages ? (uint32_t)n : (uint32_t)pages;
    return STATUS_OK;
}
