/* The blocking read of one page, in steps of one read call each, used by io_thread on its threads
 * and by io_sync in submit. Between two steps the read may rest for as long as anybody likes, and
 * another thread may go on with it. Touches the sealed store, the place where the read stands, the
 * memory it is staged in and the request's slot only, so any thread may run it. */
#include "memory/io.h"

#include <errno.h>
#include <time.h>

#include "memory/base/check.h"

/* Regular files do not answer EAGAIN, but files behind FUSE or a stacked file system may. */
#define IO_AGAIN_PAUSE_NS 2000000

/* Linux reads at most 2 GiB - 4 KiB per call; staying well below keeps each call's length even. */
#define IO_CALL_BYTES_MAX ((uint64_t)1 << 30)

void io_reading_begin(struct io_reading *reading, const struct io_request *request,
                      const struct io_files *files, uint8_t *stage)
{
    *reading = (struct io_reading){
        .request = *request, .done = {.tag = request->tag}, .files = files, .stage = stage};
    io_runs_of(files, store_page(files->store, request->page), request->slot, &reading->runs);
}

static const struct page *page_of(const struct io_reading *reading)
{
    return store_page(reading->files->store, reading->request.page);
}

/* Where byte 0 of the run being read goes. */
static uint8_t *target(const struct io_reading *reading)
{
    const struct io_run *run = &reading->runs.run[reading->run];
    CHECK(!run->staged || reading->stage);
    return run->staged ? reading->stage
                       : reading->request.slot + page_of(reading)->part[run->part[0]].slot_offset;
}

/* Bytes have.. to.. of the run have come. */
static void count_bytes(struct io_reading *reading, uint64_t to)
{
    const struct io_run *run = &reading->runs.run[reading->run];
    uint64_t bytes = io_run_page_bytes(run, page_of(reading), reading->have, to);
    reading->done.bytes += bytes;
    reading->done.rounding_bytes += to - reading->have - bytes;
}

/* The bytes up to `came` were read; the next call begins at reading->have. 0, or IO_END_OF_FILE. */
static int go_on(struct io_reading *reading, uint64_t came)
{
    const struct io_run *run = &reading->runs.run[reading->run];
    uint64_t next = io_run_advance(run, reading->have, came - reading->have);
    if (next == reading->have) { /* the file ends, off the alignment */
        count_bytes(reading, came);
        reading->have = came;
        return IO_END_OF_FILE;
    }
    count_bytes(reading, next == run->bytes ? came : next); /* what is read again counts then */
    reading->have = next;
    return 0;
}

/* What the answer `n` of a read call means: 0 to go on, an errno or IO_END_OF_FILE. */
static int take_in(struct io_reading *reading, ssize_t n)
{
    uint32_t again = reading->again;
    reading->again = 0;
    if (n == 0)
        return IO_END_OF_FILE;
    if (n > 0)
        return go_on(reading, reading->have + (uint64_t)n);
    if (errno == EINTR) {
        reading->again = again;
    } else if (errno == EAGAIN && again < IO_AGAIN_MAX) {
        reading->again = again + 1;
        nanosleep(&(struct timespec){.tv_nsec = IO_AGAIN_PAUSE_NS}, NULL);
    } else {
        return errno;
    }
    return 0;
}

bool io_reading_step(struct io_reading *reading, io_pread_function *pread_function, uint64_t bytes)
{
    const struct io_run *run = &reading->runs.run[reading->run];
    struct io_done *done = &reading->done;
    uint64_t want = run->bytes - reading->have;
    if (want > bytes)
        want = bytes;
    if (want > IO_CALL_BYTES_MAX)
        want = IO_CALL_BYTES_MAX;
    done->reads++;
    done->cause =
        take_in(reading, pread_function(reading->files->at[run->file].fd,
                                        target(reading) + reading->have, (size_t)want,
                                        (off_t)(run->offset + reading->have)));
    if (done->cause) {
        done->part = io_run_locate(run, page_of(reading), reading->have, &done->offset);
        return false;
    }
    if (reading->have < run->bytes)
        return true;
    if (run->staged)
        io_run_land(run, reading->files->store, reading->request.page, reading->request.slot,
                    reading->stage);
    reading->have = 0;
    return ++reading->run < reading->runs.count;
}

void io_read(struct io_reading *reading, io_pread_function *pread_function)
{
    while (io_reading_step(reading, pread_function, UINT64_MAX))
        continue;
}
