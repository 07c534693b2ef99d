#include "tests/bench/memory_rate.h"

#include "engine/backend/cpu/cpu_threads.h"
#include "memory/base/check.h"
#include "memory/base/clock.h"

#define READ_PARTS 64
#define STREAMS 4 /* read side by side: more than one is needed for the full rate of memory */
#define PASSES_NS 150000000u

typedef uint64_t lane __attribute__((vector_size(16))); /* any x86-64 or ARM has it */
struct line {
    lane lanes[4];
};

struct read_job {
    const uint8_t *from;
    size_t part_bytes;
    uint64_t sums[READ_PARTS];
};

static void read_part(void *arg, uint32_t part, uint32_t worker)
{
    struct read_job *job = arg;
    const struct line *line = (const struct line *)(job->from + part * job->part_bytes);
    size_t strip = job->part_bytes / sizeof *line / STREAMS;
    lane sum[4] = {{0}};
    for (size_t i = 0; i < strip; i++) {
        for (size_t s = 0; s < STREAMS; s++) {
            __builtin_prefetch(&line[s * strip + i + 32]);
            for (int l = 0; l < 4; l++)
                sum[l] ^= line[s * strip + i].lanes[l];
        }
    }
    lane all = sum[0] ^ sum[1] ^ sum[2] ^ sum[3];
    job->sums[part] ^= all[0] ^ all[1];
}

double memory_read_rate(const void *data, size_t bytes, uint32_t threads)
{
    struct read_job job = {.from = data, .part_bytes = bytes / READ_PARTS / 64 * 64};
    struct cpu_threads *pool;
    struct error error = {0};
    CHECK_MSG(cpu_threads_open(&pool, threads, &error) == STATUS_OK, "%s", error.text);
    uint64_t begin = clock_now_ns(), best = UINT64_MAX;
    do {
        uint64_t t = clock_now_ns();
        cpu_threads_run(pool, read_part, &job, READ_PARTS);
        t = clock_now_ns() - t;
        best = t < best ? t : best;
    } while (clock_now_ns() - begin < PASSES_NS);
    cpu_threads_close(pool);
    return (double)(job.part_bytes * READ_PARTS) * 1e9 / (double)best;
}
