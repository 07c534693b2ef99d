/* The files of the dashboard as they lie in the program: embed_files.cmake writes the table at
 * build. */
#ifndef MOERING_SERVER_UI_UI_FILES_H
#define MOERING_SERVER_UI_UI_FILES_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct ui_file {
    const char *path;            /* where it is served: "/", "/ui/app.js" */
    const char *type;            /* its Content-Type */
    const char *etag,
        *gzip_etag; /* with their quotes; of the bytes, so that they change with them */
    const unsigned char *bytes, *gzip_bytes;
    size_t size, gzip_size;
};

extern const struct ui_file ui_files[];
extern const uint32_t ui_file_count;

#ifdef __cplusplus
}
#endif
#endif
