/* The calls that --wrap sends here. State is one thread's: arming a thread says nothing about
 * others. glibc's own calls (fopen's buffer) do not pass here; those that allocate on our behalf
 * (strdup, getline, asprintf, open_memstream) are calls of their own. */
#include "tests/faults/failing.h"

#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <jansson.h>
#include <pthread.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

struct failing {
    bool armed;
    enum failing_mode mode;
    enum failing_kind kind;
    uint64_t n, calls, failed;
    void *where[FAILING_TRACE_MAX];
    int where_count;
};

static _Thread_local struct failing failing; /* the linker's hook has no argument to carry it in */

void failing_arm(uint64_t n, enum failing_mode mode, enum failing_kind kind)
{
    failing = (struct failing){.armed = true, .mode = mode, .kind = kind, .n = n};
}

uint64_t failing_disarm(void)
{
    failing.armed = false;
    return failing.failed;
}

bool failing_pause(void)
{
    bool armed = failing.armed;
    failing.armed = false;
    return armed;
}

void failing_resume(bool armed)
{
    failing.armed = armed;
}

int failing_where(void *addresses[FAILING_TRACE_MAX])
{
    memcpy(addresses, failing.where, sizeof failing.where);
    return failing.where_count;
}

/* Whether this call is to fail. */
static bool fails(enum failing_kind kind)
{
    struct failing *f = &failing;
    if (!f->armed || f->kind != kind)
        return false;
    f->calls++;
    if (f->mode == FAILING_ONE ? f->calls != f->n : f->calls < f->n)
        return false;
    if (f->failed++ == 0) {
        f->armed = false; /* backtrace allocates when it runs for the first time */
        f->where_count = backtrace(f->where, FAILING_TRACE_MAX);
        f->armed = true;
    }
    return true;
}

static bool lacks(int cause)
{
    if (!fails(FAILING_MEMORY))
        return false;
    errno = cause;
    return true;
}

static bool breaks(int cause)
{
    if (!fails(FAILING_FILES))
        return false;
    errno = cause;
    return true;
}

#define WRAPPED(type, name, ...)                                                                   \
    type __real_##name(__VA_ARGS__);                                                               \
    type __wrap_##name(__VA_ARGS__);                                                               \
    type __wrap_##name(__VA_ARGS__)

WRAPPED(void *, malloc, size_t bytes)
{
    return lacks(ENOMEM) ? NULL : __real_malloc(bytes);
}

WRAPPED(void *, calloc, size_t count, size_t bytes)
{
    return lacks(ENOMEM) ? NULL : __real_calloc(count, bytes);
}

WRAPPED(void *, realloc, void *old, size_t bytes)
{
    return lacks(ENOMEM) ? NULL : __real_realloc(old, bytes);
}

WRAPPED(void *, reallocarray, void *old, size_t count, size_t bytes)
{
    return lacks(ENOMEM) ? NULL : __real_reallocarray(old, count, bytes);
}

WRAPPED(char *, strdup, const char *text)
{
    return lacks(ENOMEM) ? NULL : __real_strdup(text);
}

WRAPPED(char *, strndup, const char *text, size_t bytes)
{
    return lacks(ENOMEM) ? NULL : __real_strndup(text, bytes);
}

WRAPPED(int, posix_memalign, void **out, size_t align, size_t bytes)
{
    return fails(FAILING_MEMORY) ? ENOMEM : __real_posix_memalign(out, align, bytes);
}

WRAPPED(void *, aligned_alloc, size_t align, size_t bytes)
{
    return lacks(ENOMEM) ? NULL : __real_aligned_alloc(align, bytes);
}

/* What it leaves in *out is undefined then: nothing that may be freed. */
WRAPPED(int, vasprintf, char **out, const char *format, va_list args)
{
    static char no_memory[1];
    if (!lacks(ENOMEM))
        return __real_vasprintf(out, format, args);
    *out = no_memory;
    return -1;
}

int __wrap_asprintf(char **out, const char *format, ...);
int __wrap_asprintf(char **out, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int bytes = __wrap_vasprintf(out, format, args);
    va_end(args);
    return bytes;
}

WRAPPED(ssize_t, getline, char **line, size_t *room, FILE *file)
{
    return lacks(ENOMEM) ? -1 : __real_getline(line, room, file);
}

WRAPPED(FILE *, open_memstream, char **text, size_t *bytes)
{
    return lacks(ENOMEM) ? NULL : __real_open_memstream(text, bytes);
}

WRAPPED(void *, mmap, void *at, size_t bytes, int protection, int flags, int fd, off_t offset)
{
    return lacks(ENOMEM) ? MAP_FAILED
                         : __real_mmap(at, bytes, protection, flags, fd, offset);
}

WRAPPED(int, pthread_create, pthread_t *thread, const pthread_attr_t *attributes,
        void *(*start)(void *), void *arg)
{
    return fails(FAILING_MEMORY) ? EAGAIN : __real_pthread_create(thread, attributes, start, arg);
}

WRAPPED(int, eventfd, unsigned int count, int flags)
{
    return lacks(EMFILE) ? -1 : __real_eventfd(count, flags);
}

WRAPPED(int, pipe2, int fds[2], int flags)
{
    return lacks(EMFILE) ? -1 : __real_pipe2(fds, flags);
}

/* ---- files ---- */

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    mode_t mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;
    va_end(args);
    return breaks(EMFILE) ? -1 : __real_open(path, flags, mode);
}

WRAPPED(ssize_t, read, int fd, void *to, size_t bytes)
{
    return breaks(EIO) ? -1 : __real_read(fd, to, bytes);
}

WRAPPED(ssize_t, pread, int fd, void *to, size_t bytes, off_t offset)
{
    return breaks(EIO) ? -1 : __real_pread(fd, to, bytes, offset);
}

WRAPPED(ssize_t, write, int fd, const void *from, size_t bytes)
{
    return breaks(ENOSPC) ? -1 : __real_write(fd, from, bytes);
}

WRAPPED(ssize_t, pwrite, int fd, const void *from, size_t bytes, off_t offset)
{
    return breaks(ENOSPC) ? -1 : __real_pwrite(fd, from, bytes, offset);
}

WRAPPED(int, fstat, int fd, struct stat *info)
{
    return breaks(EIO) ? -1 : __real_fstat(fd, info);
}

WRAPPED(int, fsync, int fd)
{
    return breaks(EIO) ? -1 : __real_fsync(fd);
}

WRAPPED(int, ftruncate, int fd, off_t bytes)
{
    return breaks(ENOSPC) ? -1 : __real_ftruncate(fd, bytes);
}

WRAPPED(int, fallocate, int fd, int mode, off_t offset, off_t bytes)
{
    return breaks(ENOSPC) ? -1 : __real_fallocate(fd, mode, offset, bytes);
}

WRAPPED(int, rename, const char *from, const char *to)
{
    return breaks(EIO) ? -1 : __real_rename(from, to);
}

void failing_take_jansson(bool taken)
{
    json_set_alloc_funcs(taken ? __wrap_malloc : __real_malloc, free);
}
