/* link: engine_replay */
/* Any bytes as a load log; what is accepted must be as load_log.h promises. */
#include <stdint.h>
#include <string.h>

#include "engine/replay/load_log.h"
#include "memory/base/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_phase(const struct load_log *log, const struct load_log_phase *phase)
{
    CHECK(phase->ticks >= 1 && phase->name[0]);
    for (uint32_t t = 0; t < phase->ticks; t++) {
        CHECK(t == 0 || phase->tick[t] > phase->tick[t - 1]);
        for (uint32_t layer = 0; layer < log->layers; layer++) {
            size_t row = (size_t)t * log->layers + layer;
            uint64_t sum = 0;
            for (uint32_t e = 0; e < log->experts; e++)
                sum += phase->counts[row * log->experts + e];
            CHECK(sum == phase->tokens[row] && sum >= 1);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct load_log *log;
    struct error error = {0};
    if (load_log_parse(&log, "fuzz", (const char *)data, size, &error) != STATUS_OK) {
        CHECK(!log && strncmp(error.text, "fuzz: ", 6) == 0);
        return 0;
    }
    CHECK(log->layers >= 1 && log->experts >= 1 && log->phase_count >= 1);
    for (uint32_t p = 0; p < log->phase_count; p++)
        check_phase(log, &log->phases[p]);
    CHECK(load_log_find(log, NULL));
    load_log_close(log);
    return 0;
}
