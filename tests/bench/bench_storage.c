/* How fast storage is read, as one JSON object on stdout: GB/s by length and number of the reads
 * under way, straight from the ring, and of whole pages through the memory as the engine uses it.
 *
 *   ring    random reads of a file through the kernel's ring: directly, or through the page cache,
 *           which is emptied of the file before each cell ("buffered")
 *   pages   demands for random pages, as many at once as a layer asks for, each in three parts off
 *           any alignment, by kind of IO; with the processor time that one GB took. The bound is
 *           "bound": the best direct rate of the ring in the same minutes
 *
 * Cells are run in turn, round after round, and each reports its median. Which bytes are read is
 * drawn anew in each round, so the file should be larger than the caches of the disk and its host.
 *
 * Usage: bench_storage FILE [rounds, default 3] [MiB for each cell, default 64] */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "memory/base/bytes.h"
#include "memory/base/check.h"
#include "memory/base/clock.h"
#include "memory/device.h"
#include "memory/io_probe.h"
#include "memory/io_uring.h"
#include "memory/memory.h"
#include "memory/pinned.h"

#define ROUNDS_MAX 99
#define DEPTH_MAX 16
#define PIECE_MAX ((uint64_t)4 << 20)
#define PAGES_AT_ONCE 8
#define PARTS 3

static const uint64_t pieces[] = {128 << 10, 512 << 10, 1 << 20, 4 << 20};
static const uint32_t depths[] = {1, 2, 4, 8, DEPTH_MAX};
static const char *const ways[] = {"direct", "buffered"};
static const uint64_t page_bytes[] = {1 << 20, 4 << 20};
static const struct {
    const char *name;
    enum io_kind kind;
    enum direct_reads direct;
} kinds[] = {
    {"uring_direct", IO_URING, DIRECT_ON},
    {"thread_direct", IO_THREAD, DIRECT_ON},
    {"thread_buffered", IO_THREAD, DIRECT_OFF},
};
#define COUNT(array) (sizeof(array) / sizeof(array)[0])

struct bench {
    const char *path;
    uint64_t file_bytes, cell_bytes, random;
    uint32_t rounds;
    double ring[2][COUNT(pieces)][COUNT(depths)][ROUNDS_MAX];
    double pages[COUNT(kinds)][COUNT(page_bytes)][ROUNDS_MAX];
    double cpu[COUNT(kinds)][COUNT(page_bytes)][ROUNDS_MAX];
};

static uint64_t draw(struct bench *b)
{
    b->random ^= b->random << 13;
    b->random ^= b->random >> 7;
    b->random ^= b->random << 17;
    return b->random;
}

static void must(enum status status, const struct error *error)
{
    if (status == STATUS_OK)
        return;
    fprintf(stderr, "bench_storage: %s\n", error->text);
    exit(1);
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, uint32_t count)
{
    qsort(values, count, sizeof *values, by_size);
    return values[count / 2];
}

static struct store *open_store(const struct bench *b)
{
    struct error error = {{0}};
    struct store *store;
    uint32_t file;
    must(store_open(&store, &error), &error);
    must(store_add_file(store, b->path, &file, &error), &error);
    return store;
}

static void forget(const struct store *store)
{
    CHECK(posix_fadvise(store_fd(store, 0), 0, 0, POSIX_FADV_DONTNEED) == 0);
}

/* --- The ring --------------------------------------------------------------------------------- */

static void read_one(struct bench *b, struct io_ring *ring, uint8_t *to, uint32_t tag,
                     uint64_t bytes)
{
    uint64_t places = b->file_bytes / bytes;
    struct io_ring_read read = {.tag = tag,
                                .offset = draw(b) % places * bytes,
                                .bytes = (uint32_t)bytes,
                                .buffer = tag,
                                .to = to + tag * bytes};
    ring->ops->read(ring, &read);
}

