/* Positional reads of whole ranges. Owns one descriptor per file; refuses anything that is not a
 * regular file, since a FIFO or a device in a model's folder would block or never end. Reads use
 * pread and share no position, so several threads may use one file. */
#include "engine/load/model_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "memory/base/check.h"

enum status model_file_open(struct model_file *out, const char *path, struct error *error)
{
    struct model_file file = MODEL_FILE_CLOSED;
    struct stat info;
    enum status status = STATUS_OK;
    *out = file;
    do {
        file.fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    } while (file.fd < 0 && errno == EINTR);
    if (file.fd < 0)
        return error_set(error, errno == ENOENT ? STATUS_NOT_FOUND : STATUS_IO,
                         "%s: cannot be opened: %s", path, strerror(errno));
    if (fstat(file.fd, &info) != 0) {
        status = error_set(error, STATUS_IO, "%s: cannot be examined: %s", path, strerror(errno));
        goto fail;
    }
    if (!S_ISREG(info.st_mode)) {
        status = error_set(error, STATUS_INVALID, "%s: is not a regular file", path);
        goto fail;
    }
    file.bytes = (uint64_t)info.st_size;
    *out = file;
    return STATUS_OK;
fail:
    model_file_close(&file);
    return status;
}

void model_file_close(struct model_file *file)
{
    if (!file || file->fd < 0)
        return;
    close(file->fd);
    file->fd = -1;
}

enum status model_file_read(const struct model_file *file, const char *path, uint64_t offset,
                            size_t bytes, void *to, struct error *error)
{
    CHECK(file->fd >= 0);
    size_t done = 0;
    while (done < bytes) {
        ssize_t n = pread(file->fd, (char *)to + done, bytes - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_set(error, STATUS_IO, "%s: reading %zu bytes at %llu: %s", path, bytes,
                             (unsigned long long)offset, strerror(errno));
        if (n == 0)
            return error_set(error, STATUS_IO,
                             "%s: ended at byte %llu while %zu bytes at %llu were wanted: the file "
                             "has shrunk since it was opened",
                             path, (unsigned long long)(offset + done), bytes,
                             (unsigned long long)offset);
        done += (size_t)n;
    }
    return STATUS_OK;
}
