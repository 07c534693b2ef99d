/* See http_head.h. The reader refuses by the byte what can be seen by the byte (a TLS greeting,
 * a bare LF, a NUL), so that such a client hears of it at once and not when its time is over. */
#include "server/http/http_head.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { READER_BYTES_FIRST = 1024, METHOD_BYTES_MAX = 32 };

bool http_token_char(unsigned char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

/* ---- the reader ---- */

static bool reader_reserve(struct http_head_reader *reader, size_t limit)
{
    if (reader->bytes < reader->capacity)
        return true;
    size_t capacity = reader->capacity ? 2 * reader->capacity : READER_BYTES_FIRST;
    if (capacity > limit)
        capacity = limit;
    char *text = realloc(reader->text, capacity);
    if (!text)
        return false;
    reader->text = text;
    reader->capacity = capacity;
    return true;
}

/* Whether this byte may come next at all. */
static bool reader_likes(const struct http_head_reader *reader, uint8_t byte)
{
    if (reader->cr)
        return byte == '\n';
    if (byte == '\n' || byte == '\0')
        return false;
    return reader->bytes > 0 || byte == '\r' || http_token_char(byte);
}

enum http_read http_head_read(struct http_head_reader *reader, size_t limit, const uint8_t *bytes,
                              size_t size, size_t *taken)
{
    for (*taken = 0; *taken < size; ++*taken) {
        uint8_t byte = bytes[*taken];
        if (!reader_likes(reader, byte))
            return HTTP_READ_BAD;
        if (reader->bytes == 0 && (byte == '\r' || byte == '\n')) {
            reader->cr = byte == '\r';
            continue;
        }
        if (reader->bytes >= limit)
            return HTTP_READ_TOO_LARGE;
        if (!reader_reserve(reader, limit))
            return HTTP_READ_NO_MEMORY;
        reader->text[reader->bytes++] = (char)byte;
        reader->cr = byte == '\r';
        if (byte != '\n') {
            reader->line_bytes += byte != '\r';
        } else if (reader->line_bytes == 0) {
            ++*taken;
            return HTTP_READ_DONE;
        } else {
            reader->line_bytes = 0;
        }
    }
    return HTTP_READ_MORE;
}

bool http_head_begun(const struct http_head_reader *reader)
{
    return reader->bytes > 0 || reader->cr;
}

void http_head_reader_reset(struct http_head_reader *reader)
{
    free(reader->text);
    *reader = (struct http_head_reader){0};
}

/* ---- the lines ---- */

static bool refuse(struct http_failure *why, enum http_problem problem, const char *message)
{
    *why = (struct http_failure){.problem = problem, .message = message};
    return false;
}

/* Cuts the line at `*at`: ends it with a NUL, moves on to the next, returns its beginning. The
 * reader has seen to it that every CR is followed by LF and that the text ends with an empty
 * line. */
static char *line_cut(char **at)
{
    char *line = *at, *end = strchr(line, '\r');
    *end = '\0';
    *at = end + 2;
    return line;
}

static bool request_line_parse(struct http_head *head, char *line, struct http_failure *why)
{
    static const char version[] = "HTTP/1.";
    char *target = strchr(line, ' ');
    char *protocol = target ? strchr(target + 1, ' ') : NULL;
    if (!protocol || strchr(protocol + 1, ' '))
        return refuse(why, HTTP_BAD_VALUE, "the request line is not METHOD TARGET HTTP/1.1");
    *target++ = '\0';
    *protocol++ = '\0';
    for (const char *c = line; *c; c++)
        if (!http_token_char((unsigned char)*c) || c - line >= METHOD_BYTES_MAX)
            return refuse(why, HTTP_BAD_VALUE, "the request's method is not a word");
    for (const char *c = target; *c; c++)
        if (*c <= ' ' || *c > '~')
            return refuse(why, HTTP_BAD_VALUE,
                          "the request's target has characters that must be percent-encoded");
    if (*line == '\0' || *target == '\0')
        return refuse(why, HTTP_BAD_VALUE, "the request line is not METHOD TARGET HTTP/1.1");
    head->method = line;
    head->target = target;
    size_t prefix = sizeof version - 1;
    if (strncmp(protocol, version, prefix) != 0 || protocol[prefix] < '0' ||
        protocol[prefix] > '9' || protocol[prefix + 1] != '\0')
        return strncmp(protocol, "HTTP/", 5) == 0
                   ? refuse(why, HTTP_BAD_VERSION, "the server speaks HTTP/1.1 and HTTP/1.0")
                   : refuse(why, HTTP_BAD_VALUE, "the request line is not METHOD TARGET HTTP/1.1");
    head->minor = (unsigned)(protocol[prefix] - '0');
    return true;
}

static bool field_parse(struct http_head *head, char *line, struct http_failure *why)
{
    if (*line == ' ' || *line == '\t')
        return refuse(why, HTTP_BAD_VALUE, "a header is folded over two lines");
    char *colon = line;
    while (http_token_char((unsigned char)*colon))
        colon++;
    if (*colon != ':' || colon == line)
        return refuse(why, HTTP_BAD_VALUE, "a header is not NAME: VALUE");
    *colon = '\0';
    char *value = colon + 1;
    for (const char *c = value; *c; c++)
        if (((unsigned char)*c < ' ' && *c != '\t') || *c == 0x7f)
            return refuse(why, HTTP_BAD_VALUE, "a header has a control character in its value");
    value += strspn(value, " \t");
    size_t bytes = strlen(value);
    while (bytes > 0 && (value[bytes - 1] == ' ' || value[bytes - 1] == '\t'))
        value[--bytes] = '\0';
    if (head->field_count == HTTP_FIELDS_MAX)
        return refuse(why, HTTP_HEADERS_TOO_LARGE, "the request has more than 100 headers");
    head->fields[head->field_count++] = (struct http_field){line, value};
    return true;
}

/* ---- what the fields mean ---- */

/* Digits alone; what does not fit is as large as can be, hence over every limit. */
static bool length_parse(const char *text, uint64_t *length)
{
    *length = 0;
    for (const char *c = text; *c; c++) {
        if (*c < '0' || *c > '9')
            return false;
        uint64_t digit = (uint64_t)(*c - '0');
        *length = *length > (UINT64_MAX - digit) / 10 ? UINT64_MAX : *length * 10 + digit;
    }
    return *text != '\0';
}

static bool list_has(const char *list, const char *token)
{
    size_t token_bytes = strlen(token);
    while (*list) {
        list += strspn(list, ", \t");
        size_t bytes = strcspn(list, ", \t");
        if (bytes == token_bytes && strncasecmp(list, token, bytes) == 0)
            return true;
        list += bytes;
    }
    return false;
}

static bool framing_field(struct http_head *head, const struct http_field *field, bool *te,
                          struct http_failure *why)
{
    if (strcasecmp(field->name, "content-length") == 0) {
        if (head->has_length)
            return refuse(why, HTTP_BAD_VALUE, "Content-Length is given twice");
        if (!length_parse(field->value, &head->length))
            return refuse(why, HTTP_BAD_VALUE, "Content-Length is not a number");
        head->has_length = true;
    } else if (strcasecmp(field->name, "transfer-encoding") == 0) {
        if (*te)
            return refuse(why, HTTP_BAD_VALUE, "Transfer-Encoding is given twice");
        *te = true;
        head->chunked = strcasecmp(field->value, "chunked") == 0;
        if (!head->chunked)
            return refuse(why, HTTP_NOT_IMPLEMENTED, "the only Transfer-Encoding here is chunked");
    }
    return true;
}

static bool framing_find(struct http_head *head, struct http_failure *why)
{
    bool te = false;
    for (uint32_t i = 0; i < head->field_count; i++)
        if (!framing_field(head, &head->fields[i], &te, why))
            return false;
    if (head->chunked && head->has_length)
        return refuse(why, HTTP_BAD_VALUE, "Content-Length stands beside Transfer-Encoding");
    if (head->chunked && head->minor == 0)
        return refuse(why, HTTP_BAD_VALUE, "HTTP/1.0 has no Transfer-Encoding");
    return true;
}

static bool meaning_find(struct http_head *head, struct http_failure *why)
{
    unsigned hosts = 0;
    bool asked_close = false, asked_keep = false;
    for (uint32_t i = 0; i < head->field_count; i++) {
        const struct http_field *field = &head->fields[i];
        if (strcasecmp(field->name, "host") == 0) {
            hosts++;
        } else if (strcasecmp(field->name, "connection") == 0) {
            asked_close = asked_close || list_has(field->value, "close");
            asked_keep = asked_keep || list_has(field->value, "keep-alive");
        } else if (strcasecmp(field->name, "expect") == 0 && head->minor > 0) {
            if (strcasecmp(field->value, "100-continue") != 0)
                return refuse(why, HTTP_EXPECTATION, "the only Expect here is 100-continue");
            head->expects_continue = true;
        }
    }
    if (hosts > 1 || (hosts == 0 && head->minor > 0))
        return refuse(why, HTTP_BAD_VALUE, "a request has one Host header");
    head->keep_alive = !asked_close && (head->minor > 0 || asked_keep);
    return true;
}

bool http_head_parse(struct http_head *head, struct http_head_reader *reader,
                     struct http_failure *why)
{
    head->text = reader->text;
    char *at = head->text;
    *reader = (struct http_head_reader){0};
    if (!request_line_parse(head, line_cut(&at), why))
        return false;
    while (*at != '\r')
        if (!field_parse(head, line_cut(&at), why))
            return false;
    return framing_find(head, why) && meaning_find(head, why);
}

const char *http_head_find(const struct http_head *head, const char *name)
{
    for (uint32_t i = 0; i < head->field_count; i++)
        if (strcasecmp(head->fields[i].name, name) == 0)
            return head->fields[i].value;
    return NULL;
}

void http_head_reset(struct http_head *head)
{
    free(head->text);
    *head = (struct http_head){0};
}
