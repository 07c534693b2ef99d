/* A regular file of a model's folder, open for reading. Every read of this folder goes through
 * here, so that its errors always name the path and a file that shrinks is noticed. */
#ifndef MOERING_ENGINE_LOAD_MODEL_FILE_H
#define MOERING_ENGINE_LOAD_MODEL_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "memory/base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

struct model_file {
    int fd;         /* -1: not open */
    uint64_t bytes; /* at the time of opening */
};

#define MODEL_FILE_CLOSED {-1, 0}

/* Follows links (download folders are made of them); never blocks on a FIFO or a device.
 * NOT_FOUND: no such file; INVALID: not a regular file; IO: may not be read. */
enum status model_file_open(struct model_file *out, const char *path, struct error *error);
void model_file_close(struct model_file *file); /* accepts NULL and a closed one */
/* Any thread. IO: the system refused, or the file ends before offset + bytes. */
enum status model_file_read(const struct model_file *file, const char *path, uint64_t offset,
                            size_t bytes, void *to, struct error *error);

#ifdef __cplusplus
}
#endif
#endif
