/* The blocking read of one page, used by io_thread on its threads and by io_sync in submit. Touches
 * the sealed store and the request's slot only, so any thread may run it. */
#include "memory/io.h"

#include <errno.h>
#include <time.h>

/* Regular files do not answer EAGAIN, but files behind FUSE or a stacked file system may. */
#define IO_AGAIN_MAX 50
#define IO_AGAIN_PAUSE_NS 2000000

/* Linux reads at most 2 GiB - 4 KiB per call; staying well below keeps each call's length even. */
#define IO_CALL_BYTES_MAX ((uint64_t)1 << 30)

/* One part. 0, an errno or IO_END_OF_FILE; `done` counts along. */
static int read_part(int fd, const struct page_part *part, uint8_t *to,
                     io_pread_function *pread_function, struct io_done *done)
{
    uint64_t have = 0;
    int again = 0;
    while (have < part->bytes) {
        uint64_t want = part->bytes - have;
        if (want > IO_CALL_BYTES_MAX)
            want = IO_CALL_BYTES_MAX;
        done->offset = part->offset + have;
        done->reads++;
        ssize_t n = pread_function(fd, to + have, (size_t)want, (off_t)done->offset);
        if (n > 0) {
            have += (uint64_t)n;
            done->bytes += (uint64_t)n;
            again = 0;
        } else if (n == 0) {
            return IO_END_OF_FILE;
        } else if (errno == EAGAIN && again < IO_AGAIN_MAX) {
            again++;
            nanosleep(&(struct timespec){.tv_nsec = IO_AGAIN_PAUSE_NS}, NULL);
        } else if (errno != EINTR) {
            return errno;
        }
    }
    return 0;
}

void io_read(const struct io_request *request, io_pread_function *pread_function,
             struct io_done *done)
{
    const struct page *page = store_page(request->store, request->page);
    *done = (struct io_done){.tag = request->tag};
    for (uint32_t i = 0; i < page->parts && done->cause == 0; i++) {
        const struct page_part *part = &page->part[i];
        done->part = i;
        done->cause = read_part(store_fd(request->store, part->file), part,
                                request->slot + part->slot_offset, pread_function, done);
    }
}
