/* Memory is read in four streams at once, which is what it takes to have the full rate from one
 * thread; the best pass counts, since a bound is what the machine can do when nobody disturbs it.
 * Storage is read by threads that wait, one read each: as many under way as threads, on any kernel,
 * without a ring. A processor does next to nothing here. */
#include "server/bench/machine_rates.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/backend/cpu/cpu_threads.h"
#include "memory/base/check.h"
#include "memory/base/clock.h"

#define READ_PARTS 64
#define STREAMS 4
#define PASSES_NS 150000000u
#define STORAGE_NS 330000000u
#define STORAGE_DEPTH_MAX 64
#define STORAGE_ALIGN 4096

/* ---- memory ---- */

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
    (void)worker;
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

static enum status read_memory(const void *data, size_t bytes, uint32_t threads, double *rate,
                               struct error *error)
{
    struct read_job job = {.from = data, .part_bytes = bytes / READ_PARTS / 64 * 64};
    struct cpu_threads *pool;
    enum status status = cpu_threads_open(&pool, threads, error);
    if (status != STATUS_OK)
        return status;
    uint64_t begin = clock_now_ns(), best = UINT64_MAX;
    do {
        uint64_t t = clock_now_ns();
        cpu_threads_run(pool, read_part, &job, READ_PARTS);
        t = clock_now_ns() - t;
        best = t < best ? t : best;
    } while (clock_now_ns() - begin < PASSES_NS);
    cpu_threads_close(pool);
    *rate = (double)(job.part_bytes * READ_PARTS) * 1e9 / (double)best;
    return STATUS_OK;
}

double machine_memory_rate(const void *data, size_t bytes, uint32_t threads)
{
    double rate = 0;
    struct error error = {0};
    read_memory(data, bytes, threads, &rate, &error);
    return rate;
}

enum status machine_memory_probe(uint32_t threads, double *rate, struct error *error)
{
    void *data = aligned_alloc(64, MACHINE_PROBE_BYTES);
    if (!data)
        return error_set(error, STATUS_NO_MEMORY, "no memory to measure the rate of memory in");
    memset(data, 1, MACHINE_PROBE_BYTES);
    enum status status = read_memory(data, MACHINE_PROBE_BYTES, threads, rate, error);
    free(data);
    return status;
}

/* ---- storage ---- */

struct storage_reader {
    pthread_t thread;
    int fd;
    uint64_t pieces, random;
    size_t piece_bytes;
    uint8_t *buffer;
    uint64_t until_ns;
    uint64_t bytes, end_ns; /* read, and when the last read ended */
    int cause;
};

static void *storage_read(void *arg)
{
    struct storage_reader *r = arg;
    while (!r->cause && clock_now_ns() < r->until_ns) {
        r->random = r->random * 6364136223846793005u + 1442695040888963407u;
        uint64_t piece = (r->random >> 33) % r->pieces;
        ssize_t n = pread(r->fd, r->buffer, r->piece_bytes, (off_t)(piece * r->piece_bytes));
        if (n < 0 && errno != EINTR)
            r->cause = errno;
        r->bytes += n > 0 ? (uint64_t)n : 0;
        r->end_ns = clock_now_ns();
    }
    return NULL;
}

/* Opens for direct reads if one such read works. */
static int open_direct(const char *path, size_t piece_bytes, uint8_t *buffer, bool *direct)
{
    int fd = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
    *direct = fd >= 0 && pread(fd, buffer, piece_bytes, 0) >= 0;
    if (*direct)
        return fd;
    if (fd >= 0)
        close(fd);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0)
        posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM);
    return fd;
}

static enum status read_all(const char *path, struct storage_reader *readers, uint32_t depth,
                            double *rate, struct error *error)
{
    uint64_t begin = clock_now_ns(), end = begin + 1, bytes = 0;
    uint32_t started = 0;
    int cause = 0;
    while (started < depth && !cause) {
        readers[started].until_ns = begin + STORAGE_NS;
        cause = pthread_create(&readers[started].thread, NULL, storage_read, &readers[started]);
        started += !cause;
    }
    for (uint32_t i = 0; i < started; i++) {
        pthread_join(readers[i].thread, NULL);
        bytes += readers[i].bytes;
        end = readers[i].end_ns > end ? readers[i].end_ns : end;
        cause = cause ? cause : readers[i].cause;
    }
    if (cause)
        return error_set(error, STATUS_IO, "%s: %s", path, strerror(cause));
    *rate = (double)bytes * 1e9 / (double)(end - begin);
    return STATUS_OK;
}

enum status machine_storage_rate(const char *path, uint32_t depth, size_t piece_bytes,
                                 struct machine_storage *out, struct error *error)
{
    CHECK(depth >= 1 && depth <= STORAGE_DEPTH_MAX && piece_bytes % STORAGE_ALIGN == 0);
    struct storage_reader readers[STORAGE_DEPTH_MAX];
    struct stat info;
    uint8_t *buffers = aligned_alloc(STORAGE_ALIGN, depth * piece_bytes);
    enum status status = STATUS_OK;
    if (!buffers)
        return error_set(error, STATUS_NO_MEMORY, "no memory to read %s into", path);
    int fd = open_direct(path, piece_bytes, buffers, &out->direct);
    if (fd < 0 || fstat(fd, &info) != 0)
        status = error_set(error, errno == ENOENT ? STATUS_NOT_FOUND : STATUS_IO, "%s: %s", path,
                           strerror(errno));
    else if ((uint64_t)info.st_size < piece_bytes)
        status = error_set(error, STATUS_INVALID, "%s: has %lld bytes, a read has %zu", path,
                           (long long)info.st_size, piece_bytes);
    for (uint32_t i = 0; i < depth && status == STATUS_OK; i++)
        readers[i] = (struct storage_reader){.fd = fd,
                                             .pieces = (uint64_t)info.st_size / piece_bytes,
                                             .random = clock_now_ns() + i * 0x9E3779B97F4A7C15u,
                                             .piece_bytes = piece_bytes,
                                             .buffer = buffers + i * piece_bytes};
    if (status == STATUS_OK)
        status = read_all(path, readers, depth, &out->rate, error);
    if (fd >= 0)
        close(fd);
    free(buffers);
    return status;
}
