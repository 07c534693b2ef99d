#include "clients/c/grpc_text.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *grpc_text_status(int status)
{
    static const char *const names[] = {
        "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND",
        "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
        "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS",
        "UNAUTHENTICATED",
    };
    if (status < 0 || (size_t)status >= sizeof names / sizeof names[0])
        return "UNKNOWN";
    return names[status];
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)tolower((unsigned char)c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

void grpc_text_decode_message(const char *encoded, size_t bytes, char *out, size_t out_bytes)
{
    size_t used = 0;
    for (size_t i = 0; i < bytes && used + 1 < out_bytes; i++) {
        char c = encoded[i];
        if (c == '%' && i + 2 < bytes && hex_digit(encoded[i + 1]) >= 0 &&
            hex_digit(encoded[i + 2]) >= 0) {
            c = (char)(16 * hex_digit(encoded[i + 1]) + hex_digit(encoded[i + 2]));
            i += 2;
        }
        out[used++] = c;
    }
    if (out_bytes)
        out[used] = '\0';
}

void grpc_text_timeout(uint64_t ms, char *out, size_t out_bytes)
{
    static const struct {
        char unit;
        uint64_t ms;
    } units[] = {{'m', 1}, {'S', 1000}, {'M', 60000}, {'H', 3600000}};
    size_t i = 0;
    while (i + 1 < sizeof units / sizeof units[0] && ms / units[i].ms > 99999998)
        i++;
    uint64_t n = ms / units[i].ms + (ms % units[i].ms != 0);
    snprintf(out, out_bytes, "%" PRIu64 "%c", n < 99999999 ? n : 99999999, units[i].unit);
}

/* getaddrinfo would take the port modulo 65536. */
static bool is_port(const char *text)
{
    size_t digits = strspn(text, "0123456789");
    return digits && digits <= 5 && !text[digits] && atoi(text) > 0 && atoi(text) < 65536;
}

bool grpc_text_address(const char *address, char *host, size_t host_bytes, char *port,
                       size_t port_bytes)
{
    const char *colon = strrchr(address, ':');
    if (!colon || strlen(colon + 1) >= port_bytes || !is_port(colon + 1))
        return false;
    size_t n = (size_t)(colon - address);
    if (n >= 2 && address[0] == '[' && address[n - 1] == ']') {
        address++;
        n -= 2;
    } else if (memchr(address, ':', n)) {
        return false; /* an IPv6 address wants brackets */
    }
    if (n == 0 || n >= host_bytes)
        return false;
    memcpy(host, address, n);
    host[n] = '\0';
    strcpy(port, colon + 1);
    return true;
}

bool grpc_text_is_key(const char *key)
{
    const char *p = key;
    while ((unsigned char)*p > 0x20 && (unsigned char)*p < 0x7f)
        p++;
    return p > key && !*p;
}