static double ring_rate(struct bench *b, const struct io_files *files, uint64_t bytes,
                        uint32_t depth)
{
    struct error error = {{0}};
    struct pinned memory;
    struct io_ring *ring;
    struct io_ring_end ends[DEPTH_MAX];
    must(pinned_open(&memory, depth * bytes, "reads", &error), &error);
    struct io_ring_config config = {.files = files, .depth = depth, .memory = memory.base,
                                    .buffers = depth, .buffer_bytes = bytes};
    must(io_uring_ring_open(&ring, &config, &error), &error);
    uint64_t asked = 0, begin = clock_now_ns();
    uint32_t under_way = 0;
    for (; under_way < depth; under_way++, asked += bytes)
        read_one(b, ring, memory.base, under_way, bytes);
    while (under_way > 0) {
        uint32_t n = ring->ops->wait(ring, ends, DEPTH_MAX, UINT64_MAX);
        for (uint32_t i = 0; i < n; i++) {
            CHECK_MSG(ends[i].result == (int32_t)bytes, "a read answered %d", ends[i].result);
            if (asked < b->cell_bytes) {
                read_one(b, ring, memory.base, ends[i].tag, bytes);
                asked += bytes;
            } else {
                under_way--;
            }
        }
    }
    double rate = (double)asked / (double)(clock_now_ns() - begin);
    io_ring_close(ring);
    pinned_close(&memory);
    return rate;
}

static void run_ring(struct bench *b, uint32_t round)
{
    struct error error = {{0}};
    struct store *store = open_store(b);
    must(store_seal(store, &error), &error);
    for (int way = 0; way < 2; way++) {
        struct io_files files;
        must(io_files_open(&files, store, way == 0, &error), &error);
        for (size_t p = 0; p < COUNT(pieces); p++)
            for (size_t d = 0; d < COUNT(depths); d++) {
                forget(store);
                b->ring[way][p][d][round] = ring_rate(b, &files, pieces[p], depths[d]);
            }
        io_files_close(&files);
    }
    store_close(store);
}

/* --- Pages ------------------------------------------------------------------------------------ */

/* Pages of three parts as an expert's three matrices lie in a file of whole layers: far apart. */
static void add_pages(struct bench *b, struct store *store, uint64_t bytes)
{
    struct error error = {{0}};
    uint64_t part_bytes = bytes / PARTS, third = b->file_bytes / PARTS;
    for (uint64_t at = 0; (at + 1) * part_bytes + 64 < third && at < 4096; at++) {
        struct page_part parts[PARTS];
        page_id page;
        for (uint64_t i = 0; i < PARTS; i++)
            parts[i] = (struct page_part){
                .offset = i * third + at * part_bytes + 32, .bytes = part_bytes};
        must(store_add_page(store, parts, PARTS, &page, &error), &error);
    }
}

