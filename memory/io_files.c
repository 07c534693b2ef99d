/* A second descriptor for each file of a store. The store's own is never changed: flags belong to
 * the open file, and a file opened again by its name could be another one by now, so the new
 * descriptor comes from /proc/self/fd, which leads to the same file. Without /proc the store's is
 * used as it is.
 *
 * Through the page cache the kernel is told that reads are random: whole parts are asked for in one
 * call, and a readahead that guesses further (8 MiB on some machines) would read what nobody wants.
 *
 * Called while an io is opened and closed; read by any thread in between. */
#include "memory/io_files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int open_again(int fd, int flags)
{
    char path[64];
    int again;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    do
        again = open(path, O_RDONLY | O_CLOEXEC | flags);
    while (again < 0 && errno == EINTR);
    return again;
}

/* What the file system wants direct reads of this file rounded to; 0: it has none, or one that
 * memory in pages of the host does not meet. Where it does not say, IO_FILES_ALIGN suits every
 * disk. */
static uint32_t alignment_of(int fd)
{
    uint32_t align = IO_FILES_ALIGN;
#ifdef STATX_DIOALIGN
    struct statx info;
    if (statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &info) == 0 &&
        (info.stx_mask & STATX_DIOALIGN)) {
        if (info.stx_dio_offset_align == 0 || info.stx_dio_mem_align > IO_FILES_ALIGN)
            return 0;
        if (info.stx_dio_offset_align > align)
            align = info.stx_dio_offset_align;
    }
#else
    (void)fd;
#endif
    return align;
}

/* One read of the file's beginning. 0, or an errno. */
static int try_out(int fd, uint32_t align)
{
    void *to;
    int cause = posix_memalign(&to, align, align);
    if (cause)
        return cause;
    ssize_t n;
    do
        n = pread(fd, to, align, 0);
    while (n < 0 && errno == EINTR);
    cause = n < 0 ? errno : 0;
    free(to);
    return cause;
}

/* A descriptor for direct reads and their alignment. Returns 0, or an errno. */
static int open_direct(int fd, struct io_file *file)
{
    uint32_t align = alignment_of(fd);
    if (align == 0 || align > IO_FILES_ALIGN_MAX)
        return EINVAL;
    int direct = open_again(fd, O_DIRECT);
    if (direct < 0)
        return errno;
    int cause = try_out(direct, align);
    if (cause) {
        close(direct);
        return cause;
    }
    *file = (struct io_file){.fd = direct, .own = true, .align = align};
    return 0;
}

static void open_buffered(int fd, struct io_file *file)
{
    int again = open_again(fd, 0);
    *file = (struct io_file){.fd = again < 0 ? fd : again, .own = again >= 0, .align = 1};
    if (file->own)
        posix_fadvise(file->fd, 0, 0, POSIX_FADV_RANDOM); /* a wish */
}

enum status io_files_open(struct io_files *files, const struct store *store, bool direct,
                          struct error *error)
{
    char unknown[64];
    uint32_t count = store_files(store);
    *files = (struct io_files){.store = store};
    files->at = calloc((size_t)count + 1, sizeof *files->at);
    if (!files->at)
        return error_set(error, STATUS_NO_MEMORY, "no memory for %u descriptors", count);
    for (uint32_t i = 0; i < count; i++) {
        struct io_file *file = &files->at[files->count++];
        int cause = direct ? open_direct(store_fd(store, i), file) : 0;
        if (direct && cause == 0) {
            files->direct++;
            continue;
        }
        open_buffered(store_fd(store, i), file);
        if (direct && !files->why_not[0])
            snprintf(files->why_not, sizeof files->why_not,
                     "'%.160s' cannot be read past the page cache: %s", store_path(store, i),
                     strerror_r(cause, unknown, sizeof unknown));
    }
    return STATUS_OK;
}

void io_files_close(struct io_files *files)
{
    for (uint32_t i = 0; i < files->count; i++)
        if (files->at[i].own)
            close(files->at[i].fd);
    free(files->at);
    *files = (struct io_files){0};
}
