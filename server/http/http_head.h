/* The head of a request: request line and header fields, read strictly. Bytes in, fields out; no
 * IO.
 *
 * Two steps. The reader collects bytes as they come, one by one if need be, and knows the end of
 * the head; it takes nothing beyond it. Then one pass over the whole text finds the fields and how
 * long the body is.
 *
 * Strict means: what two parsers could read differently is refused, not repaired (RFC 9112
 * sections 2.2, 5.1, 5.2, 6.1, 6.3): bare LF or CR, NUL, folded lines, a blank before the colon,
 * a second Host, a second Content-Length (equal or not), Content-Length beside
 * Transfer-Encoding, any transfer coding but one "chunked", Transfer-Encoding in HTTP/1.0.
 * Numbers are digits and nothing else. */
#ifndef MOERING_SERVER_HTTP_HTTP_HEAD_H
#define MOERING_SERVER_HTTP_HTTP_HEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/http/http_error.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { HTTP_FIELDS_MAX = 100 };

enum http_read {
    HTTP_READ_MORE,      /* all bytes were taken, the end has not come */
    HTTP_READ_DONE,      /* the bytes after `taken` belong to what follows */
    HTTP_READ_BAD,       /* no sense in reading on */
    HTTP_READ_TOO_LARGE,
    HTTP_READ_NO_MEMORY,
};

/* Zero-initialised is empty. */
struct http_head_reader {
    char *text;
    size_t bytes, capacity;
    size_t line_bytes; /* of the line under way, without its CR */
    bool cr;           /* the last byte was one */
};

/* Takes bytes up to the end of a head of at most `limit` bytes. Skips empty lines before it. */
enum http_read http_head_read(struct http_head_reader *reader, size_t limit, const uint8_t *bytes,
                              size_t size, size_t *taken);
/* Some of a head has come. */
bool http_head_begun(const struct http_head_reader *reader);
void http_head_reader_reset(struct http_head_reader *reader); /* frees; accepts an empty one */

struct http_field {
    const char *name, *value; /* the value without blanks around it */
};

/* Points into `text`, which it owns. */
struct http_head {
    char *text;
    const char *method;
    char *target;      /* as sent; http_target.h takes it apart */
    unsigned minor;    /* HTTP/1.minor */
    struct http_field fields[HTTP_FIELDS_MAX];
    uint32_t field_count;
    bool chunked;
    bool has_length;
    uint64_t length;   /* of Content-Length */
    bool expects_continue;
    bool keep_alive;   /* the client's wish, by its version and Connection */
};

/* Takes the reader's text (the reader is empty afterwards). False: what is wrong, with sentences
 * that are literals; `head` then holds at least the text, for http_head_reset. */
bool http_head_parse(struct http_head *head, struct http_head_reader *reader,
                     struct http_failure *why);
/* The first field of that name, in any case; NULL: none. */
const char *http_head_find(const struct http_head *head, const char *name);
void http_head_reset(struct http_head *head); /* frees; accepts a zeroed one */

/* A character of a token (RFC 9110 section 5.6.2): methods and field names. */
bool http_token_char(unsigned char c);

#ifdef __cplusplus
}
#endif
#endif
