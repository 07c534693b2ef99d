/* See http_target.h. Decoding only ever shortens, so it is done where the text lies. The query
 * is cut at & and = before it is decoded: an encoded & belongs to a value. */
#include "server/http/http_target.h"

#include <stddef.h>
#include <string.h>
#include <strings.h>

static bool refuse(struct http_failure *why, const char *message)
{
    *why = (struct http_failure){.problem = HTTP_BAD_VALUE, .message = message};
    return false;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    char lower = (char)(c | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* %XX, and with `plus` + as a blank. False: not an encoding, or of a control character. */
static bool percent_decode(char *text, bool plus)
{
    char *out = text;
    for (const char *in = text; *in; in++) {
        char c = *in;
        if (c == '%') {
            int high = hex_digit(in[1]), low = high < 0 ? -1 : hex_digit(in[2]);
            if (low < 0)
                return false;
            c = (char)(high << 4 | low);
            in += 2;
        } else if (c == '+' && plus) {
            c = ' ';
        }
        if ((unsigned char)c < ' ' || c == 0x7f)
            return false;
        *out++ = c;
    }
    *out = '\0';
    return true;
}

/* Behind "http://host" of the absolute form; NULL: neither form. */
static char *path_begin(char *text)
{
    size_t scheme = strncasecmp(text, "http://", 7) == 0    ? 7
                    : strncasecmp(text, "https://", 8) == 0 ? 8
                                                            : 0;
    if (!scheme)
        return *text == '/' || strcmp(text, "*") == 0 ? text : NULL;
    size_t host = strcspn(text + scheme, "/?#");
    return host > 0 ? text + scheme + host : NULL;
}

static bool query_parse(struct http_target *target, char *query, struct http_failure *why)
{
    char *rest = query;
    for (char *pair; (pair = strsep(&rest, "&"));) {
        if (*pair == '\0')
            continue;
        char *value = pair, *name = strsep(&value, "=");
        if (target->query_count == HTTP_QUERY_MAX)
            return refuse(why, "the query has more than 32 parameters");
        if (!percent_decode(name, true) || (value && !percent_decode(value, true)))
            return refuse(why, "the query's percent-encoding is broken");
        target->query[target->query_count++] = (struct http_target_pair){name, value ? value : ""};
    }
    return true;
}

bool http_target_parse(struct http_target *target, char *text, struct http_failure *why)
{
    *target = (struct http_target){0};
    char *path = path_begin(text);
    if (!path || strchr(path, '#'))
        return refuse(why, "the request's target is neither a path nor an http URL");
    char *query = path;
    path = strsep(&query, "?");
    if (!percent_decode(path, false))
        return refuse(why, "the path's percent-encoding is broken");
    target->path = *path ? path : "/"; /* http://host, http://host?query */
    return !query || query_parse(target, query, why);
}

const char *http_target_query(const struct http_target *target, const char *name)
{
    for (uint32_t i = 0; i < target->query_count; i++)
        if (strcmp(target->query[i].name, name) == 0)
            return target->query[i].value;
    return NULL;
}
