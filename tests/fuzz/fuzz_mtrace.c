/* link: engine_replay */
/* Any bytes as a routing trace. Whatever is accepted must hold together, and can be measured. */
#include <stdint.h>
#include <string.h>

#include "engine/replay/trace.h"
#include "engine/replay/trace_info.h"
#include "memory/base/check.h"

enum { MEASURED_PAGES = 1 << 16, MEASURED_EXPERTS = 512 }; /* more is allowed, but slow */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_trace(const struct trace *t)
{
    uint64_t first = 0;
    for (uint32_t r = 0; r < t->request_count; r++) {
        CHECK(t->requests[r].first == first && t->requests[r].prefill <= t->requests[r].tokens);
        CHECK(t->requests[r].label);
        first += t->requests[r].tokens;
    }
    CHECK(first == t->tokens);
    for (uint64_t token = 0; token < t->tokens; token++)
        for (uint32_t l = 0; l < t->layers; l++)
            for (uint32_t k = 0; k < t->top_k; k++) {
                uint32_t id = trace_id(t, token, l, k);
                CHECK(id < t->experts || id == TRACE_NONE);
            }
    for (uint32_t i = 0; i < t->column_count && t->tokens; i++) {
        const struct trace_column *c = &t->columns[i];
        trace_column_value(c, t->tokens - 1, c->layers - 1, c->width - 1); /* within the bytes */
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct trace *trace;
    struct trace_info *info;
    struct error error = {0};
    enum status status = trace_parse(&trace, "fuzz", data, size, &error);
    if (status != STATUS_OK) {
        CHECK(!trace && strncmp(error.text, "fuzz: ", 6) == 0);
        return 0;
    }
    check_trace(trace);
    if ((uint64_t)trace->layers * trace->experts <= MEASURED_PAGES &&
        trace->experts <= MEASURED_EXPERTS && trace->tokens <= 4096) {
        CHECK(trace_info_open(&info, trace, &error) == STATUS_OK);
        CHECK(info->uses <= trace->tokens * trace->layers * trace->top_k);
        trace_info_close(info);
    }
    trace_close(trace);
    return 0;
}
