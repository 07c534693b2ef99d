#include "clients/bench/http_response.h"

#include <string.h>
#include <strings.h>

void http_response_init(struct http_response *r)
{
    memset(r, 0, offsetof(struct http_response, line));
    r->keep_alive = true;
}

bool http_response_ends_here(const struct http_response *r)
{
    return r->state == HTTP_RESPONSE_UNTIL_CLOSE || r->state == HTTP_RESPONSE_DONE;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* "HTTP/1.1 200 OK" */
static bool take_status_line(struct http_response *r)
{
    const char *line = r->line;
    if (strncmp(line, "HTTP/1.", 7) != 0 || !is_digit(line[7]) || line[8] != ' ')
        return false;
    const char *code = line + 9;
    if (!is_digit(code[0]) || !is_digit(code[1]) || !is_digit(code[2]) || is_digit(code[3]))
        return false;
    r->status = (code[0] - '0') * 100 + (code[1] - '0') * 10 + (code[2] - '0');
    r->keep_alive = line[7] != '0';
    r->state = HTTP_RESPONSE_HEADER;
    return r->status >= 100;
}

static bool parse_length(const char *text, uint64_t *out)
{
    uint64_t n = 0;
    if (!*text)
        return false;
    for (; *text; text++) {
        if (!is_digit(*text) || n > (UINT64_MAX >> 4) / 10)
            return false;
        n = n * 10 + (uint64_t)(*text - '0');
    }
    *out = n;
    return true;
}

/* Whether a list such as "keep-alive, close" has the word. */
static bool has_word(const char *list, const char *word)
{
    size_t n = strlen(word);
    while (*list) {
        list += strspn(list, " \t,");
        size_t item = strcspn(list, ", \t");
        if (item == n && strncasecmp(list, word, n) == 0)
            return true;
        list += item;
    }
    return false;
}

static bool take_header(struct http_response *r)
{
    char *colon = strchr(r->line, ':');
    if (!colon || colon == r->line || strcspn(r->line, " \t") < (size_t)(colon - r->line))
        return false; /* folded lines too: they have been forbidden since 2014 */
    *colon = '\0';
    char *value = colon + 1 + strspn(colon + 1, " \t");
    for (size_t n = strlen(value); n && (value[n - 1] == ' ' || value[n - 1] == '\t'); n--)
        value[n - 1] = '\0';
    if (strcasecmp(r->line, "content-length") == 0) {
        uint64_t length;
        if (!parse_length(value, &length) || (r->has_length && length != r->left))
            return false;
        r->has_length = true;
        r->left = length;
    } else if (strcasecmp(r->line, "transfer-encoding") == 0) {
        if (strcasecmp(value, "chunked") != 0 || r->chunked)
            return false; /* no other coding was asked for */
        r->chunked = true;
    } else if (strcasecmp(r->line, "connection") == 0) {
        if (has_word(value, "close"))
            r->keep_alive = false;
        else if (has_word(value, "keep-alive"))
            r->keep_alive = true;
    }
    return true;
}

static bool end_headers(struct http_response *r)
{
    if (r->status < 200) { /* interim: the answer itself follows */
        size_t head_bytes = r->head_bytes;
        bool upgrade = r->status == 101;
        http_response_init(r);
        r->head_bytes = head_bytes;
        return !upgrade;
    }
    if (r->chunked && r->has_length)
        return false;
    if (r->status == 204 || r->status == 304)
        r->state = HTTP_RESPONSE_DONE;
    else if (r->chunked)
        r->state = HTTP_RESPONSE_CHUNK_SIZE;
    else if (r->has_length)
        r->state = r->left ? HTTP_RESPONSE_LENGTH : HTTP_RESPONSE_DONE;
    else
        r->state = HTTP_RESPONSE_UNTIL_CLOSE;
    if (r->state == HTTP_RESPONSE_UNTIL_CLOSE)
        r->keep_alive = false;
    return true;
}

static int hex_value(char c)
{
    if (is_digit(c))
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* "1a;extension" */
static bool take_chunk_size(struct http_response *r)
{
    const char *p = r->line;
    uint64_t n = 0;
    if (hex_value(*p) < 0)
        return false;
    for (; hex_value(*p) >= 0; p++) {
        if (n >> 56)
            return false;
        n = n << 4 | (uint64_t)hex_value(*p);
    }
    p += strspn(p, " \t");
    if (*p && *p != ';')
        return false;
    r->left = n;
    r->state = n ? HTTP_RESPONSE_CHUNK : HTTP_RESPONSE_TRAILER;
    if (n)
        r->head_bytes = 0; /* the limit is for heads, not for the number of chunks */
    return true;
}

static bool take_line(struct http_response *r)
{
    bool empty = r->line[0] == '\0';
    switch (r->state) {
    case HTTP_RESPONSE_STATUS_LINE: return take_status_line(r);
    case HTTP_RESPONSE_HEADER: return empty ? end_headers(r) : take_header(r);
    case HTTP_RESPONSE_CHUNK_SIZE: return take_chunk_size(r);
    case HTTP_RESPONSE_CHUNK_END:
        r->state = HTTP_RESPONSE_CHUNK_SIZE;
        return empty;
    case HTTP_RESPONSE_TRAILER:
        if (empty)
            r->state = HTTP_RESPONSE_DONE;
        return true;
    default: return false;
    }
}

/* Bytes of a line, up to and with its LF. False: too long, or not what should stand here. */
static bool take_line_bytes(struct http_response *r, const uint8_t *bytes, size_t size,
                            size_t *used)
{
    const uint8_t *end = memchr(bytes, '\n', size);
    size_t n = end ? (size_t)(end - bytes) : size;
    *used = n + (end != NULL);
    r->head_bytes += *used;
    if (n > HTTP_RESPONSE_LINE_BYTES_MAX - r->line_bytes ||
        r->head_bytes > HTTP_RESPONSE_HEAD_BYTES_MAX || memchr(bytes, '\0', n))
        return false;
    memcpy(r->line + r->line_bytes, bytes, n);
    r->line_bytes += n;
    if (!end)
        return true;
    if (r->line_bytes && r->line[r->line_bytes - 1] == '\r')
        r->line_bytes--;
    r->line[r->line_bytes] = '\0';
    r->line_bytes = 0;
    return take_line(r);
}

static void body_taken(struct http_response *r, size_t n)
{
    if (r->state == HTTP_RESPONSE_UNTIL_CLOSE)
        return;
    r->left -= n;
    if (r->left == 0)
        r->state = r->state == HTTP_RESPONSE_CHUNK ? HTTP_RESPONSE_CHUNK_END : HTTP_RESPONSE_DONE;
}

enum http_response_event http_response_feed(struct http_response *r, const uint8_t *bytes,
                                            size_t size, size_t *used, const uint8_t **body,
                                            size_t *body_bytes)
{
    *used = 0;
    for (;;) {
        if (r->state == HTTP_RESPONSE_DONE)
            return HTTP_RESPONSE_END;
        if (r->state == HTTP_RESPONSE_FAILED)
            return HTTP_RESPONSE_BAD;
        if (*used == size)
            return HTTP_RESPONSE_MORE;
        size_t here = size - *used, n;
        if (r->state == HTTP_RESPONSE_LENGTH || r->state == HTTP_RESPONSE_CHUNK ||
            r->state == HTTP_RESPONSE_UNTIL_CLOSE) {
            n = r->state != HTTP_RESPONSE_UNTIL_CLOSE && r->left < here ? (size_t)r->left : here;
            *body = bytes + *used;
            *body_bytes = n;
            *used += n;
            body_taken(r, n);
            return HTTP_RESPONSE_BODY;
        }
        if (!take_line_bytes(r, bytes + *used, here, &n))
            r->state = HTTP_RESPONSE_FAILED;
        *used += n;
    }
}
