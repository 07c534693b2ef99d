/* See http_answer.h. What software answers is not told: there is no Server header. */
#include "server/http/http_answer.h"

#include <event2/buffer.h>
#include <stdio.h>
#include <string.h>

enum { REQUEST_ID_BYTES_MAX = 128 };

const char *http_date_text(struct http_date *date, time_t now)
{
    static const char days[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                       "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    struct tm t;
    if (date->second == now && date->text[0])
        return date->text;
    date->second = now;
    (void)gmtime_r(&now, &t);
    /* Not strftime: names of days must not follow the locale. */
    (void)snprintf(date->text, sizeof date->text, "%s, %02u %s %04u %02u:%02u:%02u GMT",
                   days[t.tm_wday], (unsigned)t.tm_mday % 100, months[t.tm_mon],
                   (unsigned)(t.tm_year + 1900) % 10000, (unsigned)t.tm_hour % 100,
                   (unsigned)t.tm_min % 100, (unsigned)t.tm_sec % 100);
    return date->text;
}

const char *http_reason(int code)
{
    static const struct {
        int code;
        const char *reason;
    } reasons[] = {
        {200, "OK"},
        {202, "Accepted"},
        {204, "No Content"},
        {206, "Partial Content"},
        {301, "Moved Permanently"},
        {302, "Found"},
        {304, "Not Modified"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {406, "Not Acceptable"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {413, "Content Too Large"},
        {415, "Unsupported Media Type"},
        {417, "Expectation Failed"},
        {422, "Unprocessable Content"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
    };
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++)
        if (reasons[i].code == code)
            return reasons[i].reason;
    return "";
}

bool http_answer_write(struct evbuffer *out, const struct http_answer *answer,
                       struct evbuffer *more)
{
    bool ok = evbuffer_add_printf(out, "HTTP/1.1 %d %s\r\nDate: %s\r\n", answer->code,
                                  http_reason(answer->code), answer->date) > 0;
    if (answer->content_type)
        ok = ok && evbuffer_add_printf(out, "Content-Type: %s\r\n", answer->content_type) > 0;
    if (answer->framing == HTTP_LENGTH_KNOWN)
        ok = ok && evbuffer_add_printf(out, "Content-Length: %llu\r\n",
                                       (unsigned long long)answer->length) > 0;
    else if (answer->framing == HTTP_LENGTH_CHUNKED)
        ok = ok && evbuffer_add_printf(out, "Transfer-Encoding: chunked\r\n") > 0;
    if (answer->request_id)
        ok = ok && evbuffer_add_printf(out, "X-Request-Id: %s\r\n", answer->request_id) > 0;
    if (!answer->keep_alive)
        ok = ok && evbuffer_add_printf(out, "Connection: close\r\n") > 0;
    else if (answer->say_keep_alive)
        ok = ok && evbuffer_add_printf(out, "Connection: keep-alive\r\n") > 0;
    if (more)
        ok = ok && evbuffer_add_buffer(out, more) == 0;
    return ok && evbuffer_add(out, "\r\n", 2) == 0;
}

bool http_request_id_ok(const char *text)
{
    size_t bytes = strlen(text);
    for (const char *c = text; *c; c++)
        if (*c < ' ' || *c > '~')
            return false;
    return bytes > 0 && bytes <= REQUEST_ID_BYTES_MAX;
}
