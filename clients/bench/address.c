#include "clients/bench/address.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Takes the scheme off. False: an unknown one. */
static bool take_scheme(const char **text, bool *tls, bool *web)
{
    static const struct {
        const char *name;
        bool tls, web;
    } schemes[] = {{"http://", false, true}, {"https://", true, true}, {"grpc://", false, false},
                   {"grpcs://", true, false}};
    *tls = *web = false;
    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
        size_t n = strlen(schemes[i].name);
        if (strncmp(*text, schemes[i].name, n) == 0) {
            *text += n;
            *tls = schemes[i].tls;
            *web = schemes[i].web;
            return true;
        }
    }
    return strstr(*text, "://") == NULL;
}

static bool is_port(const char *text, size_t bytes)
{
    if (bytes == 0 || bytes > 5 || strspn(text, "0123456789") < bytes)
        return false;
    int port = atoi(text);
    return port > 0 && port < 65536;
}

/* "host", "host:port", "[::1]:port" of `bytes` bytes. */
static bool take_authority(const char *text, size_t bytes, const char *port, struct address *out)
{
    const char *end = text + bytes, *host = text, *after;
    bool bracketed = bytes > 0 && *text == '[';
    if (bracketed) {
        host++;
        after = memchr(host, ']', (size_t)(end - host));
    } else {
        after = memchr(host, ':', bytes);
        after = after ? after : end;
    }
    if (!after || after == host || (size_t)(after - host) >= sizeof out->host)
        return false;
    snprintf(out->host, sizeof out->host, "%.*s", (int)(after - host), host);
    after += bracketed;
    if (after < end && (*after != ':' || !is_port(after + 1, (size_t)(end - after - 1))))
        return false;
    if (after < end)
        snprintf(out->port, sizeof out->port, "%.*s", (int)(end - after - 1), after + 1);
    else
        snprintf(out->port, sizeof out->port, "%s", port);
    snprintf(out->authority, sizeof out->authority, bracketed ? "[%s]:%s" : "%s:%s", out->host,
             out->port);
    return true;
}

bool address_parse(const char *text, const char *port, struct address *out, struct fault *fault)
{
    const char *rest = text;
    bool web;
    memset(out, 0, sizeof *out);
    if (!take_scheme(&rest, &out->tls, &web))
        return fault_set(fault, "'%.200s': the scheme is none of http, https, grpc, grpcs", text);
    size_t authority = strcspn(rest, "/");
    if (!take_authority(rest, authority, out->tls && web ? "443" : port, out))
        return fault_set(fault, "'%.200s' is not [SCHEME://]HOST[:PORT][/PREFIX]", text);
    size_t prefix = strlen(rest + authority);
    while (prefix && rest[authority + prefix - 1] == '/')
        prefix--;
    if (prefix >= sizeof out->prefix || memchr(rest + authority, ' ', prefix))
        return fault_set(fault, "'%.200s': the path is too long or has a space", text);
    snprintf(out->prefix, sizeof out->prefix, "%.*s", (int)prefix, rest + authority);
    return true;
}
