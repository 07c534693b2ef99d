/* The blocking read of one page, in steps of one read call each, used by io_thread on its threads
 * and by io_sync in submit. Between two steps the read may rest for as long as anybody likes, and
 * another thread may go on with it. Touches the sealed store, the place where the read stands and
 * the request's slot only, so any thread may run it. */
#include "memory/io.h"

#include <errno.h>
#include <time.h>

/* Regular files do not answer EAGAIN, but files behind FUSE or a stacked file system may. */
#define IO_AGAIN_MAX 50
#define IO_AGAIN_PAUSE_NS 2000000

/* Linux reads at most 2 GiB - 4 KiB per call; staying well below keeps each call's length even. */
#define IO_CALL_BYTES_MAX ((uint64_t)1 << 30)

void io_reading_begin(struct io_reading *reading, const struct io_request *request)
{
    *reading = (struct io_reading){.request = *request, .done = {.tag = request->tag}};
}

/* What the answer `n` of a read call means: 0 to go on, an errno or IO_END_OF_FILE. */
static int take_in(struct io_reading *reading, ssize_t n)
{
    uint32_t again = reading->again;
    reading->again = 0;
    if (n == 0)
        return IO_END_OF_FILE;
    if (n > 0) {
        reading->have += (uint64_t)n;
        reading->done.bytes += (uint64_t)n;
    } else if (errno == EINTR) {
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
    const struct store *store = reading->request.store;
    const struct page *page = store_page(store, reading->request.page);
    struct io_done *done = &reading->done;
    const struct page_part *part = &page->part[done->part];
    uint8_t *to = reading->request.slot + part->slot_offset + reading->have;
    uint64_t want = part->bytes - reading->have;
    if (want > bytes)
        want = bytes;
    if (want > IO_CALL_BYTES_MAX)
        want = IO_CALL_BYTES_MAX;
    done->offset = part->offset + reading->have;
    done->reads++;
    done->cause = take_in(reading, pread_function(store_fd(store, part->file), to, (size_t)want,
                                                  (off_t)done->offset));
    if (done->cause)
        return false;
    if (reading->have < part->bytes)
        return true;
    if (done->part + 1 == page->parts)
        return false;
    done->part++;
    reading->have = 0;
    return true;
}

void io_read(const struct io_request *request, io_pread_function *pread_function,
             struct io_done *done)
{
    struct io_reading reading;
    io_reading_begin(&reading, request);
    while (io_reading_step(&reading, pread_function, UINT64_MAX))
        continue;
    *done = reading.done;
}
