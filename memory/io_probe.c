/* Reads at depths 1, 2, 4, 8 and 16 for 60 ms each or an eighth of the bytes allowed, whichever is
 * less (deeper ones get more, since the first reads of a depth only fill it), and the least depth
 * that is nearly as fast as the fastest is taken: every read more that is under way is one more
 * that a demand may have to wait for. Pieces are taken at random over all pages, so that no cache
 * of the disk answers twice. On a machine that others use too the rates scatter by some percent,
 * which may make the depth one step larger than it had to be, and costs little.
 *
 * The thread that opens the io; nothing else runs yet. */
#include "memory/io_probe.h"

#include <stdlib.h>

#include "memory/base/bytes.h"
#include "memory/base/clock.h"
#include "memory/pinned.h"
#include "memory/store.h"

#define NEARLY 0.95

struct prober {
    const struct io_files *files;
    struct io_ring *ring;
    struct pinned memory;
    uint64_t piece_bytes;
    uint64_t random;
    uint64_t bytes; /* asked for, at all depths */
    bool failed;
};

/* xorshift64: which piece comes next need not be a good random number, only none that anybody
 * foresaw. */
static uint64_t draw(struct prober *p)
{
    p->random ^= p->random << 13;
    p->random ^= p->random >> 7;
    p->random ^= p->random << 17;
    return p->random;
}

/* A piece of a random part, into buffer `at`. */
static void read_one(struct prober *p, uint32_t at)
{
    const struct store *store = p->files->store;
    const struct page *page = store_page(store, (page_id)(draw(p) % store_pages(store)));
    const struct page_part *part = &page->part[draw(p) % page->parts];
    uint32_t align = p->files->at[part->file].align;
    uint64_t bytes = bytes_align_up(part->bytes, align);
    bytes = bytes < p->piece_bytes ? bytes : p->piece_bytes;
    uint64_t steps = part->bytes / bytes;
    struct io_ring_read read = {
        .tag = at,
        .file = part->file,
        .offset = (part->offset + (steps > 1 ? draw(p) % steps * bytes : 0)) / align * align,
        .bytes = (uint32_t)bytes,
        .buffer = at,
        .to = p->memory.base + at * p->piece_bytes,
    };
    p->bytes += bytes;
    p->ring->ops->read(p->ring, &read);
}

/* Bytes per second with `depth` reads under way. */
static double measure(struct prober *p, uint32_t depth, uint64_t bytes_max, uint64_t ns_max)
{
    struct io_ring_end ends[IO_PROBE_DEPTH_MAX];
    uint64_t begin = clock_now_ns(), now = begin, stop = p->bytes + bytes_max, came = 0;
    uint32_t under_way = 0;
    for (uint32_t at = 0; at < depth; at++, under_way++)
        read_one(p, at);
    while (under_way > 0) {
        uint32_t n = p->ring->ops->wait(p->ring, ends, IO_PROBE_DEPTH_MAX, UINT64_MAX);
        now = clock_now_ns();
        for (uint32_t i = 0; i < n; i++, under_way--) {
            if (ends[i].result <= 0)
                p->failed = true;
            else
                came += (uint64_t)ends[i].result;
            if (p->bytes < stop && now - begin < ns_max && !p->failed) {
                read_one(p, ends[i].tag);
                under_way++;
            }
        }
    }
    return now > begin ? (double)came * 1e9 / (double)(now - begin) : 0;
}

/* As many depths as there is time for: the first reads of a depth alone may take too long. */
static void measure_all(struct prober *p, double rates[IO_PROBE_DEPTHS])
{
    uint64_t begin = clock_now_ns();
    for (uint32_t i = 0; i < IO_PROBE_DEPTHS && !p->failed; i++) {
        double first_ns = i ? (double)(p->piece_bytes << i) * 1e9 / (rates[i - 1] + 1) : 0;
        if ((double)(clock_now_ns() - begin) + first_ns > IO_PROBE_NS)
            return;
        /* 7/8 of it; the rest is for what is under way at the end of each. */
        uint64_t bytes = i < 3 ? IO_PROBE_BYTES / 8 : IO_PROBE_BYTES / 4;
        rates[i] = measure(p, 1u << i, bytes, IO_PROBE_NS / IO_PROBE_DEPTHS);
    }
}

uint32_t io_probe_choose(const double rates[IO_PROBE_DEPTHS])
{
    double best = 0;
    uint32_t at = 0;
    for (uint32_t i = 0; i < IO_PROBE_DEPTHS; i++)
        best = rates[i] > best ? rates[i] : best;
    if (best == 0)
        return IO_PROBE_DEPTH_LEAST;
    while (rates[at] < NEARLY * best)
        at++;
    return 1u << at > IO_PROBE_DEPTH_LEAST ? 1u << at : IO_PROBE_DEPTH_LEAST;
}

/* The depth at which reads of the mean length keep enough bytes under way. */
static uint32_t least_depth(const struct store *store, uint64_t piece_bytes)
{
    uint64_t bytes = 0, parts = 0;
    for (page_id page = 0; page < store_pages(store); page++) {
        bytes += store_page(store, page)->file_bytes;
        parts += store_page(store, page)->parts;
    }
    uint64_t mean = bytes / parts < piece_bytes ? bytes / parts + 1 : piece_bytes;
    uint64_t depth = (IO_PROBE_UNDER_WAY_BYTES + mean - 1) / mean;
    return depth < IO_PROBE_DEPTH_MAX ? (uint32_t)depth : IO_PROBE_DEPTH_MAX;
}

static bool is_worth_it(const struct io_files *files)
{
    const struct store *store = files->store;
    return files->count > 0 && files->direct == files->count && store_pages(store) > 0 &&
           store_total_slot_bytes(store) >= IO_PROBE_MODEL_BYTES;
}

enum status io_probe_run(struct io_probe *probe, const struct io_files *files, uint64_t piece_bytes,
                         io_ring_open_function *ring_open, struct error *error)
{
    *probe = (struct io_probe){.depth = IO_PROBE_DEPTH_LEAST};
    if (!is_worth_it(files))
        return STATUS_OK;
    struct prober p = {.files = files, .piece_bytes = piece_bytes, .random = clock_now_ns() | 1};
    enum status status =
        pinned_open(&p.memory, IO_PROBE_DEPTH_MAX * piece_bytes, "probe of the storage", error);
    struct io_ring_config config = {.files = files,
                                    .depth = IO_PROBE_DEPTH_MAX,
                                    .memory = p.memory.base,
                                    .buffers = IO_PROBE_DEPTH_MAX,
                                    .buffer_bytes = piece_bytes};
    if (status == STATUS_OK)
        status = ring_open(&p.ring, &config, error);
    if (status == STATUS_OK)
        measure_all(&p, probe->rates);
    if (status == STATUS_OK && !p.failed) {
        uint32_t least = least_depth(files->store, piece_bytes);
        probe->depth = io_probe_choose(probe->rates);
        probe->depth = probe->depth > least ? probe->depth : least;
        for (uint32_t i = 0; i < IO_PROBE_DEPTHS && 1u << i <= probe->depth; i++)
            probe->rate = probe->rates[i] > probe->rate ? probe->rates[i] : probe->rate;
    }
    io_ring_close(p.ring);
    pinned_close(&p.memory);
    return status;
}