static double processor_s(void)
{
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    return (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
           1e-6 * (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec);
}

/* One layer after the other: as many demands as there are slots, and all of them are waited for. */
static uint64_t fetch_layers(struct bench *b, struct memory *memory)
{
    uint32_t pages = store_pages(memory_store(memory));
    uint64_t bytes = 0;
    struct memory_event event;
    page_id wanted[PAGES_AT_ONCE];
    while (bytes < b->cell_bytes) {
        for (int i = 0; i < PAGES_AT_ONCE; i++) {
            do
                wanted[i] = (page_id)(draw(b) % pages);
            while (memory_where(memory, MEMORY_DEVICE, wanted[i]) != SLOT_FREE);
            CHECK(memory_fetch(memory, MEMORY_DEVICE, wanted[i], URGENCY_DEMAND, NULL, NULL) == 0);
        }
        for (int ended = 0; ended < PAGES_AT_ONCE;)
            if (memory_poll(memory, UINT64_MAX, &event, 1)) {
                CHECK_MSG(event.status == STATUS_OK, "%s", memory_error(memory));
                bytes += event.bytes;
                ended++;
            }
        for (int i = 0; i < PAGES_AT_ONCE; i++)
            memory_evict(memory, MEMORY_DEVICE, wanted[i]);
    }
    return bytes;
}

static void run_pages(struct bench *b, uint32_t round, size_t kind, size_t size)
{
    struct error error = {{0}};
    struct store *store = open_store(b);
    add_pages(b, store, page_bytes[size]);
    must(store_seal(store, &error), &error);
    struct memory_config config = {.io = kinds[kind].kind, .direct = kinds[kind].direct};
    config.slots[MEMORY_DEVICE].of_class[0] = PAGES_AT_ONCE;
    must(device_host_open(&config.device, PAGES_AT_ONCE * (PIECE_MAX + 4096), 0, &error), &error);
    struct memory *memory;
    must(memory_open(&memory, store, &config, &error), &error);
    forget(store);
    fetch_layers(b, memory); /* the first touch of the slots */
    double before_s = processor_s();
    uint64_t begin = clock_now_ns(), bytes = fetch_layers(b, memory);
    b->pages[kind][size][round] = (double)bytes / (double)(clock_now_ns() - begin);
    b->cpu[kind][size][round] = (processor_s() - before_s) * 1e9 / (double)bytes;
    memory_close(memory);
}

/* --- The report ------------------------------------------------------------------------------- */

static void print_probe(const struct bench *b)
{
    struct error error = {{0}};
    struct store *store = open_store(b);
    add_pages((struct bench *)b, store, 4 << 20);
    must(store_seal(store, &error), &error);
    struct io_files files;
    struct io_probe probe;
    must(io_files_open(&files, store, true, &error), &error);
    uint64_t begin = clock_now_ns();
    must(io_probe_run(&probe, &files, IO_PIECE_BYTES, io_uring_ring_open, &error), &error);
    printf("  \"probe\": {\"depth\": %u, \"GB_per_s\": %.2f, \"ms\": %.0f},\n", probe.depth,
           probe.rate / 1e9, (double)(clock_now_ns() - begin) / 1e6);
    io_files_close(&files);
    store_close(store);
}

static double print_ring(struct bench *b)
{
    double best = 0;
    printf("  \"ring\": [\n");
    for (int way = 0; way < 2; way++)
        for (size_t p = 0; p < COUNT(pieces); p++) {
            printf("    {\"way\": \"%s\", \"KiB\": %" PRIu64 ", \"GB_per_s_by_depth\": {",
                   ways[way], pieces[p] / 1024);
            for (size_t d = 0; d < COUNT(depths); d++) {
                double rate = median(b->ring[way][p][d], b->rounds);
                printf("%s\"%u\": %.2f", d ? ", " : "", depths[d], rate);
                best = way == 0 && rate > best ? rate : best;
            }
            printf("}}%s\n", way == 1 && p + 1 == COUNT(pieces) ? "" : ",");
        }
    printf("  ],\n");
    return best;
}

static void print_pages(struct bench *b, double bound)
{
    printf("  \"bound\": %.2f,\n  \"pages\": [\n", bound);
    for (size_t k = 0; k < COUNT(kinds); k++)
        for (size_t s = 0; s < COUNT(page_bytes); s++) {
            double rate = median(b->pages[k][s], b->rounds);
            printf("    {\"io\": \"%s\", \"page_KiB\": %" PRIu64 ", \"at_once\": %d, "
                   "\"GB_per_s\": %.2f, \"share\": %.2f, \"processor_s_per_GB\": %.2f}%s\n",
                   kinds[k].name, page_bytes[s] / 1024, PAGES_AT_ONCE, rate, rate / bound,
                   median(b->cpu[k][s], b->rounds),
                   k + 1 == COUNT(kinds) && s + 1 == COUNT(page_bytes) ? "" : ",");
        }
    printf("  ]\n}\n");
}

int main(int argc, char **argv)
{
    static struct bench b;
    struct stat info;
    b.path = argc > 1 ? argv[1] : "";
    b.rounds = argc > 2 ? (uint32_t)atoi(argv[2]) : 3;
    b.cell_bytes = (argc > 3 ? (uint64_t)atoi(argv[3]) : 64) << 20;
    if (stat(b.path, &info) != 0 || b.rounds == 0 || b.rounds > ROUNDS_MAX || b.cell_bytes == 0 ||
        info.st_size < 256 << 20) {
        fprintf(stderr, "usage: bench_storage FILE [rounds, 1 to %d] [MiB for each cell]\n"
                        "FILE must be there and have 256 MiB at least\n", ROUNDS_MAX);
        return 2;
    }
    b.file_bytes = (uint64_t)info.st_size;
    b.random = clock_now_ns() | 1;
    for (uint32_t round = 0; round < b.rounds; round++) {
        run_ring(&b, round);
        for (size_t k = 0; k < COUNT(kinds); k++)
            for (size_t s = 0; s < COUNT(page_bytes); s++)
                run_pages(&b, round, k, s);
    }
    printf("{\n  \"file_bytes\": %" PRIu64 ", \"cell_bytes\": %" PRIu64 ", \"rounds\": %u,\n",
           b.file_bytes, b.cell_bytes, b.rounds);
    print_probe(&b);
    print_pages(&b, print_ring(&b));
    return 0;
}
